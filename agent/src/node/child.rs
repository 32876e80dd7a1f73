//! The parent's side of children: starts one for each job, answers its questions, and kills it to let go of a volume.
//!
//! The agent itself never opens anything of a volume. What a killed child had uploaded is found by the next one.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proto::convert;
use proto::frame;
use proto::job::{Job, JobId, JobResult, JobSpec};
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::{self, FromWorker, ToWorker};
use repository::error::Context as _;
use repository::monitor::Figures;
use repository::ops::Task;
use repository::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::config::ChildLimits;
use super::find::Spot;
use super::pipe::receive;
use super::plan::{Access, PlannedVolume};
use super::pressure::give_way;
use crate::limits::{
    CHILD_INBOX, CHILD_LINE_BYTES_MAX, CHILD_LOOKUPS_MAX, CHILD_READY_SECONDS, CHILD_STOP_SECONDS,
};
use crate::lookup::Remote;
use crate::metrics::Metrics;

/// Starts children.
#[derive(Debug)]
pub(crate) struct Nursery {
    pub(crate) program: PathBuf,
    pub(crate) state_dir: PathBuf,
    pub(crate) host: String,
    pub(crate) limits: ChildLimits,
    pub(crate) confine: bool,
    /// Restores are waited for, backups are not.
    pub(crate) low_priority: bool,
    pub(crate) metrics: Metrics,
    pub(crate) number: AtomicU64,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With this result.
    Result(Box<JobResult>),
    /// It was killed, because it had to let go.
    LetGo(String),
}

/// What one child is for.
#[derive(Debug)]
pub(crate) struct Errand<'e> {
    pub(crate) access: &'e Access,
    pub(crate) volume: &'e PlannedVolume,
    pub(crate) spot: &'e Spot,
    pub(crate) spec: &'e JobSpec,
    pub(crate) lookups: Arc<Remote>,
}

impl Nursery {
    fn folder(&self, name: &str) -> PathBuf {
        self.state_dir.join(name)
    }

    /// Removes what children of an earlier process left.
    pub(crate) fn clean(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.folder("scratch")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
            _ => std::fs::create_dir_all(self.folder("scratch")),
        }
    }

    fn command(&self, scratch: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("volume-worker").env_clear().env("TMPDIR", scratch);
        // The allocator must not start a thread before the child is confined: threads are confined one by one.
        command.env("_RJEM_MALLOC_CONF", "background_thread:false");
        for name in ["HOLDFAST_LOG", "HOLDFAST_LOCK_DAYS", "HOLDFAST_LOCK_MODE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true).current_dir("/");
        command
    }

    /// Starts a child that has no job and tries what it must not be able to do. An error says what it could.
    pub(crate) async fn probe(&self, outside: &[&Path]) -> Result<()> {
        let what = || "try a child's confinement".to_owned();
        let folder = self.folder("scratch").join("probe");
        let (root, scratch) = (folder.join("volume"), folder.join("scratch"));
        for made in [&root, &scratch] {
            tokio::fs::create_dir_all(made).await.context(ErrorKind::Internal, what)?;
        }
        let bytes = |path: &Path| Bytes::copy_from_slice(path.as_os_str().as_bytes());
        let root = v1::WorkerRoot { base: bytes(&folder), path: bytes(&root), ..v1::WorkerRoot::default() };
        let asked = v1::WorkerProbe {
            root: Some(root),
            scratch_dir: bytes(&scratch),
            confine: true,
            outside: outside.iter().map(|path| bytes(path)).collect(),
        };
        let order = frame::encode(&ToWorker { message: Some(Order::Probe(asked)) })?;
        let mut child = self.command(&scratch).spawn().context(ErrorKind::Internal, what)?;
        let answer = async {
            let missing = || Error::new(ErrorKind::Internal, "a child without pipes");
            let written = child.stdin.as_mut().ok_or_else(missing)?.write_all(&order).await;
            written.context(ErrorKind::Internal, what)?;
            let mut output = child.stdout.take().ok_or_else(missing)?;
            receive::<FromWorker>(&mut output).await
        };
        let late = |_| Error::new(ErrorKind::Internal, format!("{}: no answer in time", what()));
        let answer =
            tokio::time::timeout(Duration::from_secs(CHILD_READY_SECONDS), answer).await.map_err(late)?;
        drop(child.start_kill());
        drop(child.wait().await);
        drop(tokio::fs::remove_dir_all(&folder).await);
        match answer? {
            Some(FromWorker { message: Some(Message::Probed(probed)) }) => judge(&probed),
            _ => Err(Error::new(ErrorKind::Refused, "what reads volumes could not be confined: see the log")),
        }
    }

    /// Has one job done by a child of its own, until it ends or `let_go` says why it must not go on.
    pub(crate) async fn run(
        &self,
        errand: &Errand<'_>,
        task: &Task,
        let_go: impl Future<Output = String>,
    ) -> End {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let scratch = self.folder("scratch").join(number.to_string());
        let cache = self.folder("cache").join(errand.access.domain.as_str());
        let failed = |e: &Error| JobResult::failed(e, task.monitor.figures());
        let end = match self.start(errand, &cache, &scratch).await {
            Ok(child) => child.accompany(task, let_go).await,
            Err(e) => End::Result(Box::new(failed(&e))),
        };
        drop(tokio::task::spawn_blocking(move || std::fs::remove_dir_all(scratch)).await);
        end
    }

    async fn start(&self, errand: &Errand<'_>, cache: &Path, scratch: &Path) -> Result<Nurtured> {
        let what = || "start a child".to_owned();
        for folder in [cache, scratch] {
            let made = tokio::fs::create_dir_all(folder).await;
            made.context(ErrorKind::Internal, || format!("create {}", folder.display()))?;
        }
        let mut child = self.command(scratch).spawn().context(ErrorKind::Internal, what)?;
        let missing = || Error::new(ErrorKind::Internal, "a child without pipes");
        let (input, output) =
            (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
        let errors = child.stderr.take().ok_or_else(missing)?;
        let logging = AbortOnDropHandle::new(tokio::spawn(log(errors, errand.volume.name.clone())));
        self.metrics.children_started.inc();
        let setup = self.setup(errand, cache, scratch);
        let lookups = errand.lookups.clone();
        Ok(Nurtured {
            child,
            input,
            output,
            _logging: logging,
            setup,
            lookups,
            metrics: self.metrics.clone(),
        })
    }

    fn setup(&self, errand: &Errand<'_>, cache: &Path, scratch: &Path) -> v1::WorkerSetup {
        let bytes = |path: &Path| Bytes::copy_from_slice(path.as_os_str().as_bytes());
        let (spot, volume) = (errand.spot, errand.volume);
        let root = v1::WorkerRoot {
            base: bytes(&spot.base),
            path: bytes(&spot.path),
            mount: spot.mount,
            write: matches!(errand.spec, JobSpec::Restore(_)),
        };
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        // The job's name is the parent's business.
        let job = Job { id: JobId([0; 16]), spec: errand.spec.clone() };
        v1::WorkerSetup {
            access: Some(errand.access.to_wire()),
            job: Some(convert::job_to_wire(&job)),
            host: self.host.clone(),
            root: Some(root),
            cache_dir: bytes(cache),
            scratch_dir: bytes(scratch),
            confine: self.confine,
            exclude: volume.rules.exclude.clone(),
            exclude_caches: volume.rules.exclude_caches,
            memory_bytes_max: self.limits.memory_bytes_max as u64,
            cpu_threads: number(self.limits.cpu_threads),
            readers: number(self.limits.readers),
            zstd_level: self.limits.zstd_level,
            reread_days: self.limits.reread_days,
            low_priority: self.low_priority && matches!(errand.spec, JobSpec::Backup(_)),
        }
    }
}

/// All must have been refused that should be, and nothing that is needed.
fn judge(probed: &v1::WorkerProbed) -> Result<()> {
    if probed.allowed.is_empty() && probed.missing.is_empty() {
        tracing::info!(
            tried = probed.tried,
            "what reads volumes is confined: all that was tried was refused"
        );
        return Ok(());
    }
    let (allowed, missing) = (probed.allowed.join(", "), probed.missing.join(", "));
    let what = format!("the confinement does not hold: it allows [{allowed}] and refuses [{missing}]");
    Err(Error::new(ErrorKind::Refused, what))
}

/// A child that runs.
struct Nurtured {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    _logging: AbortOnDropHandle<()>,
    setup: v1::WorkerSetup,
    lookups: Arc<Remote>,
    metrics: Metrics,
}

impl Nurtured {
    /// Until it ends, or has to.
    async fn accompany(self, task: &Task, let_go: impl Future<Output = String>) -> End {
        let Self { mut child, input, output, _logging, setup, lookups, metrics } = self;
        let (outbox, outgoing) = mpsc::channel(CHILD_INBOX);
        let first = outbox.send(Order::Setup(setup)).await;
        debug_assert!(first.is_ok(), "the channel is new");
        let _writing = AbortOnDropHandle::new(tokio::spawn(write(outgoing, input)));
        let talk = talk(output, &outbox, lookups, task);
        let talked = tokio::select! {
            talked = talk => Ok(talked),
            () = stopped(task, &outbox) => Ok(Err(Error::new(ErrorKind::Cancelled, "cancelled"))),
            why = let_go => Err(why),
            never = give_way(child.id(), &metrics.children_held) => match never {},
        };
        // Whatever it is doing: its descriptors close with it.
        let killed = child.start_kill();
        let ended = child.wait().await;
        match talked {
            Err(why) => {
                metrics.children_killed.inc();
                tracing::info!(why, killed = killed.is_ok(), "a child was killed to let go of its volume");
                End::LetGo(why)
            }
            Ok(Ok(Some(result))) => End::Result(Box::new(result)),
            Ok(Ok(None)) => {
                let e = Error::new(ErrorKind::Source, format!("the child that did the job {}", died(ended)));
                End::Result(Box::new(JobResult::failed(&e, task.monitor.figures())))
            }
            Ok(Err(e)) => End::Result(Box::new(JobResult::failed(&e, task.monitor.figures()))),
        }
    }
}

/// When the job is cancelled: the child is asked to end, and gets some time for it.
async fn stopped(task: &Task, outbox: &mpsc::Sender<Order>) {
    task.cancel.cancelled().await;
    // A child that does not listen any more is killed.
    let _deaf = outbox.try_send(Order::Cancel(v1::WorkerCancel {}));
    tokio::time::sleep(Duration::from_secs(CHILD_STOP_SECONDS)).await;
}

/// How a child ended without a result, by its exit status.
fn died(ended: std::io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => format!("ended without a result ({status}); if that was signal 9, mind its memory"),
        Err(e) => format!("is lost: {e}"),
    }
}

async fn write(mut outgoing: mpsc::Receiver<Order>, mut input: ChildStdin) {
    while let Some(message) = outgoing.recv().await {
        let frame = frame::encode(&ToWorker { message: Some(message) }).map(zeroize::Zeroizing::new);
        let Ok(frame) = frame else { return };
        if input.write_all(&frame).await.is_err() {
            // It ended; its output says how.
            return;
        }
    }
}

/// Listens to a child until its result, or its end without one.
async fn talk(
    mut output: ChildStdout,
    outbox: &mpsc::Sender<Order>,
    lookups: Arc<Remote>,
    task: &Task,
) -> Result<Option<JobResult>> {
    let mut known = Figures::default();
    let mut count = |figures: Option<&v1::Figures>| {
        let now = convert::figures_from_wire(figures);
        task.monitor.raise(&known, &now);
        known = now;
    };
    let answers = tokio_util::task::TaskTracker::new();
    let turns = Arc::new(tokio::sync::Semaphore::new(CHILD_LOOKUPS_MAX));
    let patience = Duration::from_secs(CHILD_READY_SECONDS);
    let late = |_| Error::new(ErrorKind::Internal, "the child did not begin in time");
    let mut first =
        Some(tokio::time::timeout(patience, receive::<FromWorker>(&mut output)).await.map_err(late)??);
    loop {
        let next = match first.take() {
            Some(next) => next,
            None => receive::<FromWorker>(&mut output).await?,
        };
        let Some(next) = next else { return Ok(None) };
        match next.message {
            Some(Message::Ready(ready)) => tracing::debug!(confined = ready.confined, "a child is ready"),
            Some(Message::Progress(figures)) => count(Some(&figures)),
            Some(Message::Lookup(lookup)) => {
                let turn = turns.clone().acquire_owned().await;
                let (outbox, lookups) = (outbox.clone(), lookups.clone());
                answers.spawn(async move {
                    let answer = answer(lookup, &lookups).await;
                    // A child that ended needs none.
                    let _gone = outbox.send(Order::Places(answer)).await;
                    drop(turn);
                });
            }
            Some(Message::Result(result)) => {
                count(result.figures.as_ref());
                let mut result = convert::result_from_wire(result)?;
                result.figures = task.monitor.figures();
                return Ok(Some(result));
            }
            // The answer to what was not asked, or of a newer version.
            Some(Message::Probed(_)) | None => {}
        }
    }
}

async fn answer(lookup: v1::WorkerLookup, lookups: &Remote) -> v1::WorkerPlaces {
    let number = lookup.number;
    let ids = convert::ids_from_wire(&lookup.request.unwrap_or_default());
    let places = match ids {
        Ok(ids) => lookups.find(&ids).await,
        Err(_) => None,
    };
    v1::WorkerPlaces { number, response: places.map(|p| convert::places_to_wire(&p)) }
}

/// What a child says on its standard error goes to the log, line by line.
async fn log(errors: ChildStderr, volume: String) {
    let mut reader = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        let bound = CHILD_LINE_BYTES_MAX as u64;
        match (&mut reader).take(bound).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                tracing::info!(volume, "child: {}", text.trim_end());
            }
        }
    }
}
