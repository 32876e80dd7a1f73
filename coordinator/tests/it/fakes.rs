//! A repository and a worker that do what a test tells them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coordinator::engine::{Engine, Upkeep};
use futures::{StreamExt as _, stream};
use proto::job::{JobResult, JobSpec};
use repository::env::Timestamp;
use repository::ids::{BlobId, BlobRef, PackId, Place, Sid};
use repository::index::Lookup;
use repository::items::entry::{Entry, Kind, Meta};
use repository::manifest::audit::{Event, Record};
use repository::manifest::{Manifest, Summary};
use repository::ops::audit::Filter;
use repository::ops::browse::{Change, ResultStream};
use repository::ops::forget::Because;
use repository::ops::gc::{GcReport, GcRequest};
use repository::ops::proofs::Health;
use repository::ops::repair::index::{IndexReport, IndexRequest};
use repository::ops::repair::quarantine::{Fate, LiftReport, Looked};
use repository::ops::repair::snapshots::{SnapshotReport, SnapshotRequest};
use repository::ops::restore_test::{TestReport, TestRequest};
use repository::ops::scrub::{ScrubReport, ScrubRequest};
use repository::ops::snapshots::{Snapshot, Stats};
use repository::ops::verify::{Level, VerifyReport};
use repository::ops::{Problems, Task};
use repository::retention::{Candidate, Plan, Quality};
use repository::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

pub(crate) fn snapshot(n: u8, volume: &str, started: Timestamp) -> Snapshot {
    let place = Place { pack: PackId { sid: Sid([n; 16]), rnd: [0; 8] }, ordinal: 0 };
    let blob = BlobRef { id: BlobId([n; 32]), place };
    let manifest = Manifest {
        volume: volume.into(),
        host: "old-host".into(),
        path: b"/old".to_vec(),
        started,
        finished: started,
        parent: None,
        tags: Vec::new(),
        entries: 1,
        files: 1,
        bytes: 1,
        bytes_new: 1,
        bytes_stored: 1,
        problems: 0,
        changed: 0,
        root: blob,
        root_usage: blob,
        summary: Summary::Inline(Vec::new()),
        identity: None,
        copied: None,
        repaired: None,
        origin: None,
    };
    Snapshot { id: Sid([n; 16]), manifest }
}

/// A repository of some snapshots; its files are all named after numbers.
#[derive(Debug, Default)]
pub(crate) struct FakeEngine {
    pub(crate) snapshots: Mutex<Vec<Snapshot>>,
    pub(crate) entries: usize,
    /// GC runs wait for one permit each.
    pub(crate) collecting: Option<Arc<Semaphore>>,
    /// What was asked for: `forget <ids>`, `gc`, ..., and by whom.
    pub(crate) asked: Mutex<Vec<(String, Because)>>,
}

impl FakeEngine {
    pub(crate) fn note(&self, what: impl Into<String>, because: &Because) {
        self.asked.lock().unwrap().push((what.into(), because.clone()));
    }

    /// How often something was asked for.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| asked.starts_with(what)).count()
    }
}

#[async_trait]
impl Upkeep for FakeEngine {
    async fn candidates(&self, volume: Option<&str>) -> Result<(Vec<Candidate>, Vec<Error>)> {
        let all = self.snapshots.lock().unwrap().clone();
        let candidate = |s: Snapshot| Candidate {
            id: s.id,
            volume: s.manifest.volume,
            recorded: s.manifest.started,
            tags: s.manifest.tags,
            quality: Quality::Good,
            pinned: false,
        };
        let chosen = all.into_iter().filter(|s| volume.is_none_or(|v| s.manifest.volume == v));
        Ok((chosen.map(candidate).collect(), Vec::new()))
    }

    async fn forget(&self, plan: &Plan, because: &Because, _: &Task) -> (u64, Result<()>) {
        let ids: Vec<Sid> = plan.forgotten().map(|c| c.id).collect();
        self.note(format!("forget {}", ids.len()), because);
        self.snapshots.lock().unwrap().retain(|s| !ids.contains(&s.id));
        (ids.len() as u64, Ok(()))
    }

    async fn unforget(&self, snapshot: &str, because: &Because) -> Result<(Sid, Sid)> {
        self.note(format!("unforget {snapshot}"), because);
        Ok((Sid([1; 16]), Sid([2; 16])))
    }

    async fn pin(&self, of: &Snapshot, pinned: bool, because: &Because) -> Result<()> {
        self.note(format!("pin {pinned} {}", of.id), because);
        Ok(())
    }

    async fn health(&self, _: &[Snapshot]) -> Result<BTreeMap<Sid, Health>> {
        Ok(BTreeMap::new())
    }

    async fn collect(&self, request: GcRequest, because: &Because, task: &Task) -> Result<GcReport> {
        self.note("gc", because);
        task.monitor.packs.add(1);
        if let Some(gate) = &self.collecting {
            tokio::select! {
                permit = gate.acquire() => permit.unwrap().forget(),
                () = task.cancel.cancelled() => task.check()?,
            }
        }
        let deleted = u64::from(!request.dry_run);
        Ok(GcReport { packs: 5, condemned: 1, deleted, done: !request.dry_run, ..GcReport::default() })
    }

    async fn scrub(&self, request: &ScrubRequest, because: &Because, _: &Task) -> Result<ScrubReport> {
        self.note(format!("scrub {:?}", request.bytes_max), because);
        let mut problems = Problems::default();
        problems.push(b"p/x", "a frame is damaged");
        Ok(ScrubReport { packs: 3, never: 2, problems, ..ScrubReport::default() })
    }

    async fn choose_tests(&self, _: &[String], volumes_max: usize) -> Result<Vec<Snapshot>> {
        Ok(self.snapshots.lock().unwrap().iter().take(volumes_max).cloned().collect())
    }

    async fn test_restore(&self, of: &Snapshot, request: &TestRequest, _: &Task) -> Result<TestReport> {
        let because = Because { by: request.by.clone(), why: String::new() };
        self.note(format!("test {}", of.manifest.volume), &because);
        Ok(TestReport { files: 1, ..TestReport::default() })
    }

    async fn repair_index(&self, _: IndexRequest, because: &Because, _: &Task) -> Result<IndexReport> {
        self.note("repair index", because);
        Ok(IndexReport { packs: 4, ..IndexReport::default() })
    }

    async fn lift_quarantine(&self, dry_run: bool, because: &Because, _: &Task) -> Result<LiftReport> {
        self.note(format!("lift {dry_run}"), because);
        let looked = |n, fate| Looked { pack: PackId { sid: Sid([n; 16]), rnd: [n; 8] }, fate };
        Ok(LiftReport { packs: vec![looked(1, Fate::Lifted { blobs: 3 }), looked(2, Fate::Gone)] })
    }

    async fn damaged_snapshots(&self, all: &[Snapshot]) -> Result<Vec<Snapshot>> {
        Ok(all.to_vec())
    }

    async fn repair_snapshot(
        &self,
        of: &Snapshot,
        _: &[Snapshot],
        request: &SnapshotRequest,
        _: &Task,
    ) -> Result<SnapshotReport> {
        let because = Because { by: request.by.clone(), why: String::new() };
        self.note(format!("repair {}", of.id), &because);
        Ok(SnapshotReport {
            snapshot: of.id,
            volume: of.manifest.volume.clone(),
            copy: None,
            sound: true,
            lost: Problems::default(),
            forgotten: false,
        })
    }

    async fn audit(&self, _: &Filter) -> Result<(Vec<Record>, Vec<Error>)> {
        let event = Event::Keys("rotated".into());
        let record = Record { at: Timestamp(5), by: "me".into(), host: "h".into(), event };
        Ok((vec![record], vec![Error::new(ErrorKind::Damaged, "a/x is damaged")]))
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn snapshots_light(&self, _: &[Arc<Snapshot>]) -> Result<(Vec<Arc<Snapshot>>, Vec<Error>)> {
        let (all, damaged) = self.snapshots().await?;
        Ok((all.into_iter().map(Arc::new).collect(), damaged))
    }

    async fn snapshots(&self) -> Result<(Vec<Snapshot>, Vec<Error>)> {
        let damaged = Error::new(ErrorKind::Damaged, "outcome x is damaged");
        Ok((self.snapshots.lock().unwrap().clone(), vec![damaged]))
    }

    async fn snapshot(&self, spec: &str, _volume: Option<&str>) -> Result<Snapshot> {
        let all = self.snapshots.lock().unwrap();
        let found = all.iter().find(|s| spec == "latest" || s.id.to_string() == spec);
        found.cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no snapshot {spec}")))
    }

    async fn find_blobs(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>> {
        Ok(ids.iter().map(|id| (id.0[0] % 2 == 0).then(|| place(id))).collect())
    }

    async fn refresh_index(&self) -> Result<()> {
        Ok(())
    }

    fn list(&self, _: &Snapshot, _: &[u8], _: bool) -> ResultStream<Entry> {
        let entry = |n: usize| Entry {
            path: n.to_string().into_bytes(),
            meta: Meta::default(),
            size: 0,
            changed_during_read: false,
            kind: Kind::Fifo,
        };
        stream::iter(0..self.entries).map(move |n| Ok(entry(n))).boxed()
    }

    fn find(&self, _: &Snapshot, patterns: &[String]) -> Result<ResultStream<Entry>> {
        Err(Error::new(ErrorKind::Input, format!("bad pattern {patterns:?}")))
    }

    fn cat(&self, _: &Snapshot, path: &[u8]) -> ResultStream<Bytes> {
        let bad = Error::new(ErrorKind::Damaged, format!("blob of {}", String::from_utf8_lossy(path)));
        stream::iter([Ok(Bytes::from(vec![7; 3 << 20])), Err(bad)]).boxed()
    }

    fn diff(&self, _: &Snapshot, _: &Snapshot) -> ResultStream<Change> {
        stream::empty().boxed()
    }

    async fn verify(&self, _: &Snapshot, _: &Level, _: &Task) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        report.problems.push(b"p/x", "missing");
        Ok(report)
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(Stats { snapshots: 4, ..Stats::default() })
    }
}

pub(crate) fn place(id: &BlobId) -> Place {
    Place { pack: PackId { sid: Sid([id.0[0]; 16]), rnd: [1; 8] }, ordinal: u32::from(id.0[1]) }
}

/// The local index of an agent: knows nothing.
#[derive(Debug, Default)]
pub(crate) struct EmptyLookup(pub(crate) AtomicUsize);

#[async_trait]
impl Lookup for EmptyLookup {
    async fn find(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>> {
        self.0.fetch_add(ids.len(), Ordering::SeqCst);
        Ok(vec![None; ids.len()])
    }
}

/// Works on each job until it is let go, or cancelled.
#[derive(Debug)]
pub(crate) struct FakeExecutor {
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) begun: Mutex<HashMap<String, usize>>,
    pub(crate) result: Mutex<JobResult>,
}

impl Default for FakeExecutor {
    fn default() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), begun: Mutex::default(), result: Mutex::default() }
    }
}

impl FakeExecutor {
    /// How often work on a volume (or a restore) was begun.
    pub(crate) fn begun(&self, what: &str) -> usize {
        self.begun.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    /// Lets one job end.
    pub(crate) fn let_go(&self) {
        self.gate.add_permits(1);
    }

    /// Lets jobs end like this.
    pub(crate) fn end_with(&self, snapshot: Option<Snapshot>, problems: Problems) {
        *self.result.lock().unwrap() = JobResult { snapshot, problems, ..JobResult::default() };
    }
}

#[async_trait]
impl agent::Executor for FakeExecutor {
    async fn execute(&self, spec: &JobSpec, task: &Task) -> agent::Outcome {
        let what = spec.volume().unwrap_or("restore").to_owned();
        *self.begun.lock().unwrap().entry(what).or_default() += 1;
        task.monitor.bytes_read.add(42);
        let mut going = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                permit = self.gate.acquire() => {
                    permit.unwrap().forget();
                    let mut result = self.result.lock().unwrap().clone();
                    result.figures = task.monitor.figures();
                    return result.into();
                }
                () = task.cancel.cancelled() => {
                    let e = Error::new(ErrorKind::Cancelled, "cancelled");
                    return JobResult::failed(&e, task.monitor.figures()).into();
                }
                _ = going.tick() => task.monitor.entries.add(1),
            }
        }
    }
}
