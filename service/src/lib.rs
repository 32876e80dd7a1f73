//! What both servers, and the clients of the coordinator, share: settings in layers, listeners, TLS and tokens that
//! follow their files, the connection to a coordinator, opening the repository, and the pages for metrics and health.
//!
//! Nothing here knows volumes or schedules, and of jobs only how they ended.

pub mod client;
pub mod config;
pub mod describe;
pub mod http;
pub mod job_metrics;
pub mod listen;
pub mod main_task;
pub mod paths;
pub mod reload;
pub mod repo;
pub mod store_metrics;
pub mod tls;
pub mod token;
