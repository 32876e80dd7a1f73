//! `repair quarantine`: packs that are whole again leave the quarantine.

use anyhow::Result;
use repository::ops::repair::quarantine::{Fate, LiftReport, Looked, lift};
use serde::Serialize;

use super::life::open;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

/// What `repair quarantine` found.
#[derive(Debug, Serialize)]
struct LiftRecord {
    packs: u64,
    lifted: u64,
    left: u64,
    dry_run: bool,
    pack_list: Vec<PackRecord>,
}

/// One pack that is or was in quarantine.
#[derive(Debug, Serialize)]
struct PackRecord {
    pack: String,
    /// `lifted`, `damaged` or `gone`.
    state: &'static str,
    /// Blobs of a whole pack, or those that are damaged; 0 for all, null where the pack is gone.
    blobs: Option<u64>,
    /// The first damage.
    what: Option<String>,
}

impl From<&Looked> for PackRecord {
    fn from(l: &Looked) -> Self {
        let (state, blobs, what) = match &l.fate {
            Fate::Lifted { blobs } => ("lifted", Some(*blobs), None),
            Fate::Damaged { blobs, what } => ("damaged", Some(*blobs), Some(what.clone())),
            Fate::Gone => ("gone", None, None),
        };
        Self { pack: l.pack.to_string(), state, blobs, what }
    }
}

pub(super) async fn repair(app: &App, dry_run: bool) -> Result<Exit> {
    let repo = open(app).await?;
    let task = app.task();
    let shown = app.show("repair quarantine".to_owned(), &task);
    let done = app.or_cancel(lift(&repo, dry_run, "holdfast repair", &task)).await;
    shown.finish().await;
    let done = done??;
    output::print(app.format(), &record(&done, dry_run), text)?;
    Ok(if done.left() == 0 { Exit::Done } else { Exit::Partial })
}

fn record(done: &LiftReport, dry_run: bool) -> LiftRecord {
    LiftRecord {
        packs: done.packs.len() as u64,
        lifted: done.lifted(),
        left: done.left(),
        dry_run,
        pack_list: done.packs.iter().map(Into::into).collect(),
    }
}

fn text(r: &LiftRecord) -> String {
    let mut out = String::new();
    for pack in &r.pack_list {
        let state = match (pack.state, r.dry_run) {
            ("lifted", true) => "whole: its quarantine would be lifted",
            ("lifted", false) => "whole: its quarantine is lifted",
            (state, _) => state,
        };
        let what = pack.what.as_ref().map(|what| format!(": {what}")).unwrap_or_default();
        out += &format!("{}  {state}{what}\n", pack.pack);
    }
    out + &format!("{} of {} packs in quarantine are whole\n", r.lifted, r.packs)
}
