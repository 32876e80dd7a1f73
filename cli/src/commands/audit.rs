//! `audit`: what was decided, deleted, proven and repaired, by whom and why.

use std::collections::BTreeMap;

use anyhow::Result;
use repository::manifest::audit::{Event, Record};
use repository::ops::audit::{Filter, list};
use serde::Serialize;

use super::life::open;
use crate::app::{App, Where};
use crate::args::AuditArgs;
use crate::escape::{escape, tame};
use crate::exit::Exit;
use crate::output::{self, counted};
use crate::records::{local_time, time};
use crate::run::report_damaged;

/// One thing that was done.
#[derive(Debug, Serialize)]
struct AuditRecord {
    at: String,
    by: String,
    host: String,
    kind: String,
    detail: Detail,
}

/// What was done; the fields depend on the kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Detail {
    Forgot {
        snapshots: Vec<Forgotten>,
    },
    Unforgot {
        forgotten: String,
        id: String,
    },
    Collected {
        generation: u64,
        figures: BTreeMap<String, u64>,
        fenced: Vec<String>,
        done: bool,
    },
    Verified {
        level: String,
        id: Option<String>,
        packs: u64,
        bytes: u64,
        problems: u64,
        damaged: Vec<DamagedPack>,
    },
    Tested {
        volume: String,
        id: String,
        files: u64,
        bytes: u64,
        sampled: bool,
        problems: u64,
        failed: Vec<String>,
    },
    Repaired {
        what: String,
        id: Option<String>,
        copy: Option<String>,
        packs: u64,
        problems: u64,
        lost: Vec<String>,
        lifted: Vec<String>,
    },
    Text {
        text: String,
    },
}

#[derive(Debug, Serialize)]
struct Forgotten {
    id: String,
    volume: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct DamagedPack {
    pack: String,
    blobs: u32,
}

impl From<&Event> for Detail {
    fn from(event: &Event) -> Self {
        let name = |sid: &repository::ids::Sid| sid.to_string();
        match event {
            Event::Forgot(list) => {
                let one = |f: &repository::manifest::audit::Forgot| Forgotten {
                    id: name(&f.snapshot),
                    volume: f.volume.clone(),
                    why: f.why.clone(),
                };
                Self::Forgot { snapshots: list.iter().map(one).collect() }
            }
            Event::Unforgot { snapshot, copy } => {
                Self::Unforgot { forgotten: name(snapshot), id: name(copy) }
            }
            Event::Collected(c) => Self::Collected {
                generation: c.generation.0,
                figures: c.figures.clone(),
                fenced: c.fenced.iter().map(name).collect(),
                done: c.done,
            },
            Event::Verified(v) => Self::Verified {
                level: v.level.clone(),
                id: v.snapshot.as_ref().map(name),
                packs: v.packs,
                bytes: v.bytes,
                problems: v.problems,
                damaged: v
                    .damaged
                    .iter()
                    .map(|d| DamagedPack { pack: d.pack.to_string(), blobs: d.blobs })
                    .collect(),
            },
            Event::Tested(t) => Self::Tested {
                volume: t.volume.clone(),
                id: name(&t.snapshot),
                files: t.files,
                bytes: t.bytes,
                sampled: t.sampled,
                problems: t.problems,
                failed: t.failed.clone(),
            },
            Event::Repaired(r) => Self::Repaired {
                what: r.what.clone(),
                id: r.snapshot.as_ref().map(name),
                copy: r.copy.as_ref().map(name),
                packs: r.packs,
                problems: r.problems,
                lost: r.lost.iter().map(|path| escape(path)).collect(),
                lifted: r.lifted.iter().map(ToString::to_string).collect(),
            },
            Event::Keys(text) | Event::Other { text, .. } => Self::Text { text: text.clone() },
        }
    }
}

impl Detail {
    /// One line for people.
    fn line(&self) -> String {
        match self {
            Self::Forgot { snapshots } => {
                let one = |f: &Forgotten| match &*f.why {
                    "" => format!("{} of {}", &f.id[..8], f.volume),
                    why => format!("{} of {} ({why})", &f.id[..8], f.volume),
                };
                snapshots.iter().map(one).collect::<Vec<_>>().join(", ")
            }
            Self::Unforgot { forgotten, id } => format!("{} is back as {id}", &forgotten[..8]),
            Self::Collected { generation, figures, done, .. } => {
                let figures = figures.iter().filter(|(_, n)| **n > 0);
                let figures: Vec<_> = figures.map(|(name, n)| format!("{name} {n}")).collect();
                let end = if *done { "" } else { ", not done yet" };
                format!("generation {generation}: {}{end}", figures.join(", "))
            }
            Self::Verified { level, id, packs, problems, damaged, .. } => {
                let what = id.as_ref().map_or_else(|| counted(*packs, "pack"), |id| id[..8].to_owned());
                let verdict = match problems {
                    0 => "ok".to_owned(),
                    n => format!(
                        "{}, {} damaged",
                        counted(*n, "problem"),
                        counted(damaged.len() as u64, "pack")
                    ),
                };
                format!("{level} {what}: {verdict}")
            }
            Self::Tested { volume, id, files, problems, .. } => {
                let verdict = if *problems == 0 { "ok".to_owned() } else { format!("{problems} problems") };
                format!("{} of {volume}, {}: {verdict}", &id[..8], counted(*files, "file"))
            }
            Self::Repaired { what, id, copy, packs, problems, .. } => match (id, copy) {
                (Some(id), Some(copy)) => format!("{} without {problems} lost paths as {copy}", &id[..8]),
                _ => format!("{what}: {}", counted(*packs, "pack")),
            },
            Self::Text { text } => text.clone(),
        }
    }
}

impl From<&Record> for AuditRecord {
    fn from(r: &Record) -> Self {
        Self {
            at: time(r.at),
            by: r.by.clone(),
            host: r.host.clone(),
            kind: r.event.kind().to_owned(),
            detail: (&r.event).into(),
        }
    }
}

pub(super) async fn audit(app: &App, args: AuditArgs) -> Result<Exit> {
    let since = args.since.map(|s| app.env.now().plus_seconds(-i64::try_from(s).unwrap_or(i64::MAX)));
    let filter = Filter { since, kind: args.kind, newest: args.last.unwrap_or(0) };
    let (found, damaged) = match app.place()? {
        Where::Coordinator(url) => app.or_cancel(app.remote(url)?.audit(&filter)).await??,
        Where::Repo(_) => app.or_cancel(list(&*open(app).await?, &filter)).await??,
    };
    let records: Vec<AuditRecord> = found.iter().map(AuditRecord::from).collect();
    let rows = found.iter().zip(&records).map(|(r, record)| {
        vec![local_time(r.at), record.kind.clone(), tame(&r.by), tame(&r.host), tame(&record.detail.line())]
    });
    output::print(app.format(), &records, |_| output::table(&["AT", "KIND", "BY", "HOST", "WHAT"], rows))?;
    Ok(report_damaged(damaged))
}
