//! What needs `unsafe`, and nothing else: the allocator's settings, memory-mapped files, and priorities.
//!
//! Every other crate forbids unsafe code. Each block here says why it is sound; what can be done safely elsewhere
//! must never move in.

pub mod alloc;
mod mapped;
pub mod priority;
#[cfg(feature = "written")]
pub mod written;

pub use mapped::Mapped;
