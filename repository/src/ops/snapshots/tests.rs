//! Snapshots are found by what people type, and refusals say what to type instead.

use super::{get_by_prefix, get_latest, list_in, stats_in};
use crate::ids::Sid;
use crate::index::testing::World;
use crate::manifest::tests::manifest;
use crate::session::{Session, Who};
use crate::{ErrorKind, Result};

async fn commit(world: &World, volume: &str, started: i64) -> Sid {
    let session = Session::open(world.objects.clone(), &Who::writer("node", volume)).await.unwrap();
    session.commit(manifest(volume, started)).await.unwrap().or_error().unwrap();
    session.sid()
}

fn refusal<T: std::fmt::Debug>(result: Result<T>) -> (ErrorKind, String) {
    let e = result.unwrap_err();
    (e.kind(), e.chain())
}

#[tokio::test]
async fn latest_is_the_newest_and_refused_among_several_volumes() {
    let world = World::new();
    let latest = async |volume| get_latest(&world.objects, None, volume).await.map(|s| s.id);
    assert_eq!(refusal(latest(None).await).0, ErrorKind::NotFound);
    let newer = commit(&world, "b:/x", 20).await;
    commit(&world, "b:/x", 10).await;
    assert_eq!(latest(None).await.unwrap(), newer);
    let other = commit(&world, "a:/y", 5).await;
    let (kind, text) = refusal(latest(None).await);
    assert!(kind == ErrorKind::Input && text.contains("a:/y, b:/x"), "{text}");
    assert_eq!(latest(Some("a:/y")).await.unwrap(), other);
    let (kind, text) = refusal(latest(Some("c")).await);
    assert!(kind == ErrorKind::NotFound && text.contains("volume c"), "{text}");
}

#[tokio::test]
async fn ids_and_prefixes() {
    let world = World::new();
    let (a, b) = (commit(&world, "va", 1).await, commit(&world, "vb", 2).await);
    let get = async |spec: &str, volume| get_by_prefix(&world.objects, spec, volume).await.map(|s| s.id);
    let text = a.to_string();
    for spec in [&text[..], &text[..8], &text[..4]] {
        assert_eq!(get(spec, None).await.unwrap(), a);
    }
    assert_eq!(get(&b.to_string(), Some("vb")).await.unwrap(), b);
    let (kind, message) = refusal(get(&text, Some("vb")).await);
    assert!(kind == ErrorKind::NotFound && message.contains("of volume va"), "{message}");
    for bad in ["", "abc", "latestt", "../..", "ABCDEF", &format!("{text}0")] {
        assert_eq!(refusal(get(bad, None).await).0, ErrorKind::Input, "{bad}");
    }
    assert_eq!(refusal(get("00000000000000000000000000000000", None).await).0, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_list_is_oldest_first_and_names_the_damaged() {
    let world = World::new();
    let (b, a) = (commit(&world, "v", 20).await, commit(&world, "v", 10).await);
    let c = commit(&world, "v", 30).await;
    world.store.contents(|contents| {
        let key = contents.keys().find(|k| k.contains("/m/") && k.ends_with(&c.to_string())).unwrap().clone();
        contents.insert(key, vec![0; 99].into());
    });
    let (snapshots, damaged) = list_in(&world.objects).await.unwrap();
    assert_eq!(snapshots.iter().map(|s| s.id).collect::<Vec<_>>(), [a, b]);
    assert!(damaged.len() == 1 && damaged[0].chain().contains(&c.to_string()));
    let (kind, text) = refusal(get_latest(&world.objects, None, None).await);
    assert!(kind == ErrorKind::Damaged && text.contains(&c.to_string()), "{text}");
}

#[tokio::test]
async fn stats_count_by_kind() {
    let world = World::new();
    commit(&world, "va", 1).await;
    commit(&world, "va", 9).await;
    commit(&world, "vb", 2).await;
    let stats = stats_in(&world.objects).await.unwrap();
    assert_eq!((stats.snapshots, stats.bytes_plain), (3, 9));
    assert_eq!((stats.stored["outcomes"].0, stats.stored["registrations"].0), (3, 3));
    assert_eq!(
        stats.stored["outcomes"].1,
        world.store.contents(|c| {
            c.iter().filter(|(k, _)| k.contains("/m/")).map(|(_, b)| b.len() as u64).sum::<u64>()
        })
    );
    assert_eq!(stats.volumes["va"], manifest("va", 9).started);
}
