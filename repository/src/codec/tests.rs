//! What is written is read back; what is malformed is refused.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn numbers_and_strings_come_back(u in any::<u64>(), s in any::<i64>(), b in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        put_varint(&mut out, u);
        put_signed(&mut out, s);
        put_bytes(&mut out, &b);
        let mut r = Reader::new(&out);
        prop_assert_eq!(r.varint("u").unwrap(), u);
        prop_assert_eq!(r.signed("s").unwrap(), s);
        prop_assert_eq!(r.bytes(300, "b").unwrap(), &b[..]);
        prop_assert!(r.end("end").is_ok());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(b in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut r = Reader::new(&b);
        while r.varint("v").is_ok() {}
        let _ = r.count(3, "c");
        let _ = r.bytes(10, "b");
        let _ = r.array::<4>("a");
    }
}

fn check_refused(bytes: &[u8]) {
    let err = Reader::new(bytes).varint("number").unwrap_err();
    assert_eq!(err, Malformed { what: "number", at: 0 });
}

#[test]
fn bad_varints_are_refused() {
    check_refused(&[]);
    check_refused(&[0x80]);
    check_refused(&[0x80, 0x00]);
    check_refused(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]);
    check_refused(&[0xff; 11]);
}

#[test]
fn counts_are_bounded_by_what_is_there() {
    let mut out = Vec::new();
    put_varint(&mut out, 3);
    out.extend_from_slice(&[0; 8]);
    assert!(Reader::new(&out).count(3, "n").is_err());
    assert_eq!(Reader::new(&out).count(2, "n"), Ok(3));
    assert!(Reader::new(&out).bytes(2, "b").is_err());
}
