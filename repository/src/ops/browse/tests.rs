//! Listing, finding, reading and comparing over a small repository made by hand.

use futures::TryStreamExt as _;

use super::*;
use crate::ops::restore::sample::{blobs_of, repository, tree};

async fn paths(stream: ResultStream<Entry>) -> Vec<String> {
    let entries: Vec<Entry> = stream.try_collect().await.unwrap();
    entries.iter().map(|e| String::from_utf8_lossy(&e.path).into_owned()).collect()
}

#[tokio::test]
async fn directories_are_listed() {
    let repo = repository().await;
    let (snapshot, files) = tree(&repo).await;
    assert_eq!(paths(list(&repo, &snapshot, b"", false)).await, ["", "a", "b", "empty"]);
    assert_eq!(paths(list(&repo, &snapshot, b"/a/", false)).await, ["a", "a/deep"]);
    assert_eq!(paths(list(&repo, &snapshot, b"b/mixed", false)).await, ["b/mixed"]);
    assert_eq!(paths(list(&repo, &snapshot, b"a", true)).await.len(), 2 + 40 + 2);
    assert_eq!(paths(list(&repo, &snapshot, b"", true)).await.len(), files.len() + 6 + 2);
    for path in [&b"nothing"[..], b"a/dee", b"b/mixed/x"] {
        let error = list(&repo, &snapshot, path, false).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn entries_are_found_by_pattern() {
    let repo = repository().await;
    let (snapshot, _) = tree(&repo).await;
    let found = async |patterns: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(|&p| p.to_owned()).collect();
        paths(find(&repo, &snapshot, &patterns).unwrap()).await
    };
    assert_eq!(found(&["f1"]).await, ["a/deep/f1"]);
    assert_eq!(found(&["er"]).await, ["a/deep/er", "a/deep/er/first"]);
    assert_eq!(found(&["/b/*", "!mixed", "!l*"]).await, ["b/fifo", "b/hole", "b/second", "b/third"]);
}

#[tokio::test]
async fn files_are_read() {
    let repo = repository().await;
    let (snapshot, files) = tree(&repo).await;
    for (path, bytes) in &files {
        let parts: Vec<Bytes> = cat(&repo, &snapshot, path.as_bytes()).try_collect().await.unwrap();
        assert!(parts.concat() == *bytes, "{path}");
    }
    for (path, kind) in [(&b"a"[..], ErrorKind::Input), (b"nothing", ErrorKind::NotFound)] {
        let error = cat(&repo, &snapshot, path).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    let lost = blobs_of(&repo, &snapshot, "b/mixed").await[0].place.pack;
    repo.store.delete(&repo.layout.pack(lost)).await.unwrap();
    let repo = crate::ops::restore::sample::reopen(&repo).await;
    let error = cat(&repo, &snapshot, b"b/mixed").try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_snapshot_does_not_differ_from_itself() {
    let repo = repository().await;
    let (snapshot, _) = tree(&repo).await;
    assert_eq!(diff(&repo, &snapshot, &snapshot).try_collect::<Vec<_>>().await.unwrap(), []);
}
