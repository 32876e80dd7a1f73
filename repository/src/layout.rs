//! Which object lies under which key. The one place that knows the repository's layout (docs/format.md).

use crate::env::Timestamp;
use crate::ids::{DomainName, Generation, PackId, Sid, hex, parse_hex};
use crate::store::Key;

/// The plain description of the repository.
pub const REPO_JSON: &str = "repo.json";

/// What is stored under a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ObjectKind {
    /// A version of the domain's key ring, `k/`.
    Key = b'k',
    /// A pack, `p/`.
    Pack = b'p',
    /// An index delta, `i/`.
    Delta = b'i',
    /// A shard of the stored index or a root of it, `x/`.
    Index = b'x',
    /// A session registration, `s/`.
    Registration = b's',
    /// A session's outcome, `m/`.
    Outcome = b'm',
    /// A forget marker, `f/`.
    Forget = b'f',
    /// A pin, `n/`.
    Pin = b'n',
    /// A quarantine record, `q/`.
    Quarantine = b'q',
    /// A GC record, `g/`.
    Gc = b'g',
    /// An audit record, or the proofs of a verification, `a/`.
    Audit = b'a',
}

impl ObjectKind {
    /// The letter.
    #[must_use]
    pub fn letter(self) -> char {
        char::from(self as u8)
    }
}

/// 16 hex digits that ascend with time. Nothing was backed up before 1970.
fn moment(at: Timestamp) -> String {
    hex(&at.0.max(0).to_be_bytes())
}

fn parse_moment(name: &str) -> Option<Timestamp> {
    let (moment, random) = name.split_once('-')?;
    parse_hex::<8>(random)?;
    Some(Timestamp(i64::from_be_bytes(parse_hex(moment)?)))
}

/// Names the objects of one domain.
#[derive(Clone, Debug)]
pub struct Layout {
    domain: DomainName,
}

fn key(text: String) -> Key {
    Key::new(text).expect("names are made of hex, digits and domain names only")
}

impl Layout {
    /// For this domain.
    #[must_use]
    pub fn new(domain: DomainName) -> Self {
        Self { domain }
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// The plain description of the repository.
    #[must_use]
    pub fn repo_json() -> Key {
        key(REPO_JSON.to_owned())
    }

    /// The folder of all objects of a kind, for listing: `default/m/`.
    #[must_use]
    pub fn folder(&self, kind: ObjectKind) -> String {
        format!("{}/{}/", self.domain, kind.letter())
    }

    /// The folder of one generation's objects of a kind: `default/m/0000000000/`.
    #[must_use]
    pub fn generation_folder(&self, kind: ObjectKind, generation: Generation) -> String {
        format!("{}/{}/{generation}/", self.domain, kind.letter())
    }

    /// A copy (`a` or `b`) of a version of the key ring.
    #[must_use]
    pub fn ring(&self, version: u32, copy: char) -> Key {
        key(format!("{}{version:010}-{copy}", self.folder(ObjectKind::Key)))
    }

    /// Takes a ring's key apart; `None` for anything else.
    #[must_use]
    pub fn parse_ring(&self, key: &Key) -> Option<(u32, char)> {
        let (version, copy) = key.as_str().strip_prefix(&self.folder(ObjectKind::Key))?.split_once('-')?;
        let (version, copy) = (version.parse().ok()?, copy.parse().ok()?);
        (matches!(copy, 'a' | 'b') && self.ring(version, copy) == *key).then_some((version, copy))
    }

    /// A pack. The first byte of the random part spreads packs over 256 folders.
    #[must_use]
    pub fn pack(&self, id: PackId) -> Key {
        key(format!("{}{:02x}/{id}", self.folder(ObjectKind::Pack), id.rnd[0]))
    }

    /// The `n`th index delta of a session.
    #[must_use]
    pub fn delta(&self, generation: Generation, sid: Sid, n: u32) -> Key {
        key(format!("{}{sid}-{n}", self.generation_folder(ObjectKind::Delta, generation)))
    }

    /// A shard of the stored index.
    #[must_use]
    pub fn index_shard(&self, generation: Generation, random: [u8; 16]) -> Key {
        key(format!("{}{}", self.generation_folder(ObjectKind::Index, generation), hex(&random)))
    }

    /// The root that lists a generation's shards.
    #[must_use]
    pub fn index_root(&self, generation: Generation) -> Key {
        key(format!("{}root", self.generation_folder(ObjectKind::Index, generation)))
    }

    /// A session's registration.
    #[must_use]
    pub fn registration(&self, generation: Generation, sid: Sid) -> Key {
        key(format!("{}{sid}", self.generation_folder(ObjectKind::Registration, generation)))
    }

    /// A session's outcome.
    #[must_use]
    pub fn outcome(&self, generation: Generation, sid: Sid) -> Key {
        key(format!("{}{sid}", self.generation_folder(ObjectKind::Outcome, generation)))
    }

    /// A snapshot's forget marker.
    #[must_use]
    pub fn forget(&self, generation: Generation, sid: Sid) -> Key {
        key(format!("{}{sid}", self.generation_folder(ObjectKind::Forget, generation)))
    }

    /// A snapshot's pin.
    #[must_use]
    pub fn pin(&self, generation: Generation, sid: Sid) -> Key {
        key(format!("{}{sid}", self.generation_folder(ObjectKind::Pin, generation)))
    }

    /// A GC record: `open`, `sweep` or `done`.
    #[must_use]
    pub fn gc(&self, generation: Generation, record: &str) -> Key {
        key(format!("{}{record}", self.generation_folder(ObjectKind::Gc, generation)))
    }

    /// A quarantine record of a pack.
    #[must_use]
    pub fn quarantine(&self, pack: PackId, random: [u8; 8]) -> Key {
        key(format!("{}{pack}-{}", self.folder(ObjectKind::Quarantine), hex(&random)))
    }

    /// An audit record. Names ascend with time, so that a listing can begin anywhere.
    #[must_use]
    pub fn audit(&self, at: Timestamp, random: [u8; 8]) -> Key {
        key(format!("{}{}-{}", self.folder(ObjectKind::Audit), moment(at), hex(&random)))
    }

    /// What comes before all audit records of this moment and later ones.
    #[must_use]
    pub fn audit_before(&self, at: Timestamp) -> Key {
        key(format!("{}{}-", self.folder(ObjectKind::Audit), moment(at)))
    }

    /// The folder of proofs, below that of audit records.
    #[must_use]
    pub fn proofs(&self) -> String {
        format!("{}v/", self.folder(ObjectKind::Audit))
    }

    /// The proofs that one verification brought.
    #[must_use]
    pub fn proof(&self, at: Timestamp, random: [u8; 8]) -> Key {
        key(format!("{}{}-{}", self.proofs(), moment(at), hex(&random)))
    }

    /// The moment in an audit record's key; `None` for anything else.
    #[must_use]
    pub fn parse_audit(&self, key: &Key) -> Option<Timestamp> {
        let rest = key.as_str().strip_prefix(&self.folder(ObjectKind::Audit))?;
        parse_moment(rest)
    }

    /// The moment in the key of proofs; `None` for anything else.
    #[must_use]
    pub fn parse_proof(&self, key: &Key) -> Option<Timestamp> {
        parse_moment(key.as_str().strip_prefix(&self.proofs())?)
    }

    /// A part of a GC record that is large (`open`, `sweep`, `done`), or of a `catalogue`.
    #[must_use]
    pub fn gc_part(&self, generation: Generation, of: &str, name: [u8; 8]) -> Key {
        self.gc(generation, &format!("{of}-{}", hex(&name)))
    }

    /// Takes the key of such a part apart; `None` for anything else.
    #[must_use]
    pub fn parse_gc_part<'k>(&self, key: &'k Key) -> Option<(Generation, &'k str, [u8; 8])> {
        let (generation, name) = self.parse_gc(key)?;
        let (of, name) = name.split_once('-')?;
        Some((generation, of, parse_hex(name)?))
    }

    /// Takes a pack's key apart; `None` for anything else.
    #[must_use]
    pub fn parse_pack(&self, key: &Key) -> Option<PackId> {
        let rest = key.as_str().strip_prefix(&self.folder(ObjectKind::Pack))?;
        let id: PackId = rest.split_once('/')?.1.parse().ok()?;
        (self.pack(id) == *key).then_some(id)
    }

    /// Takes a key of the form `<letter>/<gen>/<sid>` apart; `None` for anything else.
    #[must_use]
    pub fn parse_session(&self, kind: ObjectKind, key: &Key) -> Option<(Generation, Sid)> {
        let rest = key.as_str().strip_prefix(&self.folder(kind))?;
        let (generation, sid) = rest.split_once('/')?;
        Some((generation.parse().ok()?, sid.parse().ok()?))
    }

    /// Takes a delta's key apart; `None` for anything else.
    #[must_use]
    pub fn parse_delta(&self, key: &Key) -> Option<(Generation, Sid, u32)> {
        let rest = key.as_str().strip_prefix(&self.folder(ObjectKind::Delta))?;
        let (generation, name) = rest.split_once('/')?;
        let (sid, n) = name.split_once('-')?;
        Some((generation.parse().ok()?, sid.parse().ok()?, n.parse().ok()?))
    }

    /// Takes the key of a part of the stored index apart: `None` in the second place for a root.
    #[must_use]
    pub fn parse_index(&self, key: &Key) -> Option<(Generation, Option<[u8; 16]>)> {
        let rest = key.as_str().strip_prefix(&self.folder(ObjectKind::Index))?;
        let (generation, name) = rest.split_once('/')?;
        let shard = if name == "root" { None } else { Some(parse_hex(name)?) };
        Some((generation.parse().ok()?, shard))
    }

    /// Takes a GC record's key apart; `None` for anything else.
    #[must_use]
    pub fn parse_gc<'k>(&self, key: &'k Key) -> Option<(Generation, &'k str)> {
        let rest = key.as_str().strip_prefix(&self.folder(ObjectKind::Gc))?;
        let (generation, record) = rest.split_once('/')?;
        Some((generation.parse().ok()?, record))
    }
}
