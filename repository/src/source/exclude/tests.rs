//! Patterns mean what they mean to git; only valid tags mark caches.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::{FoundKind, Rules, SourceErrorKind, Step, Walk};
use super::Excludes;

fn check(patterns: &[&str], path: &[u8], is_dir: bool, expected: bool) {
    let rules = Rules { exclude: patterns.iter().map(|p| (*p).to_owned()).collect(), exclude_caches: false };
    let skips = Excludes::new(&rules).unwrap().skips(path, is_dir);
    assert_eq!(skips, expected, "{patterns:?} on {}", path.escape_ascii());
}

#[test]
fn patterns() {
    check(&[], b"a", false, false);
    check(&["*.log"], b"x.log", false, true);
    check(&["*.log"], b"deep/er/x.log", false, true);
    check(&["*.log"], b"x.logs", false, false);
    check(&["/*.log"], b"x.log", false, true);
    check(&["/*.log"], b"deep/x.log", false, false);
    check(&["tmp/"], b"a/tmp", true, true);
    check(&["tmp/"], b"a/tmp", false, false);
    check(&["a/b"], b"a/b", false, true);
    check(&["a/b"], b"x/a/b", false, false);
    check(&["a/**/z"], b"a/b/c/z", false, true);
    check(&["**/z"], b"a/z", false, true);
    check(&["a/*"], b"a/b", false, true);
    check(&["a/*"], b"a/b/c", false, false);
    check(&["*.log", "!keep.log"], b"keep.log", false, false);
    check(&["!keep.log", "*.log"], b"keep.log", false, true);
    check(&["# comment", "", "\\#real"], b"#real", false, true);
    check(&["# comment"], b"# comment", false, false);
    check(&["file[0-9]"], b"file7", false, true);
    check(&["a?c"], b"abc", false, true);
    check(&["a?c"], b"a/c", false, false);
    check(&["*"], b"anything", true, true);
    check(&["A"], b"a", false, false);
}

#[test]
fn names_that_are_not_utf8() {
    check(&["*.log"], b"\xff\xfe.log", false, true);
    check(&["a/*/c"], b"a/\x80/c", false, true);
    check(&["*.log"], b"\xff.txt", false, false);
    check(&["x*y"], b"x\xc3y", false, true);
}

#[test]
fn a_bad_pattern_is_named() {
    let rules = Rules { exclude: vec!["ok".to_owned(), "{a".to_owned()], exclude_caches: false };
    let error = Excludes::new(&rules).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Rules);
    assert!(error.to_string().contains("{a"), "{error}");
}

/// The paths of a walk, and how many entries were left out.
fn walk(root: &std::path::Path, exclude: &[&str], exclude_caches: bool) -> (Vec<String>, u64) {
    let rules = Rules { exclude: exclude.iter().map(|p| (*p).to_owned()).collect(), exclude_caches };
    let mut walk = Walk::open(root, &rules).unwrap();
    let paths = walk
        .by_ref()
        .map(|step| match step {
            Step::Found(found) => String::from_utf8(found.path).unwrap(),
            Step::Problem { error, .. } => panic!("{error}"),
        })
        .collect();
    (paths, walk.counts().excluded)
}

#[test]
fn nothing_below_an_excluded_directory_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    for file in ["a/x.log", "a/b/keep.log", "keep.log", "y.log", "z"] {
        fs::write(dir.path().join(file), file).unwrap();
    }
    let (paths, excluded) = walk(dir.path(), &["*.log", "!keep.log", "/a/b"], false);
    assert_eq!(paths, ["", "a", "keep.log", "z"]);
    assert_eq!(excluded, 3, "a/b, a/x.log, y.log");
}

#[test]
fn only_valid_tags_mark_caches() {
    let dir = tempfile::tempdir().unwrap();
    let valid = b"Signature: 8a477f597d28d172789f06886806bc55\n# made by a test";
    for (name, tag) in
        [("cache", &valid[..]), ("exact", &valid[..43]), ("short", &valid[..42]), ("other", b"x")]
    {
        fs::create_dir_all(dir.path().join(name).join("sub")).unwrap();
        fs::write(dir.path().join(name).join("CACHEDIR.TAG"), tag).unwrap();
    }
    fs::create_dir(dir.path().join("link")).unwrap();
    symlink("../cache/CACHEDIR.TAG", dir.path().join("link/CACHEDIR.TAG")).unwrap();
    fs::create_dir_all(dir.path().join("odd/CACHEDIR.TAG")).unwrap();

    let all = [
        "",
        "cache",
        "cache/CACHEDIR.TAG",
        "cache/sub",
        "exact",
        "exact/CACHEDIR.TAG",
        "exact/sub",
        "link",
        "link/CACHEDIR.TAG",
        "odd",
        "odd/CACHEDIR.TAG",
        "other",
        "other/CACHEDIR.TAG",
        "other/sub",
        "short",
        "short/CACHEDIR.TAG",
        "short/sub",
    ];
    assert_eq!(walk(dir.path(), &[], false), (all.map(str::to_owned).to_vec(), 0));
    let kept: Vec<_> =
        all.iter().filter(|p| !["cache/sub", "exact/sub"].contains(p)).map(|p| (*p).to_owned()).collect();
    assert_eq!(walk(dir.path(), &[], true), (kept, 2));
}

#[test]
fn a_tag_that_is_a_pipe_does_not_hold_up_the_walk() {
    let dir = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&dir.path().join("CACHEDIR.TAG"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let rules = Rules { exclude: Vec::new(), exclude_caches: true };
    let kinds: Vec<_> = Walk::open(dir.path(), &rules)
        .unwrap()
        .map(|step| match step {
            Step::Found(found) => found.kind,
            Step::Problem { error, .. } => panic!("{error}"),
        })
        .collect();
    assert_eq!(kinds, [FoundKind::Directory, FoundKind::Fifo]);
}
