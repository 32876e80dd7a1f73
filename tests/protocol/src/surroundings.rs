//! What others do at any time: forget, tidy up what a `done` froze, damage.

use crate::config::{Config, Feature, Mutation};
use crate::state::{Label, Lifter, NONE, READER_SID, State, Steps, holds, members};

/// What may happen next.
pub(crate) fn steps(config: &Config, state: &State, out: &mut Steps) {
    forget(config, state, out);
    if config.has(Feature::Tidy) {
        tidy(config, state, out);
    }
    if config.has(Feature::Parts) {
        tidy_parts(config, state, out);
    }
    if config.has(Feature::Damage) {
        damage(config, state, out);
    }
    if config.has(Feature::Lift) {
        lift(config, state, out);
    }
}

fn forget(config: &Config, state: &State, out: &mut Steps) {
    let last = if config.has(Feature::ForgetAll) { READER_SID } else { 1 };
    for sid in 0..last {
        let stored = state.sids[sid];
        let number = u8::try_from(sid).unwrap_or(NONE);
        if stored.committed() && !stored.marked() && !state.is_void(number, state.done) {
            let mut next = *state;
            next.sids[sid].forget();
            out.push((Label("forget snapshot", NONE, number), next));
        }
    }
}

/// Registrations go before outcomes: a reader's would count as open again.
fn tidy(config: &Config, state: &State, out: &mut Steps) {
    let catalogue = state.dones[usize::from(state.done)].catalogue;
    for (sid, number) in state.sids.iter().zip(0..) {
        if !state.is_frozen(sid.base, state.done) || holds(catalogue, number) {
            continue;
        }
        let mut tidied = |what, change: &dyn Fn(&mut crate::state::Sid)| {
            let mut next = *state;
            change(&mut next.sids[usize::from(number)]);
            out.push((Label(what, NONE, number), next));
        };
        let open_reader = usize::from(number) == READER_SID && config.lacks(Mutation::TidyOpenReaders);
        if sid.registered() && (sid.closed() || open_reader) {
            tidied("delete the registration of", &|s| s.unregister());
        }
        if !sid.registered() && sid.closed() {
            tidied("delete the outcome of", &|s| s.delete_outcome());
        }
        if sid.marked() {
            tidied("delete the marker of", &|s| s.delete_marker());
        }
    }
}

/// Of the newest `done`, parts that it does not name; of the one before it nothing, since a collector that began earlier may
/// still read what that one names; of older ones all. Whoever is not done yet may be about to name its part.
fn tidy_parts(config: &Config, state: &State, out: &mut Steps) {
    for part in members(state.parts.into()) {
        let generation = part / 2 + 1;
        let goes = if generation > state.done {
            config.lacks(Mutation::PartsTidiedEarly)
        } else if generation == state.done {
            state.dones[usize::from(generation)].part != part
        } else {
            generation + 1 < state.done || config.lacks(Mutation::LastPartsTidied)
        };
        if goes {
            let mut next = *state;
            next.parts &= !(1 << part);
            out.push((Label("delete part", NONE, part), next));
        }
    }
}

fn damage(config: &Config, state: &State, out: &mut Steps) {
    let mut next = *state;
    let often = if config.has(Feature::Lift) { 2 } else { 1 };
    if !state.damaged && state.damages < often {
        (next.damaged, next.damages) = (true, state.damages + 1);
        out.push((Label("blob 0 is damaged in pack", NONE, 0), next));
    } else if state.damaged && !state.named {
        next.named = true;
        next.records |= 1 << (state.damages - 1);
        out.push((Label("verify quarantines pack", NONE, 0), next));
    }
}

/// Who looks after the store puts a good copy of the pack back; and who lifts the quarantine lists its records, reads the pack,
/// and deletes the records that it listed.
fn lift(config: &Config, state: &State, out: &mut Steps) {
    let mut go = |what, change: &dyn Fn(&mut State)| {
        let mut next = *state;
        change(&mut next);
        out.push((Label(what, NONE, 0), next));
    };
    if state.damaged {
        go("blob 0 is put back in pack", &|next| (next.damaged, next.named) = (false, false));
    }
    let lifter = state.lifter;
    if lifter.listed == 0 {
        if state.records != 0 {
            go("lift: list the records of pack", &|next| next.lifter.listed = state.records);
        }
    } else if !lifter.read {
        let well = holds(state.packs, 0) && state.is_healthy(0, 0);
        if well || config.lacks(Mutation::LiftUnread) {
            go("lift: read pack", &|next| next.lifter.read = true);
        }
    } else {
        let all = config.lacks(Mutation::LiftUnlisted);
        go("LIFT the quarantine of pack", &|next| {
            next.records &= if all { 0 } else { !lifter.listed };
            next.lifter = Lifter { listed: 0, read: false, lifted: true };
        });
    }
}
