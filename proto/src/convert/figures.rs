//! What the repository holds and who needs it, in parts that fit into messages.

use repository::Result;
use repository::env::Timestamp;
use repository::ops::stats::{
    Between, Bytes, DayFigures, Detail, Freed, Ranked, SnapshotFigures, VolumeFigures,
};

use super::bad;
use super::report::{problems_from_wire, problems_to_wire};
use super::snapshot::sid_from_wire;
use crate::v1;
use crate::v1::measure_response::Whole;

type Part = v1::MeasureResponse;

fn whole(whole: Whole) -> Part {
    Part { whole: Some(whole), ..Part::default() }
}

/// Figures of the whole domain; each snapshot, volume and day is a part of its own.
#[must_use]
pub fn detail_to_wire(d: Detail) -> Vec<Part> {
    let figures = v1::DetailFigures {
        bytes_files: d.bytes_files,
        needed: Some(bytes_to_wire(d.needed)),
        packs: d.packs,
        packs_bytes: d.packs_bytes,
        packs_unneeded: d.packs_unneeded,
        packs_unneeded_bytes: d.packs_unneeded_bytes,
        problems: Some(problems_to_wire(&d.problems)),
    };
    let mut out = vec![whole(Whole::Detail(figures))];
    out.extend(d.snapshots.into_iter().map(|s| Part {
        snapshots: vec![v1::SnapshotFigures {
            id: s.id.0.to_vec().into(),
            volume: s.volume,
            started_unix_nanos: s.started.0,
            bytes: s.bytes,
            bytes_new: s.bytes_new,
            bytes_stored: s.bytes_stored,
            exclusive: Some(bytes_to_wire(s.exclusive)),
        }],
        ..Part::default()
    }));
    out.extend(d.volumes.into_iter().map(|(volume, v)| Part {
        volumes: vec![v1::VolumeFigures {
            volume,
            snapshots: v.snapshots,
            newest_unix_nanos: v.newest.0,
            bytes_newest: v.bytes_newest,
            bytes: v.bytes,
            exclusive: Some(bytes_to_wire(v.exclusive)),
        }],
        ..Part::default()
    }));
    out.extend(d.days.into_iter().map(|((day, volume), f)| Part {
        days: vec![v1::DayFigures {
            day,
            volume,
            snapshots: f.snapshots,
            bytes_new: f.bytes_new,
            bytes_stored: f.bytes_stored,
        }],
        ..Part::default()
    }));
    out
}

/// What a snapshot brought; each file and folder is a part of its own.
#[must_use]
pub fn between_to_wire(b: Between) -> Vec<Part> {
    let figures = v1::BetweenFigures {
        bytes_new: b.bytes_new,
        added: b.added,
        removed: b.removed,
        changed: b.changed,
        bytes_removed: b.bytes_removed,
    };
    let ranked = |r: Ranked| vec![v1::RankedPath { path: r.path.into(), bytes: r.bytes }];
    let mut out = vec![whole(Whole::Between(figures))];
    out.extend(b.files.into_iter().map(|r| Part { files: ranked(r), ..Part::default() }));
    out.extend(b.folders.into_iter().map(|r| Part { folders: ranked(r), ..Part::default() }));
    out
}

/// What would be freed.
#[must_use]
pub fn freed_to_wire(f: &Freed) -> Vec<Part> {
    vec![whole(Whole::Freed(v1::FreedFigures {
        snapshots: f.snapshots,
        blobs: Some(bytes_to_wire(f.blobs)),
        packs: f.packs,
        packs_bytes: f.packs_bytes,
        problems: Some(problems_to_wire(&f.problems)),
    }))]
}

/// Puts parts into one.
#[must_use]
pub fn join_parts(parts: Vec<Part>) -> Part {
    let mut out = Part::default();
    for part in parts {
        out.whole = part.whole.or(out.whole);
        out.snapshots.extend(part.snapshots);
        out.volumes.extend(part.volumes);
        out.days.extend(part.days);
        out.files.extend(part.files);
        out.folders.extend(part.folders);
    }
    out
}

/// The reverse of [`detail_to_wire`], of all parts together.
pub fn detail_from_wire(all: Part) -> Result<Detail> {
    let Some(Whole::Detail(d)) = all.whole else { return Err(bad("detail", "missing")) };
    let mut out = Detail {
        bytes_files: d.bytes_files,
        needed: bytes_from_wire(d.needed),
        packs: d.packs,
        packs_bytes: d.packs_bytes,
        packs_unneeded: d.packs_unneeded,
        packs_unneeded_bytes: d.packs_unneeded_bytes,
        problems: problems_from_wire(d.problems),
        ..Detail::default()
    };
    for s in all.snapshots {
        out.snapshots.push(SnapshotFigures {
            id: sid_from_wire(&s.id)?,
            volume: s.volume,
            started: Timestamp(s.started_unix_nanos),
            bytes: s.bytes,
            bytes_new: s.bytes_new,
            bytes_stored: s.bytes_stored,
            exclusive: bytes_from_wire(s.exclusive),
        });
    }
    for v in all.volumes {
        let figures = VolumeFigures {
            snapshots: v.snapshots,
            newest: Timestamp(v.newest_unix_nanos),
            bytes_newest: v.bytes_newest,
            bytes: v.bytes,
            exclusive: bytes_from_wire(v.exclusive),
        };
        out.volumes.insert(v.volume, figures);
    }
    for d in all.days {
        let figures =
            DayFigures { snapshots: d.snapshots, bytes_new: d.bytes_new, bytes_stored: d.bytes_stored };
        out.days.insert((d.day, d.volume), figures);
    }
    Ok(out)
}

/// The reverse of [`between_to_wire`], of all parts together.
pub fn between_from_wire(all: Part) -> Result<Between> {
    let Some(Whole::Between(b)) = all.whole else { return Err(bad("between", "missing")) };
    let ranked = |list: Vec<v1::RankedPath>| {
        list.into_iter().map(|r| Ranked { bytes: r.bytes, path: r.path.to_vec() }).collect()
    };
    Ok(Between {
        bytes_new: b.bytes_new,
        added: b.added,
        removed: b.removed,
        changed: b.changed,
        bytes_removed: b.bytes_removed,
        files: ranked(all.files),
        folders: ranked(all.folders),
    })
}

/// The reverse of [`freed_to_wire`].
pub fn freed_from_wire(all: Part) -> Result<Freed> {
    let Some(Whole::Freed(f)) = all.whole else { return Err(bad("freed", "missing")) };
    Ok(Freed {
        snapshots: f.snapshots,
        blobs: bytes_from_wire(f.blobs),
        packs: f.packs,
        packs_bytes: f.packs_bytes,
        problems: problems_from_wire(f.problems),
    })
}

fn bytes_to_wire(b: Bytes) -> v1::MeasuredBytes {
    v1::MeasuredBytes { plain: b.plain, stored: b.stored }
}

fn bytes_from_wire(b: Option<v1::MeasuredBytes>) -> Bytes {
    b.map(|b| Bytes { plain: b.plain, stored: b.stored }).unwrap_or_default()
}
