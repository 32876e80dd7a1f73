//! Which stored blobs a backup refers to, of those that rule W5 allows.
//!
//! Whoever holds a domain's keys can store junk under the id of content that others will have. Nobody can tell before
//! the blob is read, so a volume that does not trust the other members refers to less, and stores more.

use std::collections::HashSet;
use std::sync::Arc;

use crate::ids::{BlobId, BlobRef, PackId, Place};
use crate::manifest::summary::PackUse;
use crate::ops::reader::{Reader, is_damage};
use crate::ops::{Repository, proofs};
use crate::session::Session;
use crate::{Error, ErrorKind};

/// How much a backup relies on what others stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Refers to blobs of any pack.
    #[default]
    Any,
    /// Refers to blobs in packs that a verification or scrub found good, in those of the own volume's parent, and to
    /// those that it reads and finds good itself.
    Verified,
    /// Refers to blobs in packs of the own volume's parent only.
    Own,
}

impl std::fmt::Display for Reuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Verified => "verified",
            Self::Own => "own",
        })
    }
}

impl std::str::FromStr for Reuse {
    type Err = InvalidReuse;

    fn from_str(text: &str) -> Result<Self, InvalidReuse> {
        match text {
            "any" => Ok(Self::Any),
            "verified" => Ok(Self::Verified),
            "own" => Ok(Self::Own),
            _ => Err(InvalidReuse),
        }
    }
}

/// No such setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reuse is any, verified or own")]
pub struct InvalidReuse;

/// The packs whose blobs may be referred to, whoever stored them. What the session stores itself needs no asking.
#[derive(Debug)]
pub(super) struct Trusted {
    reuse: Reuse,
    packs: HashSet<PackId>,
    reader: Arc<Reader>,
}

impl Trusted {
    /// For a volume whose parent needs these packs.
    pub(super) async fn load(
        repo: &Repository,
        reuse: Reuse,
        parent: &[PackUse],
        session: &Session,
    ) -> Result<Self, Error> {
        let mut packs = HashSet::new();
        if reuse != Reuse::Any {
            for PackUse { pack, ordinals } in parent {
                packs.insert(pack.id);
                if session.has_relocations() {
                    let all = ordinals.runs().flat_map(|(start, n)| start..start + n);
                    let now = all.map(|ordinal| session.resolve(Place { pack: pack.id, ordinal }).pack);
                    packs.extend(now);
                }
            }
        }
        if reuse == Reuse::Verified {
            let proven = proofs::load(repo).await?.packs;
            packs.extend(proven.into_iter().filter(|(_, proof)| proof.damaged == 0).map(|(pack, _)| pack));
        }
        Ok(Self { reuse, packs, reader: Reader::of_writer(repo, session) })
    }

    /// Whether a backup may refer to this blob at its (resolved) place. To find out may mean to read it; a writer's
    /// credential can do that for metadata only, and stores data again instead.
    pub(super) async fn allows(&self, id: BlobId, place: Place) -> Result<bool, Error> {
        if self.reuse == Reuse::Any || self.packs.contains(&place.pack) {
            return Ok(true);
        }
        if self.reuse == Reuse::Own {
            return Ok(false);
        }
        match self.reader.read(BlobRef { id, place }).await {
            Ok(_) => Ok(true),
            Err(e) if is_damage(&e) || e.kind() == ErrorKind::Key => Ok(false),
            Err(e) => Err(e),
        }
    }
}
