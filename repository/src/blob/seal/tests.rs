//! What is sealed opens under its own name and kind only, and every flipped byte is noticed.

use super::*;
use crate::ids::{DomainName, RepoId};

fn setup() -> (DomainKeys, Key, Bytes) {
    let env = Env::system();
    let keys = DomainKeys::generate(RepoId([1; 16]), DomainName::default_domain(), &env);
    let key = Key::new("default/m/0000000000/aa").unwrap();
    let sealed = seal_object(&keys, ObjectKind::Outcome, &key, b"committed", &env);
    (keys, key, sealed)
}

#[test]
fn it_opens_as_what_it_is() {
    let (keys, key, sealed) = setup();
    assert_eq!(unseal_object(&keys, ObjectKind::Outcome, &key, &sealed).unwrap(), b"committed");
    assert!(matches!(unseal_object(&keys, ObjectKind::Gc, &key, &sealed), Err(SealError::Header)));
    let other = Key::new("default/m/0000000000/ab").unwrap();
    assert!(matches!(unseal_object(&keys, ObjectKind::Outcome, &other, &sealed), Err(SealError::Damaged)));
    let stranger = DomainKeys::generate(RepoId([1; 16]), DomainName::default_domain(), &Env::system());
    assert!(matches!(unseal_object(&stranger, ObjectKind::Outcome, &key, &sealed), Err(SealError::OtherKey)));
}

#[test]
fn every_flipped_or_missing_byte_is_noticed() {
    let (keys, key, sealed) = setup();
    for at in 0..sealed.len() {
        let mut bytes = sealed.to_vec();
        bytes[at] ^= 0x40;
        assert!(unseal_object(&keys, ObjectKind::Outcome, &key, &bytes).is_err(), "byte {at}");
        assert!(unseal_object(&keys, ObjectKind::Outcome, &key, &sealed[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn both_ciphers_work_and_differ() {
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let key = SealingKey::derive("test", &[&[3; 32]], cipher);
        let mut data = b"frame".to_vec();
        let tag = key.seal_in_place(5, b"aad", &mut data);
        data.extend_from_slice(&tag);
        assert!(key.open_in_place(6, b"aad", &mut data.clone()).is_none(), "another counter");
        assert!(key.open_in_place(5, b"dad", &mut data.clone()).is_none(), "other data");
        assert_eq!(key.open_in_place(5, b"aad", &mut data).unwrap(), b"frame");
        assert_eq!(Cipher::from_byte(cipher as u8), Some(cipher));
    }
}
