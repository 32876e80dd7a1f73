//! Two streams of entries merged: each difference once, in stream order.

use futures::TryStreamExt as _;

use super::*;
use crate::env::Timestamp;
use crate::items::entry::Meta;

/// Entries from words: `path=size`, or `path/` for a directory; `path=size@time` sets the time.
fn entries(text: &str) -> ResultStream<Entry> {
    let parse = |word: &str| {
        let (path, rest) = word.split_once('=').unwrap_or((word, ""));
        let (size, time) = rest.split_once('@').unwrap_or((rest, "0"));
        let size: u64 = size.parse().unwrap_or(0);
        let kind = match path.strip_suffix('/') {
            Some(_) => Kind::Directory,
            None => Kind::File(Content::Extents(vec![Extent { bytes: size.max(1), data: ExtentData::Hole }])),
        };
        let meta = Meta { mtime: Timestamp(time.parse().unwrap()), ..Meta::default() };
        let path = path.trim_end_matches('/').as_bytes().to_vec();
        Ok(Entry { path, meta, size, changed_during_read: false, kind })
    };
    stream::iter(text.split_whitespace().map(parse).collect::<Vec<_>>()).boxed()
}

async fn check(older: &str, newer: &str, expected: &str) {
    let changes: Vec<_> = merge(entries(older), entries(newer)).try_collect().await.unwrap();
    let show = |e: &Entry| String::from_utf8_lossy(&e.path).into_owned();
    let line = |c: &Change| match c {
        Change::Added(e) => format!("+{}", show(e)),
        Change::Removed(e) => format!("-{}", show(e)),
        Change::Changed(e, _, true) => format!("*{}", show(e)),
        Change::Changed(e, _, false) => format!("~{}", show(e)),
    };
    assert_eq!(changes.iter().map(line).collect::<Vec<_>>().join(" "), expected);
}

#[tokio::test]
async fn differences_are_found_in_stream_order() {
    check("", "", "").await;
    check("a=1 b/ b/c=2", "a=1 b/ b/c=2", "").await;
    check("", "a=1 b/", "+a +b").await;
    check("a=1 b/", "", "-a -b").await;
    check("a=1 c=1", "b=1 c=2", "-a +b *c").await;
    check("a=1@5 b=1", "a=1@6 b=1", "~a").await;
    check("a=1", "a/", "*a").await;
    // `a/b` comes before `a.txt`, as in a walk.
    check("a/ a.txt=1", "a/ a/b=1 a.txt=1", "+a/b").await;
}
