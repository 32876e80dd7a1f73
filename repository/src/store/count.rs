//! Counts requests and bytes, for metrics and for tests that assert how much work was done.
//!
//! Wrapped directly around a store it counts every request, those of retries too.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::{Key, Listed, Op, Put, SharedLocks, Store, StoreResult, letter_of};

const OPS: usize = Op::ALL.len();
/// `a` to `z`, and one for all other keys.
const LETTERS: usize = 27;

/// Live counters of a store. All only grow.
#[derive(Debug, Default)]
pub struct Counts {
    requests: [[AtomicU64; LETTERS]; OPS],
    errors: [AtomicU64; OPS],
    bytes: [AtomicU64; OPS],
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    requests: [[u64; LETTERS]; OPS],
    errors: [u64; OPS],
    bytes: [u64; OPS],
}

fn op_index(op: Op) -> usize {
    Op::ALL.iter().position(|&o| o == op).unwrap_or(0)
}

fn letter_index(letter: char) -> usize {
    match letter {
        'a'..='z' => letter as usize - 'a' as usize,
        _ => LETTERS - 1,
    }
}

impl Counts {
    /// All counters now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Figures {
            requests: std::array::from_fn(|op| {
                std::array::from_fn(|letter| load(&self.requests[op][letter]))
            }),
            errors: std::array::from_fn(|op| load(&self.errors[op])),
            bytes: std::array::from_fn(|op| load(&self.bytes[op])),
        }
    }

    /// Requests of an operation so far.
    #[must_use]
    pub fn requests(&self, op: Op) -> u64 {
        self.figures().requests(op)
    }

    /// Puts of objects of a kind (`p` packs, `m` outcomes, ...) so far.
    #[must_use]
    pub fn puts(&self, letter: char) -> u64 {
        self.figures().requests_of(Op::Put, letter)
    }

    fn request(&self, op: Op, letter: char) {
        self.requests[op_index(op)][letter_index(letter)].fetch_add(1, Ordering::Relaxed);
    }

    fn bytes(&self, op: Op, bytes: usize) {
        self.bytes[op_index(op)].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn done<T>(&self, op: Op, result: StoreResult<T>) -> StoreResult<T> {
        if result.is_err() {
            self.errors[op_index(op)].fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl Figures {
    /// Requests of an operation. A listing is one, however many pages it has.
    #[must_use]
    pub fn requests(&self, op: Op) -> u64 {
        self.requests[op_index(op)].iter().sum()
    }

    /// Requests of an operation on objects of a kind: a letter of the layout, `-` for all other keys.
    #[must_use]
    pub fn requests_of(&self, op: Op, letter: char) -> u64 {
        self.requests[op_index(op)][letter_index(letter)]
    }

    /// Requests that failed.
    #[must_use]
    pub fn errors(&self, op: Op) -> u64 {
        self.errors[op_index(op)]
    }

    /// Bytes of objects sent (`Put`) or received (`Get`).
    #[must_use]
    pub fn bytes(&self, op: Op) -> u64 {
        self.bytes[op_index(op)]
    }

    /// What came on top of `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |a: u64, b: u64| a.saturating_sub(b);
        Self {
            requests: std::array::from_fn(|op| {
                std::array::from_fn(|letter| less(self.requests[op][letter], earlier.requests[op][letter]))
            }),
            errors: std::array::from_fn(|op| less(self.errors[op], earlier.errors[op])),
            bytes: std::array::from_fn(|op| less(self.bytes[op], earlier.bytes[op])),
        }
    }
}

/// A store whose requests are counted.
#[derive(Debug)]
pub struct CountedStore {
    inner: Arc<dyn Store>,
    counts: Arc<Counts>,
}

impl CountedStore {
    /// Counts into `counts`, which several stores may share.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for CountedStore {
    async fn put_new(&self, key: &Key, bytes: Bytes) -> StoreResult<Put> {
        self.counts.request(Op::Put, letter_of(key));
        self.counts.bytes(Op::Put, bytes.len());
        self.counts.done(Op::Put, self.inner.put_new(key, bytes).await)
    }

    async fn get(&self, key: &Key) -> StoreResult<Bytes> {
        self.counts.request(Op::Get, letter_of(key));
        let got = self.counts.done(Op::Get, self.inner.get(key).await)?;
        self.counts.bytes(Op::Get, got.len());
        Ok(got)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> StoreResult<Bytes> {
        self.counts.request(Op::Get, letter_of(key));
        let got = self.counts.done(Op::Get, self.inner.get_range(key, range).await)?;
        self.counts.bytes(Op::Get, got.len());
        Ok(got)
    }

    async fn get_tail(&self, key: &Key, bytes_max: u64) -> StoreResult<(Bytes, u64)> {
        self.counts.request(Op::Get, letter_of(key));
        let (got, size) = self.counts.done(Op::Get, self.inner.get_tail(key, bytes_max).await)?;
        self.counts.bytes(Op::Get, got.len());
        Ok((got, size))
    }

    async fn find_size(&self, key: &Key) -> StoreResult<Option<u64>> {
        self.counts.request(Op::Head, letter_of(key));
        self.counts.done(Op::Head, self.inner.find_size(key).await)
    }

    fn list(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'static, StoreResult<Listed>> {
        let letter = Key::new(format!("{prefix}x")).map_or('-', |key| letter_of(&key));
        self.counts.request(Op::List, letter);
        let counts = self.counts.clone();
        self.inner.list(prefix, after).map(move |item| counts.done(Op::List, item)).boxed()
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.counts.request(Op::Delete, letter_of(key));
        self.counts.done(Op::Delete, self.inner.delete(key).await)
    }

    fn locks(&self) -> Option<SharedLocks> {
        self.inner.locks()
    }
}

#[cfg(test)]
mod tests;
