//! The second pass over the item stream: directories get their metadata, each after all that lies below it, so that
//! neither a locked directory nor a new entry undoes anything. Memory grows with depth only.

use std::sync::Arc;

use futures::StreamExt as _;

use super::pass::blocking;
use super::select::Selection;
use super::state::State;
use crate::Result;
use crate::items::TreeReader;
use crate::items::entry::{Entry, Kind, Meta};
use crate::ops::browse::leaves_or_damage;
use crate::target::TargetError;

/// A directory that is still open: entries below it may follow.
#[derive(Debug)]
struct Open {
    /// Path in the snapshot, and in the target.
    path: Vec<u8>,
    place: Vec<u8>,
    meta: Meta,
    /// It is chosen, or something below it is.
    needed: bool,
}

/// Gives all restored directories their metadata.
pub(crate) async fn run(tree: &TreeReader, selection: &Selection, state: &Arc<State>) -> Result<()> {
    let mut leaves = leaves_or_damage(tree, selection.range());
    let mut stack = Vec::new();
    while let Some(leaf) = leaves.next().await {
        state.check()?;
        // Damage was named by the first pass.
        let Ok(leaf) = leaf? else { continue };
        let (state, selection) = (Arc::clone(state), selection.clone());
        stack = blocking(move || {
            leaf.entries.into_iter().for_each(|entry| step(&mut stack, entry, &selection, &state));
            stack
        })
        .await?;
    }
    let state = Arc::clone(state);
    blocking(move || {
        while !stack.is_empty() {
            pop(&mut stack, &state);
        }
    })
    .await
}

fn step(stack: &mut Vec<Open>, entry: Entry, selection: &Selection, state: &State) {
    while stack.last().is_some_and(|top| !is_below(&entry.path, &top.path)) {
        pop(stack, state);
    }
    let picked = selection.picks(&entry);
    if entry.kind != Kind::Directory {
        if let (true, Some(top)) = (picked, stack.last_mut()) {
            top.needed = true;
        }
        return;
    }
    if let Some(place) = selection.place(&entry.path) {
        stack.push(Open { path: entry.path, place, meta: entry.meta, needed: picked });
    }
}

fn pop(stack: &mut Vec<Open>, state: &State) {
    let Some(open) = stack.pop() else { return };
    if !open.needed {
        return;
    }
    if let Some(above) = stack.last_mut() {
        above.needed = true;
    }
    if open.place.is_empty() && state.keeps_target() {
        return;
    }
    let mut notes = Vec::new();
    match state.target.finish_dir(&open.place, &open.meta, &mut notes) {
        // What stands in the way was named by the first pass.
        Ok(()) | Err(TargetError::NotDirectory | TargetError::BadName(_)) => {}
        Err(e) => state.refused(&open.place, e),
    }
    state.target.forget_dir(&open.place);
    state.note(&open.place, notes);
}

/// True if `path` lies below the directory `top`.
fn is_below(path: &[u8], top: &[u8]) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.first() == Some(&b'/'))
}
