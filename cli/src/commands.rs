//! The commands: each opens what it needs, calls one operation, and prints what came of it.

mod audit;
mod backup;
mod browse;
mod copies;
mod heal;
mod init;
mod keys;
mod life;
mod maintenance;
mod operator;
mod pins;
mod protect;
mod quarantine;
mod restore;
mod servers;
mod snapshots;
mod standalone;
mod stats;
mod verify;

use agent::node::Role;
use anyhow::Result;
use clap::CommandFactory as _;

use crate::app::App;
use crate::args::{Cli, Command};
use crate::exit::{Exit, usage};
use crate::output;

/// Runs one command.
pub(crate) async fn run(app: &App, command: Command) -> Result<Exit> {
    match command {
        Command::Init => init::init(app).await,
        Command::Backup(args) => backup::backup(app, args).await,
        Command::Snapshots { volume } => snapshots::list(app, volume.as_deref()).await,
        Command::Ls { at, recursive, long } => browse::ls(app, &at, recursive, long).await,
        Command::Cat { at } => browse::cat(app, &at).await,
        Command::Find { snapshot, patterns, volume, long } => {
            browse::find(app, &snapshot, &patterns, volume.as_deref(), long).await
        }
        Command::Diff { older, newer, volume } => browse::diff(app, &older, &newer, volume.as_deref()).await,
        Command::Restore(args) => restore::restore(app, args).await,
        Command::Verify { snapshot, volume, quick, against, no_quarantine, detach } => {
            let level = verify::level(quick, against);
            verify::verify(app, &verify::What { snapshot, volume, level, no_quarantine }, detach).await
        }
        Command::Scrub(args) => heal::scrub(app, &args).await,
        Command::RestoreTest(args) => heal::restore_test(app, args).await,
        Command::Repair { command } => heal::repair(app, command).await,
        Command::Forget(args) => life::forget(app, args).await,
        Command::Unforget { snapshot } => life::unforget(app, &snapshot).await,
        Command::Pin(args) => pins::pin(app, &args, true).await,
        Command::Unpin(args) => pins::pin(app, &args, false).await,
        Command::Gc(args) => life::gc(app, &args).await,
        Command::Audit(args) => audit::audit(app, args).await,
        Command::Stats(args) => stats::stats(app, *args).await,
        Command::Copy(args) => copies::copy(app, args).await,
        Command::Mirror(args) => copies::mirror(app, args).await,
        Command::Key(command) => keys::key(app, command).await,
        Command::Domain(command) => keys::domain(app, command).await,
        Command::Lock(args) => protect::lock(app, &args).await,
        Command::Policy(args) => protect::policy(app, args),
        Command::Maintenance(args) => maintenance::maintenance(app, args).await,
        Command::Completions { shell } => completions(shell),
        Command::Standalone(args) => standalone::standalone(app, args).await,
        Command::Agent(args) => servers::agent(app, args).await,
        Command::Node(args) => servers::node(app, *args, Role::Node).await,
        Command::Mover(args) => servers::node(app, *args, Role::Mover).await,
        Command::VolumeWorker => Err(usage("volume-worker does nothing by itself: agents start it")),
        Command::Coordinator(args) => servers::coordinator(app, args).await,
        Command::Operator(args) => operator::operator(app, args).await,
        Command::Crds(args) => operator::crds(args),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
    output::write(&script)?;
    output::flush()?;
    Ok(Exit::Done)
}
