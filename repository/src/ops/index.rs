//! The repository's own index, in step with what collectors delete.

use std::collections::HashSet;
use std::sync::Arc;

use super::Repository;
use crate::Result;
use crate::ids::Generation;
use crate::index::objects::Objects;
use crate::index::{LocalIndex, LocalOptions};
use crate::layout::ObjectKind;
use crate::limits::INDEX_SWEEPS_MAX;
use crate::manifest::gc::GcSweep;
use crate::session::forbidden::find_gc;

/// How old the view of other writers' deltas may get, seconds.
const INDEX_REFRESH_SECONDS: u64 = 30;

/// The repository's own index with its cache, read from the store when it is first asked.
pub(crate) fn open_own(repo: &Repository) -> Arc<LocalIndex> {
    let cache_dir = repo.cache_dir.as_ref().map(|dir| dir.join("index"));
    let options = LocalOptions { cache_dir, refresh_seconds: INDEX_REFRESH_SECONDS };
    Arc::new(LocalIndex::open(repo.objects(), options))
}

/// Drops what collectors have decided to delete since the index was last told: each such pack would cost a request to find
/// out. Costs a listing, and a request for each run since.
pub async fn drop_swept(objects: &Objects, index: &LocalIndex) -> Result<()> {
    let folder = objects.layout.folder(ObjectKind::Gc);
    let keys = objects.list(&folder, Some(&objects.layout.gc(index.swept(), "sweep"))).await?;
    let swept: Vec<Generation> = keys
        .iter()
        .filter_map(|k| objects.layout.parse_gc(k))
        .filter(|(generation, record)| *record == "sweep" && *generation > index.swept())
        .map(|(generation, _)| generation)
        .collect();
    let Some(&newest) = swept.last() else { return Ok(()) };
    let mut packs = HashSet::new();
    if !index.is_empty() {
        for generation in swept.iter().rev().take(INDEX_SWEEPS_MAX) {
            let sweep = find_gc(objects, *generation, "sweep", GcSweep::decode).await?;
            packs.extend(sweep.map(|s| s.packs).unwrap_or_default());
        }
    }
    index.drop_swept(newest, &packs)
}
