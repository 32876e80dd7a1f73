//! WR: a session goes on in a later generation.

use super::{gc_record, open, outcome, place, put, put_pack};
use crate::ids::{Generation, Sid};
use crate::index::testing::{Fault, World};
use crate::layout::ObjectKind;
use crate::manifest::gc::GcOpen;
use crate::manifest::record::{Outcome, Registration};
use crate::manifest::tests::manifest;
use crate::session::{Commit, Session};
use crate::store::{Op, StoreErrorKind};

fn open_generation(world: &World, generation: u64, condemned: &[u8]) {
    let condemned = condemned.iter().map(|&n| place(n, 0).pack).collect();
    let record = GcOpen { condemned, ..GcOpen::default() };
    put(world, gc_record(&world.objects, generation, "open", &record.encode()));
}

async fn is_aborted(world: &World, generation: u64, sid: Sid) -> bool {
    let found = outcome(&world.objects, Generation(generation), sid).await;
    matches!(found, Some(Outcome::Aborted { .. }))
}

async fn registration(world: &World, session: &Session) -> Registration {
    let key = world.objects.layout.registration(session.generation(), session.sid());
    let plain = world.objects.find(ObjectKind::Registration, &key).await.unwrap().unwrap();
    Registration::decode(&plain).unwrap()
}

#[tokio::test]
async fn a_session_follows_and_carries_its_sids_on() {
    let world = World::new();
    let session = open(&world).await;
    let first = session.sid();
    let before = world.store.count(Op::List);
    assert!(!session.follow().await.unwrap());
    assert_eq!(
        (world.store.count(Op::List) - before, world.store.count(Op::Put)),
        (1, 1),
        "a look is one request"
    );
    open_generation(&world, 1, &[]);
    assert!(session.follow().await.unwrap());
    let second = session.sid();
    assert_ne!(first, second);
    assert_eq!((session.generation(), session.carries()), (Generation(1), vec![first]));
    assert!(is_aborted(&world, 0, first).await);
    open_generation(&world, 2, &[]);
    assert!(session.follow().await.unwrap());
    assert_eq!(session.carries(), [first, second]);
    assert_eq!(registration(&world, &session).await.carries, [first, second]);
    assert!(is_aborted(&world, 1, second).await);
    assert!(!session.follow().await.unwrap());
    for sid in [first, second, session.sid()] {
        let id = crate::ids::PackId { sid, rnd: [1; 8] };
        session.put_pack(id, bytes::Bytes::from_static(b"begun earlier")).await.unwrap();
    }
    assert_eq!(session.commit(manifest("vol", 1)).await.unwrap(), Commit::Committed);
}

#[tokio::test]
async fn every_generation_since_the_beginning_condemns() {
    let world = World::new();
    for n in 1..=5 {
        put_pack(&world, place(n, 0).pack, 9);
    }
    open_generation(&world, 1, &[1]);
    let session = open(&world).await;
    // What is seen now is taken for there later.
    session.note_all_packs().await.unwrap();
    let usable = async || {
        let mut out = Vec::new();
        for n in 1..=5u8 {
            if session.may_use(place(n, 0)).await.unwrap() {
                out.push(n);
            }
        }
        out
    };
    assert_eq!(usable().await, [2, 3, 4, 5]);
    open_generation(&world, 2, &[2]);
    open_generation(&world, 3, &[3]);
    open_generation(&world, 4, &[]);
    assert!(session.follow().await.unwrap());
    assert_eq!(session.generation(), Generation(4));
    assert_eq!(usable().await, [4, 5]);
    open_generation(&world, 5, &[4]);
    session.renew().await.unwrap();
    assert_eq!(usable().await, [5]);
}

#[tokio::test]
async fn a_fenced_session_goes_on_under_another_sid() {
    let world = World::new();
    let session = open(&world).await;
    let first = session.sid();
    crate::session::register::abort(&world.objects, Generation(0), first, "fenced").await.unwrap();
    assert!(matches!(session.commit(manifest("vol", 1)).await.unwrap(), Commit::Fenced(_)));
    session.renew().await.unwrap();
    assert_eq!(registration(&world, &session).await.carries, [first]);
    assert_eq!(session.commit(manifest("vol", 1)).await.unwrap(), Commit::Committed);
    assert!(session.commit(manifest("vol", 1)).await.is_err(), "a session ends once");
}

/// The old sid is closed last, the new one is never left open by a failure that can be told.
#[tokio::test]
async fn a_failure_in_the_middle_leaves_one_open_sid() {
    for n in 0.. {
        let world = World::new();
        let session = open(&world).await;
        open_generation(&world, 1, &[]);
        let mut left = n;
        world.store.on(move |op, key, _| {
            let closes = op == Op::Put && key.contains("/m/");
            if op == Op::Delete || closes {
                return Fault::None;
            }
            left -= 1;
            if left == -1 { Fault::Fails(StoreErrorKind::Fatal) } else { Fault::None }
        });
        let followed = session.follow().await;
        world.store.on(|_, _, _| Fault::None);
        let names = |letter: &str| {
            let of = |k: &&String| k.contains(letter);
            let name = |k: &String| k.rsplit('/').next().unwrap().to_owned();
            world.store.contents(|c| c.keys().filter(of).map(name).collect::<Vec<_>>())
        };
        let (registered, closed) = (names("/s/"), names("/m/"));
        let open: Vec<_> = registered.into_iter().filter(|s| !closed.contains(s)).collect();
        assert_eq!(open, [session.sid().to_string()], "request {n}: {followed:?}");
        if followed.is_ok() {
            assert!(n > 4, "a rebase takes some requests");
            return;
        }
        assert!(session.follow().await.unwrap(), "request {n}: it is tried again");
        assert_eq!(session.commit(manifest("vol", 1)).await.unwrap(), Commit::Committed);
    }
}
