//! Every record comes back as it was; no damaged one panics or passes for the same.

use super::gc::{GcDone, GcOpen, GcSweep, Quarantine, Relocation, decode_split, encode_split};
use super::record::{Outcome, Registration, SessionKind};
use super::summary::{self, SummaryBuilder};
use super::{BadRecord, CopiedFrom, Manifest, Origin, RepairMark, Summary};
use crate::env::Timestamp;
use crate::ids::{BlobId, BlobRef, Generation, PackId, PackRef, Place, RepoId, Sid};
use crate::limits;

pub(crate) fn pack(n: u8) -> PackRef {
    PackRef { id: PackId { sid: Sid([n; 16]), rnd: [n; 8] }, bytes: 1000 + u64::from(n) }
}

pub(crate) fn place(n: u8, ordinal: u32) -> Place {
    Place { pack: pack(n).id, ordinal }
}

fn origin(bytes: usize) -> Origin {
    let name = |n: &str| n.to_owned();
    Origin {
        cluster: name("c-uid"),
        namespace: name("shop"),
        namespace_uid: name("n-uid"),
        claim: name("data"),
        claim_uid: name("uid"),
        objects: vec![(name("claim"), vec![b'x'; bytes]), (name("volume"), Vec::new())],
    }
}

#[test]
fn an_origin_larger_than_any_clusters_is_refused() {
    let with = |origin: Origin| {
        let manifest = Box::new(Manifest { origin: Some(Box::new(origin)), ..manifest("v", 1) });
        let outcome = Outcome::Committed { nonce: [1; 16], manifest };
        (Outcome::decode(&outcome.encode()), outcome)
    };
    let (read, written) = with(origin(limits::ORIGIN_OBJECT_BYTES_MAX));
    assert_eq!(read.unwrap(), written);
    let many = vec![("x".to_owned(), Vec::new()); limits::ORIGIN_OBJECTS_MAX + 1];
    for bad in [
        origin(limits::ORIGIN_OBJECT_BYTES_MAX + 1),
        Origin { objects: many, ..origin(1) },
        Origin { claim: "x".repeat(limits::ORIGIN_NAME_BYTES_MAX + 1), ..origin(1) },
    ] {
        assert!(with(bad).0.unwrap_err().to_string().contains("origin"));
    }
}

pub(crate) fn manifest(volume: &str, started: i64) -> Manifest {
    let root = BlobRef { id: BlobId([1; 32]), place: place(1, 7) };
    let mut summary = SummaryBuilder::default();
    summary.add(root.place).unwrap();
    Manifest {
        volume: volume.to_owned(),
        host: "host".to_owned(),
        path: b"/srv/\xff".to_vec(),
        started: Timestamp::from_parts(started, 5),
        finished: Timestamp::from_parts(started + 1, 0),
        parent: Some(Sid([4; 16])),
        tags: vec!["a".to_owned(), "b".to_owned()],
        entries: 1,
        files: 2,
        bytes: 3,
        bytes_new: 4,
        bytes_stored: 5,
        problems: 6,
        changed: 7,
        root,
        root_usage: BlobRef { id: BlobId([2; 32]), place: place(1, 8) },
        summary: Summary::Inline(summary::encode(&summary.finish(|_| Some(1000)).unwrap())),
        identity: Some([5; 16]),
        copied: Some(CopiedFrom {
            repository: RepoId([6; 16]),
            domain: "default".to_owned(),
            snapshot: Sid([7; 16]),
            lost: 2,
        }),
        repaired: Some(RepairMark { of: Sid([6; 16]), lost: 3 }),
        origin: Some(Box::new(origin(1))),
    }
}

/// Flips every bit and cuts everywhere: never a panic, and never the same value unless nothing says so.
fn check<T: PartialEq + std::fmt::Debug>(
    value: &T,
    encoded: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, BadRecord>,
) {
    assert_eq!(&decode(encoded).unwrap(), value);
    for n in 0..encoded.len() {
        let _ = decode(&encoded[..n]);
        for bit in 0..8 {
            let mut bad = encoded.to_vec();
            bad[n] ^= 1 << bit;
            assert_ne!(decode(&bad).ok().as_ref(), Some(value), "byte {n} bit {bit}");
        }
    }
}

#[test]
fn outcomes() {
    let mut large = manifest("v", 9);
    large.parent = None;
    large.summary = Summary::Pieces(vec![large.root, large.root_usage]);
    for m in [manifest("host:/data", -3), large] {
        let outcome = Outcome::Committed { nonce: [9; 16], manifest: Box::new(m) };
        check(&outcome, &outcome.encode(), Outcome::decode);
    }
    let aborted = Outcome::Aborted { nonce: [3; 16], reason: "fenced by GC".to_owned() };
    check(&aborted, &aborted.encode(), Outcome::decode);
    assert!(Outcome::decode(&[]).is_err());
}

#[test]
fn registrations() {
    for (kind, snapshot) in
        [(SessionKind::Write, None), (SessionKind::Read, Some(Sid([7; 16]))), (SessionKind::Gc, None)]
    {
        let r = Registration {
            generation: Generation(12),
            kind,
            node: "n1".to_owned(),
            volume: "v".to_owned(),
            carries: vec![Sid([1; 16]), Sid([2; 16])],
            started: Timestamp(-5),
            snapshot,
        };
        check(&r, &r.encode(), Registration::decode);
    }
    assert!(Registration::decode(&[]).is_err());
}

#[test]
fn gc_records() {
    let relocations = vec![
        Relocation { pack: pack(1).id, ordinal: 1, count: 3, to: place(2, 0) },
        Relocation { pack: pack(1).id, ordinal: 9, count: 1, to: place(3, 300) },
        Relocation { pack: pack(2).id, ordinal: 0, count: 1, to: place(3, 1) },
    ];
    let open = GcOpen { condemned: vec![pack(1).id, pack(2).id], relocations: relocations.clone() };
    check(&open, &open.encode(), GcOpen::decode);
    let sweep = GcSweep { packs: vec![pack(1).id] };
    check(&sweep, &sweep.encode(), GcSweep::decode);
    let catalogue = vec![(Generation(0), Sid([5; 16])), (Generation(2), Sid([1; 16]))];
    let parts = vec![[1; 8], [2; 8]];
    let figures = vec![[3; 8]];
    let done = GcDone { frozen: Generation(2), catalogue, relocations, parts: parts.clone(), figures };
    check(&done, &done.encode(), GcDone::decode);
    for record in [open.encode(), sweep.encode(), done.encode(), Vec::new()] {
        assert_eq!(decode_split(&record), Ok(None));
    }
    assert_eq!(decode_split(&encode_split(&parts)), Ok(Some(parts)));
    let quarantine = Quarantine { pack: pack(4).id, ordinals: vec![0, 5, 1000] };
    check(&quarantine, &quarantine.encode(), Quarantine::decode);
}

#[test]
fn audit_records() {
    use super::audit::{Collected, Damaged, Event, Forgot, Record, Repaired, Tested, Verified};
    let (a, b) = (Sid([1; 16]), Sid([2; 16]));
    let events = vec![
        Event::Forgot(vec![Forgot { snapshot: a, volume: "v".to_owned(), why: "old".to_owned() }]),
        Event::Unforgot { snapshot: a, copy: b },
        Event::Collected(Collected {
            generation: Generation(4),
            figures: [("packs".to_owned(), 7), ("deleted".to_owned(), 1)].into(),
            fenced: vec![a],
            done: false,
        }),
        Event::Verified(Verified {
            level: "scrub".to_owned(),
            snapshot: Some(b),
            packs: 1,
            bytes: 2,
            problems: 3,
            damaged: vec![Damaged { pack: pack(3).id, blobs: 9 }],
        }),
        Event::Tested(Tested {
            volume: "v".to_owned(),
            snapshot: a,
            files: 1,
            bytes: 2,
            sampled: false,
            problems: 1,
            failed: vec!["a: differs".to_owned()],
        }),
        Event::Repaired(Repaired {
            what: "snapshot".to_owned(),
            snapshot: Some(a),
            copy: Some(b),
            packs: 1,
            problems: 2,
            lost: vec![b"a/\xff".to_vec()],
            lifted: vec![PackId { sid: a, rnd: [4; 8] }],
        }),
        Event::Keys("added".to_owned()),
        Event::Other { kind: "k".to_owned(), text: "t".to_owned() },
    ];
    for event in events {
        let (by, host) = ("by".to_owned(), "host".to_owned());
        let record = Record { at: Timestamp(-5), by, host, event };
        check(&record, &record.encode(), Record::decode);
    }
    let done = Event::Collected(Collected { done: true, ..Collected::default() });
    let record = Record { at: Timestamp(0), by: String::new(), host: String::new(), event: done };
    assert_eq!(Record::decode(&record.encode()).unwrap(), record);
    // An event that this version does not know: field 15 instead of one of ours.
    let newer = Record::decode(&[0x7a, 1, 0]).unwrap();
    assert_eq!(newer.event.kind(), "unknown");
}

#[test]
fn proofs() {
    use super::proof::{PackProof, Proofs, SnapshotProof, TestProof};
    let at = |n| Timestamp(n);
    let mut old = Proofs::default();
    old.packs.insert(pack(1).id, PackProof { at: at(5), damaged: 0 });
    old.packs.insert(pack(2).id, PackProof { at: at(-5), damaged: PackProof::WHOLE });
    old.snapshots.insert(Sid([1; 16]), SnapshotProof { at: at(7), problems: 3 });
    old.tests.insert("v".to_owned(), TestProof { at: at(8), snapshot: Sid([1; 16]), problems: 0 });
    check(&old, &old.encode(), Proofs::decode);
    let mut new = Proofs::default();
    new.packs.insert(pack(1).id, PackProof { at: at(4), damaged: 9 });
    new.packs.insert(pack(2).id, PackProof { at: at(6), damaged: 1 });
    new.tests.insert("v".to_owned(), TestProof { at: at(9), snapshot: Sid([2; 16]), problems: 1 });
    let (mut one, mut other) = (old.clone(), new.clone());
    one.merge(new.clone());
    other.merge(old);
    assert_eq!(one, other, "the order of records does not matter");
    assert_eq!((one.packs[&pack(1).id].damaged, one.packs[&pack(2).id].damaged), (0, 1));
    assert_eq!(one.tests["v"], new.tests["v"]);
    let parts = one.clone().parts(1);
    assert!(parts.len() == 2 && parts.iter().all(|p| p.packs.len() == 1));
    let whole = parts.into_iter().fold(Proofs::default(), |mut all, part| {
        all.merge(part);
        all
    });
    assert_eq!(whole, one);
}

#[test]
fn void_is_what_is_frozen_and_not_in_the_catalogue() {
    let catalogue = vec![(Generation(0), Sid([5; 16])), (Generation(2), Sid([1; 16]))];
    let done = GcDone { frozen: Generation(2), catalogue, ..GcDone::default() };
    assert!(!done.is_void(Generation(2), Sid([1; 16])));
    assert!(done.is_void(Generation(1), Sid([1; 16])));
    assert!(!done.is_void(Generation(3), Sid([8; 16])));
}

#[test]
fn catalogues_out_of_order_or_beyond_the_frozen_generation_are_refused() {
    for catalogue in [
        vec![(Generation(1), Sid([5; 16])), (Generation(0), Sid([1; 16]))],
        vec![(Generation(3), Sid([1; 16]))],
    ] {
        let done = GcDone { frozen: Generation(2), catalogue, ..GcDone::default() };
        assert!(GcDone::decode(&done.encode()).is_err());
    }
}

/// Fields that came after the golden repository was made: its bytes and these are read for ever.
#[test]
fn later_fields_are_stored_as_the_format_says() {
    use super::audit::{Event, Record, Repaired};
    use super::catalogue::{Catalogue, New, SnapshotFacts};
    use crate::ids::hex;
    let golden = |text: &'static str| text.trim().to_owned();
    let name = (Generation(1), Sid([3; 16]));
    let done = GcDone {
        frozen: Generation(1),
        catalogue: vec![name],
        relocations: Vec::new(),
        parts: vec![[1; 8]],
        figures: vec![[2; 8], [3; 8]],
    };
    let stored = golden(include_str!("../../../testdata/golden-v1-fields/done"));
    assert_eq!(hex(&done.encode()), stored);
    assert_eq!(GcDone::decode(&done.encode()).unwrap(), done);
    let mut catalogue = Catalogue::default();
    let uses = catalogue.encode_uses(&[], &[]);
    let facts = SnapshotFacts { started: Timestamp(-7), bytes: 1, bytes_new: 300, bytes_stored: 1 << 40 };
    catalogue.add(vec![New { volume: "v".to_owned(), facts, name, uses }]);
    let figures = golden(include_str!("../../../testdata/golden-v1-fields/figures"));
    assert_eq!(hex(&catalogue.encode_facts().concat()), figures);
    let repaired = Repaired { what: "quarantine".to_owned(), packs: 1, ..Repaired::default() };
    let event = Event::Repaired(Repaired { lifted: vec![pack(5).id], ..repaired });
    let record = Record { at: Timestamp(9), by: "b".to_owned(), host: "h".to_owned(), event };
    let audited = golden(include_str!("../../../testdata/golden-v1-fields/repaired"));
    assert_eq!(hex(&record.encode()), audited);
    assert_eq!(Record::decode(&record.encode()).unwrap(), record);
}
