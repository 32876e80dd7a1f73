//! One backup, from registration to outcome.

use std::sync::Arc;
use std::time::Duration;

use super::blobs::{BlobWriter, Table};
use super::packing::Packing;
use super::parent::Parent;
use super::parent_reader::ParentReader;
use super::passes::Passes;
use super::reuse::Trusted;
use super::{BackupReport, BackupRequest};
use crate::ids::Sid;
use crate::index::Lookup;
use crate::limits;
use crate::manifest::summary;
use crate::ops::kept::Kept;
use crate::ops::reader::is_damage;
use crate::ops::{Repository, Task};
use crate::session::{Session, Who};
use crate::{Error, ErrorKind, Result};

/// Registers, backs up, and commits; on failure the session is closed, so that no collector waits for it.
pub(super) async fn run(
    repo: &Arc<Repository>,
    request: &BackupRequest,
    lookup: &Arc<dyn Lookup>,
    task: &Task,
) -> Result<BackupReport> {
    let who = Who::writer(&request.host, &request.volume);
    let session = Arc::new(in_time(Session::open(repo.objects(), &who), task).await?);
    let table = Arc::new(Table::new());
    let slots = request.memory_bytes_max * 3 / 8 / limits::PACK_BODY_BYTES;
    let packing = Packing::new(repo, &session, &table, &task.monitor, (request.zstd_level, slots));
    let done = in_time(run_session(repo, request, lookup, &packing, task), task).await;
    if let Err(e) = &done {
        // The error that counts is the first one; an open session is merely fenced later.
        let closing = async {
            packing.give_up().await;
            let _ = session.abort(&e.chain()).await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(limits::STOP_SECONDS), closing).await;
    }
    done
}

/// The work; or, when somebody asked to stop and it did not end by itself soon, no more waiting: a store may hang.
async fn in_time<T>(work: impl Future<Output = Result<T>>, task: &Task) -> Result<T> {
    let late = async {
        task.cancel.cancelled().await;
        tokio::time::sleep(Duration::from_secs(limits::STOP_SECONDS)).await;
    };
    tokio::select! {
        done = work => done,
        () = late => Err(Error::new(ErrorKind::Cancelled, "cancelled")),
    }
}

async fn run_session(
    repo: &Arc<Repository>,
    request: &BackupRequest,
    lookup: &Arc<dyn Lookup>,
    packing: &Arc<Packing>,
    task: &Task,
) -> Result<BackupReport> {
    let started = repo.env.now();
    let (session, table) = (packing.session(), packing.table());
    let (found, trusted) = find_parent(repo, request, session, task).await?;
    let (parent_id, parent) = found.map_or((None, None), |(id, parent)| (Some(id), Some(parent)));
    let writer = Arc::new(BlobWriter {
        repo: Arc::clone(repo),
        session: Arc::clone(session),
        table: Arc::clone(table),
        packing: Arc::clone(packing),
        lookup: Arc::clone(lookup),
        monitor: Arc::clone(&task.monitor),
        zstd_level: request.zstd_level,
        kept: Kept::of(repo),
        trusted,
    });
    Passes { repo, request, writer, started, parent_id, task }.run(parent).await
}

/// W4: the parent, its outcome and the absence of its forget marker come from the store.
async fn find_parent(
    repo: &Arc<Repository>,
    request: &BackupRequest,
    session: &Arc<Session>,
    task: &Task,
) -> Result<(Option<(Sid, Parent)>, Trusted)> {
    let found = session.find_parent(&request.volume, repo.cache_dir.as_deref()).await?;
    let Some((id, manifest)) = found else {
        return Ok((None, Trusted::load(repo, request.reuse, &[], session).await?));
    };
    let uses = match summary::load(&manifest.summary, &*ParentReader::new(repo, session, task)).await {
        Ok(uses) => uses,
        // What it needs is not known: everything is read again.
        Err(e) if is_damage(&e) => {
            tracing::warn!(error = %e.chain(), "the parent is not readable; all files are read again");
            return Ok((None, Trusted::load(repo, request.reuse, &[], session).await?));
        }
        Err(e) => return Err(e),
    };
    let trusted = Trusted::load(repo, request.reuse, &uses, session).await?;
    Ok((Some((id, Parent::check(&manifest, &uses, session).await?)), trusted))
}
