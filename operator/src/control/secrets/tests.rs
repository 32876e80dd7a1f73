//! Secrets that make sense, and those that don't.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::Opens;

fn secret(data: &[(&str, &str)]) -> Secret {
    let data: BTreeMap<_, _> =
        data.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect();
    Secret { data: Some(data), ..Secret::default() }
}

#[test]
fn files_are_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let opens = secret(&[("key", "abc"), ("AWS_REGION", "eu\n"), ("other", "x")]);
    let opens = Opens::new(&opens, "s3://b/p").unwrap();
    for _twice in 0..2 {
        let files = opens.write(&dir.path().join("r")).unwrap();
        let credentials = files.credentials.unwrap();
        assert_eq!(std::fs::read_to_string(&credentials).unwrap(), "AWS_REGION=eu\n");
        assert_eq!(std::fs::read(&files.key).unwrap(), b"abc");
        for path in [&files.key, &credentials] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    assert!(!format!("{opens:?}").contains("eu"));
}

#[test]
fn what_makes_no_sense_is_named_without_values() {
    let check = |data: &[(&str, &str)], what: &str| {
        let wrong = Opens::new(&secret(data), "s3://b/p").unwrap_err();
        assert!(wrong.contains(what) && !wrong.contains("hush"), "{wrong}");
    };
    check(&[("AWS_REGION", "eu")], "no `key`");
    check(&[("key", "")], "no `key`");
    check(&[("key", "k"), ("AWS_REGION", "hush\nhush")], "`AWS_REGION`");
    check(&[("key", "k"), ("AWS_REGION", " ")], "`AWS_REGION`");
    check(&[("key", "k"), ("AWS_", "hush")], "`AWS_`");
    let large = "x".repeat(40 << 10);
    check(&[("key", &large)], "larger");
}
