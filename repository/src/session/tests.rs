//! The rules W1 to W7, each broken by somebody else at the worst moment.

use std::sync::Arc;

use bytes::Bytes;

use super::{Commit, Relocations, Session, Who};
use crate::ErrorKind;
use crate::ids::{Generation, PackId, PackRef, Place, Sid};
use crate::index::objects::Objects;
use crate::index::testing::{Fault, World};
use crate::index::{DeltaPack, LocalIndex, LocalOptions, Lookup as _};
use crate::layout::ObjectKind;
use crate::manifest::gc::{GcDone, GcOpen, GcSweep, Quarantine, Relocation};
use crate::manifest::record::{Outcome, Registration};
use crate::manifest::tests::{manifest, place};
use crate::pack::PackKind;
use crate::store::{Key, Op, StoreErrorKind};

mod follow;
mod snapshots;

pub(super) async fn open(world: &World) -> Session {
    Session::open(world.objects.clone(), &Who::writer("node", "vol")).await.unwrap()
}

fn sealed(objects: &Objects, kind: ObjectKind, key: &Key, plain: &[u8]) -> (String, Bytes) {
    (key.as_str().to_owned(), objects.seal(kind, key, plain))
}

/// Puts a GC record behind the sessions' back.
fn gc_record(objects: &Objects, generation: u64, record: &str, plain: &[u8]) -> (String, Bytes) {
    sealed(objects, ObjectKind::Gc, &objects.layout.gc(Generation(generation), record), plain)
}

fn put(world: &World, (key, bytes): (String, Bytes)) {
    world.store.contents(|c| c.insert(key, bytes));
}

fn put_pack(world: &World, id: PackId, bytes: usize) {
    let key = world.objects.layout.pack(id);
    world.store.contents(|c| c.insert(key.as_str().to_owned(), vec![1; bytes].into()));
}

async fn outcome(objects: &Objects, generation: Generation, sid: Sid) -> Option<Outcome> {
    let key = objects.layout.outcome(generation, sid);
    let plain = objects.find(ObjectKind::Outcome, &key).await.unwrap()?;
    Some(Outcome::decode(&plain).unwrap())
}

#[tokio::test]
async fn w1_w2_registers_in_the_newest_opened_generation() {
    let world = World::new();
    let first = open(&world).await;
    assert_eq!(first.generation(), Generation(0));
    for g in [1, 2] {
        put(&world, gc_record(&world.objects, g, "open", &GcOpen::default().encode()));
    }
    put(&world, gc_record(&world.objects, 1, "sweep", &GcSweep::default().encode()));
    let second = open(&world).await;
    assert_eq!(second.generation(), Generation(2));
    assert_ne!(first.sid(), second.sid());
    let key = world.objects.layout.registration(Generation(2), second.sid());
    let plain = world.objects.find(ObjectKind::Registration, &key).await.unwrap().unwrap();
    let registration = Registration::decode(&plain).unwrap();
    assert_eq!((registration.generation, &*registration.volume), (Generation(2), "vol"));
}

#[tokio::test]
async fn w2_a_lost_reply_is_no_second_registration() {
    let world = World::new();
    let mut lost = false;
    world.store.on(move |op, _, _| {
        if op == Op::Put && !std::mem::replace(&mut lost, true) { Fault::LostReply } else { Fault::None }
    });
    open(&world).await;
    let registrations = world.store.contents(|c| c.keys().filter(|k| k.contains("/s/")).count());
    assert_eq!(registrations, 1);
}

#[tokio::test]
async fn w3_a_generation_that_moves_closes_the_old_sid_and_carries_it() {
    let world = World::new();
    let objects = world.objects.clone();
    let mut opened = 0;
    world.store.on(move |op, key, contents| {
        if op == Op::Put && key.contains("/s/") && opened < 2 {
            opened += 1;
            let (key, bytes) = gc_record(&objects, opened, "open", &GcOpen::default().encode());
            contents.insert(key, bytes);
        }
        Fault::None
    });
    let session = open(&world).await;
    assert_eq!((session.generation(), session.carries().len()), (Generation(2), 2));
    for (g, sid) in [0, 1].into_iter().zip(session.carries()) {
        assert!(matches!(outcome(&world.objects, Generation(g), sid).await, Some(Outcome::Aborted { .. })));
    }
    let key = world.objects.layout.registration(Generation(2), session.sid());
    let plain = world.objects.find(ObjectKind::Registration, &key).await.unwrap().unwrap();
    assert_eq!(Registration::decode(&plain).unwrap().carries, session.carries());
    assert_eq!(outcome(&world.objects, Generation(2), session.sid()).await, None);
}

#[tokio::test]
async fn w5_condemned_missing_and_quarantined_are_refused() {
    let world = World::new();
    let record = GcOpen { condemned: vec![place(1, 0).pack], relocations: Vec::new() };
    put(&world, gc_record(&world.objects, 1, "open", &record.encode()));
    for (n, ordinals) in [(3u8, vec![7]), (4, vec![])] {
        let pack = place(n, 0).pack;
        let key = Key::new(format!("default/q/{pack}-0011")).unwrap();
        put(
            &world,
            sealed(&world.objects, ObjectKind::Quarantine, &key, &Quarantine { pack, ordinals }.encode()),
        );
    }
    let unreadable = format!("default/q/{}-ff", place(5, 0).pack);
    put(&world, (unreadable, Bytes::from_static(b"junk")));
    for n in [1, 3, 4, 5, 6] {
        put_pack(&world, place(n, 0).pack, 10);
    }
    let session = open(&world).await;
    for (at, may) in [
        (place(1, 0), false), // condemned, though it exists
        (place(2, 0), false), // missing
        (place(3, 7), false), // quarantined
        (place(3, 8), true),
        (place(4, 0), false), // quarantined whole
        (place(5, 0), false), // a quarantine record that can't be read
        (place(6, 0), true),
    ] {
        assert_eq!(session.may_use(at).await.unwrap(), may, "{at:?}");
    }
    assert!(session.is_forbidden(place(1, 9)) && !session.is_forbidden(place(2, 0)));
}

#[tokio::test]
async fn w5_each_pack_is_asked_for_once() {
    let world = World::new();
    put_pack(&world, place(1, 0).pack, 10);
    let session = Arc::new(open(&world).await);
    let ask = |ordinal| {
        let session = session.clone();
        async move { session.may_use(place(1, ordinal)).await.unwrap() }
    };
    assert_eq!(futures::future::join_all((0..50).map(ask)).await, [true; 50]);
    assert!(session.may_use(place(1, 99)).await.unwrap());
    assert_eq!(world.store.count(Op::Head), 1);
    assert_eq!(session.known_pack_bytes(place(1, 0).pack), Some(10));
    session.note_exists([PackRef { id: place(2, 0).pack, bytes: 5 }]);
    assert!(session.may_use(place(2, 0)).await.unwrap());
    assert_eq!(world.store.count(Op::Head), 1);
    put_pack(&world, place(3, 0).pack, 30);
    session.note_all_packs().await.unwrap();
    assert!(session.may_use(place(3, 0)).await.unwrap());
    assert_eq!((world.store.count(Op::Head), session.known_pack_bytes(place(3, 0).pack)), (1, Some(30)));
}

#[tokio::test]
async fn w5_a_failed_question_is_asked_again() {
    let world = World::new();
    put_pack(&world, place(1, 0).pack, 10);
    let session = open(&world).await;
    world
        .store
        .on(|op, _, _| if op == Op::Head { Fault::Fails(StoreErrorKind::Transient) } else { Fault::None });
    assert_eq!(session.may_use(place(1, 0)).await.unwrap_err().kind(), ErrorKind::Store);
    world.store.on(|_, _, _| Fault::None);
    assert!(session.may_use(place(1, 0)).await.unwrap());
}

#[tokio::test]
async fn w5_a_late_delta_that_names_a_missing_pack_is_harmless() {
    let world = World::new();
    let fenced = open(&world).await;
    let pack = PackRef { id: PackId { sid: fenced.sid(), rnd: [0; 8] }, bytes: 10 };
    let blob = crate::ids::BlobId([5; 32]);
    fenced.publish_delta(&[DeltaPack { pack, kind: PackKind::Data, blobs: vec![blob] }]).await.unwrap();
    let session = open(&world).await;
    let options = LocalOptions { cache_dir: None, refresh_seconds: 0 };
    let index = LocalIndex::open(world.objects.clone(), options);
    let hint = index.find(&[blob]).await.unwrap()[0].unwrap();
    assert_eq!(hint, Place { pack: pack.id, ordinal: 0 });
    assert!(!session.may_use(hint).await.unwrap());
}

#[tokio::test]
async fn relocations_hold_only_for_packs_that_are_swept() {
    let world = World::new();
    let move_to = |from: Place, to: Place| Relocation::one(from, to);
    let done = GcDone {
        frozen: Generation(0),
        catalogue: Vec::new(),
        relocations: vec![move_to(place(1, 0), place(2, 5))],
        ..GcDone::default()
    };
    put(&world, gc_record(&world.objects, 1, "open", &GcOpen::default().encode()));
    put(&world, gc_record(&world.objects, 1, "done", &done.encode()));
    let open_record = GcOpen {
        condemned: vec![place(2, 0).pack, place(3, 0).pack],
        relocations: vec![move_to(place(2, 5), place(9, 1)), move_to(place(3, 0), place(9, 2))],
    };
    put(&world, gc_record(&world.objects, 2, "open", &open_record.encode()));
    let reader = async || Session::open(world.objects.clone(), &Who::reader("node", None)).await.unwrap();
    let before = reader().await;
    assert_eq!(before.resolve(place(1, 0)), place(2, 5), "nothing is swept yet");
    let writer = open(&world).await;
    assert_eq!(writer.resolve(place(1, 0)), place(9, 1), "what a writer refers to exists already");
    assert!(!writer.may_use(place(9, 1)).await.unwrap(), "or else it does not use it");
    let sweep = GcSweep { packs: vec![place(2, 0).pack] };
    put(&world, gc_record(&world.objects, 2, "sweep", &sweep.encode()));
    let after = reader().await;
    assert_eq!(after.resolve(place(1, 0)), place(9, 1), "followed as often as needed");
    assert_eq!(after.resolve(place(3, 0)), place(3, 0), "a spared pack keeps its place");
    assert_eq!(after.resolve(place(7, 7)), place(7, 7));
    let parents = [1, 2, 7].map(|n| PackRef { id: place(n, 0).pack, bytes: 9 });
    after.note_exists(parents);
    assert_eq!(
        parents.map(|p| after.known_pack_bytes(p.id)),
        [None, None, Some(9)],
        "W5: relocated packs are gone"
    );
    let reader = Relocations::load_newest(&world.objects).await.unwrap();
    assert_eq!(reader.resolve(place(1, 0)), place(9, 1));
}

#[test]
fn relocations_in_a_circle_end() {
    let circle = [(1, 2), (2, 3), (3, 1)].map(|(a, b)| Relocation::one(place(a, 0), place(b, 0)));
    let relocations = Relocations::new(&circle, &[], &std::collections::HashSet::new());
    assert_eq!(relocations.resolve(place(1, 0)), place(1, 0));
}

#[tokio::test]
async fn w6_an_own_pack_that_exists_is_a_lost_reply() {
    let world = World::new();
    let session = open(&world).await;
    world
        .store
        .on(|op, key, _| if op == Op::Put && key.contains("/p/") { Fault::LostReply } else { Fault::None });
    let id = PackId { sid: session.sid(), rnd: [1; 8] };
    let pack = session.put_pack(id, Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(pack, PackRef { id, bytes: 10 });
    assert_eq!(session.known_pack_bytes(id), Some(10));
    world.store.on(|_, _, _| Fault::None);
    let again = session.put_pack(id, Bytes::from_static(b"0123456789")).await;
    assert_eq!(again.unwrap(), pack, "already there with the same size");
    let other = session.put_pack(id, Bytes::from_static(b"012")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Damaged);
    let foreign = session.put_pack(place(1, 0).pack, Bytes::new()).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn w7_a_lost_commit_reply_is_a_commit() {
    for times in 1..=2 {
        let world = World::new();
        let session = open(&world).await;
        let mut left = times;
        world.store.on(move |op, key, _| {
            if op != Op::List && key.contains("/m/") && left > 0 {
                left -= 1;
                return Fault::LostReply;
            }
            Fault::None
        });
        assert_eq!(session.commit(manifest("vol", 1)).await.unwrap(), Commit::Committed, "{times} lost");
        assert!(matches!(
            outcome(&world.objects, Generation(0), session.sid()).await,
            Some(Outcome::Committed { .. })
        ));
        assert!(session.abort("late").await.is_err(), "a session ends once");
    }
}

#[tokio::test]
async fn w7_a_fenced_session_does_not_commit() {
    let world = World::new();
    let session = open(&world).await;
    let key = world.objects.layout.outcome(Generation(0), session.sid());
    let aborted = Outcome::Aborted { nonce: [1; 16], reason: "fenced by GC".to_owned() };
    put(&world, sealed(&world.objects, ObjectKind::Outcome, &key, &aborted.encode()));
    let ended = session.commit(manifest("vol", 1)).await.unwrap();
    assert_eq!(ended, Commit::Fenced("fenced by GC".to_owned()));
    assert_eq!(ended.or_error().unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(outcome(&world.objects, Generation(0), session.sid()).await, Some(aborted));
}

#[tokio::test]
async fn w7_a_commit_in_a_frozen_generation_that_the_catalogue_lacks_is_void() {
    let world = World::new();
    let (late, known) = (open(&world).await, open(&world).await);
    let done = GcDone {
        frozen: Generation(0),
        catalogue: vec![(Generation(0), known.sid())],
        relocations: Vec::new(),
        ..GcDone::default()
    };
    put(&world, gc_record(&world.objects, 1, "open", &GcOpen::default().encode()));
    put(&world, gc_record(&world.objects, 1, "done", &done.encode()));
    assert!(matches!(late.commit(manifest("vol", 2)).await.unwrap(), Commit::Fenced(_)));
    assert_eq!(known.commit(manifest("vol", 1)).await.unwrap(), Commit::Committed);
    let newer = open(&world).await;
    let parent = newer.find_parent("vol", None).await.unwrap().unwrap();
    assert_eq!(parent.0, known.sid(), "a void commit is no snapshot");
}

#[tokio::test]
async fn w7_an_unreachable_store_leaves_it_open() {
    let world = World::new();
    let session = open(&world).await;
    world.store.on(|_, _, _| Fault::Fails(StoreErrorKind::Transient));
    let e = session.commit(manifest("vol", 1)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Store);
    assert!(e.chain().contains("unknown"), "{}", e.chain());
}

#[tokio::test]
async fn readers_register_close_and_do_without() {
    let world = World::new();
    let snapshot = Sid([9; 16]);
    let reader = Session::open_reader(world.objects.clone(), "node", Some(snapshot)).await.unwrap().unwrap();
    let key = world.objects.layout.registration(Generation(0), reader.sid());
    let plain = world.objects.find(ObjectKind::Registration, &key).await.unwrap().unwrap();
    assert_eq!(Registration::decode(&plain).unwrap().snapshot, Some(snapshot));
    reader.close().await.unwrap();
    assert!(matches!(
        outcome(&world.objects, Generation(0), reader.sid()).await,
        Some(Outcome::Aborted { .. })
    ));
    world.store.on(|op, _, _| if op == Op::Put { Fault::Fails(StoreErrorKind::Denied) } else { Fault::None });
    assert!(Session::open_reader(world.objects.clone(), "node", None).await.unwrap().is_none());
}

/// Servers spawn all of this.
#[tokio::test]
async fn futures_may_move_between_threads() {
    fn check<T: Send>(value: T) -> T {
        value
    }
    let world = World::new();
    let session = check(Session::open(world.objects.clone(), &Who::reader("node", None))).await.unwrap();
    check(session.find_parent("vol", None)).await.unwrap();
    check(session.note_all_packs()).await.unwrap();
    check(session.may_use(place(1, 0))).await.unwrap();
    check(session.close()).await.unwrap();
    let keys = world.objects.keys.clone();
    let pool = crate::cpu::Pool::new(1).unwrap();
    let layout = world.objects.layout.clone();
    let reader = crate::pack::BlobReader::new(world.store.clone(), layout, keys, pool);
    let m = manifest("vol", 1);
    assert_eq!(check(crate::manifest::summary::load(&m.summary, &reader)).await.unwrap().len(), 1);
}
