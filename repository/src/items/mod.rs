//! The item stream: all entries of a volume's tree, in order, cut into leaves that a tree of branches lists.
//!
//! Leaves and branches hold ids only; a [`usage::Usage`] beside each says where the blobs lie. The same entries
//! make the same leaves and branches, whatever the parent was: an unchanged tree has the same root.

pub mod branch;
pub mod cut;
pub mod entry;
pub mod leaf;
pub mod range;
pub mod reader;
pub mod segment;
pub mod select;
pub mod usage;
pub mod writer;

pub use reader::{BlobFetch, TreeReader};
pub use usage::{NodeRef, Usage};
pub use writer::{MetaSink, Tree, TreeWriter};

#[cfg(test)]
mod sample;
