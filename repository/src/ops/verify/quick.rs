//! Every object that a snapshot needs exists, with its size: the store is asked, nothing is read but the summary.
//!
//! What a GC run moved is looked for where it is now. A pack that is missing is no damage before the relocations were
//! read again: it may have been moved since.

use std::collections::{BTreeMap, HashSet};

use futures::StreamExt as _;
use futures::stream;

use super::Findings;
use crate::ids::{PackId, Place};
use crate::manifest::summary::{OrdinalSet, PackUse};
use crate::ops::reader::Reader;
use crate::ops::repo::store_error;
use crate::ops::{Repository, Task};
use crate::{Result, layout};

/// Up to this many packs are asked for one by one; beyond it one listing costs less.
const HEADS_MAX: usize = 100;
/// Questions asked at once.
const HEADS_AT_ONCE: usize = 16;
/// The relocations are followed so often; each further time takes a whole GC run meanwhile.
const ROUNDS_MAX: u32 = 4;

/// What a snapshot needs of one pack.
#[derive(Clone, Debug, Default)]
pub(super) struct Use {
    /// The pack's size; a summary does not know that of a pack that blobs were moved to.
    bytes: Option<u64>,
    /// The blobs.
    pub(super) ordinals: OrdinalSet,
}

/// What a snapshot needs of which pack, by the pack's name; relocations followed.
pub(super) type Uses = BTreeMap<PackId, Use>;

/// Compares the sizes of all needed packs with what the store has. Returns what is needed of which pack now.
pub(super) async fn check(
    repo: &Repository,
    reader: &Reader,
    listed: &[PackUse],
    (task, findings): (&Task, &Findings),
) -> Result<Uses> {
    let mut asked = HashSet::new();
    let mut uses = follow(listed, reader);
    for round in 1.. {
        let new: Uses =
            uses.iter().filter(|(id, _)| !asked.contains(*id)).map(|(id, u)| (*id, u.clone())).collect();
        let missing = find_missing((repo, reader), &new, task, findings).await?;
        asked.extend(new.into_keys().filter(|id| !missing.contains(id)));
        for pack in &missing {
            reader.look_again(*pack).await?;
        }
        uses = follow(listed, reader);
        let still: Vec<_> = missing.iter().filter(|id| uses.contains_key(*id)).collect();
        if still.len() == missing.len() || round == ROUNDS_MAX {
            let needed = missing.iter().filter_map(|id| Some((id, uses.get(id)?)));
            needed.for_each(|(id, needed)| compare((repo, reader), (*id, needed), None, findings));
            break;
        }
    }
    Ok(uses)
}

/// Where everything is now.
fn follow(listed: &[PackUse], reader: &Reader) -> Uses {
    let relocations = reader.relocations();
    let mut uses = Uses::new();
    for PackUse { pack, ordinals } in listed {
        if !relocations.moves(pack.id) {
            let this = uses.entry(pack.id).or_default();
            this.bytes = Some(pack.bytes);
            ordinals.runs().for_each(|(start, n)| this.ordinals.insert_run(start, n));
            continue;
        }
        for ordinal in ordinals.iter() {
            let place = relocations.resolve(Place { pack: pack.id, ordinal });
            let this = uses.entry(place.pack).or_default();
            if place.pack == pack.id {
                this.bytes = Some(pack.bytes);
            }
            this.ordinals.insert(place.ordinal);
        }
    }
    uses
}

/// Asks for all packs; names those of another size, and returns those that are not there.
async fn find_missing(
    (repo, reader): (&Repository, &Reader),
    uses: &Uses,
    task: &Task,
    findings: &Findings,
) -> Result<HashSet<PackId>> {
    let mut missing: HashSet<PackId> = uses.keys().copied().collect();
    if uses.len() <= HEADS_MAX {
        // Gathered first: a closure over borrowed values in the stream would keep the future from being `Send`.
        let packs: Vec<_> = uses.keys().copied().collect();
        let mut sizes = stream::iter(packs)
            .map(|pack| async move { (pack, repo.store.find_size(&repo.layout.pack(pack)).await) })
            .buffered(HEADS_AT_ONCE);
        while let Some((pack, size)) = sizes.next().await {
            task.check()?;
            if let Some(bytes) = size.map_err(|e| store_error("verify", e))? {
                missing.remove(&pack);
                compare((repo, reader), (pack, &uses[&pack]), Some(bytes), findings);
            }
            task.monitor.packs.add(1);
        }
        return Ok(missing);
    }
    let mut listed = repo.store.list(&repo.layout.folder(layout::ObjectKind::Pack), None);
    while let Some(object) = listed.next().await {
        task.check()?;
        let object = object.map_err(|e| store_error("list packs", e))?;
        let Some(id) = repo.layout.parse_pack(&object.key) else { continue };
        if missing.remove(&id) {
            compare((repo, reader), (id, &uses[&id]), Some(object.bytes), findings);
            task.monitor.packs.add(1);
        }
    }
    Ok(missing)
}

fn compare(
    (repo, reader): (&Repository, &Reader),
    (pack, needed): (PackId, &Use),
    found: Option<u64>,
    findings: &Findings,
) {
    let what = match (found, needed.bytes) {
        (Some(found), Some(bytes)) if found != bytes => format!("has {found} bytes instead of {bytes}"),
        (Some(_), _) => return,
        (None, _) => "is missing".to_owned(),
    };
    reader.note_suspect(pack);
    let what = format!("{what}: the snapshot needs {} blobs of it", needed.ordinals.len());
    findings.add(repo.layout.pack(pack).as_str().as_bytes(), what);
}
