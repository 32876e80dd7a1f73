//! The embedded database: queue and log of runs and maintenance, known agents and volumes. A cache; deleting the file while the
//! coordinator is stopped loses queued jobs and the log of past runs, nothing else.
//!
//! One thread owns the connection; everything else sends it closures, so that a read-modify-write is never interleaved.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::limits::DB_QUEUE;

pub(crate) mod agents;
pub(crate) mod jobs;
mod rows;
pub(crate) mod tasks;

/// One entry a version; never edited, only added to.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY, host TEXT NOT NULL, path BLOB NOT NULL, agent TEXT, first_seen INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE agents (
        id TEXT PRIMARY KEY, host TEXT NOT NULL, version TEXT NOT NULL, seen INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE jobs (
        id BLOB PRIMARY KEY, volume TEXT, spec BLOB NOT NULL, state TEXT NOT NULL, wanted_agent TEXT, agent TEXT,
        attempts INTEGER NOT NULL, cancel_requested INTEGER NOT NULL, queued INTEGER NOT NULL, offered INTEGER,
        started INTEGER, finished INTEGER, not_before INTEGER NOT NULL, result BLOB
    ) STRICT;
    CREATE INDEX jobs_state ON jobs (state);
    CREATE INDEX jobs_queued ON jobs (queued);
    CREATE INDEX jobs_volume ON jobs (volume, queued);
", "
    ALTER TABLE jobs ADD COLUMN given_to TEXT NOT NULL DEFAULT '';
    UPDATE jobs SET given_to = agent WHERE agent IS NOT NULL;
", "
    CREATE TABLE tasks (
        id BLOB PRIMARY KEY, kind TEXT NOT NULL, spec BLOB NOT NULL, state TEXT NOT NULL, asked_by TEXT NOT NULL,
        reason TEXT NOT NULL, attempts INTEGER NOT NULL, cancel_requested INTEGER NOT NULL, queued INTEGER NOT NULL,
        started INTEGER, finished INTEGER, result BLOB, told INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX tasks_kind ON tasks (kind, finished);
    CREATE INDEX tasks_queued ON tasks (queued);
    CREATE TABLE schedules (kind TEXT PRIMARY KEY, begun INTEGER NOT NULL) STRICT;
"];

type Call = Box<dyn FnOnce(&mut Connection) + Send>;

/// The database. Dropping it ends its thread after the calls before.
#[derive(Debug)]
pub(crate) struct Db {
    calls: Option<SyncSender<Call>>,
    thread: Option<JoinHandle<()>>,
}

impl Db {
    /// Opens or creates the file and brings its tables up to date.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let what = || format!("open database {} (it is a cache, and may be deleted)", path.display());
        let mut connection = Connection::open(path).context(ErrorKind::Internal, what)?;
        migrate(&mut connection).context(ErrorKind::Internal, what)?;
        let (calls, waiting) = sync_channel::<Call>(DB_QUEUE);
        let work = move || {
            for call in waiting {
                call(&mut connection);
            }
        };
        let thread = std::thread::Builder::new().name("database".to_owned()).spawn(work);
        let thread = thread.context(ErrorKind::Internal, what)?;
        Ok(Self { calls: Some(calls), thread: Some(thread) })
    }

    /// Runs `work` in one transaction on the database thread.
    pub(crate) async fn call<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let gone = || Error::new(ErrorKind::Internal, format!("{what}: the database thread has ended"));
        let (reply, answer) = oneshot::channel();
        let call: Call = Box::new(move |connection| {
            let all = || {
                let transaction = connection.transaction()?;
                let out = work(&transaction)?;
                transaction.commit()?;
                Ok(out)
            };
            // Nobody waits for the answer when the call was given up.
            let _given_up = reply.send(all());
        });
        let calls = self.calls.clone().ok_or_else(gone)?;
        // The queue is bounded; when it is full a blocking thread waits, not the runtime.
        if let Err(std::sync::mpsc::TrySendError::Full(call)) = calls.try_send(call) {
            let sent = tokio::task::spawn_blocking(move || calls.send(call).is_ok()).await;
            if !matches!(sent, Ok(true)) {
                return Err(gone());
            }
        }
        let answer: rusqlite::Result<T> = answer.await.map_err(|_| gone())?;
        answer.context(ErrorKind::Internal, || format!("database: {what}"))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        drop(self.calls.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was already reported by it.
            let _panicked = thread.join();
        }
    }
}

fn migrate(connection: &mut Connection) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction()?;
    let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = usize::try_from(version)?;
    if version > MIGRATIONS.len() {
        return Err(format!("made by a newer version (schema {version}, known: {})", MIGRATIONS.len()).into());
    }
    for step in &MIGRATIONS[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(MIGRATIONS.len())?)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
