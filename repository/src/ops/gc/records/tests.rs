//! Large records lie in parts, and are read as one.

use super::*;
use crate::ErrorKind;
use crate::ids::Sid;
use crate::index::testing::World;

fn large() -> GcOpen {
    let pack = |n: u64| PackId { sid: Sid([3; 16]), rnd: n.to_be_bytes() };
    GcOpen { condemned: (0..200_000).map(pack).collect(), relocations: Vec::new() }
}

#[tokio::test]
async fn a_large_record_lies_in_parts() {
    let World { objects, .. } = &World::new();
    let generation = Generation(1);
    let (stored, ours) = create_open(objects, generation, &large()).await.unwrap();
    assert!(ours && stored == large());
    assert_eq!(find_open(objects, generation).await.unwrap(), Some(large()));
    let (theirs, ours) = create_open(objects, generation, &GcOpen::default()).await.unwrap();
    assert!(!ours && theirs == large(), "the first one counts");
    let keys = objects.list(&objects.layout.folder(ObjectKind::Gc), None).await.unwrap();
    let parts: Vec<_> = keys.iter().filter(|k| objects.layout.parse_gc_part(k).is_some()).collect();
    assert_eq!((keys.len(), parts.len()), (3, 2));
    objects.store.delete(parts[1]).await.unwrap();
    let gone = find_open(objects, generation).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{}", gone.chain());
    let other = objects.seal(ObjectKind::Gc, parts[1], b"no part");
    objects.store.put_new(parts[1], other).await.unwrap();
    let damaged = find_open(objects, generation).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Damaged, "{}", damaged.chain());
}
