//! Maintenance tasks: those that wait or run, and the log of those that ended.

use proto::convert::{decode_task_result, decode_task_spec, encode_task_result, encode_task_spec};
use proto::task::TaskId;
use repository::Result;
use repository::env::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::Db;
use super::rows::{self, Work};
use crate::jobs::State;
use crate::limits::TASKS_KEPT_MAX;
use crate::maintenance::record::Event;
use crate::maintenance::{Record, Slot};

const COLUMNS: &str =
    "id, spec, state, asked_by, reason, attempts, cancel_requested, queued, started, finished, result";
const ACTIVE: &str = "state IN ('queued', 'running')";

/// What `put_task` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It is queued now.
    New,
    /// One of the same slot has not ended yet.
    Exists(Box<Record>),
}

impl Db {
    /// Queues a task, unless one of its slot has not ended yet.
    pub(crate) async fn put_task(&self, record: Record) -> Result<Queued> {
        self.call("queue a task", move |t| {
            let sql = format!("SELECT {COLUMNS} FROM tasks WHERE kind = ?1 AND {ACTIVE} LIMIT 1");
            let found = t.query_row(&sql, [Slot::of(&record.spec).to_string()], Record::parse).optional()?;
            if let Some(found) = found {
                return Ok(Queued::Exists(Box::new(found)));
            }
            record.put(t)?;
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
        self.call("change a task", move |t| rows::apply(t, id.0, event, now)).await
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<Option<Record>> {
        self.call("read a task", move |t| rows::get(t, id.0)).await
    }

    /// All tasks that have not ended, oldest first.
    pub(crate) async fn active_tasks(&self) -> Result<Vec<Record>> {
        self.call("list active tasks", |t| {
            rows::select(t, &format!("SELECT {COLUMNS} FROM tasks WHERE {ACTIVE} ORDER BY queued, id"), [])
        })
        .await
    }

    /// The newest tasks.
    pub(crate) async fn tasks(&self, limit: u32) -> Result<Vec<Record>> {
        self.call("list tasks", move |t| {
            rows::select(
                t,
                &format!("SELECT {COLUMNS} FROM tasks ORDER BY queued DESC, id LIMIT ?1"),
                [limit],
            )
        })
        .await
    }

    /// The last task of each kind that ended and did more than telling.
    pub(crate) async fn last_tasks(&self) -> Result<Vec<Record>> {
        self.call("list the last tasks", |t| {
            // SQLite takes the other columns from the row that has the maximum.
            let sql = format!(
                "SELECT {COLUMNS}, max(finished) FROM tasks WHERE finished IS NOT NULL AND told = 0 GROUP BY kind
                 ORDER BY max(finished)"
            );
            rows::select(t, &sql, [])
        })
        .await
    }

    /// When the coordinator first knew of the schedule of each of these slots; now, for those that are new.
    pub(crate) async fn schedules_begun(
        &self,
        slots: Vec<String>,
        now: Timestamp,
    ) -> Result<Vec<(String, Timestamp)>> {
        self.call("note schedules", move |t| {
            for slot in slots {
                t.execute(
                    "INSERT INTO schedules VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    params![slot, now.0],
                )?;
            }
            let mut query = t.prepare("SELECT kind, begun FROM schedules")?;
            query.query_map([], |r| Ok((r.get(0)?, Timestamp(r.get(1)?))))?.collect()
        })
        .await
    }
}

impl Work for Record {
    type Event = Event;
    const TABLE: &'static str = "tasks";
    const COLUMNS: &'static str = COLUMNS;

    fn parse(r: &Row<'_>) -> rusqlite::Result<Self> {
        let spec = decode_task_spec(&r.get::<_, Vec<u8>>(1)?).map_err(|e| rows::bad(1, &e))?;
        let result = r.get::<_, Option<Vec<u8>>>(10)?.map(|b| decode_task_result(&b)).transpose();
        Ok(Self {
            id: TaskId(r.get(0)?),
            spec,
            state: rows::state(r, 2)?,
            by: r.get(3)?,
            reason: r.get(4)?,
            attempts: r.get(5)?,
            cancel_requested: r.get(6)?,
            queued: Timestamp(r.get(7)?),
            started: rows::time(r, 8)?,
            finished: rows::time(r, 9)?,
            result: result.map_err(|e| rows::bad(10, &e))?,
        })
    }

    fn put(&self, t: &Transaction<'_>) -> rusqlite::Result<()> {
        let nanos = |t: Option<Timestamp>| t.map(|t| t.0);
        t.execute(
            "INSERT OR REPLACE INTO tasks (id, kind, spec, state, asked_by, reason, attempts, cancel_requested, queued, started,
             finished, result, told) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                self.id.0,
                Slot::of(&self.spec).to_string(),
                encode_task_spec(&self.spec),
                self.state.name(),
                self.by,
                self.reason,
                self.attempts,
                self.cancel_requested,
                self.queued.0,
                nanos(self.started),
                nanos(self.finished),
                self.result.as_ref().map(encode_task_result),
                self.spec.is_beside_schedule(),
            ],
        )
        .map(|_| ())
    }

    /// The last one of each kind stays, however old: the schedule counts from it.
    fn prune(t: &Transaction<'_>) -> rusqlite::Result<()> {
        let sql = "DELETE FROM tasks WHERE finished IS NOT NULL
               AND id NOT IN (SELECT id FROM tasks WHERE finished IS NOT NULL ORDER BY finished DESC LIMIT ?1)
               AND id NOT IN (SELECT id FROM (SELECT id, max(finished) FROM tasks
                              WHERE finished IS NOT NULL AND told = 0 GROUP BY kind))";
        t.execute(sql, [TASKS_KEPT_MAX]).map(|_| ())
    }

    fn happen(&mut self, event: Event, now: Timestamp) -> bool {
        self.apply(event, now)
    }

    fn state(&self) -> State {
        self.state
    }
}

#[cfg(test)]
mod tests;
