//! Deletes what the source has no more: what names others before what is named.

use futures::{StreamExt as _, stream};

use super::Run;
use super::listing::{Listing, Stage};
use crate::error::Context as _;
use crate::limits::MIRROR_OBJECTS_AT_ONCE;
use crate::store::{Key, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// Revoked wraps first. Outcomes before markers: the other way round a forgotten snapshot would come back.
const ORDER: [Stage; 7] = [
    Stage::Keys,
    Stage::Outcomes,
    Stage::Markers,
    Stage::GcParts,
    Stage::IndexRoots,
    Stage::Others,
    Stage::Packs,
];

impl Run<'_> {
    /// Deletes in reverse order. Where the store refuses one, what it may name stays too.
    pub(super) async fn delete(&mut self, listed: &Listing) -> Result<()> {
        self.refuse_landslide(listed)?;
        for stage in ORDER {
            let gone: Vec<(Key, u64)> =
                listed.lacks(&self.there, stage).into_iter().map(|(k, b)| (k.clone(), b)).collect();
            let target = self.target;
            let deletes = gone.into_iter().map(|(key, bytes)| async move {
                let deleted = target.delete(&key).await;
                (key, bytes, deleted)
            });
            let deletes: Vec<_> = deletes.collect();
            let mut deletes = stream::iter(deletes).buffer_unordered(MIRROR_OBJECTS_AT_ONCE);
            let (mut deleted, mut freed, mut refused) = (0, 0, 0);
            while let Some((key, bytes, done)) = deletes.next().await {
                self.task.check()?;
                match done {
                    Ok(()) => (deleted, freed) = (deleted + 1, freed + bytes),
                    Err(e) if e.kind == StoreErrorKind::Denied => refused += 1,
                    Err(e) => return Err(e).context(ErrorKind::Store, || format!("delete {key}")),
                }
            }
            drop(deletes);
            self.report.deleted += deleted;
            self.report.bytes_deleted += freed;
            self.report.leftovers += refused;
            if refused > 0 && stage != Stage::Packs {
                return Ok(());
            }
        }
        Ok(())
    }

    fn refuse_landslide(&self, listed: &Listing) -> Result<()> {
        let sum = |list: Vec<(&Key, u64)>| list.iter().map(|(_, bytes)| *bytes).sum::<u64>();
        let (goes, all) = (sum(listed.lacks(&self.there, Stage::Packs)), sum(self.there.of(Stage::Packs)));
        let most = u128::from(all) * u128::from(self.request.delete_share_max) / 100;
        if u128::from(goes) <= most {
            return Ok(());
        }
        let what = format!(
            "{goes} of the mirror's {all} bytes of packs are gone from the source, more than {} %: nothing was deleted",
            self.request.delete_share_max
        );
        Err(Error::new(ErrorKind::Refused, what))
    }
}
