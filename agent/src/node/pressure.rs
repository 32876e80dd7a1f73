//! Gives way while the machine is short of something: a backup can wait, a workload can't.
//!
//! The kernel tells how much of the last seconds some task had to wait (PSI), and its own children are among them. So what is held back is bounded: a
//! child works at least a quarter of the time, and pressure that it makes itself costs it no more than a quarter.

use std::convert::Infallible;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rustix::process::{Pid, Signal, kill_process};

/// Looked at so often; a child is held back for a part of this.
const PERIOD: Duration = Duration::from_secs(1);

/// Percent of the last ten seconds in which some task waited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pressure {
    memory: f32,
    io: f32,
}

/// For how long of each period a child is held back.
fn held_back(now: Pressure) -> Duration {
    let percent = match now {
        Pressure { memory, .. } if memory >= 20.0 => 75,
        Pressure { memory, .. } if memory >= 5.0 => 50,
        Pressure { io, .. } if io >= 70.0 => 25,
        Pressure { .. } => 0,
    };
    PERIOD * percent / 100
}

/// `some avg10=0.42 avg60=...`; `None` for what makes no sense.
fn parse(text: &str) -> Option<f32> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let value = some.split(' ').find_map(|field| field.strip_prefix("avg10="))?;
    value.parse().ok().filter(|v: &f32| (0.0..=100.0).contains(v))
}

/// A kernel without it knows no pressure.
fn read() -> Pressure {
    let of = |what: &str| {
        let text = std::fs::read_to_string(format!("/proc/pressure/{what}")).ok();
        text.and_then(|text| parse(&text)).unwrap_or_default()
    };
    Pressure { memory: of("memory"), io: of("io") }
}

/// Holds a child back, for as long as it is polled; dropped in the middle, the child goes on.
pub(crate) async fn give_way(child: Option<u32>, count: &Counter) -> Infallible {
    let pid = child.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(pid) = pid else { return std::future::pending().await };
    loop {
        let stop = held_back(read());
        if !stop.is_zero() {
            let _held = Held::new(pid);
            count.inc();
            tokio::time::sleep(stop).await;
        }
        tokio::time::sleep(PERIOD - stop).await;
    }
}

/// A stopped process; it goes on when this is dropped. A child that has ended is not reaped before: its id is nobody else's.
struct Held(Pid);

impl Held {
    fn new(pid: Pid) -> Self {
        // One that has ended needs none.
        let _ended = kill_process(pid, Signal::STOP);
        Self(pid)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ended = kill_process(self.0, Signal::CONT);
    }
}

#[cfg(test)]
mod tests;
