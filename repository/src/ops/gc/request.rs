//! What a run is asked to do, and what it tells.

use super::Alive;
use crate::ids::{Generation, PackId, Sid};

/// How to collect.
#[derive(Clone, Debug)]
pub struct GcRequest {
    /// A session that registered longer ago than this, by its own clock, is taken for dead and closed, seconds; with 0,
    /// all are. A younger writer is left alone, and the run ends for now. For liveness only: a writer that lives starts again
    /// and finds what it had uploaded; a reader loses its hold on a forgotten snapshot.
    pub fence_after_seconds: u64,
    /// Sessions that are known to live are not taken for dead, however old they are.
    pub alive: Alive,
    /// Only tell what would be condemned.
    pub dry_run: bool,
    /// Which packs are copied forward, so that they can go.
    pub compaction: Compaction,
}

/// Which packs are copied forward, and how much of that one run may do. Repair of damaged packs counts too.
#[derive(Clone, Debug)]
pub struct Compaction {
    /// Packs of which less than this share is live, by bytes, percent; with 0, none, and small ones are not merged.
    pub live_percent_below: u8,
    /// Bytes that may be copied.
    pub bytes_max: u64,
    /// Requests that may be spent on looking at packs, reading and writing them, about.
    pub requests_max: u64,
    /// Packs that are sealed under an older epoch than this one.
    pub reencrypt_below_epoch: Option<u32>,
}

impl Compaction {
    /// Nothing is copied.
    pub const NONE: Self =
        Self { live_percent_below: 0, bytes_max: 0, requests_max: 0, reencrypt_below_epoch: None };

    /// True if nothing can be copied.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.bytes_max == 0 || self.requests_max == 0
    }
}

impl Default for Compaction {
    /// Just below 70 percent each byte that is freed costs 2.3 bytes copied, and what is stored stays below 1.43 times what
    /// is live; at 80 percent it would be 4 bytes for 1.25 times.
    fn default() -> Self {
        Self {
            live_percent_below: 70,
            bytes_max: 64 << 30,
            requests_max: 50_000,
            reencrypt_below_epoch: None,
        }
    }
}

impl Default for GcRequest {
    fn default() -> Self {
        Self {
            fence_after_seconds: 3 * 24 * 3600,
            alive: Alive::unknown(),
            dry_run: false,
            compaction: Compaction::default(),
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct GcReport {
    /// The generation that was opened or finished.
    pub generation: Generation,
    /// Packs that there were.
    pub packs: u64,
    /// Bytes of all packs that there were.
    pub bytes: u64,
    /// Snapshots that count.
    pub snapshots: u64,
    /// Packs that nobody needed as the run began, or that were copied forward.
    pub condemned: u64,
    /// Bytes of these.
    pub condemned_bytes: u64,
    /// Packs that were deleted.
    pub deleted: u64,
    /// Bytes of these.
    pub deleted_bytes: u64,
    /// Packs that were copied forward (in a dry run: would be). If somebody turns out to need more of one, it stays.
    pub compacted: u64,
    /// Live bytes of these.
    pub copied_bytes: u64,
    /// Packs that the copies lie in.
    pub copies: u64,
    /// Bytes of the packs that the copies lie in.
    pub copies_bytes: u64,
    /// Packs that are worth copying and wait for the next run: the budget was spent.
    pub compaction_waiting: u64,
    /// Packs that are worth copying and are under an object lock: they are left until it ends.
    pub compaction_locked: u64,
    /// Bytes of these.
    pub compaction_locked_bytes: u64,
    /// Why nothing more was copied, if something went wrong: the rest of the run went on.
    pub compaction_stopped: Option<String>,
    /// Damaged packs whose damaged blobs were found elsewhere, or that were not damaged after all.
    pub repaired: u64,
    /// Damaged packs that stay: no other copy of all their needed blobs was found.
    pub damaged: Vec<PackId>,
    /// Packs that could not be deleted; the next run tries again.
    pub leftovers: u64,
    /// Old registrations, outcomes, markers, deltas, quarantine records and parts of records that were deleted.
    pub tidied: u64,
    /// Entries of the index that were gathered into shards; 0 where that was not worth it.
    pub indexed: u64,
    /// Sessions that were taken for dead and closed.
    pub fenced: Vec<Sid>,
    /// Writers that are still at work: nothing is deleted before they are done. The next run goes on here.
    pub waiting_for: Vec<Sid>,
    /// The run came to its end.
    pub done: bool,
}

impl GcReport {
    /// Bytes of all packs as far as the run left them.
    #[must_use]
    pub fn bytes_after(&self) -> u64 {
        (self.bytes + self.copies_bytes).saturating_sub(self.deleted_bytes)
    }

    /// Bytes that the run gave back: those of deleted packs, less those of the copies.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        self.deleted_bytes.saturating_sub(self.copies_bytes)
    }
}
