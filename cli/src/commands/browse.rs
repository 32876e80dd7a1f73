//! `ls`, `cat`, `find`, `diff`: looks into snapshots.

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use repository::items::entry::{Entry, Kind};
use repository::ops::browse::{Change, ResultStream};

use crate::app::App;
use crate::args::At;
use crate::escape::escape;
use crate::exit::{Exit, usage};
use crate::output::{self, List};
use crate::place;
use crate::records::{ChangeRecord, EntryRecord, local_time};

pub(super) async fn ls(app: &App, at: &At, recursive: bool, long: bool) -> Result<Exit> {
    let place = place::parse(&at.snapshot, at.path.as_deref())?;
    let source = app.source().await?;
    let snapshot = app.snapshot(&source, &place.snapshot, at.volume.as_deref()).await?;
    let entries = app.or_cancel(source.list(&snapshot, &place.path, recursive)).await??;
    let what = || format!("list {}:{}", snapshot.id, escape(&place.path));
    // The directory that was asked for is the question, not part of the answer.
    let skip = |e: &Entry| e.path == place.path && e.kind == Kind::Directory;
    entries_out(app, entries, long, skip).await.with_context(what)?;
    Ok(Exit::Done)
}

pub(super) async fn find(
    app: &App,
    spec: &str,
    patterns: &[String],
    volume: Option<&str>,
    long: bool,
) -> Result<Exit> {
    let source = app.source().await?;
    let snapshot = app.snapshot(&source, spec, volume).await?;
    let entries = app.or_cancel(source.find(&snapshot, patterns)).await??;
    let count = entries_out(app, entries, long, |_| false).await;
    count.with_context(|| format!("find in {}", snapshot.id))?;
    Ok(Exit::Done)
}

async fn entries_out(
    app: &App,
    mut entries: ResultStream<Entry>,
    long: bool,
    skip: impl Fn(&Entry) -> bool,
) -> Result<u64> {
    let mut list = List::new(app.format());
    while let Some(entry) = app.or_cancel(entries.next()).await? {
        let entry = entry?;
        if !skip(&entry) {
            list.push(
                &EntryRecord::from(&entry),
                |r| if long { long_line(&entry, r) } else { r.path.clone() },
            )?;
        }
    }
    list.finish()
}

pub(super) async fn cat(app: &App, at: &At) -> Result<Exit> {
    let place = place::parse(&at.snapshot, at.path.as_deref())?;
    if place.path.is_empty() {
        return Err(usage("which file? `holdfast cat SNAPSHOT:PATH`"));
    }
    let source = app.source().await?;
    let snapshot = app.snapshot(&source, &place.snapshot, at.volume.as_deref()).await?;
    let mut bytes = app.or_cancel(source.cat(&snapshot, &place.path)).await??;
    while let Some(piece) = app.or_cancel(bytes.next()).await? {
        let piece = piece.with_context(|| format!("read {}:{}", snapshot.id, escape(&place.path)))?;
        // A slow reader must not block the runtime's threads.
        tokio::task::block_in_place(|| output::write(&piece))?;
    }
    output::flush()?;
    Ok(Exit::Done)
}

pub(super) async fn diff(app: &App, older: &str, newer: &str, volume: Option<&str>) -> Result<Exit> {
    let source = app.source().await?;
    let older = app.snapshot(&source, older, volume).await?;
    let newer = app.snapshot(&source, newer, volume).await?;
    let mut changes = app.or_cancel(source.diff(&older, &newer)).await??;
    let mut list = List::new(app.format());
    while let Some(change) = app.or_cancel(changes.next()).await? {
        let change = change.with_context(|| format!("compare {} with {}", older.id, newer.id))?;
        list.push(&ChangeRecord::from(&change), |r| change_line(&change, r))?;
    }
    list.finish()?;
    Ok(Exit::Done)
}

fn change_line(change: &Change, record: &ChangeRecord) -> String {
    let sign = match change {
        Change::Added(_) => '+',
        Change::Removed(_) => '-',
        Change::Changed(_, _, true) => 'M',
        Change::Changed(_, _, false) => 'm',
    };
    // The volume itself, whose path is empty.
    let path = if record.path.is_empty() { "." } else { &record.path };
    format!("{sign} {path}")
}

/// As `ls -l` shows it: `drwxr-xr-x  0  0  4096  2026-01-02 03:04:05  etc`.
fn long_line(entry: &Entry, record: &EntryRecord) -> String {
    let letter = match &entry.kind {
        Kind::File(_) => '-',
        Kind::Directory => 'd',
        Kind::Symlink(_) => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice(..) => 'c',
        Kind::BlockDevice(..) => 'b',
    };
    let to = record.target.as_ref().map_or_else(String::new, |to| format!(" -> {to}"));
    format!(
        "{letter}{} {:>6} {:>6} {:>12} {} {}{to}",
        permissions(entry.meta.mode),
        record.uid,
        record.gid,
        record.size,
        local_time(entry.meta.mtime),
        record.path,
    )
}

/// `rwsr-xr-t` for these permission bits.
fn permissions(mode: u32) -> String {
    let special = [(0o4000, 's', 'S'), (0o2000, 's', 'S'), (0o1000, 't', 'T')];
    let mut out = String::with_capacity(9);
    for (who, (bit, with_x, without_x)) in special.into_iter().enumerate() {
        let bits = mode >> (6 - 3 * who);
        out.push(if bits & 4 != 0 { 'r' } else { '-' });
        out.push(if bits & 2 != 0 { 'w' } else { '-' });
        out.push(match (mode & bit != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => with_x,
            (true, false) => without_x,
        });
    }
    out
}

#[cfg(test)]
mod tests;
