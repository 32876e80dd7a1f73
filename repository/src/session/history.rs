//! The snapshots of a domain: what is committed, not void and not forgotten.
//!
//! Outcomes never change, so that their names and times may be kept in a cache file, which may be deleted at any time.
//! What a snapshot consists of, and whether it still counts, is always read from the store (W4).

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;

use futures::{StreamExt as _, stream};

use super::forbidden;
use crate::codec::{Malformed, Reader, put_bytes, put_signed, put_varint};
use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::{Generation, Sid};
use crate::index::objects::Objects;
use crate::layout::ObjectKind;
use crate::limits::RECORD_FETCHES;
use crate::manifest::Manifest;
use crate::manifest::record::Outcome;
use crate::{Error, ErrorKind, Result};

/// What is known of a snapshot without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotName {
    /// The generation that its session registered in.
    pub generation: Generation,
    /// Its id.
    pub sid: Sid,
    /// Its volume.
    pub volume: String,
    /// When its walk began.
    pub started: Timestamp,
}

/// What lies under an outcome's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A snapshot.
    Committed(Box<Manifest>),
    /// A session that ended without one.
    Aborted,
    /// Nothing (any more).
    Missing,
}

/// All snapshots by name.
#[derive(Debug, Default)]
pub struct History {
    /// In no order that means anything.
    pub names: Vec<SnapshotName>,
    /// Outcomes that could not be read.
    pub damaged: Vec<Error>,
}

/// Reads an outcome.
pub async fn read(objects: &Objects, generation: Generation, sid: Sid) -> Result<Found> {
    let key = objects.layout.outcome(generation, sid);
    let Some(plain) = objects.find(ObjectKind::Outcome, &key).await? else { return Ok(Found::Missing) };
    match Outcome::decode(&plain).context(ErrorKind::Damaged, || format!("read {key}"))? {
        Outcome::Committed { manifest, .. } => Ok(Found::Committed(manifest)),
        Outcome::Aborted { .. } => Ok(Found::Aborted),
    }
}

/// Whether a forget marker exists.
pub(super) async fn is_forgotten(objects: &Objects, generation: Generation, sid: Sid) -> Result<bool> {
    let key = objects.layout.forget(generation, sid);
    let size = objects.store.find_size(&key).await.context(ErrorKind::Store, || format!("look for {key}"))?;
    Ok(size.is_some())
}

/// A session by its name.
pub type Name = (Generation, Sid);

/// Names of all outcomes that are neither forgotten nor void. Which of them are commits only reading tells.
pub async fn list_outcomes(objects: &Objects) -> Result<Vec<Name>> {
    Ok(list_both(objects).await?.0)
}

/// Names of all outcomes that are forgotten and not void: nothing of them was deleted yet, or GC is at it.
pub async fn list_forgotten(objects: &Objects) -> Result<Vec<Name>> {
    Ok(list_both(objects).await?.1)
}

async fn list_both(objects: &Objects) -> Result<(Vec<Name>, Vec<Name>)> {
    let parse = |kind, key| objects.layout.parse_session(kind, key);
    let keys = objects.list(&objects.layout.folder(ObjectKind::Outcome), None).await?;
    let forgotten = objects.list(&objects.layout.folder(ObjectKind::Forget), None).await?;
    let forgotten: HashSet<_> = forgotten.iter().filter_map(|k| parse(ObjectKind::Forget, k)).collect();
    let named = || keys.iter().filter_map(|k| parse(ObjectKind::Outcome, k));
    let done = match named().next() {
        Some((oldest, _)) => forbidden::find_done_that_freezes(objects, oldest).await?,
        None => None,
    };
    let counts = |&(g, s): &Name| !done.as_ref().is_some_and(|d| d.is_void(g, s));
    Ok(named().filter(counts).partition(|name| !forgotten.contains(name)))
}

/// Reads outcomes, several at once, in the order of their names.
pub fn read_all(
    objects: &Objects,
    names: Vec<(Generation, Sid)>,
) -> impl futures::Stream<Item = (Generation, Sid, Result<Found>)> + Send + use<> {
    let objects = objects.clone();
    let each = names.into_iter().map(move |(generation, sid)| {
        let objects = objects.clone();
        async move { (generation, sid, read(&objects, generation, sid).await) }
    });
    stream::iter(each).buffered(RECORD_FETCHES)
}

impl History {
    /// Lists the snapshots; reads only outcomes that the cache does not know.
    pub async fn load(objects: &Objects, cache_dir: Option<&Path>) -> Result<Self> {
        let cache = cache_dir.map(|dir| dir.join("history"));
        let mut known = cache.as_deref().and_then(read_cache).unwrap_or_default();
        let before = known.len();
        let mut history = Self::default();
        let (mut kept, mut new) = (Cache::new(), Vec::new());
        for name in list_outcomes(objects).await? {
            match known.remove(&name) {
                Some(cached) => drop(kept.insert(name, cached)),
                None => new.push(name),
            }
        }
        let changed = !new.is_empty() || kept.len() != before;
        let mut read = read_all(objects, new);
        while let Some((generation, sid, found)) = read.next().await {
            match found {
                Ok(Found::Committed(m)) => {
                    kept.insert((generation, sid), Some((m.volume, m.started)));
                }
                Ok(Found::Aborted) => drop(kept.insert((generation, sid), None)),
                Ok(Found::Missing) => {}
                Err(e) if e.kind() == ErrorKind::Damaged => history.damaged.push(e),
                Err(e) => return Err(e),
            }
        }
        if changed && let (Some(dir), Some(path)) = (cache_dir, &cache) {
            // Without the cache the next session reads more; that is all.
            if let Err(e) = write_cache(dir, path, &kept) {
                tracing::warn!(error = %e, path = %path.display(), "the cache of snapshots could not be written");
            }
        }
        history.names = kept
            .into_iter()
            .filter_map(|((generation, sid), of)| {
                let (volume, started) = of?;
                Some(SnapshotName { generation, sid, volume, started })
            })
            .collect();
        Ok(history)
    }

    /// Snapshots, newest first: all, or those of one volume.
    #[must_use]
    pub fn newest_first(&self, volume: Option<&str>) -> Vec<&SnapshotName> {
        let mut names: Vec<_> = self.names.iter().filter(|n| volume.is_none_or(|v| n.volume == v)).collect();
        names.sort_by_key(|n| std::cmp::Reverse((n.started, n.sid)));
        names
    }
}

/// Committed: volume and start. Aborted: nothing.
type Cache = HashMap<(Generation, Sid), Option<(String, Timestamp)>>;
const MAGIC: &[u8; 8] = b"HFNAMES1";
const CACHE_BYTES_MAX: u64 = 1 << 30;
const VOLUME_BYTES_MAX: usize = 64 << 10;

fn read_cache(path: &Path) -> Option<Cache> {
    if std::fs::metadata(path).ok()?.len() > CACHE_BYTES_MAX {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    (blake3::hash(body) == *sum).then(|| decode_cache(body).ok())?
}

fn decode_cache(bytes: &[u8]) -> Result<Cache, Malformed> {
    let mut r = Reader::new(bytes);
    if r.array::<8>("magic")? != *MAGIC {
        return Err(r.malformed("magic"));
    }
    let mut cache = Cache::new();
    while !r.is_empty() {
        let generation = Generation(r.varint("generation")?);
        let sid = Sid(r.array("session id")?);
        let of = match r.byte("kind")? {
            0 => None,
            _ => {
                let volume = std::str::from_utf8(r.bytes(VOLUME_BYTES_MAX, "volume")?);
                let volume = volume.map_err(|_| r.malformed("volume"))?.to_owned();
                Some((volume, Timestamp(r.signed("start")?)))
            }
        };
        cache.insert((generation, sid), of);
    }
    Ok(cache)
}

fn write_cache(dir: &Path, path: &Path, cache: &Cache) -> std::io::Result<()> {
    let mut out = MAGIC.to_vec();
    for ((generation, sid), of) in cache {
        put_varint(&mut out, generation.0);
        out.extend_from_slice(&sid.0);
        out.push(u8::from(of.is_some()));
        if let Some((volume, started)) = of {
            put_bytes(&mut out, volume.as_bytes());
            put_signed(&mut out, started.0);
        }
    }
    let sum = blake3::hash(&out);
    out.extend_from_slice(sum.as_bytes());
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&out)?;
    file.persist(path)?;
    Ok(())
}
