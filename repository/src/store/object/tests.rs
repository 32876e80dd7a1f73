//! The answers of remote stores, put into our terms.

use super::*;

#[test]
fn statuses_are_told_apart() {
    let kind = |text: &str, http| classify(text, http).0;
    let status =
        |n: u16| kind(&format!("Generic S3 error: Server returned non-2xx status code: {n} X: body"), false);
    assert_eq!([500, 502, 503, 504, 429, 408].map(status), [StoreErrorKind::Transient; 6]);
    assert_eq!([400, 405, 416, 501].map(status), [StoreErrorKind::Fatal; 4]);
    assert_eq!([401, 403].map(status), [StoreErrorKind::Denied; 2]);
    assert_eq!(status(404), StoreErrorKind::NotFound);
    assert_eq!(status(507), StoreErrorKind::Full);
    assert_eq!(kind("Server returned error response: <Error>SlowDown", false), StoreErrorKind::Transient);
    assert_eq!(kind("error sending request", true), StoreErrorKind::Transient);
    assert_eq!(kind("no credentials", false), StoreErrorKind::Fatal);
    assert_eq!(kind("status code: é", false), StoreErrorKind::Fatal);
}

#[test]
fn a_missing_bucket_is_not_a_missing_object() {
    let missing = |body: &str| RawError::NotFound { path: "x".to_owned(), source: body.to_owned().into() };
    assert_eq!(map_error(Op::Get, "x", &missing("NoSuchKey")).kind, StoreErrorKind::NotFound);
    assert_eq!(map_error(Op::Get, "x", &missing("<Code>NoSuchBucket</Code>")).kind, StoreErrorKind::Fatal);
    let stranger = map_error(Op::Get, "x", &missing("<Code>XAdminUserNotFound</Code>"));
    assert_eq!(stranger.kind, StoreErrorKind::Fatal);
    assert_eq!(map_error(Op::Put, "x", &missing("")).kind, StoreErrorKind::Fatal);
    assert_eq!(map_error(Op::List, "x", &missing("")).kind, StoreErrorKind::Fatal);
}

#[test]
fn a_request_without_an_answer_is_given_up_later_for_more_bytes() {
    for (bytes, seconds) in [(0, 60), (32 << 20, 60 + 1024)] {
        assert_eq!(time_for(bytes).as_secs(), seconds);
        let late = Late::TimedOut(time_for(bytes)).into_error(Op::Put, "x");
        assert_eq!(late.kind, StoreErrorKind::Transient);
        assert!(late.to_string().contains(&format!("no answer within {seconds} s")));
    }
}

#[tokio::test]
async fn a_listing_out_of_order_is_refused_and_foreign_objects_are_left_out() {
    let meta = |name: &str| {
        Ok(ObjectMeta {
            location: Path::parse(name).unwrap(),
            last_modified: Default::default(),
            size: 1,
            e_tag: None,
            version: None,
        })
    };
    let listing = |names: &[&str]| Listing {
        raw: stream::iter(names.iter().map(|n| meta(n)).collect::<Vec<_>>()).boxed(),
        prefix: "f/".to_owned(),
        base: "base/".to_owned(),
        last: None,
    };
    let mut good = listing(&["base/f/a", "base/f/b+c", "base/f/d", "else/f/x"]);
    let mut names = Vec::new();
    while let Some(item) = good.next().await {
        names.push(item.unwrap().key.to_string());
    }
    assert_eq!(names, ["f/a", "f/d"]);
    let mut bad = listing(&["base/f/b", "base/f/a"]);
    bad.next().await.unwrap().unwrap();
    assert_eq!(bad.next().await.unwrap().unwrap_err().kind, StoreErrorKind::Fatal);
}
