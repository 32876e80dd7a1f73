//! A layer holds what was put, parents first.

use super::Layer;

#[test]
fn parents_come_first_and_keep_their_mode() {
    let mut layer = Layer::default();
    layer.file("/tmp/x/y", 0o644, vec![1]).unwrap();
    layer.folder("/tmp", 0o1777).unwrap();
    let names: Vec<_> = layer.nodes.iter().map(|(path, (mode, _))| format!("{path} {mode:o}")).collect();
    assert_eq!(names, ["tmp 1777", "tmp/x 755", "tmp/x/y 644"]);
    assert_eq!(layer.archive().unwrap(), layer.archive().unwrap());
}

#[test]
fn nothing_outside_of_the_root_can_be_named() {
    for path in ["x", "/../x", "/a//b", "/a/./b", "/"] {
        assert!(Layer::default().folder(path, 0o755).is_err(), "{path}");
    }
}

#[test]
fn a_folder_is_copied_whole() {
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(source.path().join("a/b")).unwrap();
    std::fs::create_dir_all(source.path().join("left-out")).unwrap();
    std::fs::write(source.path().join("a/b/file"), b"x").unwrap();
    std::os::unix::fs::symlink("b/file", source.path().join("a/link")).unwrap();
    let mut layer = Layer::default();
    layer.copy_folder(source.path(), "/usr/share/x", &["left-out"]).unwrap();
    let names: Vec<_> = layer.nodes.keys().map(String::as_str).collect();
    let expected = ["usr", "usr/share", "usr/share/x", "a", "a/b", "a/b/file", "a/link"];
    let expected =
        expected.map(|n| if n.starts_with('a') { format!("usr/share/x/{n}") } else { n.to_owned() });
    assert_eq!(names, expected);
}
