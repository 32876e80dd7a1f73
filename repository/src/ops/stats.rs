//! What the repository holds, how much of it is needed by whom, and what would be freed.
//!
//! Figures come from the catalogue of the last GC run, outcomes and summaries since, and the footers of packs: one request for
//! each, and none for blobs. Memory is a
//! few words for each snapshot and for each stretch of blobs with one owner. Nothing is registered: a figure may be of a
//! moment that has passed.

mod between;
mod owners;
mod scan;
mod top;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, stream};

use crate::Result;
use crate::env::Timestamp;
use crate::ids::{PackId, Sid};
use crate::limits::FOOTER_FETCHES;
use crate::manifest::catalogue::SnapshotFacts;
use crate::ops::reader::is_damage;
use crate::ops::{Problems, Repository, Task};
use crate::pack::Footer;

pub use between::{Between, between};
pub use top::Ranked;

use owners::{Owner, Owners, SHARED, Stretch};
use scan::Scan;

/// Plain and stored bytes of blobs. A blob's stored bytes are its share of its group's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Before compression.
    pub plain: u64,
    /// As they lie in packs.
    pub stored: u64,
}

impl Bytes {
    fn add(&mut self, other: Self) {
        self.plain = self.plain.saturating_add(other.plain);
        self.stored = self.stored.saturating_add(other.stored);
    }
}

/// One snapshot's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFigures {
    /// Its id.
    pub id: Sid,
    /// Its volume.
    pub volume: String,
    /// When its walk began.
    pub started: Timestamp,
    /// Plain bytes of its files.
    pub bytes: u64,
    /// Plain bytes that were new to the repository when it was made.
    pub bytes_new: u64,
    /// Bytes put into the store for it.
    pub bytes_stored: u64,
    /// What no other snapshot needs: freed if only it is forgotten.
    pub exclusive: Bytes,
}

/// One volume's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFigures {
    /// Snapshots of it.
    pub snapshots: u64,
    /// When the walk of its newest snapshot began.
    pub newest: Timestamp,
    /// Plain bytes of the files of that one.
    pub bytes_newest: u64,
    /// Plain bytes of the files of all its snapshots, each counted whole.
    pub bytes: u64,
    /// What no other volume needs.
    pub exclusive: Bytes,
}

/// What a day brought to a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayFigures {
    /// Snapshots begun on that day.
    pub snapshots: u64,
    /// Plain bytes that were new.
    pub bytes_new: u64,
    /// Bytes put into the store.
    pub bytes_stored: u64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Every snapshot, oldest first.
    pub snapshots: Vec<SnapshotFigures>,
    /// Every volume.
    pub volumes: BTreeMap<String, VolumeFigures>,
    /// Days since 1970-01-01 (UTC) and volumes, with what they brought.
    pub days: BTreeMap<(i64, String), DayFigures>,
    /// Plain bytes of the files of all snapshots, each counted whole.
    pub bytes_files: u64,
    /// All blobs that some snapshot needs, each once.
    pub needed: Bytes,
    /// Packs, and their bytes.
    pub packs: u64,
    /// Bytes of all packs.
    pub packs_bytes: u64,
    /// Packs that no snapshot needs, and their bytes.
    pub packs_unneeded: u64,
    /// Bytes of these.
    pub packs_unneeded_bytes: u64,
    /// What could not be read: figures lack it.
    pub problems: Problems,
}

/// What forgetting some snapshots would free.
#[derive(Clone, Debug, Default)]
pub struct Freed {
    /// Snapshots that would be forgotten.
    pub snapshots: u64,
    /// What only they need.
    pub blobs: Bytes,
    /// Packs that nobody else needs anything of.
    pub packs: u64,
    /// Bytes of these: what the next GC frees at once. The rest comes with compaction.
    pub packs_bytes: u64,
    /// What could not be read: figures lack it.
    pub problems: Problems,
}

const DAY_SECONDS: i64 = 24 * 3600;

/// Figures of the whole domain.
pub async fn detail(repo: &Repository, task: &Task) -> Result<Detail> {
    let sizes = pack_sizes(repo).await?;
    let mut detail = Detail { packs: sizes.len() as u64, ..Detail::default() };
    detail.packs_bytes = sizes.values().sum();
    let (mut volumes, mut problems) = (BTreeMap::<String, u32>::new(), Problems::default());
    let scan = Scan::begin(repo, task).await?;
    let owners = scan
        .needs(&mut problems, |id, volume, facts| {
            let next = u32::try_from(volumes.len()).unwrap_or(SHARED - 1);
            let number = *volumes.entry(volume.to_owned()).or_insert(next);
            let snapshot = u32::try_from(detail.snapshots.len()).unwrap_or(SHARED - 1);
            detail.count(id, volume, facts);
            Owner { snapshot, volume: number }
        })
        .await?;
    detail.problems = problems;
    let mut by_volume: Vec<Bytes> = vec![Bytes::default(); volumes.len()];
    let mut footers = read_footers(&scan, &owners, |_| true);
    while let Some((pack, list, footer)) = footers.next().await {
        task.check()?;
        let Some(footer) = bearable(pack, footer, &mut detail.problems)? else { continue };
        for stretch in list {
            let bytes = bytes_of(&footer, stretch);
            detail.needed.add(bytes);
            if let Some(s) = detail.snapshots.get_mut(stretch.owner.snapshot as usize) {
                s.exclusive.add(bytes);
            }
            if let Some(v) = by_volume.get_mut(stretch.owner.volume as usize) {
                v.add(bytes);
            }
        }
    }
    drop(footers);
    for (name, number) in volumes {
        detail.volumes.entry(name).or_default().exclusive = by_volume[number as usize];
    }
    let needed: HashSet<PackId> = owners.packs().map(|(id, _)| id).collect();
    for (_, bytes) in sizes.iter().filter(|(id, _)| !needed.contains(id)) {
        detail.packs_unneeded += 1;
        detail.packs_unneeded_bytes += bytes;
    }
    detail.snapshots.sort_by_key(|s| (s.started, s.id));
    Ok(detail)
}

impl Detail {
    fn count(&mut self, id: Sid, name: &str, facts: SnapshotFacts) {
        let SnapshotFacts { started, bytes, bytes_new, bytes_stored } = facts;
        self.bytes_files = self.bytes_files.saturating_add(bytes);
        let volume = self.volumes.entry(name.to_owned()).or_default();
        volume.snapshots += 1;
        volume.bytes = volume.bytes.saturating_add(bytes);
        if volume.snapshots == 1 || volume.newest < started {
            (volume.newest, volume.bytes_newest) = (started, bytes);
        }
        let day = started.seconds().div_euclid(DAY_SECONDS);
        let day = self.days.entry((day, name.to_owned())).or_default();
        day.snapshots += 1;
        day.bytes_new = day.bytes_new.saturating_add(bytes_new);
        day.bytes_stored = day.bytes_stored.saturating_add(bytes_stored);
        let (volume, exclusive) = (name.to_owned(), Bytes::default());
        self.snapshots.push(SnapshotFigures {
            id,
            volume,
            started,
            bytes,
            bytes_new,
            bytes_stored,
            exclusive,
        });
    }
}

/// What would be freed if these snapshots were forgotten, and no others.
pub async fn would_free(repo: &Repository, forgotten: &HashSet<Sid>, task: &Task) -> Result<Freed> {
    const KEPT: u32 = 0;
    const GOES: u32 = 1;
    let sizes = pack_sizes(repo).await?;
    let (mut freed, mut problems) = (Freed::default(), Problems::default());
    let scan = Scan::begin(repo, task).await?;
    let owners = scan
        .needs(&mut problems, |id, _, _| {
            let goes = forgotten.contains(&id);
            freed.snapshots += u64::from(goes);
            let number = if goes { GOES } else { KEPT };
            Owner { snapshot: number, volume: number }
        })
        .await?;
    freed.problems = problems;
    let goes = |s: &Stretch| s.owner.snapshot == GOES;
    for (pack, list) in owners.packs() {
        if let Some(bytes) = sizes.get(&pack).filter(|_| list.iter().all(goes)) {
            freed.packs += 1;
            freed.packs_bytes += bytes;
        }
    }
    let mut footers = read_footers(&scan, &owners, |list| list.iter().any(goes));
    while let Some((pack, list, footer)) = footers.next().await {
        task.check()?;
        let Some(footer) = bearable(pack, footer, &mut freed.problems)? else { continue };
        list.iter().filter(|s| goes(s)).for_each(|s| freed.blobs.add(bytes_of(&footer, s)));
    }
    Ok(freed)
}

/// The snapshots that count, and the packs that they need. One of which that can't be told is named.
pub(crate) async fn needed(
    repo: &Repository,
    task: &Task,
    problems: &mut Problems,
) -> Result<(Vec<Sid>, HashSet<PackId>)> {
    let mut snapshots = Vec::new();
    let scan = Scan::begin(repo, task).await?;
    let owners = scan
        .needs(problems, |id, _, _| {
            snapshots.push(id);
            Owner { snapshot: 0, volume: 0 }
        })
        .await?;
    Ok((snapshots, owners.packs().map(|(pack, _)| pack).collect()))
}

async fn pack_sizes(repo: &Repository) -> Result<BTreeMap<PackId, u64>> {
    super::gc::list_packs(&repo.objects()).await
}

/// A footer, or why there is none.
fn bearable<T>(pack: PackId, footer: Result<T>, problems: &mut Problems) -> Result<Option<T>> {
    match footer {
        Ok(footer) => Ok(Some(footer)),
        Err(e) if is_damage(&e) => {
            problems.push(format!("pack {pack}").as_bytes(), e.chain());
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// A pack, what is needed of it, and its footer.
type FooterOf<'o> = (PackId, &'o [Stretch], Result<Arc<Footer>>);

/// The footers of the packs that are picked, each once.
fn read_footers<'o>(
    scan: &Scan<'_>,
    owners: &'o Owners,
    pick: impl Fn(&[Stretch]) -> bool,
) -> stream::BoxStream<'o, FooterOf<'o>> {
    let reader = Arc::clone(&scan.reader);
    let picked: Vec<_> = owners.packs().filter(|(_, list)| pick(list)).collect();
    let reads = picked.into_iter().map(move |(pack, list)| {
        let reader = Arc::clone(&reader);
        async move { (pack, list, reader.footer(pack).await) }
    });
    stream::iter(reads).buffer_unordered(FOOTER_FETCHES).boxed()
}

fn bytes_of(footer: &Footer, stretch: &Stretch) -> Bytes {
    let (start, end) = (stretch.start as usize, stretch.end as usize);
    let blobs = footer.blobs.get(start..end.min(footer.blobs.len())).unwrap_or_default();
    let mut sum = Bytes::default();
    for blob in blobs {
        let Some(group) = footer.groups.get(blob.group as usize) else { continue };
        let share = u64::from(group.stored) * u64::from(blob.bytes) / u64::from(group.plain.max(1));
        sum.add(Bytes { plain: blob.bytes.into(), stored: share });
    }
    sum
}
