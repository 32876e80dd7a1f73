//! W6: packs, and the deltas that name them.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Session;
use crate::ids::{PackId, PackRef};
use crate::index::objects::Whose;
use crate::index::{DeltaPack, delta};
use crate::layout::ObjectKind;
use crate::limits::PUTS_MAX;
use crate::store::{Put, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

impl Session {
    /// W6: puts a pack of this session, which was decoded again and compared before. A pack of its own name that
    /// "already exists" with the same size is a lost reply: names are random and belong to one session.
    pub async fn put_pack(&self, id: PackId, bytes: Bytes) -> Result<PackRef> {
        if !self.is_own(id) {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("pack {id} is not of session {}", self.sid()),
            ));
        }
        let (key, size) = (self.objects.layout.pack(id), bytes.len() as u64);
        let mut failed = None;
        for _ in 0..PUTS_MAX {
            match self.objects.store.put_new(&key, bytes.clone()).await {
                Ok(Put::Created) => return Ok(self.note_own(id, size)),
                Ok(Put::AlreadyExists) => {}
                Err(e) if e.kind == StoreErrorKind::Transient => failed = Some(e),
                Err(e) => return Err(Error::with_source(ErrorKind::Store, format!("put {key}"), e)),
            }
            match self.objects.store.find_size(&key).await {
                Ok(Some(found)) if found == size => return Ok(self.note_own(id, size)),
                Ok(Some(found)) => {
                    let what = format!("{key} has {found} bytes, not the {size} that were put");
                    return Err(Error::new(ErrorKind::Damaged, what));
                }
                Ok(None) => {}
                // Neither was answered, tried again and again each: the store is away.
                Err(e) if e.kind == StoreErrorKind::Transient && failed.is_some() => break,
                Err(e) if e.kind == StoreErrorKind::Transient => failed = Some(e),
                Err(e) => return Err(Error::with_source(ErrorKind::Store, format!("look for {key}"), e)),
            }
        }
        let what = format!("put {key}: whether it exists now is unknown");
        Err(match failed {
            Some(e) => Error::with_source(ErrorKind::Store, what, e),
            None => Error::new(ErrorKind::Store, what),
        })
    }

    fn note_own(&self, id: PackId, bytes: u64) -> PackRef {
        let pack = PackRef { id, bytes };
        self.existence.note([pack]);
        pack
    }

    /// W6: publishes packs that are put, so that others find their blobs. Never before all of them are.
    pub async fn publish_delta(&self, packs: &[DeltaPack]) -> Result<()> {
        for part in delta::split(packs) {
            let (generation, sid) = self.name();
            let key = self.objects.layout.delta(generation, sid, self.deltas.fetch_add(1, Ordering::Relaxed));
            let sealed = self.objects.seal(ObjectKind::Delta, &key, &delta::encode(part));
            if let Whose::Others(_) = self.objects.put_own(&key, &sealed).await? {
                return Err(Error::new(ErrorKind::Damaged, format!("{key} is there and is not ours")));
            }
        }
        Ok(())
    }
}
