//! Audit records, `a/<moment>-<random>`: what was decided, deleted, proven or repaired, when, by whom and why.
//!
//! For people who ask later. Nothing in the engine depends on them, so that one that is lost or can't be read costs knowledge
//! only; they are created once and never changed.

mod wire;

use std::collections::BTreeMap;

use prost::Message as _;

use super::BadRecord;
use crate::env::Timestamp;
use crate::ids::{Generation, PackId, Sid};

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, by the clock of who did it.
    pub at: Timestamp,
    /// Who: a person, a policy, a command.
    pub by: String,
    /// On which machine.
    pub host: String,
    /// What.
    pub event: Event,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Snapshots were forgotten.
    Forgot(Vec<Forgot>),
    /// A forgotten snapshot was brought back under a new id.
    Unforgot {
        /// The snapshot that was forgotten.
        snapshot: Sid,
        /// The copy.
        copy: Sid,
    },
    /// A GC run.
    Collected(Collected),
    /// A verification or a scrub.
    Verified(Verified),
    /// A restore test.
    Tested(Tested),
    /// A repair of the index or of a snapshot, or quarantines that were lifted.
    Repaired(Repaired),
    /// A change of keys: what changed, never key material.
    Keys(String),
    /// What has no form of its own.
    Other {
        /// One word.
        kind: String,
        /// For people.
        text: String,
    },
}

impl Event {
    /// One word for what was done.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Forgot(_) => "forgot",
            Self::Unforgot { .. } => "unforgot",
            Self::Collected(_) => "gc",
            Self::Verified(_) => "verified",
            Self::Tested(_) => "restore-test",
            Self::Repaired(_) => "repaired",
            Self::Keys(_) => "keys",
            Self::Other { kind, .. } => kind,
        }
    }
}

/// A snapshot that was forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgot {
    /// Which.
    pub snapshot: Sid,
    /// Of which volume.
    pub volume: String,
    /// Why.
    pub why: String,
}

/// A GC run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The generation that it opened or finished.
    pub generation: Generation,
    /// Its figures by name: `packs`, `condemned`, `deleted_bytes`, ... Names are those of the report.
    pub figures: BTreeMap<String, u64>,
    /// The sessions that it took for dead.
    pub fenced: Vec<Sid>,
    /// It came to its end.
    pub done: bool,
}

/// A verification or scrub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// `scrub`, or the level of a verification: `quick`, `full`, `against`.
    pub level: String,
    /// The snapshot; `None` for a scrub.
    pub snapshot: Option<Sid>,
    /// Packs that were read; of a verification, 0.
    pub packs: u64,
    /// Bytes that were read from the store.
    pub bytes: u64,
    /// Damage and differences.
    pub problems: u64,
    /// Packs that are damaged or gone.
    pub damaged: Vec<Damaged>,
}

/// A pack that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Which.
    pub pack: PackId,
    /// Blobs of it that are lost; 0 means all.
    pub blobs: u32,
}

/// A restore test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tested {
    /// The volume.
    pub volume: String,
    /// The snapshot.
    pub snapshot: Sid,
    /// Files that were restored and compared.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Only a sample of the files was restored.
    pub sampled: bool,
    /// What failed in all.
    pub problems: u64,
    /// The first of it.
    pub failed: Vec<String>,
}

/// A repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// `index`, `snapshot` or `quarantine`.
    pub what: String,
    /// The snapshot that was repaired.
    pub snapshot: Option<Sid>,
    /// What was committed instead.
    pub copy: Option<Sid>,
    /// Packs that were added to the index, or of which the quarantine was lifted.
    pub packs: u64,
    /// Paths and ranges of paths that are lost, in all.
    pub problems: u64,
    /// The first of them, as bytes.
    pub lost: Vec<Vec<u8>>,
    /// The packs of which the quarantine was lifted.
    pub lifted: Vec<PackId>,
}

impl Record {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::WireRecord::from(self).encode_to_vec()
    }

    /// Reads what [`Record::encode`] wrote. A kind of event that this version does not know is an [`Event::Other`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        wire::WireRecord::decode(bytes).map_err(|_| BadRecord("audit record"))?.check()
    }
}
