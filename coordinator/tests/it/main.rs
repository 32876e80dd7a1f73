//! Coordinator and agents in one process, over loopback, with a fake engine and a fake executor.

mod auth;
mod fakes;
mod harness;
mod jobs;
mod outages;
mod reads;
mod schedules;
