//! Registration: W1, W2 and W3.

use crate::error::Context as _;
use crate::ids::{Generation, Sid};
use crate::index::objects::{Objects, Whose};
use crate::layout::ObjectKind;
use crate::limits::REGISTRATIONS_MAX;
use crate::manifest::record::{Outcome, Registration};
use crate::session::Who;
use crate::{Error, ErrorKind, Result};

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) sid: Sid,
    pub(super) generation: Generation,
    pub(super) carries: Vec<Sid>,
}

impl Registered {
    /// All sids of this work so far.
    pub(super) fn chain(&self) -> Vec<Sid> {
        self.carries.iter().copied().chain([self.sid]).collect()
    }
}

/// W1 and W3: the highest generation with an `open` record that is above `than`, else `than`. `g/` is never emptied,
/// so that the second reading needs only what is new.
pub(crate) async fn newest_generation(objects: &Objects, than: Option<Generation>) -> Result<Generation> {
    let after = than.map(|g| objects.layout.gc(g, "open"));
    let keys = objects.list(&objects.layout.folder(ObjectKind::Gc), after.as_ref()).await?;
    let opened = keys.iter().filter_map(|k| match objects.layout.parse_gc(k) {
        Some((generation, "open")) => Some(generation),
        _ => None,
    });
    Ok(opened.max().into_iter().chain(than).max().unwrap_or_default())
}

/// W1 to W3: registers in the newest generation, again until it stays the newest. `before` is what the new registration
/// carries on: it stays open, and the caller closes it when it has checked all that it refers to (WR).
pub(super) async fn register(
    objects: &Objects,
    who: &Who,
    before: Option<&Registered>,
) -> Result<Registered> {
    let mut carries = before.map(Registered::chain).unwrap_or_default();
    // W1
    let mut generation = newest_generation(objects, before.map(|b| b.generation)).await?;
    for _ in 0..REGISTRATIONS_MAX {
        // W2
        let sid = put_registration(objects, who, generation, &carries).await?;
        // W3: either this reading sees a collector's new generation, or the collector's listing (G3) sees the
        // registration. Without the second reading both could miss each other.
        let now = match newest_generation(objects, Some(generation)).await {
            Ok(now) => now,
            Err(e) => {
                // Nobody would ever close it but a collector that takes it for dead.
                let _ = abort(objects, generation, sid, "registration failed").await;
                return Err(e);
            }
        };
        if now == generation {
            return Ok(Registered { sid, generation, carries });
        }
        abort(objects, generation, sid, "the generation moved").await?;
        carries.push(sid);
        generation = now;
    }
    Err(Error::new(ErrorKind::Store, "register a session: the generation moves at every try"))
}

/// W2: a new random sid for each registration, never one that was used before.
async fn put_registration(
    objects: &Objects,
    who: &Who,
    generation: Generation,
    carries: &[Sid],
) -> Result<Sid> {
    let registration = Registration {
        generation,
        kind: who.kind,
        node: who.node.clone(),
        volume: who.volume.clone(),
        carries: carries.to_vec(),
        started: objects.env.now(),
        snapshot: who.snapshot,
    };
    let plain = registration.encode();
    for _ in 0..REGISTRATIONS_MAX {
        let sid = Sid::new(&objects.env);
        let key = objects.layout.registration(generation, sid);
        let sealed = objects.seal(ObjectKind::Registration, &key, &plain);
        if objects.put_own(&key, &sealed).await? == Whose::Ours {
            return Ok(sid);
        }
    }
    Err(Error::new(ErrorKind::Internal, "register a session: random names repeat"))
}

/// Ends a session without a snapshot; one that has ended already stays as it is: false.
pub(crate) async fn abort(objects: &Objects, generation: Generation, sid: Sid, reason: &str) -> Result<bool> {
    let key = objects.layout.outcome(generation, sid);
    let outcome = Outcome::Aborted { nonce: objects.env.random(), reason: reason.to_owned() };
    let sealed = objects.seal(ObjectKind::Outcome, &key, &outcome.encode());
    let put = objects.put_own(&key, &sealed).await;
    put.map(|whose| whose == Whose::Ours).context(ErrorKind::Store, || format!("close session {sid}"))
}
