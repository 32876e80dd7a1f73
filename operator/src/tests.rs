//! The operator against an API server that lives in this process, and a coordinator that notes what it is told.

mod api;
mod control;
mod following;
mod identity;
mod leading;
mod objects;
mod port;
mod restores;
mod stage;

pub(crate) use api::FakeApi;
pub(crate) use port::FakePort;
