//! What may happen to a task, and what may not.

use proto::task::GcSpec;

use super::*;

fn at(n: i64) -> Timestamp {
    Timestamp::from_parts(n, 0)
}

fn task(events: &[Event]) -> Record {
    let spec = TaskSpec::Gc(GcSpec::default());
    let mut task = Record::new(TaskId([1; 16]), spec, SCHEDULE.to_owned(), String::new(), at(0));
    for (n, event) in (1..).zip(events) {
        assert!(task.apply(event.clone(), at(n)), "{event:?} in {task:?}");
    }
    task
}

fn finish(complete: bool) -> Event {
    Event::Finish(Box::new(TaskResult { complete, ..TaskResult::default() }))
}

#[test]
fn it_begins_once_and_ends_once() {
    let mut done = task(&[Event::Begin, finish(true)]);
    assert_eq!((done.state, done.started, done.finished), (State::Done, Some(at(1)), Some(at(2))));
    let before = done.clone();
    for event in [Event::Begin, Event::Interrupt, Event::Cancel, finish(false)] {
        assert!(!done.apply(event, at(9)));
    }
    assert_eq!(done, before);
    assert!(!task(&[Event::Begin]).apply(Event::Begin, at(9)), "never twice at once");
}

#[test]
fn what_was_interrupted_goes_on_but_not_for_ever() {
    let again = task(&[Event::Begin, Event::Interrupt, Event::Begin, finish(true)]);
    assert_eq!((again.state, again.attempts, again.started), (State::Done, 2, Some(at(1))));
    let mut tired = task(&[]);
    for _ in 0..TASK_ATTEMPTS_MAX {
        assert!(tired.apply(Event::Begin, at(1)) && tired.apply(Event::Interrupt, at(2)));
    }
    assert_eq!(tired.state, State::Failed);
    assert!(tired.result.unwrap().failure.unwrap().what.contains("given up"));
}

#[test]
fn cancelling_ends_it_now_or_as_soon_as_it_can() {
    assert_eq!(task(&[Event::Cancel]).state, State::Cancelled);
    let mut running = task(&[Event::Begin, Event::Cancel]);
    assert_eq!((running.state, running.cancel_requested), (State::Running, true));
    assert!(!running.apply(Event::Cancel, at(9)));
    assert!(running.apply(Event::Interrupt, at(9)));
    assert_eq!(running.state, State::Cancelled, "the coordinator stopped meanwhile");
}

#[test]
fn the_schedule_knows_how_it_ended() {
    let end = |events: &[Event]| task(events).as_last().map(|l| l.end);
    assert_eq!(end(&[Event::Begin]), None);
    assert_eq!(end(&[Event::Begin, finish(true)]), Some(End::Whole));
    assert_eq!(end(&[Event::Begin, finish(false)]), Some(End::More));
    assert_eq!(end(&[Event::Cancel]), Some(End::Whole));
    let failed = TaskResult::failed(&Error::new(ErrorKind::Store, "away"), Figures::default());
    assert_eq!(end(&[Event::Begin, Event::Finish(Box::new(failed))]), Some(End::Failed));
    let told = TaskSpec::Gc(GcSpec { dry_run: true, ..GcSpec::default() });
    let mut told = Record { spec: told, ..task(&[Event::Begin]) };
    told.apply(finish(true), at(3));
    assert_eq!(told.as_last(), None);
}

#[test]
fn waiting_for_a_turn_uses_no_attempt_up() {
    let mut record = task(&[]);
    for _ in 0..2 * TASK_ATTEMPTS_MAX {
        assert!(record.apply(Event::Begin, at(1)));
        assert!(record.apply(Event::InterruptWaiting, at(2)));
        assert_eq!((record.state, record.attempts), (State::Queued, 0));
    }
    assert!(record.apply(Event::Begin, at(3)) && record.apply(Event::Cancel, at(4)));
    assert!(record.apply(Event::InterruptWaiting, at(5)) && record.state.has_ended());
}
