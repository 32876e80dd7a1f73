//! Changes of keys (K1 to K7 of `docs/protocol.md`) as a model of its own: they share no object with sessions and GC.
//!
//! Several admins change the ring, each stalling as long as it likes, while sessions read it and seal under the newest
//! epoch that they find. What must hold: whatever is sealed opens with the newest ring, and a change that was confirmed
//! stays.

use std::collections::HashSet;

/// Versions that a search needs: one for each change, and the first.
const VERSIONS: usize = 5;

/// What an admin wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// A new epoch.
    Rotate,
    /// This credential is no longer let in.
    Remove(u8),
}

/// One rule less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RingMutation {
    /// K1: a put replaces what is there.
    Overwrites,
    /// K2: a change does not list again after its put.
    NoListingAfterPut,
    /// K3: older versions are deleted before the new one is put.
    DeletesFirst,
    /// K4: an epoch is used before it is put.
    UsesBeforePut,
    /// K7: who reads a ring does not list again afterwards.
    NoListingAfterRead,
}

/// The content of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ring {
    /// Epochs, one bit each.
    epochs: u8,
    newest: u8,
    holders: u8,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    List,
    Read(usize),
    Confirm(usize, Ring),
    Clear(usize, Ring),
    Put(usize, Ring),
    Recheck(usize, Ring),
    Tidy(usize),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    versions: [Option<Ring>; VERSIONS],
    admins: Vec<At>,
    sessions: Vec<At>,
    /// Epochs that something is sealed under.
    sealed: u8,
    /// Credentials of which the removal was confirmed.
    removed: u8,
}

impl State {
    fn newest(&self) -> Option<usize> {
        self.versions.iter().rposition(Option::is_some)
    }

    fn fault(&self) -> Option<String> {
        let Some(newest) = self.newest() else { return Some("no ring is left".to_owned()) };
        let ring = self.versions[newest]?;
        if self.sealed & !ring.epochs != 0 {
            return Some(format!("version {newest} lacks an epoch that something is sealed under"));
        }
        if self.removed & ring.holders != 0 {
            return Some(format!("version {newest} lets in whom a confirmed change removed"));
        }
        None
    }
}

/// What is searched: who changes what, and how many sessions read meanwhile.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// One admin each.
    pub wishes: Vec<Wish>,
    /// Sessions.
    pub sessions: usize,
    /// A rule that is left out.
    pub without: Option<RingMutation>,
}

/// Looks at all states: how many there are, or the first fault.
pub fn search_rings(config: &RingConfig) -> Result<usize, String> {
    let mut versions = [None; VERSIONS];
    versions[0] = Some(Ring { epochs: 1, newest: 1, holders: 0b11 });
    let start = State {
        versions,
        admins: vec![At::List; config.wishes.len()],
        sessions: vec![At::List; config.sessions],
        sealed: 1,
        removed: 0,
    };
    let mut seen = HashSet::from([start.clone()]);
    let mut waiting = vec![start];
    while let Some(state) = waiting.pop() {
        if let Some(fault) = state.fault() {
            return Err(fault);
        }
        let mut add = |next: State| {
            if seen.insert(next.clone()) {
                waiting.push(next);
            }
        };
        for n in 0..state.admins.len() {
            admin(config, &state, n, &mut add);
        }
        for n in 0..state.sessions.len() {
            session(config, &state, n, &mut add);
        }
    }
    Ok(seen.len())
}

/// The steps of reading: `Ok` with where it leads, `Err` with the ring once it is read.
fn reading(config: &RingConfig, state: &State, at: At) -> Result<At, Option<(usize, Ring)>> {
    match at {
        At::List => state.newest().map(At::Read).ok_or(None),
        // A version that is gone was passed by.
        At::Read(version) => Ok(state.versions[version].map_or(At::List, |ring| At::Confirm(version, ring))),
        At::Confirm(version, ring) => {
            let confirmed = state.newest() == Some(version);
            if confirmed || config.without == Some(RingMutation::NoListingAfterRead) {
                Err(Some((version, ring)))
            } else {
                Ok(At::List)
            }
        }
        _ => Err(None),
    }
}

fn session(config: &RingConfig, state: &State, n: usize, add: &mut impl FnMut(State)) {
    let mut next = state.clone();
    match reading(config, state, state.sessions[n]) {
        Ok(at) => next.sessions[n] = at,
        Err(Some((_, ring))) => {
            next.sealed |= ring.newest;
            next.sessions[n] = At::Done;
        }
        Err(None) => return,
    }
    add(next);
}

fn admin(config: &RingConfig, state: &State, n: usize, add: &mut impl FnMut(State)) {
    let without = |rule| config.without == Some(rule);
    let (wish, epoch) = (config.wishes[n], 2u8 << n);
    let mut next = state.clone();
    next.admins[n] = match state.admins[n] {
        at @ (At::List | At::Read(_) | At::Confirm(..)) => match reading(config, state, at) {
            Ok(at) => at,
            Err(Some((version, ring))) if version + 1 < VERSIONS => {
                let changed = match wish {
                    Wish::Rotate => Ring { epochs: ring.epochs | epoch, newest: epoch, ..ring },
                    Wish::Remove(who) => Ring { holders: ring.holders & !who, ..ring },
                };
                if without(RingMutation::UsesBeforePut) && wish == Wish::Rotate {
                    next.sealed |= epoch;
                }
                let first = without(RingMutation::DeletesFirst);
                if first { At::Clear(version + 1, changed) } else { At::Put(version + 1, changed) }
            }
            Err(_) => return,
        },
        At::Clear(version, ring) => {
            next.versions[..version].fill(None);
            At::Put(version, ring)
        }
        At::Put(version, ring) => match &mut next.versions[version] {
            Some(_) if !without(RingMutation::Overwrites) => At::List,
            slot => {
                *slot = Some(ring);
                At::Recheck(version, ring)
            }
        },
        At::Recheck(version, ring) => {
            if state.newest() == Some(version) || without(RingMutation::NoListingAfterPut) {
                match wish {
                    Wish::Rotate => next.sealed |= ring.newest,
                    Wish::Remove(who) => next.removed |= who,
                }
                At::Tidy(version)
            } else {
                At::List
            }
        }
        At::Tidy(version) => match state.versions[..version].iter().position(Option::is_some) {
            Some(old) => {
                next.versions[old] = None;
                At::Tidy(version)
            }
            None => At::Done,
        },
        At::Done => return,
    };
    add(next);
}
