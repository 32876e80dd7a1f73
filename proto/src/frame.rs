//! Messages over a pipe: each behind its length. Reading never trusts a length beyond the bound of all messages.

use prost::Message;
use repository::{Error, ErrorKind, Result};

use crate::MESSAGE_BYTES_MAX;

/// Bytes of the length before each message.
pub const HEADER_BYTES: usize = 4;
/// No message over a pipe is larger: a result with all its problems is the largest.
pub const FRAME_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// What can be sent: every message.
pub trait Framed: Message + Default {}
impl<M: Message + Default> Framed for M {}

/// A message with its length before it. One that is too large is an internal error.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>> {
    let bytes = message.encoded_len();
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= FRAME_BYTES_MAX);
    let length =
        length.ok_or_else(|| Error::new(ErrorKind::Internal, format!("a message of {bytes} bytes")))?;
    let mut out = Vec::with_capacity(HEADER_BYTES + bytes);
    out.extend_from_slice(&length.to_le_bytes());
    message.encode(&mut out).map_err(|e| Error::with_source(ErrorKind::Internal, "encode a message", e))?;
    Ok(out)
}

/// How many bytes follow this header.
pub fn length(header: [u8; HEADER_BYTES]) -> Result<usize> {
    let bytes = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    match bytes <= FRAME_BYTES_MAX {
        true => Ok(bytes),
        false => Err(Error::new(ErrorKind::Damaged, format!("a message of {bytes} bytes is announced"))),
    }
}

/// The message behind a header.
pub fn decode<M: Framed>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|e| Error::with_source(ErrorKind::Damaged, "decode a message", e))
}

#[cfg(test)]
mod tests;
