//! Answers as stores send them.

use super::{BYTES_MAX, code, short};

const SIGNATURE: &str = "403 Forbidden: <?xml version=\"1.0\"?> <Error><Code>SignatureDoesNotMatch</Code>\
    <Message>The signature does not match.</Message><CanonicalRequest>GET</CanonicalRequest></Error>: again";

#[test]
fn xml_becomes_its_code_and_message() {
    assert_eq!(code(SIGNATURE), Some("SignatureDoesNotMatch"));
    assert_eq!(short(SIGNATURE), "403 Forbidden: SignatureDoesNotMatch: The signature does not match.");
    assert_eq!(short("500: <Error><Code>Busy</Code></Error>"), "500: Busy");
}

#[test]
fn other_answers_stay() {
    assert_eq!((code("no xml"), short("no xml")), (None, "no xml".to_owned()));
    for odd in ["<Error>", "<Code>", "<?xml <Code>x", ""] {
        assert_eq!(short(odd), odd);
    }
    let long = "é".repeat(BYTES_MAX);
    assert!(short(&long).len() <= BYTES_MAX);
}
