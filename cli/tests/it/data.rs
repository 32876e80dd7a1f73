//! Data that tests back up, and ways to look at folders.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Bytes that neither compress nor repeat; another seed shares nothing with them.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}

/// A tree with a file of noise and small files. The folder is made.
pub(crate) fn tree(folder: &Path, noise_bytes: usize, seed: u64) {
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("noise"), noise(noise_bytes, seed)).unwrap();
    std::fs::write(folder.join("sub/a.txt"), format!("text {seed}\n")).unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("a.txt", folder.join("sub/link")).unwrap();
}

/// Appends to a file.
pub(crate) fn append(file: &Path, bytes: &[u8]) {
    File::options().append(true).create(true).open(file).unwrap().write_all(bytes).unwrap();
}

/// Two folders hold the same.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let mut diff = std::process::Command::new("diff");
    let diff = diff.args(["-r", "--no-dereference"]).arg(a).arg(b).output().unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

/// Bytes of all files below a folder; of one that does not exist, none.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
