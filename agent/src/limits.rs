//! Every bound of the agent, beside its reason.

/// Messages waiting for the coordinator; all are small.
pub const OUTBOX: usize = 64;
/// Results kept until they are acknowledged. A coordinator that is away long enough for more gives no new jobs either.
pub const RESULTS_KEPT_MAX: usize = 1000;
/// A kept result on disk is never larger.
pub const RESULT_BYTES_MAX: u64 = 8 << 20;
/// How often running jobs tell how far they are.
pub const PROGRESS_SECONDS: u64 = 1;
/// First wait before connecting again; doubled each time.
pub const RECONNECT_MILLIS_MIN: u64 = 250;
/// Ids in one call of `Lookup`: small enough to be quick, large enough to be few.
pub const LOOKUP_IDS: usize = 1000;
/// A lookup that takes longer is answered by the local index.
pub const LOOKUP_SECONDS: u64 = 10;
/// After a failed lookup the coordinator is not asked again for this long.
pub const LOOKUP_PAUSE_SECONDS: u64 = 30;
/// The coordinator must welcome the agent within this.
pub const WELCOME_SECONDS: u64 = 15;
/// A heartbeat comes at least this often, whatever the coordinator asks for.
pub const HEARTBEAT_SECONDS_MAX: u32 = 3600;
/// The local index, which answers lookups while the coordinator is away, looks for new deltas this often.
pub const INDEX_SECONDS: u64 = 60;
/// A free place is kept for a domain whose job was declined, until its coordinator has had the time to offer it again (10 s).
pub const SLOT_KEPT_SECONDS: u64 = 20;
/// A domain's repository that could not be opened is tried again after this at first, then ever longer, up to the second.
pub const OPEN_AGAIN_SECONDS: (u64, u64) = (1, 60);
/// Running jobs get this long to end at a stop.
pub const STOP_SECONDS: u64 = 10;
