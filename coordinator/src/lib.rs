//! The coordinator: decides what is backed up when, hands jobs to agents, and answers clients.
//!
//! Its database is a cache and a queue; the bucket is the truth. Nothing here is ever needed for safety.

pub mod config;
pub mod core;
mod db;
pub mod domains;
mod door;
pub mod engine;
pub mod gate;
pub mod glob;
pub mod handle;
mod hub;
pub mod jobs;
pub mod limits;
pub mod maintenance;
pub mod metrics;
pub mod nodes;
mod pulse;
pub mod schedule;
pub mod server;
mod service;

pub use config::{Config, ConfigLayer};
pub use server::{Started, run, start, start_each, start_open};
