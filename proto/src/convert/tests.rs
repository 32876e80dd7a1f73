//! What goes over the wire comes back, and nonsense is refused.

use repository::env::Timestamp;
use repository::ids::{BlobId, BlobRef, PackId, Place, Sid};
use repository::items::entry::{Content, Entry, Kind, Meta};
use repository::manifest::{Manifest, Summary};
use repository::ops::browse::Change;
use repository::ops::restore::Existing;
use repository::ops::snapshots::Snapshot;
use repository::ops::{Problem, Problems};
use repository::{Error, ErrorKind};
use tonic::Status;

use super::*;
use crate::job::{BackupSpec, Failure, Job, JobId, JobResult, JobSpec, RestoreSpec};
use crate::task::{
    CopySpec, GcSpec, LockSpec, MirrorSpec, RepairSpec, RestoreTestSpec, ScrubSpec, TaskId, TaskKind,
    TaskResult, TaskSpec,
};
use crate::v1;
use repository::retention::Rules;

fn place(n: u8, ordinal: u32) -> Place {
    Place { pack: PackId { sid: Sid([n; 16]), rnd: [n; 8] }, ordinal }
}

fn snapshot() -> Snapshot {
    let blob = |n| BlobRef { id: BlobId([n; 32]), place: place(n, u32::from(n)) };
    Snapshot {
        id: Sid([7; 16]),
        manifest: Manifest {
            volume: "host:/data".into(),
            host: "host".into(),
            path: b"/da\xffta".to_vec(),
            started: Timestamp(-5),
            finished: Timestamp(17),
            parent: Some(Sid([6; 16])),
            tags: vec!["nightly".into()],
            entries: 1,
            files: 2,
            bytes: 3,
            bytes_new: 4,
            bytes_stored: 5,
            problems: 6,
            changed: 7,
            root: blob(8),
            root_usage: blob(9),
            summary: Summary::Inline(Vec::new()),
            identity: None,
            copied: None,
            repaired: None,
            origin: Some(Box::new(origin())),
        },
    }
}

fn entry(path: &str, kind: Kind) -> Entry {
    let meta = Meta {
        mode: 0o4755,
        uid: 1,
        gid: 2,
        mtime: Timestamp(3),
        ctime: Timestamp(4),
        ino: 5,
        linked: true,
        xattrs: vec![(b"user.x".to_vec(), vec![0, 255])],
    };
    Entry { path: path.as_bytes().to_vec(), meta, size: 6, changed_during_read: true, kind }
}

fn origin() -> repository::manifest::Origin {
    repository::manifest::Origin {
        cluster: "c".into(),
        namespace: "n".into(),
        namespace_uid: "nu".into(),
        claim: "pvc".into(),
        claim_uid: "cu".into(),
        objects: vec![("claim".into(), b"{}".to_vec())],
    }
}

#[test]
fn snapshots_come_back() {
    let there = snapshot();
    let back = snapshot_from_wire(snapshot_to_wire(&there)).unwrap();
    assert_eq!((back.id, back.manifest), (there.id, there.manifest));
    let mut orphan = snapshot();
    orphan.manifest.parent = None;
    assert_eq!(snapshot_from_wire(snapshot_to_wire(&orphan)).unwrap().manifest.parent, None);
}

#[test]
fn entries_of_every_kind_come_back() {
    let kinds = [
        Kind::File(Content::Extents(Vec::new())),
        Kind::Directory,
        Kind::Symlink(b"../\xfe".to_vec()),
        Kind::Fifo,
        Kind::Socket,
        Kind::CharDevice(1, 3),
        Kind::BlockDevice(8, 0),
    ];
    for kind in kinds {
        let there = entry("a/b", kind);
        assert_eq!(entry_from_wire(entry_to_wire(&there)).unwrap(), there);
    }
    assert!(entry_from_wire(v1::Entry { kind: 99, ..Default::default() }).is_err());
}

#[test]
fn changes_come_back() {
    let (a, b) = (entry("a", Kind::Fifo), entry("a", Kind::Socket));
    for there in [
        Change::Added(a.clone()),
        Change::Removed(a.clone()),
        Change::Changed(Box::new(a), Box::new(b), false),
    ] {
        assert_eq!(change_from_wire(change_to_wire(&there)).unwrap(), there);
    }
    assert!(change_from_wire(v1::Change::default()).is_err());
}

#[test]
fn jobs_and_results_come_back() {
    let backup = JobSpec::Backup(BackupSpec {
        volume: "v".into(),
        read_all: true,
        tags: vec!["t".into()],
        origin: Some(origin()),
    });
    let restore = JobSpec::Restore(RestoreSpec {
        snapshot: Sid([1; 16]),
        path: b"a\xff".to_vec(),
        patterns: vec!["*.db".into()],
        target: b"/restore/x".to_vec(),
        existing: Existing::IfChanged,
    });
    for spec in [backup, restore] {
        assert_eq!(decode_spec(&encode_spec(&spec)).unwrap(), spec);
        let job = Job { id: JobId([3; 16]), spec };
        assert_eq!(job_from_wire(job_to_wire(&job)).unwrap(), job);
    }
    let mut problems = Problems::default();
    problems.push(b"p", "open: permission denied");
    let failure = Some(Failure { kind: ErrorKind::Key, what: "wrong key".into() });
    let there =
        JobResult { failure, problems, snapshot: Some(snapshot()), skipped: 4, ..JobResult::default() };
    let back = decode_result(&encode_result(&there)).unwrap();
    assert_eq!((back.failure, back.problems, back.skipped), (there.failure, there.problems, 4));
    assert_eq!(back.snapshot.unwrap().id, Sid([7; 16]));
    assert!(decode_spec(b"").is_err());
    assert!(decode_result(b"\xff\xff").is_err());
}

#[test]
fn many_long_problems_stay_below_a_message() {
    let kept = (0..1000).map(|_| Problem { path: vec![b'x'; 60_000], what: "gone".into() });
    let problems = Problems::from_parts(kept, 5_000);
    let wire = problems_to_wire(&problems);
    assert_eq!(wire.count, 5_000);
    assert!(wire.kept.len() < 20 && !wire.kept.is_empty(), "{}", wire.kept.len());
    assert_eq!(problems_from_wire(Some(wire)).count(), 5_000);
}

#[test]
fn every_kind_of_error_survives_a_status() {
    for kind in [
        ErrorKind::Input,
        ErrorKind::NotFound,
        ErrorKind::Key,
        ErrorKind::Store,
        ErrorKind::Damaged,
        ErrorKind::Source,
        ErrorKind::Target,
        ErrorKind::Fenced,
        ErrorKind::Cancelled,
        ErrorKind::Refused,
        ErrorKind::Internal,
    ] {
        let there = Error::new(kind, "low").context("high");
        let back = error_from_status(&error_to_status(&there));
        assert_eq!((back.kind(), back.to_string()), (kind, "high: low".to_owned()));
        let wire = failure_to_wire(&Failure::from(&there));
        assert_eq!(failure_from_wire(wire).kind, kind);
    }
    assert_eq!(error_from_status(&Status::unavailable("x")).kind(), ErrorKind::Refused);
}

#[test]
fn lookups_name_each_pack_once() {
    let places = [Some(place(1, 5)), None, Some(place(1, 6)), Some(place(2, 0))];
    let wire = places_to_wire(&places);
    assert_eq!(wire.packs.len(), 2);
    assert_eq!(places_from_wire(&wire, 4).unwrap(), places);
    assert!(places_from_wire(&wire, 3).is_err());
    let lie = v1::LookupResponse { pack_numbers: vec![9], ordinals: vec![0], packs: vec![] };
    assert!(places_from_wire(&lie, 1).is_err());
}

#[test]
fn lookups_are_bounded() {
    let ids = vec![BlobId([1; 32]); crate::LOOKUP_IDS_MAX];
    assert_eq!(ids_from_wire(&ids_to_wire(&ids)).unwrap(), ids);
    let more = vec![BlobId([1; 32]); crate::LOOKUP_IDS_MAX + 1];
    assert!(ids_from_wire(&ids_to_wire(&more)).is_err());
    assert!(ids_from_wire(&v1::LookupRequest { ids: vec![0; 33].into() }).is_err());
}

#[test]
fn only_somebody_who_says_so_has_cancelled() {
    // What the transport says when the other side refuses a certificate: nobody here pressed Ctrl-C.
    for status in [Status::cancelled("operation was canceled"), Status::unknown("transport error")] {
        let broken = error_from_status(&status);
        assert_eq!(broken.kind(), ErrorKind::Refused);
        assert!(broken.to_string().contains("ended the connection"), "{broken}");
    }
    let said = error_to_status(&Error::new(ErrorKind::Cancelled, "cancelled"));
    assert_eq!(error_from_status(&said).kind(), ErrorKind::Cancelled);
}

#[test]
fn tasks_of_every_kind_come_back() {
    let gc = GcSpec {
        dry_run: true,
        fence_after_seconds: Some(0),
        bytes_max: Some(u64::MAX),
        requests_max: Some(5),
        live_percent_below: Some(70),
        reencrypt_below_epoch: Some(2),
    };
    let test = RestoreTestSpec { volumes: vec!["v".into()], volumes_max: Some(3), bytes_max: None };
    let snapshots = RepairSpec::Snapshots {
        snapshots: vec!["abcd".into()],
        volume: Some("v".into()),
        forget: true,
        dry_run: true,
    };
    let scrub = ScrubSpec {
        bytes_max: Some(0),
        share_percent: Some(3),
        older_than_seconds: Some(9),
        no_quarantine: true,
    };
    let copy = CopySpec {
        to: "offsite".into(),
        snapshots: vec!["latest".into()],
        volume: Some("v".into()),
        newest: Some(3),
        retry_partial: Some(false),
        zstd_level: Some(19),
    };
    let mirror = MirrorSpec {
        to: "m".into(),
        delete: Some(true),
        share_percent_max: Some(0),
        compare_bytes: Some(false),
    };
    let all = [
        TaskSpec::Copy(copy),
        TaskSpec::Copy(CopySpec { to: "d".into(), ..CopySpec::default() }),
        TaskSpec::Mirror(mirror),
        TaskSpec::Mirror(MirrorSpec { to: "d".into(), ..MirrorSpec::default() }),
        TaskSpec::Lock(LockSpec { days: Some(30), dry_run: true }),
        TaskSpec::Lock(LockSpec::default()),
        TaskSpec::Forget,
        TaskSpec::Gc(gc),
        TaskSpec::Gc(GcSpec::default()),
        TaskSpec::Scrub(scrub),
        TaskSpec::Scrub(ScrubSpec::default()),
        TaskSpec::RestoreTest(test),
        TaskSpec::RestoreTest(RestoreTestSpec::default()),
        TaskSpec::Verify { volume: Some("v".into()), quick: true },
        TaskSpec::Verify { volume: None, quick: false },
        TaskSpec::Repair(RepairSpec::Index { all: true, dry_run: false }),
        TaskSpec::Repair(snapshots),
        TaskSpec::Repair(RepairSpec::Quarantine { dry_run: true }),
    ];
    for spec in &all {
        assert_eq!(&decode_task_spec(&encode_task_spec(spec)).unwrap(), spec);
    }
    for kind in TaskKind::ALL {
        assert!(all.iter().any(|s| s.kind() == kind), "{kind:?} is not tested");
    }
    for bad in [None, Some(v1::MaintenanceSpec { spec: None })] {
        assert!(task_spec_from_wire(bad).is_err());
    }
    assert!(decode_task_spec(b"\xff").is_err());
    assert_eq!(task_id_from_wire(&[4; 16]).unwrap(), TaskId([4; 16]));
    assert!(task_id_from_wire(&[4; 15]).is_err());
}

#[test]
fn results_of_tasks_come_back_and_are_bounded() {
    let mut there = TaskResult { complete: true, note: "n".into(), ..TaskResult::default() };
    there.failure = Some(Failure { kind: ErrorKind::Store, what: "gone".into() });
    there.counts = [("deleted".to_owned(), 7), ("packs".to_owned(), u64::MAX)].into();
    there.lists = [("fenced".to_owned(), vec!["ab".to_owned()])].into();
    there.problems.push(b"p/\xff", "damaged");
    there.figures.bytes_read = 9;
    assert_eq!(decode_task_result(&encode_task_result(&there)).unwrap(), there);
    assert!(decode_task_result(b"\xff").is_err());
    there.lists = [("many".to_owned(), vec!["x".to_owned(); LIST_ITEMS_MAX + 1])].into();
    assert_eq!(task_result_from_wire(task_result_to_wire(&there)).lists["many"].len(), LIST_ITEMS_MAX);
}

#[test]
fn rules_come_back() {
    let there = Rules {
        last: 1,
        hourly: 2,
        daily: 3,
        weekly: 4,
        monthly: 5,
        yearly: 6,
        within_seconds: Some(7),
        tags: vec!["t".into()],
        age_seconds_min: 8,
    };
    assert_eq!(rules_from_wire(rules_to_wire(&there)).unwrap(), there);
    assert_eq!(rules_from_wire(v1::RetentionRules::default()).unwrap(), Rules::default());
    let far = v1::RetentionRules { within_seconds: Some(u64::MAX), ..Default::default() };
    assert!(rules_from_wire(far).unwrap_err().to_string().contains("within_seconds"));
}

#[test]
fn nonsense_about_maintenance_is_refused_by_name() {
    use v1::maintenance_spec::Spec;
    let refused = |message: &dyn Check, field: &str| {
        let e = message.check().unwrap_err();
        assert!(e.kind() == ErrorKind::Input && e.to_string().contains(field), "{e}");
    };
    let forget = v1::ForgetRequest { snapshots: vec!["abcd".into()], ..Default::default() };
    forget.check().unwrap();
    refused(&v1::ForgetRequest { rules: Some(Default::default()), ..forget }, "rules");
    refused(&v1::ForgetRequest { snapshots: vec![String::new()], ..Default::default() }, "snapshots");
    refused(&v1::ForgetRequest { share_percent_max: Some(101), ..Default::default() }, "share_percent_max");
    refused(&v1::ForgetRequest { reason: "x".repeat(REASON_BYTES_MAX + 1), ..Default::default() }, "reason");
    refused(&v1::UnforgetRequest::default(), "snapshot");
    refused(&v1::PinRequest::default(), "snapshot");
    refused(&v1::ListHealthRequest { volume: "x".repeat(VOLUME_BYTES_MAX + 1) }, "volume");
    refused(
        &v1::PinRequest {
            snapshot: "latest".into(),
            volume: "x".repeat(VOLUME_BYTES_MAX + 1),
            ..Default::default()
        },
        "volume",
    );
    refused(&v1::StartMaintenanceRequest::default(), "spec");
    let gc = v1::GcTask { fence_after_seconds: Some(u64::MAX), ..Default::default() };
    let spec = Some(v1::MaintenanceSpec { spec: Some(Spec::Gc(gc)) });
    refused(&v1::StartMaintenanceRequest { spec, ..Default::default() }, "fence_after_seconds");
    let repair = v1::RepairTask { what: 99, ..Default::default() };
    let spec = Some(v1::MaintenanceSpec { spec: Some(Spec::Repair(repair)) });
    refused(&v1::StartMaintenanceRequest { spec, ..Default::default() }, "repair");
    let task = |spec| v1::StartMaintenanceRequest {
        spec: Some(v1::MaintenanceSpec { spec: Some(spec) }),
        ..Default::default()
    };
    let copy = v1::CopyTask { to: "d".into(), ..Default::default() };
    task(Spec::Copy(copy.clone())).check().unwrap();
    refused(&task(Spec::Copy(v1::CopyTask { to: String::new(), ..copy.clone() })), "spec.copy.to");
    refused(&task(Spec::Copy(v1::CopyTask { newest: Some(0), ..copy.clone() })), "newest");
    refused(&task(Spec::Copy(v1::CopyTask { zstd_level: Some(20), ..copy })), "zstd_level");
    refused(&task(Spec::Mirror(v1::MirrorTask::default())), "spec.mirror.to");
    let mirror = v1::MirrorTask { to: "d".into(), share_percent_max: Some(101), ..Default::default() };
    refused(&task(Spec::Mirror(mirror)), "share_percent_max");
    refused(&task(Spec::Lock(v1::LockTask { days: Some(0), dry_run: false })), "days");
    refused(&v1::WatchMaintenanceRequest { task_id: vec![1].into() }, "task_id");
    refused(&v1::ListMaintenanceRequest { limit: 1_000_000 }, "limit");
    refused(&v1::ListAuditRequest { newest: u32::MAX, ..Default::default() }, "newest");
}
