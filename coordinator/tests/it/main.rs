//! Coordinator and agents in one process, over loopback, with a fake engine and a fake executor.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod auth;
mod copying;
mod destinations;
mod domains;
mod engine;
mod fakes;
mod harness;
mod inputs;
mod jobs;
mod maintenance;
mod nodes;
mod outages;
mod pki;
mod raw;
mod reads;
mod reload;
mod schedules;
mod several;
