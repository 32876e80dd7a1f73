//! `agent` and `coordinator`: the servers, configured by file, environment and flags.

use anyhow::{Context as _, Result};

use crate::app::App;
use crate::args::{AgentArgs, CoordinatorArgs};
use crate::exit::Exit;
use crate::settings;

pub(super) async fn agent(app: &App, args: AgentArgs) -> Result<Exit> {
    let file = args.config.clone();
    let flags = settings::agent(&app.global, args);
    let layer = agent::ConfigLayer::load(file.as_deref(), &settings::variable, flags)?;
    agent::run(layer.validate()?, app.cancel.clone()).await.context("agent")?;
    Ok(Exit::Done)
}

pub(super) async fn coordinator(app: &App, args: CoordinatorArgs) -> Result<Exit> {
    let file = args.config.clone();
    let flags = settings::coordinator(&app.global, args);
    let layer = coordinator::ConfigLayer::load(file.as_deref(), &settings::variable, flags)?;
    coordinator::run(layer.validate()?, app.cancel.clone()).await.context("coordinator")?;
    Ok(Exit::Done)
}
