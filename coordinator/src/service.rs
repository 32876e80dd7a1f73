//! The gRPC services. A handler converts, calls one function, and converts back.

pub(crate) mod agents;
mod batch;
pub(crate) mod client;
pub(crate) mod maintenance;
pub(crate) mod nodes;
mod pump;
