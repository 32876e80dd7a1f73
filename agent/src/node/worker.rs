//! The child that does one job: it reads one volume, or restores into one, and nothing else.
//!
//! 1. All that it needs comes over its standard input. It has no environment, no token and no connection to the coordinator.
//! 2. It opens the volume's root, checks that this is the mount that was meant, and confines itself before it has a second thread.
//! 3. Only then it says that it is ready, opens the repository and does the job.
//! 4. Right before a snapshot is committed it looks whether the same mount is still there.
//!
//! When its standard input ends, nobody waits for it any more: it ends at once, whatever it is doing.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::convert;
use proto::frame;
use proto::job::{Job, JobResult, JobSpec};
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::{self, FromWorker, ToWorker};
use repository::env::Env;
use repository::error::Context as _;
use repository::ids::{BlobId, PackId, Place};
use repository::index::Lookup;
use repository::keys::Credential;
use repository::ops::backup::{BackupRequest, Guard};
use repository::ops::{OpenOptions, Repository, Task};
use repository::source::Rules;
use repository::store::{self, StoreOptions};
use repository::{Error, ErrorKind, Result};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::confine::{self, Reach};
use super::filter;
use super::open::Root;
use super::pipe as pipes;
use super::plan::Access;
use super::probe;
use crate::executor::{back_up, backup_result, check_target, restore_result, restore_to};
use crate::limits::{CHILD_INBOX, CHILD_PROGRESS_MILLIS, INDEX_SECONDS, LOOKUP_IDS, LOOKUP_SECONDS};

/// Threads that wait for the network.
const ASYNC_THREADS: usize = 2;
/// Threads for blocking reads and writes.
const BLOCKING_THREADS_MAX: usize = 64;

/// The child's whole life. Must be called by the process's only thread.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!(error = %e.chain(), "the child failed");
            ExitCode::FAILURE
        }
    }
}

/// What the child works with.
struct Setup {
    access: Access,
    job: Job,
    wire: v1::WorkerSetup,
    root: Root,
}

fn run() -> Result<()> {
    let mut input = File::from(duplicate(std::io::stdin().as_fd())?);
    let first: ToWorker = pipes::receive_first(&mut input)?;
    let setup = match first.message {
        Some(Order::Setup(setup)) => setup,
        Some(Order::Probe(asked)) => return say_probed(probe::probe(&asked)?),
        _ => return Err(Error::new(ErrorKind::Internal, "the first message is no setup")),
    };
    // What fails from here on is the job's result.
    let prepared = prepare(setup);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ASYNC_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context(ErrorKind::Internal, || "start the async runtime".to_owned())?;
    let done = runtime.block_on(Box::pin(serve(prepared, input.into())));
    // A read that hangs must not keep the process, and nothing is left to be done.
    runtime.shutdown_background();
    done
}

fn say_probed(probed: v1::WorkerProbed) -> Result<()> {
    let frame = frame::encode(&FromWorker { message: Some(Message::Probed(probed)) })?;
    let written = std::io::stdout().write_all(&frame).and_then(|()| std::io::stdout().flush());
    written.context(ErrorKind::Internal, || "write to the pipe".to_owned())
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned().context(ErrorKind::Internal, || "take the pipe over".to_owned())
}

/// Everything that must happen before there is a second thread.
fn prepare(mut setup: v1::WorkerSetup) -> Result<Setup> {
    let missing = |what: &str| Error::new(ErrorKind::Internal, format!("the setup has no {what}"));
    let access = Access::from_wire(setup.access.take().ok_or_else(|| missing("access"))?)?;
    let job = convert::job_from_wire(setup.job.take().ok_or_else(|| missing("job"))?)?;
    if setup.low_priority {
        give_way();
    }
    let root = Root::open(setup.root.as_ref().ok_or_else(|| missing("root"))?)?;
    if setup.confine {
        let mut own = vec![path_of(&setup.cache_dir), path_of(&setup.scratch_dir)];
        if store::is_local(&access.url)
            && let Some(path) = access.url.strip_prefix("file://")
        {
            own.push(PathBuf::from(path));
        }
        confine::confine(&Reach { root: root.fd(), write: root.is_writable(), own })?;
    } else {
        // What can be refused without Landlock.
        filter::install(root.is_writable())?;
    }
    Ok(Setup { access, job, wire: setup, root })
}

/// Backups are work that nobody waits for. Where it can't be said, they are only less polite.
fn give_way() {
    let nice = rustix::process::setpriority_process(None, 19).map_err(std::io::Error::from);
    for (what, done) in [
        ("nice", nice),
        ("batch", sys::priority::schedule_as_batch()),
        ("idle reads", sys::priority::read_when_idle()),
    ] {
        if let Err(error) = done {
            tracing::debug!(%error, "no low priority ({what})");
        }
    }
}

fn path_of(bytes: &Bytes) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

type Outbox = mpsc::Sender<Message>;

/// Does the job, with the pipes to the parent.
async fn serve(prepared: Result<Setup>, input: OwnedFd) -> Result<()> {
    let what = || "take the pipes over".to_owned();
    let input = pipe::Receiver::from_owned_fd(input).context(ErrorKind::Internal, what)?;
    let output = duplicate(std::io::stdout().as_fd())?;
    let output = pipe::Sender::from_owned_fd(output).context(ErrorKind::Internal, what)?;
    let (outbox, outgoing) = mpsc::channel(CHILD_INBOX);
    let writing = tokio::spawn(write(outgoing, output));
    let task = Task::default();
    let lookups =
        Arc::new(Lookups { outbox: outbox.clone(), waiting: Mutex::default(), number: AtomicU64::new(0) });
    let hearing = tokio::spawn(hear(input, task.clone(), lookups.clone()));
    let result = match prepared {
        Ok(setup) => {
            let confined = setup.wire.confine;
            say(&outbox, Message::Ready(v1::WorkerReady { confined })).await?;
            tokio::select! {
                result = work(setup, lookups.clone(), &task) => result,
                never = tell(&outbox, &task) => never,
            }
        }
        Err(e) => JobResult::failed(&e, task.monitor.figures()),
    };
    say(&outbox, Message::Result(convert::result_to_wire(&result))).await?;
    hearing.abort();
    drop(hearing.await);
    drop((outbox, lookups));
    // All senders are gone: this ends when everything is written.
    writing.await.context(ErrorKind::Internal, || "write to the pipe".to_owned())?
}

async fn say(outbox: &Outbox, message: Message) -> Result<()> {
    outbox.send(message).await.context(ErrorKind::Internal, || "the pipe is closed".to_owned())
}

async fn write(mut outgoing: mpsc::Receiver<Message>, mut output: pipe::Sender) -> Result<()> {
    while let Some(message) = outgoing.recv().await {
        let frame = frame::encode(&FromWorker { message: Some(message) })?;
        let written = output.write_all(&frame).await;
        written.context(ErrorKind::Internal, || "write to the pipe".to_owned())?;
    }
    Ok(())
}

/// Tells how far it is, for as long as it is polled.
async fn tell(outbox: &Outbox, task: &Task) -> JobResult {
    loop {
        tokio::time::sleep(Duration::from_millis(CHILD_PROGRESS_MILLIS)).await;
        let figures = convert::figures_to_wire(&task.monitor.figures());
        // A parent that reads slowly gets the next one.
        let _full = outbox.try_send(Message::Progress(figures));
    }
}

async fn hear(mut input: pipe::Receiver, task: Task, lookups: Arc<Lookups>) {
    loop {
        match pipes::receive::<ToWorker>(&mut input).await {
            Ok(Some(ToWorker { message: Some(Order::Cancel(_)) })) => task.cancel.cancel(),
            Ok(Some(ToWorker { message: Some(Order::Places(places)) })) => lookups.take(places),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                // The parent is gone. What was uploaded is found again by whoever goes on.
                std::process::exit(1);
            }
        }
    }
}

async fn work(setup: Setup, lookups: Arc<Lookups>, task: &Task) -> JobResult {
    let Setup { access, job, wire, root } = setup;
    let repo = match open_repository(access, &wire).await {
        Ok(repo) => repo,
        Err(e) => return JobResult::failed(&e, task.monitor.figures()),
    };
    let local = service::repo::open_index(&repo.0, INDEX_SECONDS);
    let lookup = Arc::new(ProxyLookup { parent: lookups, local: local.clone() });
    let done = match &job.spec {
        JobSpec::Backup(spec) => {
            let root = Arc::new(root);
            let held = root.clone();
            let request = BackupRequest {
                root: root.through(),
                volume: spec.volume.clone(),
                host: wire.host.clone(),
                rules: Rules { exclude: wire.exclude.clone(), exclude_caches: wire.exclude_caches },
                tags: spec.tags.clone(),
                read_all: spec.read_all,
                reread_days: wire.reread_days,
                reuse: repo.1,
                zstd_level: wire.zstd_level,
                memory_bytes_max: memory(&wire),
                readers: wire.readers as usize,
                origin: spec.origin.clone(),
                shown: Some(root.path().to_owned()),
                guard: Some(Guard::new(move || held.is_still_there())),
            };
            backup_result(back_up(&repo.0, request, lookup, task).await, task)
        }
        JobSpec::Restore(spec) => {
            let into = target(&root, &spec.target);
            match into {
                Ok(into) => restore_result(restore_to(&repo.0, spec, into, memory(&wire), task).await, task),
                Err(e) => JobResult::failed(&e, task.monitor.figures()),
            }
        }
    };
    // What it learnt of the index serves the next child; nothing depends on it.
    if let Ok(Err(e)) = tokio::task::spawn_blocking(move || local.save()).await {
        tracing::warn!(error = %e.chain(), "the index is not kept");
    }
    done
}

fn memory(wire: &v1::WorkerSetup) -> usize {
    usize::try_from(wire.memory_bytes_max).unwrap_or(usize::MAX)
}

/// The target through the root's descriptor, so that nobody can put another folder in its place.
fn target(root: &Root, target: &[u8]) -> Result<PathBuf> {
    let path = check_target(target, &[root.path().to_owned()])?;
    let rest = path.strip_prefix(root.path()).unwrap_or(Path::new(""));
    Ok(if rest.as_os_str().is_empty() { root.through() } else { root.through().join(rest) })
}

async fn open_repository(
    access: Access,
    wire: &v1::WorkerSetup,
) -> Result<(Arc<Repository>, repository::ops::backup::Reuse)> {
    let env = Env::system();
    let client = access.credentials.iter().map(|(n, v)| (n.clone(), v.to_string())).collect();
    let roots = access.store_ca.clone();
    let options = StoreOptions { client, own_credentials: true, roots, ..StoreOptions::default() };
    let store = store::open(&access.url, &options, &env).await?;
    let credential = Credential::find_in_key_file(&access.key_file);
    let credential = credential.ok_or_else(|| {
        Error::new(ErrorKind::Key, format!("domain {}: what was sent is no key file", access.domain))
    })?;
    let options = OpenOptions {
        domain: access.domain.clone(),
        credential,
        cache_dir: Some(path_of(&wire.cache_dir)),
        remote: !store::is_local(&access.url),
        cpu_threads: wire.cpu_threads as usize,
    };
    let opened = Repository::open(store, options, env).await;
    Ok((opened.map_err(|e| e.context(format!("open repository {}", access.url)))?, access.reuse))
}

/// Questions to the parent that wait for their answers.
#[derive(Debug)]
struct Lookups {
    outbox: Outbox,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Option<v1::LookupResponse>>>>,
    number: AtomicU64,
}

impl Lookups {
    fn take(&self, places: v1::WorkerPlaces) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&places.number);
        if let Some(waiting) = waiting {
            // Who asked may have stopped waiting.
            let _late = waiting.send(places.response);
        }
    }

    /// `None`: nobody knows.
    async fn ask(&self, ids: &[BlobId]) -> Option<Vec<Option<Place>>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, answered);
        let request = Some(convert::ids_to_wire(ids));
        let asked = self.outbox.send(Message::Lookup(v1::WorkerLookup { number, request })).await;
        let patience = Duration::from_secs(LOOKUP_SECONDS * 2);
        let response = match asked {
            Ok(()) => {
                tokio::time::timeout(patience, answer).await.ok().and_then(std::result::Result::ok).flatten()
            }
            Err(_) => None,
        };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        convert::places_from_wire(&response?, ids.len()).ok()
    }
}

/// The coordinator's index through the parent, with the repository's own behind it.
#[derive(Debug)]
struct ProxyLookup {
    parent: Arc<Lookups>,
    local: Arc<dyn Lookup>,
}

#[async_trait]
impl Lookup for ProxyLookup {
    async fn find(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>> {
        let mut places = Vec::with_capacity(ids.len());
        for batch in ids.chunks(LOOKUP_IDS) {
            match self.parent.ask(batch).await {
                Some(answer) => places.extend(answer),
                None => places.extend(self.local.find(batch).await?),
            }
        }
        Ok(places)
    }

    fn find_besides(&self, id: &BlobId, packs: &std::collections::HashSet<PackId>) -> Option<Place> {
        self.local.find_besides(id, packs)
    }
}
