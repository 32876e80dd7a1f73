//! Which call needs what, and that no method is forgotten.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic::codegen::http::Request;

use super::{Access, Gate, Grant, Judged, Need, need};
use service::reload::Reloads;

/// Paths of all methods that the coordinator serves.
fn all_methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
    let services = set.file.iter().flat_map(|f| f.service.iter().map(move |s| (f.package(), s)));
    services
        .flat_map(|(package, s)| {
            s.method.iter().map(move |m| format!("/{package}.{}/{}", s.name(), m.name()))
        })
        .collect()
}

#[test]
fn every_method_is_listed_and_unknown_ones_are_refused() {
    let all = all_methods();
    assert_eq!(all.len(), 33, "{all:?}");
    for path in all {
        assert!(need(&path).unwrap().is_some(), "{path}");
    }
    for path in ["/holdfast.v1.Holdfast/Erase", "/holdfast.v1.Agents/Cat", "/holdfast.v2.Holdfast/Cat"] {
        assert!(need(path).is_err(), "{path}");
    }
    for path in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
    {
        assert_eq!(need(path).unwrap(), None, "{path}");
    }
    assert_eq!(need("/holdfast.v1.Holdfast/Cat").unwrap(), Some(Need::Client(Access::Read)));
    assert_eq!(need("/holdfast.v1.Holdfast/Restore").unwrap(), Some(Need::Client(Access::Write)));
}

#[test]
fn each_token_opens_what_it_grants() {
    let dir = tempfile::tempdir().unwrap();
    let grants = [
        ("agent-token-of-length", Grant { agents: vec!["node-*".into()], ..Grant::default() }),
        ("reader-token-of-length", Grant { clients: Some(Access::Read), ..Grant::default() }),
        ("writer-token-of-length", Grant { clients: Some(Access::Write), ..Grant::default() }),
    ];
    let files = grants.into_iter().map(|(token, grant)| {
        let path = dir.path().join(token);
        std::fs::write(&path, token).unwrap();
        (path, grant)
    });
    let gate = Gate::new(&files.collect::<Vec<_>>(), &Reloads::default()).unwrap();
    let call = |token: &str, path: &str| {
        let request = Request::builder().uri(path).header("authorization", format!("Bearer {token}"));
        match gate.judge(&request.body(()).unwrap()) {
            Ok(Judged::May(grant)) => Ok(grant),
            Ok(Judged::Ask(..)) => panic!("there is nobody to ask"),
            Err(status) => Err(status.code()),
        }
    };
    for (path, open) in [
        ("/holdfast.v1.Agents/Attach", [true, false, false]),
        ("/holdfast.v1.Agents/Lookup", [true, false, false]),
        ("/holdfast.v1.Holdfast/Cat", [false, true, true]),
        ("/holdfast.v1.Holdfast/ListRuns", [false, true, true]),
        ("/holdfast.v1.Holdfast/RunBackup", [false, false, true]),
        ("/holdfast.v1.Holdfast/CancelRun", [false, false, true]),
        ("/holdfast.v1.Maintenance/ListHealth", [false, true, true]),
        ("/holdfast.v1.Maintenance/Pin", [false, false, true]),
        ("/holdfast.v1.Maintenance/ListKeys", [false, false, false]),
        ("/holdfast.v1.Maintenance/RotateKeys", [false, false, false]),
        ("/grpc.health.v1.Health/Check", [true, true, true]),
    ] {
        for (token, open) in ["agent", "reader", "writer"].iter().zip(open) {
            let answer = call(&format!("{token}-token-of-length"), path);
            assert_eq!(answer.clone().err(), (!open).then_some(Code::PermissionDenied), "{token} {path}");
        }
    }
    assert_eq!(call("nobody-token-of-length", "/holdfast.v1.Holdfast/Cat"), Err(Code::Unauthenticated));
    assert!(call("nobody", "/grpc.health.v1.Health/Check").is_ok());
    let agent = call("agent-token-of-length", "/holdfast.v1.Agents/Attach").unwrap();
    assert!(agent.check_agent("node-7").is_ok());
    assert!(agent.check_agent("other").unwrap_err().chain().contains("may not act as agent \"other\""));
}
