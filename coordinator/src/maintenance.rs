//! Maintenance: what keeps a repository usable for years. Retention, GC, scrubbing and restore tests by schedule, and
//! whatever of it somebody asks for.
//!
//! One task at a time, never two of a kind. Nothing here is needed for safety: any number of coordinators may do the same at
//! once (docs/protocol.md); who leads only saves work.

pub mod leader;
pub mod plan;
pub mod record;
pub mod retention;
pub mod settings;
pub(crate) mod work;

pub use leader::{Follower, Leader, LockFile};
pub use plan::{Timing, When, Window};
pub use record::Record;
pub use retention::{RetentionRule, default_rules};
pub use settings::{GcSettings, Maintenance, RestoreTestSettings, ScrubSettings};
