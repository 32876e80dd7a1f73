//! `lock` and `policy`: what protects a bucket from those who use it.

use anyhow::Result;
use proto::task::TaskSpec;
use repository::ops::lock::{self, LockReport, LockRequest};
use repository::ops::policy::{PolicyRequest, Role, s3_policy};
use serde::Serialize;

use super::maintenance;
use crate::app::{App, Where};
use crate::args::{LockArgs, OutputFormat, PolicyArgs, UserArg};
use crate::escape::escape;
use crate::exit::{Exit, usage};
use crate::output;
use crate::records::{self, ProblemRecord};

fn url(app: &App) -> Result<&str> {
    match app.place()? {
        Where::Repo(url) => Ok(url),
        Where::Coordinator(_) => Err(usage("this command works on the store itself: pass --repo URL")),
    }
}

#[derive(Debug, Serialize)]
struct LockRecord {
    objects: u64,
    due: u64,
    extended: u64,
    longer: u64,
    problems: u64,
    problem_list: Vec<ProblemRecord>,
}

impl From<&LockReport> for LockRecord {
    fn from(r: &LockReport) -> Self {
        Self {
            objects: r.objects,
            due: r.due,
            extended: r.extended,
            longer: r.longer,
            problems: r.problems.count(),
            problem_list: records::problems(&r.problems),
        }
    }
}

pub(super) async fn lock(app: &App, args: &LockArgs) -> Result<Exit> {
    let url = match app.place()? {
        Where::Repo(url) => url,
        Where::Coordinator(url) => {
            return maintenance::start(app, &app.remote(url)?, &TaskSpec::Lock(args.spec()), args.detach)
                .await;
        }
    };
    maintenance::refuse_detach(args.detach)?;
    let days = args.days.ok_or_else(|| usage("for how long? pass --days N"))?;
    let repo = app.open(url, 0, None).await?;
    let request = LockRequest { seconds: u64::from(days) * 24 * 3600, dry_run: args.dry_run };
    let task = app.task();
    let done = app.or_cancel(lock::extend(&repo, request, &task)).await??;
    output::print(app.format(), &LockRecord::from(&done), |r| {
        let due = format!("{} objects are needed; {} locks are due", r.objects, r.due);
        if args.dry_run { due + "\n" } else { format!("{due}, {} were extended\n", r.extended) }
    })?;
    for problem in done.problems.kept() {
        tracing::error!("{}: {}", escape(&problem.path), problem.what);
    }
    Ok(if done.problems.is_empty() { Exit::Done } else { Exit::Partial })
}

pub(super) fn policy(app: &App, args: PolicyArgs) -> Result<Exit> {
    let url = url(app)?;
    let Some((bucket, prefix)) = repository::store::url::s3_bucket(url) else {
        return Err(usage("policies are made for S3: pass --repo s3://bucket/prefix"));
    };
    let role = match args.role {
        UserArg::Agent => Role::Agent,
        UserArg::Coordinator => Role::Coordinator,
        UserArg::Reader => Role::Reader,
    };
    let policy = s3_policy(&PolicyRequest {
        role,
        bucket,
        prefix,
        domain: app.global.domain.clone(),
        principals: args.principal,
        conditions: !args.no_conditions,
        locks: args.locks,
    });
    let format = if app.format() == OutputFormat::Table { OutputFormat::Json } else { app.format() };
    output::print(format, &policy, |_| String::new())?;
    Ok(Exit::Done)
}

/// Warns where a wrong deletion is final.
pub(super) async fn warn_unprotected(store: &std::sync::Arc<dyn repository::store::Store>) {
    if let Some(warning) = lock::warning(store).await {
        tracing::warn!("{warning}");
    }
}
