//! Segments of large files as metadata blobs: the blob itself, and its usage beside it.
//!
//! What is in a segment is the chunker's business; here it is bytes and the places of the blobs that it names.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use std::sync::Arc;

use crate::Result;
use crate::ids::Place;
use crate::items::entry::SegmentRef;
use crate::items::reader::{BlobFetch, decode_usage};
use crate::items::usage::Usage;
use crate::items::writer::MetaSink;
use crate::limits;

/// Stores a segment, and the places of the blobs that it refers to, in their order.
pub async fn put_segment(
    sink: &mut dyn MetaSink,
    segment: Vec<u8>,
    places: Vec<Place>,
) -> Result<SegmentRef> {
    let usage = Usage { places, nested: Vec::new() };
    let segment = sink.put(segment).await?;
    Ok(SegmentRef { segment, usage: sink.put(usage.encode()).await? })
}

/// The bytes of a segment, and the places of what it refers to, in order. The decoder of segments compares how many
/// there are with what the segment says.
pub async fn read_segment(fetch: &dyn BlobFetch, segment: SegmentRef) -> Result<(Bytes, Vec<Place>)> {
    let (bytes, places) = futures::try_join!(fetch.get(segment.segment), segment_places(fetch, segment))?;
    Ok((bytes, places))
}

/// Only the places of what a segment refers to.
pub async fn segment_places(fetch: &dyn BlobFetch, segment: SegmentRef) -> Result<Vec<Place>> {
    let bytes = fetch.get(segment.usage).await?;
    Ok(decode_usage(segment.usage.id, &bytes)?.places)
}

/// Reads the segments of a file in order, some ahead.
pub fn segments(
    fetch: Arc<dyn BlobFetch>,
    list: Vec<SegmentRef>,
) -> BoxStream<'static, Result<(Bytes, Vec<Place>)>> {
    futures::stream::iter(list)
        .map(move |segment| {
            let fetch = Arc::clone(&fetch);
            async move { read_segment(fetch.as_ref(), segment).await }
        })
        .buffered(limits::LEAVES_AHEAD)
        .boxed()
}
