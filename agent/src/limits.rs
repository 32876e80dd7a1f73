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
/// A child with less can't hold the packs in flight.
pub const CHILD_MEMORY_BYTES_MIN: usize = 48 << 20;
/// Domains in the plan of a node: each has a stream and tasks of its own.
pub const PLAN_DOMAINS_MAX: usize = 64;
/// Volumes in the plan of a node: many times what one node runs.
pub const PLAN_VOLUMES_MAX: usize = 10_000;
/// Places of one volume: pods of one node that mount it.
pub const PLACES_MAX: usize = 256;
/// A key file, and each setting of a store, is never larger; CA bundles may be.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// Settings of one store.
pub const SETTINGS_MAX: usize = 64;
/// A bundle of CA certificates is never larger.
pub const CA_BYTES_MAX: usize = 1 << 20;
/// The node shows that it is there at least this often, whatever the coordinator asks for.
pub const PULSE_SECONDS_MAX: u32 = 600;
/// How often a node shows that it is there until a plan says so.
pub const PULSE_SECONDS: u64 = 5;
/// The table of mounts is never larger: 100 times what a full node has.
pub const MOUNTS_BYTES_MAX: u64 = 256 << 20;
/// After a change of the table of mounts the next look waits this long: mounts come and go in bursts.
pub const MOUNTS_PAUSE_MILLIS: u64 = 50;
/// Folders that kubelet mounts nowhere are looked for this often; all else comes with its event.
pub const LOOK_SECONDS: u64 = 5;
/// A pod of which a mount vanished is left alone for so long: it goes, or it stays and this was something else.
pub const LEAVING_SECONDS: u64 = 300;
/// A child must be confined and ready within this.
pub const CHILD_READY_SECONDS: u64 = 30;
/// A child that was asked to end gets this long: it closes its session in the store.
pub const CHILD_STOP_SECONDS: u64 = 8;
/// How often a child tells how far it is.
pub const CHILD_PROGRESS_MILLIS: u64 = 500;
/// Messages to a child that wait; answers to its lookups.
pub const CHILD_INBOX: usize = 16;
/// Lookups of one child that are answered at once.
pub const CHILD_LOOKUPS_MAX: usize = 8;
/// Bytes of one line that a child may say on its standard error; the rest is cut.
pub const CHILD_LINE_BYTES_MAX: usize = 16 << 10;
/// A plan is never larger: volumes with their names, a few hundred bytes each.
pub const PLAN_BYTES_MAX: usize = 32 << 20;
