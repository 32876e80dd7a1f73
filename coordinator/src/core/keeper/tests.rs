//! Who is known to live.

use proto::job::{BackupSpec, Job, JobId, JobSpec, RestoreSpec};
use repository::ids::Generation;
use repository::ops::restore::Existing;

use super::*;

fn job(spec: JobSpec, state: jobs::State) -> jobs::Record {
    let job = Job { id: JobId([1; 16]), spec };
    jobs::Record { state, ..jobs::Record::new(job, None, Timestamp(0)) }
}

fn backup(volume: &str) -> JobSpec {
    JobSpec::Backup(BackupSpec { volume: volume.to_owned(), ..BackupSpec::default() })
}

fn session(kind: SessionKind, volume: &str, snapshot: Option<Sid>) -> Registration {
    Registration {
        generation: Generation(0),
        kind,
        node: "n".to_owned(),
        volume: volume.to_owned(),
        carries: Vec::new(),
        started: Timestamp(0),
        snapshot,
    }
}

#[test]
fn what_agents_were_given_lives() {
    let restore = JobSpec::Restore(RestoreSpec {
        snapshot: Sid([7; 16]),
        path: Vec::new(),
        patterns: Vec::new(),
        target: b"/r".to_vec(),
        existing: Existing::Fail,
    });
    let live = Live::default();
    live.set(&[
        job(backup("v"), jobs::State::Running),
        job(backup("waits"), jobs::State::Queued),
        job(restore, jobs::State::Offered),
    ]);
    let knows = |kind, volume, snapshot| live.knows(&session(kind, volume, snapshot));
    assert!(knows(SessionKind::Write, "v", None));
    assert!(!knows(SessionKind::Write, "waits", None) && !knows(SessionKind::Gc, "v", None));
    assert!(knows(SessionKind::Read, "", Some(Sid([7; 16]))));
    assert!(!knows(SessionKind::Read, "", Some(Sid([8; 16]))) && !knows(SessionKind::Read, "v", None));
    live.set(&[]);
    assert!(!knows(SessionKind::Write, "v", None));
}
