//! Rebuilds the index: packs that no index object names are read for their footers, and new deltas name them.
//!
//! A delta proves nothing (W5), so that one may be written at any time, of packs of any session. It is named after the session
//! whose packs it tells of: as long as one of those is there, no collector takes it for useless. What is published stays
//! published when a run is stopped; the next one goes on behind it.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::error::Context as _;
use crate::ids::{Generation, PackRef, Sid};
use crate::index::objects::{Objects, Whose};
use crate::index::{DeltaPack, LocalIndex, LocalOptions, delta};
use crate::layout::ObjectKind;
use crate::limits::{DELTA_PACKS, INDEX_FETCHES, REPAIR_DELTAS_TRIED_MAX};
use crate::manifest::audit::{Event, Repaired};
use crate::ops::reader::is_damage;
use crate::ops::{Problems, Repository, Task, audit, quarantine};
use crate::session::register;
use crate::{Error, ErrorKind, Result};

/// What to rebuild.
#[derive(Clone, Copy, Debug, Default)]
pub struct IndexRequest {
    /// All packs, also those that the index names: for an index of which nothing is to be believed.
    pub all: bool,
    /// Only tell which packs are not named.
    pub dry_run: bool,
}

/// What was rebuilt.
#[derive(Clone, Debug, Default)]
pub struct IndexReport {
    /// Packs that there are.
    pub packs_total: u64,
    /// Packs that nothing named, or with `all` every one that could be read: these are named now.
    pub packs: u64,
    /// Their blobs.
    pub blobs: u64,
    /// Deltas that were written.
    pub deltas: u64,
    /// Index objects and packs that can't be read.
    pub problems: Problems,
}

/// Rebuilds the index. Packs and index objects that can't be read are in the report. `by` stands in the audit.
pub async fn index(repo: &Repository, request: IndexRequest, by: &str, task: &Task) -> Result<IndexReport> {
    let objects = repo.objects();
    let mut report = IndexReport::default();
    let known = LocalIndex::open(repo.objects(), LocalOptions { cache_dir: None, refresh_seconds: 0 });
    for damaged in known.refresh().await?.damaged {
        report.problems.push(b"", damaged.chain());
    }
    let named = known.gather(|_| true)?.pack_ids();
    task.check()?;
    let mut left = Vec::new();
    let folder = objects.layout.folder(ObjectKind::Pack);
    let mut listed = objects.store.list(&folder, None);
    while let Some(object) = listed.try_next().await.context(ErrorKind::Store, || format!("list {folder}"))? {
        let Some(id) = objects.layout.parse_pack(&object.key) else { continue };
        report.packs_total += 1;
        if request.all || !named.contains(&id) {
            left.push(PackRef { id, bytes: object.bytes });
        }
    }
    drop(listed);
    left.sort_unstable_by_key(|p| p.id);
    let generation = register::newest_generation(&objects, None).await?;
    let next = next_numbers(&objects).await?;
    let mut writer = Writer { objects: &objects, known: &known, generation, next, dry_run: request.dry_run };
    let done = read_packs(repo, left, &mut writer, (&mut report, task)).await;
    if report.packs > 0 && !request.dry_run {
        let what = "index".to_owned();
        let repaired = Repaired { what, packs: report.packs, ..Repaired::default() };
        audit::note(repo, by, Event::Repaired(repaired)).await;
    }
    done.map(|()| report)
}

/// The next free number of each session's deltas.
async fn next_numbers(objects: &Objects) -> Result<HashMap<Sid, u32>> {
    let keys = objects.list(&objects.layout.folder(ObjectKind::Delta), None).await?;
    let mut next: HashMap<Sid, u32> = HashMap::new();
    for (_, sid, n) in keys.iter().filter_map(|k| objects.layout.parse_delta(k)) {
        let free = next.entry(sid).or_default();
        *free = (*free).max(n.saturating_add(1));
    }
    Ok(next)
}

/// Reads the footers and publishes deltas, session by session.
async fn read_packs(
    repo: &Repository,
    left: Vec<PackRef>,
    writer: &mut Writer<'_>,
    (report, task): (&mut IndexReport, &Task),
) -> Result<()> {
    let reader = &quarantine::fresh_reader(repo);
    let mut reads = stream::iter(left)
        .map(|pack| async move { (pack, reader.describe(pack.id).await) })
        .buffered(INDEX_FETCHES);
    let mut open: Vec<DeltaPack> = Vec::new();
    while let Some((pack, described)) = reads.next().await {
        task.check()?;
        match described {
            Ok(is) => {
                let next = DeltaPack::new(pack, is.kind, &is.footer);
                let other = open.first().is_some_and(|o| o.pack.id.sid != pack.id.sid);
                if other || open.len() >= DELTA_PACKS {
                    report.deltas += writer.publish(&std::mem::take(&mut open)).await?;
                }
                report.packs += 1;
                report.blobs += next.blobs.len() as u64;
                task.monitor.packs.add(1);
                open.push(next);
            }
            Err(e) if is_damage(&e) => {
                task.monitor.entries_failed.add(1);
                report.problems.push(repo.layout.pack(pack.id).as_str().as_bytes(), e.chain());
            }
            Err(e) => return Err(e),
        }
    }
    report.deltas += writer.publish(&open).await?;
    Ok(())
}

struct Writer<'a> {
    objects: &'a Objects,
    known: &'a LocalIndex,
    generation: Generation,
    next: HashMap<Sid, u32>,
    dry_run: bool,
}

impl Writer<'_> {
    /// Publishes packs of one session; how many deltas that took.
    async fn publish(&mut self, packs: &[DeltaPack]) -> Result<u64> {
        let Some(sid) = packs.first().map(|p| p.pack.id.sid) else { return Ok(0) };
        let mut deltas = 0;
        for part in delta::split(packs) {
            deltas += 1;
            if self.dry_run {
                continue;
            }
            let plain = delta::encode(part);
            self.put(sid, &plain).await?;
        }
        Ok(deltas)
    }

    /// Under the next number that nobody took: another repair may be at it.
    async fn put(&mut self, sid: Sid, plain: &[u8]) -> Result<()> {
        for _ in 0..REPAIR_DELTAS_TRIED_MAX {
            let n = self.next.entry(sid).or_default();
            let key = self.objects.layout.delta(self.generation, sid, *n);
            let name = (self.generation, sid, *n);
            *n = n.saturating_add(1);
            // A root may stand for a delta of this name that is gone by now: nobody would read another.
            if self.known.has_delta(&name) {
                continue;
            }
            let sealed = self.objects.seal(ObjectKind::Delta, &key, plain);
            if self.objects.put_own(&key, &sealed).await? == Whose::Ours {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Store, format!("publish packs of session {sid}: others take every name")))
    }
}
