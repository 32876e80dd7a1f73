//! `datasets`: makes the data sets of the speed comparison, changes 1 % of them and takes the change back.
//!
//! It writes only below the folder it is given.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use benches::change;
use benches::sets::{self, Scale, Set};
use clap::{Args, Parser, Subcommand};

/// Data sets for the speed comparison.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make sets that are not there yet.
    Make {
        /// The part of the full size: 1 is about 6 GiB for all four sets.
        #[arg(long, default_value = "1")]
        scale: Scale,
        #[command(flatten)]
        what: What,
    },
    /// Change 1 % of sets, the same 1 % each time.
    Apply {
        #[command(flatten)]
        what: What,
    },
    /// Take the change back, also an interrupted one; does nothing if there is none.
    Revert {
        #[command(flatten)]
        what: What,
    },
}

#[derive(Args)]
struct What {
    /// Folder of all sets.
    #[arg(long, env = "DATA")]
    data: PathBuf,
    /// Sets: D1 small files, D2 large files, D3 database, D4 system trees.
    #[arg(required = true)]
    sets: Vec<Set>,
}

fn main() -> Result<()> {
    let mut out = io::stdout();
    match Arguments::parse().command {
        Command::Make { scale, what } => {
            for set in what.sets {
                sets::make(set, &what.data, scale)?;
                writeln!(out, "{}: made", set.name())?;
            }
        }
        Command::Apply { what } => {
            for set in what.sets {
                let changed = change::apply(set, &what.data.join(set.name()))?;
                writeln!(out, "{}: {} places, {} bytes changed", set.name(), changed.edits, changed.bytes)?;
            }
        }
        Command::Revert { what } => {
            for set in what.sets {
                let reverted = change::revert(&what.data.join(set.name()))?;
                writeln!(out, "{}: {}", set.name(), if reverted { "reverted" } else { "was not changed" })?;
            }
        }
    }
    Ok(())
}
