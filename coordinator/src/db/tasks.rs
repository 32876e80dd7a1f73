//! Maintenance tasks: those that wait or run, and the log of those that ended.

use proto::convert::{decode_task_result, decode_task_spec, encode_task_result, encode_task_spec};
use proto::task::{TaskId, TaskKind};
use repository::Result;
use repository::env::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::Db;
use crate::jobs::State;
use crate::limits::TASKS_KEPT_MAX;
use crate::maintenance::Record;
use crate::maintenance::record::Event;

const COLUMNS: &str =
    "id, spec, state, asked_by, reason, attempts, cancel_requested, queued, started, finished, result";
const ACTIVE: &str = "state IN ('queued', 'running')";

/// What `put_task` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It is queued now.
    New,
    /// One of the same kind has not ended yet.
    Exists(Box<Record>),
}

impl Db {
    /// Queues a task, unless one of its kind has not ended yet.
    pub(crate) async fn put_task(&self, record: Record) -> Result<Queued> {
        self.call("queue a task", move |t| {
            let sql = format!("SELECT {COLUMNS} FROM tasks WHERE kind = ?1 AND {ACTIVE} LIMIT 1");
            let found = t.query_row(&sql, [record.spec.kind().name()], parse).optional()?;
            if let Some(found) = found {
                return Ok(Queued::Exists(Box::new(found)));
            }
            put(t, &record)?;
            Ok(Queued::New)
        })
        .await
    }

    /// Lets an event happen to a task. Gives the task afterwards, and whether the event applied; `None` for an unknown
    /// task.
    pub(crate) async fn apply_task(
        &self,
        id: TaskId,
        event: Event,
        now: Timestamp,
    ) -> Result<Option<(Record, bool)>> {
        self.call("change a task", move |t| {
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

    pub(crate) async fn task(&self, id: TaskId) -> Result<Option<Record>> {
        self.call("read a task", move |t| get(t, id)).await
    }

    /// All tasks that have not ended, oldest first.
    pub(crate) async fn active_tasks(&self) -> Result<Vec<Record>> {
        self.call("list active tasks", |t| {
            select(t, &format!("SELECT {COLUMNS} FROM tasks WHERE {ACTIVE} ORDER BY queued, id"), [])
        })
        .await
    }

    /// The newest tasks.
    pub(crate) async fn tasks(&self, limit: u32) -> Result<Vec<Record>> {
        self.call("list tasks", move |t| {
            select(t, &format!("SELECT {COLUMNS} FROM tasks ORDER BY queued DESC, id LIMIT ?1"), [limit])
        })
        .await
    }

    /// The last task of each kind that ended and did more than telling.
    pub(crate) async fn last_tasks(&self) -> Result<Vec<Record>> {
        self.call("list the last tasks", |t| {
            // SQLite takes the other columns from the row that has the maximum.
            let sql = format!(
                "SELECT {COLUMNS}, max(finished) FROM tasks WHERE finished IS NOT NULL AND told = 0 GROUP BY kind"
            );
            select(t, &sql, [])
        })
        .await
    }

    /// When the coordinator first knew of each kind's schedule; now, for those that are new.
    pub(crate) async fn schedules_begun(&self, now: Timestamp) -> Result<Vec<(String, Timestamp)>> {
        self.call("note schedules", move |t| {
            for kind in TaskKind::ALL {
                t.execute(
                    "INSERT INTO schedules VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    params![kind.name(), now.0],
                )?;
            }
            let mut query = t.prepare("SELECT kind, begun FROM schedules")?;
            query.query_map([], |r| Ok((r.get(0)?, Timestamp(r.get(1)?))))?.collect()
        })
        .await
    }
}

fn put(t: &Transaction<'_>, r: &Record) -> rusqlite::Result<()> {
    let nanos = |t: Option<Timestamp>| t.map(|t| t.0);
    t.execute(
        "INSERT OR REPLACE INTO tasks (id, kind, spec, state, asked_by, reason, attempts, cancel_requested, queued, started,
         finished, result, told) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            r.id.0,
            r.spec.kind().name(),
            encode_task_spec(&r.spec),
            r.state.name(),
            r.by,
            r.reason,
            r.attempts,
            r.cancel_requested,
            r.queued.0,
            nanos(r.started),
            nanos(r.finished),
            r.result.as_ref().map(encode_task_result),
            r.spec.is_dry_run(),
        ],
    )
    .map(|_| ())
}

fn get(t: &Transaction<'_>, id: TaskId) -> rusqlite::Result<Option<Record>> {
    t.query_row(&format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1"), [id.0], parse).optional()
}

fn select(t: &Transaction<'_>, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<Record>> {
    t.prepare(sql)?.query_map(params, parse)?.collect()
}

/// The last one of each kind stays, however old: the schedule counts from it.
fn prune(t: &Transaction<'_>) -> rusqlite::Result<()> {
    let sql = "DELETE FROM tasks WHERE finished IS NOT NULL
               AND id NOT IN (SELECT id FROM tasks WHERE finished IS NOT NULL ORDER BY finished DESC LIMIT ?1)
               AND id NOT IN (SELECT id FROM (SELECT id, max(finished) FROM tasks
                              WHERE finished IS NOT NULL AND told = 0 GROUP BY kind))";
    t.execute(sql, [TASKS_KEPT_MAX]).map(|_| ())
}

fn parse(r: &Row<'_>) -> rusqlite::Result<Record> {
    let bad = |column, e: repository::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, e.chain().into())
    };
    let state: String = r.get(2)?;
    let state = State::find(&state)
        .ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, "not a state".into()))?;
    let spec = decode_task_spec(&r.get::<_, Vec<u8>>(1)?).map_err(|e| bad(1, e))?;
    let result = r.get::<_, Option<Vec<u8>>>(10)?.map(|b| decode_task_result(&b)).transpose();
    let time = |column| r.get::<_, Option<i64>>(column).map(|t| t.map(Timestamp));
    Ok(Record {
        id: TaskId(r.get(0)?),
        spec,
        state,
        by: r.get(3)?,
        reason: r.get(4)?,
        attempts: r.get(5)?,
        cancel_requested: r.get(6)?,
        queued: Timestamp(r.get(7)?),
        started: time(8)?,
        finished: time(9)?,
        result: result.map_err(|e| bad(10, e))?,
    })
}

#[cfg(test)]
mod tests;
