//! Jobs at once of the whole agent, of all its domains together: who gets the next free place.
//!
//! Each domain's coordinator offers as if it were alone, and is declined while no place is free. The one that was declined
//! first gets the next place: others are declined until it has asked again, so that no domain starves behind a busy one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{RESULTS_KEPT_MAX, SLOT_KEPT_SECONDS};

/// The places of an agent. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Slots {
    state: Arc<Mutex<State>>,
    results_max: usize,
}

#[derive(Debug)]
struct State {
    jobs_max: usize,
    running: usize,
    /// Who was declined, and when last; the longest waiting first.
    waiting: Vec<(usize, Instant)>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Mutex<State>>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = state.running.saturating_sub(1);
    }
}

impl Slots {
    /// So many places for so many domains.
    #[must_use]
    pub fn new(jobs_max: u32, domains: usize) -> Self {
        let jobs_max = usize::try_from(jobs_max).unwrap_or(usize::MAX);
        let state = Arc::new(Mutex::new(State { jobs_max, running: 0, waiting: Vec::new() }));
        Self { state, results_max: (RESULTS_KEPT_MAX / domains.max(1)).max(1) }
    }

    /// Results that one domain may keep.
    pub(crate) fn results_max(&self) -> usize {
        self.results_max
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for this domain (by its number), or why there is none now.
    pub(crate) fn take(&self, domain: usize, now: Instant) -> Result<Slot, String> {
        let mut state = self.lock();
        let kept = Duration::from_secs(SLOT_KEPT_SECONDS);
        state.waiting.retain(|(_, asked)| now.duration_since(*asked) < kept);
        let free = state.jobs_max.saturating_sub(state.running);
        let place = state.waiting.iter().position(|(d, _)| *d == domain);
        let ahead = place.unwrap_or(state.waiting.len());
        if free > ahead {
            state.waiting.retain(|(d, _)| *d != domain);
            state.running += 1;
            return Ok(Slot(self.state.clone()));
        }
        match place {
            Some(place) => state.waiting[place].1 = now,
            None => state.waiting.push((domain, now)),
        }
        match free {
            0 => Err(format!("{} jobs are running already", state.running)),
            _ => Err("jobs of other domains have waited longer".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
