//! A session's two records: the registration that begins it, and the outcome that ends it.

use prost::Message as _;

use super::wire::{WireEnd, WireMark, WireOutcome, WireRegistration, array, generation};
use super::{BadRecord, Manifest};
use crate::env::Timestamp;
use crate::ids::{Generation, Sid};

/// How a session ended. Written once, by the session or by who fences it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The snapshot exists.
    Committed {
        /// Random; it lives in the writer's memory only, so that nobody else can take the outcome for its own.
        nonce: [u8; 16],
        /// The snapshot.
        manifest: Box<Manifest>,
    },
    /// There is no snapshot, and there never will be one under this sid.
    Aborted {
        /// Random.
        nonce: [u8; 16],
        /// Why, for people.
        reason: String,
    },
}

impl Outcome {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (nonce, end) = match self {
            Self::Committed { nonce, manifest } => {
                (nonce, WireEnd::Committed(Box::new((&**manifest).into())))
            }
            Self::Aborted { nonce, reason } => (nonce, WireEnd::Aborted(reason.clone())),
        };
        WireOutcome { nonce: nonce.to_vec(), end: Some(end) }.encode_to_vec()
    }

    /// Reads what [`Outcome::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let wire = WireOutcome::decode(bytes).map_err(|_| BadRecord("outcome"))?;
        let nonce = array(&wire.nonce, "outcome: nonce")?;
        match wire.end.ok_or(BadRecord("outcome: neither committed nor aborted"))? {
            WireEnd::Committed(m) => Ok(Self::Committed { nonce, manifest: Box::new(m.check()?) }),
            WireEnd::Aborted(reason) => Ok(Self::Aborted { nonce, reason }),
        }
    }
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// Backs a volume up.
    Write,
    /// Restores or verifies.
    Read,
    /// Collects garbage.
    Gc,
}

/// A session's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The generation that it begins in.
    pub generation: Generation,
    /// What it is for.
    pub kind: SessionKind,
    /// The machine.
    pub node: String,
    /// The volume that it backs up, where it does.
    pub volume: String,
    /// Earlier sids of the same work: their packs are this session's too.
    pub carries: Vec<Sid>,
    /// When it began, by its machine's clock: for people.
    pub started: Timestamp,
    /// The snapshot that it reads, which is kept as long as the session is open.
    pub snapshot: Option<Sid>,
}

impl Registration {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireRegistration {
            generation: self.generation.0,
            kind: match self.kind {
                SessionKind::Write => 1,
                SessionKind::Read => 2,
                SessionKind::Gc => 3,
            },
            node: self.node.clone(),
            volume: self.volume.clone(),
            carries: self.carries.iter().map(|s| s.0.to_vec()).collect(),
            started: self.started.0,
            snapshot: self.snapshot.map(|s| s.0.to_vec()),
        };
        wire.encode_to_vec()
    }

    /// Reads what [`Registration::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let wire = WireRegistration::decode(bytes).map_err(|_| BadRecord("registration"))?;
        let sid = |s: &Vec<u8>| array(s, "registration: session id").map(Sid);
        Ok(Self {
            generation: generation(wire.generation)?,
            kind: match wire.kind {
                1 => SessionKind::Write,
                2 => SessionKind::Read,
                3 => SessionKind::Gc,
                _ => return Err(BadRecord("registration: kind")),
            },
            node: wire.node,
            volume: wire.volume,
            carries: wire.carries.iter().map(sid).collect::<Result<_, _>>()?,
            started: Timestamp(wire.started),
            snapshot: wire.snapshot.as_ref().map(sid).transpose()?,
        })
    }
}

/// A forget marker, or a pin. That it exists is what counts; its content is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, by the clock of who made it.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

impl Mark {
    /// The stored form (before sealing).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        WireMark { at: self.at.0, by: self.by.clone(), why: self.why.clone() }.encode_to_vec()
    }

    /// Reads what [`Mark::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let wire = WireMark::decode(bytes).map_err(|_| BadRecord("marker"))?;
        Ok(Self { at: Timestamp(wire.at), by: wire.by, why: wire.why })
    }
}
