//! What the speed comparison needs: data sets that are the same on every machine, a change of 1 % that can be taken
//! back, and a summary of the measured rows. `compare.sh` does the measuring; README.md tells the method.
//!
//! Nothing here may depend on Holdfast itself: the data must not change when the engine does.

pub mod change;
pub mod journal;
pub mod random;
pub mod sets;
pub mod summary;
pub mod text;
pub mod usage;
pub mod walk;
