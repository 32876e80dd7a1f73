//! Whose token it is.

use std::collections::BTreeMap;

use coordinator::gate::Access;
use k8s_openapi::api::authentication::v1::UserInfo;

use super::{Holder, NODE_NAME, POD_NAME, POD_UID, holder};

fn user(name: &str, extra: &[(&str, &str)]) -> UserInfo {
    let extra: BTreeMap<_, _> = extra.iter().map(|(k, v)| ((*k).to_owned(), vec![(*v).to_owned()])).collect();
    UserInfo { username: Some(name.to_owned()), extra: Some(extra), ..UserInfo::default() }
}

#[test]
fn a_person_is_the_account_that_it_may_make_tokens_of() {
    for (account, access) in [
        ("holdfast-reader", Access::Read),
        ("holdfast-writer", Access::Write),
        ("holdfast-administrator", Access::Admin),
    ] {
        let name = format!("system:serviceaccount:holdfast-system:{account}");
        assert_eq!(holder(&user(&name, &[]), "holdfast-system"), Some(Holder::Person(account, access)));
        let elsewhere = format!("system:serviceaccount:default:{account}");
        assert_eq!(holder(&user(&elsewhere, &[]), "holdfast-system"), None);
    }
    for name in ["holdfast-administrator", "system:admin", "system:serviceaccount:holdfast-system:default"] {
        assert_eq!(holder(&user(name, &[]), "holdfast-system"), None, "{name}");
    }
}

#[test]
fn an_agents_token_names_its_pod() {
    let name = "system:serviceaccount:holdfast-system:holdfast-agent";
    let whole = [(POD_NAME, "holdfast-agent-x"), (POD_UID, "u"), (NODE_NAME, "node1")];
    let Some(Holder::Pod(pod)) = holder(&user(name, &whole), "holdfast-system") else { panic!("no pod") };
    assert_eq!(
        (pod.pod.name.as_str(), pod.uid.as_str(), pod.node.as_deref()),
        ("holdfast-agent-x", "u", Some("node1"))
    );
    // Made by hand, for a node or for nothing: no pod, no agent.
    assert_eq!(holder(&user(name, &[(NODE_NAME, "node1")]), "holdfast-system"), None);
    assert_eq!(holder(&user(name, &[]), "holdfast-system"), None);
}
