//! The protocol loses nothing, whatever happens in whichever order, within these bounds.
//!
//! With `HOLDFAST_SOAK=1` the wider searches run too: minutes, and some gigabytes of memory.

use protocol::Feature::{
    Compaction, Crash, Damage, ForgetAll, Lift, Lock, LostReplies, Parent, Parts, Patient, Rebase, Retry,
    Seen, Tidy,
};
use protocol::Role::{Backup, Undo};
use protocol::{Config, Goal, Outcome, reach, search};

const X: protocol::Role = Backup(0);
const Y: protocol::Role = Backup(1);
/// More states than any search below has.
const STATES_MAX: usize = 200_000_000;

#[expect(clippy::print_stdout, reason = "how many states there were is what a search has to tell")]
fn holds(name: &str, config: &Config) {
    let found = search(config, STATES_MAX);
    assert!(matches!(found, Outcome::Holds(_)), "{name}: {found:#?}");
    println!("{name}: {found:?}");
}

fn soaks() -> bool {
    std::env::var("HOLDFAST_SOAK").is_ok_and(|v| v == "1")
}

#[test]
fn sessions_and_collectors() {
    holds("two sessions", &Config::new(&[X, X], 1, 2));
    holds("two collectors", &Config::new(&[X], 2, 2).with(&[ForgetAll]));
    holds("collectors that crash", &Config::new(&[X], 2, 1).with(&[Crash]));
    holds("three generations", &Config::new(&[X], 1, 3).with(&[Crash, ForgetAll, Retry]));
}

#[test]
fn rebase() {
    holds("rebase", &Config::new(&[X], 1, 3).with(&[Rebase, ForgetAll, Retry]).attempts(3));
    holds("no work is lost", &Config::new(&[X], 1, 3).with(&[Rebase, Patient]).attempts(3));
    holds("what was seen once", &Config::new(&[X], 1, 3).with(&[Rebase, ForgetAll, Seen]).attempts(3));
    holds("beside another", &Config::new(&[X, X], 1, 2).with(&[Rebase]).attempts(2));
}

#[test]
fn compaction() {
    holds("compaction", &Config::new(&[Y], 1, 3).with(&[Compaction, ForgetAll]));
    holds("by two collectors", &Config::new(&[X], 2, 1).with(&[Compaction]));
    holds("with a crash", &Config::new(&[X], 1, 2).with(&[Compaction, Crash]));
    holds("with a rebase", &Config::new(&[Y], 1, 3).with(&[Compaction, Rebase]).attempts(3));
    holds("two sessions", &Config::new(&[X, Y], 1, 2).with(&[Compaction]).attempts(1));
    holds("inherited", &Config::new(&[X], 1, 3).with(&[Compaction, Parent, Tidy]));
}

#[test]
fn catalogue_and_void_commits() {
    holds("tidied", &Config::new(&[X], 1, 3).with(&[Tidy, Retry, LostReplies]));
    holds("with a parent", &Config::new(&[X, X], 1, 1).with(&[Tidy, Parent]));
    holds("forgotten", &Config::new(&[X], 1, 3).with(&[Tidy, ForgetAll, Parent]));
    holds("undone", &Config::new(&[Undo], 1, 3).with(&[Tidy, Compaction, Rebase]));
}

#[test]
fn parts_of_records() {
    holds("parts", &Config::new(&[], 2, 3).with(&[Parts]));
    holds("parts of who crashes", &Config::new(&[], 2, 2).with(&[Parts, Crash, Tidy]));
}

#[test]
fn readers() {
    holds("a reader", &Config::new(&[X], 1, 2).with_reader().with(&[ForgetAll]));
    holds("of old snapshots", &Config::new(&[], 1, 3).with_reader().with(&[Tidy, Compaction, Crash]));
    holds("beside two collectors", &Config::new(&[], 2, 2).with_reader().with(&[Tidy]));
    holds("beside an undo", &Config::new(&[Undo], 1, 2).with_reader());
}

#[test]
fn damage_and_locks() {
    holds("damage", &Config::new(&[X], 1, 3).with(&[Damage, Compaction]));
    holds("lifted", &Config::new(&[X], 1, 2).with(&[Damage, Lift, Compaction, Parent]));
    holds("lifted beside an undo", &Config::new(&[Undo], 1, 2).with(&[Damage, Lift, Compaction]));
    holds("locks", &Config::new(&[X], 1, 3).with(&[Lock, ForgetAll]));
    holds("locked copies", &Config::new(&[], 2, 2).with(&[Lock, Compaction]));
}

#[test]
fn wide_searches() {
    if !soaks() {
        println!("left out: set HOLDFAST_SOAK=1");
        return;
    }
    holds("two sessions, three generations", &Config::new(&[X, X], 1, 3));
    holds("two sessions that rebase", &Config::new(&[X, X], 1, 2).with(&[Rebase, ForgetAll]));
    holds("two sessions, two collectors", &Config::new(&[X, X], 2, 1).with(&[ForgetAll]));
    holds("two collectors, three generations", &Config::new(&[X], 2, 3).attempts(1));
    holds("two sessions, tidied", &Config::new(&[X, X], 1, 2).with(&[Tidy, Parent]).attempts(1));
    holds(
        "reader and writer, tidied",
        &Config::new(&[X], 1, 2).with_reader().with(&[Tidy, Compaction, ForgetAll]),
    );
    holds("locks and rebase", &Config::new(&[X, X], 1, 2).with(&[Lock, Rebase]));
}

/// A search that holds because nothing happens in it would prove nothing.
#[test]
fn what_should_happen_can_happen() {
    let cases = [
        (Goal::Rebased, Config::new(&[X], 1, 1).with(&[Rebase])),
        (Goal::Compacted, Config::new(&[], 1, 1).with(&[Compaction])),
        (Goal::Healed, Config::new(&[X], 1, 1).with(&[Damage, Compaction])),
        (Goal::Undone, Config::new(&[Undo], 1, 1)),
        (Goal::UndoneMoved, Config::new(&[Undo], 1, 1).with(&[Compaction])),
        (Goal::Lifted, Config::new(&[X], 1, 1).with(&[Damage, Lift])),
        (Goal::FoundVoid, Config::new(&[X], 1, 1).with(&[Tidy])),
        (Goal::Held, Config::new(&[], 1, 2).with_reader()),
        (Goal::LeftoverDeleted, Config::new(&[], 1, 2).with(&[Lock])),
        (Goal::Inherited, Config::new(&[X], 1, 1).with(&[Compaction, Parent])),
    ];
    for (goal, config) in cases {
        let trace = reach(&config, STATES_MAX, goal);
        assert!(trace.is_some_and(|t| !t.steps.is_empty()), "{goal:?} is never reached");
    }
}
