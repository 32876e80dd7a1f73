//! Exit codes, and the one line that a failure prints: the whole chain, and a hint what to do.

use repository::ErrorKind;
use repository::store::{StoreError, StoreErrorKind};
use service::config::Invalid;

/// What the process tells its caller. The numbers are documented and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// The command line or the configuration makes no sense.
    Usage = 2,
    /// Done, but some entries could not be read, restored or set.
    Partial = 3,
    /// No key, or the wrong one.
    Key = 4,
    /// The store failed, refused, or is unfit.
    Store = 5,
    /// Stopped by a signal.
    Stopped = 130,
}

/// A command line that clap accepts and that makes no sense all the same.
#[derive(Clone, Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A usage error as the error of a command.
pub fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

impl Exit {
    /// The exit code for this kind of error.
    #[must_use]
    pub fn of_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Input => Self::Usage,
            ErrorKind::Key => Self::Key,
            ErrorKind::Store => Self::Store,
            ErrorKind::Cancelled => Self::Stopped,
            ErrorKind::NotFound
            | ErrorKind::Damaged
            | ErrorKind::Source
            | ErrorKind::Target
            | ErrorKind::Fenced
            | ErrorKind::Refused
            | ErrorKind::Internal => Self::Failed,
        }
    }

    /// The exit code for an error: that of the outermost layer that knows.
    #[must_use]
    pub fn of_error(error: &anyhow::Error) -> Self {
        error.chain().find_map(of_layer).unwrap_or(Self::Failed)
    }

    /// The worse of two, for a command that did several things.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Done => 0,
            Self::Partial => 1,
            Self::Failed => 2,
            Self::Usage => 3,
            Self::Key => 4,
            Self::Store => 5,
            Self::Stopped => 6,
        };
        if rank(self) >= rank(other) { self } else { other }
    }
}

fn of_layer(layer: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(e) = layer.downcast_ref::<repository::Error>() {
        return Some(Exit::of_kind(e.kind()));
    }
    if layer.is::<Usage>() || layer.is::<Invalid>() {
        return Some(Exit::Usage);
    }
    layer.is::<StoreError>().then_some(Exit::Store)
}

/// True when the cause is that nobody reads our standard output any more: no failure of ours.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|layer| layer.is::<crate::output::StdoutClosed>())
}

/// What the user can do about it, where that is not plain from the error.
#[must_use]
pub fn hint(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(store) = error.chain().find_map(|l| l.downcast_ref::<StoreError>())
        && let Some(text) = store_hint(store.kind)
    {
        return Some(text);
    }
    let kinds =
        || error.chain().filter_map(|l| l.downcast_ref::<repository::Error>()).map(repository::Error::kind);
    match kinds().next()? {
        ErrorKind::Key => Some("check --passphrase-file or --key-file; nothing was changed"),
        // What is missing has been named, and how to make it.
        ErrorKind::Store if kinds().any(|kind| kind == ErrorKind::NotFound) => None,
        ErrorKind::Store => Some(
            "check the store, its credentials and the network; a backup started again uploads only what is missing",
        ),
        ErrorKind::Damaged => {
            Some("`holdfast verify` lists all that is damaged; older snapshots may hold the same files")
        }
        ErrorKind::Fenced | ErrorKind::Cancelled => {
            Some("run it again: what was uploaded is found, not uploaded twice")
        }
        ErrorKind::Target if is_full(error) => Some(
            "free or add space below TARGET, then run it again with --existing if-changed: it goes on where it stopped",
        ),
        ErrorKind::Internal => Some("this is a bug in Holdfast; please report the line above"),
        ErrorKind::Input
        | ErrorKind::NotFound
        | ErrorKind::Source
        | ErrorKind::Target
        | ErrorKind::Refused => None,
    }
}

/// True when a disk, a quota or the limit on file sizes is at the bottom of it.
fn is_full(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let kinds = error.chain().filter_map(|l| l.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kinds.into_iter().any(|kind| matches!(kind, StorageFull | QuotaExceeded | FileTooLarge))
}

fn store_hint(kind: StoreErrorKind) -> Option<&'static str> {
    match kind {
        StoreErrorKind::Denied => Some("check the store's credentials and permissions"),
        StoreErrorKind::Full => Some(
            "free or add space in the store, then run it again: what was uploaded is found, not uploaded twice",
        ),
        StoreErrorKind::Transient => {
            Some("the store did not answer well for some time; run it again: what was uploaded is found")
        }
        StoreErrorKind::NotFound | StoreErrorKind::Fatal => None,
    }
}

#[cfg(test)]
mod tests;
