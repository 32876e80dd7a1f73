//! What was verified and tested when: read, added to, and folded so that it does not grow.
//!
//! Two who fold at once write the same twice, which says no more than once. A record is deleted only after one that says
//! all of it was written.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::{PackId, Place, Sid};
use crate::index::objects::Whose;
use crate::layout::ObjectKind;
use crate::limits::{PROOF_PACKS_MAX, PROOF_RECORDS_MAX, PUTS_MAX, RECORD_FETCHES};
use crate::manifest::proof::Proofs;
use crate::manifest::summary;
use crate::ops::reader::{Reader, is_damage};
use crate::ops::snapshots::Snapshot;
use crate::ops::{Repository, pins, quarantine};
use crate::session::{Relocations, forbidden};
use crate::store::{Key, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// All that is known. Records that can't be read are left out with a warning: what they said is proven again.
pub async fn load(repo: &Repository) -> Result<Proofs> {
    Ok(load_with_keys(repo).await?.0)
}

async fn load_with_keys(repo: &Repository) -> Result<(Proofs, Vec<Key>)> {
    let objects = &repo.objects();
    let keys = objects.list(&objects.layout.proofs(), None).await?;
    let keys: Vec<Key> = keys.into_iter().filter(|k| objects.layout.parse_proof(k).is_some()).collect();
    let reads: Vec<_> = keys
        .iter()
        .map(|key| async move {
            let Some(plain) = objects.find(ObjectKind::Audit, key).await? else { return Ok(None) };
            Proofs::decode(&plain).map(Some).context(ErrorKind::Damaged, || format!("read {key}"))
        })
        .collect();
    let mut reads = stream::iter(reads).buffered(RECORD_FETCHES);
    let mut all = Proofs::default();
    while let Some(read) = reads.next().await {
        match read {
            Ok(Some(proofs)) => all.merge(proofs),
            Ok(None) => {}
            Err(e) if e.kind() == ErrorKind::Damaged => {
                tracing::warn!(error = %e.chain(), "what was proven is not readable");
            }
            Err(e) => return Err(e),
        }
    }
    drop(reads);
    Ok((all, keys))
}

/// Adds proofs.
pub async fn write(repo: &Repository, proofs: &Proofs) -> Result<()> {
    for part in proofs.clone().parts(PROOF_PACKS_MAX).into_iter().filter(|p| !p.is_empty()) {
        put(repo, &part).await?;
    }
    Ok(())
}

async fn put(repo: &Repository, part: &Proofs) -> Result<()> {
    let objects = repo.objects();
    for _ in 0..PUTS_MAX {
        let key = objects.layout.proof(objects.env.now(), objects.env.random());
        let sealed = objects.seal(ObjectKind::Audit, &key, &part.encode());
        if objects.put_own(&key, &sealed).await? == Whose::Ours {
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Internal, "write proofs: random names repeat"))
}

/// Writes them where the store takes them; what may only read, or is full, does without.
pub(crate) async fn note(repo: &Repository, proofs: &Proofs) -> Result<()> {
    match write(repo, proofs).await {
        Err(e) if quarantine::has_no_place(&e) => {
            tracing::warn!(error = %e.chain(), "what was proven could not be recorded");
            Ok(())
        }
        other => other,
    }
}

/// Makes one record of many, without what is gone: packs that are not in `packs`, and snapshots that are forgotten.
pub(crate) async fn fold(repo: &Repository, packs: &HashSet<PackId>) -> Result<()> {
    let (mut all, keys) = load_with_keys(repo).await?;
    if keys.len() <= PROOF_RECORDS_MAX {
        return Ok(());
    }
    let names = crate::session::history::list_outcomes(&repo.objects()).await?;
    let there: HashSet<Sid> = names.into_iter().map(|(_, sid)| sid).collect();
    all.packs.retain(|pack, _| packs.contains(pack));
    all.snapshots.retain(|sid, _| there.contains(sid));
    write(repo, &all).await?;
    for key in keys {
        match repo.store.delete(&key).await {
            Ok(()) => {}
            // Where nothing may be deleted, the records stay, and say nothing new.
            Err(e) if e.kind == StoreErrorKind::Denied => break,
            Err(e) => return Err(e).context(ErrorKind::Store, || format!("delete {key}")),
        }
    }
    Ok(())
}

/// What is known of a snapshot's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// When all of it was last verified.
    pub verified: Option<Timestamp>,
    /// When it was last restored by a test.
    pub tested: Option<Timestamp>,
    /// Problems that the newest of both found.
    pub problems: u64,
    /// It needs blobs that are known to be damaged, and of which no good copy is known yet.
    pub damaged: bool,
    /// Somebody said that it is to be kept.
    pub pinned: bool,
}

/// The health of these snapshots, and whether they are pinned. Their summaries are read only if anything is in quarantine.
pub async fn health(repo: &Repository, snapshots: &[Snapshot]) -> Result<BTreeMap<Sid, Health>> {
    let proofs = load(repo).await?;
    let pinned = pins::keys(&repo.objects()).await?;
    let mut all: BTreeMap<Sid, Health> = BTreeMap::new();
    for snapshot in snapshots {
        let verified = proofs.snapshots.get(&snapshot.id);
        let tested = proofs.tests.get(&snapshot.manifest.volume).filter(|t| t.snapshot == snapshot.id);
        let newest = verified.map(|v| (v.at, v.problems)).max(tested.map(|t| (t.at, t.problems)));
        let health = Health {
            verified: verified.map(|v| v.at),
            tested: tested.map(|t| t.at),
            problems: newest.map_or(0, |(_, problems)| problems),
            damaged: false,
            pinned: pinned.contains_key(&snapshot.id),
        };
        all.insert(snapshot.id, health);
    }
    let objects = repo.objects();
    let quarantined = forbidden::load_quarantine(&objects).await?;
    if quarantined.is_empty() {
        return Ok(all);
    }
    let relocations = Relocations::load_newest(&objects).await?;
    let is_bad = |place: Place| {
        let now = relocations.resolve(place);
        quarantined.get(&now.pack).is_some_and(|q| q.as_ref().is_none_or(|o| o.contains(&now.ordinal)))
    };
    let reader = Reader::unregistered(repo);
    let reads: Vec<_> = snapshots
        .iter()
        .map(|s| {
            let reader = &reader;
            async move { Ok::<_, Error>((s, summary::load(&s.manifest.summary, &**reader).await)) }
        })
        .collect();
    let mut reads = stream::iter(reads).buffered(RECORD_FETCHES);
    while let Some((snapshot, needs)) = reads.try_next().await? {
        let bad = match needs {
            Ok(needs) => needs.iter().any(|n| {
                let pack = n.pack.id;
                let touched = quarantined.contains_key(&pack) || relocations.moves(pack);
                touched && n.ordinals.iter().any(|ordinal| is_bad(Place { pack, ordinal }))
            }),
            Err(e) if is_damage(&e) => true,
            Err(e) => return Err(e),
        };
        if let Some(health) = all.get_mut(&snapshot.id) {
            health.damaged = bad;
        }
    }
    Ok(all)
}
