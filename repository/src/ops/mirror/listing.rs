//! What a store holds, sorted by what names what. Pure but for the reading.
//!
//! Takes some 150 bytes for each object: 15 MB for a repository of 100,000.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt as _;

use crate::error::Context as _;
use crate::ids::Generation;
use crate::store::{Key, Store};
use crate::{Error, ErrorKind, Result};

/// Objects are copied stage by stage, and deleted in reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Keys, one version after the other.
    Keys,
    Packs,
    /// Deltas, registrations, quarantine, index shards, audit records, and what this version does not know.
    Others,
    /// Roots of index shards, which name them.
    IndexRoots,
    /// Large parts of GC records, which the records name.
    GcParts,
    /// `open` and `sweep`, generation by generation; then `done`, the newest first.
    GcRecords,
    Markers,
    Outcomes,
}

impl Stage {
    /// Whether its objects must appear in their order.
    pub(super) fn is_ordered(self) -> bool {
        matches!(self, Self::Keys | Self::GcRecords)
    }
}

/// Where an object belongs: its stage, and its place among those that are ordered.
fn stage_of(key: &Key) -> (Stage, u64) {
    let mut parts = key.as_str().splitn(3, '/');
    let (letter, rest) = (parts.nth(1).unwrap_or(""), parts.next().unwrap_or(""));
    match letter {
        "k" => (Stage::Keys, 0),
        "p" => (Stage::Packs, 0),
        "f" => (Stage::Markers, 0),
        "m" => (Stage::Outcomes, 0),
        "g" => match rest.split_once('/').and_then(|(g, r)| Some((g.parse::<Generation>().ok()?, r))) {
            Some((g, "open")) => (Stage::GcRecords, g.0 * 2),
            Some((g, "sweep")) => (Stage::GcRecords, g.0 * 2 + 1),
            // The newest first: parts of older ones may be gone, so that nobody must go by these. Until it is there, the one
            // that the mirror has counts, with the packs that it has.
            Some((g, "done")) => (Stage::GcRecords, u64::MAX - g.0),
            _ => (Stage::GcParts, 0),
        },
        "x" if rest.ends_with("/root") => (Stage::IndexRoots, 0),
        _ => (Stage::Others, 0),
    }
}

/// All objects but `repo.json`.
#[derive(Debug, Default)]
pub(super) struct Listing(BTreeMap<Key, u64>);

impl Listing {
    /// Lists all of a store, in the order of keys.
    pub(super) async fn read(store: &Arc<dyn Store>, which: &str) -> Result<Self> {
        let mut listed = store.list("", None);
        let mut all = BTreeMap::new();
        while let Some(object) =
            listed.try_next().await.context(ErrorKind::Store, || format!("list {which}"))?
        {
            if object.key.as_str().contains('/') {
                all.insert(object.key, object.bytes);
            }
        }
        Ok(Self(all))
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        (self.0.len() as u64, self.0.values().sum())
    }

    pub(super) fn size(&self, key: &Key) -> Option<u64> {
        self.0.get(key).copied()
    }

    pub(super) fn extend(&mut self, more: Vec<(Key, u64)>) {
        self.0.extend(more);
    }

    /// The objects of a stage, in the order in which they have to appear.
    pub(super) fn of(&self, stage: Stage) -> Vec<(&Key, u64)> {
        let mut out: Vec<_> = self
            .0
            .iter()
            .map(|(key, bytes)| (stage_of(key), key, *bytes))
            .filter(|((s, _), ..)| *s == stage)
            .collect();
        out.sort_by_key(|((_, order), key, _)| (*order, *key));
        out.into_iter().map(|(_, key, bytes)| (key, bytes)).collect()
    }

    /// Those of `there` that are not here, of one stage.
    pub(super) fn lacks<'t>(&self, there: &'t Self, stage: Stage) -> Vec<(&'t Key, u64)> {
        there.of(stage).into_iter().filter(|(key, _)| !self.0.contains_key(*key)).collect()
    }

    /// What outcomes rely on besides packs: GC records and keys of all domains.
    pub(super) fn pillars(&self) -> Vec<Key> {
        let both = [Stage::Keys, Stage::GcRecords].map(|stage| self.of(stage));
        both.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    /// The same, as they are by now.
    pub(super) async fn pillars_now(&self, store: &Arc<dyn Store>) -> Result<Vec<Key>> {
        Ok(self.now(store, &["g", "k"]).await?.pillars())
    }

    /// What these folders hold by now, in all domains.
    pub(super) async fn now(&self, store: &Arc<dyn Store>, letters: &[&str]) -> Result<Self> {
        let mut now = Self::default();
        let mut domains: Vec<&str> = self.0.keys().filter_map(|k| k.as_str().split('/').next()).collect();
        domains.dedup();
        let folders = domains.into_iter().flat_map(|d| letters.iter().map(move |l| format!("{d}/{l}/")));
        // Gathered first: what waits between threads holds no closure.
        let folders: Vec<String> = folders.collect();
        for folder in folders {
            let mut listed = store.list(&folder, None);
            while let Some(o) =
                listed.try_next().await.context(ErrorKind::Store, || format!("list {folder}"))?
            {
                now.0.insert(o.key, o.bytes);
            }
        }
        Ok(now)
    }

    /// What of this is not there.
    pub(super) fn without(&self, there: &Self) -> Self {
        let new = self.0.iter().filter(|(key, _)| !there.0.contains_key(*key));
        Self(new.map(|(key, bytes)| (key.clone(), *bytes)).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// GC records are never deleted: a mirror that has one of its own was collected by itself, and is no mirror any more.
    pub(super) fn refuse_strange(&self, there: &Self) -> Result<()> {
        match self.lacks(there, Stage::GcRecords).first() {
            None => Ok(()),
            Some((key, _)) => {
                let what = format!(
                    "{key} is in the mirror and not in the source: GC ran in the mirror, which is a repository of its own \
                     since then; nothing was copied"
                );
                Err(Error::new(ErrorKind::Refused, what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(keys: &[&str]) -> Listing {
        Listing(keys.iter().map(|k| (Key::new(*k).unwrap(), 1)).collect())
    }

    fn told(list: &[(&Key, u64)]) -> String {
        list.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn records_come_in_their_order_and_parts_before_them() {
        let all = listing(&[
            "d/g/0000000002/open",
            "d/g/0000000001/done",
            "d/g/0000000001/sweep",
            "d/g/0000000002/done",
            "d/g/0000000001/open",
            "d/g/0000000001/catalogue-12",
            "d/x/0000000001/root",
            "d/x/0000000001/zz",
            "d/p/00/a-b",
            "d/z/new",
        ]);
        let records = "d/g/0000000001/open d/g/0000000001/sweep d/g/0000000002/open \
                       d/g/0000000002/done d/g/0000000001/done";
        assert_eq!(told(&all.of(Stage::GcRecords)), records);
        assert_eq!(told(&all.of(Stage::GcParts)), "d/g/0000000001/catalogue-12");
        assert_eq!(told(&all.of(Stage::Others)), "d/x/0000000001/zz d/z/new");
        assert_eq!(told(&all.of(Stage::IndexRoots)), "d/x/0000000001/root");
        assert_eq!(told(&all.of(Stage::Packs)), "d/p/00/a-b");
    }

    #[test]
    fn a_mirror_with_records_of_its_own_is_refused() {
        let source = listing(&["d/g/0000000001/open"]);
        source.refuse_strange(&listing(&[])).unwrap();
        source.refuse_strange(&listing(&["d/g/0000000001/open", "d/m/0000000000/x"])).unwrap();
        let strange = source.refuse_strange(&listing(&["d/g/0000000002/open"])).unwrap_err();
        assert_eq!(strange.kind(), ErrorKind::Refused);
    }
}
