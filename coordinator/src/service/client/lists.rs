//! Answers that list what is known.

use std::collections::HashMap;
use std::sync::Arc;

use proto::{convert, v1};
use repository::Result;
use repository::ops::snapshots::{Snapshot, Stats};

use crate::core::{Core, View};
use crate::jobs::State;
use crate::schedule::plan;

pub(super) async fn agents(core: &Core) -> Result<Vec<v1::Agent>> {
    let mut connected: HashMap<String, _> = core.hub.infos().into_iter().map(|i| (i.id.clone(), i)).collect();
    let now = core.env.now();
    let agent = |row: crate::db::agents::AgentRow| {
        let info = connected.remove(&row.id);
        let (connected, seen) = (info.is_some(), if info.is_some() { now } else { row.seen });
        let (volumes, roots) = info.map(|i| (i.volumes, i.restore_roots)).unwrap_or_default();
        v1::Agent {
            id: row.id,
            host: row.host,
            version: row.version,
            connected,
            seen_unix_nanos: seen.0,
            volumes,
            restore_roots: roots.into_iter().map(Into::into).collect(),
        }
    };
    Ok(core.db.agents().await?.into_iter().map(agent).collect())
}

pub(super) async fn volumes(core: &Core) -> Result<Vec<v1::VolumeStatus>> {
    let snapshots = core.snapshots();
    let mut by_volume: HashMap<&str, (u64, &Snapshot)> = HashMap::new();
    for s in &snapshots.all {
        let known = by_volume.entry(&s.manifest.volume).or_insert((0, s));
        known.0 += 1;
        if s.manifest.started > known.1.manifest.started {
            known.1 = s;
        }
    }
    let rows: HashMap<String, _> =
        core.db.volumes().await?.into_iter().map(|r| (r.name.clone(), r)).collect();
    let known = core.volumes().await?;
    let rules = core.rules();
    let decisions = plan(core.env.now(), &known, &rules);
    let status = |(volume, decision): (crate::schedule::Volume, crate::schedule::Decision)| {
        let row = rows.get(&volume.name);
        let newest = by_volume.get(volume.name.as_str());
        v1::VolumeStatus {
            volume: Some(v1::Volume {
                name: volume.name.clone(),
                host: row.map(|r| r.host.clone()).unwrap_or_default(),
                path: row.map(|r| r.path.clone()).unwrap_or_default().into(),
            }),
            agent_id: row.and_then(|r| r.agent.clone()).unwrap_or_default(),
            connected: volume.connected,
            newest: newest.map(|(_, s)| convert::snapshot_to_wire(s)),
            snapshots: newest.map_or(0, |(count, _)| *count),
            schedule: rules.find(&volume.name).map(crate::schedule::Rule::describe).unwrap_or_default(),
            late: decision.late,
        }
    };
    Ok(known.into_iter().zip(decisions).map(status).collect())
}

/// Snapshots, and what is damaged, each as a message of its own.
pub(super) fn snapshots(core: &Core, volume: &str) -> Vec<v1::ListSnapshotsResponse> {
    let known = core.snapshots();
    let wanted = known.all.iter().filter(|s| volume.is_empty() || s.manifest.volume == volume);
    let snapshot = |s: &Arc<Snapshot>| v1::ListSnapshotsResponse {
        snapshots: vec![convert::snapshot_to_wire(s)],
        damaged: Vec::new(),
    };
    let failure = |(kind, what): &(repository::ErrorKind, String)| v1::ListSnapshotsResponse {
        snapshots: Vec::new(),
        damaged: vec![convert::failure_to_wire(&proto::job::Failure { kind: *kind, what: what.clone() })],
    };
    wanted.map(snapshot).chain(known.damaged.iter().map(failure)).collect()
}

/// All of them as one message.
pub(super) fn snapshots_message(all: Vec<v1::ListSnapshotsResponse>) -> v1::ListSnapshotsResponse {
    let mut out = v1::ListSnapshotsResponse::default();
    for one in all {
        out.snapshots.extend(one.snapshots);
        out.damaged.extend(one.damaged);
    }
    out
}

pub(super) fn run(view: &View) -> v1::Run {
    let r = &view.record;
    let state = match r.state {
        State::Queued => v1::RunState::Queued,
        State::Offered => v1::RunState::Offered,
        State::Running => v1::RunState::Running,
        State::Done => v1::RunState::Done,
        State::Failed => v1::RunState::Failed,
        State::Cancelled => v1::RunState::Cancelled,
    };
    v1::Run {
        job: Some(convert::job_to_wire(&r.job)),
        state: state.into(),
        agent_id: r.agent.clone().unwrap_or_default(),
        attempts: r.attempts,
        cancel_requested: r.cancel_requested,
        queued_unix_nanos: r.queued.0,
        started_unix_nanos: r.started.map_or(0, |t| t.0),
        finished_unix_nanos: r.finished.map_or(0, |t| t.0),
        figures: Some(convert::figures_to_wire(&view.figures)),
        result: r.result.as_ref().map(convert::result_to_wire),
    }
}

/// Many runs with all their problems would not fit into one message; `WatchRun` of an ended one gives them whole.
pub(super) fn without_problems(runs: impl Iterator<Item = v1::Run>) -> Vec<v1::Run> {
    let strip = |mut run: v1::Run| {
        if let Some(problems) = run.result.as_mut().and_then(|r| r.problems.as_mut()) {
            problems.kept.clear();
        }
        run
    };
    runs.map(strip).collect()
}

pub(super) fn stats(s: &Stats) -> v1::StatsResponse {
    let stored = |(kind, (objects, bytes)): (&String, &(u64, u64))| v1::StoredKind {
        kind: kind.clone(),
        objects: *objects,
        bytes: *bytes,
    };
    v1::StatsResponse {
        snapshots: s.snapshots,
        bytes_plain: s.bytes_plain,
        stored: s.stored.iter().map(stored).collect(),
        volumes: s
            .volumes
            .iter()
            .map(|(volume, t)| v1::VolumeAge { volume: volume.clone(), newest_started_unix_nanos: t.0 })
            .collect(),
    }
}

/// Bytes of an entry that have no small bound.
pub(super) fn entry_cost(e: &v1::Entry) -> usize {
    let xattrs: usize = e.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
    64 + e.path.len() + e.symlink_target.len() + xattrs
}

/// Bytes of both entries.
pub(super) fn change_cost(c: &v1::Change) -> usize {
    [&c.older, &c.newer].into_iter().flatten().map(entry_cost).sum()
}
