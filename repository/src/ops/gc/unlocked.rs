//! Packs under an object lock are not copied forward: the store keeps them until the lock ends, so that the copy would cost its
//! bytes and free none.

use std::collections::HashSet;

use futures::{StreamExt as _, stream};

use super::Run;
use super::choose::{Budget, Looked, choose};
use super::request::Compaction;
use crate::Result;
use crate::ids::PackId;
use crate::limits::RECORD_FETCHES;
use crate::ops::lock::LockedPacks;

impl Run<'_> {
    /// Chooses like [`choose`] does, among those that are not locked. Only what is chosen is asked for, each once: a request of the
    /// budget. What turns out to be locked makes room for the next best.
    pub(super) async fn choose_unlocked(
        &mut self,
        mut looked: Vec<Looked>,
        how: &Compaction,
        budget: &mut Budget,
    ) -> Result<(Vec<Looked>, u64)> {
        let Some(mut locked) = LockedPacks::load_all(self.repo).await else {
            return Ok(choose(looked, how, budget));
        };
        let mut asked: HashSet<PackId> = HashSet::new();
        let chosen = loop {
            let mut left = *budget;
            let (chosen, waiting) = choose(looked.clone(), how, &mut left);
            let is_new = |l: &&Looked| !locked.is_locked(l.pack) && !asked.contains(&l.pack);
            let new: Vec<PackId> = chosen.iter().filter(is_new).map(|l| l.pack).collect();
            budget.requests = budget.requests.saturating_sub(new.len() as u64);
            let asks: Vec<_> = new.iter().map(|pack| locked.ask(*pack)).collect();
            let mut answers = stream::iter(asks).buffered(RECORD_FETCHES);
            let mut dates = Vec::new();
            while let Some(answer) = answers.next().await {
                self.task.check()?;
                dates.push(answer?);
            }
            drop(answers);
            locked.note(new.iter().copied().zip(dates));
            asked.extend(new);
            let held: Vec<&Looked> = chosen.iter().filter(|l| locked.is_locked(l.pack)).collect();
            if held.is_empty() {
                budget.bytes = left.bytes;
                break (chosen, waiting);
            }
            self.report.compaction_locked += held.len() as u64;
            self.report.compaction_locked_bytes += held.iter().map(|l| l.bytes).sum::<u64>();
            let held: HashSet<PackId> = held.into_iter().map(|l| l.pack).collect();
            looked.retain(|l| !held.contains(&l.pack));
        };
        locked.save();
        Ok(chosen)
    }
}
