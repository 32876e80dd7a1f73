//! Stored forms of audit records. Field numbers are never reused.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

use super::{Collected, Damaged, Event, Forgot, Record, Repaired, Tested, Verified};
use crate::env::Timestamp;
use crate::ids::{PackId, Sid};
use crate::manifest::BadRecord;
use crate::manifest::wire::{array, generation};

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireRecord {
    #[prost(sint64, tag = "1")]
    at: i64,
    #[prost(string, tag = "2")]
    by: String,
    #[prost(string, tag = "3")]
    host: String,
    #[prost(oneof = "WireEvent", tags = "4, 5, 6, 7, 8, 9, 10, 11")]
    event: Option<WireEvent>,
}

#[derive(Clone, PartialEq, Oneof)]
enum WireEvent {
    #[prost(message, tag = "4")]
    Forgot(WireForgotten),
    #[prost(message, tag = "5")]
    Unforgot(WireUnforgot),
    #[prost(message, tag = "6")]
    Collected(WireCollected),
    #[prost(message, tag = "7")]
    Verified(WireVerified),
    #[prost(message, tag = "8")]
    Tested(WireTested),
    #[prost(message, tag = "9")]
    Repaired(WireRepaired),
    #[prost(string, tag = "10")]
    Keys(String),
    #[prost(message, tag = "11")]
    Other(WireOther),
}

#[derive(Clone, PartialEq, Message)]
struct WireForgotten {
    #[prost(message, repeated, tag = "1")]
    snapshots: Vec<WireForgot>,
}

#[derive(Clone, PartialEq, Message)]
struct WireForgot {
    #[prost(bytes = "vec", tag = "1")]
    snapshot: Vec<u8>,
    #[prost(string, tag = "2")]
    volume: String,
    #[prost(string, tag = "3")]
    why: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireUnforgot {
    #[prost(bytes = "vec", tag = "1")]
    snapshot: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    copy: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WireCollected {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(btree_map = "string, uint64", tag = "2")]
    figures: BTreeMap<String, u64>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    fenced: Vec<Vec<u8>>,
    #[prost(bool, tag = "4")]
    done: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireVerified {
    #[prost(string, tag = "1")]
    level: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    snapshot: Option<Vec<u8>>,
    #[prost(uint64, tag = "3")]
    packs: u64,
    #[prost(uint64, tag = "4")]
    bytes: u64,
    #[prost(uint64, tag = "5")]
    problems: u64,
    #[prost(message, repeated, tag = "6")]
    damaged: Vec<WireDamaged>,
}

#[derive(Clone, PartialEq, Message)]
struct WireDamaged {
    #[prost(bytes = "vec", tag = "1")]
    pack: Vec<u8>,
    #[prost(uint32, tag = "2")]
    blobs: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireTested {
    #[prost(string, tag = "1")]
    volume: String,
    #[prost(bytes = "vec", tag = "2")]
    snapshot: Vec<u8>,
    #[prost(uint64, tag = "3")]
    files: u64,
    #[prost(uint64, tag = "4")]
    bytes: u64,
    #[prost(bool, tag = "5")]
    sampled: bool,
    #[prost(uint64, tag = "6")]
    problems: u64,
    #[prost(string, repeated, tag = "7")]
    failed: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct WireRepaired {
    #[prost(string, tag = "1")]
    what: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    snapshot: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    copy: Option<Vec<u8>>,
    #[prost(uint64, tag = "4")]
    packs: u64,
    #[prost(uint64, tag = "5")]
    problems: u64,
    #[prost(bytes = "vec", repeated, tag = "6")]
    lost: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    lifted: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct WireOther {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    text: String,
}

fn sid(bytes: &[u8]) -> Result<Sid, BadRecord> {
    array(bytes, "audit record: session id").map(Sid)
}

fn pack(bytes: &[u8]) -> Result<PackId, BadRecord> {
    array(bytes, "audit record: pack name").map(PackId::from_bytes)
}

fn find_sid(bytes: Option<&Vec<u8>>) -> Result<Option<Sid>, BadRecord> {
    bytes.map(|b| sid(b)).transpose()
}

impl From<&Record> for WireRecord {
    fn from(r: &Record) -> Self {
        Self { at: r.at.0, by: r.by.clone(), host: r.host.clone(), event: Some((&r.event).into()) }
    }
}

impl WireRecord {
    pub(super) fn check(self) -> Result<Record, BadRecord> {
        let Self { at, by, host, event } = self;
        let event = match event {
            Some(event) => event.check()?,
            None => Event::Other { kind: "unknown".to_owned(), text: "of a newer version".to_owned() },
        };
        Ok(Record { at: Timestamp(at), by, host, event })
    }
}

impl From<&Event> for WireEvent {
    fn from(event: &Event) -> Self {
        match event {
            Event::Forgot(list) => {
                let one = |f: &Forgot| WireForgot {
                    snapshot: f.snapshot.0.to_vec(),
                    volume: f.volume.clone(),
                    why: f.why.clone(),
                };
                Self::Forgot(WireForgotten { snapshots: list.iter().map(one).collect() })
            }
            Event::Unforgot { snapshot, copy } => {
                Self::Unforgot(WireUnforgot { snapshot: snapshot.0.to_vec(), copy: copy.0.to_vec() })
            }
            Event::Collected(c) => Self::Collected(WireCollected {
                generation: c.generation.0,
                figures: c.figures.clone(),
                fenced: c.fenced.iter().map(|s| s.0.to_vec()).collect(),
                done: c.done,
            }),
            Event::Verified(v) => Self::Verified(v.into()),
            Event::Tested(t) => Self::Tested(WireTested {
                volume: t.volume.clone(),
                snapshot: t.snapshot.0.to_vec(),
                files: t.files,
                bytes: t.bytes,
                sampled: t.sampled,
                problems: t.problems,
                failed: t.failed.clone(),
            }),
            Event::Repaired(r) => Self::Repaired(WireRepaired {
                what: r.what.clone(),
                snapshot: r.snapshot.map(|s| s.0.to_vec()),
                copy: r.copy.map(|s| s.0.to_vec()),
                packs: r.packs,
                problems: r.problems,
                lost: r.lost.clone(),
                lifted: r.lifted.iter().map(|p| p.to_bytes().to_vec()).collect(),
            }),
            Event::Keys(text) => Self::Keys(text.clone()),
            Event::Other { kind, text } => Self::Other(WireOther { kind: kind.clone(), text: text.clone() }),
        }
    }
}

impl From<&Verified> for WireVerified {
    fn from(v: &Verified) -> Self {
        let damaged = |d: &Damaged| WireDamaged { pack: d.pack.to_bytes().to_vec(), blobs: d.blobs };
        Self {
            level: v.level.clone(),
            snapshot: v.snapshot.map(|s| s.0.to_vec()),
            packs: v.packs,
            bytes: v.bytes,
            problems: v.problems,
            damaged: v.damaged.iter().map(damaged).collect(),
        }
    }
}

impl WireEvent {
    fn check(self) -> Result<Event, BadRecord> {
        Ok(match self {
            Self::Forgot(list) => {
                let one =
                    |f: WireForgot| Ok(Forgot { snapshot: sid(&f.snapshot)?, volume: f.volume, why: f.why });
                Event::Forgot(list.snapshots.into_iter().map(one).collect::<Result<_, _>>()?)
            }
            Self::Unforgot(u) => Event::Unforgot { snapshot: sid(&u.snapshot)?, copy: sid(&u.copy)? },
            Self::Collected(c) => Event::Collected(Collected {
                generation: generation(c.generation)?,
                figures: c.figures,
                fenced: c.fenced.iter().map(|s| sid(s)).collect::<Result<_, _>>()?,
                done: c.done,
            }),
            Self::Verified(v) => Event::Verified(v.check()?),
            Self::Tested(t) => Event::Tested(Tested {
                volume: t.volume,
                snapshot: sid(&t.snapshot)?,
                files: t.files,
                bytes: t.bytes,
                sampled: t.sampled,
                problems: t.problems,
                failed: t.failed,
            }),
            Self::Repaired(r) => Event::Repaired(Repaired {
                what: r.what,
                snapshot: find_sid(r.snapshot.as_ref())?,
                copy: find_sid(r.copy.as_ref())?,
                packs: r.packs,
                problems: r.problems,
                lost: r.lost,
                lifted: r.lifted.iter().map(|p| pack(p)).collect::<Result<_, _>>()?,
            }),
            Self::Keys(text) => Event::Keys(text),
            Self::Other(o) => Event::Other { kind: o.kind, text: o.text },
        })
    }
}

impl WireVerified {
    fn check(self) -> Result<Verified, BadRecord> {
        let damaged = |d: &WireDamaged| Ok(Damaged { pack: pack(&d.pack)?, blobs: d.blobs });
        Ok(Verified {
            level: self.level,
            snapshot: find_sid(self.snapshot.as_ref())?,
            packs: self.packs,
            bytes: self.bytes,
            problems: self.problems,
            damaged: self.damaged.iter().map(damaged).collect::<Result<_, _>>()?,
        })
    }
}
