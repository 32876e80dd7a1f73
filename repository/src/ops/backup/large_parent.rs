//! The parent's segments of a large file, each fetched once and in order, for the comparison by position.

use std::collections::HashMap;
use std::sync::Arc;

use super::Reading;
use crate::chunk::compare::Parent;
use crate::chunk::segment::{self, Segment};
use crate::error::Context as _;
use crate::items::entry::SegmentRef;
use crate::items::segment::read_segment;
use crate::ops::reader::is_damage;
use crate::{ErrorKind, Result};

/// Gives the parent's segments in ascending order.
pub(super) struct ParentFeed {
    reading: Arc<Reading>,
    refs: Vec<SegmentRef>,
    /// The last one asked for and its neighbours.
    near: HashMap<u64, Segment>,
    last: Option<(u64, Option<Arc<Parent>>)>,
}

impl ParentFeed {
    pub(super) fn new(reading: &Arc<Reading>, refs: Vec<SegmentRef>) -> Self {
        Self { reading: Arc::clone(reading), refs, near: HashMap::new(), last: None }
    }

    /// The parent's segment of this number, or `None` beyond its end.
    pub(super) async fn get(&mut self, index: u64) -> Result<Option<Arc<Parent>>> {
        if let Some((last, parent)) = &self.last
            && *last == index
        {
            return Ok(parent.clone());
        }
        self.near.retain(|&n, _| n + 1 >= index);
        for n in index.saturating_sub(1)..=index.saturating_add(1) {
            if !self.near.contains_key(&n)
                && let Some(segment) = self.read(n).await?
            {
                self.near.insert(n, segment);
            }
        }
        let neighbour = |n: Option<u64>| n.and_then(|n| self.near.get(&n));
        let parent = self.near.get(&index).cloned().map(|this| {
            let (before, after) = (neighbour(index.checked_sub(1)), neighbour(index.checked_add(1)));
            let suspects = &self.reading.suspects;
            Arc::new(Parent::new(before, this, after).without(|place| suspects.forbid(place)))
        });
        self.last = Some((index, parent.clone()));
        Ok(parent)
    }

    /// `None` as well where it is damaged: it is compared with nothing then, and costs reading and cutting.
    async fn read(&self, index: u64) -> Result<Option<Segment>> {
        let at = usize::try_from(index).ok();
        let Some(&segment) = at.and_then(|at| self.refs.get(at)) else { return Ok(None) };
        let suspects = &self.reading.suspects;
        if suspects.forbid(segment.segment.place) || suspects.forbid(segment.usage.place) {
            return Ok(None);
        }
        match self.read_and_decode(segment).await {
            Ok(decoded) => {
                self.reading.sink.note_parent([segment.segment, segment.usage]);
                Ok(Some(decoded))
            }
            Err(e) if is_damage(&e) => {
                tracing::warn!(error = %e.chain(), "a segment of the parent is not readable; nothing is compared with it");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    async fn read_and_decode(&self, segment: SegmentRef) -> Result<Segment> {
        let (bytes, mut places) = read_segment(&*self.reading.fetch, segment).await?;
        for place in &mut places {
            *place = self.reading.writer.session.resolve(*place);
        }
        segment::decode(&bytes, &places)
            .context(ErrorKind::Damaged, || format!("read segment {}", segment.segment.id))
    }
}
