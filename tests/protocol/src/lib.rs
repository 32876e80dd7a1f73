//! The session and garbage collection protocol of `docs/protocol.md` as a model, searched exhaustively.
//!
//! A state is everything in the store and everything that each process keeps in its head; one step is one request, or one
//! decision between two. Any process may stop for ever at any step, so crashes of writers and readers need no steps of
//! their own. The code in `repository` uses the same words. Nothing here runs in production.

mod check;
mod collector;
mod config;
mod reader;
mod ring;
mod search;
mod state;
mod store;
mod surroundings;
mod writer;

pub use check::Goal;
pub use config::{Config, Feature, Mutation, Role};
pub use ring::{RingConfig, RingMutation, Wish, search_rings};
pub use search::{Outcome, Trace, follow, reach, search};
