//! Which packs are worth copying forward: decisions over what was looked at, without IO.
//!
//! First the thin ones, most bytes freed for each byte copied first; then those sealed under an old epoch; then small ones
//! of about the same size, of which many become one. What the budget does not cover waits for the next run.

use std::collections::BTreeMap;

use super::request::Compaction;
use crate::ids::PackId;
use crate::limits::{MERGE_BYTES_MIN, MERGE_PACKS_MIN, META_PACK_BODY_BYTES, PACK_BODY_BYTES};
use crate::manifest::catalogue::PackFacts;
use crate::pack::PackKind;

/// A pack of which something is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    pub pack: PackId,
    /// The object's size.
    pub bytes: u64,
    pub kind: PackKind,
    pub epoch: u32,
    /// Stored bytes of its groups.
    pub body_bytes: u64,
    /// What is live of these, about.
    pub live_bytes: u64,
    /// The same, decoded.
    pub live_plain: u64,
}

/// What is read at once of a pack.
const READ_BYTES: u64 = 8 << 20;

impl Looked {
    /// What is freed by copying it.
    fn waste(&self) -> u64 {
        self.body_bytes.saturating_sub(self.live_bytes)
    }

    /// What is worth keeping of it for the next run.
    pub(super) fn facts(&self, live_blobs: u64) -> PackFacts {
        let Self { kind, epoch, body_bytes, live_bytes, live_plain, .. } = *self;
        PackFacts { kind, epoch, body_bytes, live_blobs, live_bytes, live_plain }
    }

    pub(super) fn is_thin(&self, percent: u8) -> bool {
        u128::from(self.live_bytes) * 100 < u128::from(self.body_bytes) * u128::from(percent)
    }

    /// Requests to copy it: its tail and ranges read, its part of a pack put.
    fn requests(&self) -> u64 {
        2 + self.live_bytes / READ_BYTES
    }

    /// Small packs of one class merge; each class spans a factor of eight.
    fn small_class(&self) -> Option<(PackKind, u32)> {
        let full = match self.kind {
            PackKind::Data => PACK_BODY_BYTES,
            PackKind::Meta => META_PACK_BODY_BYTES,
        };
        let small = self.bytes < full as u64 / 2;
        small.then(|| (self.kind, self.bytes.max(MERGE_BYTES_MIN).ilog2() / 3))
    }
}

/// What may still be spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub bytes: u64,
    pub requests: u64,
}

impl Budget {
    fn take(&mut self, one: &Looked) -> bool {
        let fits = one.live_bytes <= self.bytes && one.requests() <= self.requests;
        if fits {
            self.bytes -= one.live_bytes;
            self.requests -= one.requests();
        }
        fits
    }
}

/// The packs to copy, and how many more are worth it.
pub(super) fn choose(looked: Vec<Looked>, how: &Compaction, budget: &mut Budget) -> (Vec<Looked>, u64) {
    let (mut thin, rest): (Vec<_>, Vec<_>) =
        looked.into_iter().partition(|l| l.is_thin(how.live_percent_below));
    // a.live / a.waste < b.live / b.waste, without dividing.
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    thin.sort_by(|a, b| {
        product(a.live_bytes, b.waste()).cmp(&product(b.live_bytes, a.waste())).then(a.pack.cmp(&b.pack))
    });
    let is_old = |l: &Looked| how.reencrypt_below_epoch.is_some_and(|epoch| l.epoch < epoch);
    let (old, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_old);
    let (mut chosen, mut waiting) = (Vec::new(), 0);
    for one in thin.into_iter().chain(old) {
        if budget.take(&one) {
            chosen.push(one);
        } else {
            waiting += 1;
        }
    }
    if how.live_percent_below > 0 {
        let (merged, left) = merge(rest, budget);
        chosen.extend(merged);
        waiting += left;
    }
    (chosen, waiting)
}

/// Small packs, class by class, the smallest first: there each byte that is copied saves the most objects.
fn merge(rest: Vec<Looked>, budget: &mut Budget) -> (Vec<Looked>, u64) {
    let mut classes: BTreeMap<(u32, PackKind), Vec<Looked>> = BTreeMap::new();
    for one in rest {
        if let Some((kind, class)) = one.small_class() {
            classes.entry((class, kind)).or_default().push(one);
        }
    }
    let (mut chosen, mut waiting) = (Vec::new(), 0);
    for class in classes.into_values().filter(|c| c.len() >= MERGE_PACKS_MIN) {
        let mut left = *budget;
        let taken: Vec<_> = class.iter().copied().take_while(|one| left.take(one)).collect();
        if taken.len() >= MERGE_PACKS_MIN {
            *budget = left;
            waiting += (class.len() - taken.len()) as u64;
            chosen.extend(taken);
        } else {
            waiting += class.len() as u64;
        }
    }
    (chosen, waiting)
}

#[cfg(test)]
mod tests;
