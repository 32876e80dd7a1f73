//! Lists and finds snapshots.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::{Generation, Sid, hex};
use crate::index::objects::Objects;
use crate::layout::Layout;
use crate::manifest::{Manifest, Summary};
use crate::ops::Repository;
use crate::session::history::{self, Found, History};
use crate::store::CachedStore;
use crate::{Error, ErrorKind, Result};

/// Digits of a prefix that names a snapshot, at least.
const PREFIX_DIGITS_MIN: usize = 4;

/// A committed snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id: the sid of the session that committed it.
    pub id: Sid,
    /// All that it consists of; see `manifest`.
    pub manifest: Manifest,
}

impl Snapshot {
    /// Without the bulk that only its restore, its GC or its cluster asks for: the summary, and the objects of its origin. Good for
    /// lists that stay in memory.
    #[must_use]
    pub fn light(mut self) -> Self {
        self.manifest.summary = Summary::Inline(Vec::new());
        if let Some(origin) = &mut self.manifest.origin {
            origin.objects = Vec::new();
        }
        self
    }
}

impl Repository {
    /// The small sealed objects of this domain.
    #[must_use]
    pub fn objects(&self) -> Objects {
        Objects {
            store: self.store.clone(),
            layout: self.layout.clone(),
            keys: self.keys.clone(),
            env: self.env.clone(),
        }
    }

    /// The same, of a store that is far away through this machine's cache. Which objects there are, the store says; what
    /// one says never changes. Not for what a session relies on (W4).
    pub(crate) fn cached_objects(&self) -> Objects {
        let mut objects = self.objects();
        if let Some(cache) = &self.cache {
            objects.store = Arc::new(CachedStore::with(objects.store, Arc::clone(cache)));
        }
        objects
    }
}

/// All committed snapshots that are not forgotten, oldest first. Damaged outcomes are named in the second value.
pub async fn list(repo: &Repository) -> Result<(Vec<Snapshot>, Vec<Error>)> {
    list_in(&repo.cached_objects()).await
}

async fn list_in(objects: &Objects) -> Result<(Vec<Snapshot>, Vec<Error>)> {
    read_named(objects, history::list_outcomes(objects).await?, Vec::new(), |snapshot| snapshot).await
}

/// The same for who keeps what it knows, in memory and for long: of those that are `known` nothing is read again, since an outcome
/// never changes, and all are [light](Snapshot::light).
pub async fn list_light(
    repo: &Repository,
    known: &[Arc<Snapshot>],
) -> Result<(Vec<Arc<Snapshot>>, Vec<Error>)> {
    let objects = repo.cached_objects();
    let mut names = history::list_outcomes(&objects).await?;
    let listed: HashSet<Sid> = names.iter().map(|(_, sid)| *sid).collect();
    let kept: Vec<_> = known.iter().filter(|s| listed.contains(&s.id)).cloned().collect();
    let kept_ids: HashSet<Sid> = kept.iter().map(|s| s.id).collect();
    names.retain(|(_, sid)| !kept_ids.contains(sid));
    read_named(&objects, names, kept, |snapshot| Arc::new(snapshot.light())).await
}

/// Adds those that are named to `snapshots`, each as `keep` makes it.
async fn read_named<T: Borrow<Snapshot>>(
    objects: &Objects,
    names: Vec<(Generation, Sid)>,
    mut snapshots: Vec<T>,
    keep: impl Fn(Snapshot) -> T,
) -> Result<(Vec<T>, Vec<Error>)> {
    let mut damaged = Vec::new();
    let mut read = history::read_all(objects, names);
    while let Some((_, id, found)) = read.next().await {
        match found {
            Ok(Found::Committed(manifest)) => snapshots.push(keep(Snapshot { id, manifest: *manifest })),
            Ok(Found::Aborted | Found::Missing) => {}
            Err(e) if e.kind() == ErrorKind::Damaged => damaged.push(e),
            Err(e) => return Err(e),
        }
    }
    snapshots.sort_by_key(|s| (s.borrow().manifest.started, s.borrow().id));
    Ok((snapshots, damaged))
}

/// Finds a snapshot by `latest`, its id, or a unique prefix (at least 4 digits) of it. `volume` narrows the choice;
/// `latest` of several volumes is refused with the list of them.
pub async fn get(repo: &Repository, spec: &str, volume: Option<&str>) -> Result<Snapshot> {
    let objects = repo.objects();
    if spec == "latest" {
        return get_latest(&objects, repo.cache_dir.as_deref(), volume).await;
    }
    get_by_prefix(&objects, spec, volume).await
}

async fn get_latest(
    objects: &Objects,
    cache_dir: Option<&std::path::Path>,
    volume: Option<&str>,
) -> Result<Snapshot> {
    let mut history = History::load(objects, cache_dir).await?;
    if volume.is_none() {
        let volumes: BTreeSet<&str> = history.names.iter().map(|n| &*n.volume).collect();
        if volumes.len() > 1 {
            let names: Vec<_> = volumes.into_iter().collect();
            let what = format!("latest of which volume? choose one of: {}", names.join(", "));
            return Err(Error::new(ErrorKind::Input, what));
        }
    }
    // One that can't be read might be the newest: to answer with an older one would hide that.
    if let Some(damaged) = history.damaged.pop() {
        return Err(damaged.context("which snapshot is the latest can't be told (name one by its id)"));
    }
    for name in history.newest_first(volume) {
        if let Found::Committed(manifest) = history::read(objects, name.generation, name.sid).await? {
            return Ok(Snapshot { id: name.sid, manifest: *manifest });
        }
    }
    Err(Error::new(
        ErrorKind::NotFound,
        match volume {
            Some(volume) => format!("there is no snapshot of volume {volume}"),
            None => "the repository has no snapshots".to_owned(),
        },
    ))
}

async fn get_by_prefix(objects: &Objects, spec: &str, volume: Option<&str>) -> Result<Snapshot> {
    let digits = spec.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !digits || !(PREFIX_DIGITS_MIN..=32).contains(&spec.len()) {
        let what = format!(
            "{spec:?} names no snapshot: give `latest`, an id, or its first {PREFIX_DIGITS_MIN} digits or more"
        );
        return Err(Error::new(ErrorKind::Input, what));
    }
    let mut names: Vec<(Generation, Sid)> = history::list_outcomes(objects).await?;
    names.retain(|(_, sid)| hex(&sid.0).starts_with(spec));
    let (mut found, mut damaged) = (Vec::new(), None);
    let mut read = history::read_all(objects, names);
    while let Some((_, id, outcome)) = read.next().await {
        match outcome {
            Ok(Found::Committed(manifest)) => found.push(Snapshot { id, manifest: *manifest }),
            Ok(Found::Aborted | Found::Missing) => {}
            Err(e) => damaged = Some(e),
        }
    }
    if let Some(e) = damaged {
        return Err(e.context(format!("find snapshot {spec}")));
    }
    let other = found
        .iter()
        .find(|s| volume.is_some_and(|v| v != s.manifest.volume))
        .map(|s| s.manifest.volume.clone());
    found.retain(|s| volume.is_none_or(|v| v == s.manifest.volume));
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(|s| format!("{} ({})", s.id, s.manifest.volume)).collect();
        return Err(Error::new(
            ErrorKind::Input,
            format!("{spec} is the beginning of several: {}", ids.join(", ")),
        ));
    }
    found.pop().ok_or_else(|| {
        let what = match other {
            Some(other) => format!("snapshot {spec} is of volume {other}"),
            None => format!("there is no snapshot {spec}"),
        };
        Error::new(ErrorKind::NotFound, what)
    })
}

/// Figures of the whole repository.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Committed snapshots.
    pub snapshots: u64,
    /// Plain bytes of the files of all snapshots, each snapshot counted whole.
    pub bytes_plain: u64,
    /// Objects and bytes in the store, by kind: `packs`, `index`, `outcomes`, ...
    pub stored: BTreeMap<String, (u64, u64)>,
    /// Newest snapshot of each volume: start.
    pub volumes: BTreeMap<String, Timestamp>,
}

/// Counts what the repository holds.
pub async fn stats(repo: &Repository) -> Result<Stats> {
    stats_in(&repo.objects()).await
}

async fn stats_in(objects: &Objects) -> Result<Stats> {
    let mut stats = Stats::default();
    for snapshot in list_in(objects).await?.0 {
        let Manifest { volume, started, bytes, .. } = snapshot.manifest;
        stats.snapshots += 1;
        stats.bytes_plain = stats.bytes_plain.saturating_add(bytes);
        let newest = stats.volumes.entry(volume).or_insert(started);
        *newest = started.max(*newest);
    }
    let folder = format!("{}/", objects.layout.domain());
    let mut listed = objects.store.list(&folder, None);
    while let Some(object) = listed.try_next().await.context(ErrorKind::Store, || format!("list {folder}"))? {
        let kind = object.key.as_str().strip_prefix(&folder).and_then(|rest| rest.split_once('/'));
        let counted = stats.stored.entry(word(kind.map_or("", |(letter, _)| letter)).to_owned()).or_default();
        *counted = (counted.0 + 1, counted.1.saturating_add(object.bytes));
    }
    let key = Layout::repo_json();
    if let Some(bytes) =
        objects.store.find_size(&key).await.context(ErrorKind::Store, || format!("look for {key}"))?
    {
        stats.stored.insert("description".to_owned(), (1, bytes));
    }
    Ok(stats)
}

/// The word for what lies under a letter.
fn word(letter: &str) -> &'static str {
    match letter {
        "p" => "packs",
        "i" | "x" => "index",
        "m" => "outcomes",
        "s" => "registrations",
        "f" => "forget markers",
        "n" => "pins",
        "k" => "keys",
        "g" => "gc records",
        "q" => "quarantine",
        "a" => "audit",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
