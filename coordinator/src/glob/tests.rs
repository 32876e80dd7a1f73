//! What fits.

use super::matches;

#[test]
fn stars_match_any_text() {
    for (pattern, text, yes) in [
        ("", "", true),
        ("*", "", true),
        ("a*c", "abbc", true),
        ("a*c", "abb", false),
        ("*a*a*", "banana", true),
        ("a", "ab", false),
        ("**b", "aab", true),
    ] {
        assert_eq!(matches(pattern, text), yes, "{pattern} {text}");
    }
}
