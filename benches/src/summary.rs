//! From measured rows to tables: medians of each tool, set and step, and how many times a peer's figures ours are.
//!
//! A row of a failed step never goes into a median; it is listed instead.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};

/// One measured step, as `compare.sh` prints it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The backup program.
    pub tool: String,
    /// D1 to D4.
    pub set: String,
    /// What was measured.
    pub step: String,
    /// Which repetition.
    pub round: u32,
    /// Seconds by the clock.
    pub wall_seconds: f64,
    /// Seconds of all processors, user and system.
    pub cpu_seconds: f64,
    /// Peak resident memory.
    pub rss_mib: f64,
    /// The repository's size after the step.
    pub repository_mib: f64,
    /// The step's exit code.
    pub exit_code: i32,
}

/// Medians of the good rows of one tool, set and step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Medians {
    wall: f64,
    cpu: f64,
    rss: f64,
    /// The repository's size after `first`, its growth after other steps.
    repository: f64,
}

/// The steps of a table, in their order. `diff` only proves; its time says nothing.
const STEPS: [&str; 4] = ["first", "unchanged", "changed", "restore"];

/// Reads rows of tab-separated values. Lines that begin with `#` are notes.
pub fn parse(text: &str) -> Result<Vec<Row>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(i, line)| parse_row(line).with_context(|| format!("line {}", i + 1))).collect()
}

fn parse_row(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split('\t').collect();
    let &[tool, set, step, wall, cpu, rss, repository, round, exit_code, _load] = &fields[..] else {
        anyhow::bail!("{} fields, not 10", fields.len());
    };
    Ok(Row {
        tool: tool.to_owned(),
        set: set.to_owned(),
        step: step.to_owned(),
        round: round.parse().context("round")?,
        wall_seconds: measured(wall).context("wall")?,
        cpu_seconds: measured(cpu).context("cpu")?,
        rss_mib: measured(rss).context("memory")?,
        repository_mib: measured(repository).context("repository")?,
        exit_code: exit_code.parse().context("exit code")?,
    })
}

fn measured(field: &str) -> Result<f64> {
    let value: f64 = field.parse().with_context(|| format!("{field:?} is not a number"))?;
    ensure!(value.is_finite() && value >= 0.0, "{field:?} is not a measured value");
    Ok(value)
}

/// Markdown: a table of medians, a table of ratios of `ours` to each peer, and a list of what failed.
#[must_use]
pub fn markdown(rows: &[Row], ours: &str) -> String {
    let mut tools: Vec<&str> = Vec::new();
    for row in rows {
        if !tools.contains(&row.tool.as_str()) {
            tools.push(&row.tool);
        }
    }
    tools.sort_unstable_by_key(|&tool| (tool != ours, tool));
    let medians = all_medians(rows);
    let rounds = rows.iter().map(|row| row.round).max().unwrap_or(0);
    let mut out = format!("wall s / CPU s / peak MiB / repository MiB; medians of {rounds} rounds\n\n");
    table(&mut out, &tools, &medians, |at, tool| Some(figures(at.get(tool)?)));
    let peers: Vec<&str> = tools.iter().copied().filter(|&tool| tool != ours).collect();
    if tools.contains(&ours) && !peers.is_empty() {
        let _ = write!(out, "\n{ours} / peer: wall, CPU, repository; below 1 is better than the peer\n\n");
        table(&mut out, &peers, &medians, |at, peer| Some(ratios(at.get(ours)?, at.get(peer)?)));
    }
    let mut failed = rows.iter().filter(|row| row.exit_code != 0).peekable();
    if failed.peek().is_some() {
        out.push_str("\nFailed, and not in the medians:\n\n");
    }
    for row in failed {
        let Row { tool, set, step, round, exit_code, .. } = row;
        let _ = writeln!(out, "- {tool} {set} {step}, round {round}: exit code {exit_code}");
    }
    out
}

/// By set and step (its place in [`STEPS`]), then by tool.
type ByTool<'a> = BTreeMap<&'a str, Medians>;
type AllMedians<'a> = BTreeMap<(&'a str, usize), ByTool<'a>>;

fn all_medians(rows: &[Row]) -> AllMedians<'_> {
    let mut groups: BTreeMap<(&str, usize, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.exit_code == 0) {
        if let Some(step) = STEPS.iter().position(|&step| step == row.step) {
            groups.entry((&row.set, step, &row.tool)).or_default().push(row);
        }
    }
    let mut all = AllMedians::new();
    for ((set, step, tool), group) in groups {
        let of = |figure: fn(&Row) -> f64| median(group.iter().map(|row| figure(row)).collect());
        let grown = group.iter().map(|row| row.repository_mib - repository_before(rows, row, step)).collect();
        let medians = Medians {
            wall: of(|row| row.wall_seconds),
            cpu: of(|row| row.cpu_seconds),
            rss: of(|row| row.rss_mib),
            repository: median(grown),
        };
        all.entry((set, step)).or_default().insert(tool, medians);
    }
    all
}

/// What the repository had before the step of `row`: nothing before the first one.
fn repository_before(rows: &[Row], row: &Row, step: usize) -> f64 {
    let same = |other: &&Row| other.tool == row.tool && other.set == row.set && other.round == row.round;
    let before = STEPS[..step].iter().rev().find_map(|&before| {
        rows.iter().filter(same).find(|other| other.step == before).map(|other| other.repository_mib)
    });
    before.unwrap_or(0.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn table(
    out: &mut String,
    columns: &[&str],
    medians: &AllMedians<'_>,
    cell: impl Fn(&ByTool<'_>, &str) -> Option<String>,
) {
    let _ = writeln!(out, "| set, step | {} |\n|---|{}", columns.join(" | "), "---|".repeat(columns.len()));
    for ((set, step), by_tool) in medians {
        let cells = columns.iter().map(|tool| cell(by_tool, tool).unwrap_or_else(|| "-".to_owned()));
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(out, "| {set} {} | {} |", STEPS[*step], cells.join(" | "));
    }
}

fn figures(m: &Medians) -> String {
    format!("{:.2} / {:.2} / {:.0} / {:.1}", m.wall, m.cpu, m.rss, m.repository)
}

fn ratios(ours: &Medians, peer: &Medians) -> String {
    let ratio = |ours: f64, peer: f64| match peer {
        peer if peer > 0.0 => format!("{:.2}", ours / peer),
        _ => "-".to_owned(),
    };
    let repository = ratio(ours.repository, peer.repository);
    format!("{}, {}, {repository}", ratio(ours.wall, peer.wall), ratio(ours.cpu, peer.cpu))
}

#[cfg(test)]
mod tests;
