//! Finds out whether a store can hold a repository: what the protocol of sessions and GC stands on, tried once.
//!
//! Some S3 clones ignore `If-None-Match`, some answer 501, some list late: with such a store two writers would lose
//! each other's work silently. It is refused before anything is written to it.

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::future::join_all;
use thiserror::Error;

use super::{Key, Put, Store, StoreError};
use crate::env::Random;
use crate::ids::hex;

/// Puts that race for one key.
const RACERS: usize = 8;

/// Why a store can't be used.
#[derive(Debug, Error)]
#[error("the store is unfit: {check}: {what}")]
pub struct ProbeError {
    /// Which property it lacks: `create-if-absent`, `list after write`, `read after write`, `ranged read`, `delete`.
    pub check: &'static str,
    /// What was seen.
    pub what: String,
    /// The request's error, if it was one.
    #[source]
    pub source: Option<StoreError>,
}

fn failed(check: &'static str) -> impl FnOnce(StoreError) -> ProbeError {
    move |e| ProbeError { check, what: format!("the request failed: {}", e.op.name()), source: Some(e) }
}

fn ensure(good: bool, check: &'static str, what: impl FnOnce() -> String) -> Result<(), ProbeError> {
    if good { Ok(()) } else { Err(ProbeError { check, what: what(), source: None }) }
}

/// Tries the store with a few objects below `probe/`, which are deleted again, and names the first thing that fails.
pub async fn probe(store: &dyn Store, random: &dyn Random) -> Result<(), ProbeError> {
    let mut id = [0; 16];
    random.fill(&mut id);
    let folder = format!("probe/{}/", hex(&id));
    let keys =
        ["object", "race"].map(|name| Key::new(format!("{folder}{name}")).expect("hex and words make a key"));
    let [object, race] = &keys;
    let result = run(store, &folder, object, race).await;
    // Cleaning up comes first even after a failure; its own failure counts only if all else was well.
    let mut cleaned = Ok(());
    for key in &keys {
        cleaned = store.delete(key).await.map_err(failed("delete")).and(cleaned);
    }
    result?;
    cleaned?;
    for key in &keys {
        let size = store.find_size(key).await.map_err(failed("delete"))?;
        ensure(size.is_none(), "delete", || format!("{key} is still there after it was deleted"))?;
    }
    Ok(())
}

async fn run(store: &dyn Store, folder: &str, object: &Key, race: &Key) -> Result<(), ProbeError> {
    let check = "create-if-absent";
    let ours = Bytes::from_static(b"0123456789 probe");
    let theirs = Bytes::from_static(b"this must never replace what is there");
    let listed = list(store, folder).await?;
    ensure(listed.is_empty(), "list after write", || {
        format!("{folder} holds {listed:?} before anything was stored")
    })?;
    let put = store.put_new(object, ours.clone()).await.map_err(failed(check))?;
    ensure(put == Put::Created, check, || format!("{object} is said to exist before it was stored"))?;

    let check = "list after write";
    let listed = list(store, folder).await?;
    let expected = [(object.clone(), ours.len() as u64)];
    ensure(listed == expected, check, || format!("{object} was stored, the list says {listed:?}"))?;

    let check = "read after write";
    let got = store.get(object).await.map_err(failed(check))?;
    ensure(got == ours, check, || format!("{object} comes back changed"))?;
    let size = store.find_size(object).await.map_err(failed(check))?;
    ensure(size == Some(ours.len() as u64), check, || format!("{object} has the size {size:?}"))?;

    let check = "ranged read";
    let got = store.get_range(object, 3..7).await.map_err(failed(check))?;
    ensure(got == ours[3..7], check, || format!("bytes 3..7 of {object} are wrong"))?;

    let check = "create-if-absent";
    let put = store.put_new(object, theirs).await.map_err(failed(check))?;
    ensure(put == Put::AlreadyExists, check, || format!("{object} was stored twice under one key"))?;
    let got = store.get(object).await.map_err(failed(check))?;
    ensure(got == ours, check, || format!("{object} was replaced, though the store said that it exists"))?;
    run_race(store, race).await
}

async fn run_race(store: &dyn Store, race: &Key) -> Result<(), ProbeError> {
    let check = "create-if-absent";
    let racer = |n: usize| Bytes::from(format!("racer {n}"));
    let puts = join_all((0..RACERS).map(|n| store.put_new(race, racer(n)))).await;
    let mut winners = Vec::new();
    for (n, put) in puts.into_iter().enumerate() {
        if put.map_err(failed(check))? == Put::Created {
            winners.push(n);
        }
    }
    // None at all is possible: the winner's first reply may have been lost.
    ensure(winners.len() <= 1, check, || {
        format!("{} of {RACERS} puts of one key were accepted", winners.len())
    })?;
    let got = store.get(race).await.map_err(failed(check))?;
    let good = winners.first().map_or_else(|| (0..RACERS).any(|n| got == racer(n)), |&n| got == racer(n));
    ensure(good, check, || format!("{race} does not hold what its only writer stored"))
}

async fn list(store: &dyn Store, folder: &str) -> Result<Vec<(Key, u64)>, ProbeError> {
    let listed: Vec<_> = store.list(folder, None).try_collect().await.map_err(failed("list after write"))?;
    Ok(listed.into_iter().map(|l| (l.key, l.bytes)).collect())
}

#[cfg(test)]
mod tests;
