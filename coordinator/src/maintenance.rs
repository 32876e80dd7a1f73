//! Maintenance: what keeps a repository usable for years. Retention, GC, locks, scrubbing, restore tests and copies by schedule, and
//! whatever of it somebody asks for.
//!
//! One task at a time, never two of a kind (of copies and mirrors: and destination). Nothing here is needed for safety: any number of coordinators may do the same at
//! once (docs/protocol.md); who leads only saves work.

pub mod destination;
pub mod leader;
pub mod plan;
pub mod record;
pub mod retention;
pub mod settings;
pub mod slot;
pub(crate) mod work;

pub use destination::{CopySettings, Destination, Holds, MirrorSettings};
pub use leader::{Follower, Leader, LockFile};
pub use plan::{Timing, When, Window};
pub use record::Record;
pub use retention::{RetentionRule, default_rules};
pub use settings::{GcSettings, LockSettings, Maintenance, RestoreTestSettings, ScrubSettings};
pub use slot::Slot;
