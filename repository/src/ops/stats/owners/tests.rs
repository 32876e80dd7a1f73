//! Stretches are laid over each other as if each blob had its owner noted apart.

use super::*;
use crate::ids::Sid;
use proptest::prelude::*;

fn pack(n: u8) -> PackId {
    PackId { sid: Sid([n; 16]), rnd: [n; 8] }
}

fn owner(n: u32) -> Owner {
    Owner { snapshot: n, volume: n / 2 }
}

fn told(owners: &Owners) -> String {
    let one = |n: u32| if n == SHARED { "*".to_owned() } else { n.to_string() };
    let mut out = Vec::new();
    for (_, list) in owners.packs() {
        for s in list {
            out.push(format!("{}-{} {}/{}", s.start, s.end, one(s.owner.snapshot), one(s.owner.volume)));
        }
    }
    out.join(", ")
}

#[test]
fn stretches_are_split_and_joined() {
    let mut owners = Owners::default();
    owners.add_run(pack(1), 10, 10, owner(0));
    owners.add_run(pack(1), 20, 5, owner(0));
    assert_eq!(told(&owners), "10-25 0/0");
    owners.add_run(pack(1), 5, 10, owner(1));
    assert_eq!(told(&owners), "5-10 1/0, 10-15 */0, 15-25 0/0");
    owners.add_run(pack(1), 0, 100, owner(4));
    assert_eq!(told(&owners), "0-5 4/2, 5-25 */*, 25-100 4/2");
}

#[test]
fn a_shared_piece_is_looked_at_twice() {
    let mut owners = Owners::default();
    let piece = BlobId([1; 32]);
    let looked = [0, 1, 0, 1, 2, 3].map(|n| owners.needs_piece(piece, owner(n)));
    // The first owner; the second snapshot of the same volume; the first of another volume; then never again.
    assert_eq!(looked, [true, true, false, false, true, false]);
}

proptest! {
    #[test]
    fn like_one_owner_a_blob(adds in proptest::collection::vec((0u32..60, 1u32..20, 0u32..4), 1..30)) {
        let (mut owners, mut plain) = (Owners::default(), BTreeMap::new());
        for (start, n, o) in adds {
            owners.add_run(pack(1), start, n, owner(o));
            for ordinal in start..start + n {
                plain.entry(ordinal).and_modify(|b: &mut Owner| *b = b.join(owner(o))).or_insert(owner(o));
            }
        }
        let mut flat = BTreeMap::new();
        for (_, list) in owners.packs() {
            prop_assert!(list.windows(2).all(|w| w[0].end <= w[1].start && (w[0].end < w[1].start || w[0].owner != w[1].owner)));
            for s in list {
                flat.extend((s.start..s.end).map(|o| (o, s.owner)));
            }
        }
        for ordinal in 0..100 {
            prop_assert_eq!(owners.has(Place { pack: pack(1), ordinal }), plain.contains_key(&ordinal));
        }
        prop_assert_eq!(flat, plain);
    }
}
