//! Breadth-first search over all states; a fault comes with the shortest way to it.
//!
//! Only fingerprints of seen states are kept (64 bits: at ten million states the chance that two share one is about one in
//! 400,000); the way to a fault is found again by following them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash as _, Hasher};

use crate::check::Goal;
use crate::config::Config;
use crate::state::{State, Steps};
use crate::{check, collector, reader, surroundings, writer};

/// The steps that led to a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What is wrong at its end.
    pub fault: String,
    /// One line for each step.
    pub steps: Vec<String>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All states were seen, so many, and nothing is wrong with any.
    Holds(usize),
    /// Something is lost.
    Fails(Trace),
    /// There are more states than that.
    TooMany(usize),
}

/// Fingerprints are random enough to be their own hashes.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |h, b| h << 8 | u64::from(*b));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// Folds eight bytes at a time by a wide multiplication (as wyhash does).
#[derive(Default)]
struct Fold {
    folded: u64,
    waiting: u64,
    bytes: u32,
}

impl Fold {
    fn fold(folded: u64, word: u64) -> u64 {
        let wide = u128::from(folded ^ word ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(word.rotate_left(32) ^ 0xd6e8_feb8_6659_fd93);
        (wide as u64) ^ ((wide >> 64) as u64) ^ folded.rotate_left(23)
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        Self::fold(Self::fold(self.folded, self.waiting), u64::from(self.bytes))
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u8(b));
    }

    fn write_u8(&mut self, byte: u8) {
        self.waiting = self.waiting << 8 | u64::from(byte);
        self.bytes += 1;
        if self.bytes.is_multiple_of(8) {
            self.folded = Self::fold(self.folded, self.waiting);
            self.waiting = 0;
        }
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u8(word as u8);
        self.write_u8((word >> 8) as u8);
    }

    fn write_isize(&mut self, tag: isize) {
        self.write_u8(tag as u8);
    }

    fn write_usize(&mut self, _: usize) {}
}

/// From each seen state's fingerprint to that of the state before it.
type Seen = HashMap<u64, u64, BuildHasherDefault<AsIs>>;

fn fingerprint(state: &State) -> u64 {
    let mut hasher = Fold::default();
    state.hash(&mut hasher);
    hasher.finish()
}

fn steps(config: &Config, state: &State, out: &mut Steps) {
    out.clear();
    writer::steps(config, state, out);
    reader::steps(config, state, out);
    collector::steps(config, state, out);
    surroundings::steps(config, state, out);
}

/// Looks at all states that can be reached, up to `states_max`, for a loss.
#[must_use]
pub fn search(config: &Config, states_max: usize) -> Outcome {
    search_for(config, states_max, check::fault)
}

/// The shortest way to something that should be possible, so that a search does not hold because nothing happens in it.
#[must_use]
pub fn reach(config: &Config, states_max: usize, goal: Goal) -> Option<Trace> {
    let reached =
        |config: &Config, state: &State| check::reached(config, state, goal).then(|| format!("{goal:?}"));
    match search_for(config, states_max, reached) {
        Outcome::Fails(trace) => Some(trace),
        Outcome::Holds(_) | Outcome::TooMany(_) => None,
    }
}

fn search_for(
    config: &Config,
    states_max: usize,
    fault: impl Fn(&Config, &State) -> Option<String>,
) -> Outcome {
    let start = State::new();
    let mut seen = Seen::default();
    seen.insert(fingerprint(&start), 0);
    let mut layer = vec![start];
    let mut out = Steps::new();
    while !layer.is_empty() {
        let mut next = Vec::new();
        for state in &layer {
            let from = fingerprint(state);
            steps(config, state, &mut out);
            for (_, to) in out.drain(..) {
                let print = fingerprint(&to);
                let Entry::Vacant(new) = seen.entry(print) else { continue };
                new.insert(from);
                if let Some(fault) = fault(config, &to) {
                    return Outcome::Fails(Trace { fault, steps: trace(config, &seen, print) });
                }
                next.push(to);
            }
        }
        if seen.len() > states_max {
            return Outcome::TooMany(seen.len());
        }
        layer = next;
    }
    Outcome::Holds(seen.len())
}

/// Walks a given way: for traces too long to be searched for. What is wrong at its end, or the first line that is no step
/// of the protocol there.
pub fn follow(config: &Config, lines: &[&str]) -> Result<Option<String>, String> {
    let (mut state, mut out) = (State::new(), Steps::new());
    for line in lines {
        steps(config, &state, &mut out);
        match out.drain(..).find(|(label, _)| label.to_string() == *line) {
            Some((_, next)) => state = next,
            None => return Err((*line).to_owned()),
        }
    }
    Ok(check::fault(config, &state))
}

/// Follows the fingerprints from the start to a state.
fn trace(config: &Config, seen: &Seen, end: u64) -> Vec<String> {
    let mut way = vec![end];
    while let Some(&before) = way.last().and_then(|print| seen.get(print)).filter(|&&p| p != 0) {
        way.push(before);
    }
    let (mut state, mut out, mut lines) = (State::new(), Steps::new(), Vec::new());
    for print in way.into_iter().rev().skip(1) {
        steps(config, &state, &mut out);
        let step = out.drain(..).find(|(_, to)| fingerprint(to) == print);
        let Some((label, to)) = step else { break };
        lines.push(label.to_string());
        state = to;
    }
    lines
}
