//! Frames there and back, and damaged ones.

use super::{FRAME_BYTES_MAX, HEADER_BYTES, decode, encode, length};
use crate::v1;

#[test]
fn a_frame_comes_back() {
    let sent = v1::WorkerLookup { number: 7, request: Some(v1::LookupRequest { ids: vec![1; 64].into() }) };
    let frame = encode(&sent).unwrap();
    let header = frame[..HEADER_BYTES].try_into().unwrap();
    assert_eq!(length(header).unwrap(), frame.len() - HEADER_BYTES);
    assert_eq!(decode::<v1::WorkerLookup>(&frame[HEADER_BYTES..]).unwrap(), sent);
}

#[test]
fn hostile_lengths_and_bytes_are_refused() {
    assert!(length([0xff; HEADER_BYTES]).is_err());
    assert!(length(u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_le_bytes()).is_err());
    assert!(length(u32::try_from(FRAME_BYTES_MAX).unwrap().to_le_bytes()).is_ok());
    assert!(decode::<v1::ToWorker>(&[0xff; 40]).is_err());
    let large = v1::LookupRequest { ids: vec![0; FRAME_BYTES_MAX + 1].into() };
    assert!(encode(&large).is_err());
}
