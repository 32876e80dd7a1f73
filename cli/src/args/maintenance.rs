//! Arguments of what a coordinator does to the repository by itself, or when it is asked.

use clap::{Args, Subcommand};

/// Flags of everything that a coordinator can do as a task.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Detach {
    /// Through a coordinator: start it, print its task, and don't wait for its end
    #[arg(long)]
    pub detach: bool,
}

/// `maintenance`
#[derive(Args, Clone, Debug)]
pub struct MaintenanceArgs {
    /// What to do [default: list]
    #[command(subcommand)]
    pub command: Option<MaintenanceCommand>,
}

/// What to do with a coordinator's tasks.
#[derive(Subcommand, Clone, Debug)]
pub enum MaintenanceCommand {
    /// Show what runs when, and the newest tasks
    List {
        /// So many tasks
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        last: u32,
    },
    /// Show one task whole
    Show {
        /// Its id, or the first digits of it
        task: String,
    },
    /// Wait for the end of a task, and show it
    Watch {
        /// Its id, or the first digits of it
        task: String,
    },
    /// Ask for the end of a task
    Cancel {
        /// Its id, or the first digits of it
        task: String,
    },
}
