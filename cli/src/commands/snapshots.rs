//! `snapshots` and `stats`: what the repository holds.

use anyhow::Result;

use crate::app::App;
use crate::escape::tame;
use crate::exit::Exit;
use crate::output::{self, counted, size};
use crate::records::{HealthRecord, SnapshotRecord, StatsRecord, local_time};
use crate::run::report;

pub(super) async fn list(app: &App, volume: Option<&str>) -> Result<Exit> {
    let source = app.source().await?;
    let (found, damaged) = app.or_cancel(source.snapshots(volume)).await??;
    let health = app.or_cancel(source.health(&found, volume)).await??;
    let mut records: Vec<SnapshotRecord> = found.iter().map(SnapshotRecord::from).collect();
    for (record, snapshot) in records.iter_mut().zip(&found) {
        record.health = health.get(&snapshot.id).map(HealthRecord::from);
    }
    let rows = found.iter().map(|s| {
        let m = &s.manifest;
        let known = health.get(&s.id).copied().unwrap_or_default();
        let state = match (known.damaged, m.repaired) {
            (true, _) => "damaged".to_owned(),
            (false, Some(mark)) => format!("repaired ({} lost)", mark.lost),
            (false, None) if m.problems > 0 => format!("partial ({})", m.problems),
            (false, None) => "complete".to_owned(),
        };
        let state = if known.pinned { format!("{state}, pinned") } else { state };
        let proven = [known.verified, known.tested].into_iter().flatten().max();
        let proven = match (proven, known.problems) {
            (None, _) => "-".to_owned(),
            (Some(at), 0) => local_time(at),
            (Some(at), n) => format!("{}: {n} problems", local_time(at)),
        };
        let id = s.id.to_string()[..8].to_owned();
        let (files, tags) = (m.files.to_string(), tame(&m.tags.join(",")));
        vec![
            id,
            local_time(m.started),
            tame(&m.volume),
            files,
            size(m.bytes),
            size(m.bytes_new),
            state,
            proven,
            tags,
        ]
    });
    let head = ["ID", "STARTED", "VOLUME", "FILES", "SIZE", "NEW", "STATE", "PROVEN", "TAGS"];
    output::print(app.format(), &records, |_| output::table(&head, rows))?;
    for error in damaged {
        report(&anyhow::Error::from(error));
    }
    Ok(Exit::Done)
}

pub(super) async fn stats(app: &App) -> Result<Exit> {
    let source = app.source().await?;
    let stats = app.or_cancel(source.stats()).await??;
    let record = StatsRecord::from(&stats);
    output::print(app.format(), &record, |r| {
        let mut out = format!(
            "{} of {}, {} if each were whole, {} stored\n\n",
            counted(r.snapshots, "snapshot"),
            counted(r.volumes.len() as u64, "volume"),
            size(r.bytes_plain),
            size(r.bytes_stored),
        );
        let rows = r.stored.iter().map(|(kind, s)| vec![kind.clone(), s.objects.to_string(), size(s.bytes)]);
        out += &output::table(&["OBJECTS", "COUNT", "SIZE"], rows);
        out.push('\n');
        let rows = stats.volumes.iter().map(|(name, at)| vec![tame(name), local_time(*at)]);
        out += &output::table(&["VOLUME", "NEWEST SNAPSHOT"], rows);
        out
    })?;
    Ok(Exit::Done)
}
