//! Two item streams side by side. Both come in the same order, so nothing is held but the two entries at hand.

use futures::stream::{self, StreamExt as _};

use super::{Change, ResultStream};
use crate::Result;
use crate::items::entry::{Content, Entry, Extent, ExtentData, Kind, path_cmp};

/// One side: its stream, and the entry that comes next.
struct Side {
    rest: ResultStream<Entry>,
    next: Option<Entry>,
}

impl Side {
    async fn fill(&mut self) -> Result<()> {
        if self.next.is_none() {
            self.next = self.rest.next().await.transpose()?;
        }
        Ok(())
    }
}

/// The differences, in order.
pub(super) fn merge(older: ResultStream<Entry>, newer: ResultStream<Entry>) -> ResultStream<Change> {
    let sides = (Side { rest: older, next: None }, Side { rest: newer, next: None });
    stream::try_unfold(sides, |(mut old, mut new)| async move {
        Ok(next_change(&mut old, &mut new).await?.map(|change| (change, (old, new))))
    })
    .boxed()
}

async fn next_change(old: &mut Side, new: &mut Side) -> Result<Option<Change>> {
    loop {
        futures::try_join!(old.fill(), new.fill())?;
        match (old.next.take(), new.next.take()) {
            (None, None) => return Ok(None),
            (Some(a), None) => return Ok(Some(Change::Removed(a))),
            (None, Some(b)) => return Ok(Some(Change::Added(b))),
            (Some(a), Some(b)) => match path_cmp(&a.path, &b.path) {
                std::cmp::Ordering::Less => {
                    new.next = Some(b);
                    return Ok(Some(Change::Removed(a)));
                }
                std::cmp::Ordering::Greater => {
                    old.next = Some(a);
                    return Ok(Some(Change::Added(b)));
                }
                std::cmp::Ordering::Equal => {
                    if let Some(content) = compare(&a, &b) {
                        return Ok(Some(Change::Changed(Box::new(a), Box::new(b), content)));
                    }
                }
            },
        }
    }
}

/// Whether two entries of one path differ, and if so whether in their content. Inode numbers and ctimes say nothing
/// about what is restored.
pub(super) fn compare(a: &Entry, b: &Entry) -> Option<bool> {
    let content = !same_content(a, b);
    let key = |e: &Entry| (e.meta.mode, e.meta.uid, e.meta.gid, e.meta.mtime, e.meta.xattrs.clone());
    (content || key(a) != key(b)).then_some(content)
}

/// Whether two entries are the same thing with the same bytes in the same blobs.
pub(crate) fn same_content(a: &Entry, b: &Entry) -> bool {
    a.size == b.size && same_kind(&a.kind, &b.kind)
}

/// The same content lies at different places after a compaction, and may be cut differently; what is cut the same is
/// compared by ids.
fn same_kind(a: &Kind, b: &Kind) -> bool {
    match (a, b) {
        (Kind::File(Content::Extents(a)), Kind::File(Content::Extents(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_extent(a, b))
        }
        (Kind::File(Content::Segments(a)), Kind::File(Content::Segments(b))) => {
            a.iter().map(|s| s.segment.id).eq(b.iter().map(|s| s.segment.id))
        }
        (a, b) => a == b,
    }
}

fn same_extent(a: &Extent, b: &Extent) -> bool {
    let data = match (a.data, b.data) {
        (ExtentData::Slice(a, at), ExtentData::Slice(b, from)) => a.id == b.id && at == from,
        (a, b) => a == b,
    };
    data && a.bytes == b.bytes
}

#[cfg(test)]
mod tests;
