//! A repository that is generated instead of backed up: outcomes with summaries as a long life leaves them, and packs that
//! hold next to nothing, so that the cost of what a collector does with them can be measured.
//!
//! Each volume has packs of its own and needs some of those that all share. A pack comes with some snapshot and loses a few
//! blobs every ten snapshots, at random places, so that sets of blobs get scattered with age.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use repository::env::{Env, Timestamp};
use repository::ids::{BlobId, BlobRef, Generation, PackId, PackRef, Place, Sid};
use repository::layout::ObjectKind;
use repository::manifest::record::Outcome;
use repository::manifest::summary::{self, PackUse};
use repository::manifest::{Manifest, Summary};
use repository::ops::Repository;
use repository::pack::writer::PackBuilder;
use repository::pack::{PackKind, group};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Volumes.
    pub(crate) volumes: u64,
    /// Snapshots of each.
    pub(crate) snapshots: u64,
    /// Packs of each.
    pub(crate) packs: u64,
    /// Packs that all volumes share.
    pub(crate) shared: u64,
    /// Blobs in a pack.
    pub(crate) blobs: u32,
    /// Packs have a footer and all their blobs; else they are a byte.
    pub(crate) whole: bool,
}

fn mix(a: u64, b: u64, c: u64) -> u64 {
    let hash = blake3::Hasher::new()
        .update(&a.to_le_bytes())
        .update(&b.to_le_bytes())
        .update(&c.to_le_bytes())
        .finalize();
    let mut out = [0; 8];
    out.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(out)
}

/// One volume's packs.
#[derive(Debug)]
pub(crate) struct Volume {
    number: u64,
    packs: Vec<PackRef>,
}

impl Shape {
    /// Puts the packs of a volume.
    pub(crate) async fn put_packs(&self, repo: &Arc<Repository>, number: u64, count: u64) -> Result<Volume> {
        let sid = Sid::new(&repo.env);
        let mut packs = Vec::new();
        for n in 0..count {
            let (id, bytes) = if self.whole {
                let (repo, shape) = (Arc::clone(repo), *self);
                let built = tokio::task::spawn_blocking(move || shape.build(&repo, sid, mix(number, n, 0)));
                built.await??
            } else {
                (PackId { sid, rnd: repo.env.random() }, Bytes::from_static(b"-"))
            };
            packs.push(PackRef { id, bytes: bytes.len() as u64 });
            repo.store.put_new(&repo.layout.pack(id), bytes).await?;
        }
        Ok(Volume { number, packs })
    }

    fn build(&self, repo: &Repository, sid: Sid, seed: u64) -> Result<(PackId, Bytes)> {
        let mut builder = PackBuilder::new(&repo.keys, sid, PackKind::Data, &repo.env, 1 << 16);
        let blobs: Vec<(BlobId, Bytes)> = (0..self.blobs)
            .map(|n| {
                let bytes = Bytes::copy_from_slice(&mix(seed, u64::from(n), 1).to_le_bytes());
                (repo.keys.blob_id(&bytes), bytes)
            })
            .collect();
        builder.append(&group::build(&blobs, 1));
        let finished = builder.finish(&repo.keys)?;
        Ok((finished.pack.id, finished.bytes))
    }

    /// What snapshot number `at` needs of a pack that came with snapshot number `came`.
    fn needs(&self, pack: PackRef, came: u64, at: u64, slot: u64) -> PackUse {
        let age = (at + slot % 10) / 10 - (came + slot % 10) / 10;
        let gone: BTreeSet<u32> = (0..age * 2)
            .filter_map(|n| u32::try_from(mix(slot, n, came) % u64::from(self.blobs.max(1))).ok())
            .collect();
        PackUse { pack, ordinals: (0..self.blobs).filter(|o| !gone.contains(o)).collect() }
    }

    /// Puts snapshot number `at` of a volume into a generation; its id.
    pub(crate) async fn put_snapshot(
        &self,
        repo: &Repository,
        (volume, shared): (&Volume, &Volume),
        at: u64,
        generation: Generation,
    ) -> Result<Sid> {
        let count = volume.packs.len() as u64;
        let came = |n: u64| n * self.snapshots / count.max(1);
        let own = (0..count).zip(&volume.packs).filter(|(n, _)| came(*n) <= at);
        let mut uses: Vec<PackUse> = own.map(|(n, pack)| self.needs(*pack, came(n), at, n)).collect();
        let shared = shared.packs.iter().enumerate().filter(|(n, _)| *n as u64 % 100 == volume.number % 100);
        uses.extend(shared.map(|(_, p)| PackUse { pack: *p, ordinals: (0..self.blobs).collect() }));
        uses.retain(|u| !u.ordinals.is_empty());
        uses.sort_by_key(|u| u.pack.id);
        let root = BlobRef { id: BlobId([1; 32]), place: Place { pack: uses[0].pack.id, ordinal: 0 } };
        let started = Timestamp(i64::try_from(at)? * 3_600_000_000_000);
        let manifest = Manifest {
            volume: format!("volume-{:06}", volume.number),
            host: "generated".to_owned(),
            path: b"/data".to_vec(),
            started,
            finished: started,
            parent: None,
            tags: Vec::new(),
            entries: 1,
            files: 1,
            bytes: 1,
            bytes_new: 1,
            bytes_stored: 1,
            problems: 0,
            changed: 0,
            root,
            root_usage: root,
            summary: Summary::Inline(summary::encode(&uses)),
            identity: None,
            copied: None,
            repaired: None,
            origin: None,
        };
        let (objects, sid) = (repo.objects(), Sid::new(&repo.env));
        let key = repo.layout.outcome(generation, sid);
        let outcome = Outcome::Committed { nonce: repo.env.random(), manifest: Box::new(manifest) };
        let sealed = objects.seal(ObjectKind::Outcome, &key, &outcome.encode());
        repo.store.put_new(&key, sealed).await?;
        Ok(sid)
    }
}

/// The time of this machine, and random bytes.
#[must_use]
pub(crate) fn env() -> Env {
    Env::system()
}
