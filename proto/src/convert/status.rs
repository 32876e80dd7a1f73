//! Errors to gRPC statuses and back, so that the kind, and with it the CLI's exit code, survives the way.

use repository::error::one_line;
use repository::{Error, ErrorKind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The metadata key that holds the error's kind.
pub const ERROR_KIND_KEY: &str = "holdfast-error-kind";

/// The whole chain becomes the message; nobody needs the server's log to understand it.
#[must_use]
pub fn error_to_status(e: &Error) -> Status {
    let (code, word) = words(e.kind());
    let mut status = Status::new(code, e.chain());
    status.metadata_mut().insert(ERROR_KIND_KEY, MetadataValue::from_static(word));
    status
}

/// A status without our metadata (a proxy's, or the transport's) is judged by its code.
#[must_use]
pub fn error_from_status(status: &Status) -> Error {
    let word = status.metadata().get(ERROR_KIND_KEY).and_then(|v| v.to_str().ok());
    let kind =
        word.and_then(|w| ALL.into_iter().find(|k| words(*k).1 == w)).unwrap_or_else(|| guess(status.code()));
    let message = message_and_cause(status);
    let what = match status.code() {
        // Ours say who cancelled; the transport's say that nobody is there any more.
        Code::Cancelled | Code::Unknown if word.is_none() => format!(
            "coordinator ended the connection without an answer (if it asks for certificates, ours is missing or \
             refused): {message}"
        ),
        Code::Unavailable => format!("coordinator can't be reached: {message}"),
        Code::DeadlineExceeded => format!("coordinator did not answer in time: {}", status.message()),
        Code::Unauthenticated => format!("coordinator refused the token: {}", status.message()),
        _ => status.message().to_owned(),
    };
    Error::new(kind, what)
}

/// The transport keeps the reason (a refused certificate, a closed port) in the causes.
fn message_and_cause(status: &Status) -> String {
    match std::error::Error::source(status).map(one_line) {
        Some(cause) if !status.message().contains(&cause) => format!("{}: {cause}", status.message()),
        _ => status.message().to_owned(),
    }
}

const ALL: [ErrorKind; 11] = [
    ErrorKind::Input,
    ErrorKind::NotFound,
    ErrorKind::Key,
    ErrorKind::Store,
    ErrorKind::Damaged,
    ErrorKind::Source,
    ErrorKind::Target,
    ErrorKind::Fenced,
    ErrorKind::Cancelled,
    ErrorKind::Refused,
    ErrorKind::Internal,
];

fn words(kind: ErrorKind) -> (Code, &'static str) {
    match kind {
        ErrorKind::Input => (Code::InvalidArgument, "input"),
        ErrorKind::NotFound => (Code::NotFound, "not-found"),
        ErrorKind::Key => (Code::FailedPrecondition, "key"),
        ErrorKind::Store => (Code::FailedPrecondition, "store"),
        ErrorKind::Damaged => (Code::DataLoss, "damaged"),
        ErrorKind::Source => (Code::Aborted, "source"),
        ErrorKind::Target => (Code::Aborted, "target"),
        ErrorKind::Fenced => (Code::Aborted, "fenced"),
        ErrorKind::Cancelled => (Code::Cancelled, "cancelled"),
        ErrorKind::Refused => (Code::PermissionDenied, "refused"),
        ErrorKind::Internal => (Code::Internal, "internal"),
    }
}

fn guess(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::Input,
        Code::NotFound => ErrorKind::NotFound,
        Code::DataLoss => ErrorKind::Damaged,
        Code::Internal => ErrorKind::Internal,
        _ => ErrorKind::Refused,
    }
}
