//! The progress line says rate, time left, and dedup, and never divides by zero.

use repository::monitor::Figures;

use super::{Show, line};

#[test]
fn a_line_has_rate_eta_and_dedup() {
    let now = Figures {
        bytes_done: 1 << 30,
        bytes_total: 3 << 30,
        bytes_new: 25,
        bytes_found: 75,
        files: 7,
        ..Figures::default()
    };
    assert_eq!(line(now, 128 << 20), "1.0 GiB of 3.0 GiB, 128.0 MiB/s, 16 s left, 7 files, 75 % dedup");
    let marking = Figures { entries: 12, ..Figures::default() };
    assert_eq!(line(marking, 0), "0 B of 0 B, 0 B/s, 12 entries");
    let stalled = Figures { entries_failed: 2, ..Figures::default() };
    assert_eq!(line(stalled, 0), "0 B of 0 B, 0 B/s, 0 files, 2 problems");
}

#[test]
fn quiet_shows_nothing() {
    assert_eq!(Show::choose(true, true), Show::Nothing);
    assert_eq!(Show::choose(false, true), Show::Bar);
    assert_eq!(Show::choose(false, false), Show::Lines);
}
