//! Repairs: the index from what packs say of themselves, and snapshots of which something is lost for good.

pub mod index;
mod mend;
mod packer;
pub(crate) mod rewrite;
mod salvage;
pub mod snapshots;
