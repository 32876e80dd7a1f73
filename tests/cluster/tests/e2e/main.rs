//! Holdfast in a real cluster, from end to end: one scenario after the other, in one cluster.
//!
//! Runs where `HOLDFAST_TESTS_CLUSTER` is set (`tests/cluster/run` does), in a cluster of its own, or in the one of `HOLDFAST_TESTS_KUBECONFIG`.
//! Says loudly what is left out. Exit codes: 0 all passed, 1 something failed, 77 nothing could be tested.

#![expect(clippy::print_stdout, reason = "this is the test runner: what it prints is its result")]
#![expect(clippy::disallowed_methods, reason = "the edge: real processes are waited for and timed")]

mod apps;
mod scenarios;
mod stage;
mod tree;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use cluster::{Own, Places};
use scenarios::{ALL, Scenario};
use stage::Stage;

const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if std::env::args().any(|a| a == "--list") {
        ALL.iter().for_each(|s| println!("{}: test", s.name));
        return ExitCode::SUCCESS;
    }
    if std::env::var_os("HOLDFAST_TESTS_CLUSTER").is_none() {
        skipped("Holdfast in a cluster", "HOLDFAST_TESTS_CLUSTER is not set; tests/cluster/run sets it");
        return ExitCode::SUCCESS;
    }
    let places = Places::usual();
    let stage = match Stage::open(&places) {
        Ok(Some(stage)) => stage,
        Ok(None) => return ExitCode::from(SKIPPED),
        Err(error) => {
            println!("no cluster could be made: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let failed = run_all(&stage, &wanted);
    if stage.made {
        say("taking the cluster away");
        Own::down(&places);
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs what is wanted, and says how it went. Gives the names of what failed.
fn run_all(stage: &Stage, wanted: &[String]) -> Vec<&'static str> {
    let is_wanted =
        |s: &Scenario| s.always || wanted.is_empty() || wanted.iter().any(|w| s.name.contains(w.as_str()));
    let (mut passed, mut failed, mut ignored) = (0, Vec::new(), 0);
    println!("\nrunning {} tests", ALL.len());
    for scenario in ALL {
        if !is_wanted(scenario) {
            ignored += 1;
            continue;
        }
        if scenario.needs_nodes && stage.own.is_none() {
            skipped(scenario.name, "it needs the nodes of a cluster of its own");
            ignored += 1;
            continue;
        }
        let begun = Instant::now();
        // An assertion that fails must not keep the cluster from being taken away.
        let result = catch_unwind(AssertUnwindSafe(|| (scenario.run)(stage)));
        let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked, see above")));
        let seconds = begun.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                println!("test {} ... ok ({seconds:.1} s)", scenario.name);
            }
            Err(error) => {
                println!("test {} ... FAILED ({seconds:.1} s)\n    {error:#}", scenario.name);
                stage.tell();
                failed.push(scenario.name);
                if scenario.always {
                    break;
                }
            }
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {} failed; {ignored} ignored; 0 measured; 0 filtered out\n",
        failed.len()
    );
    failed
}

/// Says loudly that something was not tested, and why.
fn skipped(what: &str, why: &str) {
    drop(writeln!(std::io::stderr(), "\nSKIPPED: {what} was NOT tested: {why}"));
}

/// Says what is being done, past the capture of output.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "e2e: {text}"));
}
