//! The state machine, as sequences of words.

use proto::job::{BackupSpec, Failure, Job, JobId, JobResult, JobSpec, RestoreSpec};
use repository::ErrorKind;
use repository::env::Timestamp;

use super::{Event, Record, State};
use crate::limits::ATTEMPTS_MAX;

fn record() -> Record {
    let job = Job { id: JobId([1; 16]), spec: JobSpec::Backup(BackupSpec::default()) };
    Record::new(job, None, Timestamp(0))
}

fn event(word: &str) -> Event {
    let failed = |kind| {
        let failure = Some(Failure { kind, what: "x".into() });
        Event::Finish("a".into(), Box::new(JobResult { failure, ..JobResult::default() }))
    };
    match word {
        "offer" => Event::Offer("a".into()),
        "accept" => Event::Accept("a".into()),
        "accept-other" => Event::Accept("b".into()),
        "decline" => Event::Decline("a".into()),
        "return" => Event::Return("a".into()),
        "return-other" => Event::Return("b".into()),
        "adopt" => Event::Adopt("a".into()),
        "lost" => Event::Lost,
        "cancel" => Event::Cancel,
        "offer-other" => Event::Offer("b".into()),
        "adopt-other" => Event::Adopt("b".into()),
        "finish-other" => Event::Finish("b".into(), Box::default()),
        "finish" => Event::Finish("a".into(), Box::default()),
        "fail" => failed(ErrorKind::Store),
        "stop" => failed(ErrorKind::Cancelled),
        other => panic!("{other}"),
    }
}

/// `events` as words; those that must not apply have a `!` in front.
fn check(events: &str, state: State) -> Record {
    let mut r = record();
    for (n, word) in events.split_whitespace().enumerate() {
        let expected = !word.starts_with('!');
        let applied = r.apply(event(word.trim_start_matches('!')), Timestamp(i64::try_from(n).unwrap()));
        assert_eq!(applied, expected, "{word} in {events}");
    }
    assert_eq!(r.state, state, "{events}");
    r
}

#[test]
fn the_straight_way() {
    let r = check("offer accept finish", State::Done);
    assert_eq!((r.attempts, r.started, r.finished), (1, Some(Timestamp(1)), Some(Timestamp(2))));
    check("offer accept fail", State::Failed);
    check("offer accept cancel stop", State::Cancelled);
}

#[test]
fn what_comes_late_or_twice_changes_nothing() {
    check("!accept", State::Queued);
    check("!decline", State::Queued);
    check("offer !offer !accept-other", State::Offered);
    check("offer accept !accept !decline finish !finish !fail !adopt !cancel !lost", State::Done);
    check("offer cancel !cancel", State::Offered);
}

#[test]
fn a_declined_job_waits_and_does_not_count() {
    let r = check("offer decline", State::Queued);
    assert_eq!((r.attempts, r.agent), (0, None));
    assert!(r.not_before > Timestamp(1));
}

#[test]
fn a_returned_job_waits_and_does_not_count() {
    let r = check("offer accept !return-other return", State::Queued);
    assert_eq!((r.attempts, r.agent), (0, None));
    assert!(r.not_before > Timestamp(3));
    check("!return", State::Queued);
    check("offer accept cancel return", State::Cancelled);
    check("offer accept finish !return", State::Done);
}

#[test]
fn a_lost_job_is_tried_again_but_not_for_ever() {
    assert_eq!(check("offer accept lost", State::Queued).attempts, 1);
    let all = "offer accept lost ".repeat(ATTEMPTS_MAX as usize);
    let r = check(&all, State::Failed);
    assert!(r.result.unwrap().failure.unwrap().what.contains("lost"));
}

#[test]
fn an_agent_that_still_holds_it_takes_it_over() {
    let mut held = Record::held(record().job, "a", Timestamp(0));
    assert!(held.apply(event("adopt"), Timestamp(1)) && held.apply(event("finish"), Timestamp(2)));
    check("offer adopt", State::Running);
    check("offer accept lost adopt finish", State::Done);
}

#[test]
fn only_agents_that_were_given_it_may_report_it() {
    check("!adopt !finish !fail", State::Queued);
    check("offer accept !adopt-other !finish-other", State::Running);
    // Lost and given out again: the first one's work counts, its failure does not.
    check("offer accept lost offer-other !fail !stop finish", State::Done);
    check("offer accept lost offer-other adopt finish-other", State::Done);
    assert_eq!(check("offer accept lost offer-other adopt", State::Running).agent.as_deref(), Some("a"));
}

#[test]
fn a_restore_that_only_its_agent_knows_stays_with_it() {
    let held = Record::held(record().job, "a", Timestamp(0));
    assert_eq!((held.wanted_agent, held.given_to), (None, vec!["a".to_owned()]));
    let spec = JobSpec::Restore(RestoreSpec {
        snapshot: repository::ids::Sid([1; 16]),
        path: Vec::new(),
        patterns: Vec::new(),
        target: b"/r".to_vec(),
        existing: repository::ops::restore::Existing::Fail,
    });
    let held = Record::held(Job { id: JobId([1; 16]), spec }, "a", Timestamp(0));
    assert_eq!(held.wanted_agent.as_deref(), Some("a"));
}

#[test]
fn a_wish_to_cancel_outlives_a_lost_agent() {
    check("cancel", State::Cancelled);
    check("offer cancel lost", State::Cancelled);
    check("offer accept cancel lost !adopt", State::Cancelled);
    // It ended before the wish reached it.
    check("offer accept cancel finish", State::Done);
}
