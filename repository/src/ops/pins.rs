//! Pins: snapshots that somebody wants kept, whatever the rules say.
//!
//! A pin is an object beside the outcome, `n/<gen>/<sid>`; taking it back deletes it. Retention and `forget` respect it; GC needs
//! not know of it, since it deletes nothing of what is not forgotten. One whose snapshot is gone means nothing.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::error::Context as _;
use crate::ids::Sid;
use crate::index::objects::Objects;
use crate::layout::ObjectKind;
use crate::limits::RECORD_FETCHES;
use crate::manifest::record::Mark;
use crate::ops::Repository;
use crate::ops::forget::Because;
use crate::session::history;
use crate::store::Key;
use crate::{Error, ErrorKind, Result};

/// Keeps a snapshot until [`unpin`]. One that is pinned already stays as it is.
pub async fn pin(repo: &Repository, snapshot: Sid, because: &Because) -> Result<()> {
    let objects = repo.objects();
    let names = history::list_outcomes(&objects).await?;
    let Some((generation, sid)) = names.into_iter().find(|(_, sid)| *sid == snapshot) else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no snapshot {snapshot}")));
    };
    let key = objects.layout.pin(generation, sid);
    let sealed = objects.seal(ObjectKind::Pin, &key, &because.mark(&objects).encode());
    objects.put_own(&key, &sealed).await?;
    // Who forgets looks for pins after the marker: one of the two sees the other.
    if history::list_forgotten(&objects).await?.iter().any(|(_, sid)| *sid == snapshot) {
        let what = format!("snapshot {snapshot} was forgotten meanwhile: `holdfast unforget` brings it back");
        return Err(Error::new(ErrorKind::Refused, what));
    }
    Ok(())
}

/// Takes a pin back. Fails with `NotFound` where there is none.
pub async fn unpin(repo: &Repository, snapshot: Sid) -> Result<()> {
    let objects = repo.objects();
    let Some(key) = keys(&objects).await?.remove(&snapshot) else {
        return Err(Error::new(ErrorKind::NotFound, format!("snapshot {snapshot} is not pinned")));
    };
    objects.store.delete(&key).await.context(ErrorKind::Store, || format!("delete {key}"))
}

/// All pins, by snapshot: when, by whom and why. What a damaged one said is not known, but it holds.
pub async fn list(repo: &Repository) -> Result<HashMap<Sid, Mark>> {
    let objects = &repo.objects();
    let reads: Vec<_> = keys(objects)
        .await?
        .into_iter()
        .map(|(sid, key)| async move {
            let mark = match objects.find(ObjectKind::Pin, &key).await {
                // Taken back since it was listed.
                Ok(None) => return Ok(None),
                Ok(Some(plain)) => Mark::decode(&plain).ok(),
                Err(e) if e.kind() == ErrorKind::Damaged => None,
                Err(e) => return Err(e),
            };
            let unknown = || Mark { at: crate::env::Timestamp(0), by: String::new(), why: String::new() };
            Ok(Some((sid, mark.unwrap_or_else(unknown))))
        })
        .collect();
    let read: Vec<_> = stream::iter(reads).buffered(RECORD_FETCHES).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// Which snapshots are pinned: one listing, and nothing is read.
pub(crate) async fn keys(objects: &Objects) -> Result<HashMap<Sid, Key>> {
    let keys = objects.list(&objects.layout.folder(ObjectKind::Pin), None).await?;
    let named = |key: Key| Some((objects.layout.parse_session(ObjectKind::Pin, &key)?.1, key));
    Ok(keys.into_iter().filter_map(named).collect())
}

/// One pin in words.
pub(super) fn described(snapshot: Sid, pin: &Mark) -> String {
    let why = if pin.why.is_empty() { String::new() } else { format!(" ({})", pin.why) };
    format!("snapshot {snapshot} is pinned by {}{why}", pin.by)
}
