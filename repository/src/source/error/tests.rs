//! Names from strangers cannot move a terminal's cursor.

use super::show_path;

#[test]
fn unprintable_bytes_are_escaped() {
    let check = |path: &[u8], expected: &str| assert_eq!(show_path(path), expected);
    check(b"", ".");
    check("dir/\u{e4} b".as_bytes(), "dir/\u{e4} b");
    check(b"a\x1b[2J\n", "a\\u{1b}[2J\\n");
    check(b"\xff\xc3x", "\\xff\\xc3x");
    check(b"back\\slash", "back\\\\slash");
    check("\u{9b}".as_bytes(), "\\u{9b}");
}
