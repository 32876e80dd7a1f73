//! What the store says about sessions: outcomes, markers, and who is still at work.

use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::error::Context as _;
use crate::ids::{Generation, Sid};
use crate::index::objects::Objects;
use crate::layout::ObjectKind;
use crate::limits::RECORD_FETCHES;
use crate::manifest::record::{Registration, SessionKind};
use crate::session::history::Name;
use crate::{ErrorKind, Result};

/// A registration without an outcome.
#[derive(Debug)]
pub(super) struct OpenSession {
    pub generation: Generation,
    pub sid: Sid,
    pub registration: Registration,
}

impl OpenSession {
    fn is_reader(&self) -> bool {
        self.registration.kind == SessionKind::Read
    }
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    /// Those that ended, one way or the other.
    pub outcomes: BTreeSet<Name>,
    /// Forgotten snapshots.
    pub marked: HashSet<Name>,
    /// All registrations.
    pub registered: BTreeSet<Name>,
    open: Vec<OpenSession>,
}

impl Sessions {
    /// Lists them: outcomes, then markers, then registrations, in this order. A snapshot that a registered reader saw
    /// without a marker is then either seen without one here too, or its reader is seen.
    pub(super) async fn list(objects: &Objects) -> Result<Self> {
        let outcomes: BTreeSet<Name> = names(objects, ObjectKind::Outcome).await?.collect();
        let marked = names(objects, ObjectKind::Forget).await?.collect();
        let registered: BTreeSet<Name> = names(objects, ObjectKind::Registration).await?.collect();
        let reads: Vec<_> = registered
            .difference(&outcomes)
            .map(|&(generation, sid)| async move {
                let key = objects.layout.registration(generation, sid);
                // One that can't be read may hold any snapshot: that stops the run.
                let Some(plain) = objects.find(ObjectKind::Registration, &key).await? else {
                    return Ok(None);
                };
                let decoded =
                    Registration::decode(&plain).context(ErrorKind::Damaged, || format!("read {key}"));
                decoded.map(|registration| Some(OpenSession { generation, sid, registration }))
            })
            .collect();
        let read: Vec<_> = stream::iter(reads).buffered(RECORD_FETCHES).try_collect().await?;
        let open = read.into_iter().flatten().collect();
        Ok(Self { outcomes, marked, registered, open })
    }

    /// Open readers.
    pub(super) fn readers(&self) -> impl Iterator<Item = &OpenSession> {
        self.open.iter().filter(|s| s.is_reader())
    }

    /// The snapshots that open readers hold.
    pub(super) fn held(&self) -> HashSet<Sid> {
        self.readers().filter_map(|s| s.registration.snapshot).collect()
    }

    /// Sids whose packs somebody is still filling: of open writers, and those that they carry on.
    pub(super) fn at_work(&self) -> HashSet<Sid> {
        let writers = self.open.iter().filter(|s| !s.is_reader());
        writers.flat_map(|s| std::iter::once(s.sid).chain(s.registration.carries.iter().copied())).collect()
    }

    /// Open writers that registered before this generation was opened.
    pub(super) fn writers_below(&self, generation: Generation) -> impl Iterator<Item = &OpenSession> {
        self.open.iter().filter(move |s| s.generation < generation && !s.is_reader())
    }

    /// Registrations that are closed and are no snapshots (`snapshots` is sorted): of readers, and of writers that gave up. A run tidies
    /// them beside other work.
    pub(super) fn closed_count(&self, snapshots: &[Name]) -> usize {
        let closed = self.registered.intersection(&self.outcomes);
        closed.filter(|name| snapshots.binary_search(name).is_err()).count()
    }

    /// True if a run would have something to tidy though no pack can go: forgotten snapshots, or dead writers of which
    /// the packs can go once they are fenced.
    pub(super) fn has_left(&self, is_dead: impl Fn(&OpenSession) -> bool) -> bool {
        let held = self.held();
        let mut gone = self.marked.iter().filter(|(_, sid)| !held.contains(sid));
        gone.next().is_some() || self.open.iter().any(|s| !s.is_reader() && is_dead(s))
    }
}

async fn names(objects: &Objects, kind: ObjectKind) -> Result<impl Iterator<Item = Name> + use<'_>> {
    let keys = objects.list(&objects.layout.folder(kind), None).await?;
    Ok(keys.into_iter().filter_map(move |key| objects.layout.parse_session(kind, &key)))
}
