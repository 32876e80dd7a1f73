//! Which part of a name counts whatever its case.

use super::lower_name;

#[test]
fn only_hosts_schemes_and_authorities_lose_their_case() {
    for (name, expected) in [
        ("Node-1.Example", "node-1.example"),
        ("*.Example", "*.example"),
        ("SPIFFE://Trust.Example/NS/Team-A", "spiffe://trust.example/NS/Team-A"),
        ("spiffe://Trust.Example", "spiffe://trust.example"),
        ("https://Host?Q", "https://host?Q"),
        ("URN:Holdfast:A", "urn:Holdfast:A"),
        ("*/Team-A", "*/Team-A"),
        ("", ""),
    ] {
        assert_eq!(lower_name(name), expected);
    }
}
