//! Exit codes are what scripts rely on.

use anyhow::Context as _;
use repository::store::{Op, StoreError, StoreErrorKind};
use repository::{Error, ErrorKind};

use super::{Exit, hint, is_broken_pipe, usage};

fn check(kind: ErrorKind, code: i32) {
    let error = Err::<(), _>(Error::new(kind, "x")).context("outer").expect_err("an error");
    assert_eq!(Exit::of_error(&error) as i32, code, "{kind:?}");
}

#[test]
fn each_kind_has_its_code() {
    check(ErrorKind::Input, 2);
    check(ErrorKind::Key, 4);
    check(ErrorKind::Store, 5);
    check(ErrorKind::Cancelled, 130);
    for kind in [ErrorKind::NotFound, ErrorKind::Damaged, ErrorKind::Source, ErrorKind::Target] {
        check(kind, 1);
    }
    for kind in [ErrorKind::Fenced, ErrorKind::Refused, ErrorKind::Internal] {
        check(kind, 1);
    }
    assert_eq!(Exit::of_error(&usage("x")) as i32, 2);
    assert_eq!(Exit::of_error(&anyhow::anyhow!("x")) as i32, 1);
    assert_eq!((Exit::Done as i32, Exit::Partial as i32), (0, 3));
}

#[test]
fn the_outermost_layer_decides() {
    let damaged = Error::with_source(ErrorKind::Damaged, "read pack", Error::new(ErrorKind::Store, "get"));
    assert_eq!(Exit::of_error(&damaged.into()), Exit::Failed);
}

#[test]
fn worse_wins() {
    assert_eq!(Exit::Done.worse(Exit::Partial), Exit::Partial);
    assert_eq!(Exit::Partial.worse(Exit::Failed), Exit::Failed);
    assert_eq!(Exit::Store.worse(Exit::Done), Exit::Store);
}

#[test]
fn a_full_target_says_how_to_go_on() {
    let of = |kind| {
        anyhow::Error::from(Error::with_source(ErrorKind::Target, "restore a", std::io::Error::from(kind)))
    };
    assert!(hint(&of(std::io::ErrorKind::StorageFull)).is_some_and(|h| h.contains("--existing if-changed")));
    assert_eq!(hint(&of(std::io::ErrorKind::PermissionDenied)), None);
}

#[test]
fn a_missing_repository_has_its_own_advice_only() {
    let inner = Error::new(ErrorKind::NotFound, "no repo.json");
    assert_eq!(hint(&Error::with_source(ErrorKind::Store, "there is no repository", inner).into()), None);
}

#[test]
fn a_full_store_says_what_to_do() {
    let full = StoreError {
        kind: StoreErrorKind::Full,
        op: Op::Put,
        key: "default/p/ab".into(),
        what: "no space left".into(),
        source: None,
    };
    let error = anyhow::Error::from(Error::with_source(ErrorKind::Store, "backup db", full));
    assert_eq!(format!("{error:#}"), "backup db: put default/p/ab: no space left");
    assert!(hint(&error).is_some_and(|h| h.contains("space")));
    assert!(!is_broken_pipe(&error));
}
