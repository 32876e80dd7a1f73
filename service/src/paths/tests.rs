//! Paths below roots.

use super::is_below;

#[test]
fn only_plain_absolute_paths_are_below_a_root() {
    for (target, root, yes) in [
        ("/restore/a", "/restore", true),
        ("/restore", "/restore/", true),
        ("/restore//a/", "/restore", true),
        ("/anything", "/", true),
        ("/restored", "/restore", false),
        ("/restore/../etc", "/restore", false),
        ("/restore/./a", "/restore", false),
        ("restore/a", "/restore", false),
        ("/restore/a", "restore", false),
        ("", "/", false),
        ("/restore/a\0b", "/restore", false),
    ] {
        assert_eq!(is_below(target.as_bytes(), root.as_bytes()), yes, "{target} below {root}");
    }
}
