//! W4: what a session must not refer to: condemned packs and quarantined blobs; and the relocations.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::parts;
use super::relocations::Relocations;
use crate::error::Context as _;
use crate::ids::{Generation, PackId, Place};
use crate::index::objects::Objects;
use crate::layout::ObjectKind;
use crate::limits::RECORD_FETCHES;
use crate::manifest::BadRecord;
use crate::manifest::gc::{GcDone, GcOpen, GcSweep, Quarantine, Relocation};
use crate::manifest::record::SessionKind;
use crate::store::Key;
use crate::{ErrorKind, Result};

/// Places that may not be referenced, whatever exists.
#[derive(Debug, Default)]
pub(super) struct Forbidden {
    condemned: HashSet<PackId>,
    quarantined: Quarantined,
    /// What the session found damaged itself, whether or not it is named for others.
    met: Quarantined,
}

/// Damaged blobs by pack. `None`: the whole pack.
pub(crate) type Quarantined = HashMap<PackId, Option<HashSet<u32>>>;

impl Forbidden {
    pub(super) fn is_empty(&self) -> bool {
        self.condemned.is_empty() && self.quarantined.is_empty() && self.met.is_empty()
    }

    pub(super) fn forbids(&self, place: Place) -> bool {
        let names = |damaged: &Quarantined| {
            damaged.get(&place.pack).is_some_and(|q| q.as_ref().is_none_or(|o| o.contains(&place.ordinal)))
        };
        self.condemned.contains(&place.pack) || names(&self.quarantined) || names(&self.met)
    }

    /// Whether it rules out any blob of this pack.
    pub(super) fn forbids_of(&self, pack: PackId) -> bool {
        self.condemned.contains(&pack) || self.quarantined.contains_key(&pack) || self.met.contains_key(&pack)
    }

    /// Condemns what another generation condemned too.
    pub(super) fn condemn(&mut self, condemned: impl IntoIterator<Item = PackId>) {
        self.condemned.extend(condemned);
    }

    /// Takes over what holds for the whole session, whatever generation it goes on in.
    pub(super) fn carry_on(&mut self, before: Self) {
        self.condemned.extend(before.condemned);
        self.met = before.met;
    }

    /// Rules out blobs that were met damaged; no ordinals: all of the pack.
    pub(super) fn meet(&mut self, pack: PackId, ordinals: &[u32]) {
        add(&mut self.met, pack, ordinals);
    }
}

/// A GC record, if it is there.
pub(crate) async fn find_gc<T>(
    objects: &Objects,
    generation: Generation,
    record: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, BadRecord>,
) -> Result<Option<T>> {
    let key = objects.layout.gc(generation, record);
    let Some(plain) = objects.find(ObjectKind::Gc, &key).await? else { return Ok(None) };
    let plain = parts::whole(objects, generation, record, plain).await?;
    decode(&plain).map(Some).context(ErrorKind::Damaged, || format!("read {key}"))
}

/// The newest `done` record, by listing.
pub(crate) async fn find_newest_done(objects: &Objects) -> Result<Option<(Generation, GcDone)>> {
    newest_done_after(objects, None).await
}

/// The newest `done` record if it freezes this generation: that of n freezes those before n. Mostly one listing of what is
/// new since the session began, and nothing to read.
pub(crate) async fn find_done_that_freezes(
    objects: &Objects,
    generation: Generation,
) -> Result<Option<GcDone>> {
    let own = objects.layout.gc(generation, "sweep");
    let found = newest_done_after(objects, Some(&own)).await?;
    Ok(found.map(|(_, done)| done).filter(|done| done.frozen >= generation))
}

async fn newest_done_after(objects: &Objects, after: Option<&Key>) -> Result<Option<(Generation, GcDone)>> {
    let mut tried = None;
    loop {
        let keys = objects.list(&objects.layout.folder(ObjectKind::Gc), after).await?;
        let done = keys.iter().rev().find_map(|k| match objects.layout.parse_gc(k) {
            Some((generation, "done")) => Some(generation),
            _ => None,
        });
        let Some(generation) = done else { return Ok(None) };
        match find_gc(objects, generation, "done", GcDone::decode).await {
            // Two runs later the parts of a large record go; then there is a newer one.
            Err(e) if e.kind() == ErrorKind::NotFound && tried != done => tried = done,
            read => return Ok(read?.map(|record| (generation, record))),
        }
    }
}

/// All that W4 reads for a session of this kind registered in `generation`.
///
/// A writer takes the copies that the generation's `open` names for places, whether their packs are swept already or not: it
/// asks whether they exist like for any other pack (W5), and stores them as new places. Otherwise all that a run compacts
/// would be read and stored again by whoever works meanwhile.
pub(super) async fn load(
    objects: &Objects,
    generation: Generation,
    kind: SessionKind,
) -> Result<(Forbidden, Relocations)> {
    let mut forbidden = Forbidden::default();
    let mut relocations = Relocations::default();
    if generation > Generation::default() {
        let open = get_open(objects, generation).await?;
        relocations = match kind {
            SessionKind::Write => {
                let moved = open.relocations.iter().map(|r| r.pack).collect();
                Relocations::new(&load_merged(objects).await?, &open.relocations, &moved)
            }
            _ => load_relocations(objects, generation, &open).await?,
        };
        forbidden.condemned.extend(open.condemned);
    }
    forbidden.quarantined = load_quarantine(objects).await?;
    Ok((forbidden, relocations))
}

/// The `open` record of a generation that is known to have one.
pub(super) async fn get_open(objects: &Objects, generation: Generation) -> Result<GcOpen> {
    let open = find_gc(objects, generation, "open", GcOpen::decode).await?;
    open.ok_or_else(|| {
        let key = objects.layout.gc(generation, "open");
        crate::Error::new(ErrorKind::Damaged, format!("{key} is gone: nothing deletes GC records"))
    })
}

/// The relocations that hold in `generation`: those that the run before it merged, and its own of packs that it sweeps.
/// Without a `sweep` record none of its own do yet.
async fn load_relocations(objects: &Objects, generation: Generation, open: &GcOpen) -> Result<Relocations> {
    let merged = load_merged(objects).await?;
    let sweep = find_gc(objects, generation, "sweep", GcSweep::decode).await?;
    let swept = sweep.map(|s| s.packs.into_iter().collect()).unwrap_or_default();
    Ok(Relocations::new(&merged, &open.relocations, &swept))
}

/// Those that earlier runs have carried on.
async fn load_merged(objects: &Objects) -> Result<Vec<Relocation>> {
    Ok(find_newest_done(objects).await?.map(|(_, done)| done.relocations).unwrap_or_default())
}

/// See [`Relocations::load_newest`].
pub(super) async fn load_newest_relocations(objects: &Objects) -> Result<Relocations> {
    let keys = objects.list(&objects.layout.folder(ObjectKind::Gc), None).await?;
    let newest = keys
        .iter()
        .filter_map(|k| objects.layout.parse_gc(k))
        .filter(|(_, r)| *r == "open")
        .map(|(g, _)| g)
        .max();
    let Some(generation) = newest else { return Ok(Relocations::default()) };
    match find_gc(objects, generation, "open", GcOpen::decode).await? {
        Some(open) => load_relocations(objects, generation, &open).await,
        None => Ok(Relocations::default()),
    }
}

/// Keys are `q/<pack>-<random>`.
fn quarantined_pack(key: &Key) -> Option<PackId> {
    key.name().rsplit_once('-')?.0.parse().ok()
}

/// All quarantine records, by the packs that they are about.
pub(crate) async fn list_quarantine(objects: &Objects) -> Result<Vec<(PackId, Key)>> {
    let keys = objects.list(&objects.layout.folder(ObjectKind::Quarantine), None).await?;
    Ok(keys.into_iter().filter_map(|key| Some((quarantined_pack(&key)?, key))).collect())
}

/// What all quarantine records say.
pub(crate) async fn load_quarantine(objects: &Objects) -> Result<Quarantined> {
    let named = list_quarantine(objects).await?.into_iter();
    let read = named.map(|(pack, key)| async move {
        let ordinals = match objects.find(ObjectKind::Quarantine, &key).await {
            // A record that can't be read still says that its pack is not to be trusted.
            Ok(Some(plain)) => match Quarantine::decode(&plain) {
                Ok(record) if record.pack == pack => record.ordinals,
                _ => Vec::new(),
            },
            Ok(None) => Vec::new(),
            Err(e) if e.kind() == ErrorKind::Damaged => Vec::new(),
            Err(e) => return Err(e),
        };
        Ok((pack, ordinals))
    });
    let read: Vec<_> = read.collect();
    let mut read = stream::iter(read).buffered(RECORD_FETCHES);
    let mut all = Quarantined::new();
    while let Some((pack, ordinals)) = read.try_next().await? {
        add(&mut all, pack, &ordinals);
    }
    Ok(all)
}

fn add(all: &mut Quarantined, pack: PackId, ordinals: &[u32]) {
    match all.entry(pack).or_insert_with(|| Some(HashSet::new())) {
        Some(known) if !ordinals.is_empty() => known.extend(ordinals),
        whole => *whole = None,
    }
}
