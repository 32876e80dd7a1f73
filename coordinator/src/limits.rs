//! Every bound of the coordinator, beside its reason.

/// A job that was lost this often is not tried again: something kills its agent.
pub const ATTEMPTS_MAX: u32 = 5;
/// An agent that declined a job is not asked again before this.
pub const DECLINED_SECONDS: i64 = 10;
/// A job that its agent gave back goes on where its volume is after this: at once, but not in a circle.
pub const RETURNED_SECONDS: i64 = 1;
/// A backup that failed is not scheduled again before this.
pub const RETRY_SECONDS: i64 = 300;
/// An offer that nobody answered is taken back after this.
pub const OFFER_SECONDS: i64 = 60;
/// Ended runs kept in the log.
pub const RUNS_KEPT_MAX: u32 = 10_000;
/// Runs in a list for which nobody said how many.
pub const RUNS_LISTED: u32 = 100;
/// Jobs waiting at once, of all volumes together.
pub const JOBS_QUEUED_MAX: u32 = 10_000;
/// Messages waiting for one agent; more than this and it is not keeping up.
pub const AGENT_QUEUE: usize = 256;
/// Of a reason to decline a job, this much is logged.
pub const REASON_CHARS_MAX: usize = 500;
/// An agent must say hello within this.
pub const HELLO_SECONDS: u64 = 10;
/// An agent silent for this many heartbeats is gone.
pub const HEARTBEATS_MISSED: u32 = 3;
/// Calls waiting for the database thread.
pub const DB_QUEUE: usize = 256;
/// A call of a client that answers once must begin its answer within this. Streams may go on as long as they like.
pub const REQUEST_SECONDS: u64 = 300;
/// Connections of agents (two each) and clients at once; more wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 4096;
/// A client's request is never larger: names, patterns and paths within their own bounds.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Listings, files and verifications that clients may have open at once, all connections together: each works ahead
/// into a bounded buffer. Divided by the domains.
pub const CLIENT_STREAMS_MAX: usize = 64;
/// Of these, each domain has at least so many, however many domains there are: with fewer, somebody who looks at one file would
/// keep everybody else of the domain out.
pub const CLIENT_STREAMS_DOMAIN_MIN: usize = 4;
/// Watched runs at once.
pub const WATCHES_MAX: usize = 4096;
/// A client that takes nothing from its stream for this long has lost it.
pub const STALL_SECONDS: u64 = 120;
/// Messages that a stream may be ahead of its client.
pub const STREAM_QUEUE: usize = 2;
/// Calls at once on one connection.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// A dead connection is noticed after about twice this.
pub const KEEPALIVE_SECONDS: u64 = 20;
/// Open streams get this long to end at a stop.
pub const STOP_SECONDS: u64 = 10;
/// Entries in one message of a listing.
pub const ENTRIES_PER_MESSAGE: usize = 256;
/// Path, attribute and link bytes in one message of a listing, about.
pub const ENTRY_BYTES_PER_MESSAGE: usize = 256 << 10;
/// File bytes in one message of a `Cat`.
pub const CAT_BYTES_PER_MESSAGE: usize = 1 << 20;
/// What never ran begins after this: it may be long overdue, and a coordinator that just started has enough to do.
pub const TASK_FIRST_SECONDS: i64 = 600;
/// A task that has more to do (it waited for a writer, or its window ended) goes on after this.
pub const TASK_AGAIN_SECONDS: i64 = 600;
/// A task that failed is tried again after this, if its schedule does not come first.
pub const TASK_RETRY_SECONDS: i64 = 3600;
/// A task during which the coordinator ended this often is not tried again: something kills it.
pub const TASK_ATTEMPTS_MAX: u32 = 5;
/// Ended tasks kept in the log.
pub const TASKS_KEPT_MAX: u32 = 1000;
/// GC looks again whether writers are done after this at first, then ever longer, up to the second.
pub const WAIT_LOOK_SECONDS: (u64, u64) = (1, 30);
/// Tasks of maintenance at once, of all domains together: memory and requests stay bounded however many domains there are, and one
/// that takes long does not hold up all others.
pub const TASKS_AT_ONCE_MAX: usize = 2;
/// A domain that could not be opened is tried again after this at first, then ever longer, up to the second.
pub const OPEN_AGAIN_SECONDS: (u64, u64) = (1, 60);
/// Of a domain's name that does not exist, this much is repeated: no name is longer.
pub const DOMAIN_NAME_SHOWN: usize = 63;
/// Bound on the memory of a restore test: that of an agent.
pub const TEST_MEMORY_BYTES: usize = 256 << 20;
/// A copy, mirror or lock that was told to end is dropped after this: a store may never answer. Less than a stop gives.
pub const CANCEL_SECONDS: u64 = 5;
/// Destinations of copies and mirrors: each has a schedule and labels of metrics.
pub const DESTINATIONS_MAX: usize = 64;
/// Volumes that metrics name: more would be a burden to whoever collects them.
pub const VOLUMES_LABELLED_MAX: usize = 1000;
/// Nodes and movers that attend or have a plan: some thousand nodes are the largest clusters there are.
pub const NODES_MAX: usize = 16_384;
/// A node shows that it is there this often; one that misses [`HEARTBEATS_MISSED`] of them is gone.
pub const NODE_PULSE_SECONDS: u32 = 10;
/// Who asks again with the same token within this is not identified again: so long may one who lost his rights go on.
pub const IDENTIFIED_SECONDS: u64 = 60;
/// Callers that are kept as identified at once, the oldest dropped first.
pub const IDENTIFIED_MAX: usize = 4096;
/// Where domains come and go, threads and memory are shared out as if there were so many.
pub const DOMAINS_EXPECTED: usize = 4;
/// A bearer token is never longer: those of service accounts have about 1 KiB.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
