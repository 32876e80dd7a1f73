//! The command line of Holdfast: arguments in, calls of the engine (or of a coordinator), text or JSON out.
//!
//! Decides nothing about data: what to keep, cut, seal or write is the engine's.

pub mod args;
pub mod escape;
pub mod exit;
pub mod key;

mod app;
mod cluster;
mod commands;
mod idle;
mod logs;
mod output;
mod place;
mod progress;
mod records;
mod remote;
mod run;
mod settings;
mod signals;
mod source;
mod store;

pub use run::main;
