//! `stats`: what the repository holds, who needs it, what brought it, and what would go.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use repository::env::Timestamp;
use repository::ops::stats::{self, Between, Bytes, Detail, Freed, Ranked};
use repository::ops::{Problems, Repository, forget, snapshots};
use repository::retention::{Rules, plan};
use serde::Serialize;

use crate::app::App;
use crate::args::StatsArgs;
use crate::escape::{escape, tame};
use crate::exit::{Exit, usage};
use crate::output::{self, counted, size};
use crate::records::{self, ProblemRecord, local_time, time};
use crate::source::Source;

const TOP: usize = 20;
const DAY_SECONDS: i64 = 24 * 3600;

pub(super) async fn stats(app: &App, args: StatsArgs) -> Result<Exit> {
    if args.would_free.is_none() && !args.keep.rules().is_empty() {
        return Err(usage("rules say what would be kept: use them with --would-free"));
    }
    if !args.detail && args.between.is_none() && args.would_free.is_none() {
        return super::snapshots::stats(app).await;
    }
    match (&args.between, &args.would_free) {
        (Some(pair), _) => between(app, pair, &args).await,
        (None, Some(named)) => would_free(app, named, &args).await,
        (None, None) => detail(app).await,
    }
}

fn exit(problems: &Problems) -> Exit {
    if problems.is_empty() { Exit::Done } else { Exit::Partial }
}

#[derive(Debug, Serialize)]
struct BytesRecord {
    plain: u64,
    stored: u64,
}

impl From<Bytes> for BytesRecord {
    fn from(b: Bytes) -> Self {
        Self { plain: b.plain, stored: b.stored }
    }
}

#[derive(Debug, Serialize)]
struct SnapshotRecord {
    id: String,
    volume: String,
    started: String,
    bytes: u64,
    bytes_new: u64,
    bytes_stored: u64,
    exclusive: BytesRecord,
}

#[derive(Debug, Serialize)]
struct VolumeRecord {
    snapshots: u64,
    newest: String,
    bytes_newest: u64,
    bytes: u64,
    exclusive: BytesRecord,
}

#[derive(Debug, Serialize)]
struct DayRecord {
    day: String,
    volume: String,
    snapshots: u64,
    bytes_new: u64,
    bytes_stored: u64,
}

#[derive(Debug, Serialize)]
struct DetailRecord {
    bytes_files: u64,
    needed: BytesRecord,
    /// Bytes of files for each plain byte that is needed.
    dedup: f64,
    /// Plain bytes for each stored one.
    compression: f64,
    packs: u64,
    packs_bytes: u64,
    packs_unneeded: u64,
    packs_unneeded_bytes: u64,
    /// Of the bytes of packs, the share that is needed.
    live_share: f64,
    volumes: BTreeMap<String, VolumeRecord>,
    snapshots: Vec<SnapshotRecord>,
    days: Vec<DayRecord>,
    problems: u64,
    problem_list: Vec<ProblemRecord>,
}

/// `a / b` with two decimals; 0 where there is nothing.
#[expect(clippy::cast_precision_loss, reason = "two decimals for people")]
fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { (a as f64 / b as f64 * 100.0).round() / 100.0 }
}

/// The day as `2026-11-23`.
fn day_name(day: i64) -> String {
    let text = time(Timestamp::from_parts(day.saturating_mul(DAY_SECONDS), 0));
    text.split('T').next().unwrap_or_default().to_owned()
}

impl From<&Detail> for DetailRecord {
    fn from(d: &Detail) -> Self {
        let volume = |v: &stats::VolumeFigures| VolumeRecord {
            snapshots: v.snapshots,
            newest: time(v.newest),
            bytes_newest: v.bytes_newest,
            bytes: v.bytes,
            exclusive: v.exclusive.into(),
        };
        let snapshot = |s: &stats::SnapshotFigures| SnapshotRecord {
            id: s.id.to_string(),
            volume: s.volume.clone(),
            started: time(s.started),
            bytes: s.bytes,
            bytes_new: s.bytes_new,
            bytes_stored: s.bytes_stored,
            exclusive: s.exclusive.into(),
        };
        let days = d.days.iter().map(|((day, volume), f)| DayRecord {
            day: day_name(*day),
            volume: volume.clone(),
            snapshots: f.snapshots,
            bytes_new: f.bytes_new,
            bytes_stored: f.bytes_stored,
        });
        Self {
            bytes_files: d.bytes_files,
            needed: d.needed.into(),
            dedup: ratio(d.bytes_files, d.needed.plain),
            compression: ratio(d.needed.plain, d.needed.stored),
            packs: d.packs,
            packs_bytes: d.packs_bytes,
            packs_unneeded: d.packs_unneeded,
            packs_unneeded_bytes: d.packs_unneeded_bytes,
            live_share: ratio(d.needed.stored, d.packs_bytes),
            volumes: d.volumes.iter().map(|(name, v)| (name.clone(), volume(v))).collect(),
            snapshots: d.snapshots.iter().map(snapshot).collect(),
            days: days.collect(),
            problems: d.problems.count(),
            problem_list: records::problems(&d.problems),
        }
    }
}

async fn detail(app: &App) -> Result<Exit> {
    let task = app.task();
    let detail = match app.source().await? {
        Source::Repo(repo) => app.or_cancel(stats::detail(&repo, &task)).await??,
        Source::Coordinator(remote) => app.or_cancel(remote.detail()).await??,
    };
    let record = DetailRecord::from(&detail);
    output::print(app.format(), &record, |r| {
        let mut out = format!(
            "{} in files of all snapshots, {} of it different ({} to 1), {} stored ({} to 1)\n",
            size(r.bytes_files),
            size(r.needed.plain),
            r.dedup,
            size(r.needed.stored),
            r.compression,
        );
        out += &format!(
            "{} with {}, {} % of it needed",
            counted(r.packs, "pack"),
            size(r.packs_bytes),
            r.live_share * 100.0
        );
        if r.packs_unneeded > 0 {
            let packs = counted(r.packs_unneeded, "pack");
            out += &format!("; {packs} with {} by no snapshot", size(r.packs_unneeded_bytes));
        }
        out += "\n\n";
        let rows = detail.volumes.iter().map(|(name, v)| {
            let snapshots = v.snapshots.to_string();
            vec![tame(name), snapshots, size(v.bytes_newest), size(v.bytes), size(v.exclusive.stored)]
        });
        out += &output::table(&["VOLUME", "SNAPSHOTS", "NEWEST", "ALL", "ONLY ITS OWN"], rows);
        out.push('\n');
        let rows = detail.snapshots.iter().map(|s| {
            let id = s.id.to_string()[..8].to_owned();
            vec![
                id,
                local_time(s.started),
                tame(&s.volume),
                size(s.bytes),
                size(s.bytes_new),
                size(s.bytes_stored),
                size(s.exclusive.stored),
            ]
        });
        let head = ["ID", "STARTED", "VOLUME", "SIZE", "NEW", "STORED", "ONLY ITS OWN"];
        out += &output::table(&head, rows);
        out
    })?;
    warn(&detail.problems);
    Ok(exit(&detail.problems))
}

fn warn(problems: &Problems) {
    for problem in problems.kept() {
        tracing::warn!("{}: {}", escape(&problem.path), problem.what);
    }
}

#[derive(Debug, Serialize)]
struct FreedRecord {
    snapshots: u64,
    blobs: BytesRecord,
    packs: u64,
    packs_bytes: u64,
    problems: u64,
    problem_list: Vec<ProblemRecord>,
}

impl From<&Freed> for FreedRecord {
    fn from(f: &Freed) -> Self {
        Self {
            snapshots: f.snapshots,
            blobs: f.blobs.into(),
            packs: f.packs,
            packs_bytes: f.packs_bytes,
            problems: f.problems.count(),
            problem_list: records::problems(&f.problems),
        }
    }
}

async fn would_free(app: &App, named: &[String], args: &StatsArgs) -> Result<Exit> {
    let rules = args.keep.rules();
    match (named.is_empty(), rules.is_empty()) {
        (true, true) => {
            return Err(usage(
                "say what would be forgotten: name SNAPSHOTs, or give rules such as --keep-daily 7",
            ));
        }
        (false, false) => return Err(usage("either name SNAPSHOTs or give rules")),
        _ => {}
    }
    let rules = Some(rules).filter(|r| !r.is_empty());
    let volume = args.volume.as_deref();
    let freed = match app.source().await? {
        Source::Repo(repo) => freed_here(app, &repo, named, rules.as_ref(), volume).await?,
        Source::Coordinator(remote) => {
            app.or_cancel(remote.would_free(named, rules.as_ref(), volume)).await??
        }
    };
    output::print(app.format(), &FreedRecord::from(&freed), |r| {
        format!(
            "forgetting {} would free {}: {} in {} that nobody else needs, the rest by compaction\n",
            counted(r.snapshots, "snapshot"),
            size(r.blobs.stored.max(r.packs_bytes)),
            size(r.packs_bytes),
            counted(r.packs, "pack"),
        )
    })?;
    warn(&freed.problems);
    Ok(exit(&freed.problems))
}

async fn freed_here(
    app: &App,
    repo: &Arc<Repository>,
    named: &[String],
    rules: Option<&Rules>,
    volume: Option<&str>,
) -> Result<Freed> {
    let mut ids = HashSet::new();
    for spec in named {
        ids.insert(app.or_cancel(snapshots::get(repo, spec, volume)).await??.id);
    }
    if let Some(rules) = rules {
        let (candidates, _) = app.or_cancel(forget::candidates(repo, volume)).await??;
        ids.extend(plan(candidates, rules, app.env.now()).forgotten().map(|s| s.id));
    }
    let task = app.task();
    Ok(app.or_cancel(stats::would_free(repo, &ids, &task)).await??)
}

#[derive(Debug, Serialize)]
struct RankedRecord {
    path: String,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct BetweenRecord {
    older: String,
    newer: String,
    bytes_new: u64,
    added: u64,
    removed: u64,
    changed: u64,
    bytes_removed: u64,
    files: Vec<RankedRecord>,
    folders: Vec<RankedRecord>,
}

async fn between(app: &App, pair: &[String], args: &StatsArgs) -> Result<Exit> {
    let [older, newer] = pair else { return Err(usage("--between takes two snapshots")) };
    let source = app.source().await?;
    let older = app.snapshot(&source, older, args.volume.as_deref()).await?;
    let newer = app.snapshot(&source, newer, args.volume.as_deref()).await?;
    let (task, top) = (app.task(), args.top.unwrap_or(TOP));
    let found = match &source {
        Source::Repo(repo) => app.or_cancel(stats::between(repo, (&older, &newer), top, &task)).await??,
        Source::Coordinator(remote) => app.or_cancel(remote.between(&older, &newer, top)).await??,
    };
    let Between { bytes_new, added, removed, changed, bytes_removed, files, folders } = found;
    let list = |list: Vec<Ranked>| {
        list.into_iter().map(|r| RankedRecord { path: escape(&r.path), bytes: r.bytes }).collect::<Vec<_>>()
    };
    let record = BetweenRecord {
        older: older.id.to_string(),
        newer: newer.id.to_string(),
        bytes_new,
        added,
        removed,
        changed,
        bytes_removed,
        files: list(files),
        folders: list(folders),
    };
    output::print(app.format(), &record, |r| {
        let mut out = format!(
            "{} new: {} entries added, {} changed; {} removed with {}\n\n",
            size(r.bytes_new),
            r.added,
            r.changed,
            r.removed,
            size(r.bytes_removed),
        );
        for (head, list) in [("FOLDER", &r.folders), ("FILE", &r.files)] {
            let rows = list.iter().map(|r| vec![size(r.bytes), r.path.clone()]);
            out += &output::table(&["NEW", head], rows);
            out.push('\n');
        }
        out
    })?;
    Ok(Exit::Done)
}
