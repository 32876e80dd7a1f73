//! Ranges keep what they say, and skip no node that holds it.

use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

fn check(range: &Range, paths: &str, kept: &str) {
    let found: Vec<&str> = paths.split(' ').filter(|p| range.keeps(p.as_bytes())).collect();
    assert_eq!(found.join(" "), kept);
}

#[test]
fn ranges_keep_what_they_say() {
    let paths = "a a/b a/b/c a/d a.txt ab b";
    check(&Range::All, paths, paths);
    check(&Range::Below(b"a".to_vec()), paths, "a a/b a/b/c a/d");
    check(&Range::Directory(b"a".to_vec()), paths, "a a/b a/d");
    check(&Range::Directory(vec![]), paths, "a a.txt ab b");
    check(&Range::Below(vec![]), paths, paths);
    check(&Range::One(b"a.txt".to_vec()), paths, "a.txt");
    assert!(Range::Directory(vec![]).keeps(b"") && Range::Below(vec![]).keeps(b""));
}

proptest! {
    #[test]
    fn no_node_is_skipped_that_holds_something(
        paths in btree_set("[ab!](/[ab!]){0,3}", 1..30), top in "([ab](/[ab]){0,2})?", size in 1usize..5,
    ) {
        let mut paths: Vec<Vec<u8>> = paths.into_iter().map(String::into_bytes).collect();
        paths.sort_by(|a, b| path_cmp(a, b));
        let top = top.into_bytes();
        for range in [Range::All, Range::Below(top.clone()), Range::Directory(top.clone()), Range::One(top)] {
            let wanted: Vec<_> = paths.iter().filter(|p| range.keeps(p)).collect();
            let (mut found, mut after) = (Vec::new(), None);
            for leaf in paths.chunks(size) {
                let last = leaf.last().unwrap();
                if range.touches(after, last) {
                    found.extend(leaf.iter().filter(|p| range.keeps(p)));
                }
                if range.ends_at(last) {
                    break;
                }
                after = Some(last);
            }
            prop_assert_eq!(found, wanted, "{:?}", range);
        }
    }
}

#[test]
fn what_lies_in_one_subfolder_is_skipped() {
    let top = Range::Directory(b"a".to_vec());
    assert!(!top.touches(Some(b"a/b/1"), b"a/b/9"));
    assert!(!top.touches(Some(b"a/b"), b"a/b/9"));
    assert!(top.touches(Some(b"a/b/1"), b"a/c"));
    assert!(!top.touches(Some(b"a.txt"), b"b"));
    assert!(!top.touches(None, b"A"));
    assert!(!Range::One(b"a".to_vec()).touches(Some(b"a"), b"b"));
}
