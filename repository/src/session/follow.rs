//! WR: a long session follows the generation, so that it never holds a collector up and never loses its work.
//!
//! 1. Register anew in the newest generation, naming the old sids as carried on, and confirm (W3).
//! 2. Respect what any generation since the session's beginning has condemned, not only the newest: what a pack's
//!    existence is known by may be as old as the session, and its references certainly are.
//! 3. Close the old sid last. Packs of a sid belong to whoever carries it on, so that nobody condemns them meanwhile.
//!
//! The references so far are not touched here. Whoever commits asks for all of them again (`ops::backup::passes`), and
//! chooses anew what may not be referred to any more.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{Current, Session, forbidden, register};
use crate::Result;
use crate::ids::{Generation, PackId, Sid};
use crate::session::register::Registered;

impl Session {
    /// Where its outcome goes.
    pub(super) fn name(&self) -> (Generation, Sid) {
        let current = self.current();
        (current.registered.generation, current.registered.sid)
    }

    /// True if the pack was begun by this session, under whichever of its sids.
    pub(super) fn is_own(&self, pack: PackId) -> bool {
        let current = self.current();
        current.registered.sid == pack.sid || current.registered.carries.contains(&pack.sid)
    }

    /// WR: looks whether the generation has moved, and if so goes on in the newest one. True if it did. Costs one request
    /// where it has not. After an error the session is what it was.
    pub async fn follow(&self) -> Result<bool> {
        let _one_at_a_time = self.following.lock().await;
        let base = self.generation();
        if register::newest_generation(&self.objects, Some(base)).await? == base {
            return Ok(false);
        }
        self.rebase().await.map(|()| true)
    }

    /// WR after a refused commit: goes on under another sid, whatever the generation. All that was stored is kept, as far
    /// as it is not condemned.
    pub async fn renew(&self) -> Result<()> {
        let _one_at_a_time = self.following.lock().await;
        self.rebase().await
    }

    async fn rebase(&self) -> Result<()> {
        let old = self.current().registered.clone();
        let registered = register::register(&self.objects, &self.who, Some(&old)).await?;
        let (generation, sid) = (registered.generation, registered.sid);
        if let Err(e) = self.go_on(&old, registered).await {
            let _ = register::abort(&self.objects, generation, sid, "registration failed").await;
            return Err(e);
        }
        tracing::info!(%sid, %generation, before = %old.sid, "the session goes on in another generation");
        let reason = format!("carried on by {sid}");
        register::abort(&self.objects, old.generation, old.sid, &reason).await.map(drop)
    }

    /// Loads what the new registration has to respect, all of it after W3, and takes it on.
    async fn go_on(&self, old: &Registered, registered: Registered) -> Result<()> {
        let (mut forbidden, relocations) =
            forbidden::load(&self.objects, registered.generation, self.who.kind).await?;
        for generation in old.generation.0 + 1..registered.generation.0 {
            let open = forbidden::get_open(&self.objects, Generation(generation)).await?;
            forbidden.condemn(open.condemned);
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        forbidden.carry_on(std::mem::take(&mut current.forbidden));
        *current = Current { registered, forbidden, relocations: relocations.into() };
        // Before the lock is released: nobody may end the new sid as if it were the old one, which has ended.
        self.ended.store(false, Ordering::SeqCst);
        Ok(())
    }
}
