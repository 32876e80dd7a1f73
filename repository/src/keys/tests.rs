//! Rings open for their credentials and for nothing else; damage is told apart from a wrong key; a change needs no
//! secret of those that it is for.

use std::sync::Arc;

use super::stored::{Change, change, open, open_ring, refresh};
use super::*;
use crate::layout::Layout;
use crate::store::{RemoteStore, Store};
use crate::{Error, ErrorKind};

mod races;

const REPO: RepoId = RepoId([7; 16]);

fn key_file(byte: u8) -> Credential {
    Credential::KeyFile(Zeroizing::new([byte; 32]))
}

fn access(credential: &Credential, role: Role, label: &str) -> Access {
    Access::of(credential, role, label, &Env::system()).unwrap()
}

fn sealed(keys: &DomainKeys, accesses: &[Access]) -> bytes::Bytes {
    ring::seal(&keys.identity, &keys.ring(), accesses, &Env::system()).unwrap()
}

fn fresh() -> DomainKeys {
    DomainKeys::generate(REPO, DomainName::default_domain(), &Env::system())
}

fn unwrap(bytes: &[u8], credential: &Credential) -> Result<DomainKeys, KeyError> {
    open_ring(bytes, (REPO, &DomainName::default_domain()), credential)
}

/// A domain in a store of its own, opened by several who work at once.
struct Place {
    store: Arc<dyn Store>,
    layout: Layout,
    env: Env,
}

impl Place {
    async fn new(credentials: &[(&Credential, Role)]) -> Self {
        let this = Self {
            store: Arc::new(RemoteStore::memory()),
            layout: Layout::new(DomainName::default_domain()),
            env: Env::system(),
        };
        let accesses = credentials.iter().map(|(c, role)| access(c, *role, "")).collect();
        assert!(stored::create(this.place(), &fresh(), accesses, &this.env).await.unwrap());
        this
    }

    fn place(&self) -> (&dyn Store, &Layout) {
        (&*self.store, &self.layout)
    }

    async fn open(&self, credential: Credential) -> crate::Result<DomainKeys> {
        open(&*self.store, &self.layout, REPO, credential).await
    }

    async fn change(&self, keys: &DomainKeys, what: Change) -> crate::Result<stored::Changed> {
        change(self.place(), keys, &what, &self.env).await
    }
}

fn kind(result: Result<impl fmt::Debug, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn the_right_credential_opens() {
    for credential in [key_file(1), Credential::passphrase("correct horse")] {
        let keys = fresh();
        let opened = unwrap(&sealed(&keys, &[access(&credential, Role::Full, "")]), &credential).unwrap();
        assert_eq!(opened.blob_id(b"x"), keys.blob_id(b"x"));
        assert_eq!(opened.tree_key(), keys.tree_key());
        assert_eq!(opened.chunk_sizes(), keys.chunk_sizes());
        assert_eq!(opened.newest().1.key, keys.newest().1.key);
        assert_eq!(opened.role(), Role::Full);
    }
}

#[test]
fn a_wrong_credential_is_told_as_such() {
    let of_file = sealed(&fresh(), &[access(&key_file(1), Role::Full, "")]);
    assert!(matches!(unwrap(&of_file, &key_file(2)), Err(KeyError::Wrong { tried: 1, .. })));
    assert!(matches!(
        unwrap(&of_file, &Credential::passphrase("x")),
        Err(KeyError::NoneOfKind { others: 1, .. })
    ));
    let of_text = sealed(&fresh(), &[access(&Credential::passphrase("right"), Role::Full, "")]);
    let err = unwrap(&of_text, &Credential::passphrase("wrong")).unwrap_err();
    assert_eq!(err.to_string(), "wrong passphrase: none of the 1 key wraps of domain default opens with it");
}

#[test]
fn a_ring_belongs_to_its_repository_and_domain() {
    let bytes = sealed(&fresh(), &[access(&key_file(1), Role::Full, "")]);
    let other = "other".parse::<DomainName>().unwrap();
    for of in [(RepoId([8; 16]), &DomainName::default_domain()), (REPO, &other)] {
        assert!(matches!(open_ring(&bytes, of, &key_file(1)), Err(KeyError::Damaged(..))));
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    let whole =
        sealed(&fresh(), &[access(&key_file(1), Role::Full, ""), access(&key_file(2), Role::Writer, "")]);
    // The sum notices damage; a store that wants to deceive makes it fit.
    for is_hostile in [false, true] {
        for at in 0..whole.len() - if is_hostile { 32 } else { 0 } {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1;
            if is_hostile {
                let body = bytes.len() - 32;
                let sum = *blake3::hash(&bytes[..body]).as_bytes();
                bytes[body..].copy_from_slice(&sum);
            }
            let opened = [1, 2].map(|n| unwrap(&bytes, &key_file(n)).is_ok());
            // Each part is one role's: what lies in the other's is not looked at.
            let hits_one = is_hostile && opened != [true, true];
            assert!(opened == [false, false] || hits_one, "byte {at}, hostile: {is_hostile}");
        }
    }
    for cut in 0..whole.len() {
        assert!(unwrap(&whole[..cut], &key_file(1)).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_writer_gets_no_secret_of_data_and_no_credential() {
    let keys = fresh();
    let (full, writer) = (access(&key_file(1), Role::Full, ""), access(&key_file(2), Role::Writer, ""));
    let ring = Ring { credentials: vec![full.clone(), writer.clone()], ..(*keys.ring()).clone() };
    let bytes = ring::seal(&keys.identity, &ring, &[full, writer], &Env::system()).unwrap();
    let writer = unwrap(&bytes, &key_file(2)).unwrap();
    assert_eq!(writer.role(), Role::Writer);
    assert!(writer.newest().1.data_secret.is_none());
    assert_eq!(writer.newest().1.data_public, keys.newest().1.data_public);
    assert_eq!(writer.blob_id(b"x"), keys.blob_id(b"x"));
    assert!(writer.credentials().is_empty());
    assert_eq!(unwrap(&bytes, &key_file(1)).unwrap().credentials().len(), 2);
    assert!(writer.ring().after(&Change::Rotate, &Env::system()).is_err());
    // Nor does what it opened hold the secret anywhere.
    let secret = *keys.newest().1.data_secret.as_ref().unwrap().bytes();
    let plain = bundle::encode(&keys.identity, &ring, Role::Writer);
    assert!(!plain.windows(32).any(|w| w == secret));
    assert!(bundle::encode(&keys.identity, &ring, Role::Full).windows(32).any(|w| w == secret));
}

#[tokio::test]
async fn changes_reach_credentials_whose_secrets_nobody_has() {
    let place = Place::new(&[(&key_file(1), Role::Full)]).await;
    let admin = place.open(key_file(1)).await.unwrap();
    let recipient = key_file(2).recipient().unwrap();
    let added = Access::of_recipient(recipient, Role::Full, "offsite", &place.env).unwrap();
    place.change(&admin, Change::Add(added.clone())).await.unwrap();
    place.change(&admin, Change::Rotate).await.unwrap();
    let other = place.open(key_file(2)).await.unwrap();
    assert_eq!(other.newest_epoch(), 2);
    assert_eq!(other.epoch(1).unwrap().key, admin.epoch(1).unwrap().key);
    assert_eq!(other.own_credential(), Some(added.id));
    let again = Access::of_recipient(recipient, Role::Writer, "", &place.env).unwrap();
    assert_eq!(kind(place.change(&admin, Change::Add(again)).await), ErrorKind::Refused);
    let same_label =
        Access::of_recipient(key_file(3).recipient().unwrap(), Role::Full, "offsite", &place.env);
    assert_eq!(kind(place.change(&admin, Change::Add(same_label.unwrap())).await), ErrorKind::Refused);
    let listed: Vec<_> = {
        use futures::TryStreamExt as _;
        place.store.list("", None).map_ok(|o| o.key.to_string()).try_collect().await.unwrap()
    };
    assert_eq!(listed, ["default/k/0000000003-a", "default/k/0000000003-b"], "older versions are gone");
}

#[tokio::test]
async fn who_was_removed_opens_nothing_that_is_new() {
    let place = Place::new(&[(&key_file(1), Role::Full), (&key_file(2), Role::Full)]).await;
    let (admin, thief) = (place.open(key_file(1)).await.unwrap(), place.open(key_file(2)).await.unwrap());
    let stolen = thief.own_credential().unwrap();
    place.change(&admin, Change::Remove(stolen)).await.unwrap();
    place.change(&admin, Change::Rotate).await.unwrap();
    assert_eq!(kind(place.open(key_file(2)).await), ErrorKind::Key);
    let refused = refresh(&*place.store, &place.layout, &thief).await.unwrap_err();
    assert!(refused.chain().contains("was removed"), "{}", refused.chain());
    // It has all that was in the ring when it left: the others' public keys, and no secret that opens the next.
    let found = stored::find(&*place.store, &place.layout).await.unwrap().whole.unwrap();
    let parsed = ring::Sealed::parse(found.bytes()).unwrap();
    let domain = DomainName::default_domain();
    let epoch = thief.newest().1;
    for known in [*epoch.key, *epoch.data_secret.as_ref().unwrap().bytes(), [2; 32]] {
        let secret = SecretKey::new(Zeroizing::new(known));
        assert!(parsed.open_again((REPO, &domain), &secret).is_err());
    }
    for access in thief.credentials() {
        let secret = SecretKey::new(Zeroizing::new(access.public.0));
        assert!(parsed.open_again((REPO, &domain), &secret).is_err());
    }
}

#[tokio::test]
async fn the_last_full_credential_stays() {
    let place = Place::new(&[(&key_file(1), Role::Full), (&key_file(2), Role::Writer)]).await;
    let admin = place.open(key_file(1)).await.unwrap();
    let own = admin.own_credential().unwrap();
    assert_eq!(kind(place.change(&admin, Change::Remove(own)).await), ErrorKind::Refused);
    assert_eq!(kind(place.change(&admin, Change::Remove(CredentialId([0; 4]))).await), ErrorKind::Refused);
    let writer = place.open(key_file(2)).await.unwrap();
    assert_eq!(kind(place.change(&writer, Change::Rotate).await), ErrorKind::Refused);
    place.open(key_file(1)).await.unwrap();
}

#[tokio::test]
async fn other_keys_under_a_newer_version_are_refused() {
    let place = Place::new(&[(&key_file(1), Role::Full)]).await;
    let keys = place.open(key_file(1)).await.unwrap();
    // Whoever knows the public key and may write to the store can seal other keys for it.
    let forged = fresh();
    let ring = Ring { version: 2, credentials: keys.credentials(), ..(*forged.ring()).clone() };
    let bytes = ring::seal(&forged.identity, &ring, &ring.credentials, &place.env).unwrap();
    place.store.put_new(&place.layout.ring(2, 'a'), bytes).await.unwrap();
    let e = refresh(&*place.store, &place.layout, &keys).await.unwrap_err();
    assert!(e.chain().contains("contradicts"), "{}", e.chain());
    assert_eq!(keys.version(), 1);
}

#[test]
fn an_export_opens_and_its_slips_are_found() {
    let keys = fresh();
    let env = Env::system();
    let passphrase = Credential::passphrase("in the drawer");
    let text = export(&keys, Some(&passphrase), &env).unwrap();
    let read = import(&text).unwrap();
    assert!(!read.is_bare() && read.repo() == REPO);
    assert_eq!(read.open(Some(&passphrase)).unwrap().blob_id(b"x"), keys.blob_id(b"x"));
    assert!(read.open(Some(&key_file(1))).is_err() && read.open(None).is_err());
    assert!(matches!(read.open(Some(&Credential::passphrase("other"))), Err(KeyError::Wrong { .. })));
    let bare = export(&keys, None, &env).unwrap();
    let opened = import(&bare).unwrap().open(None).unwrap();
    assert_eq!(opened.newest().1.data_secret, keys.newest().1.data_secret);
    // Typed in by hand, with blank lines and in capitals.
    let typed: String = bare.lines().map(|l| format!("  {l} \n\n")).collect();
    import(&typed).unwrap().open(None).unwrap();
    let body = bare.find("001").unwrap();
    for at in (body..bare.len()).filter(|&at| !bare.as_bytes()[at].is_ascii_whitespace()) {
        let mut bad = bare.as_bytes().to_vec();
        bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
        assert!(import(&String::from_utf8(bad).unwrap()).is_err(), "byte {at}");
    }
    let mut lines: Vec<_> = bare.lines().collect();
    let swapped = lines.len() - 3;
    lines.swap(swapped, swapped - 1);
    assert!(import(&lines.join("\n")).is_err());
    assert!(import(&bare[..bare.len() - 5]).is_err() && import("").is_err());
}

#[tokio::test]
async fn keys_come_back_from_an_export_when_every_ring_is_lost() {
    let place = Place::new(&[(&key_file(1), Role::Full), (&key_file(2), Role::Writer)]).await;
    let admin = place.open(key_file(1)).await.unwrap();
    let text = export(&admin, None, &place.env).unwrap();
    let from = || import(&text).unwrap().open(None).unwrap();
    let restore = |replace, add| {
        let (place, keys) = (&place, from());
        async move { stored::restore(place.place(), &keys, (add, replace), &place.env).await }
    };
    assert_eq!(kind(restore(false, None).await), ErrorKind::Refused, "the ring is whole");
    for copy in ['a', 'b'] {
        place.store.delete(&place.layout.ring(1, copy)).await.unwrap();
    }
    assert_eq!(kind(place.open(key_file(1)).await), ErrorKind::Key);
    let new = access(&Credential::passphrase("new"), Role::Full, "imported");
    assert_eq!(restore(false, Some(new)).await.unwrap().version, 2);
    let again = place.open(Credential::passphrase("new")).await.unwrap();
    assert_eq!(again.blob_id(b"x"), admin.blob_id(b"x"));
    assert_eq!(place.open(key_file(2)).await.unwrap().role(), Role::Writer);
    // What was rotated since an export must not be lost by it.
    place.change(&again, Change::Rotate).await.unwrap();
    assert_eq!(kind(restore(true, None).await), ErrorKind::Refused);
}

#[tokio::test]
async fn one_damaged_copy_costs_nothing_and_both_are_told() {
    let place = Place::new(&[(&key_file(1), Role::Full)]).await;
    let admin = place.open(key_file(1)).await.unwrap();
    for copy in ['a', 'b'] {
        place.store.delete(&place.layout.ring(1, copy)).await.unwrap();
        place.store.put_new(&place.layout.ring(1, copy), "rubbish".into()).await.unwrap();
        let opened = place.open(key_file(1)).await;
        assert_eq!(opened.is_ok(), copy == 'a');
        let found = stored::find(&*place.store, &place.layout).await.unwrap();
        assert_eq!(found.whole.map(|w| w.copies), (copy == 'a').then_some(1));
    }
    assert_eq!(kind(place.open(key_file(1)).await), ErrorKind::Key);
    assert_eq!(kind(place.change(&admin, Change::Rotate).await), ErrorKind::Key);
}
