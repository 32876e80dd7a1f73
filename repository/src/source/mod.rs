//! Sources: volumes while they are read.

/// What to leave out of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Gitignore-like patterns, in order; a later one wins, `!` takes back.
    pub exclude: Vec<String>,
    /// Leave out the content of directories marked by a valid CACHEDIR.TAG.
    pub exclude_caches: bool,
}
