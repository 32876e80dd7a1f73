//! Marks tell pages apart, and zeros from the rest.

use super::*;

#[test]
fn zeros_have_the_zero_mark_and_nothing_else_has() {
    let mut data = vec![0; 3 * PAGE_BYTES + 100];
    assert_eq!(marks(&[1; 32], &data), [ZERO_MARK; 4]);
    data[2 * PAGE_BYTES - 1] = 1;
    data[3 * PAGE_BYTES + 99] = 1;
    let found = marks(&[1; 32], &data);
    assert_eq!(found.iter().map(|m| *m == ZERO_MARK).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(marks(&[1; 32], &[]).is_empty());
}

#[test]
fn marks_depend_on_key_content_and_length() {
    let page = [5; PAGE_BYTES];
    assert_eq!(mark(&[1; 32], &page), mark(&[1; 32], &page));
    assert_ne!(mark(&[1; 32], &page), mark(&[2; 32], &page));
    assert_ne!(mark(&[1; 32], &page), mark(&[1; 32], &page[1..]));
}

#[test]
fn marks_are_golden() {
    assert_eq!(crate::ids::hex(&mark(&[1; 32], b"page")), "d893d97a4d87761f7f5a9f898d629e0e");
}

#[test]
fn a_single_byte_is_not_zero_wherever_it_is() {
    for at in [0, 1, PAGE_BYTES - 1, PAGE_BYTES, 2 * PAGE_BYTES + 4] {
        let mut data = vec![0; 2 * PAGE_BYTES + 5];
        assert!(is_zero(&data));
        data[at] = 128;
        assert!(!is_zero(&data), "byte {at}");
    }
}
