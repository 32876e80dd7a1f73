//! Turns the bytes of files into chunks and extents: pure decisions over values.
//!
//! Small files and new ones are cut by content (`cutter`, on several threads by `parallel`). Large files also keep
//! `marks` of their pages, and describe themselves in `segment` blobs; a changed one is compared by position with
//! its parent (`compare`) and only what changed is gathered or cut again (`file`).
//! Nothing here reads files, knows a store, or waits.

pub mod compare;
pub mod cutter;
pub mod file;
pub mod marks;
pub mod parallel;
pub mod segment;
