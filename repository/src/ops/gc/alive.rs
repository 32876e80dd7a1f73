//! Who is known to live, whatever its registration's age: somebody else (a coordinator) hears from it.

use std::fmt;
use std::sync::Arc;

use crate::manifest::record::Registration;

type Knows = Arc<dyn Fn(&Registration) -> bool + Send + Sync>;

/// Tells of a session whether it is known to live. For liveness only: GC waits for such a writer instead of fencing it,
/// and leaves such a reader its hold.
#[derive(Clone, Default)]
pub struct Alive(Option<Knows>);

impl Alive {
    /// Nothing is known of anybody: only age counts.
    #[must_use]
    pub const fn unknown() -> Self {
        Self(None)
    }

    /// As `knows` says; it is asked again for each session and each time.
    pub fn when(knows: impl Fn(&Registration) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(knows)))
    }

    /// True for a session that is known to live.
    #[must_use]
    pub fn knows(&self, session: &Registration) -> bool {
        self.0.as_ref().is_some_and(|knows| knows(session))
    }
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Alive(known)" } else { "Alive(unknown)" })
    }
}
