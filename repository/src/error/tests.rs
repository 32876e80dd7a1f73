//! What people read of a chain of errors.

use super::{Error, ErrorKind};

/// The line for layers, the outermost first.
fn line(layers: &[&str]) -> String {
    let mut rest = layers.iter().rev();
    let first = Error::new(ErrorKind::Store, *rest.next().unwrap());
    rest.fold(first, |inner, what| inner.context(*what)).chain()
}

#[test]
fn every_layer_is_said_once() {
    assert_eq!(line(&["backup db", "put p/ab", "timed out"]), "backup db: put p/ab: timed out");
    assert_eq!(line(&["put p/ab", "put p/ab: disk full", "disk full"]), "put p/ab: disk full");
    assert_eq!(line(&["S3: no answer: refused", "no answer: refused", "refused"]), "S3: no answer: refused");
    assert_eq!(line(&["two\n  lines", "x"]), "two lines: x");
    // Only the same words are the same.
    assert_eq!(line(&["read a", "read ab", "read a/b"]), "read a: read ab: read a/b");
}
