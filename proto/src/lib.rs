//! The wire: generated types and services of `holdfast.v1`, and the one place where they meet our own values.
//!
//! Knows only `repository`'s plain values; contains no logic of agents or coordinators.

pub mod convert;
pub mod frame;
pub mod job;
mod name;
pub mod task;

/// Generated from `proto/holdfast/v1/*.proto`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("holdfast.v1");
}

/// The encoded descriptors of all files, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The header of a call, or of an agent's stream, that says which domain it is about. Without it, the only one.
pub const DOMAIN_KEY: &str = "holdfast-domain";

/// The metadata of a standby's refusal that says where the leader is: `host:port`.
pub const LEADER_KEY: &str = "holdfast-leader";

/// No message is larger, in either direction.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Ids in one `Lookup` call, at most.
pub const LOOKUP_IDS_MAX: usize = 4096;
