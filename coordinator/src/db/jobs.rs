//! The queue, and the log of runs.

use proto::convert::{decode_result, decode_spec, encode_result, encode_spec};
use proto::job::{Job, JobId};
use repository::Result;
use repository::env::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::Db;
use super::rows::{self, Work};
use crate::jobs::{Event, Record, State};
use crate::limits::{JOBS_QUEUED_MAX, RUNS_KEPT_MAX};

const COLUMNS: &str = "id, spec, state, wanted_agent, agent, attempts, cancel_requested, queued, offered, started, \
                       finished, not_before, result, given_to";
const ACTIVE: &str = "state IN ('queued', 'offered', 'running')";

/// What `put_job` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It is queued now.
    New,
    /// A backup of the same volume has not ended yet.
    Exists(JobId),
    /// Too many jobs wait.
    Full,
}

impl Db {
    /// Queues a job, unless a backup of the same volume has not ended yet.
    pub(crate) async fn put_job(&self, record: Record) -> Result<Queued> {
        self.call("queue a job", move |t| {
            if let Some(volume) = record.job.spec.volume() {
                let sql =
                    format!("SELECT id FROM jobs WHERE volume = ?1 AND {ACTIVE} ORDER BY queued LIMIT 1");
                let id = t.query_row(&sql, [volume], |r| r.get::<_, [u8; 16]>(0)).optional()?;
                if let Some(id) = id {
                    return Ok(Queued::Exists(JobId(id)));
                }
            }
            let active: u32 =
                t.query_row(&format!("SELECT count(*) FROM jobs WHERE {ACTIVE}"), [], |r| r.get(0))?;
            if active >= JOBS_QUEUED_MAX {
                return Ok(Queued::Full);
            }
            record.put(t)?;
            Ok(Queued::New)
        })
        .await
    }

    /// Notes a job that an agent holds but the database does not know (it was deleted).
    pub(crate) async fn put_job_if_absent(&self, record: Record) -> Result<()> {
        let work = move |t: &Transaction<'_>| match rows::get::<Record>(t, record.job.id.0)? {
            None => record.put(t),
            Some(_) => Ok(()),
        };
        self.call("take a job over", work).await
    }

    /// Lets an event happen to a job. Gives the job afterwards, and whether the event applied; `None` for an unknown
    /// job.
    pub(crate) async fn apply(
        &self,
        id: JobId,
        event: Event,
        now: Timestamp,
    ) -> Result<Option<(Record, bool)>> {
        self.call("change a job", move |t| rows::apply(t, id.0, event, now)).await
    }

    pub(crate) async fn job(&self, id: JobId) -> Result<Option<Record>> {
        self.call("read a job", move |t| rows::get(t, id.0)).await
    }

    /// All jobs that have not ended, oldest first.
    pub(crate) async fn active_jobs(&self) -> Result<Vec<Record>> {
        self.call("list active jobs", |t| {
            rows::select(t, &format!("SELECT {COLUMNS} FROM jobs WHERE {ACTIVE} ORDER BY queued, id"), [])
        })
        .await
    }

    /// The newest runs, of one volume or all.
    pub(crate) async fn runs(&self, volume: Option<String>, limit: u32) -> Result<Vec<Record>> {
        self.call("list runs", move |t| {
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs WHERE ?1 IS NULL OR volume = ?1 ORDER BY queued DESC, id LIMIT ?2"
            );
            rows::select(t, &sql, params![volume, limit])
        })
        .await
    }

    /// Volumes of which the newest ended run failed, and when it ended.
    pub(crate) async fn failed_volumes(&self) -> Result<Vec<(String, Timestamp)>> {
        self.call("list failed volumes", |t| {
            // SQLite takes the other columns from the row that has the maximum.
            let mut query = t.prepare(
                "SELECT volume, state, max(finished) FROM jobs
                 WHERE volume IS NOT NULL AND finished IS NOT NULL GROUP BY volume",
            )?;
            let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?, Timestamp(r.get(2)?))))?;
            let rows: Vec<(String, String, Timestamp)> = rows.collect::<rusqlite::Result<_>>()?;
            Ok(rows.into_iter().filter(|r| r.1 != State::Done.name()).map(|r| (r.0, r.2)).collect())
        })
        .await
    }
}

impl Work for Record {
    type Event = Event;
    const TABLE: &'static str = "jobs";
    const COLUMNS: &'static str = COLUMNS;

    fn parse(r: &Row<'_>) -> rusqlite::Result<Self> {
        let spec = decode_spec(&r.get::<_, Vec<u8>>(1)?).map_err(|e| rows::bad(1, &e))?;
        let result = r.get::<_, Option<Vec<u8>>>(12)?.map(|b| decode_result(&b)).transpose();
        let given_to: String = r.get(13)?;
        Ok(Self {
            job: Job { id: JobId(r.get(0)?), spec },
            state: rows::state(r, 2)?,
            wanted_agent: r.get(3)?,
            agent: r.get(4)?,
            attempts: r.get(5)?,
            cancel_requested: r.get(6)?,
            queued: Timestamp(r.get(7)?),
            offered: rows::time(r, 8)?,
            started: rows::time(r, 9)?,
            finished: rows::time(r, 10)?,
            not_before: Timestamp(r.get(11)?),
            given_to: given_to.lines().map(str::to_owned).collect(),
            result: result.map_err(|e| rows::bad(12, &e))?,
        })
    }

    fn put(&self, t: &Transaction<'_>) -> rusqlite::Result<()> {
        let nanos = |t: Option<Timestamp>| t.map(|t| t.0);
        t.execute(
            "INSERT OR REPLACE INTO jobs (id, volume, spec, state, wanted_agent, agent, attempts, cancel_requested, queued,
             offered, started, finished, not_before, result, given_to)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                self.job.id.0,
                self.job.spec.volume(),
                encode_spec(&self.job.spec),
                self.state.name(),
                self.wanted_agent,
                self.agent,
                self.attempts,
                self.cancel_requested,
                self.queued.0,
                nanos(self.offered),
                nanos(self.started),
                nanos(self.finished),
                self.not_before.0,
                self.result.as_ref().map(encode_result),
                // Ids of agents have no control characters.
                self.given_to.join("\n"),
            ],
        )
        .map(|_| ())
    }

    fn prune(t: &Transaction<'_>) -> rusqlite::Result<()> {
        let sql = "DELETE FROM jobs WHERE finished IS NOT NULL AND id NOT IN
               (SELECT id FROM jobs WHERE finished IS NOT NULL ORDER BY finished DESC LIMIT ?1)";
        let count: u32 =
            t.query_row("SELECT count(*) FROM jobs WHERE finished IS NOT NULL", [], |r| r.get(0))?;
        // A tenth of slack, so that not every end pays for sorting the log.
        if count > RUNS_KEPT_MAX + RUNS_KEPT_MAX / 10 {
            t.execute(sql, [RUNS_KEPT_MAX])?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event, now: Timestamp) -> bool {
        self.apply(event, now)
    }

    fn state(&self) -> State {
        self.state
    }
}
