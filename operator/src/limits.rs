//! Every bound of the operator, beside its reason.

/// Objects in one page of a list: bounds what a list of a large cluster takes at once.
pub const PAGE_OBJECTS_MAX: u32 = 500;
/// A watch is ended and begun again after this: one whose connection died silently is not believed for longer.
pub const WATCH_SECONDS: u32 = 240;
/// Longest identity of a volume, bytes: it is in every manifest, message and object. What is longer is cut, with a hash of all of it.
pub const VOLUME_ID_BYTES_MAX: usize = 1024;
/// Changes of the cluster are put together for this long before they are acted on: pods come in crowds.
pub const SETTLE_MILLIS: u64 = 250;
/// Everything is looked at again after this, whether something was heard or not: what was missed is made up for.
pub const LOOK_SECONDS: u64 = 15;
/// Requests that change something (status, events, objects) at once; more wait. A fleet's statuses don't flood the API server.
pub const WRITES_AT_ONCE_MAX: usize = 8;
/// Writes in one round; the rest follow in the next one.
pub const WRITES_A_ROUND_MAX: usize = 500;
/// A request to the API server that takes longer is given up, and made again in a later round.
pub const REQUEST_SECONDS: u64 = 30;
/// A Secret is read again after this: a changed key or credential counts at last then.
pub const SECRET_SECONDS: i64 = 60;
/// What was found out about a token is believed this long; a pod that is gone can't use its token for longer.
pub const TOKEN_SECONDS: i64 = 60;
/// Tokens that are remembered: two for each node of a large cluster.
pub const TOKENS_MAX: usize = 4096;
/// Token reviews at once: everybody can send a token.
pub const REVIEWS_AT_ONCE_MAX: usize = 16;
/// Longest token; those of Kubernetes have about 1,500 bytes.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
/// How long a Lease holds without being renewed.
pub const LEASE_SECONDS: u64 = 15;
/// A holder that could not renew for this long ends: before anybody else may take the Lease.
pub const LEASE_RENEW_SECONDS: u64 = 10;
/// How often the Lease is renewed, or looked at.
pub const LEASE_LOOK_SECONDS: u64 = 2;
/// The server's certificate is valid this long.
pub const CERTIFICATE_DAYS: i64 = 365;
/// It is made anew when it is valid for less than this.
pub const CERTIFICATE_RENEW_DAYS: i64 = 120;
/// The CA is valid this long.
pub const CA_DAYS: i64 = 3650;
/// An object of the cluster that is kept in a snapshot is never larger; without its details if it is.
pub const ORIGIN_OBJECT_BYTES_MAX: usize = 64 << 10;
/// Claims that a policy's status names.
pub const UNCOVERED_SHOWN_MAX: usize = 20;
/// Volumes that one Backup may run: its status names each, and an object has to stay well below the API server's 1.5 MB.
pub const BACKUP_VOLUMES_MAX: usize = 1000;
/// Claims that metrics name: more would be a burden to whoever collects them.
pub const CLAIMS_LABELLED_MAX: usize = 1000;
/// Objects of Snapshots made or removed in one round, of all repositories together.
pub const MIRROR_A_ROUND_MAX: usize = 200;
/// A Restore whose mover can not begin within this has failed.
pub const MOVER_WAIT_SECONDS: i64 = 900;
/// How often nodes show that they are there.
pub const PULSE_SECONDS: u32 = 10;
/// A store that does not answer within this is looked at again later: others don't wait for it in any case.
pub const OPEN_SECONDS: u64 = 60;
/// A Backup waits this long for an agent that can take it, and for a run that a former coordinator began.
pub const BACKUP_WAIT_SECONDS: i64 = 600;
/// Tries to write certificate and CA while others do the same.
pub const TLS_TRIES_MAX: u32 = 5;
/// How often the certificate is looked at.
pub const TLS_LOOK_SECONDS: u64 = 6 * 3600;
/// Connections to a coordinator that stands by; each learns where the leader is, and goes.
pub const STANDBY_CONNECTIONS_MAX: usize = 1024;
