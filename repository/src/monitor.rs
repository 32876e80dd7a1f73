//! Counters that long work updates and others watch: the CLI's progress line, the agent's reports, the metrics.
//!
//! Library code counts here and never talks to a terminal or to Prometheus itself.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Live counters of one piece of work. All only grow.
        #[derive(Debug, Default)]
        pub struct Monitor { $($(#[$doc])* pub $name: Counter,)* }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Figures { $($(#[$doc])* pub $name: u64,)* }

        impl Monitor {
            /// All counters now. Each is exact; together they may be of slightly different moments.
            #[must_use]
            pub fn figures(&self) -> Figures {
                Figures { $($name: self.$name.get(),)* }
            }

            /// Adds what was gained between two readings of work that is done elsewhere. Work that began anew adds nothing
            /// before it gains again.
            pub fn raise(&self, before: &Figures, now: &Figures) {
                $(self.$name.add(now.$name.saturating_sub(before.$name));)*
            }
        }
    };
}

/// A counter that many threads may raise.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Raises it.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Hands the list of all counters to the macro `then`: who needs each of them (the wire, the metrics) names none.
#[macro_export]
macro_rules! for_counters {
    ($then:ident) => {
        $then! {
            /// Entries of all kinds seen by the walk, or restored, or verified; of a GC run, outcomes that it knows.
            entries,
            /// Regular files among them.
            files,
            /// Regular files that were opened and read.
            files_opened,
            /// Regular files taken over from the parent unread.
            files_unchanged,
            /// Entries that could not be read, restored or verified; each is also in the report.
            entries_failed,
            /// Plain size of all regular files seen.
            bytes_total,
            /// Plain bytes done, by reading them or by taking them over: of `bytes_total`.
            bytes_done,
            /// Plain bytes read from the volume (or from packs, in a restore or verify).
            bytes_read,
            /// Plain bytes of blobs that were not known before.
            bytes_new,
            /// Plain bytes of blobs that were found.
            bytes_found,
            /// Bytes of the packs put into the store.
            bytes_stored,
            /// Blobs that were not known before.
            blobs_new,
            /// Blobs that were found in the parent, the session or the index.
            blobs_found,
            /// Packs put.
            packs,
            /// Blobs of little use stored again.
            bytes_rewritten,
        }
    };
}

for_counters!(counters);
