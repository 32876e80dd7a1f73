//! Keeps what snapshots need locked against deletion, in stores that have such locks.
//!
//! A pack that old and new snapshots share has to stay locked as long as the newest of them shall live. So each run extends the
//! locks of all that some snapshot needs (packs, outcomes, key wraps, GC records, the description), but only where less than half
//! of the time is left: an object costs one request in half that time. What is known of dates is kept in the cache folder;
//! without it the next run asks again for all.
//!
//! Nothing in the engine relies on locks. A store without versions refuses to delete what is locked: GC leaves it, and does not
//! try again before the date that it knows of.

mod known;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};

pub(crate) use known::LockedPacks;

use known::KnownLocks;

use crate::env::Timestamp;
use crate::error::Context as _;
use crate::layout::{Layout, ObjectKind};
use crate::limits::LOCK_REQUESTS_AT_ONCE;
use crate::ops::{Problems, Repository, Task, stats};
use crate::store::{Extended, Key, Protection, SharedLocks, Store, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// How to lock.
#[derive(Clone, Copy, Debug)]
pub struct LockRequest {
    /// What a snapshot needs is to stay locked at least half this long from now on, seconds.
    pub seconds: u64,
    /// Only tell what is due.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct LockReport {
    /// Objects that snapshots need.
    pub objects: u64,
    /// Of these, those of which less than half the time is left, or nothing is known.
    pub due: u64,
    /// Locks that were extended.
    pub extended: u64,
    /// Locks that turned out to be longer already.
    pub longer: u64,
    /// What could not be locked, and snapshots of which it is not known what they need.
    pub problems: Problems,
}

/// What the store does against deletion; `None` where it can't be asked.
pub async fn protection(store: &Arc<dyn Store>) -> Result<Option<Protection>> {
    let Some(locks) = store.locks() else { return Ok(None) };
    match locks.protection().await {
        Ok(protection) => Ok(Some(protection)),
        Err(e) if e.kind == StoreErrorKind::Denied => Ok(None),
        Err(e) => Err(e).context(ErrorKind::Store, || "ask how the bucket is protected".to_owned()),
    }
}

/// What to warn of: a bucket where a wrong deletion is final.
pub async fn warning(store: &Arc<dyn Store>) -> Option<String> {
    match protection(store).await {
        Ok(Some(Protection { versioning: false, lock: false, .. })) => Some(
            "the bucket has neither versioning nor object lock: what an intruder or a mistake deletes is gone for good \
             (docs/operations.md, \"immutability\")"
                .to_owned(),
        ),
        Ok(_) => None,
        Err(e) => {
            tracing::debug!(error = %e.chain(), "how the bucket is protected is not known");
            None
        }
    }
}

/// Extends the locks of all that snapshots need, as far as it is due.
pub async fn extend(repo: &Repository, request: LockRequest, task: &Task) -> Result<LockReport> {
    let without = || Error::new(ErrorKind::Refused, "this store has no locks on objects");
    let locks = repo.store.locks().ok_or_else(without)?;
    let protection = locks.protection().await;
    let protection = protection.context(ErrorKind::Store, || "ask how the bucket is protected".to_owned())?;
    if !protection.lock {
        return Err(without());
    }
    let mut report = LockReport::default();
    let needed = list_needed(repo, task, &mut report.problems).await?;
    let mut known = KnownLocks::load(repo.cache_dir.as_deref());
    let now = repo.env.now();
    known.forget_past(now);
    let half = now.plus_seconds(seconds(request.seconds) / 2);
    let of_bucket =
        |recorded: Timestamp| protection.default_seconds.map(|s| recorded.plus_seconds(seconds(s)));
    report.objects = needed.len() as u64;
    let due: Vec<Key> = needed
        .into_iter()
        .filter(|(key, recorded)| known.get(key).max(of_bucket(*recorded)).is_none_or(|until| until < half))
        .map(|(key, _)| key)
        .collect();
    report.due = due.len() as u64;
    if !request.dry_run {
        let extended = extend_all(&locks, due, now.plus_seconds(seconds(request.seconds)), task);
        let done = extended.await_into(&mut report, &mut known).await;
        // What was extended is known, whatever failed then.
        known.save(repo.cache_dir.as_deref());
        done?;
    }
    Ok(report)
}

fn seconds(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Extensions on their way.
struct Extensions<'t> {
    running: stream::BoxStream<'t, (Key, crate::store::StoreResult<Extended>)>,
    until: Timestamp,
    task: &'t Task,
}

fn extend_all<'t>(locks: &SharedLocks, due: Vec<Key>, until: Timestamp, task: &'t Task) -> Extensions<'t> {
    let locks = Arc::clone(locks);
    let requests = due.into_iter().map(move |key| {
        let locks = Arc::clone(&locks);
        async move {
            let extended = locks.extend_lock(&key, until).await;
            (key, extended)
        }
    });
    Extensions {
        running: stream::iter(requests).buffer_unordered(LOCK_REQUESTS_AT_ONCE).boxed(),
        until,
        task,
    }
}

impl Extensions<'_> {
    async fn await_into(mut self, report: &mut LockReport, known: &mut KnownLocks) -> Result<()> {
        while let Some((key, extended)) = self.running.next().await {
            self.task.check()?;
            match extended {
                Ok(Extended::Done) => {
                    report.extended += 1;
                    known.note(key, self.until);
                }
                Ok(Extended::Longer(until)) => {
                    report.longer += 1;
                    known.note(key, until);
                }
                Ok(Extended::Gone) => report.problems.push(key.as_str().as_bytes(), "is gone"),
                // One object's refusal says nothing of the others.
                Err(e) if matches!(e.kind, StoreErrorKind::Denied | StoreErrorKind::Fatal) => {
                    report.problems.push(key.as_str().as_bytes(), crate::error::one_line(&e));
                }
                Err(e) => return Err(e).context(ErrorKind::Store, || format!("lock {key}")),
            }
        }
        Ok(())
    }
}

/// What some snapshot can't be restored without, and when the store recorded it.
async fn list_needed(
    repo: &Repository,
    task: &Task,
    problems: &mut Problems,
) -> Result<BTreeMap<Key, Timestamp>> {
    // Outcomes are read before packs are listed: all that they need is in the listing.
    let (snapshots, packs) = stats::needed(repo, task, problems).await?;
    let snapshots: HashSet<_> = snapshots.into_iter().collect();
    let layout = &repo.layout;
    let mut out = BTreeMap::new();
    for kind in [ObjectKind::Key, ObjectKind::Gc, ObjectKind::Outcome, ObjectKind::Pack] {
        let folder = layout.folder(kind);
        let mut listed = repo.store.list(&folder, None);
        while let Some(o) = listed.try_next().await.context(ErrorKind::Store, || format!("list {folder}"))? {
            let needed = match kind {
                ObjectKind::Pack => layout.parse_pack(&o.key).is_some_and(|pack| packs.contains(&pack)),
                ObjectKind::Outcome => {
                    let name = layout.parse_session(kind, &o.key);
                    name.is_some_and(|(_, sid)| snapshots.contains(&sid))
                }
                _ => true,
            };
            if needed {
                out.insert(o.key, o.recorded);
            }
        }
    }
    // Its age is not in any folder's listing; without a known date it is asked for.
    out.insert(Layout::repo_json(), Timestamp(i64::MIN >> 1));
    Ok(out)
}
