//! `init`: creates a repository.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use repository::ops::init::{InitOptions, init as create};
use serde::Serialize;

use crate::app::{App, Where};
use crate::exit::{Exit, usage};
use crate::{key, logs, output, store};

#[derive(Debug, Serialize)]
struct InitRecord {
    repository: String,
    domain: String,
    url: String,
}

pub(super) async fn init(app: &App) -> Result<Exit> {
    let Where::Repo(url) = app.place()? else {
        return Err(usage("a repository is created on the store itself: pass --repo URL"));
    };
    // The store first: a key must not be made for a repository that can't be.
    let store = app.or_cancel(store::create_probed(url, &app.env)).await??;
    let (source, env) = (app.key().clone(), app.env.clone());
    let (credential, made) = tokio::task::spawn_blocking(move || key::read_new(&source, &env)).await??;
    let domain = app.domain();
    let options = InitOptions { domain: domain.clone(), credentials: vec![credential] };
    let created = app.or_cancel(create(Arc::clone(&store), options, &app.env)).await?;
    let id = created.with_context(|| format!("create a repository at {url}"))?;
    super::protect::warn_unprotected(&store).await;
    if let Some(path) = made {
        logs::say(&format!(
            "made the key file {}; without it the backups can't be read, so keep a copy",
            path.display()
        ));
    }
    let record = InitRecord { repository: id.to_string(), domain: domain.to_string(), url: url.clone() };
    output::print(app.format(), &record, |r| format!("created repository {} at {}\n", r.repository, r.url))?;
    Ok(Exit::Done)
}
