//! What copies, mirrors and locks ask of the repository.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use repository::env::Env;
use repository::manifest::audit::Event;
use repository::ops::copy::{self, CopyReport, CopyRequest, Fate};
use repository::ops::forget::Because;
use repository::ops::lock::{self, LockReport, LockRequest};
use repository::ops::mirror::{self, MirrorReport, MirrorRequest};
use repository::ops::{Repository, Sharing, Task, audit, noted};
use repository::store::{self, Bandwidth, Store, StoreOptions};
use repository::{Error, ErrorKind, Result};

use super::RepositoryEngine;
use crate::maintenance::Destination;

/// The repository, as copies and locks see it. What they did is recorded in the audit, also if they ended early.
#[async_trait]
pub trait Copying: Send + Sync + Debug {
    /// Copies snapshots to a destination that has a key.
    async fn copy(
        &self,
        to: &Destination,
        request: &CopyRequest,
        because: &Because,
        task: &Task,
    ) -> Result<CopyReport>;
    /// Mirrors the whole repository to a destination.
    async fn mirror(
        &self,
        to: &Destination,
        request: &MirrorRequest,
        because: &Because,
        task: &Task,
    ) -> Result<MirrorReport>;
    /// Extends the locks of what snapshots need.
    async fn lock(&self, request: LockRequest, because: &Because, task: &Task) -> Result<LockReport>;
}

#[async_trait]
impl Copying for RepositoryEngine {
    async fn copy(
        &self,
        to: &Destination,
        request: &CopyRequest,
        because: &Because,
        task: &Task,
    ) -> Result<CopyReport> {
        let target = open(to, &self.repo.env).await?;
        let done = copy::copy(&self.repo, &target, request, task).await;
        self.note("copied", because, &format!("to {}: {}", to.name, told(&done, copied))).await;
        done
    }

    async fn mirror(
        &self,
        to: &Destination,
        request: &MirrorRequest,
        because: &Because,
        task: &Task,
    ) -> Result<MirrorReport> {
        let target = open_store(to, true, &self.repo.env).await?;
        let done = mirror::mirror(&self.repo.store, &target, request, task).await;
        self.note("mirrored", because, &format!("to {}: {}", to.name, told(&done, mirrored))).await;
        done
    }

    async fn lock(&self, request: LockRequest, because: &Because, task: &Task) -> Result<LockReport> {
        let done = lock::extend(&self.repo, request, task).await;
        // What is not due needs no record.
        if !request.dry_run && done.as_ref().map_or(true, |r| r.due > 0) {
            let days = request.seconds / (24 * 3600);
            self.note("locked", because, &format!("for {days} days: {}", told(&done, locked))).await;
        }
        done
    }
}

impl RepositoryEngine {
    async fn note(&self, kind: &str, because: &Because, text: &str) {
        let event = Event::Other { kind: kind.to_owned(), text: text.to_owned() };
        audit::note(&self.repo, &noted::author(because), event).await;
    }
}

/// The figures of a report, or why there is none.
fn told<T>(done: &Result<T>, figures: fn(&T) -> String) -> String {
    match done {
        Ok(report) => figures(report),
        Err(e) => format!("ended early: {}", e.chain()),
    }
}

fn copied(r: &CopyReport) -> String {
    let count = |f: fn(&Fate) -> bool| r.snapshots.iter().filter(|s| f(&s.fate)).count();
    let (copied, already) =
        (count(|f| matches!(f, Fate::Copied { .. })), count(|f| matches!(f, Fate::Already { .. })));
    let failed = r.snapshots.len() - copied - already;
    format!("{copied} of {} snapshots copied, {already} were there, {failed} failed", r.snapshots.len())
}

fn mirrored(r: &MirrorReport) -> String {
    let (copied, deleted) = (r.copied, r.deleted);
    format!("{copied} of {} objects copied, {deleted} deleted, {} differ", r.objects, r.different.count())
}

fn locked(r: &LockReport) -> String {
    format!("{} of {} locks extended, {} problems", r.extended, r.due, r.problems.count())
}

/// Opens the store of a destination.
async fn open_store(to: &Destination, create: bool, env: &Env) -> Result<Arc<dyn Store>> {
    let up = to.upload_bytes_per_second_max.map(Bandwidth::new);
    let (client, own_credentials) = (to.client_settings()?, to.credentials_file.is_some());
    let options = StoreOptions { create, up, client, own_credentials, ..StoreOptions::default() };
    store::open(&to.url, &options, env).await.map_err(|e| of(to, e))
}

async fn open(to: &Destination, env: &Env) -> Result<Arc<Repository>> {
    let settings = &to.copies()?.repository;
    let store = open_store(to, false, env).await?;
    let sharing = Sharing::new(settings.cpu_threads, 1)?;
    settings.open_in(store, &sharing, env).await.map_err(|e| of(to, e))
}

/// A destination that can't be opened is no missing thing that somebody asked for.
fn of(to: &Destination, error: Error) -> Error {
    let kind = if error.kind() == ErrorKind::NotFound { ErrorKind::Store } else { error.kind() };
    Error::with_source(kind, format!("open destination {:?}", to.name), error)
}
