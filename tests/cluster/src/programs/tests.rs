//! Programs are known by the files of their modules.

use super::{MODULES, flags, folder, place};
use crate::places::Places;

#[test]
fn another_state_of_a_module_is_another_folder() {
    let (dir, mut places) = (tempfile::tempdir().unwrap(), Places::usual());
    let before = folder(&places, &MODULES[2]).unwrap();
    let copy = dir.path().join("go/dns");
    std::fs::create_dir_all(&copy).unwrap();
    for file in ["go.mod", "go.sum", "main.go"] {
        std::fs::copy(places.here.join("go/dns").join(file), copy.join(file)).unwrap();
    }
    places.here = dir.path().to_owned();
    assert_eq!(folder(&places, &MODULES[2]).unwrap(), before);
    std::fs::write(copy.join("go.mod"), "module other\n").unwrap();
    assert_ne!(folder(&places, &MODULES[2]).unwrap(), before);
}

#[test]
fn every_program_has_a_place() {
    let places = Places::usual();
    assert!(place(&places, "etcd").unwrap().ends_with("server"));
    assert!(place(&places, "kubectl").unwrap().ends_with("kubectl"));
    assert!(place(&places, "nothing").is_err());
    let flags = flags(&places.here.join("go/kube")).unwrap();
    assert!(flags.contains("gitVersion=v1.") && flags.contains("gitMinor=3"), "{flags}");
}
