//! The record of what was decided and done to a repository, by whom and why.
//!
//! One object an event, written after it: what happened is told by the objects that made it happen, so that a lost record never
//! changes what a repository holds.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::env::Timestamp;
use crate::error::Context as _;
use crate::index::objects::Whose;
use crate::layout::ObjectKind;
use crate::limits::{AUDIT_EVENT_ITEMS_MAX, PUTS_MAX, RECORD_FETCHES};
use crate::manifest::audit::{Event, Record};
use crate::ops::Repository;
use crate::{Error, ErrorKind, Result};

/// Which records to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Not those of earlier moments.
    pub since: Option<Timestamp>,
    /// Only those of this kind ([`Event::kind`]).
    pub kind: Option<String>,
    /// Only the newest so many; 0 means all.
    pub newest: usize,
}

/// Writes one record. Its moment is `record.at`; lists in it are cut to [`AUDIT_EVENT_ITEMS_MAX`].
pub async fn write(repo: &Repository, mut record: Record) -> Result<()> {
    bound(&mut record.event);
    let (objects, plain) = (repo.objects(), record.encode());
    for _ in 0..PUTS_MAX {
        let key = objects.layout.audit(record.at, objects.env.random());
        let sealed = objects.seal(ObjectKind::Audit, &key, &plain);
        if objects.put_own(&key, &sealed).await? == Whose::Ours {
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Internal, "write an audit record: random names repeat"))
}

/// Writes what `by` did just now on this machine. A store that takes no record costs a warning: what was done is done.
pub async fn note(repo: &Repository, by: &str, event: Event) {
    let kind = event.kind().to_owned();
    let host = crate::ops::reader::node_name();
    let record = Record { at: repo.env.now(), by: by.to_owned(), host, event };
    if let Err(e) = write(repo, record).await {
        tracing::warn!(%kind, error = %e.chain(), "what was done could not be recorded in the audit");
    }
}

/// The records, oldest first. Those that can't be read are named in the second value.
pub async fn list(repo: &Repository, filter: &Filter) -> Result<(Vec<Record>, Vec<Error>)> {
    let objects = repo.objects();
    let folder = objects.layout.folder(ObjectKind::Audit);
    let after = filter.since.map(|at| objects.layout.audit_before(at));
    let keys = objects.list(&folder, after.as_ref()).await?;
    let mut keys: Vec<_> = keys.into_iter().filter(|k| objects.layout.parse_audit(k).is_some()).collect();
    // Without a kind the newest can be told from the names.
    if filter.kind.is_none() && filter.newest > 0 {
        keys.drain(..keys.len().saturating_sub(filter.newest));
    }
    let objects = &objects;
    let reads: Vec<_> = keys
        .into_iter()
        .map(|key| async move {
            let read = objects.find(ObjectKind::Audit, &key).await.and_then(|plain| {
                let decode = |p: Vec<u8>| Record::decode(&p);
                plain.map(decode).transpose().context(ErrorKind::Damaged, || format!("read {key}"))
            });
            match read {
                Ok(found) => Ok((found, None)),
                Err(e) if e.kind() == ErrorKind::Damaged => Ok((None, Some(e))),
                Err(e) => Err(e),
            }
        })
        .collect();
    let mut reads = stream::iter(reads).buffered(RECORD_FETCHES);
    let (mut records, mut damaged) = (Vec::new(), Vec::new());
    while let Some((found, error)) = reads.try_next().await? {
        let wanted = |r: &Record| filter.kind.as_ref().is_none_or(|k| r.event.kind() == k);
        records.extend(found.filter(wanted));
        damaged.extend(error);
    }
    if filter.newest > 0 {
        records.drain(..records.len().saturating_sub(filter.newest));
    }
    Ok((records, damaged))
}

/// A record is for people: its lists end somewhere. Counts beside them tell how many there were.
fn bound(event: &mut Event) {
    match event {
        Event::Forgot(list) => list.truncate(AUDIT_EVENT_ITEMS_MAX),
        Event::Verified(v) => v.damaged.truncate(AUDIT_EVENT_ITEMS_MAX),
        Event::Tested(t) => t.failed.truncate(AUDIT_EVENT_ITEMS_MAX),
        Event::Repaired(r) => r.lost.truncate(AUDIT_EVENT_ITEMS_MAX),
        Event::Collected(c) => c.fenced.truncate(AUDIT_EVENT_ITEMS_MAX),
        Event::Unforgot { .. } | Event::Keys(_) | Event::Other { .. } => {}
    }
}

#[cfg(test)]
mod tests;
