//! The allocator of every Holdfast program: jemalloc, told to give freed memory back within a second.
//!
//! Linking this crate selects it. An agent's memory bound is about what the node sees, and buffers of many sizes come
//! and go on many threads: the system's allocator keeps several times as much.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static GLOBAL: Jemalloc = Jemalloc;

/// A C string pointer that may sit in a static.
#[repr(transparent)]
struct Options(*const u8);

// SAFETY: the pointer is to a string literal, which lives for ever and is never written.
unsafe impl Sync for Options {}

/// jemalloc reads its options from the variable of this name when it starts, before `main`, so that they hold without
/// an environment variable. The names of its symbols carry the prefix `_rjem_` in this build.
// SAFETY: jemalloc declares this symbol weak, as a `const char *` to a string that ends in NUL, which is what it is.
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static OPTIONS: Options =
    Options(c"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0".as_ptr().cast::<u8>());

#[cfg(test)]
mod tests;
