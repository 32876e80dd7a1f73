//! Several who change keys at once, and deaths between any two requests: no epoch and no credential is lost, and at
//! every moment every credential opens what was sealed under the newest epoch that anybody uses.

use super::*;
use crate::store::{Crash, FaultPlan, FaultStore};

#[tokio::test]
async fn changes_at_once_all_count() {
    let place = Place::new(&[(&key_file(1), Role::Full), (&key_file(2), Role::Full)]).await;
    let admins = [place.open(key_file(1)).await.unwrap(), place.open(key_file(2)).await.unwrap()];
    let added = access(&key_file(3), Role::Full, "third");
    let (a, b, c, d) = tokio::join!(
        place.change(&admins[0], Change::Rotate),
        place.change(&admins[1], Change::Rotate),
        place.change(&admins[0], Change::Add(added)),
        place.change(&admins[1], Change::Rotate),
    );
    let mut versions = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()].map(|c| c.version);
    versions.sort_unstable();
    assert_eq!(versions, [2, 3, 4, 5]);
    let last = place.open(key_file(3)).await.unwrap();
    assert_eq!((last.version(), last.newest_epoch()), (5, 4));
    for admin in &admins {
        // What it sealed under the newest epoch that it knows opens for the others.
        assert_eq!(last.epoch(admin.newest_epoch()).unwrap().key, admin.newest().1.key);
    }
}

#[tokio::test]
async fn a_change_that_others_have_passed_by_is_made_again() {
    let place = Place::new(&[(&key_file(1), Role::Full)]).await;
    let slow = place.open(key_file(1)).await.unwrap();
    // What a stalled one would still put: version 2, made from version 1.
    let stale = slow.ring().after(&Change::Rotate, &place.env).unwrap();
    let bytes = ring::seal(&slow.identity, &stale, &stale.credentials, &place.env).unwrap();
    let quick = place.open(key_file(1)).await.unwrap();
    place.change(&quick, Change::Rotate).await.unwrap();
    place.change(&quick, Change::Rotate).await.unwrap();
    assert!(!stored::put(&*place.store, &place.layout, 2, &bytes).await.unwrap(), "it is created, and void");
    let done = place.change(&slow, Change::Rotate).await.unwrap();
    assert_eq!((done.version, done.epoch, done.leftovers), (4, 4, 0));
    assert_eq!(slow.epoch(2).unwrap().key, quick.epoch(2).unwrap().key);
    assert_eq!(slow.epoch(3).unwrap().key, quick.epoch(3).unwrap().key);
}

#[tokio::test]
async fn a_death_at_any_request_of_a_rotation_leaves_keys_that_open() {
    for crash in [Crash::Before, Crash::After] {
        for at in 0.. {
            let place = Place::new(&[(&key_file(1), Role::Full), (&key_file(2), Role::Full)]).await;
            let admin = place.open(key_file(1)).await.unwrap();
            let plan = FaultPlan { crash: Some(crash(at)), ..FaultPlan::default() };
            let dying = FaultStore::new(Arc::clone(&place.store), plan);
            let done = change((&dying, &place.layout), &admin, &Change::Rotate, &place.env).await;
            // Whoever died may have used the epoch already if it knows it.
            let used = admin.newest_epoch();
            for n in [1, 2] {
                let opened = place.open(key_file(n)).await.unwrap();
                assert!(opened.newest_epoch() >= used, "request {at}");
                assert_eq!(opened.epoch(used).unwrap().key, admin.epoch(used).unwrap().key);
            }
            let next = place.open(key_file(2)).await.unwrap();
            let changed = place.change(&next, Change::Rotate).await.unwrap();
            assert_eq!(changed.leftovers, 0, "request {at}");
            if done.is_ok_and(|d| d.leftovers == 0) {
                assert!(at > 8, "the crash was never reached after {at} requests");
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_epoch_is_read_from_the_store_before_it_is_damage() {
    let place = Place::new(&[(&key_file(1), Role::Full), (&key_file(2), Role::Full)]).await;
    let (old, admin) = (place.open(key_file(1)).await.unwrap(), place.open(key_file(2)).await.unwrap());
    place.change(&admin, Change::Rotate).await.unwrap();
    let objects = |keys: DomainKeys| crate::index::objects::Objects {
        store: Arc::clone(&place.store),
        layout: place.layout.clone(),
        keys: Arc::new(keys),
        env: place.env.clone(),
    };
    let (old, admin) = (objects(old), objects(admin));
    let key = place.layout.gc(crate::ids::Generation(1), "open");
    let sealed = admin.seal(crate::layout::ObjectKind::Gc, &key, b"new");
    admin.put_own(&key, &sealed).await.unwrap();
    assert!(old.unseal(crate::layout::ObjectKind::Gc, &key, &sealed).is_err());
    assert_eq!(old.find(crate::layout::ObjectKind::Gc, &key).await.unwrap().unwrap(), b"new");
    assert_eq!(old.keys.newest_epoch(), 2);
}
