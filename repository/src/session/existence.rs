//! W5: packs that were seen to exist after W3.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt as _;
use tokio::sync::OnceCell;

use crate::error::Context as _;
use crate::ids::{PackId, PackRef};
use crate::index::objects::Objects;
use crate::layout::ObjectKind;
use crate::{ErrorKind, Result};

/// A pack's size, once it was asked for; `None` where there is no such pack.
type Cell = Arc<OnceCell<Option<u64>>>;

/// What a session knows of packs. An answer stays: a pack that exists and is not condemned is not deleted before the
/// session is fenced, and one that is missing is as good as condemned.
#[derive(Debug)]
pub(super) struct Existence {
    objects: Objects,
    packs: Mutex<HashMap<PackId, Cell>>,
}

impl Existence {
    pub(super) fn new(objects: Objects) -> Self {
        Self { objects, packs: Mutex::new(HashMap::new()) }
    }

    fn packs(&self) -> MutexGuard<'_, HashMap<PackId, Cell>> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers packs that were seen or put.
    pub(super) fn note(&self, seen: impl IntoIterator<Item = PackRef>) {
        let mut packs = self.packs();
        for pack in seen {
            packs.insert(pack.id, Arc::new(OnceCell::new_with(Some(Some(pack.bytes)))));
        }
    }

    /// Remembers all packs that a listing shows.
    pub(super) async fn note_listed(&self) -> Result<()> {
        let folder = self.objects.layout.folder(ObjectKind::Pack);
        let mut listed = self.objects.store.list(&folder, None);
        while let Some(object) =
            listed.try_next().await.context(ErrorKind::Store, || format!("list {folder}"))?
        {
            if let Some(id) = self.objects.layout.parse_pack(&object.key) {
                self.note([PackRef { id, bytes: object.bytes }]);
            }
        }
        Ok(())
    }

    /// The size if it is known already.
    pub(super) fn known_size(&self, pack: PackId) -> Option<u64> {
        self.packs().get(&pack)?.get().copied().flatten()
    }

    /// The size of a pack, by one request for all who ask at once or later. A failed request is not remembered.
    pub(super) async fn find_size(&self, pack: PackId) -> Result<Option<u64>> {
        let cell = Arc::clone(self.packs().entry(pack).or_default());
        let ask = || async {
            let key = self.objects.layout.pack(pack);
            let size = self.objects.store.find_size(&key).await;
            size.context(ErrorKind::Store, || format!("look for {key}"))
        };
        cell.get_or_try_init(ask).await.copied()
    }
}
