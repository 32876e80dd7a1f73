//! The coordinator inside a Kubernetes cluster: custom resources, which volumes there are and where, what is protected, and by what.

pub mod config;
pub mod control;
pub mod decide;
pub mod discover;
pub mod identify;
pub mod identity;
mod lease;
pub mod limits;
pub mod metrics;
pub mod port;
pub mod quantity;
pub mod resources;
mod run;
pub mod select;
pub mod standby;
mod tls;
pub mod world;

#[cfg(test)]
mod tests;

pub use config::{Config, ConfigLayer};
pub use run::{run, run_with};

/// An error with all of its causes.
pub(crate) fn chain(e: &dyn std::error::Error) -> String {
    let mut out = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let text = e.to_string();
        // Some repeat their cause in their own words.
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        cause = e.source();
    }
    out
}
