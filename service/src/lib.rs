//! What both servers, and the clients of the coordinator, share: settings in layers, TLS and tokens, the connection to
//! a coordinator, opening the repository, and the HTTP listener for metrics and health.
//!
//! Nothing here knows jobs, volumes or schedules.

pub mod client;
pub mod config;
pub mod describe;
pub mod http;
pub mod paths;
pub mod repo;
pub mod store_metrics;
pub mod tls;
pub mod token;
