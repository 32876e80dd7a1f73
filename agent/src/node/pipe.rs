//! Messages to and from a child, over its standard input and output. What is read may be secret and is wiped.

use std::io::Read;

use proto::frame::{self, Framed};
use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use zeroize::Zeroizing;

fn what() -> String {
    "read from the pipe".to_owned()
}

/// The next message; `None` where the other end has closed the pipe between two.
pub(crate) async fn receive<M: Framed>(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<M>> {
    let mut header = [0; frame::HEADER_BYTES];
    match from.read_exact(&mut header).await {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(Error::with_source(ErrorKind::Internal, what(), e)),
    }
    let mut bytes = Zeroizing::new(vec![0; frame::length(header)?]);
    from.read_exact(&mut bytes).await.context(ErrorKind::Internal, what)?;
    frame::decode(&bytes).map(Some)
}

/// The first message, before there is any runtime.
pub(crate) fn receive_first<M: Framed>(from: &mut impl Read) -> Result<M> {
    let mut header = [0; frame::HEADER_BYTES];
    from.read_exact(&mut header).context(ErrorKind::Internal, what)?;
    let mut bytes = Zeroizing::new(vec![0; frame::length(header)?]);
    from.read_exact(&mut bytes).context(ErrorKind::Internal, what)?;
    frame::decode(&bytes)
}
