//! The index: which blob lies in which pack.

use async_trait::async_trait;

use crate::Result;
use crate::ids::{BlobId, Place};

/// Answers where blobs lie: the repository's own index, or a coordinator. Answers are hints: a pack that they name
/// counts only once it was seen to exist (rule W5 of docs/protocol.md).
#[async_trait]
pub trait Lookup: Send + Sync + std::fmt::Debug {
    /// The place of each id, in order; `None` where it is not known.
    async fn find(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>>;
}
