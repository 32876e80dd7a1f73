//! Who needs what: all snapshots, those that the last GC run knew by its catalogue, the newer ones by their outcomes.
//!
//! The catalogue says what outcomes and summaries say (docs/protocol.md, G8). One that can't be read, or is of an older version that
//! kept no figures, costs a request for each outcome.

use std::sync::Arc;

use futures::{StreamExt as _, stream};

use super::owners::{Owner, Owners};
use crate::ids::{Place, Sid};
use crate::items::BlobFetch as _;
use crate::limits::RECORD_FETCHES;
use crate::manifest::catalogue::{Catalogue, SnapshotFacts};
use crate::manifest::summary::OrdinalSet;
use crate::manifest::{Manifest, Summary, summary};
use crate::ops::gc::catalogue;
use crate::ops::reader::{Reader, is_damage};
use crate::ops::{Problems, Repository, Task};
use crate::session::history::Name;
use crate::session::{Found, Relocations, forbidden, history};
use crate::{Error, Result};

/// The snapshots that count, before anything of them was read.
pub(super) struct Scan<'a> {
    repo: &'a Repository,
    pub(super) reader: Arc<Reader>,
    relocations: Relocations,
    task: &'a Task,
    /// By name, ascending.
    names: Vec<Name>,
    catalogue: Catalogue,
}

impl<'a> Scan<'a> {
    pub(super) async fn begin(repo: &'a Repository, task: &'a Task) -> Result<Self> {
        let objects = repo.cached_objects();
        let mut names = history::list_outcomes(&objects).await?;
        names.sort_unstable();
        let relocations = Relocations::load_newest(&objects).await?;
        let mut catalogue = Catalogue::default();
        if let Some((generation, done)) = forbidden::find_newest_done(&objects).await? {
            catalogue = catalogue::load(&objects, generation, &done).await?;
        }
        Ok(Self { repo, reader: Reader::unregistered(repo), relocations, task, names, catalogue })
    }

    /// Reads what all of them need. `seen` is told of each snapshot once, and says whose its needs are. A snapshot of which that can't
    /// be told is named and left out.
    pub(super) async fn needs(
        &self,
        problems: &mut Problems,
        mut seen: impl FnMut(Sid, &str, SnapshotFacts) -> Owner,
    ) -> Result<Owners> {
        let mut owners = Owners::default();
        let of_catalogue = |volume: &str, name: Name| {
            let facts = self.catalogue.snapshot_facts(&name);
            let facts = facts.filter(|_| self.names.binary_search(&name).is_ok())?;
            Some(seen(name.1, volume, facts))
        };
        let add = |owner, pack, set: &OrdinalSet| owners.add_set(pack, set, &self.relocations, owner);
        self.catalogue.needs_of_each(of_catalogue, add);
        let is_new = |name: &Name| self.catalogue.snapshot_facts(name).is_none();
        let names: Vec<Name> = self.names.iter().copied().filter(is_new).collect();
        let mut outcomes = history::read_all(&self.repo.cached_objects(), names).boxed();
        while let Some((_, id, found)) = outcomes.next().await {
            self.task.check()?;
            let manifest = match found {
                Ok(Found::Committed(manifest)) => *manifest,
                Ok(Found::Aborted | Found::Missing) => continue,
                Err(e) if is_damage(&e) => {
                    problems.push(id.to_string().as_bytes(), e.chain());
                    continue;
                }
                Err(e) => return Err(e),
            };
            let Manifest { started, bytes, bytes_new, bytes_stored, .. } = manifest;
            let owner = seen(id, &manifest.volume, SnapshotFacts { started, bytes, bytes_new, bytes_stored });
            self.needs_of(&manifest.summary, (owner, &mut owners), problems, id).await?;
        }
        Ok(owners)
    }

    /// Notes what a snapshot needs by its summary.
    async fn needs_of(
        &self,
        summary: &Summary,
        (owner, owners): (Owner, &mut Owners),
        problems: &mut Problems,
        id: Sid,
    ) -> Result<()> {
        let pieces = match summary {
            Summary::Inline(_) => {
                let uses = summary::load(summary, &*self.reader).await?;
                uses.iter().for_each(|u| owners.add_set(u.pack.id, &u.ordinals, &self.relocations, owner));
                return Ok(());
            }
            Summary::Pieces(pieces) => pieces,
        };
        let wanted: Vec<_> = pieces.iter().filter(|p| owners.needs_piece(p.id, owner)).copied().collect();
        let reads: Vec<_> = wanted.iter().map(|piece| self.reader.get(*piece)).collect();
        let mut reads = stream::iter(reads).buffered(RECORD_FETCHES).enumerate();
        while let Some((i, read)) = reads.next().await {
            let place: Place = self.relocations.resolve(wanted[i].place);
            owners.add(place, owner);
            let decoded = read.and_then(|bytes| {
                summary::decode(&bytes).map_err(|e| {
                    Error::with_source(crate::ErrorKind::Damaged, "read a snapshot's summary", e)
                })
            });
            match decoded {
                Ok(uses) => {
                    uses.iter()
                        .for_each(|u| owners.add_set(u.pack.id, &u.ordinals, &self.relocations, owner));
                }
                Err(e) if is_damage(&e) => problems.push(id.to_string().as_bytes(), e.chain()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
