//! The records that decide: each is created once, and whoever finds one there already goes by that.

use std::collections::HashSet;

use crate::error::Context as _;
use crate::ids::{Generation, PackId};
use crate::index::objects::{Objects, Whose};
use crate::layout::ObjectKind;
use crate::manifest::BadRecord;
use crate::manifest::gc::{GcDone, GcOpen, GcSweep};
use crate::session::forbidden::find_gc;
use crate::session::parts;
use crate::{Error, ErrorKind, Result};

/// How a record is written and read.
type Form<T> = (fn(&T) -> Vec<u8>, fn(&[u8]) -> Result<T, BadRecord>);

/// Creates a record, or reads the one that is there: false.
async fn create<T>(
    objects: &Objects,
    generation: Generation,
    record: &str,
    own: T,
    (encode, decode): Form<T>,
) -> Result<(T, bool)> {
    let key = objects.layout.gc(generation, record);
    let plain = parts::split(objects, generation, record, encode(&own)).await?;
    let sealed = objects.seal(ObjectKind::Gc, &key, &plain);
    match objects.put_own(&key, &sealed).await? {
        Whose::Ours => Ok((own, true)),
        Whose::Others(found) => {
            let plain = objects.unseal_fresh(ObjectKind::Gc, &key, &found).await?;
            let plain = parts::whole(objects, generation, record, plain).await?;
            let theirs = decode(&plain).context(ErrorKind::Damaged, || format!("read {key}"))?;
            Ok((theirs, false))
        }
    }
}

/// The `open` record of a generation.
pub(super) async fn find_open(objects: &Objects, generation: Generation) -> Result<Option<GcOpen>> {
    find_gc(objects, generation, "open", GcOpen::decode).await
}

/// G2: opens the generation. Another collector's record counts as well as the own one; then the second is false.
pub(super) async fn create_open(
    objects: &Objects,
    generation: Generation,
    open: &GcOpen,
) -> Result<(GcOpen, bool)> {
    if let Some(before) = generation.0.checked_sub(1).filter(|&g| g > 0) {
        let done = find_gc(objects, Generation(before), "done", GcDone::decode).await?;
        if done.is_none() {
            let what = format!("generation {before} is not done: {generation} must not be opened");
            return Err(Error::new(ErrorKind::Internal, what));
        }
    }
    create(objects, generation, "open", open.clone(), (GcOpen::encode, GcOpen::decode)).await
}

/// G5: the list that counts.
pub(super) async fn create_sweep(
    objects: &Objects,
    generation: Generation,
    packs: Vec<PackId>,
) -> Result<Vec<PackId>> {
    let sweep = GcSweep { packs };
    Ok(create(objects, generation, "sweep", sweep, (GcSweep::encode, GcSweep::decode)).await?.0.packs)
}

/// G8.
pub(super) async fn create_done(objects: &Objects, generation: Generation, done: GcDone) -> Result<GcDone> {
    Ok(create(objects, generation, "done", done, (GcDone::encode, GcDone::decode)).await?.0)
}

/// What the run before this generation meant to delete. Whatever of it is still there was left over; by induction
/// that holds for what earlier runs left too.
pub(super) async fn last_sweep(objects: &Objects, generation: Generation) -> Result<HashSet<PackId>> {
    let Some(before) = generation.0.checked_sub(1).filter(|&g| g > 0) else { return Ok(HashSet::new()) };
    let sweep = find_gc(objects, Generation(before), "sweep", GcSweep::decode).await?;
    Ok(sweep.map(|s| s.packs.into_iter().collect()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
