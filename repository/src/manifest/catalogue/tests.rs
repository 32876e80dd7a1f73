//! A catalogue says of every snapshot what its summary said, whatever was added, forgotten and stored in between.

use super::*;
use crate::ids::PackRef;
use proptest::prelude::*;

fn pack(n: u8) -> PackId {
    PackId { sid: Sid([n % 3; 16]), rnd: [n; 8] }
}

type Needs = BTreeMap<PackId, BTreeSet<u32>>;

fn uses(needs: &Needs) -> Vec<PackUse> {
    let one = |(&id, set): (&PackId, &BTreeSet<u32>)| PackUse {
        pack: PackRef { id, bytes: 1 },
        ordinals: set.iter().copied().collect(),
    };
    needs.iter().filter(|(_, set)| !set.is_empty()).map(one).collect()
}

fn stored(catalogue: &Catalogue) -> Catalogue {
    let mut read = Catalogue::default();
    let parts = [catalogue.encode(), catalogue.encode_facts()].concat();
    parts.iter().for_each(|part| read.decode_part(part).unwrap());
    read
}

/// All that the snapshots need that count.
fn needed(catalogue: &Catalogue, counts: impl Fn(Name) -> bool) -> Needs {
    let mut out = Needs::new();
    catalogue.needs(counts, |number, set| {
        out.entry(catalogue.packs()[number as usize].0).or_default().extend(set.iter());
    });
    out
}

fn check(catalogue: &Catalogue, model: &BTreeMap<Name, Needs>) {
    assert_eq!(catalogue.len(), model.len());
    let mut all = Needs::new();
    for (name, needs) in model {
        assert_eq!(&needed(catalogue, |n| n == *name), needs);
        needs.iter().for_each(|(p, set)| all.entry(*p).or_default().extend(set));
    }
    assert_eq!(needed(catalogue, |_| true), all);
    for owners in [1, 2, 1 << 16] {
        check_owners(catalogue, model, |name| u32::from(name.1.0[0]) % owners);
    }
}

/// Who needs each blob: one owner, or several.
fn check_owners(catalogue: &Catalogue, model: &BTreeMap<Name, Needs>, owner_of: impl Fn(Name) -> u32) {
    let join = |all: &mut BTreeMap<(PackId, u32), Option<u32>>, at, owner| {
        let one = all.entry(at).or_insert(Some(owner));
        *one = one.filter(|before| *before == owner);
    };
    // Some don't count.
    let counts = |name: Name| (name.1.0[0] % 5 != 4).then(|| owner_of(name));
    let (mut expected, mut is) = (BTreeMap::new(), BTreeMap::new());
    for (name, needs) in model {
        let Some(owner) = counts(*name) else { continue };
        for (pack, set) in needs {
            set.iter().for_each(|o| join(&mut expected, (*pack, *o), owner));
        }
    }
    let add = |owner, pack, set: &OrdinalSet| set.iter().for_each(|o| join(&mut is, (pack, o), owner));
    catalogue.needs_of_each(|_, name| counts(name), add);
    assert_eq!(is, expected);
}

/// Volume, start, and blobs by pack.
type Backup = (u8, u8, Vec<(u8, Vec<u32>)>);

#[derive(Clone, Debug)]
enum Act {
    Add(Vec<Backup>),
    Forget(u16),
    Store,
    ForgetPacks,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let needs = proptest::collection::vec((0u8..12, proptest::collection::vec(0u32..40, 1..6)), 0..6);
    let snapshot = (0u8..3, any::<u8>(), needs);
    let act = prop_oneof![
        3 => proptest::collection::vec(snapshot, 1..5).prop_map(Act::Add),
        2 => any::<u16>().prop_map(Act::Forget),
        1 => Just(Act::Store),
        1 => Just(Act::ForgetPacks),
    ];
    proptest::collection::vec(act, 1..12)
}

proptest! {
    #[test]
    fn it_says_what_the_summaries_said(acts in acts()) {
        let (mut catalogue, mut model, mut next) = (Catalogue::default(), BTreeMap::new(), 0u8);
        for act in acts {
            match act {
                Act::Add(snapshots) => {
                    let mut new = Vec::new();
                    for (volume, started, needs) in snapshots {
                        next += 1;
                        let name = (Generation(u64::from(next % 3)), Sid([next; 16]));
                        let mut wanted = Needs::new();
                        needs.into_iter().for_each(|(p, o)| wanted.entry(pack(p)).or_default().extend(o));
                        let uses = catalogue.encode_uses(&uses(&wanted), &[Place { pack: pack(11), ordinal: 99 }]);
                        wanted.entry(pack(11)).or_default().insert(99);
                        let (volume, started) = (volume.to_string(), Timestamp(i64::from(started)));
                        let facts = SnapshotFacts { started, bytes: u64::from(next), ..Default::default() };
                        new.push(New { volume, facts, name, uses });
                        model.insert(name, wanted);
                    }
                    catalogue.add(new);
                }
                Act::Forget(bits) => {
                    let keep = |n: &Name| bits >> (n.1.0[0] % 16) & 1 == 0;
                    catalogue.retain(keep);
                    model.retain(|n, _| keep(n));
                }
                Act::Store => catalogue = stored(&catalogue),
                Act::ForgetPacks => catalogue.forget_packs(|_| false),
            }
            check(&catalogue, &model);
            for name in model.keys() {
                assert_eq!(catalogue.snapshot_facts(name).unwrap().bytes, u64::from(name.1.0[0]));
            }
        }
        check(&stored(&catalogue), &model);
    }

    #[test]
    fn hostile_bytes_never_panic(kind in 0u8..5, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut catalogue = Catalogue::default();
        catalogue.number(pack(1));
        let part: Vec<u8> = std::iter::once(kind).chain(bytes).collect();
        if catalogue.decode_part(&part).is_ok() {
            catalogue.needs(|_| true, |_, _| ());
            catalogue.needs_of_each(|_, _| Some(1), |_, _, _| ());
            catalogue.retain(|_| false);
        }
    }
}

#[test]
fn snapshots_that_hardly_differ_cost_little() {
    let mut catalogue = Catalogue::default();
    let mut model = BTreeMap::new();
    let mut needs: Needs = (0..100).map(|n| (pack(n), (0..333).collect())).collect();
    let mut new = Vec::new();
    for n in 0..200u8 {
        needs.get_mut(&pack(n % 100)).unwrap().remove(&u32::from(n));
        let name = (Generation(0), Sid([n; 16]));
        let uses = catalogue.encode_uses(&uses(&needs), &[]);
        let facts = SnapshotFacts { started: Timestamp(i64::from(n)), ..Default::default() };
        new.push(New { volume: "v".to_owned(), facts, name, uses });
        model.insert(name, needs.clone());
    }
    catalogue.add(new);
    let bytes: usize = catalogue.encode().iter().map(Vec::len).sum();
    assert!(bytes < 200 * 40 + 100 * 40, "{bytes}");
    check(&stored(&catalogue), &model);
}

#[test]
fn figures_of_no_snapshot_are_refused_and_none_is_missed() {
    let mut catalogue = Catalogue::default();
    let uses = catalogue.encode_uses(&[], &[]);
    let name = (Generation(1), Sid([3; 16]));
    let facts = SnapshotFacts { started: Timestamp(-5), bytes: 1, bytes_new: 2, bytes_stored: u64::MAX };
    catalogue.add(vec![New { volume: "v".to_owned(), facts, name, uses }]);
    let mut without = Catalogue::default();
    catalogue.encode().iter().for_each(|part| without.decode_part(part).unwrap());
    assert_eq!((without.len(), without.snapshot_facts(&name)), (1, None));
    assert_eq!(stored(&catalogue).snapshot_facts(&name), Some(facts));
    let mut alone = Catalogue::default();
    let parts = catalogue.encode_facts();
    assert!(alone.decode_part(parts.last().unwrap()).is_err(), "of a snapshot that is not there");
}

#[test]
fn what_is_known_of_packs_stays() {
    let facts = PackFacts {
        kind: PackKind::Meta,
        epoch: 3,
        body_bytes: 1 << 20,
        live_blobs: 300,
        live_bytes: 70_000,
        live_plain: 1 << 30,
    };
    let mut catalogue = Catalogue::default();
    for n in 0..9 {
        catalogue.number(pack(n));
    }
    catalogue.set_facts(pack(7), facts);
    let mut read = stored(&catalogue);
    assert_eq!((read.facts(pack(7)), read.facts(pack(1)), read.facts(pack(100))), (Some(facts), None, None));
    read.forget_packs(|p| p == pack(7));
    assert_eq!(read.packs(), [(pack(7), Some(facts))]);
    read.forget_packs(|_| false);
    assert_eq!(read.packs(), []);
    let part = catalogue.encode().remove(0);
    assert!(Catalogue::default().decode_part(&part[..part.len() - 1]).is_err());
    assert!(stored(&catalogue).decode_part(&part).is_err(), "the same packs twice");
}
