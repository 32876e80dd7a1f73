//! What every command needs: the flags, the world, a way to stop, and the opened repository.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use clap::ArgMatches;
use clap::parser::ValueSource;
use repository::env::Env;
use repository::ids::DomainName;
use repository::monitor::Monitor;
use repository::ops::snapshots::Snapshot;
use repository::ops::{OpenOptions, Repository, Task};
use repository::store::Store;
use repository::{Error, ErrorKind};
use service::client::Target;
use service::tls::ClientFiles;
use tokio_util::sync::CancellationToken;

use crate::args::{Global, OutputFormat};
use crate::exit::{Usage, usage};
use crate::key::{self, KeySource};
use crate::progress::{Show, Shown};
use crate::remote::Remote;
use crate::source::Source;
use crate::{idle, logs, signals};

/// Where a command works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// On the bucket alone.
    Repo(String),
    /// Through a coordinator.
    Coordinator(String),
}

/// The running program.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) env: Env,
    pub(crate) cancel: CancellationToken,
    /// Judged when it is asked for: an agent needs both, and asks for neither.
    place: Result<Option<Where>, Usage>,
    key: KeySource,
}

impl App {
    /// Sets up; must run inside the runtime.
    pub(crate) fn new(matches: &ArgMatches, global: Global) -> Result<Self> {
        let mut global = without_empty(global);
        let cancel = CancellationToken::new();
        signals::watch(cancel.clone())?;
        let place =
            choose(matches, ("repo", global.repo.clone()), ("coordinator", global.coordinator.clone())).map(
                |chosen| {
                    chosen.map(|(repo, url)| if repo { Where::Repo(url) } else { Where::Coordinator(url) })
                },
            );
        let files =
            (("passphrase_file", global.passphrase_file.take()), ("key_file", global.key_file.take()));
        let key = match choose(matches, files.0, files.1)? {
            Some((true, path)) => KeySource::PassphraseFile(path),
            Some((false, path)) => KeySource::KeyFile(path),
            None => KeySource::Prompt,
        };
        // What lost is gone, for the servers too.
        match &key {
            KeySource::PassphraseFile(path) => global.passphrase_file = Some(path.clone()),
            KeySource::KeyFile(path) => global.key_file = Some(path.clone()),
            KeySource::Prompt => {}
        }
        let through_coordinator = place.as_ref().ok().and_then(|p| p.as_ref()).map(is_coordinator);
        let is_flag = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        idle::refuse(matches.subcommand_name().unwrap_or_default(), through_coordinator, is_flag)?;
        Ok(Self { global, env: Env::system(), cancel, place, key })
    }

    pub(crate) fn format(&self) -> OutputFormat {
        self.global.output
    }

    /// Where the command works; one of the two has to be given.
    pub(crate) fn place(&self) -> Result<&Where> {
        let missing = "no repository given: pass --repo URL (or --coordinator URL), or set HOLDFAST_REPO";
        match &self.place {
            Ok(place) => place.as_ref().ok_or_else(|| usage(missing)),
            Err(clash) => Err(clash.clone().into()),
        }
    }

    /// The domain.
    pub(crate) fn domain(&self) -> DomainName {
        self.global.domain.clone().unwrap_or_else(DomainName::default_domain)
    }

    /// The key's source.
    pub(crate) fn key(&self) -> &KeySource {
        &self.key
    }

    /// Opens the store at `url`.
    pub(crate) async fn store(
        &self,
        url: &str,
        limit_upload: Option<ByteSize>,
    ) -> Result<Result<Arc<dyn Store>, Error>> {
        self.or_cancel(crate::store::open(url, limit_upload, &self.env)).await
    }

    /// Where snapshots are looked at.
    pub(crate) async fn source(&self) -> Result<Source> {
        match self.place()? {
            Where::Repo(url) => Ok(Source::Repo(self.open(url, 0, None).await?)),
            Where::Coordinator(url) => Ok(Source::Coordinator(self.remote(url)?)),
        }
    }

    /// The coordinator at `url`. Nothing is sent yet.
    pub(crate) fn remote(&self, url: &str) -> Result<Remote> {
        let global = &self.global;
        let tls = ClientFiles {
            ca_file: global.tls_ca_file.clone(),
            cert_file: global.tls_cert_file.clone(),
            key_file: global.tls_key_file.clone(),
        };
        let token_file = global.token_file.clone();
        let target = Target {
            url: url.to_owned(),
            token_file,
            tls,
            allow_plaintext: global.allow_plaintext,
            domain: global.domain.clone(),
        };
        Ok(Remote::connect(&target)?)
    }

    /// Opens the repository at `url`; 0 threads means one a core.
    pub(crate) async fn open(
        &self,
        url: &str,
        threads: usize,
        limit_upload: Option<ByteSize>,
    ) -> Result<Arc<Repository>> {
        let store = self.store(url, limit_upload).await?.map_err(|e| missing(e, url))?;
        self.open_with(store, url, (self.domain(), self.key.clone()), threads).await
    }

    /// Opens the repository in a store that was opened, with this domain and key.
    pub(crate) async fn open_with(
        &self,
        store: Arc<dyn Store>,
        url: &str,
        (domain, source): (DomainName, KeySource),
        threads: usize,
    ) -> Result<Arc<Repository>> {
        let credential = tokio::task::spawn_blocking(move || key::read(&source)).await??;
        let options = OpenOptions {
            domain,
            credential,
            cache_dir: self.cache_dir(),
            remote: !repository::store::is_local(url),
            cpu_threads: threads,
        };
        let opened = self.or_cancel(Repository::open(store, options, self.env.clone())).await?;
        opened.map_err(|e| missing(e, url)).with_context(|| format!("open {url}"))
    }

    /// Finds one snapshot.
    pub(crate) async fn snapshot(
        &self,
        source: &Source,
        spec: &str,
        volume: Option<&str>,
    ) -> Result<Snapshot> {
        Ok(self.or_cancel(source.snapshot(spec, volume)).await??)
    }

    /// Ends waiting when the user asks to stop.
    pub(crate) async fn or_cancel<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            done = work => Ok(done),
            () = self.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "cancelled").into()),
        }
    }

    /// A piece of work that the user's signals stop.
    pub(crate) fn task(&self) -> Task {
        Task { monitor: Arc::new(Monitor::default()), cancel: self.cancel.clone() }
    }

    /// Shows how far it is.
    pub(crate) fn show(&self, what: String, task: &Task) -> Shown {
        Shown::start(Show::choose(self.global.quiet, logs::is_terminal()), what, Arc::clone(&task.monitor))
    }

    /// The cache folder, where there is any place for one.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        self.global.cache_dir.clone().or_else(|| xdg("XDG_CACHE_HOME", ".cache"))
    }
}

fn is_coordinator(place: &Where) -> bool {
    matches!(place, Where::Coordinator(_))
}

/// `holdfast` in an XDG folder; relative values are ignored, as the specification says.
pub(crate) fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    Some(set.or_else(|| Some(home()?.join(below_home)))?.join("holdfast"))
}

/// An empty environment variable counts as unset.
fn without_empty(mut global: Global) -> Global {
    for text in [&mut global.repo, &mut global.coordinator] {
        text.take_if(|t| t.is_empty());
    }
    for path in [
        &mut global.passphrase_file,
        &mut global.key_file,
        &mut global.cache_dir,
        &mut global.token_file,
        &mut global.tls_ca_file,
        &mut global.tls_cert_file,
        &mut global.tls_key_file,
    ] {
        path.take_if(|p| p.as_os_str().is_empty());
    }
    global
}

/// One of two settings that exclude each other: a flag beats an environment variable, two of the same rank clash.
/// True means the first.
fn choose<T>(
    matches: &ArgMatches,
    first: (&str, Option<T>),
    second: (&str, Option<T>),
) -> Result<Option<(bool, T)>, Usage> {
    let is_flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
    match (first.1, second.1) {
        (None, None) => Ok(None),
        (Some(a), None) => Ok(Some((true, a))),
        (None, Some(b)) => Ok(Some((false, b))),
        (Some(a), Some(_)) if is_flag(first.0) && !is_flag(second.0) => Ok(Some((true, a))),
        (Some(_), Some(b)) if is_flag(second.0) && !is_flag(first.0) => Ok(Some((false, b))),
        _ => {
            let flag = |id: &str| format!("--{}", id.replace('_', "-"));
            Err(Usage(format!("both {} and {} are given; which one?", flag(first.0), flag(second.0))))
        }
    }
}

/// Where a repository should be and nothing is, the store is not the one that was meant.
pub(crate) fn missing(error: Error, url: &str) -> anyhow::Error {
    if error.kind() != ErrorKind::NotFound {
        return error.into();
    }
    let what = format!("there is no repository (`holdfast init --repo {url}` creates one)");
    Error::with_source(ErrorKind::Store, what, error).into()
}
