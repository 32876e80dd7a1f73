//! The agent: reads the volumes of one machine, and takes jobs from a coordinator over one outgoing stream for each domain.
//!
//! It has its own keys and store credentials; data never goes through the coordinator. Its work goes on while the
//! coordinator is away.

pub mod config;
pub mod executor;
pub mod jobs;
pub mod limits;
mod link;
pub mod lookup;
pub mod metrics;
pub mod node;
pub mod opener;
pub mod server;
pub mod slots;
mod standing;

pub use config::{Config, ConfigLayer, VolumeLayer};
pub use executor::{Executor, Outcome};
pub use server::{Started, run, start, start_each};
