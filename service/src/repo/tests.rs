//! Settings of a store's client come from a file whole, or not at all.

use super::*;

#[test]
fn settings_are_read_and_wrong_ones_name_their_line_but_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings");
    let read = |text: &str, url: &str| {
        std::fs::write(&path, text).unwrap();
        read_client_settings(&path, url)
    };
    let good = "# of the bucket\n\nAWS_REGION=eu\nAWS_SECRET_ACCESS_KEY = se=cret\n";
    let settings = read(good, "s3://b/p").unwrap();
    let expected = [("aws_region", "eu"), ("aws_secret_access_key", "se=cret")];
    assert_eq!(settings, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    for (text, url, why) in [
        (good, "gs://b", "line 3: write GOOGLE_"),
        (good, "/folder", "takes no settings"),
        ("AWS_REGION=", "s3://b", "line 1"),
        ("secret", "s3://b", "line 1"),
        ("", "s3://b", "settings: no settings in it"),
        ("# AWS_A=secret\n\n", "s3://b", "settings: no settings in it"),
        (&format!("AWS_A=secret{}", " ".repeat(64 << 10)), "s3://b", "settings: more than 65536 bytes"),
        ("AWS_A=secret\nAWS_A=secret", "s3://b", "line 2: AWS_A is set twice"),
    ] {
        let e = read(text, url).unwrap_err().chain();
        assert!(e.contains(why) && !e.contains("secret"), "{e}");
    }
    let gone = read_client_settings(&dir.path().join("none"), "s3://b").unwrap_err();
    assert!(gone.chain().contains("none"), "{}", gone.chain());
}
