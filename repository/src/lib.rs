//! The engine of Holdfast: everything that reads volumes, cuts, seals, packs, stores and finds again.
//!
//! The modules follow the data, and point down only: `source -> chunk -> blob -> pack -> store`, then
//! `index -> items -> manifest -> session`; `ops` wires them. Nothing here knows gRPC or Kubernetes.

pub mod blob;
pub mod chunk;
pub mod codec;
pub mod cpu;
pub mod env;
pub mod error;
pub mod ids;
pub mod index;
pub mod items;
pub mod keys;
pub mod layout;
pub mod limits;
pub mod manifest;
pub mod monitor;
pub mod ops;
pub mod pack;
pub mod retention;
pub mod session;
pub mod source;
pub mod store;
pub mod target;

pub use error::{Error, ErrorKind, Result};
