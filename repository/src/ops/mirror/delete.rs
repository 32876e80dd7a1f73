//! Deletes what the source has no more: what names others before what is named.
//!
//! Never deletes rings: [`Run::follow_rings`] does, and leaves the newest whole one. A source that was emptied must not empty its
//! mirror.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};

use super::Run;
use super::listing::{Listing, Stage};
use crate::error::Context as _;
use crate::limits::MIRROR_OBJECTS_AT_ONCE;
use crate::store::{Key, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// Outcomes before markers: the other way round a forgotten snapshot would come back.
const ORDER: [Stage; 6] =
    [Stage::Outcomes, Stage::Markers, Stage::GcParts, Stage::IndexRoots, Stage::Others, Stage::Packs];

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

    /// Refuses to go after a source that was damaged rather than tidied.
    fn refuse_landslide(&self, listed: &Listing) -> Result<()> {
        self.refuse_lost_rings(listed)?;
        let most = self.request.delete_share_max;
        let sum = |list: Vec<(&Key, u64)>| list.iter().map(|(_, bytes)| *bytes).sum::<u64>();
        let (goes, all) = (sum(listed.lacks(&self.there, Stage::Packs)), sum(self.there.of(Stage::Packs)));
        if is_more(goes, all, most) {
            return Err(refused(format!(
                "{goes} of the mirror's {all} bytes of packs are gone from the source, more than {most} %"
            )));
        }
        // Of each domain: the loss of all of a small one is a small share of the repository.
        let go = by_domain(&listed.lacks(&self.there, Stage::Outcomes));
        let all = by_domain(&self.there.of(Stage::Outcomes));
        for (domain, goes) in go {
            let all = all.get(domain).copied().unwrap_or(0);
            if is_more(goes, all, most) {
                return Err(refused(format!(
                    "{goes} of the mirror's {all} outcomes of domain {domain} are gone from the source, more than {most} %"
                )));
            }
        }
        Ok(())
    }

    /// No domain ever loses its last ring, whatever the share: without one nothing in it can be read again.
    fn refuse_lost_rings(&self, listed: &Listing) -> Result<()> {
        let (there, here) = (self.there.of(Stage::Keys), listed.of(Stage::Keys));
        let here = by_domain(&here);
        match by_domain(&there).into_keys().find(|domain| !here.contains_key(domain)) {
            None => Ok(()),
            Some(domain) => Err(refused(format!(
                "the mirror has key rings of domain {domain}, and the source has none: put them back into the source, from \
                 the mirror's {domain}/k/"
            ))),
        }
    }
}

/// How many of each domain.
fn by_domain<'k>(objects: &[(&'k Key, u64)]) -> BTreeMap<&'k str, u64> {
    let mut counts = BTreeMap::new();
    for (key, _) in objects {
        let domain = key.as_str().split('/').next().unwrap_or_default();
        *counts.entry(domain).or_insert(0) += 1;
    }
    counts
}

fn is_more(goes: u64, all: u64, percent: u8) -> bool {
    u128::from(goes) * 100 > u128::from(all) * u128::from(percent)
}

fn refused(mut what: String) -> Error {
    what.push_str(": nothing was deleted");
    Error::new(ErrorKind::Refused, what)
}
