//! That it can tell a refusal from none.

#[test]
fn what_nobody_refuses_is_told() {
    // Without a filter, leaving no namespace and attaching to no process are no privilege.
    let allowed = super::allowed();
    assert!(allowed.contains(&"unshare") && allowed.contains(&"execve"), "{allowed:?}");
    assert!(allowed.iter().all(|name| super::tried().any(|tried| tried == *name)));
}
