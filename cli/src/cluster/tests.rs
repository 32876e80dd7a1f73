//! How the program is called, and what addresses look like.

use std::ffi::OsStr;

use super::{is_plugin, split};

#[test]
fn kubectl_calls_its_plugins_by_their_names() {
    for (program, plugin) in [
        ("kubectl-holdfast", true),
        ("/usr/local/bin/kubectl-holdfast", true),
        ("holdfast", false),
        ("/opt/kubectl-things/holdfast", false),
        ("", false),
    ] {
        assert_eq!(is_plugin(Some(OsStr::new(program))), plugin, "{program}");
    }
    assert!(!is_plugin(None));
}

#[test]
fn an_address_has_a_host_and_a_port() {
    assert_eq!(split("10.0.0.1:7425"), Some(("10.0.0.1", 7425)));
    assert_eq!(split("[fd00::1]:7425"), Some(("fd00::1", 7425)));
    for bad in ["", ":", ":1", "host", "host:", "host:0", "host:70000", "host:x"] {
        assert_eq!(split(bad), None, "{bad}");
    }
}
