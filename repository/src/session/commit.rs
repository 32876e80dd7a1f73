//! W7: the one object that makes a snapshot, and the other ways for a session to end.

use std::sync::atomic::Ordering;

use super::{Session, forbidden, register};
use crate::error::Context as _;
use crate::index::objects::Whose;
use crate::layout::ObjectKind;
use crate::manifest::Manifest;
use crate::manifest::record::Outcome;
use crate::{Error, ErrorKind, Result};

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The snapshot exists.
    Committed,
    /// It does not, and can't any more under this sid: a collector went on without this session, which may go on under
    /// another one: [`Session::renew`].
    Fenced(String),
}

impl Commit {
    /// The second as an error.
    pub fn or_error(self) -> Result<()> {
        match self {
            Self::Committed => Ok(()),
            Self::Fenced(reason) => {
                Err(Error::new(ErrorKind::Fenced, format!("the session was fenced: {reason}")))
            }
        }
    }
}

impl Session {
    /// W7: commits the snapshot. All packs that it needs have been put. An error leaves it unknown whether the snapshot
    /// exists: the store could not be asked.
    pub async fn commit(&self, manifest: Manifest) -> Result<Commit> {
        self.end_once()?;
        let (generation, sid) = self.name();
        let key = self.objects.layout.outcome(generation, sid);
        // The nonce lives here only: a process that starts again is another session and must not take this outcome,
        // should it exist, for its own.
        let nonce = self.objects.env.random();
        let outcome = Outcome::Committed { nonce, manifest: Box::new(manifest) };
        let sealed = self.objects.seal(ObjectKind::Outcome, &key, &outcome.encode());
        if let Whose::Others(found) = self.objects.put_own(&key, &sealed).await? {
            let plain = self.objects.unseal_fresh(ObjectKind::Outcome, &key, &found).await?;
            return match Outcome::decode(&plain).context(ErrorKind::Damaged, || format!("read {key}"))? {
                Outcome::Aborted { reason, .. } => Ok(Commit::Fenced(reason)),
                Outcome::Committed { .. } => {
                    Err(Error::new(ErrorKind::Internal, format!("{key} was committed by somebody else")))
                }
            };
        }
        // A collector that deleted the ABORTED with which it had fenced this session made room for our outcome: but
        // not before its `done` said that nothing of this generation counts but what it names.
        let done = forbidden::find_done_that_freezes(&self.objects, generation).await?;
        match done {
            Some(done) if done.is_void(generation, sid) => {
                Ok(Commit::Fenced(format!("generation {generation} is frozen")))
            }
            _ => Ok(Commit::Committed),
        }
    }

    /// Ends a writer without a snapshot, or a reader: a session that is closed holds no collector up.
    pub async fn abort(&self, reason: &str) -> Result<()> {
        self.end_once()?;
        let (generation, sid) = self.name();
        register::abort(&self.objects, generation, sid, reason).await.map(drop)
    }

    /// Ends a reader.
    pub async fn close(&self) -> Result<()> {
        self.abort("done reading").await
    }

    fn end_once(&self) -> Result<()> {
        if self.ended.swap(true, Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Internal, format!("session {} has ended already", self.sid())));
        }
        Ok(())
    }
}
