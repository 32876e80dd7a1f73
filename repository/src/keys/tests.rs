//! Wraps open for their credential and for nothing else; damage is told apart from a wrong key.

use super::*;
use crate::store::Key;
use bytes::Bytes;

fn setup(credential: &Credential) -> (DomainKeys, Vec<(Key, Bytes)>, Env) {
    let env = Env::system();
    let keys = DomainKeys::generate(RepoId([7; 16]), DomainName::default_domain(), &env);
    let key = Key::new("default/k/00").unwrap();
    let bytes = wrap(&keys, credential, &key, &env).unwrap();
    (keys, vec![(key, bytes)], env)
}

fn key_file(byte: u8) -> Credential {
    Credential::KeyFile(Zeroizing::new([byte; 32]))
}

fn open(wraps: &[(Key, Bytes)], credential: &Credential) -> Result<DomainKeys, KeyError> {
    unwrap_any(wraps, credential, RepoId([7; 16]), &DomainName::default_domain())
}

#[test]
fn the_right_credential_opens() {
    for credential in [key_file(1), Credential::passphrase("correct horse")] {
        let (keys, wraps, _) = setup(&credential);
        let opened = open(&wraps, &credential).unwrap();
        assert_eq!(opened.blob_id(b"x"), keys.blob_id(b"x"));
        assert_eq!(opened.tree_key(), keys.tree_key());
        assert_eq!(opened.chunk_sizes(), keys.chunk_sizes());
    }
}

#[test]
fn a_wrong_credential_is_told_as_such() {
    let (_, wraps, _) = setup(&key_file(1));
    assert!(matches!(open(&wraps, &key_file(2)), Err(KeyError::Wrong { tried: 1, .. })));
    assert!(matches!(
        open(&wraps, &Credential::passphrase("x")),
        Err(KeyError::NoneOfKind { others: 1, .. })
    ));
    let (_, wraps, _) = setup(&Credential::passphrase("right"));
    let err = open(&wraps, &Credential::passphrase("wrong")).unwrap_err();
    assert_eq!(err.to_string(), "wrong passphrase: none of the 1 key wraps of domain default opens with it");
}

#[test]
fn several_wraps_open_the_same_keys() {
    let (keys, mut wraps, env) = setup(&key_file(1));
    let second = Key::new("default/k/01").unwrap();
    let bytes = wrap(&keys, &key_file(2), &second, &env).unwrap();
    wraps.push((second, bytes));
    for n in [1, 2] {
        assert_eq!(open(&wraps, &key_file(n)).unwrap().blob_id(b"a"), keys.blob_id(b"a"));
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    let (_, wraps, _) = setup(&key_file(1));
    let whole = wraps[0].1.clone();
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1;
        assert!(open(&[(wraps[0].0.clone(), Bytes::from(bytes))], &key_file(1)).is_err(), "byte {at}");
        assert!(open(&[(wraps[0].0.clone(), whole.slice(..at))], &key_file(1)).is_err(), "cut at {at}");
    }
}

#[test]
fn a_wrap_of_another_repository_is_refused() {
    let (_, wraps, _) = setup(&key_file(1));
    assert!(unwrap_any(&wraps, &key_file(1), RepoId([8; 16]), &DomainName::default_domain()).is_err());
    let moved = vec![(Key::new("default/k/02").unwrap(), wraps[0].1.clone())];
    assert!(open(&moved, &key_file(1)).is_err());
}

#[test]
fn key_files_and_passphrase_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let Credential::KeyFile(made) = Credential::create_key_file(&path, &Env::system()).unwrap() else {
        panic!()
    };
    let Credential::KeyFile(read) = Credential::read_key_file(&path).unwrap() else { panic!() };
    assert_eq!(*made, *read);
    assert!(!Credential::is_exposed(&path));
    assert!(Credential::create_key_file(&path, &Env::system()).is_err(), "never replaced");
    let pass = dir.path().join("pass");
    for (text, want) in
        [("a b\n", Some("a b")), ("a", Some("a")), ("a\r\n", Some("a")), ("\n", None), ("", None)]
    {
        std::fs::write(&pass, text).unwrap();
        match (Credential::read_passphrase_file(&pass), want) {
            (Ok(Credential::Passphrase(p)), Some(want)) => assert_eq!(*p, want),
            (Err(_), None) => {}
            (got, _) => panic!("{text:?}: {got:?}"),
        }
    }
    assert!(Credential::read_key_file(&pass).is_err());
}
