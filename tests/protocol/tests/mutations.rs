//! Each rule is needed: with any single one changed, something is lost, and the search finds it.

use protocol::Feature::{
    Compaction, Damage, ForgetAll, FullPacks, Lift, Lock, LostReplies, Parent, Parts, Patient, Rebase, Seen,
    Tidy,
};
use protocol::Mutation::{self, *};
use protocol::Role::{Backup, Undo};
use protocol::{Config, Outcome, follow, search};

const X: protocol::Role = Backup(0);
const Y: protocol::Role = Backup(1);

/// The changed protocol fails.
fn fails(mutation: Mutation, config: &Config) {
    let found = search(&config.clone().mutated(mutation), 60_000_000);
    assert!(matches!(found, Outcome::Fails(_)), "{mutation:?} loses nothing: {found:?}");
}

#[test]
fn of_sessions() {
    let one = Config::new(&[X], 1, 1);
    for mutation in [NoConfirm, IgnoreCondemned, NoConditionalPut, GracePeriod, NoRemark] {
        fails(mutation, &one);
    }
    fails(NoExistence, &Config::new(&[X], 1, 2));
    fails(BlindRetry, &one.clone().with(&[LostReplies]));
    fails(QuarantineIgnored, &one.clone().with(&[Damage]));
    fails(LiftUnread, &one.clone().with(&[Damage, Lift]));
    fails(LiftUnlisted, &one.with(&[Damage, Lift]));
}

#[test]
fn of_parents() {
    fails(QueuedParent, &Config::new(&[X], 1, 2).with(&[Parent]));
    fails(VoidParent, &Config::new(&[X], 1, 2).with(&[Parent, Tidy]));
    fails(UndoUnchecked, &Config::new(&[Undo], 1, 1));
    fails(UndoKeepsPlaces, &Config::new(&[Undo], 1, 2).with(&[Compaction]));
}

#[test]
fn of_rebase() {
    fails(RebaseUnchecked, &Config::new(&[X], 1, 1).with(&[Rebase]));
    fails(RebaseNewestOnly, &Config::new(&[X], 1, 2).with(&[Rebase]));
    fails(RebaseForgets, &Config::new(&[X], 1, 2).with(&[Rebase, Seen]).attempts(3));
    fails(CarriedIgnored, &Config::new(&[X], 1, 2).with(&[Rebase, Patient]).attempts(3));
}

#[test]
fn of_compaction() {
    fails(Uncovered, &Config::new(&[Y], 1, 1).with(&[Compaction]));
    fails(LooseRelocation, &Config::new(&[], 2, 1).with(&[Compaction]));
    fails(EagerRelocation, &Config::new(&[Y, X], 1, 2).with(&[Compaction]).attempts(1));
    fails(NoCompose, &Config::new(&[], 1, 2).with(&[Compaction]));
    fails(RepairIntoCondemned, &Config::new(&[X], 1, 1).with(&[Damage, Compaction, ForgetAll]));
}

#[test]
fn of_readers() {
    let reader = Config::new(&[], 1, 2).with_reader();
    fails(ReadersIgnored, &reader);
    fails(ReaderLate, &reader);
    fails(ReadersBeforeMarkers, &reader);
    fails(CatalogueWithoutHeld, &reader.clone().with(&[Tidy]));
    fails(TidyOpenReaders, &reader.with(&[Tidy]));
}

#[test]
fn of_parts() {
    fails(PartsTidiedEarly, &Config::new(&[], 1, 1).with(&[Parts]));
    fails(LastPartsTidied, &Config::new(&[], 1, 2).with(&[Parts]));
}

#[test]
fn of_catalogues() {
    fails(NoVoidCheck, &Config::new(&[X], 1, 1).with(&[Tidy]));
    fails(CatalogueFromOutcomes, &Config::new(&[], 1, 2).with(&[Tidy]));
}

/// A slow collector with a list of its own deletes what a later session uses.
#[test]
fn of_sweeps() {
    let config = Config::new(&[X, X], 2, 2).with(&[ForgetAll]).attempts(1);
    let own_list = "G5 adopt sweep 2 [1]";
    let script = [
        "W1 read generation 0 [0]",
        "W2 register in 0 [0]",
        "W3 confirm 0 [0]",
        "W4 load [0]",
        "W6 put pack 1 [0]",
        "G1 list packs for 1 [0]",
        "G1 mark for 1 [0]",
        "W7 COMMIT with pack 1 [0]",
        "G1 plan to condemn 2 [0]",
        "G2 OPEN 1 [0]",
        "G3 all closed below 1 [0]",
        "G4 mark for 1 [0]",
        "G5 SWEEP 0 [0]",
        "G7 all deleted 1 [0]",
        "G8 catalogue for 1 [0]",
        "G0 resume 1 [1]",
        "G8 done 1 [0]",
        "G1 list packs for 2 [0]",
        "G1 mark for 2 [0]",
        "G1 plan to condemn 0 [0]",
        "G2 OPEN 2 [0]",
        "W1 read generation 2 [1]",
        "W2 register in 2 [1]",
        "W3 confirm 2 [1]",
        "W4 load [1]",
        "W5 reference pack 1 [1]",
        "W7 COMMIT with pack 1 [1]",
        "G3 all closed below 1 [1]",
        "forget snapshot 1 [255]",
        "G4 mark for 1 [1]",
        own_list,
        "G7 delete pack 1 [1]",
    ];
    only_when(SweepOwnList, &config, &script, own_list);
}

/// A collector that is slow to delete a locked pack hits whoever took it for a living one.
#[test]
fn of_leftovers() {
    let features = [Lock, Compaction, Rebase, FullPacks];
    let config = Config::new(&[X, X, Y], 2, 2).with(&features).attempts(3);
    let condemned_again = "G1 plan to condemn 0 [0]";
    let script = [
        "W1 read generation 0 [0]",
        "W2 register in 0 [0]",
        "W3 confirm 0 [0]",
        "W4 load [0]",
        "W6 put pack 1 [0]",
        "W1 read generation 0 [1]",
        "W2 register in 0 [1]",
        "W3 confirm 0 [1]",
        "W4 load [1]",
        "W5 reference pack 1 [1]",
        "W7 COMMIT with pack 1 [1]",
        "G1 list packs for 1 [0]",
        "G1 mark for 1 [0]",
        "G1 compact pack 1 [0]",
        "G2 OPEN 1 [0]",
        "WR rebase to 1 [0]",
        "W2 register in 1 [0]",
        "W3 confirm 1 [0]",
        "WR reference is condemned: 1 [0]",
        "WR close the old sid [0]",
        "G3 all closed below 1 [0]",
        "G0 resume 1 [1]",
        "G3 all closed below 1 [1]",
        "G4 mark for 1 [0]",
        "G5 SWEEP 2 [0]",
        "G4 mark for 1 [1]",
        "G5 adopt sweep 2 [1]",
        "G7 pack is locked: 1 [0]",
        "G7 all deleted 1 [0]",
        "G8 catalogue for 1 [0]",
        "G8 done 1 [0]",
        "G1 list packs for 2 [0]",
        "G1 mark for 2 [0]",
        condemned_again,
        "G2 OPEN 2 [0]",
        "W1 read generation 2 [2]",
        "W2 register in 2 [2]",
        "W3 confirm 2 [2]",
        "W4 load [2]",
        "W5 reference pack 1 [2]",
        "W7 COMMIT with pack 1 [2]",
        "G7 delete pack 1 [1]",
    ];
    only_when(LeftoversForgotten, &config, &script, condemned_again);
}

/// The script loses data with the rule changed; with the rule it gets no further than `stop`.
fn only_when(mutation: Mutation, config: &Config, script: &[&str], stop: &str) {
    assert_eq!(follow(config, script), Err(stop.to_owned()));
    let fault = follow(&config.clone().mutated(mutation), script);
    assert!(
        fault.clone().is_ok_and(|f| f.is_some_and(|f| f.ends_with("is gone"))),
        "{mutation:?}: {fault:?}"
    );
}
