//! Rings in the store: the newest is read, a changed one is put as the next version, and old ones go.
//!
//! 1. A version is created once (create-if-absent), as copy `a`: of two changes at once one wins, and the other is made
//!    again on top of it. So no epoch and no credential is ever lost.
//! 2. After its put, a change lists again: a version below the newest is one that others have passed by and deleted
//!    meanwhile. It counts for nothing, and the change is made again.
//! 3. Copy `b` has the same bytes: damage of one object must not cost the repository. Older versions are deleted once
//!    both are there. Until then they are ignored: the newest version that is not damaged is the one that counts.
//! 4. A new epoch is used by its maker only after rules 1 and 2, so that whoever meets it finds it in the store.
//! 5. Who meets an unknown epoch reads the ring again ([`refresh`]); each session does so when it begins.
//! 6. Who has read a ring lists again: what lay under the name may be a void put of a version that was passed by and
//!    deleted between listing and reading.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::ring::{self, Sealed};
use super::{Access, Credential, DomainKeys, KeyError, Ring, Role};
use crate::env::Env;
use crate::error::Context as _;
use crate::ids::{DomainName, RepoId};
use crate::layout::{Layout, ObjectKind};
use crate::limits::{PUTS_MAX, RING_BYTES_MAX, RING_TRIES_MAX};
use crate::store::{Key, Put, Store, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

pub use super::change::Change;

const COPIES: [char; 2] = ['a', 'b'];

/// A ring that is in the store and whole.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its version.
    pub version: u32,
    /// Its newest epoch, as it says in plain.
    pub newest_epoch: u32,
    /// How many of its two copies are there and whole.
    pub copies: usize,
    bytes: Bytes,
}

#[cfg(test)]
impl Stored {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the store holds of rings.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest that is whole.
    pub whole: Option<Stored>,
    /// Versions that are there, above that one: damaged.
    pub damaged: Vec<u32>,
    /// All objects, by version.
    objects: BTreeMap<u32, Vec<Key>>,
}

impl Found {
    fn newest_version(&self) -> u32 {
        self.objects.last_key_value().map_or(0, |(n, _)| *n)
    }
}

fn store_error(what: String, e: crate::store::StoreError) -> Error {
    Error::with_source(ErrorKind::Store, what, e)
}

async fn list(store: &dyn Store, layout: &Layout) -> Result<BTreeMap<u32, Vec<Key>>> {
    let folder = layout.folder(ObjectKind::Key);
    let mut listed = store.list(&folder, None);
    let mut objects: BTreeMap<u32, Vec<Key>> = BTreeMap::new();
    while let Some(object) = listed.try_next().await.map_err(|e| store_error(format!("list {folder}"), e))? {
        if let Some((version, _)) = layout.parse_ring(&object.key)
            && object.bytes <= RING_BYTES_MAX
        {
            objects.entry(version).or_default().push(object.key);
        }
    }
    Ok(objects)
}

/// Looks for the newest ring that is whole, and counts its copies.
pub async fn find(store: &dyn Store, layout: &Layout) -> Result<Found> {
    for _ in 0..RING_TRIES_MAX {
        let mut found = Found { objects: list(store, layout).await?, ..Found::default() };
        for (&version, keys) in found.objects.iter().rev() {
            found.whole = read_copies(store, version, keys).await?;
            if found.whole.is_some() {
                break;
            }
            found.damaged.push(version);
        }
        // Rule 6; and a version that vanished meanwhile was passed by a newer one.
        let newest = list(store, layout).await?.last_key_value().map_or(0, |(n, _)| *n);
        if newest == found.newest_version() {
            return Ok(found);
        }
    }
    Err(Error::new(ErrorKind::Store, format!("the keys of domain {} keep changing", layout.domain())))
}

async fn read_copies(store: &dyn Store, version: u32, keys: &[Key]) -> Result<Option<Stored>> {
    let mut whole: Option<Stored> = None;
    for key in keys {
        let bytes = match store.get(key).await {
            Ok(bytes) => bytes,
            Err(e) if e.kind == StoreErrorKind::NotFound => continue,
            Err(e) => return Err(store_error(format!("read {key}"), e)),
        };
        match (Sealed::parse(&bytes), &mut whole) {
            (Ok(sealed), None) if sealed.version == version => {
                let newest_epoch = sealed.newest_epoch;
                whole = Some(Stored { version, newest_epoch, copies: 1, bytes: bytes.clone() });
            }
            (Ok(_), Some(first)) if first.bytes == bytes => first.copies += 1,
            (Ok(_), _) => tracing::warn!("{key}: not the ring that its name says"),
            (Err(what), _) => tracing::warn!("{key}: {what}"),
        }
    }
    Ok(whole)
}

/// Opens a domain's keys. Stretching a passphrase takes a while, on a thread of its own.
pub async fn open(
    store: &dyn Store,
    layout: &Layout,
    repo: RepoId,
    credential: Credential,
) -> Result<DomainKeys> {
    let found = find(store, layout).await?;
    let domain = layout.domain().clone();
    let Some(stored) = found.whole else {
        return Err(match found.damaged.first() {
            None => {
                let what = format!(
                    "the repository has no keys for domain {domain}: if they are lost, `holdfast key import` brings them \
                     back; a new domain begins with `holdfast domain add {domain}`"
                );
                Error::new(ErrorKind::Key, what)
            }
            Some(version) => {
                let what = format!(
                    "key ring {version} of domain {domain} is damaged in both copies; `holdfast key import` brings it back"
                );
                Error::new(ErrorKind::Key, what)
            }
        });
    };
    if let Some(version) = found.damaged.first() {
        tracing::warn!(
            version,
            older = stored.version,
            "the newest key ring is damaged, an older one is used"
        );
    }
    let open = move || open_ring(&stored.bytes, (repo, &domain), &credential);
    let opened =
        tokio::task::spawn_blocking(open).await.context(ErrorKind::Internal, || "open keys".to_owned())?;
    opened.context(ErrorKind::Key, || "open the repository's keys".to_owned())
}

/// Opens a ring's bytes.
pub(super) fn open_ring(
    bytes: &[u8],
    of: (RepoId, &DomainName),
    credential: &Credential,
) -> Result<DomainKeys, KeyError> {
    let sealed = Sealed::parse(bytes).map_err(|what| KeyError::Damaged("?".to_owned(), what.to_owned()))?;
    let opened = sealed.open(of, credential)?;
    Ok(DomainKeys::of(opened.identity, opened.ring, Some(opened.secret)))
}

/// Reads the newest ring, and takes its epochs over. True if there was a newer one. Fails with [`ErrorKind::Key`] if the
/// credential is not among those of the newest any more.
pub async fn refresh(store: &dyn Store, layout: &Layout, keys: &DomainKeys) -> Result<bool> {
    let Some(secret) = &keys.secret else { return Ok(false) };
    // The usual case costs one listing.
    if list(store, layout).await?.last_key_value().is_some_and(|(n, _)| *n <= keys.version()) {
        return Ok(false);
    }
    let Some(stored) = find(store, layout).await?.whole else { return Ok(false) };
    if stored.version <= keys.version() {
        return Ok(false);
    }
    let what = || format!("read the keys of domain {} again", keys.domain());
    let sealed = Sealed::parse(&stored.bytes).map_err(|what| Error::new(ErrorKind::Key, what))?;
    let opened = sealed.open_again((keys.repo(), keys.domain()), secret).context(ErrorKind::Key, what)?;
    keys.install(&opened.identity, opened.ring).context(ErrorKind::Key, what)?;
    Ok(true)
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The version that holds it.
    pub version: u32,
    /// The newest epoch.
    pub epoch: u32,
    /// Objects of older versions that could not be deleted: a removed credential still opens these.
    pub leftovers: usize,
}

/// Changes the keys: reads the newest ring, changes it, and puts it as the next version, again if others were faster.
pub async fn change(
    (store, layout): (&dyn Store, &Layout),
    keys: &DomainKeys,
    change: &Change,
    env: &Env,
) -> Result<Changed> {
    for _ in 0..RING_TRIES_MAX {
        refresh(store, layout, keys).await?;
        let found = find(store, layout).await?;
        if let Some(version) = found.damaged.first() {
            let what = format!("key ring {version} is damaged in both copies: nothing can be built on it");
            return Err(Error::new(ErrorKind::Key, what));
        }
        let current = keys.ring();
        let next = current.after(change, env).context(ErrorKind::Refused, || "change keys".to_owned())?;
        let bytes = seal(keys, &next, env)?;
        if !put(store, layout, next.version, &bytes).await? {
            continue;
        }
        let (version, epoch) = (next.version, next.newest_epoch());
        keys.install(&keys.identity, next).context(ErrorKind::Key, || "use the new keys".to_owned())?;
        let leftovers = tidy(store, layout, version).await?;
        return Ok(Changed { version, epoch, leftovers });
    }
    Err(Error::new(ErrorKind::Store, format!("the keys of domain {} keep changing", layout.domain())))
}

/// Stores a domain's first ring. False if there is one already.
pub async fn create(
    (store, layout): (&dyn Store, &Layout),
    keys: &DomainKeys,
    credentials: Vec<Access>,
    env: &Env,
) -> Result<bool> {
    let mut ring = (*keys.ring()).clone();
    ring.credentials = credentials;
    let bytes = seal(keys, &ring, env)?;
    if !list(store, layout).await?.is_empty() {
        return Ok(false);
    }
    put(store, layout, ring.version, &bytes).await
}

fn seal(keys: &DomainKeys, ring: &Ring, env: &Env) -> Result<Bytes> {
    let sealed = ring::seal(&keys.identity, ring, &ring.credentials, env);
    sealed.context(ErrorKind::Key, || "seal keys".to_owned())
}

/// Brings keys back from an export, with one more credential if it is given. Refused while a ring is there that could
/// still be opened, unless `replace`; and always if that has epochs that the export lacks.
pub async fn restore(
    (store, layout): (&dyn Store, &Layout),
    keys: &DomainKeys,
    (add, replace): (Option<Access>, bool),
    env: &Env,
) -> Result<Changed> {
    let found = find(store, layout).await?;
    let mut ring = (*keys.ring()).clone();
    if let Some(there) = &found.whole {
        let refused = |what: String| Err(Error::new(ErrorKind::Refused, what));
        if there.newest_epoch > ring.newest_epoch() {
            return refused(format!(
                "key ring {} has epochs up to {}, the export only up to {}: what was stored since would be lost",
                there.version,
                there.newest_epoch,
                ring.newest_epoch()
            ));
        }
        if !replace {
            return refused(format!("key ring {} is there and whole", there.version));
        }
    }
    if let Some(add) = add
        && !ring.credentials.iter().any(|c| c.public == add.public)
    {
        ring.credentials.push(add);
    }
    if !ring.credentials.iter().any(|c| c.role == Role::Full) {
        return Err(Error::new(ErrorKind::Input, "the keys need a credential that opens them"));
    }
    ring.version = found.newest_version().max(ring.version) + 1;
    let bytes = seal(keys, &ring, env)?;
    if !put(store, layout, ring.version, &bytes).await? {
        return Err(Error::new(ErrorKind::Refused, "somebody else changes the keys at this moment"));
    }
    Ok(Changed { version: ring.version, epoch: ring.newest_epoch(), leftovers: 0 })
}

/// Rules 1 to 3: false if the version is another's, or was passed by.
pub(super) async fn put(store: &dyn Store, layout: &Layout, version: u32, bytes: &Bytes) -> Result<bool> {
    for copy in COPIES {
        let key = layout.ring(version, copy);
        if !put_own(store, &key, bytes).await? {
            // A copy `b` of other bytes under an own `a` is what a slower one left there before: it goes with the rest.
            if copy == COPIES[0] {
                return Ok(false);
            }
        }
        if copy == COPIES[0] && list(store, layout).await?.last_key_value().is_none_or(|(n, _)| *n != version)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Creates an object; true if it holds our bytes then. A reply that was lost is asked about.
async fn put_own(store: &dyn Store, key: &Key, bytes: &Bytes) -> Result<bool> {
    let mut failed = None;
    for _ in 0..PUTS_MAX {
        match store.put_new(key, bytes.clone()).await {
            Ok(Put::Created) => return Ok(true),
            Ok(Put::AlreadyExists) => {}
            Err(e) if e.kind == StoreErrorKind::Transient => failed = Some(e),
            Err(e) => return Err(store_error(format!("create {key}"), e)),
        }
        match store.get(key).await {
            Ok(found) => return Ok(found == *bytes),
            Err(e) if e.kind == StoreErrorKind::NotFound => {}
            Err(e) if e.kind == StoreErrorKind::Transient => failed = Some(e),
            Err(e) => return Err(store_error(format!("read {key} back"), e)),
        }
    }
    let what = format!("create {key}: whether it exists now is unknown");
    Err(failed.map_or_else(|| Error::new(ErrorKind::Store, what.clone()), |e| store_error(what.clone(), e)))
}

/// Deletes the versions before this one, if both its copies are whole; how many objects stay.
async fn tidy(store: &dyn Store, layout: &Layout, version: u32) -> Result<usize> {
    let found = find(store, layout).await?;
    let whole = found.whole.as_ref().is_some_and(|w| w.version >= version && w.copies == COPIES.len());
    let mut leftovers = 0;
    for key in found.objects.range(..version).flat_map(|(_, keys)| keys) {
        if !whole || store.delete(key).await.is_err() {
            leftovers += 1;
        }
    }
    Ok(leftovers)
}
