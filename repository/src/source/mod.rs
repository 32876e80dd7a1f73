//! Sources: volumes while they are read.
//!
//! A [`Walk`] gives all entries of a directory tree in the order of the item stream, with bounded memory and descriptors;
//! what it [`Found`] can be opened and asked for more. All of it blocks: it runs on blocking threads and knows no
//! runtime. It never follows a symlink below the root, never leaves the root's file system, and never writes there.

mod error;
mod exclude;
mod found;
mod fresh;
mod handle;
mod names;
mod opened;
mod stat;
mod walk;
mod xattrs;

pub use error::{SourceError, SourceErrorKind, show_path};
pub use found::Found;
pub use fresh::{FreshRules, is_due, unchanged};
pub use handle::DirHandle;
pub use opened::{OpenedFile, Segment, Segments};
pub use stat::FoundKind;
pub use walk::{Step, Walk, WalkCounts, WalkSettings};
pub use xattrs::Xattrs;

/// What to leave out of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Gitignore-like patterns, in order; a later one wins, `!` takes back.
    pub exclude: Vec<String>,
    /// Leave out the content of directories marked by a valid CACHEDIR.TAG.
    pub exclude_caches: bool,
}
