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
