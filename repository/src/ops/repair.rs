//! Repairs: the index from what packs say of themselves, snapshots of which something is lost for good, and quarantines of packs
//! that are whole again.

pub mod index;
mod mend;
mod packer;
pub mod quarantine;
pub(crate) mod rewrite;
mod salvage;
pub mod snapshots;
