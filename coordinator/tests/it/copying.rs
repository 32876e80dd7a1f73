//! Copies, mirrors, locks, keys and figures of a repository that is not there.

use std::collections::HashSet;

use async_trait::async_trait;
use coordinator::engine::{Copying, Keyring, Measuring};
use coordinator::maintenance::Destination;
use repository::env::Timestamp;
use repository::ids::Sid;
use repository::keys::stored::Changed;
use repository::keys::{Access, PublicKey, Role};
use repository::monitor::Figures;
use repository::ops::Task;
use repository::ops::copy::{CopiedSnapshot, CopyReport, CopyRequest, Fate};
use repository::ops::forget::Because;
use repository::ops::keys::KeyList;
use repository::ops::lock::{LockReport, LockRequest};
use repository::ops::mirror::{MirrorReport, MirrorRequest};
use repository::ops::snapshots::Snapshot;
use repository::ops::stats::{Between, Detail, Freed};
use repository::{Error, ErrorKind, Result};

use crate::fakes::FakeEngine;

#[async_trait]
impl Copying for FakeEngine {
    async fn copy(
        &self,
        to: &Destination,
        request: &CopyRequest,
        because: &Because,
        task: &Task,
    ) -> Result<CopyReport> {
        self.note(format!("copy {} {:?} {:?}", to.name, request.volume, request.newest), because);
        if to.name == "stuck" {
            // A store that never answers.
            std::future::pending::<()>().await;
        }
        task.monitor.bytes_stored.add(7);
        let copied = CopiedSnapshot {
            source: Sid([1; 16]),
            volume: "v".into(),
            started: Timestamp(1),
            fate: Fate::Copied { id: Sid([2; 16]), lost: Default::default() },
            figures: Figures { bytes_stored: 7, ..Figures::default() },
        };
        Ok(CopyReport { snapshots: vec![copied], damaged: Vec::new() })
    }

    async fn mirror(
        &self,
        to: &Destination,
        request: &MirrorRequest,
        because: &Because,
        _: &Task,
    ) -> Result<MirrorReport> {
        self.note(format!("mirror {} {} {}", to.name, request.delete, request.delete_share_max), because);
        let mut report = MirrorReport { objects: 4, copied: 3, ..MirrorReport::default() };
        report.different.push(b"default/p/x", "has 1 bytes in the mirror, 2 in the source");
        Ok(report)
    }

    async fn lock(&self, request: LockRequest, because: &Because, _: &Task) -> Result<LockReport> {
        self.note(format!("lock {} {}", request.seconds, request.dry_run), because);
        Ok(LockReport { objects: 5, due: 2, extended: 2, ..LockReport::default() })
    }
}

fn refused<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Key, "the credential in use has the role writer; this needs the role full"))
}

/// One that a writer's credential opened: it may change nothing.
#[async_trait]
impl Keyring for FakeEngine {
    async fn list_keys(&self) -> Result<KeyList> {
        refused()
    }

    async fn add_key(&self, _: PublicKey, _: Role, _: &str, _: &Because) -> Result<(Access, Changed)> {
        refused()
    }

    async fn remove_key(&self, _: &str, _: &Because) -> Result<(Access, Changed)> {
        refused()
    }

    async fn rotate_keys(&self, because: &Because) -> Result<Changed> {
        self.note("rotate", because);
        Ok(Changed { version: 3, epoch: 2, leftovers: 0 })
    }
}

/// Notes its end when it is dropped.
struct Dropped<'a>(&'a FakeEngine);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.note("counting was dropped", &Because { by: String::new(), why: String::new() });
    }
}

/// Counts for ever.
#[async_trait]
impl Measuring for FakeEngine {
    async fn detail(&self, _: &Task) -> Result<Detail> {
        self.note("counting", &Because { by: String::new(), why: String::new() });
        let _told = Dropped(self);
        std::future::pending().await
    }

    async fn between(&self, _: (&Snapshot, &Snapshot), _: usize, _: &Task) -> Result<Between> {
        Ok(Between::default())
    }

    async fn would_free(&self, _: &HashSet<Sid>, _: &Task) -> Result<Freed> {
        Ok(Freed::default())
    }
}
