//! Container images from files, without a registry or a container engine, and the list of what is in them.
//!
//! Holds nothing of Holdfast's own: which files make its image is said in `image/build`.

pub mod layer;
pub mod oci;
pub mod sbom;

mod tar;

/// The SHA-256 of the bytes, in hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
