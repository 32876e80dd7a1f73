//! What counts as pressure, and that what is held back goes on.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;

use super::{Held, PERIOD, Pressure, held_back, parse};

#[test]
fn lines_of_the_kernel() {
    let check = |text: &str, expected: Option<f32>| assert_eq!(parse(text), expected, "{text}");
    check(
        "some avg10=1.25 avg60=0.0 avg300=0.0 total=1\nfull avg10=9.00 avg60=0 avg300=0 total=0\n",
        Some(1.25),
    );
    for bad in [
        "",
        "full avg10=1.0",
        "some avg60=1.0",
        "some avg10=",
        "some avg10=-1",
        "some avg10=NaN",
        "some avg10=101",
    ] {
        check(bad, None);
    }
}

#[test]
fn it_always_works_for_a_quarter_of_the_time() {
    let check = |memory: f32, io: f32, percent: u32| {
        assert_eq!(held_back(Pressure { memory, io }), PERIOD * percent / 100, "{memory} {io}");
    };
    check(0.0, 0.0, 0);
    check(4.9, 69.9, 0);
    check(0.0, 100.0, 25);
    check(5.0, 100.0, 50);
    check(100.0, 100.0, 75);
}

#[test]
fn who_was_held_back_goes_on() {
    let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    };
    let is = |expected: char| {
        while (state() == 'T') != (expected == 'T') {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let held = Held::new(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap());
    is('T');
    drop(held);
    is('S');
    child.kill().unwrap();
    child.wait().unwrap();
}
