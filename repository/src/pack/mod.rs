//! Packs: stored objects that hold many compressed groups of blobs, sealed in frames.
//!
//! A pack is `frames · tail`. The plain stream inside the frames is `groups · zero padding · footer · trailer`; each
//! frame but the last holds `limits::FRAME_BYTES` of it. The 64-byte tail holds what a reader needs first (cipher,
//! epoch, salt, commitment); it stands at the end so that one ranged read brings tail and footer.
//! The trailer (the stream's last 8 bytes) is the footer's length (u32 LE) and `HFFT`.

pub mod footer;
pub mod frame;
pub mod group;
pub mod reader;
pub mod writer;

pub use footer::{BlobInfo, Footer, GroupInfo};
pub use frame::PackKind;
pub use reader::{BlobReader, Described, GroupData};
