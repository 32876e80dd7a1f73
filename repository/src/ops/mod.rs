//! The operations that people and servers ask for. They wire the stages below and contain no byte work of their own.

pub mod audit;
pub mod backup;
pub mod browse;
pub mod copy;
pub mod domains;
pub mod forget;
pub mod gc;
pub mod index;
pub mod init;
pub(crate) mod kept;
pub mod keys;
pub mod lock;
pub mod mirror;
pub mod noted;
pub mod pins;
pub mod policy;
pub mod proofs;
pub mod quarantine;
pub(crate) mod reader;
pub mod repair;
pub mod repo;
pub mod report;
pub mod restore;
pub mod restore_test;
pub mod scrub;
pub mod snapshots;
pub mod stats;
pub mod verify;

pub use repo::{OpenOptions, Repository, Sharing};
pub use report::{Problem, Problems, Task};

#[cfg(test)]
mod tests;
