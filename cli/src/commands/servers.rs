//! `agent`, `node`, `mover` and `coordinator`: the servers, configured by file, environment and flags.

use agent::node::{Acknowledged, NodeLayer, Role};
use anyhow::{Context as _, Result};

use crate::app::App;
use crate::args::{AgentArgs, CoordinatorArgs, NodeArgs};
use crate::exit::Exit;
use crate::settings;

pub(super) async fn agent(app: &App, args: AgentArgs) -> Result<Exit> {
    let file = args.config.clone();
    let flags = settings::agent(&app.global, args);
    let layer = agent::ConfigLayer::load(file.as_deref(), &settings::variable, flags)?;
    agent::run(layer.validate()?, app.cancel.clone()).await.context("agent")?;
    Ok(Exit::Done)
}

/// A mover's exit code is its job's.
pub(super) async fn node(app: &App, args: NodeArgs, role: Role) -> Result<Exit> {
    let file = args.config.clone();
    let flags = settings::node(&app.global, args);
    let layer = NodeLayer::load(file.as_deref(), &settings::variable, flags)?;
    let ended = agent::node::run(layer.validate(role)?, app.cancel.clone()).await;
    Ok(match ended.context("agent")? {
        Some(Acknowledged::Done) => Exit::Done,
        Some(Acknowledged::Partial) => Exit::Partial,
        Some(Acknowledged::Failed) => Exit::Failed,
        // Stopped before its job had ended.
        None if role == Role::Mover => Exit::Stopped,
        None => Exit::Done,
    })
}

pub(super) async fn coordinator(app: &App, args: CoordinatorArgs) -> Result<Exit> {
    let file = args.config.clone();
    let flags = settings::coordinator(&app.global, args);
    let layer = coordinator::ConfigLayer::load(file.as_deref(), &settings::variable, flags)?;
    coordinator::run(layer.validate()?, app.cancel.clone()).await.context("coordinator")?;
    Ok(Exit::Done)
}
