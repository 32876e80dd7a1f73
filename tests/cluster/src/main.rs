//! The command `cluster`: makes a cluster for tests, lets one work in it, and takes it away.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use cluster::{Own, Places, machine, programs};

/// The exit code of `check` where no cluster can be made.
const CANNOT: u8 = 77;

/// A real Kubernetes on this machine, for tests.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Debian's packages that it needs
    Packages,
    /// Says what keeps a cluster from being made here, with exit code 77; nothing and 0 if nothing does
    Check,
    /// Builds the programs, once
    Build,
    /// Makes the cluster
    Up {
        /// How many nodes
        #[arg(long, default_value_t = 2)]
        nodes: usize,
    },
    /// Takes it away, also half a one
    Down,
    /// Runs kubectl as administrator
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Runs a command in the control plane's network, with KUBECONFIG set
    Exec {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Runs a command as a process of a node's host
    Node {
        index: usize,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Gives an image (an archive in OCI layout) to all nodes
    Load { archive: PathBuf },
    /// Cuts a node off
    Cut { index: usize },
    /// Ends that
    Heal { index: usize },
    /// Ends a node's kubelet; its pods go on
    StopKubelet { index: usize },
    /// Starts it again
    StartKubelet { index: usize },
}

fn main() -> ExitCode {
    match act(Cli::parse().action) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> anyhow::Result<ExitCode> {
    let places = Places::usual();
    let own = || Own::find(&places).context("no cluster runs here: `cluster up` makes one");
    match action {
        Action::Packages => print(&machine::packages().join(" "))?,
        Action::Check => {
            let missing = machine::missing(&places);
            if !missing.is_empty() {
                print(&missing.join("\n"))?;
                return Ok(ExitCode::from(CANNOT));
            }
        }
        Action::Build => {
            programs::build(&places, &say)?;
            programs::forget_others(&places);
        }
        Action::Up { nodes } => {
            Own::up(&places, nodes, &say)?;
            say("ready");
        }
        Action::Down => Own::down(&places),
        Action::Kubectl { words } => {
            let access = own()?.access;
            return replace(access.command(&access.kubectl).args(words));
        }
        Action::Exec { words } => {
            let access = own()?.access;
            let folder = access.kubectl.parent().unwrap_or(Path::new("/")).to_owned();
            let mut path = folder.into_os_string();
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap_or_default());
            return replace(access.command(Path::new(&words[0])).args(&words[1..]).env("PATH", path));
        }
        Action::Node { index, words } => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            return replace(&mut own()?.on_node(index, &words)?);
        }
        Action::Load { archive } => own()?.load(&archive)?,
        Action::Cut { index } => own()?.cut(index)?,
        Action::Heal { index } => own()?.heal(index)?,
        Action::StopKubelet { index } => own()?.stop_kubelet(index),
        Action::StartKubelet { index } => own()?.start_kubelet(index)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Becomes that command.
fn replace(command: &mut Command) -> anyhow::Result<ExitCode> {
    Err(command.exec()).with_context(|| format!("start {command:?}"))
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "cluster: {text}"));
}
