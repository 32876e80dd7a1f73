//! G1 and G4: reads the summaries of all snapshots that count.

use std::collections::HashSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::live::Live;
use super::sessions::Sessions;
use crate::ids::{Generation, PackId, Sid};
use crate::limits::RECORD_FETCHES;
use crate::manifest::summary;
use crate::ops::Repository;
use crate::ops::reader::Reader;
use crate::session::history::Name;
use crate::session::{Found, Relocations, forbidden, history};
use crate::{Error, Result};

/// What counts, and what it needs.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// The snapshots.
    pub snapshots: Vec<Name>,
    /// What they need, where it is now.
    pub live: Live,
    /// The packs that their summaries name, wherever those are now.
    pub named: HashSet<PackId>,
}

impl Mark {
    /// Reads every snapshot of `sessions` that is not void, and not forgotten or held by a reader, with a base up to
    /// `base_max`. One that can't be read fails the mark: what it needs is not known.
    pub(super) async fn make(
        repo: &Repository,
        sessions: &Sessions,
        relocations: &Relocations,
        base_max: Option<Generation>,
    ) -> Result<Self> {
        let objects = repo.objects();
        let done = forbidden::find_newest_done(&objects).await?.map(|(_, done)| done);
        let held = sessions.held();
        let counts = |&(generation, sid): &Name| {
            let void = done.as_ref().is_some_and(|d| d.is_void(generation, sid));
            base_max.is_none_or(|max| generation <= max)
                && !void
                && counts(sessions, &held, (generation, sid))
        };
        let names: Vec<Name> = sessions.outcomes.iter().copied().filter(counts).collect();
        let mut mark = Self::default();
        let reader = Reader::unregistered(repo);
        let reads: Vec<_> = names.into_iter().map(|name| read(repo, &reader, name)).collect();
        let mut reads = stream::iter(reads).buffered(RECORD_FETCHES);
        while let Some(read) = reads.try_next().await? {
            let Some((name, needs, pieces)) = read else { continue };
            mark.snapshots.push(name);
            for needed in &needs {
                mark.named.insert(needed.pack.id);
                mark.live.add_use(needed, relocations);
            }
            for piece in pieces {
                mark.named.insert(piece.pack);
                mark.live.add(relocations.resolve(piece));
            }
        }
        Ok(mark)
    }

    /// G8: those that still count by now. Which outcomes are commits is known since the mark and can't change.
    pub(super) fn catalogue(&self, now: &Sessions) -> Vec<Name> {
        let held = now.held();
        let mut catalogue: Vec<Name> =
            self.snapshots.iter().copied().filter(|&name| counts(now, &held, name)).collect();
        catalogue.sort_unstable();
        catalogue
    }
}

fn counts(sessions: &Sessions, held: &HashSet<Sid>, name: Name) -> bool {
    !sessions.marked.contains(&name) || held.contains(&name.1)
}

/// A snapshot's needs.
type Needs = (Name, Vec<summary::PackUse>, Vec<crate::ids::Place>);

async fn read(repo: &Repository, reader: &Reader, name: Name) -> Result<Option<Needs>> {
    let what = |e: Error| e.context(format!("GC must know what snapshot {} needs", name.1));
    let manifest = match history::read(&repo.objects(), name.0, name.1).await.map_err(what)? {
        Found::Committed(manifest) => manifest,
        Found::Aborted | Found::Missing => return Ok(None),
    };
    let needs = summary::load(&manifest.summary, reader).await.map_err(what)?;
    let pieces = manifest.summary.pieces().iter().map(|piece| piece.place).collect();
    Ok(Some((name, needs, pieces)))
}
