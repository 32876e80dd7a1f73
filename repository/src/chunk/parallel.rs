//! Cuts one stream on several threads, with exactly the cuts of one thread.
//!
//! Threads cut slabs of the stream each from its own start (`speculate`): these cuts need not be true, but a chunk
//! depends on nothing but its own bytes, so as soon as a true cut coincides with a speculative one, all that follow in
//! the slab are true as well. The `Joiner` walks the slabs in order, takes speculative chunks that start where a true
//! one must, and cuts by itself only across the borders of slabs and until the two meet.
//! Chunks within a slab share its memory; only those across a border are copied.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::cutter::Cutter;

/// A chunk of a slab, as positions in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// A slab of a stream, with the chunks that speculation found in it (ascending by start).
#[derive(Clone, Debug, Default)]
pub struct Slab {
    /// The bytes.
    pub bytes: Bytes,
    /// Chunks that the content alone ends: never one that ends because the slab does.
    pub spans: Vec<Span>,
}

impl Slab {
    /// Where the speculative chunk ends that starts at `start`, if there is one.
    fn end_from(&self, start: usize) -> Option<usize> {
        let found = self.spans.binary_search_by_key(&start, |s| s.start).ok()?;
        Some(self.spans[found].end)
    }
}

/// Cuts `bytes` as if a chunk began at `from`, up to where more data would be needed to tell.
#[must_use]
pub fn speculate(cutter: &Cutter, bytes: &[u8], from: usize) -> Vec<Span> {
    let (mut start, mut spans) = (from, Vec::new());
    while let Some(n) = bytes.get(start..).and_then(|rest| cutter.cut(rest, false)) {
        spans.push(Span { start, end: start + n });
        start += n;
    }
    spans
}

/// The part of a slab that has not been cut off yet.
#[derive(Debug)]
struct Part {
    slab: Arc<Slab>,
    from: usize,
    to: usize,
}

/// Joins the speculative cuts of slabs into the true cuts of the stream.
#[derive(Debug, Default)]
pub struct Joiner {
    parts: VecDeque<Part>,
    bytes_left: usize,
    /// With fewer bytes than this, another look would find no cut again.
    bytes_wanted: usize,
    bytes_cut_again: u64,
}

impl Joiner {
    /// Appends bytes `from..to` of `slab` to the stream.
    pub fn push(&mut self, slab: &Arc<Slab>, from: usize, to: usize) {
        assert!(from <= to && to <= slab.bytes.len(), "a part lies within its slab");
        self.bytes_left += to - from;
        if let Some(last) = self.parts.back_mut()
            && Arc::ptr_eq(&last.slab, slab)
            && last.to == from
        {
            last.to = to;
        } else if from < to {
            self.parts.push_back(Part { slab: Arc::clone(slab), from, to });
        }
    }

    /// Bytes pushed and not cut off yet.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.bytes_left
    }

    /// Bytes that were cut here although a thread had cut them before (or might have).
    #[must_use]
    pub fn bytes_cut_again(&self) -> u64 {
        self.bytes_cut_again
    }

    /// Cuts off the next chunk. `None`: nothing left, or more data is needed; never with `at_end` and data left.
    pub fn next(&mut self, cutter: &Cutter, at_end: bool) -> Option<Bytes> {
        let front = self.parts.front()?;
        if let Some(end) = front.slab.end_from(front.from)
            && end <= front.to
        {
            let n = end - front.from;
            return Some(self.take_slice(n));
        }
        if !at_end && self.bytes_left < self.bytes_wanted {
            return None;
        }
        let alone = self.parts.len() == 1;
        match cutter.cut(&front.slab.bytes[front.from..front.to], at_end && alone) {
            Some(n) => {
                self.bytes_cut_again += n as u64;
                Some(self.take_slice(n))
            }
            None if alone => self.wait(cutter),
            None => self.take_across(cutter, at_end),
        }
    }

    /// Remembers that twice as much data is needed for another look, so that small slabs cost no quadratic time.
    fn wait(&mut self, cutter: &Cutter) -> Option<Bytes> {
        self.bytes_wanted = (self.bytes_left * 2).min(cutter.params().max() as usize);
        None
    }

    /// Cuts a chunk that lies in several slabs, copying no more of them than about twice its length.
    fn take_across(&mut self, cutter: &Cutter, at_end: bool) -> Option<Bytes> {
        let avg = cutter.params().avg() as usize;
        let mut want = avg + avg / 4;
        loop {
            let joined_len = want.min(self.bytes_left);
            let all = joined_len == self.bytes_left;
            let mut joined = self.joined(joined_len);
            match cutter.cut(&joined, at_end && all) {
                Some(n) => {
                    joined.truncate(n);
                    self.bytes_cut_again += n as u64;
                    self.advance(n);
                    return Some(Bytes::from(joined.into_boxed_slice()));
                }
                None if all => return self.wait(cutter),
                None => want *= 2,
            }
        }
    }

    /// A copy of the first `len` bytes left.
    fn joined(&self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len);
        for part in &self.parts {
            let n = (part.to - part.from).min(len - out.len());
            out.extend_from_slice(&part.slab.bytes[part.from..part.from + n]);
        }
        out
    }

    fn take_slice(&mut self, n: usize) -> Bytes {
        let front = &self.parts[0];
        let chunk = front.slab.bytes.slice(front.from..front.from + n);
        self.advance(n);
        chunk
    }

    fn advance(&mut self, mut n: usize) {
        self.bytes_left -= n;
        self.bytes_wanted = 0;
        while let Some(front) = self.parts.front_mut() {
            let step = n.min(front.to - front.from);
            front.from += step;
            n -= step;
            if front.from < front.to {
                break;
            }
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
