//! Targets of restores.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::check_target;

#[test]
fn restores_stay_below_their_roots() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("restore");
    std::fs::create_dir_all(root.join("in")).unwrap();
    std::fs::create_dir(dir.path().join("other")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("other"), root.join("link")).unwrap();
    let roots = [root.clone()];
    let allowed = |path: PathBuf| check_target(path.as_os_str().as_bytes(), &roots).is_ok();
    assert!(allowed(root.clone()));
    assert!(allowed(root.join("new")));
    assert!(allowed(root.join("in/new")));
    assert!(!allowed(root.join("link")));
    assert!(!allowed(root.join("link/new")));
    assert!(!allowed(dir.path().join("other")));
    assert!(!allowed(root.join("../other")));
    assert!(check_target(b"/anything", &[]).is_err());
}
