//! Copies, mirrors and locks as tasks: each destination for itself, as configured unless somebody says otherwise.

use std::path::Path;
use std::sync::Arc;

use coordinator::maintenance::{CopySettings, Destination, Holds, MirrorSettings, Timing};
use proto::convert;
use proto::task::{CopySpec, LockSpec, MirrorSpec, TaskSpec};
use proto::v1::RunState;
use repository::ids::DomainName;
use service::repo::{KeyFrom, Settings};
use tonic::Code;

use crate::fakes::FakeEngine;
use crate::harness::{Coordinator, coordinator_config, eventually};
use crate::maintenance::{bytes, client, every, list, start, wait};

fn destination(name: &str, timing: Timing, holds: Holds) -> Destination {
    Destination {
        name: name.into(),
        url: "memory:".into(),
        credentials_file: None,
        memory_bytes_max: 64 << 20,
        upload_bytes_per_second_max: None,
        timing,
        holds,
    }
}

fn copies(newest: Option<u32>) -> Holds {
    let repository = Settings {
        url: "memory:".into(),
        domain: DomainName::default_domain(),
        key: KeyFrom::KeyFile("/none".into()),
        cache_dir: None,
        cpu_threads: 1,
    };
    Holds::Copies(Box::new(CopySettings {
        repository,
        volume: None,
        newest,
        retry_partial: false,
        zstd_level: 2,
    }))
}

fn mirror() -> Holds {
    Holds::Mirror(MirrorSettings { delete: true, share_percent_max: 20, compare_bytes: false })
}

fn config(dir: &Path, all: Vec<Destination>) -> coordinator::Config {
    let mut config = coordinator_config(dir);
    config.domains[0].maintenance.destinations = all;
    config
}

fn copy(to: &str) -> CopySpec {
    CopySpec { to: to.into(), ..CopySpec::default() }
}

#[tokio::test]
async fn each_destination_has_a_schedule_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let all = vec![
        destination("near", every(1), copies(Some(2))),
        destination("far", Timing::never(), copies(None)),
        destination("twin", every(1), mirror()),
    ];
    let mut config = config(dir.path(), all);
    config.domains[0].maintenance.lock.timing = every(1);
    config.domains[0].maintenance.lock.days = Some(2);
    let engine = Arc::new(FakeEngine::default());
    let coordinator = Coordinator::start(config, engine.clone()).await;
    for what in ["copy near None Some(2)", "mirror twin true 20", "lock 172800 false"] {
        eventually(&format!("{what} twice"), async || (engine.count(what) >= 2).then_some(())).await;
    }
    assert_eq!(engine.count("copy far None None"), 0);
    let client = client(&coordinator.target());
    let spec = CopySpec { volume: Some("v".into()), newest: Some(1), ..copy("far") };
    let (id, _) = start(&client, &TaskSpec::Copy(spec)).await.unwrap();
    let done = wait(&client, id, RunState::Done).await;
    let result = convert::task_result_from_wire(done.result.unwrap());
    assert_eq!((result.counts["copied"], result.counts["bytes_stored"]), (1, 7));
    assert_eq!(engine.count("copy far Some(\"v\") Some(1)"), 1);
    let (plans, _) = list(&client).await;
    let named = |kind: &str| {
        let of_kind = plans.iter().filter(|p| p.kind == kind);
        of_kind.map(|p| (p.to.clone(), p.schedule.clone())).collect::<Vec<_>>()
    };
    let of = |to: &str, schedule: &str| (to.to_owned(), schedule.to_owned());
    assert_eq!(named("copy"), [of("near", "every 1 s"), of("far", "")]);
    assert_eq!(named("mirror"), [of("twin", "every 1 s")]);
    let metrics = coordinator.metrics().await;
    let success = "holdfast_coordinator_destination_success_timestamp_seconds";
    // What somebody asked for was less than the schedule's.
    for line in [
        format!("{success}{{kind=\"copy\",destination=\"far\"}} 0"),
        format!("{success}{{kind=\"copy\",destination=\"near\"}} 1"),
        "holdfast_coordinator_mirror_different_objects 1".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn a_request_tightens_a_mirror_and_never_widens_it() {
    let dir = tempfile::tempdir().unwrap();
    let keeps = MirrorSettings { delete: false, share_percent_max: 20, compare_bytes: false };
    let all = vec![
        destination("twin", Timing::never(), mirror()),
        destination("keeps", Timing::never(), Holds::Mirror(keeps)),
    ];
    let engine = Arc::new(FakeEngine::default());
    let coordinator = Coordinator::start(config(dir.path(), all), engine.clone()).await;
    let client = client(&coordinator.target());
    for (to, delete, share, ran) in [
        ("twin", None, None, "mirror twin true 20"),
        ("twin", Some(false), None, "mirror twin false 20"),
        ("twin", Some(true), Some(5), "mirror twin true 5"),
        ("keeps", Some(true), Some(100), "mirror keeps false 20"),
    ] {
        let spec = MirrorSpec { to: to.into(), delete, share_percent_max: share, compare_bytes: None };
        let (id, _) = start(&client, &TaskSpec::Mirror(spec)).await.unwrap();
        wait(&client, id, RunState::Done).await;
        assert_eq!(engine.count(ran), 1, "{ran}");
    }
    let spec = MirrorSpec { to: "twin".into(), share_percent_max: Some(100), ..MirrorSpec::default() };
    let (id, _) = start(&client, &TaskSpec::Mirror(spec)).await.unwrap();
    wait(&client, id, RunState::Done).await;
    assert_eq!(engine.count("mirror twin true 20"), 2);
    coordinator.stop().await;
}

#[tokio::test]
async fn who_asks_for_a_place_that_is_not_configured_is_told_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let all = vec![
        destination("near", Timing::never(), copies(None)),
        destination("twin", Timing::never(), mirror()),
    ];
    let coordinator = Coordinator::start(config(dir.path(), all), Arc::new(FakeEngine::default())).await;
    let client = client(&coordinator.target());
    let twin = MirrorSpec { to: "near".into(), ..MirrorSpec::default() };
    for (spec, code, why) in [
        (TaskSpec::Copy(copy("moon")), Code::NotFound, "no destination \"moon\"; known are: near, twin"),
        (TaskSpec::Copy(copy("twin")), Code::InvalidArgument, "is a mirror"),
        (TaskSpec::Mirror(twin), Code::InvalidArgument, "keys of its own"),
    ] {
        let refused = start(&client, &spec).await.unwrap_err();
        assert!(refused.code() == code && refused.message().contains(why), "{refused}");
    }
    let (id, _) = start(&client, &TaskSpec::Lock(LockSpec::default())).await.unwrap();
    let failed = convert::task_result_from_wire(wait(&client, id, RunState::Failed).await.result.unwrap());
    assert!(failed.failure.unwrap().what.contains("maintenance.lock.days"));
    coordinator.stop().await;
}

#[tokio::test]
async fn a_store_that_never_answers_does_not_hold_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let all = vec![destination("stuck", Timing::never(), copies(None))];
    let engine = Arc::new(FakeEngine::default());
    let coordinator = Coordinator::start(config(dir.path(), all), engine.clone()).await;
    let client = client(&coordinator.target());
    let (id, _) = start(&client, &TaskSpec::Copy(copy("stuck"))).await.unwrap();
    wait(&client, id, RunState::Running).await;
    let request = proto::v1::CancelMaintenanceRequest { task_id: bytes(id) };
    client.clone().cancel_maintenance(request).await.unwrap();
    wait(&client, id, RunState::Cancelled).await;
    let (next, _) = start(&client, &TaskSpec::Forget).await.unwrap();
    wait(&client, next, RunState::Done).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn figures_that_nobody_waits_for_are_not_counted_on() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::default());
    let coordinator = Coordinator::start(coordinator_config(dir.path()), engine.clone()).await;
    let client = client(&coordinator.target());
    let what = Some(proto::v1::measure_request::What::Detail(proto::v1::MeasureDetail {}));
    let counted = client.clone().measure(proto::v1::MeasureRequest { what }).await.unwrap();
    eventually("it counts", async || (engine.count("counting") == 1).then_some(())).await;
    // Everything else goes on meanwhile.
    let (id, _) = start(&client, &TaskSpec::Forget).await.unwrap();
    wait(&client, id, RunState::Done).await;
    assert_eq!(engine.count("counting was dropped"), 0);
    drop(counted);
    eventually("it ended", async || (engine.count("counting was dropped") == 1).then_some(())).await;
    let refused = client.clone().measure(proto::v1::MeasureRequest { what: None }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    coordinator.stop().await;
}
