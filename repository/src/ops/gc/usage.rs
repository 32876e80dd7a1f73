//! What each snapshot and volume alone needs: what forgetting it would free.
//!
//! Counted over the differences between neighbours, so that it takes no time for what does not change. A blob appears when a
//! snapshot needs it and the one before does not. It is exclusive to a snapshot if it appears once in the whole
//! repository and is gone again in the next one. Bytes are blobs times their pack's mean.

use std::collections::{BTreeMap, HashMap};

use super::mark::Mark;
use super::sessions::Sessions;
use super::{GcRequest, Run, catalogue, list_packs};
use crate::Result;
use crate::ids::{PackId, Place, Sid};
use crate::manifest::summary::OrdinalSet;
use crate::ops::{Repository, Task};
use crate::session::{Relocations, forbidden};

/// What a snapshot needs that no other does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotUsage {
    /// The snapshot.
    pub id: Sid,
    /// Its volume.
    pub volume: String,
    /// Stored bytes, about.
    pub exclusive_bytes: u64,
}

/// What the snapshots of a volume need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: String,
    /// Its snapshots.
    pub snapshots: u64,
    /// Stored bytes that they need together, about.
    pub bytes: u64,
    /// What no other volume needs of these.
    pub exclusive_bytes: u64,
}

/// Who needs what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All snapshots, volume by volume, oldest first.
    pub snapshots: Vec<SnapshotUsage>,
    /// All volumes, by name.
    pub volumes: Vec<VolumeUsage>,
    /// Stored bytes that any snapshot needs, about.
    pub live_bytes: u64,
    /// Bytes of all packs.
    pub packs_bytes: u64,
}

/// Blobs by pack.
#[derive(Debug, Default)]
struct Blobs(HashMap<PackId, OrdinalSet>);

impl Blobs {
    fn add(&mut self, pack: PackId, set: &OrdinalSet) {
        let own = self.0.entry(pack).or_default();
        set.runs().for_each(|(start, n)| own.insert_run(start, n));
    }

    fn contains(&self, pack: PackId, ordinal: u32) -> bool {
        self.0.get(&pack).is_some_and(|set| set.contains(ordinal))
    }

    /// The sum over all blobs that `take` takes.
    fn weigh(&self, weights: &Weights, take: impl Fn(PackId, u32) -> bool) -> u64 {
        let one = |(&pack, set): (&PackId, &OrdinalSet)| {
            let count = set.iter().filter(|&o| take(pack, o)).count() as u64;
            weights.of(pack, count)
        };
        self.0.iter().map(one).sum()
    }
}

/// Blobs that were met once, and those that were met more often.
#[derive(Debug, Default)]
struct Met {
    once: Blobs,
    more: Blobs,
}

impl Met {
    fn add(&mut self, pack: PackId, set: &OrdinalSet) {
        let once = self.once.0.entry(pack).or_default();
        let again: OrdinalSet = set.iter().filter(|&o| once.contains(o)).collect();
        set.runs().for_each(|(start, n)| once.insert_run(start, n));
        if !again.is_empty() {
            self.more.add(pack, &again);
        }
    }
}

/// Mean stored bytes of packs' blobs: bytes and blobs.
#[derive(Debug, Default)]
struct Weights(HashMap<PackId, (u64, u64)>);

impl Weights {
    fn of(&self, pack: PackId, blobs: u64) -> u64 {
        let Some(&(bytes, count)) = self.0.get(&pack) else { return 0 };
        u64::try_from(u128::from(bytes) * u128::from(blobs) / u128::from(count.max(1))).unwrap_or(u64::MAX)
    }
}

/// What is in one and not in the other, where it is now.
fn less(pack: PackId, set: &OrdinalSet, other: &OrdinalSet, now: &Relocations) -> Blobs {
    let mut out = Blobs::default();
    let left: OrdinalSet = set.iter().filter(|&o| !other.contains(o)).collect();
    if now.moves(pack) {
        for ordinal in left.iter() {
            let place = now.resolve(Place { pack, ordinal });
            out.0.entry(place.pack).or_default().insert(place.ordinal);
        }
    } else if !left.is_empty() {
        out.0.insert(pack, left);
    }
    out
}

/// Tells who needs what, by what the store says now. Costs what the first half of a GC run costs.
pub async fn usage(repo: &Repository, task: &Task) -> Result<Usage> {
    let packs = list_packs(&repo.objects()).await?;
    let mut run = Run::new(repo, GcRequest { dry_run: true, ..GcRequest::default() }, task, packs);
    if let Some((last, done)) = forbidden::find_newest_done(&run.objects).await? {
        run.catalogue = catalogue::load(&run.objects, last, &done.parts).await?;
    }
    let sessions = Sessions::list(&run.objects).await?;
    let relocations = Relocations::load_newest(&run.objects).await?;
    let mark = run.mark(&sessions, &relocations, None).await?;
    run.catalogue.retain(|name| mark.snapshots.binary_search(name).is_ok());
    Ok(count(&run, &mark, &relocations))
}

fn count(run: &Run<'_>, mark: &Mark, relocations: &Relocations) -> Usage {
    let mut weights = Weights::default();
    for (pack, bytes, needed) in run.packs.iter().filter_map(|(p, b)| Some((*p, *b, mark.live.of(*p)?))) {
        let facts = run.catalogue.facts(pack).filter(|f| f.live_blobs > 0);
        let known = facts.map(|f| (f.live_bytes, f.live_blobs));
        let about = (bytes, u64::from(needed.last().unwrap_or(0)) + 1);
        weights.0.insert(pack, known.unwrap_or(about));
    }
    let number = |n: u32| run.catalogue.packs()[n as usize].0;
    // First: what appears how often, in snapshots and in volumes.
    let (mut appearances, mut of_volume): (_, BTreeMap<String, Blobs>) = (Met::default(), BTreeMap::new());
    run.catalogue.walk(|volume, _, changes| {
        let own = of_volume.entry(volume.to_owned()).or_default();
        for (n, before, after) in changes {
            for (pack, added) in less(number(n), &after, &before, relocations).0 {
                appearances.add(pack, &added);
                own.add(pack, &added);
            }
        }
    });
    let mut volumes_met = Met::default();
    of_volume.values().flat_map(|blobs| &blobs.0).for_each(|(pack, set)| volumes_met.add(*pack, set));
    let mut usage = Usage { packs_bytes: run.packs.values().sum(), ..Usage::default() };
    usage.live_bytes = volumes_met.once.weigh(&weights, |_, _| true);
    for (volume, blobs) in of_volume {
        let bytes = blobs.weigh(&weights, |_, _| true);
        let exclusive_bytes = blobs.weigh(&weights, |p, o| !volumes_met.more.contains(p, o));
        usage.volumes.push(VolumeUsage { volume, snapshots: 0, bytes, exclusive_bytes });
    }
    // Then: what a snapshot brought and the next one lost again.
    let mut brought = Blobs::default();
    run.catalogue.walk(|volume, (_, sid), changes| {
        let mut lost = Blobs::default();
        let mut bring = Blobs::default();
        for (n, before, after) in &changes {
            less(number(*n), before, after, relocations).0.iter().for_each(|(p, set)| lost.add(*p, set));
            less(number(*n), after, before, relocations).0.iter().for_each(|(p, set)| bring.add(*p, set));
        }
        if let Some(last) = usage.snapshots.last_mut() {
            let goes_on = last.volume == volume;
            last.exclusive_bytes = brought.weigh(&weights, |p, o| {
                !appearances.more.contains(p, o) && (!goes_on || lost.contains(p, o))
            });
        }
        brought = bring;
        usage.snapshots.push(SnapshotUsage { id: sid, volume: volume.to_owned(), exclusive_bytes: 0 });
    });
    if let Some(last) = usage.snapshots.last_mut() {
        last.exclusive_bytes = brought.weigh(&weights, |p, o| !appearances.more.contains(p, o));
    }
    for volume in &mut usage.volumes {
        volume.snapshots = usage.snapshots.iter().filter(|s| s.volume == volume.volume).count() as u64;
    }
    usage
}
