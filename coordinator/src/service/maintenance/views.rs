//! Tasks, schedules and audit records as clients see them.

use proto::convert::{failure_to_wire, figures_to_wire, task_result_to_wire, task_spec_to_wire};
use proto::v1;
use repository::manifest::audit::Record;
use repository::{Error, Result};

use crate::core::{Core, Planned, TaskView};
use crate::jobs::State;

pub(super) fn task(view: &TaskView) -> v1::MaintenanceTask {
    let r = &view.record;
    let state = match r.state {
        State::Queued | State::Offered => v1::RunState::Queued,
        State::Running => v1::RunState::Running,
        State::Done => v1::RunState::Done,
        State::Failed => v1::RunState::Failed,
        State::Cancelled => v1::RunState::Cancelled,
    };
    v1::MaintenanceTask {
        id: r.id.0.to_vec().into(),
        spec: Some(task_spec_to_wire(&r.spec)),
        state: state.into(),
        by: r.by.clone(),
        reason: r.reason.clone(),
        attempts: r.attempts,
        cancel_requested: r.cancel_requested,
        queued_unix_nanos: r.queued.0,
        started_unix_nanos: r.started.map_or(0, |t| t.0),
        finished_unix_nanos: r.finished.map_or(0, |t| t.0),
        figures: Some(figures_to_wire(&view.figures)),
        note: view.note.clone(),
        result: r.result.as_ref().map(task_result_to_wire),
    }
}

/// Schedules and tasks, each as a message of its own.
pub(super) async fn list(core: &Core, limit: u32) -> Result<Vec<v1::ListMaintenanceResponse>> {
    let why_not = core.keeper.leader.leads().err().unwrap_or_default();
    let plans = core
        .planned()
        .await?
        .into_iter()
        .map(|p| v1::ListMaintenanceResponse { plans: vec![plan(p, &why_not)], tasks: Vec::new() });
    let tasks = core.db.tasks(limit).await?.into_iter().map(|record| {
        let mut task = task(&core.keeper.view(record));
        // Many tasks with all their problems would not fit into one message; `GetMaintenance` gives one whole.
        if let Some(problems) = task.result.as_mut().and_then(|r| r.problems.as_mut()) {
            problems.kept.clear();
        }
        v1::ListMaintenanceResponse { plans: Vec::new(), tasks: vec![task] }
    });
    Ok(plans.chain(tasks).collect())
}

fn plan(p: Planned, why_not: &str) -> v1::MaintenancePlan {
    let next = if why_not.is_empty() { p.next } else { None };
    v1::MaintenancePlan {
        kind: p.slot.kind.name().to_owned(),
        to: p.slot.to.unwrap_or_default(),
        schedule: p.schedule,
        window: p.window,
        next_unix_nanos: next.map_or(0, |t| t.0),
        why_not: why_not.to_owned(),
    }
}

/// All of them as one message.
pub(super) fn message(all: Vec<v1::ListMaintenanceResponse>) -> v1::ListMaintenanceResponse {
    let mut out = v1::ListMaintenanceResponse::default();
    for one in all {
        out.plans.extend(one.plans);
        out.tasks.extend(one.tasks);
    }
    out
}

/// Records, and what is damaged, each as a message of its own.
pub(super) fn audit((records, damaged): (Vec<Record>, Vec<Error>)) -> Vec<v1::ListAuditResponse> {
    let record = |r: Record| v1::AuditRecord {
        at_unix_nanos: r.at.0,
        by: r.by.clone(),
        host: r.host.clone(),
        kind: r.event.kind().to_owned(),
        record: r.encode().into(),
    };
    let records =
        records.into_iter().map(|r| v1::ListAuditResponse { records: vec![record(r)], damaged: Vec::new() });
    let damaged = damaged
        .iter()
        .map(|e| v1::ListAuditResponse { records: Vec::new(), damaged: vec![failure_to_wire(&e.into())] });
    records.chain(damaged).collect()
}

/// All of them as one message.
pub(super) fn audit_message(all: Vec<v1::ListAuditResponse>) -> v1::ListAuditResponse {
    let mut out = v1::ListAuditResponse::default();
    for one in all {
        out.records.extend(one.records);
        out.damaged.extend(one.damaged);
    }
    out
}
