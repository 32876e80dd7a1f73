//! Blobs: compressed and sealed pieces of content or metadata. Ids come from [`crate::keys::DomainKeys::blob_id`].

pub mod compress;
pub mod seal;
