//! What is told of volumes.

use std::sync::Arc;

use proto::v1::Seen as Wire;

use super::to_wire;
use crate::node::find::{Seen, Spot};
use crate::node::plan::PlannedVolume;
use crate::node::sights::{Sight, Sights};

#[test]
fn each_volume_is_told_once_with_its_reason() {
    let sight = |name: &str, domain: &str, seen| Sight {
        volume: Arc::new(PlannedVolume {
            name: name.into(),
            domain: domain.parse().unwrap(),
            places: Vec::new(),
            rules: Default::default(),
            restore: false,
        }),
        seen,
    };
    let spot = Spot { path: "/v".into(), base: "/".into(), mount: None, pod: Some("u".into()) };
    let sights = Sights {
        revision: 4,
        volumes: vec![
            sight("a", "d", Seen::Ready(spot.clone())),
            sight("a", "e", Seen::Ready(spot)),
            sight("b", "d", Seen::Absent("no mount".into())),
        ],
        refused: vec![("c".into(), "no name".into())],
        ..Sights::default()
    };
    let said = to_wire(&sights);
    assert_eq!(said.revision, 4);
    let said: Vec<_> = said
        .volumes
        .iter()
        .map(|v| (v.volume.as_str(), v.seen(), v.what.as_str(), v.pod_uid.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("a", Wire::Ready, "", "u"),
            ("b", Wire::Absent, "no mount", ""),
            ("c", Wire::Refused, "no name", "")
        ]
    );
}
