//! G7 and what may go after G8. Deleting what is gone already is no error: several collectors may be at it.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, stream};

use super::Run;
use super::catalogue::CATALOGUE;
use super::live::Live;
use super::sessions::Sessions;
use crate::error::Context as _;
use crate::ids::{Generation, PackId, Sid};
use crate::layout::ObjectKind;
use crate::limits::RECORD_FETCHES;
use crate::manifest::gc::{GcDone, PartName};
use crate::ops::lock::LockedPacks;
use crate::session::history::Name;
use crate::session::{forbidden, parts};
use crate::store::{Key, StoreErrorKind};
use crate::{ErrorKind, Result};

impl Run<'_> {
    /// G7. What the store refuses to delete (object lock) is left over for the next run.
    pub(super) async fn delete_packs(&mut self, swept: &[PackId]) -> Result<()> {
        let mut locked = LockedPacks::load(self.repo).await;
        let there = swept.iter().filter(|p| self.packs.contains_key(p));
        let (left, goes): (Vec<&PackId>, Vec<&PackId>) =
            there.partition(|p| locked.as_ref().is_some_and(|l| l.is_locked(**p)));
        self.report.leftovers += left.len() as u64;
        let deletes: Vec<_> = goes
            .into_iter()
            .map(|&pack| {
                let (store, key) = (self.objects.store.clone(), self.objects.layout.pack(pack));
                async move { (pack, store.delete(&key).await.map_err(|e| (key, e))) }
            })
            .collect();
        let mut deletes = stream::iter(deletes).buffer_unordered(RECORD_FETCHES);
        while let Some((pack, deleted)) = deletes.next().await {
            self.task.check()?;
            match deleted {
                Ok(()) => {
                    self.report.deleted += 1;
                    self.report.deleted_bytes += self.packs.remove(&pack).unwrap_or(0);
                }
                Err((key, e)) if e.kind == StoreErrorKind::Denied => {
                    tracing::warn!(%key, error = %e, "a pack that nobody needs can't be deleted; the next run tries again");
                    self.report.leftovers += 1;
                    if let Some(locked) = &mut locked {
                        locked.note_refused(pack).await;
                    }
                }
                Err((key, e)) => return Err(e).context(ErrorKind::Store, || format!("delete {key}")),
            }
        }
        if let Some(locked) = locked {
            locked.save();
        }
        Ok(())
    }

    /// What the frozen generations hold and the catalogue does not name: closed registrations first, then outcomes,
    /// then markers; and deltas of sessions that have no pack left.
    pub(super) async fn tidy(&mut self, generation: Generation, done: &GcDone) -> Result<()> {
        self.tidy_parts(generation, done).await?;
        let kept: HashSet<Name> = done.catalogue.iter().copied().collect();
        let goes = |name: &&Name| name.0 <= done.frozen && !kept.contains(name);
        let sessions = Sessions::list(&self.objects).await?;
        let layout = &self.objects.layout;
        let closed = sessions.registered.iter().filter(goes).filter(|n| sessions.outcomes.contains(n));
        let registrations = closed.map(|n| layout.registration(n.0, n.1)).collect();
        let outcomes = sessions.outcomes.iter().filter(goes).map(|n| layout.outcome(n.0, n.1)).collect();
        let markers = sessions.marked.iter().filter(goes).map(|n| layout.forget(n.0, n.1)).collect();
        let with_packs: HashSet<Sid> = self.packs.keys().map(|p| p.sid).collect();
        let deltas = self.objects.list(&layout.folder(ObjectKind::Delta), None).await?;
        let useless = |key: &Key| {
            let delta = layout.parse_delta(key);
            delta.is_some_and(|(g, sid, _)| goes(&&(g, sid)) && !with_packs.contains(&sid))
        };
        let deltas = deltas.into_iter().filter(useless).collect();
        for keys in [registrations, outcomes, markers, deltas] {
            // A registration whose outcome is gone would look open: where the store keeps one, the rest stays too.
            if !self.delete_all(keys).await? {
                break;
            }
        }
        Ok(())
    }

    /// Parts that no record of a finished generation names, and those of the catalogues and `done` records before the last
    /// one: somebody who began before this run may still read the last one's.
    async fn tidy_parts(&mut self, generation: Generation, done: &GcDone) -> Result<()> {
        let layout = &self.objects.layout;
        let keys = self.objects.list(&layout.folder(ObjectKind::Gc), None).await?;
        let mut named: HashMap<(Generation, String), HashSet<PartName>> = HashMap::new();
        let mut unnamed = Vec::new();
        for key in &keys {
            let Some((of_generation, of, name)) = layout.parse_gc_part(key) else { continue };
            let is_last = of_generation.0 + 1 == generation.0;
            let goes = match of {
                _ if of_generation > generation => false,
                CATALOGUE if of_generation == generation => {
                    !done.parts.contains(&name) && !done.figures.contains(&name)
                }
                CATALOGUE => !is_last,
                "done" if of_generation < generation && !is_last => true,
                "open" | "sweep" | "done" => {
                    let record = (of_generation, of.to_owned());
                    if !named.contains_key(&record) {
                        let names = self.parts_of(of_generation, of).await?;
                        named.insert(record.clone(), names);
                    }
                    !named[&record].contains(&name)
                }
                _ => false,
            };
            if goes {
                unnamed.push(key.clone());
            }
        }
        self.delete_all(unnamed).await.map(drop)
    }

    /// The parts that a record names.
    async fn parts_of(&self, generation: Generation, of: &str) -> Result<HashSet<PartName>> {
        let key = self.objects.layout.gc(generation, of);
        let plain = self.objects.find(ObjectKind::Gc, &key).await?.unwrap_or_default();
        Ok(parts::named(&self.objects, generation, of, &plain)?.into_iter().collect())
    }

    /// Quarantine records of packs that are gone: nothing comes back under their names. That of a pack that was lost stays
    /// while a snapshot needs it: else a backup would believe its parent that the pack is there.
    pub(super) async fn tidy_quarantine(&mut self, live: &Live, swept: &[PackId]) -> Result<()> {
        let listed = forbidden::list_quarantine(&self.objects).await?;
        let swept: HashSet<PackId> = swept.iter().copied().collect();
        let is_lost = |pack: &PackId| live.needs(*pack) && !swept.contains(pack);
        let gone = listed.into_iter().filter(|(pack, _)| !self.packs.contains_key(pack) && !is_lost(pack));
        let keys = gone.map(|(_, key)| key).collect();
        self.delete_all(keys).await.map(drop)
    }

    /// False if the store refused one.
    pub(super) async fn delete_all(&mut self, keys: Vec<Key>) -> Result<bool> {
        let mut all = true;
        let store = &self.objects.store;
        let deletes: Vec<_> =
            keys.into_iter().map(|key| async move { (store.delete(&key).await, key) }).collect();
        let mut deletes = stream::iter(deletes).buffer_unordered(RECORD_FETCHES);
        while let Some((deleted, key)) = deletes.next().await {
            match deleted {
                Ok(()) => self.report.tidied += 1,
                // It means nothing any more, whether it is there or not.
                Err(e) if e.kind == StoreErrorKind::Denied => all = false,
                Err(e) => return Err(e).context(ErrorKind::Store, || format!("delete {key}")),
            }
        }
        Ok(all)
    }
}
