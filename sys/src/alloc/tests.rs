//! That the options reach jemalloc: a misspelt symbol would link, and change nothing.

use std::ffi::{CStr, c_char, c_int, c_void};

unsafe extern "C" {
    fn _rjem_mallctl(
        name: *const c_char,
        old: *mut c_void,
        old_bytes: *mut usize,
        new: *mut c_void,
        new_bytes: usize,
    ) -> c_int;
}

fn read<T: Default>(name: &CStr) -> T {
    let mut value = T::default();
    let mut bytes = size_of::<T>();
    // SAFETY: `value` has room for `bytes`, jemalloc checks that this is the option's size, and nothing is written to it.
    let failed = unsafe {
        _rjem_mallctl(name.as_ptr(), (&raw mut value).cast(), &raw mut bytes, std::ptr::null_mut(), 0)
    };
    assert_eq!(failed, 0, "{name:?}");
    value
}

#[test]
fn jemalloc_sees_our_options() {
    assert_eq!(read::<isize>(c"opt.dirty_decay_ms"), 1000);
    assert_eq!(read::<isize>(c"opt.muzzy_decay_ms"), 0);
    assert!(read::<bool>(c"opt.background_thread"));
}
