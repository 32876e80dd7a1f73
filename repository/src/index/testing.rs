//! A store in memory that counts, and lets a test act or fail at any operation; a world without chance.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use super::objects::Objects;
use crate::env::{Clock, Env, Random, Timestamp};
use crate::ids::{DomainName, RepoId};
use crate::keys::DomainKeys;
use crate::layout::Layout;
use crate::store::{Key, Listed, Op, Put, Store, StoreError, StoreErrorKind, StoreResult};

pub(crate) type Contents = BTreeMap<String, Bytes>;
type Hook = Box<dyn FnMut(Op, &str, &mut Contents) -> Fault + Send>;

/// What becomes of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It is carried out, and a transient error is answered.
    LostReply,
    /// It is not carried out.
    Fails(StoreErrorKind),
}

#[derive(Default)]
pub(crate) struct MemStore {
    contents: Mutex<Contents>,
    hook: Mutex<Option<Hook>>,
    counts: Mutex<BTreeMap<Op, u64>>,
}

impl fmt::Debug for MemStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemStore")
    }
}

fn error(kind: StoreErrorKind, op: Op, key: &str) -> StoreError {
    StoreError { kind, op, key: key.to_owned(), what: format!("{kind:?}"), source: None }
}

impl MemStore {
    pub(crate) fn count(&self, op: Op) -> u64 {
        self.counts.lock().unwrap().get(&op).copied().unwrap_or(0)
    }

    pub(crate) fn on(&self, hook: impl FnMut(Op, &str, &mut Contents) -> Fault + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn contents<T>(&self, with: impl FnOnce(&mut Contents) -> T) -> T {
        with(&mut self.contents.lock().unwrap())
    }

    fn run<T>(&self, op: Op, key: &str, act: impl FnOnce(&mut Contents) -> StoreResult<T>) -> StoreResult<T> {
        *self.counts.lock().unwrap().entry(op).or_default() += 1;
        let mut contents = self.contents.lock().unwrap();
        let fault = self.hook.lock().unwrap().as_mut().map_or(Fault::None, |h| h(op, key, &mut contents));
        match fault {
            Fault::None => act(&mut contents),
            Fault::LostReply => act(&mut contents).and(Err(error(StoreErrorKind::Transient, op, key))),
            Fault::Fails(kind) => Err(error(kind, op, key)),
        }
    }
}

#[async_trait]
impl Store for MemStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        self.run(Op::Put, key.as_str(), |c| {
            if c.contains_key(key.as_str()) {
                return Ok(Put::AlreadyExists);
            }
            c.insert(key.as_str().to_owned(), bytes);
            Ok(Put::Created)
        })
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        let missing = || error(StoreErrorKind::NotFound, Op::Get, key.as_str());
        self.run(Op::Get, key.as_str(), |c| c.get(key.as_str()).cloned().ok_or_else(missing))
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        let whole = self.get(key).await?;
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        Ok(whole.slice(start..end))
    }

    async fn get_tail(&self, key: &Key, bytes: u64) -> StoreResult<(Bytes, u64)> {
        let whole = self.get(key).await?;
        let size = whole.len() as u64;
        Ok((whole.slice(usize::try_from(size.saturating_sub(bytes)).unwrap()..), size))
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        // Lets others run in between, so that tests see whether equal requests are joined.
        tokio::task::yield_now().await;
        self.run(Op::Head, key.as_str(), |c| Ok(c.get(key.as_str()).map(|b| b.len() as u64)))
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        let listed = self.run(Op::List, prefix, |c| {
            let later = |k: &str| k.starts_with(prefix) && after.is_none_or(|a| k > a.as_str());
            let found = c.iter().filter(|(k, _)| later(k));
            Ok(found
                .map(|(k, b)| {
                    let (key, bytes) = (Key::new(k.as_str()).unwrap(), b.len() as u64);
                    Ok(Listed { key, bytes, recorded: Timestamp::default() })
                })
                .collect::<Vec<_>>())
        });
        stream::iter(listed.unwrap_or_else(|e| vec![Err(e)])).boxed()
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.run(Op::Delete, key.as_str(), |c| {
            c.remove(key.as_str());
            Ok(())
        })
    }
}

/// A clock that tests set, in seconds.
#[derive(Debug, Default)]
pub(crate) struct TestClock(pub(crate) AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_parts(self.0.load(Ordering::Relaxed), 0)
    }
}

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, out: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(out);
    }
}

/// A domain over a store in memory.
pub(crate) struct World {
    pub(crate) store: Arc<MemStore>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) objects: Objects,
}

impl World {
    pub(crate) fn new() -> Self {
        let (store, clock) = (Arc::new(MemStore::default()), Arc::new(TestClock::default()));
        let env = Env { clock: clock.clone(), random: Arc::new(Counting::default()) };
        let domain = DomainName::default_domain();
        let keys = Arc::new(DomainKeys::generate(RepoId([1; 16]), domain.clone(), &env));
        let objects = Objects { store: store.clone(), layout: Layout::new(domain), keys, env };
        Self { store, clock, objects }
    }

    pub(crate) fn at(&self, seconds: i64) {
        self.clock.0.store(seconds, Ordering::Relaxed);
    }
}
