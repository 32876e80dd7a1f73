//! Reads what the parent consists of. It costs reading where that is damaged, never the backup, and nothing of the damage
//! goes into the new snapshot:
//!
//! 1. Where damage is met, the whole pack is read, and what is damaged of it forbidden to the session, before anybody hears of
//!    it. So what is read from the volume instead finds no damaged blob by the index, and what was taken over
//!    before that is asked for once more before the commit (W5).
//! 2. It is named in quarantine, for others. Where it can't be named, the backup goes on all the same.
//! 3. What a GC run has deleted is not damaged: whether the generation has moved is asked first.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;
use crate::ids::{BlobRef, PackId, Place};
use crate::items::BlobFetch;
use crate::limits::MET_PACKS_MAX;
use crate::ops::reader::{Reader, is_damage};
use crate::ops::{Repository, Task, quarantine};
use crate::session::{Session, forbidden};

/// Reads a parent's metadata for one session.
#[derive(Debug)]
pub(super) struct ParentReader {
    repo: Arc<Repository>,
    session: Arc<Session>,
    reader: Arc<Reader>,
    task: Task,
    /// Packs that were read whole. Held while one is, so that whoever meets the same damage waits for what comes of it.
    examined: tokio::sync::Mutex<HashSet<PackId>>,
}

impl ParentReader {
    /// With the relocations that the session respects.
    pub(super) fn new(repo: &Arc<Repository>, session: &Arc<Session>, task: &Task) -> Arc<Self> {
        Arc::new(Self {
            repo: Arc::clone(repo),
            session: Arc::clone(session),
            reader: Reader::of_writer(repo, session),
            task: task.clone(),
            examined: tokio::sync::Mutex::default(),
        })
    }

    /// Forbids what is damaged of the pack that this blob lies in, unless that is known.
    async fn examine(&self, place: Place) {
        let mut examined = self.examined.lock().await;
        if self.session.is_forbidden(place) || !examined.insert(place.pack) {
            return;
        }
        let pack = place.pack;
        let proven = match examined.len() > MET_PACKS_MAX {
            true => {
                tracing::warn!(%pack, "more packs look damaged than are read now: `holdfast verify` names them");
                None
            }
            false => self.prove(place).await,
        };
        match proven {
            // Nothing is proven: it is not referred to, and not named.
            None => self.session.forbid(pack, &[]),
            Some(None) => {}
            Some(Some(ordinals)) => {
                self.session.forbid(pack, &ordinals);
                self.name(pack, &ordinals).await;
            }
        }
    }

    /// What is damaged of the pack, as [`quarantine::Found::into_lost`] says it, if that can be told.
    async fn prove(&self, place: Place) -> Option<Option<Vec<u32>>> {
        let lost = async {
            self.session.follow().await?;
            if self.session.is_forbidden(place) {
                return Ok(None);
            }
            let reader = quarantine::fresh_reader(&self.repo);
            Ok(quarantine::examine(&reader, place.pack, &self.task).await?.into_lost())
        };
        let lost: Result<_> = lost.await;
        let failed = |e: &crate::Error| {
            tracing::warn!(pack = %place.pack, error = %e.chain(), "a pack that looks damaged could not be examined");
        };
        lost.inspect_err(failed).ok()
    }

    async fn name(&self, pack: PackId, ordinals: &[u32]) {
        let named = async {
            let known = forbidden::load_quarantine(&self.repo.objects()).await?;
            quarantine::name(&self.repo, &known, pack, ordinals).await
        };
        match named.await {
            Ok(true) => {
                let blobs = ordinals.len();
                tracing::warn!(%pack, blobs, "the pack is damaged or gone, and is in quarantine from now on");
            }
            Ok(false) => {}
            Err(e) => tracing::warn!(%pack, error = %e.chain(), "damage could not be recorded"),
        }
    }
}

#[async_trait]
impl BlobFetch for ParentReader {
    async fn get(&self, blob: BlobRef) -> Result<Bytes> {
        let e = match self.reader.get(blob).await {
            Err(e) if is_damage(&e) => e,
            read => return read,
        };
        let place = self.reader.resolve(blob.place);
        self.examine(place).await;
        if self.session.is_forbidden(place) {
            return Err(e);
        }
        // What fails once may have been hit on its way.
        self.reader.get(blob).await
    }
}
