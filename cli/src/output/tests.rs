//! Words and numbers for people.

use super::*;

#[test]
fn one_is_not_many() {
    let told: Vec<_> = [0, 1, 2].map(|n| counted(n, "pack")).to_vec();
    assert_eq!(told, ["0 packs", "1 pack", "2 packs"]);
    assert_eq!(counted(1, "entry"), "1 entry");
    assert_eq!(counted(3, "entry"), "3 entries");
}
