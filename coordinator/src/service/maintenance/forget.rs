//! Forgetting by rules or by name: the fate of every snapshot that was looked at, and a breaker in between.

use proto::convert::{failure_to_wire, rules_from_wire};
use proto::v1;
use repository::ids::Sid;
use repository::ops::Task;
use repository::ops::forget::Because;
use repository::retention::{Candidate, Decision, Plan, Reason};
use repository::{Error, ErrorKind, Result};

use crate::core::Core;
use crate::maintenance::retention::{RetentionRule, SHARE_PERCENT_MAX, decide};

/// Decides, and forgets unless it is only to be told. Each fate, and each outcome that can't be read, is a message of
/// its own.
pub(super) async fn forget(
    core: &Core,
    request: v1::ForgetRequest,
    because: &Because,
) -> Result<Vec<v1::ForgetResponse>> {
    let volume = Some(request.volume.as_str()).filter(|v| !v.is_empty());
    let (candidates, damaged) = core.engine.candidates(volume).await?;
    let percent = request.share_percent_max.map(|p| u8::try_from(p).unwrap_or(100));
    let plan = if request.snapshots.is_empty() {
        let rules = match request.rules {
            None => core.keeper.settings.retention.clone(),
            Some(rules) => vec![RetentionRule {
                volume: "*".to_owned(),
                rules: rules_from_wire(rules)?,
                share_percent_max: SHARE_PERCENT_MAX,
            }],
        };
        let decided = decide(candidates, &rules, core.env.now(), percent);
        if let (false, Some((pattern, e))) = (request.dry_run, decided.tripped.first()) {
            let what = format!(
                "volumes {pattern}: {e}; nothing was forgotten: look at it with --dry-run, then raise --max-share"
            );
            return Err(Error::new(ErrorKind::Refused, what));
        }
        decided.plan
    } else {
        named(core, &request.snapshots, volume, candidates).await?
    };
    if !request.dry_run {
        core.engine.forget(&plan, because, &Task::default()).await.1?;
        core.refresh().await?;
    }
    let fates =
        plan.decisions.iter().map(|d| v1::ForgetResponse { fates: vec![fate(d)], damaged: Vec::new() });
    let damaged = damaged
        .iter()
        .map(|e| v1::ForgetResponse { fates: Vec::new(), damaged: vec![failure_to_wire(&e.into())] });
    Ok(fates.chain(damaged).collect())
}

/// A plan that forgets just the named ones.
async fn named(
    core: &Core,
    specs: &[String],
    volume: Option<&str>,
    candidates: Vec<Candidate>,
) -> Result<Plan> {
    let mut ids = Vec::new();
    for spec in specs {
        ids.push(core.engine.snapshot(spec, volume).await?.id);
    }
    let chosen = candidates.into_iter().filter(|c| ids.contains(&c.id));
    Ok(Plan { decisions: chosen.map(|snapshot| Decision { snapshot, kept: Vec::new() }).collect() })
}

/// Forgets these, unless they are too large a share of all.
pub(crate) async fn forget_named(core: &Core, ids: &[Sid], because: &Because) -> Result<()> {
    let (candidates, _) = core.engine.candidates(None).await?;
    let decide = |snapshot: Candidate| {
        let kept = if ids.contains(&snapshot.id) { Vec::new() } else { vec![Reason::NoRule] };
        Decision { snapshot, kept }
    };
    let plan = Plan { decisions: candidates.into_iter().map(decide).collect() };
    let allowed = plan.check_share(SHARE_PERCENT_MAX);
    allowed.map_err(|e| Error::new(ErrorKind::Refused, format!("{e}; nothing was forgotten")))?;
    core.engine.forget(&plan, because, &Task::default()).await.1?;
    core.refresh().await
}

fn fate(d: &Decision) -> v1::Fate {
    v1::Fate {
        id: d.snapshot.id.0.to_vec().into(),
        volume: d.snapshot.volume.clone(),
        recorded_unix_nanos: d.snapshot.recorded.0,
        forgotten: d.kept.is_empty(),
        kept_because: d.kept.iter().map(ToString::to_string).collect(),
    }
}

/// All of them as one message.
pub(super) fn message(all: Vec<v1::ForgetResponse>) -> v1::ForgetResponse {
    let mut out = v1::ForgetResponse::default();
    for one in all {
        out.fates.extend(one.fates);
        out.damaged.extend(one.damaged);
    }
    out
}
