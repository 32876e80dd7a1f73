//! Faults on purpose, as data: what stores, networks and disks do, at the request that a test names.
//!
//! Meant for tests; nothing else may wrap a store in it.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use super::{Key, Listed, Op, Put, SharedLocks, Store, StoreError, StoreErrorKind, StoreResult};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The request fails without having been carried out.
    Fail(StoreErrorKind),
    /// The request is carried out, its reply is lost (`Transient`). A listing breaks off after its first object.
    LoseReply,
    /// The request is carried out after this time.
    Delay(Duration),
    /// This many bytes at the end are missing: from what is stored by a put, or returned by a get. A listing lacks
    /// this many objects at its end.
    Short(usize),
    /// This bit (counted from the first byte's lowest, modulo the length) is flipped: in what is stored, or returned.
    FlipBit(u64),
    /// No space is left; nothing is stored.
    Full,
    /// A put replaces what is there, as a store that ignores create-if-absent would.
    Overwrite,
}

/// One fault: the effect, and which requests have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// On this operation; `None` on any.
    pub op: Option<Op>,
    /// On keys (or prefixes) like this; `*` stands for any text.
    pub key: String,
    /// So many matching requests pass unharmed first.
    pub skip: u64,
    /// So many have the effect then.
    pub times: u64,
    /// The effect.
    pub effect: Effect,
}

impl Fault {
    /// On the first matching request only.
    #[must_use]
    pub fn once(op: Op, key: &str, effect: Effect) -> Self {
        Self { op: Some(op), key: key.to_owned(), skip: 0, times: 1, effect }
    }

    /// On every matching request.
    #[must_use]
    pub fn always(op: Op, key: &str, effect: Effect) -> Self {
        Self { times: u64::MAX, ..Self::once(op, key, effect) }
    }

    /// On the matching request number `n`, counted from 0.
    #[must_use]
    pub fn nth(op: Op, key: &str, n: u64, effect: Effect) -> Self {
        Self { skip: n, ..Self::once(op, key, effect) }
    }

    fn matches(&self, op: Op, key: &str) -> bool {
        self.op.is_none_or(|o| o == op) && glob(self.key.as_bytes(), key.as_bytes())
    }
}

/// When the process "dies": from then on every request fails (`Fatal`), as nothing else is ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Request number `n` (from 0) is the first that fails, and is not carried out.
    Before(u64),
    /// Request number `n` is carried out, but nobody hears of it.
    After(u64),
}

/// All faults of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The faults; the first that matches a request and is due has its effect.
    pub faults: Vec<Fault>,
    /// The crash, if there is one.
    pub crash: Option<Crash>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    requests: u64,
}

/// A store with faults.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
}

/// What happens to one request.
#[derive(Clone, Copy)]
enum Fate {
    Live(Option<Effect>),
    Crashed,
    CrashAfter,
}

impl FaultStore {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, plan: Plan) -> Self {
        Self { inner, state: Mutex::new(State { plan, requests: 0 }) }
    }

    /// Requests so far, failed ones too.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// Adds a fault; its counting begins now.
    pub fn add(&self, fault: Fault) {
        self.state().plan.faults.push(fault);
    }

    /// Another plan from now on; requests are counted from 0 again.
    pub fn replace(&self, plan: Plan) {
        *self.state() = State { plan, requests: 0 };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, op: Op, key: &str) -> Fate {
        let mut state = self.state();
        let number = state.requests;
        state.requests += 1;
        match state.plan.crash {
            Some(Crash::Before(n)) if number >= n => return Fate::Crashed,
            Some(Crash::After(n)) if number > n => return Fate::Crashed,
            Some(Crash::After(n)) if number == n => return Fate::CrashAfter,
            _ => {}
        }
        let mut effect = None;
        for fault in state.plan.faults.iter_mut().filter(|f| f.matches(op, key)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 && effect.is_none() {
                fault.times = if fault.times == u64::MAX { u64::MAX } else { fault.times - 1 };
                effect = Some(fault.effect);
            }
        }
        Fate::Live(effect)
    }

    /// The part before the request: waits, or fails. Gives the effect back for the part after it.
    async fn before(&self, op: Op, key: &str) -> StoreResult<Fate> {
        let fate = self.fate(op, key);
        match fate {
            Fate::Crashed => return Err(crashed(op, key)),
            Fate::Live(Some(Effect::Fail(kind))) => {
                return Err(StoreError::new(kind, op, key, "failed on purpose"));
            }
            Fate::Live(Some(Effect::Full)) => {
                return Err(StoreError::new(StoreErrorKind::Full, op, key, "no space left, on purpose"));
            }
            Fate::Live(Some(Effect::Delay(time))) => tokio::time::sleep(time).await,
            Fate::Live(_) | Fate::CrashAfter => {}
        }
        Ok(fate)
    }
}

/// The part after the request: the reply arrives, or does not.
fn reply<T>(fate: Fate, op: Op, key: &str, result: StoreResult<T>) -> StoreResult<T> {
    match fate {
        Fate::CrashAfter | Fate::Crashed => Err(crashed(op, key)),
        Fate::Live(Some(Effect::LoseReply)) => Err(lost(op, key)),
        Fate::Live(_) => result,
    }
}

fn crashed(op: Op, key: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Fatal, op, key, "crashed on purpose")
}

fn lost(op: Op, key: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Transient, op, key, "reply lost on purpose")
}

/// What is left of the bytes.
fn harm(fate: Fate, bytes: Bytes) -> Bytes {
    match fate {
        Fate::Live(Some(Effect::Short(n))) => bytes.slice(..bytes.len().saturating_sub(n)),
        Fate::Live(Some(Effect::FlipBit(bit))) if !bytes.is_empty() => {
            let mut copy = bytes.to_vec();
            let at = usize::try_from(bit / 8 % copy.len() as u64).unwrap_or(0);
            copy[at] ^= 1 << (bit % 8);
            copy.into()
        }
        _ => bytes,
    }
}

fn harm_list(
    fate: Fate,
    prefix: &str,
    listing: BoxStream<'static, StoreResult<Listed>>,
) -> BoxStream<'static, StoreResult<Listed>> {
    let failed = |error| stream::iter([Err(error)]);
    match fate {
        Fate::Crashed | Fate::CrashAfter => failed(crashed(Op::List, prefix)).boxed(),
        Fate::Live(Some(Effect::Fail(kind))) => {
            failed(StoreError::new(kind, Op::List, prefix, "failed on purpose")).boxed()
        }
        Fate::Live(Some(Effect::LoseReply)) => listing.take(1).chain(failed(lost(Op::List, prefix))).boxed(),
        Fate::Live(Some(Effect::Delay(time))) => {
            stream::once(tokio::time::sleep(time)).filter_map(|()| async { None }).chain(listing).boxed()
        }
        Fate::Live(Some(Effect::Short(n))) => stream::once(listing.collect::<Vec<_>>())
            .flat_map(move |mut all| {
                all.truncate(all.len().saturating_sub(n));
                stream::iter(all)
            })
            .boxed(),
        Fate::Live(_) => listing,
    }
}

/// Whether the text is like the pattern; `*` stands for any text.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|n| glob(rest, &text[n..])),
        Some((c, rest)) => text.split_first().is_some_and(|(t, more)| t == c && glob(rest, more)),
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for FaultStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        let fate = self.before(Op::Put, key.as_str()).await?;
        if matches!(fate, Fate::Live(Some(Effect::Overwrite))) {
            self.inner.delete(key).await?;
        }
        let result = self.inner.put_new(key, harm(fate, bytes)).await;
        reply(fate, Op::Put, key.as_str(), result)
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        let fate = self.before(Op::Get, key.as_str()).await?;
        let result = self.inner.get(key).await.map(|bytes| harm(fate, bytes));
        reply(fate, Op::Get, key.as_str(), result)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        let fate = self.before(Op::Get, key.as_str()).await?;
        let result = self.inner.get_range(key, range).await.map(|bytes| harm(fate, bytes));
        reply(fate, Op::Get, key.as_str(), result)
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        let fate = self.before(Op::Get, key.as_str()).await?;
        let result = self.inner.get_tail(key, bytes_max).await.map(|(bytes, size)| (harm(fate, bytes), size));
        reply(fate, Op::Get, key.as_str(), result)
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        let fate = self.before(Op::Head, key.as_str()).await?;
        let result = self.inner.find_size(key).await;
        reply(fate, Op::Head, key.as_str(), result)
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        let fate = self.fate(Op::List, prefix);
        harm_list(fate, prefix, self.inner.list(prefix, after))
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        let fate = self.before(Op::Delete, key.as_str()).await?;
        let result = self.inner.delete(key).await;
        reply(fate, Op::Delete, key.as_str(), result)
    }

    fn locks(&self) -> Option<SharedLocks> {
        self.inner.locks()
    }
}

#[cfg(test)]
mod tests;
