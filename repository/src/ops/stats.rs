//! What the repository holds, how much of it is needed by whom, and what would be freed.
//!
//! Figures come from outcomes, summaries and the footers of packs: one request for each, and none for blobs. Memory is a
//! few words for each snapshot and for each stretch of blobs with one owner. Nothing is registered: a figure may be of a
//! moment that has passed.

mod between;
mod owners;
mod top;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, stream};

use crate::env::Timestamp;
use crate::ids::{PackId, Sid};
use crate::items::BlobFetch as _;
use crate::limits::{FOOTER_FETCHES, RECORD_FETCHES};
use crate::manifest::{Manifest, Summary, summary};
use crate::ops::reader::{Reader, is_damage};
use crate::ops::{Problems, Repository, Task};
use crate::pack::Footer;
use crate::session::{Found, Relocations, history};
use crate::{Error, Result};

pub use between::{Between, between};
pub use top::Ranked;

use owners::{Owner, Owners, SHARED, Stretch};

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
    let (mut owners, mut volumes) = (Owners::default(), BTreeMap::<String, u32>::new());
    let mut scan = Scan::begin(repo, task).await?;
    while let Some((id, manifest)) = scan.next(&mut detail.problems).await? {
        let next = u32::try_from(volumes.len()).unwrap_or(SHARED - 1);
        let volume = *volumes.entry(manifest.volume.clone()).or_insert(next);
        let snapshot = u32::try_from(detail.snapshots.len()).unwrap_or(SHARED - 1);
        let owner = Owner { snapshot, volume };
        scan.needs(&manifest.summary, owner, &mut owners, &mut detail.problems, id).await?;
        detail.count(id, &manifest);
    }
    let mut by_volume: Vec<Bytes> = vec![Bytes::default(); volumes.len()];
    let mut footers = read_footers(&scan, &owners, |_| true);
    while let Some((pack, list, footer)) = footers.next().await {
        task.check()?;
        let Some(footer) = scan.bearable(pack, footer, &mut detail.problems)? else { continue };
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
    fn count(&mut self, id: Sid, m: &Manifest) {
        self.bytes_files = self.bytes_files.saturating_add(m.bytes);
        let volume = self.volumes.entry(m.volume.clone()).or_default();
        volume.snapshots += 1;
        volume.bytes = volume.bytes.saturating_add(m.bytes);
        if volume.snapshots == 1 || volume.newest < m.started {
            (volume.newest, volume.bytes_newest) = (m.started, m.bytes);
        }
        let day = m.started.seconds().div_euclid(DAY_SECONDS);
        let day = self.days.entry((day, m.volume.clone())).or_default();
        day.snapshots += 1;
        day.bytes_new = day.bytes_new.saturating_add(m.bytes_new);
        day.bytes_stored = day.bytes_stored.saturating_add(m.bytes_stored);
        self.snapshots.push(SnapshotFigures {
            id,
            volume: m.volume.clone(),
            started: m.started,
            bytes: m.bytes,
            bytes_new: m.bytes_new,
            bytes_stored: m.bytes_stored,
            exclusive: Bytes::default(),
        });
    }
}

/// What would be freed if these snapshots were forgotten, and no others.
pub async fn would_free(repo: &Repository, forgotten: &HashSet<Sid>, task: &Task) -> Result<Freed> {
    const KEPT: u32 = 0;
    const GOES: u32 = 1;
    let sizes = pack_sizes(repo).await?;
    let (mut freed, mut owners) = (Freed::default(), Owners::default());
    let mut scan = Scan::begin(repo, task).await?;
    while let Some((id, manifest)) = scan.next(&mut freed.problems).await? {
        let goes = forgotten.contains(&id);
        freed.snapshots += u64::from(goes);
        let number = if goes { GOES } else { KEPT };
        let owner = Owner { snapshot: number, volume: number };
        scan.needs(&manifest.summary, owner, &mut owners, &mut freed.problems, id).await?;
    }
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
        let Some(footer) = scan.bearable(pack, footer, &mut freed.problems)? else { continue };
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
    let (mut owners, mut snapshots) = (Owners::default(), Vec::new());
    let mut scan = Scan::begin(repo, task).await?;
    while let Some((id, manifest)) = scan.next(problems).await? {
        let all = Owner { snapshot: 0, volume: 0 };
        scan.needs(&manifest.summary, all, &mut owners, problems, id).await?;
        snapshots.push(id);
    }
    Ok((snapshots, owners.packs().map(|(pack, _)| pack).collect()))
}

async fn pack_sizes(repo: &Repository) -> Result<BTreeMap<PackId, u64>> {
    super::gc::list_packs(&repo.objects()).await
}

type Read = (Sid, Result<Found>);

/// All snapshots, one after the other; only the manifest at hand is held.
struct Scan<'a> {
    reader: Arc<Reader>,
    relocations: Relocations,
    task: &'a Task,
    outcomes: stream::BoxStream<'static, Read>,
}

impl<'a> Scan<'a> {
    async fn begin(repo: &Repository, task: &'a Task) -> Result<Self> {
        let objects = repo.cached_objects();
        let names = history::list_outcomes(&objects).await?;
        let relocations = Relocations::load_newest(&objects).await?;
        let outcomes = history::read_all(&objects, names).map(|(_, sid, found)| (sid, found)).boxed();
        Ok(Self { reader: Reader::unregistered(repo), relocations, task, outcomes })
    }

    async fn next(&mut self, problems: &mut Problems) -> Result<Option<(Sid, Manifest)>> {
        while let Some((id, found)) = self.outcomes.next().await {
            self.task.check()?;
            match found {
                Ok(Found::Committed(manifest)) => return Ok(Some((id, *manifest))),
                Ok(Found::Aborted | Found::Missing) => {}
                Err(e) if is_damage(&e) => problems.push(id.to_string().as_bytes(), e.chain()),
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Notes what a snapshot needs.
    async fn needs(
        &self,
        summary: &Summary,
        owner: Owner,
        owners: &mut Owners,
        problems: &mut Problems,
        id: Sid,
    ) -> Result<()> {
        let damaged =
            |e: &Error, problems: &mut Problems| problems.push(id.to_string().as_bytes(), e.chain());
        let pieces = match summary {
            Summary::Inline(_) => {
                let uses = summary::load(summary, &*self.reader).await?;
                uses.iter().for_each(|needed| owners.add_use(needed, &self.relocations, owner));
                return Ok(());
            }
            Summary::Pieces(pieces) => pieces,
        };
        let wanted: Vec<_> = pieces.iter().filter(|p| owners.needs_piece(p.id, owner)).copied().collect();
        let reads: Vec<_> = wanted.iter().map(|piece| self.reader.get(*piece)).collect();
        let mut reads = stream::iter(reads).buffered(RECORD_FETCHES).enumerate();
        while let Some((i, read)) = reads.next().await {
            owners.add(self.relocations.resolve(wanted[i].place), owner);
            let decoded = read.and_then(|bytes| {
                summary::decode(&bytes).map_err(|e| {
                    Error::with_source(crate::ErrorKind::Damaged, "read a snapshot's summary", e)
                })
            });
            match decoded {
                Ok(uses) => uses.iter().for_each(|u| owners.add_use(u, &self.relocations, owner)),
                Err(e) if is_damage(&e) => damaged(&e, problems),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// A footer, or why there is none.
    fn bearable<T>(&self, pack: PackId, footer: Result<T>, problems: &mut Problems) -> Result<Option<T>> {
        match footer {
            Ok(footer) => Ok(Some(footer)),
            Err(e) if is_damage(&e) => {
                problems.push(format!("pack {pack}").as_bytes(), e.chain());
                Ok(None)
            }
            Err(e) => Err(e),
        }
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
