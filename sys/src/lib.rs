//! What needs `unsafe`, and nothing else: the allocator's settings, memory-mapped files,
//! priorities, and trying what a confined process must not do.
//!
//! Every other crate forbids unsafe code. Each block here says why it is sound; what can be done safely elsewhere
//! must never move in.

pub mod alloc;
mod mapped;
pub mod priority;
pub mod refusals;
#[cfg(feature = "written")]
pub mod written;

pub use mapped::Mapped;
