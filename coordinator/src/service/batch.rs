//! Streams of single things to streams of messages of bounded size.

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use proto::convert::error_to_status;
use repository::Result;
use repository::ops::browse::ResultStream;
use tonic::Status;

use crate::limits::{ENTRIES_PER_MESSAGE, ENTRY_BYTES_PER_MESSAGE};

/// Gathers what is ready into batches of at most [`ENTRIES_PER_MESSAGE`] and about [`ENTRY_BYTES_PER_MESSAGE`]. After an
/// error nothing follows.
pub(crate) fn batches<T, W, M>(
    items: ResultStream<T>,
    to_wire: impl Fn(&T) -> W + Send + 'static,
    cost: impl Fn(&W) -> usize + Send + 'static,
    message: impl Fn(Vec<W>) -> M + Send + 'static,
) -> BoxStream<'static, Result<M, Status>>
where
    T: Send + 'static,
    W: Send + 'static,
    M: Send + 'static,
{
    let chunks = items.ready_chunks(ENTRIES_PER_MESSAGE);
    let messages = chunks.flat_map(move |chunk| {
        let (mut out, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        for item in chunk {
            let wire = match item {
                Ok(item) => to_wire(&item),
                Err(e) => {
                    if !batch.is_empty() {
                        out.push(Ok(message(std::mem::take(&mut batch))));
                    }
                    out.push(Err(error_to_status(&e)));
                    return stream::iter(out);
                }
            };
            bytes += cost(&wire);
            batch.push(wire);
            if bytes >= ENTRY_BYTES_PER_MESSAGE {
                bytes = 0;
                out.push(Ok(message(std::mem::take(&mut batch))));
            }
        }
        if !batch.is_empty() {
            out.push(Ok(message(batch)));
        }
        stream::iter(out)
    });
    until_error(messages.boxed())
}

/// Ends a stream after its first error.
pub(crate) fn until_error<M: Send + 'static>(
    messages: BoxStream<'static, Result<M, Status>>,
) -> BoxStream<'static, Result<M, Status>> {
    let next = |open: Option<BoxStream<'static, Result<M, Status>>>| async move {
        let mut messages = open?;
        let message = messages.next().await?;
        let rest = message.is_ok().then_some(messages);
        Some((message, rest))
    };
    stream::unfold(Some(messages), next).boxed()
}

#[cfg(test)]
mod tests;
