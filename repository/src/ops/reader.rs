//! What operations read a snapshot's blobs with: relocations are followed, and the snapshot is kept while it is read.
//!
//! 1. A restore or verification registers, so that a collector that begins later keeps its snapshot. Credentials that
//!    may only read, and a store that is full, do without.
//! 2. A collector may move blobs and delete their pack all the same, under a reader with or without a registration. So a pack that is gone or damaged is never damage
//!    before the relocations were read again, once for each such pack.
//!
//! Nothing that is read here may be referenced by a writer: what it may refer to is its session's business (W5).

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::Repository;
use super::kept::Kept;
use crate::ids::{BlobRef, PackId, Place, Sid};
use crate::index::objects::Objects;
use crate::items::BlobFetch;
use crate::pack::{BlobReader, Footer, GroupData};
use crate::session::{Relocations, Session, history};
use crate::{Error, ErrorKind, Result};

/// A blob is looked for at so many places: each further one takes a whole GC run meanwhile.
const PLACES_MAX: u32 = 4;

#[derive(Debug, Default)]
struct Known {
    relocations: Arc<Relocations>,
    /// Packs because of which the relocations were read again.
    gone: HashSet<PackId>,
}

/// Reads blobs of one domain for one operation.
#[derive(Debug)]
pub(crate) struct Reader {
    blobs: Arc<BlobReader>,
    kept: Option<Kept>,
    objects: Objects,
    session: Option<Session>,
    known: Mutex<Known>,
    /// Packs in which damage was met, wherever their blobs are now.
    suspects: Mutex<BTreeSet<PackId>>,
    loading: tokio::sync::Mutex<()>,
}

impl Reader {
    fn new(repo: &Repository, session: Option<Session>, kept: Option<Kept>) -> Arc<Self> {
        let relocations = session.as_ref().map(Session::relocations).unwrap_or_default();
        Arc::new(Self {
            blobs: repo.reader(),
            kept,
            objects: repo.objects(),
            session,
            known: Mutex::new(Known { relocations, gone: HashSet::new() }),
            suspects: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        })
    }

    /// One that costs no request: for short work.
    pub(crate) fn unregistered(repo: &Repository) -> Arc<Self> {
        Self::new(repo, None, Kept::of(repo))
    }

    /// One that reads what a writer's parent consists of, with the relocations that the writer respects.
    pub(crate) fn of_writer(repo: &Repository, session: &Session) -> Arc<Self> {
        let this = Self::new(repo, None, Kept::of(repo));
        this.known().relocations = session.relocations();
        this
    }

    /// The same for a repair, which believes in the store only.
    pub(crate) fn of_repair(repo: &Repository, session: &Session) -> Arc<Self> {
        let this = Self::new(repo, None, None);
        this.known().relocations = session.relocations();
        this
    }

    /// Registers (W1 to W4) for `snapshot`. Whoever calls this calls [`Reader::close`] whatever happens.
    pub(crate) async fn register(repo: &Repository, snapshot: Sid) -> Result<Arc<Self>> {
        Ok(Self::new(repo, Self::open_session(repo, snapshot).await?, Kept::of(repo)))
    }

    /// The same, but for proofs: every byte comes from the store.
    pub(crate) async fn register_to_verify(repo: &Repository, snapshot: Sid) -> Result<Arc<Self>> {
        Ok(Self::new(repo, Self::open_session(repo, snapshot).await?, None))
    }

    async fn open_session(repo: &Repository, snapshot: Sid) -> Result<Option<Session>> {
        let objects = repo.objects();
        let session = Session::open_reader(objects.clone(), &node_name(), Some(snapshot)).await?;
        let Some(session) = session else { return Ok(None) };
        // Only now: a collector's mark lists readers after markers, so that it either sees no marker, as this does, or
        // sees the registration.
        let refused = match history::list_outcomes(&objects).await {
            Ok(names) if names.iter().any(|(_, sid)| *sid == snapshot) => return Ok(Some(session)),
            Ok(_) => Error::new(ErrorKind::NotFound, format!("snapshot {snapshot} was forgotten")),
            Err(e) => e,
        };
        close(&session).await;
        Err(refused)
    }

    /// Ends the registration, if there is one. A failure is no reason to fail what was read.
    pub(crate) async fn close(&self) {
        if let Some(session) = &self.session {
            close(session).await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The relocations as far as they were read.
    pub(crate) fn relocations(&self) -> Arc<Relocations> {
        Arc::clone(&self.known().relocations)
    }

    /// Where a blob is now, as far as is known.
    pub(crate) fn resolve(&self, place: Place) -> Place {
        self.relocations().resolve(place)
    }

    /// Reads the relocations again because this pack is gone or damaged; only once for each pack.
    pub(crate) async fn look_again(&self, pack: PackId) -> Result<()> {
        let _one_at_a_time = self.loading.lock().await;
        if self.known().gone.contains(&pack) {
            return Ok(());
        }
        let newest = match Relocations::load_newest(&self.objects).await {
            Ok(newest) => Some(Arc::new(newest)),
            Err(e) if is_damage(&e) => {
                tracing::warn!(error = %e.chain(), "where a GC run moved blobs to is not readable");
                None
            }
            Err(e) => return Err(e),
        };
        let mut known = self.known();
        known.gone.insert(pack);
        if let Some(newest) = newest {
            known.relocations = newest;
        }
        Ok(())
    }

    /// The footer of a pack, as [`BlobReader::footer`] gives it.
    pub(crate) async fn footer(&self, pack: PackId) -> Result<Arc<Footer>> {
        self.suspect(pack, self.blobs.footer(pack).await)
    }

    /// Groups of a pack, as [`BlobReader::read_groups`] gives them.
    pub(crate) async fn read_groups(&self, pack: PackId, groups: &[u32]) -> Result<Vec<GroupData>> {
        self.suspect(pack, self.blobs.read_groups(pack, groups).await)
    }

    /// Remembers a pack that somebody else found to be gone or of another size.
    pub(crate) fn note_suspect(&self, pack: PackId) {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(pack);
    }

    /// Remembers a pack that is gone or damaged.
    fn suspect<T>(&self, pack: PackId, read: Result<T>) -> Result<T> {
        if read.as_ref().is_err_and(is_damage) {
            self.note_suspect(pack);
        }
        read
    }

    /// Whether it could register: whoever can't, can't record anything either.
    pub(crate) fn is_registered(&self) -> bool {
        self.session.is_some()
    }

    /// The packs that were gone or damaged when they were read, but for those that GC has moved elsewhere.
    pub(crate) fn take_suspects(&self) -> BTreeSet<PackId> {
        let mut all = std::mem::take(&mut *self.suspects.lock().unwrap_or_else(PoisonError::into_inner));
        let relocations = self.relocations();
        all.retain(|pack| !relocations.moves(*pack));
        all
    }
}

#[async_trait]
impl BlobFetch for Reader {
    async fn get(&self, blob: BlobRef) -> Result<Bytes> {
        let Some(kept) = &self.kept else { return self.read(blob).await };
        if let Some(bytes) = kept.find(blob.id).await {
            return Ok(bytes);
        }
        let bytes = self.read(blob).await?;
        kept.keep(blob.id, &bytes).await;
        Ok(bytes)
    }
}

impl Reader {
    /// A blob of any kind, from the store.
    pub(crate) async fn read(&self, blob: BlobRef) -> Result<Bytes> {
        let mut place = self.resolve(blob.place);
        for tried in 1.. {
            let read = self.blobs.get(BlobRef { id: blob.id, place }).await;
            let e = match self.suspect(place.pack, read) {
                Err(e) if is_damage(&e) && tried < PLACES_MAX => e,
                other => return other,
            };
            self.look_again(place.pack).await?;
            let now = self.resolve(blob.place);
            if now == place {
                return Err(e);
            }
            place = now;
        }
        unreachable!("the loop ends at the last place")
    }
}

async fn close(session: &Session) {
    if let Err(e) = session.close().await {
        tracing::warn!(error = %e.chain(), "a reader's session could not be closed");
    }
}

/// True for an error that hits one thing and lets the rest go on.
pub(crate) fn is_damage(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NotFound)
}

/// The name of this machine, for people who look at registrations.
pub(crate) fn node_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
