//! Every object that a snapshot needs exists, with its size: the store is asked, nothing is read but the summary.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;

use super::Findings;
use crate::error::Context as _;
use crate::ids::PackId;
use crate::manifest::Summary;
use crate::manifest::summary::{self, PackUse};
use crate::ops::repo::store_error;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Repository, Task};
use crate::{ErrorKind, Result};

/// Up to this many packs are asked for one by one; beyond it one listing costs less.
const HEADS_MAX: usize = 100;
/// Questions asked at once.
const HEADS_AT_ONCE: usize = 16;

/// What a snapshot needs of which pack, by the pack's name.
pub(super) type Uses = BTreeMap<PackId, PackUse>;

/// Reads the summary.
pub(super) async fn uses(repo: &Repository, snapshot: &Snapshot) -> Result<Uses> {
    let decode = |bytes: &[u8]| summary::decode(bytes).context(ErrorKind::Damaged, || "summary".to_owned());
    let mut out = Vec::new();
    match &snapshot.manifest.summary {
        Summary::Inline(bytes) => out = decode(bytes)?,
        Summary::Pieces(pieces) => {
            for &piece in pieces {
                out.extend(decode(&repo.reader().get(piece).await?)?);
            }
        }
    }
    Ok(out.into_iter().map(|u| (u.pack.id, u)).collect())
}

/// Compares the sizes of all needed packs with what the store has.
pub(super) async fn check(repo: &Repository, uses: &Uses, task: &Task, findings: &Findings) -> Result<()> {
    if uses.len() <= HEADS_MAX {
        // Gathered first: a closure over borrowed values in the stream would keep the future from being `Send`.
        let packs: Vec<_> = uses.values().map(|u| u.pack).collect();
        let mut sizes = stream::iter(packs)
            .map(|pack| async move { (pack.id, repo.store.find_size(&repo.layout.pack(pack.id)).await) })
            .buffered(HEADS_AT_ONCE);
        while let Some((pack, size)) = sizes.next().await {
            task.check()?;
            compare(repo, &uses[&pack], size.map_err(|e| store_error("verify", e))?, findings);
            task.monitor.packs.add(1);
        }
        return Ok(());
    }
    let mut missing: BTreeMap<PackId, &PackUse> = uses.iter().map(|(id, u)| (*id, u)).collect();
    let mut listed = repo.store.list(&repo.layout.folder(crate::layout::ObjectKind::Pack), None);
    while let Some(object) = listed.next().await {
        task.check()?;
        let object = object.map_err(|e| store_error("list packs", e))?;
        let Some(id) = repo.layout.parse_pack(&object.key) else { continue };
        if let Some(needed) = missing.remove(&id) {
            compare(repo, needed, Some(object.bytes), findings);
            task.monitor.packs.add(1);
        }
    }
    missing.values().for_each(|needed| compare(repo, needed, None, findings));
    Ok(())
}

fn compare(repo: &Repository, needed: &PackUse, found: Option<u64>, findings: &Findings) {
    let what = match found {
        Some(bytes) if bytes == needed.pack.bytes => return,
        Some(bytes) => format!("has {bytes} bytes instead of {}", needed.pack.bytes),
        None => "is missing".to_owned(),
    };
    let what = format!("{what}: the snapshot needs {} blobs of it", needed.ordinals.len());
    findings.add(repo.layout.pack(needed.pack.id).as_str().as_bytes(), what);
}
