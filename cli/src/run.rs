//! From arguments to an exit code: set-up, one command, one line about what went wrong.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::app::App;
use crate::args::{Cli, Command};
use crate::exit::{Exit, hint, is_broken_pipe};
use crate::{cluster, commands, idle, logs};

/// Threads that wait for the network; the work is done elsewhere.
const ASYNC_THREADS: usize = 2;
/// Threads for blocking reads and writes.
const BLOCKING_THREADS_MAX: usize = 64;

/// How long blocking calls may go on after a command's end.
const END_TIME: Duration = Duration::from_secs(2);

/// Runs the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let plugin = cluster::is_plugin(arguments.first().map(OsString::as_os_str));
    let parsed = Cli::command().try_get_matches_from(arguments).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((matches, cli))
    });
    let (matches, cli) = match parsed {
        Ok(pair) => pair,
        Err(e) => {
            // Nobody may be there to read the help text.
            let _ = e.print();
            return if e.use_stderr() { code(Exit::Usage) } else { code(Exit::Done) };
        }
    };
    logs::start(&cli.global);
    if matches!(cli.command, Command::VolumeWorker) {
        // It confines itself before it has a second thread: no runtime before that.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        return agent::node::worker::main();
    }
    match run(&matches, cli, plugin) {
        Ok(exit) => code(exit),
        Err(e) if is_broken_pipe(&e) => code(Exit::Done),
        Err(e) => {
            report(&e);
            code(Exit::of_error(&e))
        }
    }
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

fn run(matches: &clap::ArgMatches, mut cli: Cli, plugin: bool) -> Result<Exit> {
    // Only the first call in a process counts; all of them choose the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ASYNC_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    let result = runtime.block_on(async {
        let is_flag = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let command = matches.subcommand_name().unwrap_or_default();
        let way = match idle::goes_to_cluster(command, plugin, is_flag) {
            true => Some(Box::pin(cluster::open(&cli.global.cluster)).await?),
            false => None,
        };
        if let Some(way) = &way {
            way.lead(&mut cli.global);
        }
        let app = App::new(matches, cli.global)?;
        Box::pin(commands::run(&app, cli.command)).await
    });
    // An object that is being written to a folder gets a moment, so that no unfinished file stays. A read that hangs (a
    // dead network file system) must not keep the process.
    runtime.shutdown_timeout(END_TIME);
    result
}

/// One line with the whole chain, one with what to do.
pub(crate) fn report(error: &anyhow::Error) {
    logs::say(&format!("holdfast: {}", repository::error::one_line(error.as_ref())));
    if let Some(text) = hint(error) {
        logs::say(&format!("  hint: {text}"));
    }
}

/// What is damaged, each as [`report`] does; and how a command ends that went on without it.
pub(crate) fn report_damaged(damaged: Vec<repository::Error>) -> Exit {
    let exit = if damaged.is_empty() { Exit::Done } else { Exit::Failed };
    for error in damaged {
        report(&anyhow::Error::from(error));
    }
    exit
}
