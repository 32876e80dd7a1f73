//! The queue, and the log of runs.

use proto::convert::{decode_result, decode_spec, encode_result, encode_spec};
use proto::job::{Job, JobId};
use repository::Result;
use repository::env::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::Db;
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
            put(t, &record)?;
            Ok(Queued::New)
        })
        .await
    }

    /// Notes a job that an agent holds but the database does not know (it was deleted).
    pub(crate) async fn put_job_if_absent(&self, record: Record) -> Result<()> {
        let work = move |t: &Transaction<'_>| match get(t, record.job.id)? {
            None => put(t, &record),
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
        self.call("change a job", move |t| {
            let Some(mut record) = get(t, id)? else { return Ok(None) };
            let applied = record.apply(event, now);
            if applied {
                put(t, &record)?;
                if record.state.has_ended() {
                    prune(t)?;
                }
            }
            Ok(Some((record, applied)))
        })
        .await
    }

    pub(crate) async fn job(&self, id: JobId) -> Result<Option<Record>> {
        self.call("read a job", move |t| get(t, id)).await
    }

    /// All jobs that have not ended, oldest first.
    pub(crate) async fn active_jobs(&self) -> Result<Vec<Record>> {
        self.call("list active jobs", |t| {
            select(t, &format!("SELECT {COLUMNS} FROM jobs WHERE {ACTIVE} ORDER BY queued, id"), [])
        })
        .await
    }

    /// The newest runs, of one volume or all.
    pub(crate) async fn runs(&self, volume: Option<String>, limit: u32) -> Result<Vec<Record>> {
        self.call("list runs", move |t| {
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs WHERE ?1 IS NULL OR volume = ?1 ORDER BY queued DESC, id LIMIT ?2"
            );
            select(t, &sql, params![volume, limit])
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

fn put(t: &Transaction<'_>, r: &Record) -> rusqlite::Result<()> {
    let nanos = |t: Option<Timestamp>| t.map(|t| t.0);
    t.execute(
        "INSERT OR REPLACE INTO jobs (id, volume, spec, state, wanted_agent, agent, attempts, cancel_requested, queued,
         offered, started, finished, not_before, result, given_to)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![
            r.job.id.0,
            r.job.spec.volume(),
            encode_spec(&r.job.spec),
            r.state.name(),
            r.wanted_agent,
            r.agent,
            r.attempts,
            r.cancel_requested,
            r.queued.0,
            nanos(r.offered),
            nanos(r.started),
            nanos(r.finished),
            r.not_before.0,
            r.result.as_ref().map(encode_result),
            // Ids of agents have no control characters.
            r.given_to.join("\n"),
        ],
    )
    .map(|_| ())
}

fn get(t: &Transaction<'_>, id: JobId) -> rusqlite::Result<Option<Record>> {
    t.query_row(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"), [id.0], parse).optional()
}

fn select(t: &Transaction<'_>, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<Record>> {
    t.prepare(sql)?.query_map(params, parse)?.collect()
}

fn prune(t: &Transaction<'_>) -> rusqlite::Result<()> {
    let sql = "DELETE FROM jobs WHERE finished IS NOT NULL AND id NOT IN
               (SELECT id FROM jobs WHERE finished IS NOT NULL ORDER BY finished DESC LIMIT ?1)";
    let count: u32 = t.query_row("SELECT count(*) FROM jobs WHERE finished IS NOT NULL", [], |r| r.get(0))?;
    // A tenth of slack, so that not every end pays for sorting the log.
    if count > RUNS_KEPT_MAX + RUNS_KEPT_MAX / 10 {
        t.execute(sql, [RUNS_KEPT_MAX])?;
    }
    Ok(())
}

fn parse(r: &Row<'_>) -> rusqlite::Result<Record> {
    let bad = |column, kind, e: repository::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, kind, e.chain().into())
    };
    let state: String = r.get(2)?;
    let state = State::find(&state)
        .ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, "not a state".into()))?;
    let spec = decode_spec(&r.get::<_, Vec<u8>>(1)?).map_err(|e| bad(1, Type::Blob, e))?;
    let result = r.get::<_, Option<Vec<u8>>>(12)?.map(|b| decode_result(&b)).transpose();
    let given_to: String = r.get(13)?;
    let time = |column| r.get::<_, Option<i64>>(column).map(|t| t.map(Timestamp));
    Ok(Record {
        job: Job { id: JobId(r.get(0)?), spec },
        state,
        wanted_agent: r.get(3)?,
        agent: r.get(4)?,
        attempts: r.get(5)?,
        cancel_requested: r.get(6)?,
        queued: Timestamp(r.get(7)?),
        offered: time(8)?,
        started: time(9)?,
        finished: time(10)?,
        not_before: Timestamp(r.get(11)?),
        given_to: given_to.lines().map(str::to_owned).collect(),
        result: result.map_err(|e| bad(12, Type::Blob, e))?,
    })
}
