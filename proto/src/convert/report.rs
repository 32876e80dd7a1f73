//! Figures, problems and failures.

use repository::ErrorKind;
use repository::monitor::Figures;
use repository::ops::{Problem, Problems};

use super::check::cut;
use crate::job::Failure;
use crate::v1;

/// Paths and words of kept problems on the wire, all together: far below the bound of a message.
const PROBLEMS_BYTES_MAX: usize = 1 << 20;

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// All counters.
        #[must_use]
        pub fn figures_to_wire(f: &Figures) -> v1::Figures {
            let Figures { $($name),* } = *f;
            v1::Figures { $($name),* }
        }

        /// All counters.
        #[must_use]
        pub fn figures_from_wire(f: Option<&v1::Figures>) -> Figures {
            let Some(f) = f else { return Figures::default() };
            Figures { $($name: f.$name),* }
        }
    };
}

repository::for_counters!(figures);

/// As many as fit are sent in full; the count is always right.
#[must_use]
pub fn problems_to_wire(p: &Problems) -> v1::Problems {
    let mut room = PROBLEMS_BYTES_MAX;
    let fits = |problem: &&Problem| {
        let cost = problem.path.len() + problem.what.len() + 16;
        let fits = cost <= room;
        room = room.saturating_sub(cost);
        fits
    };
    let kept = p.kept().iter().take_while(fits);
    let kept = kept.map(|p| v1::Problem { path: p.path.clone().into(), what: p.what.clone() }).collect();
    v1::Problems { count: p.count(), kept }
}

/// The reverse.
#[must_use]
pub fn problems_from_wire(p: Option<v1::Problems>) -> Problems {
    let p = p.unwrap_or_default();
    let kept = p.kept.into_iter().map(|p| Problem { path: p.path.to_vec(), what: cut(p.what) });
    Problems::from_parts(kept, p.count)
}

/// The kind and the words.
#[must_use]
pub fn failure_to_wire(f: &Failure) -> v1::Failure {
    v1::Failure { kind: kind_to_wire(f.kind).into(), what: f.what.clone() }
}

/// A kind from a newer peer that we don't know is `Internal`.
#[must_use]
pub fn failure_from_wire(f: v1::Failure) -> Failure {
    Failure { kind: kind_from_wire(f.kind()), what: cut(f.what) }
}

fn kind_to_wire(kind: ErrorKind) -> v1::ErrorKind {
    match kind {
        ErrorKind::Input => v1::ErrorKind::Input,
        ErrorKind::NotFound => v1::ErrorKind::NotFound,
        ErrorKind::Key => v1::ErrorKind::Key,
        ErrorKind::Store => v1::ErrorKind::Store,
        ErrorKind::Damaged => v1::ErrorKind::Damaged,
        ErrorKind::Source => v1::ErrorKind::Source,
        ErrorKind::Target => v1::ErrorKind::Target,
        ErrorKind::Fenced => v1::ErrorKind::Fenced,
        ErrorKind::Cancelled => v1::ErrorKind::Cancelled,
        ErrorKind::Refused => v1::ErrorKind::Refused,
        ErrorKind::Internal => v1::ErrorKind::Internal,
    }
}

fn kind_from_wire(kind: v1::ErrorKind) -> ErrorKind {
    match kind {
        v1::ErrorKind::Input => ErrorKind::Input,
        v1::ErrorKind::NotFound => ErrorKind::NotFound,
        v1::ErrorKind::Key => ErrorKind::Key,
        v1::ErrorKind::Store => ErrorKind::Store,
        v1::ErrorKind::Damaged => ErrorKind::Damaged,
        v1::ErrorKind::Source => ErrorKind::Source,
        v1::ErrorKind::Target => ErrorKind::Target,
        v1::ErrorKind::Fenced => ErrorKind::Fenced,
        v1::ErrorKind::Cancelled => ErrorKind::Cancelled,
        v1::ErrorKind::Refused => ErrorKind::Refused,
        v1::ErrorKind::Internal | v1::ErrorKind::Unspecified => ErrorKind::Internal,
    }
}
