//! What the tables of jobs and of tasks have in common: work that waits, changes by events, and stays in the log for a
//! while after its end.

use repository::env::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use crate::jobs::State;

/// One row of work.
pub(super) trait Work: Sized {
    /// What can happen to it.
    type Event;
    /// Its table.
    const TABLE: &'static str;
    /// The columns that [`Work::parse`] reads, in order.
    const COLUMNS: &'static str;

    fn parse(row: &Row<'_>) -> rusqlite::Result<Self>;
    fn put(&self, t: &Transaction<'_>) -> rusqlite::Result<()>;
    /// Deletes what the log keeps no longer.
    fn prune(t: &Transaction<'_>) -> rusqlite::Result<()>;
    /// False when the event does not apply: then nothing changed.
    fn happen(&mut self, event: Self::Event, now: Timestamp) -> bool;
    fn state(&self) -> State;
}

/// The one with this id.
pub(super) fn get<W: Work>(t: &Transaction<'_>, id: [u8; 16]) -> rusqlite::Result<Option<W>> {
    let sql = format!("SELECT {} FROM {} WHERE id = ?1", W::COLUMNS, W::TABLE);
    t.query_row(&sql, [id], W::parse).optional()
}

/// Those that a query finds, which begins with [`Work::COLUMNS`].
pub(super) fn select<W: Work>(
    t: &Transaction<'_>,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<Vec<W>> {
    t.prepare(sql)?.query_map(params, W::parse)?.collect()
}

/// Lets an event happen. Gives the work afterwards, and whether the event applied; `None` where there is no such work.
pub(super) fn apply<W: Work>(
    t: &Transaction<'_>,
    id: [u8; 16],
    event: W::Event,
    now: Timestamp,
) -> rusqlite::Result<Option<(W, bool)>> {
    let Some(mut work) = get::<W>(t, id)? else { return Ok(None) };
    let applied = work.happen(event, now);
    if applied {
        work.put(t)?;
        if work.state().has_ended() {
            W::prune(t)?;
        }
    }
    Ok(Some((work, applied)))
}

/// The state in a column.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let name: String = row.get(column)?;
    let bad = || rusqlite::Error::FromSqlConversionFailure(column, Type::Text, "not a state".into());
    State::find(&name).ok_or_else(bad)
}

/// The time in a column that may have none.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column).map(|t| t.map(Timestamp))
}

/// Bytes of a column that are not what was written.
pub(super) fn bad(column: usize, e: &repository::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, e.chain().into())
}
