//! Key files and passphrase files, as people and scripts write them.

use std::os::unix::fs::PermissionsExt as _;

use repository::env::Env;
use repository::keys::Credential;

use super::{KeySource, create_key_file, read, read_new};
use crate::exit::Exit;

fn file(content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

fn check_passphrase(content: &[u8], expected: Result<&str, &str>) {
    let (_dir, path) = file(content);
    match (read(&KeySource::PassphraseFile(path)), expected) {
        (Ok(Credential::Passphrase(p)), Ok(text)) => assert_eq!(p.as_str(), text),
        (Err(e), Err(text)) => {
            assert!(format!("{e:#}").contains(text), "{e:#}");
            assert_eq!(Exit::of_error(&e), Exit::Key);
        }
        (got, _) => panic!("{content:?}: {got:?}"),
    }
}

#[test]
fn one_newline_is_stripped_from_a_passphrase() {
    check_passphrase(b"correct horse", Ok("correct horse"));
    check_passphrase(b"correct horse\n", Ok("correct horse"));
    check_passphrase(b"correct horse\r\n", Ok("correct horse"));
    check_passphrase(b"two\n\n", Ok("two\n"));
    check_passphrase(b" space ", Ok(" space "));
    check_passphrase(b"", Err("empty"));
    check_passphrase(b"\n", Err("empty"));
    check_passphrase(b"\xff\xff", Err("UTF-8"));
    check_passphrase(&[b'a'; 70_000], Err("larger"));
}

fn check_key(content: &[u8], expected: Option<[u8; 32]>) {
    let (_dir, path) = file(content);
    match (read(&KeySource::KeyFile(path)), expected) {
        (Ok(Credential::KeyFile(k)), Some(raw)) => assert_eq!(*k, raw),
        (Err(e), None) => assert_eq!(Exit::of_error(&e), Exit::Key),
        (got, _) => panic!("{content:?}: {got:?}"),
    }
}

#[test]
fn keys_are_32_bytes_or_64_digits() {
    check_key(&[7; 32], Some([7; 32]));
    check_key(&b"ab".repeat(32), Some([0xab; 32]));
    check_key(&[&b"AB".repeat(32)[..], b"\n"].concat(), Some([0xab; 32]));
    check_key(format!("holdfast-key-1 {}\n", "ab".repeat(32)).as_bytes(), Some([0xab; 32]));
    check_key(&[7; 31], None);
    check_key(&b"zz".repeat(32), None);
    check_key(b"", None);
}

#[test]
fn a_missing_file_is_a_key_error() {
    let error = read(&KeySource::KeyFile("/nonexistent/key".into())).unwrap_err();
    assert_eq!(Exit::of_error(&error), Exit::Key);
    assert!(format!("{error:#}").contains("/nonexistent/key"), "{error:#}");
}

#[test]
fn a_new_key_file_is_private_random_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let env = Env::system();
    let (made, said) = read_new(&KeySource::KeyFile(path.clone()), &env).unwrap();
    assert_eq!(said.as_deref(), Some(path.as_path()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (again, said) = read_new(&KeySource::KeyFile(path.clone()), &env).unwrap();
    assert_eq!(said, None);
    match (made, again) {
        (Credential::KeyFile(a), Credential::KeyFile(b)) => assert_eq!(a, b),
        other => panic!("{other:?}"),
    }
    assert!(create_key_file(&path, &env).is_err());
    let other = dir.path().join("other");
    create_key_file(&other, &env).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap());
}
