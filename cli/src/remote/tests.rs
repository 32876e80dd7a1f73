//! What a run's end means for the exit code.

use proto::convert::{error_to_status, result_to_wire};
use proto::job::{Failure, JobResult};
use proto::v1::{self, RunState};
use repository::monitor::{Figures, Monitor};
use repository::{Error, ErrorKind};
use tonic::Status;

use super::{is_lost, outcome};

fn run(state: RunState, failure: Option<ErrorKind>) -> v1::Run {
    let failure = failure.map(|kind| Failure { kind, what: "why".to_owned() });
    let result = JobResult { failure, ..JobResult::default() };
    v1::Run { state: state.into(), result: Some(result_to_wire(&result)), ..v1::Run::default() }
}

#[test]
fn the_kind_of_a_failure_survives() {
    assert!(outcome(run(RunState::Done, None)).is_ok());
    for kind in [ErrorKind::Key, ErrorKind::Store, ErrorKind::Source, ErrorKind::Cancelled] {
        assert_eq!(outcome(run(RunState::Failed, Some(kind))).unwrap_err().kind(), kind);
    }
    assert_eq!(outcome(run(RunState::Cancelled, None)).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(outcome(run(RunState::Failed, None)).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn a_broken_connection_is_no_answer() {
    assert!(is_lost(&Status::unknown("h2 protocol error")));
    assert!(is_lost(&Status::unavailable("tcp connect error")));
    assert!(!is_lost(&error_to_status(&Error::new(ErrorKind::Internal, "a bug"))));
    assert!(!is_lost(&Status::not_found("no run")));
}

#[test]
fn progress_only_grows() {
    let monitor = Monitor::default();
    let at = |bytes_done| Figures { bytes_done, ..Figures::default() };
    monitor.raise(&at(0), &at(10));
    monitor.raise(&at(10), &at(3));
    monitor.raise(&at(3), &at(5));
    assert_eq!(monitor.figures().bytes_done, 12);
}
