//! What must hold in every state.

use crate::config::{Config, Feature, Role};
use crate::state::{COPIES, NONE, READER_SID, ReaderStep, State, WriterStep, holds};

/// Something that should be possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A session that rebased has committed.
    Rebased,
    /// A pack was compacted and deleted, and its snapshot is still there.
    Compacted,
    /// A snapshot that named a damaged blob finds a good one.
    Healed,
    /// The forgetting of the first snapshot was undone.
    Undone,
    /// It was undone after its blob had moved.
    UndoneMoved,
    /// A session refers to a pack of which the quarantine was lifted.
    Lifted,
    /// A commit came after its fence was tidied away, and its writer found out.
    FoundVoid,
    /// A reader reads a snapshot that was forgotten, while a later generation is done.
    Held,
    /// A pack that could not be deleted was deleted by a later generation.
    LeftoverDeleted,
    /// A session committed by its parent's summary alone after relocations.
    Inherited,
}

/// True if the goal is reached.
pub(crate) fn reached(config: &Config, state: &State, goal: Goal) -> bool {
    let done = |w: usize| state.writers[w].step == WriterStep::Committed;
    let mut writers = 0..config.writers.len();
    let first = state.sids[0];
    let now = state.resolve(config, state.view(), first.pack, 0);
    match goal {
        Goal::Rebased => writers.any(|w| done(w) && state.writers[w].chain < state.writers[w].attempt),
        Goal::Compacted => !first.marked() && !holds(state.packs, 0) && holds(state.packs, now),
        Goal::Healed => state.damaged && !first.marked() && now != 0 && holds(state.packs, now),
        Goal::Undone => first.marked() && writers.any(|w| config.writers[w] == Role::Undo && done(w)),
        Goal::UndoneMoved => writers.any(|w| {
            let undone = config.writers[w] == Role::Undo && done(w);
            undone && !holds(state.packs, 0) && state.writers[w].pack != first.pack
        }),
        Goal::Lifted => writers.any(|w| state.lifter.lifted && done(w) && state.writers[w].pack == 0),
        Goal::FoundVoid => writers.any(|w| {
            let sid = state.writers[w].sid(w);
            state.writers[w].step == WriterStep::GaveUp && state.sids[usize::from(sid)].committed()
        }),
        Goal::Held => {
            let reads = state.reader == ReaderStep::Reading && !state.sids[READER_SID].closed();
            reads && state.done > 1 && state.target == 0 && first.marked()
        }
        Goal::LeftoverDeleted => state.done > 1 && state.sweeps[1] & state.sweeps[2] & !state.packs != 0,
        Goal::Inherited => writers.any(|w| done(w) && usize::from(state.writers[w].pack) >= COPIES),
    }
}

/// What is wrong with a state.
pub(crate) fn fault(config: &Config, state: &State) -> Option<String> {
    let work = || state.lost_work.then(|| "a rebase had to store its own session's packs again".to_owned());
    let work = || config.has(Feature::Patient).then(work).flatten();
    snapshots(config, state)
        .or_else(|| claims(config, state))
        .or_else(|| reading(config, state))
        .or_else(|| parts(state))
        .or_else(work)
}

/// What the newest `done` names is there, and what the one before it names, which somebody may be reading.
fn parts(state: &State) -> Option<String> {
    let read = state.done.saturating_sub(1)..=state.done;
    read.map(|g| state.dones[usize::from(g)].part)
        .find(|&part| part != NONE && !holds(state.parts.into(), part))
        .map(|part| format!("part {part}, which a done record names, is gone"))
}

/// Every snapshot that is listed can be read, and a new one never rests on what is known to be damaged.
fn snapshots(config: &Config, state: &State) -> Option<String> {
    (0..READER_SID as u8).find_map(|sid| {
        let stored = state.sids[usize::from(sid)];
        if !stored.committed() || stored.marked() || state.is_void(sid, state.done) {
            return None;
        }
        unreadable(config, state, sid).map(|what| format!("snapshot {sid}: {what}"))
    })
}

fn unreadable(config: &Config, state: &State, sid: u8) -> Option<String> {
    let (named, blob) = (state.sids[usize::from(sid)].pack, config.want(usize::from(sid)));
    let at = state.resolve(config, state.view(), named, blob);
    (!holds(state.packs, at)).then(|| format!("blob {blob} of pack {named} (now {at}) is gone"))
}

/// A writer that told its user "committed" has a snapshot, unless somebody forgot it since.
fn claims(config: &Config, state: &State) -> Option<String> {
    (0..config.writers.len()).find_map(|w| {
        let writer = &state.writers[w];
        if writer.step != WriterStep::Committed {
            return None;
        }
        let sid = writer.sid(w);
        let stored = state.sids[usize::from(sid)];
        if stored.was_forgotten() {
            return None;
        }
        if !stored.committed() || state.is_void(sid, state.done) {
            return Some(format!("writer {w} said that snapshot {sid} exists; it does not"));
        }
        let blob = config.want(usize::from(sid));
        let at = state.resolve(config, state.view(), stored.pack, blob);
        (writer.told && !state.is_healthy(at, blob))
            .then(|| format!("snapshot {sid} rests on a quarantined blob"))
    })
}

/// An open reader finds all of its snapshot, forgotten or not.
fn reading(config: &Config, state: &State) -> Option<String> {
    let reads = state.reader == ReaderStep::Reading && !state.sids[READER_SID].closed();
    if !reads || state.target == NONE {
        return None;
    }
    unreadable(config, state, state.target)
        .map(|what| format!("the reader of snapshot {}: {what}", state.target))
}
