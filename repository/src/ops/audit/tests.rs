//! What was written comes back in order, filtered; a damaged record hides no other.

use super::*;
use crate::ids::Sid;
use crate::manifest::audit::Forgot;
use crate::ops::restore::sample::repository;

fn record(second: i64, event: Event) -> Record {
    Record { at: Timestamp::from_parts(second, 7), by: "test".to_owned(), host: "h".to_owned(), event }
}

fn other(n: i64) -> Record {
    record(n, Event::Other { kind: "x".to_owned(), text: format!("{n}") })
}

async fn seconds(repo: &Repository, filter: Filter) -> Vec<i64> {
    let (records, damaged) = list(repo, &filter).await.unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    records.iter().map(|r| r.at.seconds()).collect()
}

#[tokio::test]
async fn records_are_listed_in_order_of_time_and_filtered() {
    let repo = repository().await;
    for n in [3_000_000_000, 5, 1_700_000_000] {
        write(&repo, other(n)).await.unwrap();
    }
    write(&repo, record(9, Event::Keys("added one".to_owned()))).await.unwrap();
    let all = [5, 9, 1_700_000_000, 3_000_000_000];
    assert_eq!(seconds(&repo, Filter::default()).await, all);
    let since = |at| Filter { since: Some(at), ..Filter::default() };
    assert_eq!(seconds(&repo, since(Timestamp::from_parts(9, 7))).await, all[1..]);
    assert_eq!(seconds(&repo, since(Timestamp::from_parts(9, 8))).await, all[2..]);
    let keys = Filter { kind: Some("keys".to_owned()), newest: 1, ..Filter::default() };
    assert_eq!(seconds(&repo, keys).await, [9]);
    assert_eq!(seconds(&repo, Filter { newest: 2, ..Filter::default() }).await, all[2..]);
}

#[tokio::test]
async fn one_that_is_damaged_is_named_and_the_rest_is_listed() {
    let repo = repository().await;
    for n in [1, 2, 3] {
        write(&repo, other(n)).await.unwrap();
    }
    let objects = repo.objects();
    let key = objects.list(&objects.layout.folder(ObjectKind::Audit), None).await.unwrap().remove(1);
    let bytes = repo.store.get(&key).await.unwrap();
    repo.store.delete(&key).await.unwrap();
    repo.store.put_new(&key, bytes.slice(..bytes.len() - 1)).await.unwrap();
    let (records, damaged) = list(&repo, &Filter::default()).await.unwrap();
    assert_eq!(records, [other(1), other(3)]);
    assert!(damaged.len() == 1 && damaged[0].chain().contains(key.as_str()), "{damaged:?}");
}

#[tokio::test]
async fn a_record_has_an_end() {
    let repo = repository().await;
    let one = Forgot { snapshot: Sid([1; 16]), volume: "v".to_owned(), why: "w".to_owned() };
    let event = Event::Forgot(vec![one; AUDIT_EVENT_ITEMS_MAX + 5]);
    note(&repo, "test", event).await;
    let (records, _) = list(&repo, &Filter::default()).await.unwrap();
    let Event::Forgot(list) = &records[0].event else { panic!("{records:?}") };
    assert_eq!(list.len(), AUDIT_EVENT_ITEMS_MAX);
}
