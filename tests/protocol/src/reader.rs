//! The reader: registers, then looks whether its snapshot is still there, then reads.
//!
//! It needs no generation: every mark lists the registrations of readers after the markers, so that a snapshot which a
//! registered reader saw without a marker is either seen without one by the mark too, or held by the registration.

use crate::config::{Config, Mutation};
use crate::state::{Label, READER_SID, ReaderStep, State, Steps, members};

/// What the reader may do next.
pub(crate) fn steps(config: &Config, state: &State, out: &mut Steps) {
    if !config.reader {
        return;
    }
    let mut go = |what, change: &dyn Fn(&mut State)| {
        let mut next = *state;
        change(&mut next);
        out.push((Label(what, u8::MAX, state.target), next));
    };
    let close = |next: &mut State| {
        next.sids[READER_SID].abort();
        next.reader = ReaderStep::Closed;
    };
    let late = config.lacks(Mutation::ReaderLate);
    match state.reader {
        ReaderStep::Register => {
            for sid in members(state.sids_where(|n, s| usize::from(n) < READER_SID && s.committed())) {
                let mut next = *state;
                if !late {
                    next.sids[READER_SID].register(state.generation);
                }
                (next.target, next.reader) = (sid, ReaderStep::CheckMarker);
                out.push((Label("reader: register for snapshot", u8::MAX, sid), next));
            }
        }
        ReaderStep::CheckMarker => {
            let target = state.sids[usize::from(state.target)];
            if target.committed() && !target.marked() {
                go("reader: no marker", &|next| next.reader = ReaderStep::CheckDone);
            } else {
                go("reader: forgotten", &close);
            }
        }
        ReaderStep::CheckDone if state.is_void(state.target, state.done) => go("reader: void", &close),
        ReaderStep::CheckDone => go("reader: reads", &|next| {
            next.reader = ReaderStep::Reading;
            if late {
                next.sids[READER_SID].register(state.generation);
            }
        }),
        ReaderStep::Reading => go("reader: closes", &close),
        ReaderStep::Closed => {}
    }
}
