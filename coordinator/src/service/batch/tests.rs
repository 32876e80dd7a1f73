//! Messages of bounded size, and errors in the middle.

use futures::{StreamExt as _, stream};
use repository::{Error, ErrorKind};

use super::batches;
use crate::limits::{ENTRIES_PER_MESSAGE, ENTRY_BYTES_PER_MESSAGE};

fn run(items: Vec<Result<usize, Error>>) -> Vec<Result<Vec<usize>, String>> {
    let all = batches(stream::iter(items).boxed(), |n| *n, |n| *n, |b| b);
    let all = all.map(|m| m.map_err(|s| s.message().to_owned()));
    futures::executor::block_on(all.collect())
}

#[test]
fn batches_are_bounded_and_keep_the_order() {
    let all = run((0..1000).map(Ok).collect());
    assert!(all.iter().all(|b| b.as_ref().unwrap().len() <= ENTRIES_PER_MESSAGE));
    let flat: Vec<usize> = all.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(flat, (0..1000).collect::<Vec<_>>());
    let large = run(vec![Ok(ENTRY_BYTES_PER_MESSAGE), Ok(ENTRY_BYTES_PER_MESSAGE), Ok(1)]);
    assert_eq!(large.len(), 3);
}

#[test]
fn an_error_comes_after_what_was_good_and_ends_it() {
    let bad = Err(Error::new(ErrorKind::Damaged, "leaf"));
    assert_eq!(run(vec![Ok(1), Ok(2), bad, Ok(3)]), [Ok(vec![1, 2]), Err("leaf".to_owned())]);
}
