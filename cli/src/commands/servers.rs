//! `agent` and `coordinator`: the servers, configured by file, environment and flags.

use anyhow::Result;

use crate::app::App;
use crate::args::{AgentArgs, CoordinatorArgs};
use crate::exit::Exit;

pub(super) async fn agent(app: &App, args: AgentArgs) -> Result<Exit> {
    let _ = (app, args);
    anyhow::bail!("not built yet")
}

pub(super) async fn coordinator(app: &App, args: CoordinatorArgs) -> Result<Exit> {
    let _ = (app, args);
    anyhow::bail!("not built yet")
}
