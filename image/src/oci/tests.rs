//! Images refer to what is in them.

use super::{Settings, archive, tag};
use crate::layer::Layer;

#[test]
fn every_digest_names_a_blob_that_is_there() {
    let mut layer = Layer::default();
    layer.file("/bin/x", 0o755, b"program".to_vec()).unwrap();
    let settings =
        Settings { name: "a/b:1".to_owned(), architecture: "amd64".to_owned(), ..Settings::default() };
    let bytes = archive(&settings, &layer).unwrap();
    assert_eq!(bytes, archive(&settings, &layer).unwrap());
    let text = String::from_utf8_lossy(&bytes);
    let digests: Vec<&str> = text.match_indices("sha256:").map(|(at, _)| &text[at + 7..at + 71]).collect();
    // Index to manifest, manifest to configuration and layer, configuration to layer.
    assert_eq!(digests.len(), 4);
    for digest in digests {
        assert!(text.contains(&format!("blobs/sha256/{digest}")), "{digest}");
    }
}

#[test]
fn the_tag_of_a_name() {
    assert_eq!(tag("a/b:1.2"), "1.2");
    assert_eq!(tag("host:5000/b"), "latest");
    assert_eq!(tag("b"), "latest");
}
