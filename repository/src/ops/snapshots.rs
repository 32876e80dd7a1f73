//! Lists and finds snapshots.

use std::collections::BTreeMap;

use crate::env::Timestamp;
use crate::ids::Sid;
use crate::manifest::Manifest;
use crate::ops::Repository;
use crate::{Error, ErrorKind, Result};

/// A committed snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id: the sid of the session that committed it.
    pub id: Sid,
    /// All that it consists of; see `manifest`.
    pub manifest: Manifest,
}

/// All committed snapshots that are not forgotten, oldest first. Damaged outcomes are named in the second value.
pub async fn list(repo: &Repository) -> Result<(Vec<Snapshot>, Vec<Error>)> {
    let _ = repo;
    Err(Error::new(ErrorKind::Internal, "not built yet"))
}

/// Finds a snapshot by `latest`, its id, or a unique prefix (at least 4 digits) of it. `volume` narrows the choice;
/// `latest` of several volumes is refused with the list of them.
pub async fn get(repo: &Repository, spec: &str, volume: Option<&str>) -> Result<Snapshot> {
    let _ = (repo, spec, volume);
    Err(Error::new(ErrorKind::Internal, "not built yet"))
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
    let _ = repo;
    Err(Error::new(ErrorKind::Internal, "not built yet"))
}
