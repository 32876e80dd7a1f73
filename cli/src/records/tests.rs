//! The shape of JSON and YAML: names that scripts outside rely on.

use repository::env::Timestamp;
use repository::ids::{BlobId, BlobRef, PackId, Place, Sid};
use repository::items::entry::{Entry, Kind, Meta};
use repository::manifest::{Manifest, Summary};
use repository::monitor::Figures;
use repository::ops::Problems;
use repository::ops::snapshots::{Snapshot, Stats};
use serde_json::{Value, json};

use super::{BackupRecord, EntryRecord, SnapshotRecord, StatsRecord, problems, time};

fn snapshot() -> Snapshot {
    let pack = PackId { sid: Sid([1; 16]), rnd: [2; 8] };
    let blob = BlobRef { id: BlobId([3; 32]), place: Place { pack, ordinal: 0 } };
    let manifest = Manifest {
        volume: "h:/data".into(),
        host: "h".into(),
        path: b"/da\xffta".to_vec(),
        started: Timestamp(1_700_000_000_000_000_001),
        finished: Timestamp(1_700_000_001_000_000_000),
        parent: Some(Sid([4; 16])),
        tags: vec!["nightly".into()],
        entries: 3,
        files: 2,
        bytes: 100,
        bytes_new: 50,
        bytes_stored: 40,
        problems: 1,
        changed: 0,
        root: blob,
        root_usage: blob,
        summary: Summary::Inline(Vec::new()),
        identity: None,
        copied: None,
        repaired: None,
        origin: None,
    };
    Snapshot { id: Sid([0xab; 16]), manifest }
}

fn snapshot_json() -> Value {
    json!({
        "id": "ab".repeat(16),
        "volume": "h:/data",
        "host": "h",
        "path": "/da\\xffta",
        "started": "2023-11-14T22:13:20.000000001Z",
        "finished": "2023-11-14T22:13:21Z",
        "parent": "04".repeat(16),
        "tags": ["nightly"],
        "entries": 3,
        "files": 2,
        "bytes": 100,
        "bytes_new": 50,
        "bytes_stored": 40,
        "problems": 1,
        "changed_during_read": 0,
    })
}

#[test]
fn a_snapshot() {
    assert_eq!(serde_json::to_value(SnapshotRecord::from(&snapshot())).unwrap(), snapshot_json());
}

#[test]
fn a_backup_is_its_snapshot_and_more() {
    let mut list = Problems::default();
    list.push(b"a\\b", "open: permission denied");
    let record = BackupRecord {
        snapshot: (&snapshot()).into(),
        problem_list: problems(&list),
        figures: Figures { packs: 2, ..Figures::default() }.into(),
        seconds: 1.5,
    };
    let mut value = serde_json::to_value(record).unwrap();
    let more = value.as_object_mut().unwrap();
    assert_eq!(
        more.remove("problem_list"),
        Some(json!([{"path": "a\\\\b", "what": "open: permission denied"}]))
    );
    assert_eq!(more.remove("seconds"), Some(json!(1.5)));
    assert_eq!(more.remove("figures").unwrap()["packs"], json!(2));
    assert_eq!(value, snapshot_json());
}

#[test]
fn an_entry() {
    let meta = Meta { mode: 0o4755, xattrs: vec![(b"user.x".to_vec(), vec![1])], ..Meta::default() };
    let entry = Entry {
        path: b"dev/null".to_vec(),
        meta,
        size: 0,
        changed_during_read: false,
        kind: Kind::CharDevice(1, 3),
    };
    let expected = json!({
        "path": "dev/null", "type": "char-device", "mode": "4755", "uid": 0, "gid": 0, "size": 0,
        "mtime": "1970-01-01T00:00:00Z", "device": [1, 3], "hard_linked": false, "changed_during_read": false,
        "xattrs": ["user.x"],
    });
    assert_eq!(serde_json::to_value(EntryRecord::from(&entry)).unwrap(), expected);
}

#[test]
fn stats_add_up() {
    let mut stats = Stats { snapshots: 2, bytes_plain: 7, ..Stats::default() };
    stats.stored.insert("packs".into(), (3, 30));
    stats.stored.insert("outcomes".into(), (2, 4));
    let value = serde_json::to_value(StatsRecord::from(&stats)).unwrap();
    assert_eq!(value["bytes_stored"], json!(34));
    assert_eq!(value["stored"]["packs"], json!({"objects": 3, "bytes": 30}));
}

#[test]
fn times_outside_of_the_calendar_do_not_panic() {
    for at in [i64::MIN, -1, 0, i64::MAX] {
        assert!(!time(Timestamp(at)).is_empty());
        assert!(!super::local_time(Timestamp(at)).is_empty());
    }
}
