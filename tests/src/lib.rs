//! What the integration tests of the whole need: servers in the tests' own process or beside it.

pub mod s3;
pub mod signed;
pub mod versitygw;

use std::io::Write as _;

/// Says loudly that something was not tested, and why: past the capture of a test's output. Where nothing may be left
/// out (`HOLDFAST_TESTS_COMPLETE` is set, as `.ci/run` does), this is a failure.
///
/// # Panics
/// In a complete run.
pub fn skip(what: &str, why: &str) {
    assert!(std::env::var_os("HOLDFAST_TESTS_COMPLETE").is_none(), "{what} must not be skipped here: {why}");
    say_skipped(what, why);
}

/// The same for what not every machine of the CI allows either.
pub fn say_skipped(what: &str, why: &str) {
    // Nobody may be there to read it.
    drop(writeln!(std::io::stderr(), "\nSKIPPED: {what} was NOT tested: {why}"));
}
