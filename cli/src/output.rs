//! Standard output: tables for people, JSON and YAML for programs, and a reader that goes away.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use crate::args::OutputFormat;

/// Nobody reads our standard output any more (`holdfast ls ... | head`). Not a failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StdoutClosed;

impl std::fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for StdoutClosed {}

/// Writes to standard output.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    told(io::stdout().lock().write_all(bytes))
}

/// Writes out what is buffered.
pub(crate) fn flush() -> Result<()> {
    told(io::stdout().lock().flush())
}

fn told(result: io::Result<()>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        Err(e) => Err(anyhow::Error::from(e).context("write to standard output")),
    }
}

/// Prints one value: `text` for people, else its fields.
pub(crate) fn print<T: Serialize>(
    format: OutputFormat,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    let out = match format {
        OutputFormat::Table => text(value),
        OutputFormat::Json => serde_json::to_string_pretty(value)? + "\n",
        OutputFormat::Yaml => serde_saphyr::to_string(value)?,
    };
    write(out.as_bytes())?;
    flush()
}

/// Prints a list of any length, one element at a time. A list that is cut short by an error stays without its end,
/// so that a program can't take it for a whole one.
#[derive(Debug)]
pub(crate) struct List {
    format: OutputFormat,
    count: u64,
    out: io::BufWriter<io::Stdout>,
}

impl List {
    /// Begins.
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self { format, count: 0, out: io::BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    /// Prints one element.
    pub(crate) fn push<T: Serialize>(&mut self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let piece = match self.format {
            OutputFormat::Table => text(value) + "\n",
            OutputFormat::Json => {
                let opening = if self.count == 0 { "[\n" } else { ",\n" };
                format!("{opening}{}", serde_json::to_string(value)?)
            }
            OutputFormat::Yaml => serde_saphyr::to_string(&[value])?,
        };
        self.count += 1;
        told(self.out.write_all(piece.as_bytes()))
    }

    /// Ends the list; gives the number of elements.
    pub(crate) fn finish(mut self) -> Result<u64> {
        let end = match (self.format, self.count) {
            (OutputFormat::Table, _) => "",
            (OutputFormat::Json, 0) | (OutputFormat::Yaml, 0) => "[]\n",
            (OutputFormat::Json, _) => "\n]\n",
            (OutputFormat::Yaml, _) => "",
        };
        told(self.out.write_all(end.as_bytes()))?;
        told(self.out.flush())?;
        Ok(self.count)
    }
}

/// A table without lines, as wide as its content.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new()).set_header(head.iter().copied());
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    for row in rows {
        table.add_row(row);
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    let mut out: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if out.is_empty() {
        out.push('\n');
    }
    out
}

/// A count for people: `1 pack`, `2 packs`.
pub(crate) fn counted(n: u64, what: &str) -> String {
    match (n, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        (_, None) => format!("{n} {what}s"),
    }
}

/// A size for people: `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests;
