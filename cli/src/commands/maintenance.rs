//! What a coordinator does to the repository: tasks are started, watched, listed and cancelled.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use proto::convert::{task_id_from_wire, task_result_from_wire, task_spec_from_wire};
use proto::task::{TaskId, TaskKind, TaskResult, TaskSpec, UNREADABLE};
use proto::v1::{self, RunState};
use repository::env::Timestamp;
use repository::{Error, ErrorKind};
use serde::Serialize;
use serde_json::Value;

use crate::app::{App, Where};
use crate::args::{Detach, MaintenanceArgs, MaintenanceCommand};
use crate::escape::{escape, tame};
use crate::exit::{Exit, usage};
use crate::logs;
use crate::output::{self, size};
use crate::records::{self, ProblemRecord, local_time, time};
use crate::remote::Remote;

/// Digits of a task's id that people see and type.
const ID_DIGITS: usize = 8;
/// A task is looked for by the beginning of its id among so many.
const LOOKED_THROUGH: u32 = 1000;

/// A task. Figures and lists of its report are fields beside these.
#[derive(Debug, Serialize)]
struct TaskRecord {
    task: String,
    kind: &'static str,
    /// Of copies and mirrors, the destination.
    to: Option<String>,
    /// `queued`, `running`, `done`, `failed`, `cancelled`.
    state: &'static str,
    by: String,
    reason: String,
    attempts: u32,
    queued: String,
    started: Option<String>,
    finished: Option<String>,
    note: String,
    failure: Option<String>,
    /// It came to its end; `false`: it goes on at its next time.
    done: bool,
    problems: u64,
    problem_list: Vec<ProblemRecord>,
    #[serde(flatten)]
    report: BTreeMap<String, Value>,
}

/// When a kind of task runs.
#[derive(Debug, Serialize)]
struct PlanRecord {
    kind: String,
    to: Option<String>,
    schedule: Option<String>,
    window: Option<String>,
    next: Option<String>,
    why_not: Option<String>,
}

/// All of it.
#[derive(Debug, Serialize)]
struct ListRecord {
    schedules: Vec<PlanRecord>,
    tasks: Vec<TaskRecord>,
}

/// What was started.
#[derive(Debug, Serialize)]
struct StartedRecord {
    task: String,
    kind: &'static str,
    existed: bool,
}

/// Refuses `--detach` where nothing goes on without us.
pub(super) fn refuse_detach(detach: Detach) -> Result<()> {
    match detach.detach {
        true => Err(usage("--detach works through a coordinator: pass --coordinator URL")),
        false => Ok(()),
    }
}

/// Has the coordinator do it, and waits for its end unless that is not wanted.
pub(super) async fn start(app: &App, remote: &Remote, spec: &TaskSpec, detach: Detach) -> Result<Exit> {
    let kind = spec.kind().name();
    let (id, existed) = app.or_cancel(remote.start_task(spec, "")).await??;
    if detach.detach {
        let record = StartedRecord { task: id.to_string(), kind, existed };
        output::print(app.format(), &record, |r| {
            let word = if r.existed { "is at work already" } else { "was started" };
            format!("{kind} {word} as task {id}; `holdfast maintenance watch {}` waits for it\n", short(id))
        })?;
        return Ok(Exit::Done);
    }
    if existed {
        logs::say(&format!("the same {kind} is at work already (task {}); waiting for its end", short(id)));
    }
    watch(app, remote, id, kind).await
}

/// Waits for the end of a task. A signal ends the waiting, not the task.
async fn watch(app: &App, remote: &Remote, id: TaskId, kind: &str) -> Result<Exit> {
    let task = app.task();
    let shown = app.show(kind.to_owned(), &task);
    let say = |note: &str| {
        if !note.is_empty() && !app.global.quiet {
            logs::say(&format!("{kind}: {}", tame(note)));
        }
    };
    let ended = tokio::select! {
        ended = remote.watch_task(id, &task, say) => Some(ended),
        () = app.cancel.cancelled() => None,
    };
    shown.finish().await;
    let Some(ended) = ended else {
        let id = short(id);
        logs::say(&format!("the {kind} goes on (task {id}); `holdfast maintenance cancel {id}` ends it"));
        return Ok(Exit::Stopped);
    };
    print(app, ended?)
}

/// Prints a task that has ended; its end is the command's.
fn print(app: &App, task: v1::MaintenanceTask) -> Result<Exit> {
    let (record, result) = record(task)?;
    output::print(app.format(), &record, text)?;
    for problem in result.problems.kept() {
        tracing::error!("{}: {}", escape(&problem.path), problem.what);
    }
    if let Some(failure) = result.failure {
        let kind = record.kind;
        return Err(Error::new(failure.kind, failure.what)).with_context(|| format!("task {kind}"));
    }
    // A repair that leaves something behind is as good as it can be, as without a coordinator.
    let unreadable = result.counts.get(UNREADABLE).copied().unwrap_or(0);
    let left = record.kind == TaskKind::Repair.name() && unreadable == 0;
    Ok(match (result.problems.is_empty(), result.complete) {
        (false, _) if left => Exit::Partial,
        (false, _) => Exit::Failed,
        (true, false) => Exit::Partial,
        (true, true) => Exit::Done,
    })
}

fn record(task: v1::MaintenanceTask) -> Result<(TaskRecord, TaskResult)> {
    let id = task_id_from_wire(&task.id)?;
    let state = match task.state() {
        RunState::Unspecified | RunState::Queued | RunState::Offered => "queued",
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    };
    let spec = task_spec_from_wire(task.spec)?;
    let kind = spec.kind().name();
    let moment = |nanos: i64| (nanos != 0).then(|| time(Timestamp(nanos)));
    let result = task.result.map(task_result_from_wire).unwrap_or_default();
    let counts = result.counts.iter().map(|(name, n)| (name.clone(), Value::from(*n)));
    // A list tells more than the count of the same name.
    let lists = result.lists.iter().map(|(name, list)| (name.clone(), Value::from(list.clone())));
    let record = TaskRecord {
        task: id.to_string(),
        kind,
        to: spec.destination().map(str::to_owned),
        state,
        by: task.by,
        reason: task.reason,
        attempts: task.attempts,
        queued: time(Timestamp(task.queued_unix_nanos)),
        started: moment(task.started_unix_nanos),
        finished: moment(task.finished_unix_nanos),
        note: task.note,
        failure: result.failure.as_ref().map(|f| f.what.clone()),
        done: result.complete,
        problems: result.problems.count(),
        problem_list: records::problems(&result.problems),
        report: counts.chain(lists).collect(),
    };
    Ok((record, result))
}

fn short(id: TaskId) -> String {
    id.to_string()[..ID_DIGITS].to_owned()
}

/// One task for people: how it ended, then its figures that are not 0.
fn text(r: &TaskRecord) -> String {
    let mut out = format!(
        "{} {} (task {}, by {})\n",
        titled(r.kind, r.to.as_deref()),
        end(r),
        &r.task[..ID_DIGITS],
        tame(&r.by)
    );
    for (what, text) in
        [("reason", Some(&r.reason)), ("note", Some(&r.note)), ("failure", r.failure.as_ref())]
    {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            out += &format!("  {what}: {}\n", tame(text));
        }
    }
    for (name, value) in &r.report {
        let shown = match value {
            Value::Number(n) if n.as_u64() == Some(0) => continue,
            Value::Number(n) if name.ends_with("bytes") || name.starts_with("bytes_") => {
                size(n.as_u64().unwrap_or(0))
            }
            Value::Array(list) if list.is_empty() => continue,
            Value::Array(list) => {
                list.iter().filter_map(Value::as_str).map(tame).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        out += &format!("  {}: {shown}\n", name.replace('_', " "));
    }
    if r.problems > 0 {
        out += &format!("  PROBLEMS: {}\n", r.problems);
    }
    out
}

/// A kind of task, and the destination that it has to do with.
fn titled(kind: &str, to: Option<&str>) -> String {
    to.map_or_else(|| tame(kind), |to| format!("{} to {}", tame(kind), tame(to)))
}

/// How far it is, in a word or two.
fn end(r: &TaskRecord) -> String {
    match (r.state, r.done) {
        ("done", false) => "stopped before its end, and goes on at its next time".to_owned(),
        (state, _) => state.to_owned(),
    }
}

/// `maintenance`
pub(super) async fn maintenance(app: &App, args: MaintenanceArgs) -> Result<Exit> {
    let remote = match app.place()? {
        Where::Coordinator(url) => app.remote(url)?,
        Where::Repo(_) => {
            return Err(usage("maintenance is what a coordinator does: pass --coordinator URL"));
        }
    };
    match args.command.unwrap_or(MaintenanceCommand::List { last: 20 }) {
        MaintenanceCommand::List { last } => list(app, &remote, last).await,
        MaintenanceCommand::Show { task } => {
            let id = find(app, &remote, &task).await?;
            let (record, _) = record(app.or_cancel(remote.task(id)).await??)?;
            output::print(app.format(), &record, text)?;
            Ok(Exit::Done)
        }
        MaintenanceCommand::Watch { task } => {
            let id = find(app, &remote, &task).await?;
            let (record, _) = record(app.or_cancel(remote.task(id)).await??)?;
            watch(app, &remote, id, record.kind).await
        }
        MaintenanceCommand::Cancel { task } => {
            let id = find(app, &remote, &task).await?;
            let (record, _) = record(app.or_cancel(remote.cancel_task(id)).await??)?;
            output::print(app.format(), &record, |r| match r.state {
                "running" => format!("{} is told to end (task {})\n", r.kind, &r.task[..ID_DIGITS]),
                _ => text(r),
            })?;
            Ok(Exit::Done)
        }
    }
}

/// A task by its id, or the first digits of it.
async fn find(app: &App, remote: &Remote, prefix: &str) -> Result<TaskId> {
    if let Ok(id) = prefix.parse() {
        return Ok(id);
    }
    let (_, tasks) = app.or_cancel(remote.tasks(LOOKED_THROUGH)).await??;
    let ids = tasks.iter().map(|t| Ok(task_id_from_wire(&t.id)?)).collect::<Result<Vec<TaskId>>>()?;
    let mut found = ids.into_iter().filter(|id| !prefix.is_empty() && id.to_string().starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(usage(format!("{prefix} names several tasks: give more of the id"))),
        (None, _) => Err(Error::new(ErrorKind::NotFound, format!("there is no task {prefix}")).into()),
    }
}

async fn list(app: &App, remote: &Remote, last: u32) -> Result<Exit> {
    let (plans, tasks) = app.or_cancel(remote.tasks(last)).await??;
    let some = |text: String| Some(text).filter(|t| !t.is_empty());
    let why_not = plans.first().map(|p| p.why_not.clone()).unwrap_or_default();
    let plan_rows: Vec<Vec<String>> = plans.iter().map(plan_row).collect();
    let schedules = plans
        .into_iter()
        .map(|p| PlanRecord {
            kind: p.kind,
            to: some(p.to),
            schedule: some(p.schedule),
            window: some(p.window),
            next: (p.next_unix_nanos != 0).then(|| time(Timestamp(p.next_unix_nanos))),
            why_not: some(p.why_not),
        })
        .collect();
    let mut rows = Vec::new();
    let mut records = Vec::new();
    for task in tasks {
        let queued = local_time(Timestamp(task.queued_unix_nanos));
        let (record, _) = record(task)?;
        rows.push(vec![
            record.task[..ID_DIGITS].to_owned(),
            queued,
            titled(record.kind, record.to.as_deref()),
            end(&record),
            tame(&record.by),
            tame(record.failure.as_ref().unwrap_or(&record.note)),
        ]);
        records.push(record);
    }
    output::print(app.format(), &ListRecord { schedules, tasks: records }, |_| {
        let mut out = output::table(&["KIND", "SCHEDULE", "WINDOW", "NEXT"], plan_rows);
        if !why_not.is_empty() {
            out += &format!("nothing begins here: {}\n", tame(&why_not));
        }
        out += "\n";
        out + &output::table(&["TASK", "QUEUED", "KIND", "STATE", "BY", "NOTE"], rows)
    })?;
    Ok(Exit::Done)
}

fn plan_row(p: &v1::MaintenancePlan) -> Vec<String> {
    let next = match p.next_unix_nanos {
        0 => "when asked".to_owned(),
        nanos => local_time(Timestamp(nanos)),
    };
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { tame(text) };
    let to = Some(p.to.as_str()).filter(|to| !to.is_empty());
    vec![titled(&p.kind, to), or_dash(&p.schedule), or_dash(&p.window), next]
}
