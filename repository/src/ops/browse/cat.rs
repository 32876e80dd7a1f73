//! The bytes of one file, in order. Never more than a few blobs are held.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::ResultStream;
use crate::items::BlobFetch;
use crate::items::entry::{Content, Extent, ExtentData};
use crate::items::segment;
use crate::ops::reader::Reader;
use crate::ops::restore::pass::parse;
use crate::{Error, ErrorKind, Result, limits};

/// Zeros are handed out in pieces of this size.
const ZEROS_BYTES: usize = 256 << 10;
/// Slices that are read ahead.
const SLICES_AHEAD: usize = 4;

/// The content of a file of `size` bytes.
pub(super) fn content(reader: Arc<Reader>, content: Content, size: u64) -> ResultStream<Bytes> {
    let extents: BoxStream<'static, Result<Extent>> = match content {
        Content::Inline(bytes) => return stream::iter([Ok(bytes)]).boxed(),
        Content::Extents(list) => stream::iter(list.into_iter().map(Ok)).boxed(),
        Content::Segments(list) => segment::segments(Arc::clone(&reader) as Arc<dyn BlobFetch>, list)
            .enumerate()
            .map(move |(i, read)| {
                let (bytes, places) = read?;
                let left = size.saturating_sub((i as u64).saturating_mul(limits::SEGMENT_BYTES));
                let extents: Vec<_> = parse(&bytes, &places, left)?.extents().map(Ok).collect();
                Ok::<_, Error>(stream::iter(extents))
            })
            .try_flatten()
            .boxed(),
    };
    extents
        .map_ok(move |extent| {
            let reader = Arc::clone(&reader);
            async move { pieces(&reader, extent).await }
        })
        .try_buffered(SLICES_AHEAD)
        .try_flatten()
        .boxed()
}

async fn pieces(reader: &Reader, extent: Extent) -> Result<ResultStream<Bytes>> {
    let ExtentData::Slice(blob, from) = extent.data else { return Ok(zeros(extent.bytes)) };
    let bytes = reader.read(blob).await?;
    let range =
        from as usize..usize::try_from(extent.bytes).unwrap_or(usize::MAX).saturating_add(from as usize);
    if range.end > bytes.len() {
        return Err(Error::new(ErrorKind::Damaged, format!("blob {} is shorter than its slice", blob.id)));
    }
    Ok(stream::iter([Ok(bytes.slice(range))]).boxed())
}

fn zeros(bytes: u64) -> ResultStream<Bytes> {
    static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];
    let pieces = stream::unfold(bytes, |left| async move {
        let n = left.min(ZEROS_BYTES as u64);
        (n > 0).then(|| (Ok(Bytes::from_static(&ZEROS[..usize::try_from(n).unwrap_or(0)])), left - n))
    });
    pieces.boxed()
}
