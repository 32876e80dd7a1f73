//! The catalogue of a run: read from the parts that the last run wrote, completed from outcomes, and written for the next.
//!
//! Parts are written before `done` and named there. They repeat what outcomes and packs say: one that is gone or damaged costs
//! time, since everything is read again, and never a snapshot.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Run;
use crate::error::Context as _;
use crate::ids::{Generation, Place};
use crate::index::objects::Objects;
use crate::limits::{CATALOGUE_BATCH_BYTES, CATALOGUE_FETCHES, RECORD_FETCHES};
use crate::manifest::catalogue::{Catalogue, New, SnapshotFacts};
use crate::manifest::gc::{GcDone, PartName};
use crate::manifest::summary::PackUse;
use crate::manifest::{Manifest, summary};
use crate::ops::Repository;
use crate::ops::reader::{Reader, is_damage};
use crate::session::history::Name;
use crate::session::{Found, history, parts};
use crate::{Error, ErrorKind, Result};

/// What the parts hold that `done` of this generation names; empty if any of them can't be read.
pub(crate) async fn load(objects: &Objects, generation: Generation, done: &GcDone) -> Result<Catalogue> {
    let mut catalogue = Catalogue::default();
    if let Err(e) = read_parts(objects, generation, &done.parts, &mut catalogue).await? {
        tracing::warn!(error = %e.chain(), "the catalogue is not readable: all outcomes are read instead");
        return Ok(Catalogue::default());
    }
    if let Err(e) = read_parts(objects, generation, &done.figures, &mut catalogue).await? {
        tracing::warn!(error = %e.chain(), "figures of snapshots are not readable: outcomes tell them, too");
    }
    Ok(catalogue)
}

/// Reads parts in their order, up to one that is damaged.
async fn read_parts(
    objects: &Objects,
    generation: Generation,
    names: &[PartName],
    catalogue: &mut Catalogue,
) -> Result<Result<()>> {
    let reads: Vec<_> = names.iter().map(|&name| parts::get(objects, generation, CATALOGUE, name)).collect();
    let mut reads = stream::iter(reads).buffered(CATALOGUE_FETCHES);
    while let Some(read) = reads.next().await {
        let part = read.and_then(|plain| {
            let what = || format!("read the catalogue of generation {generation}");
            catalogue.decode_part(&plain).context(ErrorKind::Damaged, what)
        });
        match part {
            Ok(()) => {}
            Err(e) if is_damage(&e) => return Ok(Err(e)),
            Err(e) => return Err(e),
        }
    }
    Ok(Ok(()))
}

/// The word in the names of its parts.
pub(super) const CATALOGUE: &str = "catalogue";

/// Stores it for the next run; the names of its parts, and of those with figures.
pub(super) async fn store(
    objects: &Objects,
    generation: Generation,
    catalogue: &Catalogue,
) -> Result<(Vec<PartName>, Vec<PartName>)> {
    let parts = put_parts(objects, generation, catalogue.encode()).await?;
    Ok((parts, put_parts(objects, generation, catalogue.encode_facts()).await?))
}

async fn put_parts(objects: &Objects, generation: Generation, parts: Vec<Vec<u8>>) -> Result<Vec<PartName>> {
    let puts: Vec<_> = parts.iter().map(|part| parts::put(objects, generation, CATALOGUE, part)).collect();
    stream::iter(puts).buffered(CATALOGUE_FETCHES).try_collect().await
}

/// A snapshot's needs: its manifest, the uses, and the places of the summary's own pieces.
type Needs = (Manifest, Vec<PackUse>, Vec<Place>);

async fn read(repo: &Repository, reader: &Reader, name: Name) -> (Name, Result<Result<Needs, Found>>) {
    let what = |e: Error| e.context(format!("GC must know what snapshot {} needs", name.1));
    let read = async {
        let manifest = match history::read(&repo.objects(), name.0, name.1).await.map_err(what)? {
            Found::Committed(manifest) => *manifest,
            other => return Ok(Err(other)),
        };
        let needs = summary::load(&manifest.summary, reader).await.map_err(what)?;
        let pieces = manifest.summary.pieces().iter().map(|piece| piece.place).collect();
        Ok(Ok((manifest, needs, pieces)))
    };
    (name, read.await)
}

impl Run<'_> {
    /// Reads the outcomes that the catalogue lacks, each once a run. One that can't be read fails the run: what it needs is
    /// not known.
    pub(super) async fn complete(&mut self, names: impl Iterator<Item = Name>) -> Result<()> {
        let missing: Vec<Name> =
            names.filter(|n| !self.catalogue.contains(n) && !self.ended.contains(n)).collect();
        let reader = Reader::unregistered(self.repo);
        let repo = self.repo;
        let mut reads = stream::iter(missing.into_iter().map(|name| {
            let reader = &reader;
            async move { read(repo, reader, name).await }
        }))
        .buffered(RECORD_FETCHES);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((name, read)) = reads.next().await {
            self.task.check()?;
            self.outcomes_read += 1;
            self.task.monitor.entries.add(1);
            let (manifest, needs, pieces) = match read? {
                Ok(needs) => needs,
                Err(Found::Missing) => continue,
                Err(_) => {
                    self.ended.insert(name);
                    continue;
                }
            };
            let uses = self.catalogue.encode_uses(&needs, &pieces);
            bytes += uses.len() + 256;
            let Manifest { started, bytes: plain, bytes_new, bytes_stored, .. } = manifest;
            let facts = SnapshotFacts { started, bytes: plain, bytes_new, bytes_stored };
            batch.push(New { volume: manifest.volume, facts, name, uses });
            if bytes >= CATALOGUE_BATCH_BYTES {
                self.catalogue.add(std::mem::take(&mut batch));
                bytes = 0;
            }
        }
        self.catalogue.add(batch);
        Ok(())
    }
}
