//! Mapped files read as they are, empty and deleted ones too.

use std::io::Write;

use super::Mapped;

#[test]
fn maps_the_whole_file_and_outlives_it() {
    let mut file = tempfile::tempfile().unwrap();
    assert!(Mapped::open(&file).unwrap().is_empty());
    file.write_all(&[7; 10_000]).unwrap();
    let mapped = Mapped::open(&file).unwrap();
    drop(file);
    assert_eq!(&*mapped, &[7; 10_000][..]);
}
