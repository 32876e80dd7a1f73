//! The filters can be made for this machine, and the one for readers refuses more. What they refuse is tried by a confined child.

use super::programs;

#[test]
fn filters_fit_into_the_kernel() {
    let (read, write) = (programs(false).unwrap(), programs(true).unwrap());
    assert!(read[0].len() > write[0].len() && !write[1].is_empty());
    // BPF_MAXINSNS
    assert!(read[0].len() < 4096);
}
