//! `standalone`: coordinator and agent in one process, with embedded defaults. `--once` backs up and exits.
//!
//! The key lies outside the store: a copy of the store alone reveals nothing.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use repository::ops::init::{InitOptions, init};
use repository::ops::{OpenOptions, Repository};
use repository::{Error, ErrorKind};
use tokio_util::sync::CancellationToken;

use super::backup;
use crate::app::{App, xdg};
use crate::args::{BackupArgs, StandaloneArgs};
use crate::exit::{Exit, usage};
use crate::key::{self, KeySource};
use crate::{logs, store};

/// Where standalone keeps its things.
#[derive(Debug)]
struct Places {
    /// The store, unless `--repo` says otherwise.
    url: String,
    /// The key file, unless `--key-file` or `--passphrase-file` says otherwise.
    own_key: PathBuf,
    /// What opens the repository.
    key: KeySource,
    /// The folder of the servers' state.
    state: PathBuf,
}

pub(super) async fn standalone(app: &App, args: StandaloneArgs) -> Result<Exit> {
    if !args.once && args.tuning.limit_upload.is_some() {
        return Err(usage("--limit-upload works with --once only"));
    }
    let places = places(app, &args)?;
    let repo = open(app, &args, &places).await?;
    if !args.once {
        drop(repo);
        return serve(app, &args, &places).await;
    }
    let backup =
        BackupArgs { paths: args.paths, volume: None, tuning: args.tuning, tag: Vec::new(), read_all: false };
    let requests = backup::requests(&backup, &backup::host())?;
    backup::all(app, &backup::By::Us(repo, places.url), requests).await
}

fn places(app: &App, args: &StandaloneArgs) -> Result<Places> {
    let data = args.data_dir.clone().or_else(|| xdg("XDG_DATA_HOME", ".local/share"));
    let data = data.ok_or_else(|| usage("no place for the repository: pass --data-dir DIR"))?;
    let data = std::path::absolute(data).context("find the data folder")?;
    make_private(&data)?;
    let url = match &app.global.repo {
        Some(url) => url.clone(),
        None => store::file_url(&data.join("repository"))?,
    };
    let own_key = data.join("standalone.key");
    let key = match app.key() {
        KeySource::Prompt => KeySource::KeyFile(own_key.clone()),
        given => given.clone(),
    };
    Ok(Places { url, own_key, key, state: data.join("state") })
}

fn make_private(folder: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("create {}", folder.display()))
}

/// Opens the repository; creates it, and its key, the first time.
async fn open(app: &App, args: &StandaloneArgs, places: &Places) -> Result<Arc<Repository>> {
    let opened = try_open(app, args, places).await;
    match opened {
        Err(e) if is_missing(&e) => {
            refuse_lost(places)?;
            create(app, places).await?;
            try_open(app, args, places).await
        }
        other => other,
    }
}

/// A key without its repository: rather an unmounted disk than a first start.
fn refuse_lost(places: &Places) -> Result<()> {
    let own = places.key == KeySource::KeyFile(places.own_key.clone());
    if !own || !places.own_key.try_exists().unwrap_or(true) {
        return Ok(());
    }
    let (url, key) = (&places.url, places.own_key.display());
    let what = format!(
        "there is no repository at {url}, but its key {key} exists: is a disk not mounted? \
         (`holdfast init --repo {url} --key-file {key}` starts anew)"
    );
    Err(Error::new(ErrorKind::Store, what).into())
}

async fn create(app: &App, places: &Places) -> Result<()> {
    let store = app.or_cancel(store::create(&places.url, &app.env)).await??;
    let (from, env) = (places.key.clone(), app.env.clone());
    let (credential, made) = tokio::task::spawn_blocking(move || key::read_new(&from, &env)).await??;
    let options = InitOptions { domain: app.domain(), credentials: vec![credential] };
    let created = app.or_cancel(init(store, options, &app.env)).await?;
    created.with_context(|| format!("create a repository at {}", places.url))?;
    logs::say(&format!("created a repository at {}", places.url));
    if let Some(path) = made {
        logs::say(&format!(
            "its key is {}; without it the backups can't be read, so keep a copy",
            path.display()
        ));
    }
    Ok(())
}

async fn try_open(app: &App, args: &StandaloneArgs, places: &Places) -> Result<Arc<Repository>> {
    let store = app.store(&places.url, args.tuning.limit_upload).await??;
    let repo_json = repository::layout::Layout::repo_json();
    if app.or_cancel(store.find_size(&repo_json)).await??.is_none() {
        return Err(Error::new(ErrorKind::NotFound, format!("{}: no repository", places.url)).into());
    }
    let from = places.key.clone();
    let credential = tokio::task::spawn_blocking(move || key::read(&from)).await??;
    let options = OpenOptions {
        domain: app.domain(),
        credential,
        cache_dir: app.cache_dir(),
        remote: !repository::store::is_local(&places.url),
        cpu_threads: args.tuning.threads(),
    };
    Ok(app.or_cancel(Repository::open(store, options, app.env.clone())).await??)
}

fn is_missing(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|l| l.downcast_ref::<Error>()).map(Error::kind);
    kind == Some(ErrorKind::NotFound)
}

/// Runs both servers until a signal. If one ends, so does the other.
async fn serve(app: &App, args: &StandaloneArgs, places: &Places) -> Result<Exit> {
    let stop = app.cancel.child_token();
    let coordinator = coordinator_config(app, args, places)?;
    let (env, metrics) = (app.env.clone(), coordinator::metrics::Metrics::default());
    let domain = coordinator.domains.first().context("no domain is configured")?;
    let (every, counts) = (coordinator.refresh_seconds, metrics.store.clone());
    let engine =
        app.or_cancel(coordinator::engine::RepositoryEngine::open(&domain.repository, every, counts, &env));
    let engine = Arc::new(engine.await??);
    let started = coordinator::start(coordinator, engine, metrics, env, stop.clone()).await?;
    let agent = agent_config(app, args, places, started.grpc)?;
    logs::say(&format!("coordinator at http://{}; stop with Ctrl-C", started.grpc));
    let coordinating = ending(started.wait(), &stop);
    let reading = ending(agent::run(agent, stop.clone()), &stop);
    let (first, second) = tokio::join!(coordinating, reading);
    first.context("coordinator").and(second.context("agent"))?;
    Ok(Exit::Done)
}

/// Runs to the end, then stops the others.
async fn ending(work: impl Future<Output = Result<()>>, stop: &CancellationToken) -> Result<()> {
    let ended = work.await;
    stop.cancel();
    ended
}

fn coordinator_config(app: &App, args: &StandaloneArgs, places: &Places) -> Result<coordinator::Config> {
    let (passphrase_file, key_file) = files(&places.key);
    let schedule = coordinator::config::ScheduleLayer {
        volume: "*".to_owned(),
        max_age_seconds: Some(args.max_age_seconds),
        ..Default::default()
    };
    let layer = coordinator::ConfigLayer {
        repo: Some(places.url.clone()),
        domain: Some(app.domain().to_string()),
        passphrase_file,
        key_file,
        cache_dir: app.cache_dir(),
        cpu_threads: Some(args.tuning.threads()),
        listen: Some(args.listen),
        http_listen: Some(args.http_listen),
        state_dir: Some(places.state.join("coordinator")),
        schedules: Some(vec![schedule]),
        ..Default::default()
    };
    Ok(layer.validate()?)
}

fn agent_config(
    app: &App,
    args: &StandaloneArgs,
    places: &Places,
    coordinator: SocketAddr,
) -> Result<agent::Config> {
    let (passphrase_file, key_file) = files(&places.key);
    let backup = BackupArgs {
        paths: args.paths.clone(),
        volume: None,
        tuning: args.tuning.clone(),
        tag: Vec::new(),
        read_all: false,
    };
    let host = backup::host();
    let requests = backup::requests(&backup, &host)?.into_iter().collect::<Result<Vec<_>>>()?;
    let volumes = requests.into_iter().map(|request| agent::VolumeLayer {
        path: request.root,
        name: Some(request.volume),
        exclude: request.rules.exclude,
        exclude_caches: request.rules.exclude_caches,
        domain: None,
    });
    let layer = agent::ConfigLayer {
        repo: Some(places.url.clone()),
        domain: Some(app.domain().to_string()),
        passphrase_file,
        key_file,
        cache_dir: app.cache_dir(),
        cpu_threads: Some(args.tuning.threads()),
        coordinator: Some(format!("http://{coordinator}")),
        host: Some(host),
        state_dir: Some(places.state.join("agent")),
        memory_bytes_max: Some(args.tuning.memory_bytes()),
        zstd_level: Some(args.tuning.zstd_level()),
        reread_days: Some(args.tuning.reread_days()),
        reuse: args.tuning.reuse.map(|r| r.to_string()),
        volumes: Some(volumes.collect()),
        restore_roots: Some(args.restore_roots.clone()),
        ..Default::default()
    };
    // The coordinator beside it shows metrics and health.
    Ok(agent::Config { http_listen: None, ..layer.validate()? })
}

fn files(key: &KeySource) -> (Option<PathBuf>, Option<PathBuf>) {
    match key {
        KeySource::PassphraseFile(path) => (Some(path.clone()), None),
        KeySource::KeyFile(path) => (None, Some(path.clone())),
        KeySource::Prompt => (None, None),
    }
}
