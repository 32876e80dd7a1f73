//! Branches come back; what they promise is bounded.

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;
use crate::items::sample::blob;

fn branch(paths: &[&str]) -> Branch {
    let child = |(i, path): (usize, &&str)| Child {
        last: path.as_bytes().to_vec(),
        node: NodeRef { node: blob(1, i as u32 * 2), usage: blob(1, i as u32 * 2 + 1) },
        entries: 10,
        bytes: 1 << 40,
    };
    Branch { level: 1, children: paths.iter().enumerate().map(child).collect() }
}

fn check_refused(branch: &Branch, what: &str) {
    let (bytes, usage) = branch.encode();
    assert_eq!(Branch::decode(&bytes, &usage).unwrap_err().what, what);
}

proptest! {
    #[test]
    fn branches_come_back(level in 1u8..=8, paths in btree_map("[a-c]{1,9}", any::<(u32, u32)>(), 1..50), flip in any::<prop::sample::Index>()) {
        let paths: Vec<&str> = paths.keys().map(String::as_str).collect();
        let branch = Branch { level, ..branch(&paths) };
        let (mut bytes, usage) = branch.encode();
        let usage = Usage::decode(&usage.encode()).unwrap();
        prop_assert_eq!(Branch::decode(&bytes, &usage).unwrap(), branch);
        let at = flip.index(bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        let _ = Branch::decode(&bytes, &usage);
    }
}

#[test]
fn nonsense_is_refused() {
    check_refused(&branch(&[]), "branch children");
    check_refused(&branch(&["b", "a"]), "branch path");
    check_refused(&branch(&["a", "a/.."]), "branch path");
    check_refused(&Branch { level: 9, ..branch(&["a"]) }, "branch level");
    check_refused(&Branch { level: 0, ..branch(&["a"]) }, "branch level");
    let mut overflow = branch(&["a", "b"]);
    overflow.children.iter_mut().for_each(|c| c.bytes = u64::MAX);
    check_refused(&overflow, "branch counts");
    let (bytes, mut usage) = branch(&["a", "b"]).encode();
    usage.nested.pop();
    assert!(Branch::decode(&bytes, &usage).is_err());
}
