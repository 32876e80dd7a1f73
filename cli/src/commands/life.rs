//! `forget`, `unforget` and `gc`: the end of snapshots.

use std::sync::Arc;

use anyhow::Result;
use coordinator::maintenance::retention::SHARE_PERCENT_MAX;
use proto::task::TaskSpec;
use repository::ops::forget::{self, Because};
use repository::ops::gc::GcReport;
use repository::ops::{Repository, noted, snapshots};
use repository::retention::{Candidate, Decision, Plan, Rules, plan};
use serde::Serialize;

use super::maintenance;
use crate::app::{App, Where};
use crate::args::{ForgetArgs, GcArgs};
use crate::escape::tame;
use crate::exit::{Exit, usage};
use crate::output::{self, counted, size};
use crate::records::{local_time, time};
use crate::remote::{Fate, Forgetting, Remote};
use crate::run::report_damaged;

pub(super) async fn open(app: &App) -> Result<Arc<Repository>> {
    match app.place()? {
        Where::Repo(url) => app.open(url, 0, None).await,
        Where::Coordinator(_) => Err(usage("this command works on the store itself: pass --repo URL")),
    }
}

/// Who we are, for marker and audit.
pub(super) fn because(command: &str, why: &str) -> Because {
    Because { by: format!("holdfast {command}"), why: why.to_owned() }
}

/// One snapshot's fate.
#[derive(Debug, Serialize)]
struct FateRecord {
    id: String,
    volume: String,
    recorded: String,
    forgotten: bool,
    kept_because: Vec<String>,
}

pub(super) async fn forget(app: &App, args: ForgetArgs) -> Result<Exit> {
    if let Where::Coordinator(url) = app.place()? {
        return forget_through(app, &app.remote(url)?, args).await;
    }
    let rules = args.keep.rules();
    if args.snapshots.is_empty() && rules.is_empty() {
        return Err(usage("say what to forget: name SNAPSHOTs, or give rules such as --keep-daily 7"));
    }
    let repo = open(app).await?;
    let (candidates, damaged) = app.or_cancel(forget::candidates(&repo, args.volume.as_deref())).await??;
    let exit = report_damaged(damaged);
    let decided = if args.snapshots.is_empty() {
        let decided = plan(candidates, &rules, app.env.now());
        if !args.dry_run {
            decided.check_share(args.max_share.unwrap_or(SHARE_PERCENT_MAX)).map_err(|e| {
                anyhow::Error::from(e)
                    .context("nothing was forgotten; look at it with --dry-run, then raise --max-share")
            })?;
        }
        decided
    } else {
        named(app, &repo, &args, candidates).await?
    };
    if !args.dry_run {
        let because = because("forget", &args.reason);
        noted::forget(&repo, &decided, &because, &app.task()).await.1?;
    }
    let fate = |d: &Decision| Fate {
        id: d.snapshot.id,
        volume: d.snapshot.volume.clone(),
        recorded: d.snapshot.recorded,
        kept: d.kept.iter().map(ToString::to_string).collect(),
    };
    print(app, &decided.decisions.iter().map(fate).collect::<Vec<_>>(), args.dry_run)?;
    Ok(exit)
}

/// Neither snapshots nor rules: those of the coordinator.
async fn forget_through(app: &App, remote: &Remote, args: ForgetArgs) -> Result<Exit> {
    let dry_run = args.dry_run;
    let what = Forgetting {
        snapshots: args.snapshots,
        volume: args.volume,
        rules: Some(args.keep.rules()).filter(|rules| *rules != Rules::default()),
        dry_run,
        share_percent_max: args.max_share,
        reason: args.reason,
    };
    let (fates, damaged) = app.or_cancel(remote.forget(what)).await??;
    let exit = report_damaged(damaged);
    print(app, &fates, dry_run)?;
    Ok(exit)
}

/// A plan that forgets just the named ones.
async fn named(app: &App, repo: &Repository, args: &ForgetArgs, candidates: Vec<Candidate>) -> Result<Plan> {
    let mut ids = Vec::new();
    for spec in &args.snapshots {
        ids.push(app.or_cancel(snapshots::get(repo, spec, args.volume.as_deref())).await??.id);
    }
    let chosen = candidates.into_iter().filter(|c| ids.contains(&c.id));
    let decisions = chosen.map(|snapshot| Decision { snapshot, kept: Vec::new() });
    Ok(Plan { decisions: decisions.collect() })
}

fn print(app: &App, fates: &[Fate], dry_run: bool) -> Result<()> {
    let record = |f: &Fate| FateRecord {
        id: f.id.to_string(),
        volume: f.volume.clone(),
        recorded: time(f.recorded),
        forgotten: f.kept.is_empty(),
        kept_because: f.kept.clone(),
    };
    let word = if dry_run { "would be forgotten" } else { "forgotten" };
    let rows = fates.iter().map(|f| {
        let fate = match f.kept.is_empty() {
            true => word.to_owned(),
            false => format!("kept: {}", f.kept.join(", ")),
        };
        let id = f.id.to_string()[..8].to_owned();
        vec![id, local_time(f.recorded), tame(&f.volume), tame(&fate)]
    });
    output::print(app.format(), &fates.iter().map(record).collect::<Vec<_>>(), |_| {
        let count = fates.iter().filter(|f| f.kept.is_empty()).count();
        let table = output::table(&["ID", "RECORDED", "VOLUME", "FATE"], rows);
        let next = if count > 0 && !dry_run {
            "; `holdfast gc` frees their space, `holdfast unforget` takes it back"
        } else {
            ""
        };
        format!("{table}\n{count} of {} {word}{next}\n", fates.len())
    })
}

/// What `unforget` made.
#[derive(Debug, Serialize)]
struct UndoRecord {
    forgotten: String,
    id: String,
}

pub(super) async fn unforget(app: &App, snapshot: &str) -> Result<Exit> {
    let (forgotten, id) = match app.place()? {
        Where::Coordinator(url) => app.or_cancel(app.remote(url)?.unforget(snapshot)).await??,
        Where::Repo(_) => {
            let repo = open(app).await?;
            let because = because("unforget", "");
            app.or_cancel(noted::unforget(&repo, snapshot, &because, &app.task())).await??
        }
    };
    let record = UndoRecord { forgotten: forgotten.to_string(), id: id.to_string() };
    output::print(app.format(), &record, |r| format!("{} is back as {}\n", &r.forgotten[..8], r.id))?;
    Ok(Exit::Done)
}

/// What `gc` did.
#[derive(Debug, Serialize)]
struct GcRecord {
    generation: u64,
    snapshots: u64,
    packs: u64,
    bytes: u64,
    condemned: u64,
    condemned_bytes: u64,
    deleted: u64,
    deleted_bytes: u64,
    freed_bytes: u64,
    bytes_after: u64,
    compacted: u64,
    copied_bytes: u64,
    copies: u64,
    copies_bytes: u64,
    compaction_waiting: u64,
    compaction_locked: u64,
    compaction_locked_bytes: u64,
    compaction_stopped: Option<String>,
    repaired: u64,
    damaged: Vec<String>,
    leftovers: u64,
    tidied: u64,
    indexed: u64,
    fenced: Vec<String>,
    waiting_for: Vec<String>,
    done: bool,
}

impl From<GcReport> for GcRecord {
    fn from(r: GcReport) -> Self {
        let names = |sids: Vec<repository::ids::Sid>| sids.iter().map(ToString::to_string).collect();
        Self {
            generation: r.generation.0,
            snapshots: r.snapshots,
            packs: r.packs,
            bytes: r.bytes,
            condemned: r.condemned,
            condemned_bytes: r.condemned_bytes,
            deleted: r.deleted,
            deleted_bytes: r.deleted_bytes,
            freed_bytes: r.freed_bytes(),
            bytes_after: r.bytes_after(),
            compacted: r.compacted,
            copied_bytes: r.copied_bytes,
            copies: r.copies,
            copies_bytes: r.copies_bytes,
            compaction_waiting: r.compaction_waiting,
            compaction_locked: r.compaction_locked,
            compaction_locked_bytes: r.compaction_locked_bytes,
            compaction_stopped: r.compaction_stopped,
            repaired: r.repaired,
            damaged: r.damaged.iter().map(ToString::to_string).collect(),
            leftovers: r.leftovers,
            tidied: r.tidied,
            indexed: r.indexed,
            fenced: names(r.fenced),
            waiting_for: names(r.waiting_for),
            done: r.done,
        }
    }
}

pub(super) async fn gc(app: &App, args: &GcArgs) -> Result<Exit> {
    if let Where::Coordinator(url) = app.place()? {
        return maintenance::start(app, &app.remote(url)?, &TaskSpec::Gc(args.spec()), args.detach).await;
    }
    maintenance::refuse_detach(args.detach)?;
    let repo = open(app).await?;
    super::protect::warn_unprotected(&repo.store).await;
    let request = args.request();
    let task = app.task();
    let because = because("gc", "");
    let shown = app.show("gc".to_owned(), &task);
    let done = app.or_cancel(noted::collect(&repo, request, &because, &task)).await;
    shown.finish().await;
    let done = done??;
    let record = GcRecord::from(done);
    output::print(app.format(), &record, |r| text(r, args.dry_run))?;
    Ok(if record.done || args.dry_run { Exit::Done } else { Exit::Partial })
}

fn text(r: &GcRecord, dry_run: bool) -> String {
    let packs = |n| counted(n, "pack");
    let snapshots = counted(r.snapshots, "snapshot");
    let mut out = format!("{snapshots}, {} with {}\n", packs(r.packs), size(r.bytes));
    if dry_run {
        out += &format!("{} with {} would be deleted\n", packs(r.condemned), size(r.condemned_bytes));
        if r.compacted > 0 {
            out += &format!("{} more would be copied: {}\n", r.compacted, size(r.copied_bytes));
        }
        return out;
    }
    if r.copies > 0 {
        let live = format!("{} with {} still needed", packs(r.compacted), size(r.copied_bytes));
        out += &format!("{live} were copied into {} with {}\n", r.copies, size(r.copies_bytes));
    }
    out += &format!("{} with {} deleted\n", packs(r.deleted), size(r.deleted_bytes));
    if r.compaction_waiting > 0 {
        out += &format!("{} packs are worth copying and wait for the next run\n", r.compaction_waiting);
    }
    if r.compaction_locked > 0 {
        let (packs, bytes) = (r.compaction_locked, size(r.compaction_locked_bytes));
        out += &format!("{packs} packs with {bytes} are worth copying once their object lock has ended\n");
    }
    if let Some(why) = &r.compaction_stopped {
        out += &format!("copying stopped early: {}\n", tame(why));
    }
    if r.repaired > 0 {
        out += &format!("{} damaged packs were healed\n", r.repaired);
    }
    for pack in &r.damaged {
        out += &format!("pack {pack} is damaged, and nothing else has what it lost\n");
    }
    if r.leftovers > 0 {
        out += &format!("{} packs could not be deleted; the next run tries again\n", r.leftovers);
    }
    for sid in &r.fenced {
        out += &format!("session {} was taken for dead and fenced\n", &sid[..8]);
    }
    for sid in &r.waiting_for {
        out += &format!("session {} is still at work\n", &sid[..8]);
    }
    if !r.done {
        out += "nothing is deleted before they are done: run `holdfast gc` again then, or with --fence-after 0s\n";
    }
    out
}
