//! `summary`: prints the tables of rows that `compare.sh` measured, for benches/README.md.
//!
//! It reads standard input, or the files it is given, and writes nothing but the tables.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use benches::summary;
use clap::Parser;

/// Medians and ratios of measured rows, as markdown.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The tool that is compared with the others.
    #[arg(long, default_value = "holdfast")]
    ours: String,
    /// Files of rows; standard input if there is none.
    files: Vec<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut rows = Vec::new();
    if arguments.files.is_empty() {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("read standard input")?;
        rows = summary::parse(&text).context("standard input")?;
    }
    for file in &arguments.files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        rows.extend(summary::parse(&text).with_context(|| file.display().to_string())?);
    }
    write!(io::stdout(), "{}", summary::markdown(&rows, &arguments.ours)).context("write the tables")
}
