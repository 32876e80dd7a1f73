//! The error of the upper layers: a kind named by what the caller can do, what was being done, and the cause.

use std::error::Error as StdError;
use std::fmt;

/// What a caller can do about an error; the CLI's exit codes follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request makes no sense: bad flag, bad path, ambiguous name.
    Input,
    /// The thing asked for does not exist.
    NotFound,
    /// No key opens this repository, or the key material is bad.
    Key,
    /// The store failed, refused, or is unfit.
    Store,
    /// Stored bytes are not what was written.
    Damaged,
    /// The volume could not be read.
    Source,
    /// The target could not be written.
    Target,
    /// The session was fenced by a garbage collector: start again, what was uploaded is found.
    Fenced,
    /// Somebody asked to stop.
    Cancelled,
    /// A refusal by design (would overwrite, would escape, not configured).
    Refused,
    /// A bug: an own invariant does not hold.
    Internal,
}

/// The error of the upper layers. `Display` says this layer's part; `source()` has the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a deeper cause.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// An error with its cause.
    pub fn with_source(
        kind: ErrorKind,
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, what: what.into(), source: Some(source.into()) }
    }

    /// The same error one layer up: `what` is put in front, the kind stays.
    #[must_use]
    pub fn context(self, what: impl Into<String>) -> Self {
        Self { kind: self.kind, what: what.into(), source: Some(Box::new(self)) }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The whole chain on one line: `backup db-0: put default/p/ab/...: timed out`.
    #[must_use]
    pub fn chain(&self) -> String {
        one_line(self)
    }
}

/// An error and its causes on one line. A layer that the next one begins with, or that the line has said already, is
/// left out: many libraries print their causes themselves.
#[must_use]
pub fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(layer) = next {
        next = layer.source();
        let text = layer.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if said.iter().any(|earlier| earlier.contains(&text)) {
            continue;
        }
        let again = said.last().is_some_and(|last| text.strip_prefix(last.as_str()).is_some_and(ends_word));
        if again {
            said.pop();
        }
        said.push(text);
    }
    said.join(": ")
}

/// Whether what follows does not go on with the same word.
fn ends_word(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_alphanumeric() || c == '/' || c == '-')
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as &(dyn StdError + 'static))
    }
}

/// Adds what was being done to any lower error.
pub trait Context<T> {
    /// Makes it an [`Error`] of this kind.
    fn context(self, kind: ErrorKind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, kind: ErrorKind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::with_source(kind, what(), e))
    }
}

#[cfg(test)]
mod tests;
