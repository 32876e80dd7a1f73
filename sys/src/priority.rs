//! Priorities of the calling thread that no safe library sets. Threads that it starts later inherit them.
//!
//! Only for a process that gives way to all others; nothing here raises a priority.

use std::io;

/// `IOPRIO_CLASS_IDLE`, shifted to where the class stands.
const IOPRIO_IDLE: libc::c_long = 3 << 13;
/// `IOPRIO_WHO_PROCESS`; 0 then means the calling thread.
const IOPRIO_WHO_PROCESS: libc::c_long = 1;

/// The scheduler shall treat this thread as work that nobody waits for.
pub fn schedule_as_batch() -> io::Result<()> {
    let parameters = no_priority();
    // SAFETY: 0 is the calling thread; the structure outlives the call, which only reads it.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The disks shall serve this thread when nobody else asks.
pub fn read_when_idle() -> io::Result<()> {
    // SAFETY: the call takes three numbers and touches no memory of ours.
    let done =
        unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0 as libc::c_long, IOPRIO_IDLE) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The only one of this class. Some C libraries have more fields in it than others.
fn no_priority() -> libc::sched_param {
    // SAFETY: a structure of integers, for which zero bytes are a value.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests;
