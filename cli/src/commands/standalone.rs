//! `standalone`: everything on one machine, with embedded defaults. `--once` backs up and exits.
//!
//! The key lies outside the store: a copy of the store alone reveals nothing.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use repository::ops::init::{InitOptions, init};
use repository::ops::{OpenOptions, Repository};
use repository::{Error, ErrorKind};

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
    key: PathBuf,
}

pub(super) async fn standalone(app: &App, args: StandaloneArgs) -> Result<Exit> {
    let places = places(app, &args)?;
    let repo = open(app, &args, &places).await?;
    let backup =
        BackupArgs { paths: args.paths, volume: None, tuning: args.tuning, tag: Vec::new(), read_all: false };
    let requests = backup::requests(&backup, &backup::host())?;
    backup::all(app, &repo, requests).await
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
    Ok(Places { url, key: data.join("standalone.key") })
}

fn make_private(folder: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("create {}", folder.display()))
}

/// Opens the repository; creates it, and its key, the first time.
async fn open(app: &App, args: &StandaloneArgs, places: &Places) -> Result<Arc<Repository>> {
    let source = match app.key() {
        KeySource::Prompt => KeySource::KeyFile(places.key.clone()),
        given => given.clone(),
    };
    let opened = try_open(app, args, places, &source).await;
    match opened {
        Err(e) if is_missing(&e) => {
            refuse_lost(places, &source)?;
            create(app, places, &source).await?;
            try_open(app, args, places, &source).await
        }
        other => other,
    }
}

/// A key without its repository: rather an unmounted disk than a first start.
fn refuse_lost(places: &Places, source: &KeySource) -> Result<()> {
    let own = *source == KeySource::KeyFile(places.key.clone());
    if !own || !places.key.try_exists().unwrap_or(true) {
        return Ok(());
    }
    let (url, key) = (&places.url, places.key.display());
    let what = format!(
        "there is no repository at {url}, but its key {key} exists: is a disk not mounted? \
         (`holdfast init --repo {url} --key-file {key}` starts anew)"
    );
    Err(Error::new(ErrorKind::Store, what).into())
}

async fn create(app: &App, places: &Places, source: &KeySource) -> Result<()> {
    let store = app.or_cancel(store::create(&places.url, &app.env)).await??;
    let (from, env) = (source.clone(), app.env.clone());
    let (credential, made) = tokio::task::spawn_blocking(move || key::read_new(&from, &env)).await??;
    let options = InitOptions { domain: app.global.domain.clone(), credentials: vec![credential] };
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

async fn try_open(
    app: &App,
    args: &StandaloneArgs,
    places: &Places,
    source: &KeySource,
) -> Result<Arc<Repository>> {
    let store = app.store(&places.url, args.tuning.limit_upload).await??;
    let from = source.clone();
    let credential = tokio::task::spawn_blocking(move || key::read(&from)).await??;
    let options = OpenOptions {
        domain: app.global.domain.clone(),
        credential,
        cache_dir: app.cache_dir(),
        cpu_threads: args.tuning.threads,
    };
    Ok(app.or_cancel(Repository::open(store, options, app.env.clone())).await??)
}

fn is_missing(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|l| l.downcast_ref::<Error>()).map(Error::kind);
    kind == Some(ErrorKind::NotFound)
}
