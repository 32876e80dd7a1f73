//! Processes that stay: started in a session of their own, known by a file, and ended by it, also by a later process.
//!
//! A number alone may meanwhile be somebody else's: the file holds the time of its start too, and both must fit.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::places::Places;
use crate::shell::{tail, until};

const END_SECONDS: u64 = 10;
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Starts a process under this name. Its output goes to `log/NAME.log`.
pub(crate) fn start(places: &Places, name: &str, command: &mut Command) -> anyhow::Result<()> {
    let log = File::options().create(true).append(true).open(places.log(name)).context("open its log")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let pid = i32::try_from(child.id())?;
    let begun = begun(pid).with_context(|| format!("{name} ended at once"))?;
    fs::write(places.running().join(name), format!("{pid} {begun}"))?;
    // Reaps it, so that it does not stay behind as a zombie of a long test.
    std::thread::spawn(move || drop(child.wait()));
    Ok(())
}

/// The process id under which it runs, if it does.
pub(crate) fn find(places: &Places, name: &str) -> Option<i32> {
    let text = fs::read_to_string(places.running().join(name)).ok()?;
    let (pid, then) = text.split_once(' ')?;
    let pid = pid.parse().ok()?;
    (begun(pid)?.to_string() == then).then_some(pid)
}

/// Waits until `check` is true; fails as soon as the process has ended.
pub(crate) fn wait(
    places: &Places,
    name: &str,
    seconds: u64,
    mut check: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let ready = until(&format!("{name} answers"), seconds, || match (check(), find(places, name)) {
        (Ok(true), _) => Ok(Some(true)),
        (_, None) => Ok(Some(false)),
        (Ok(false), _) => Ok(None),
        (Err(error), _) => Err(error),
    });
    let log = || fs::read_to_string(places.log(name)).unwrap_or_default();
    match ready {
        Ok(true) => Ok(()),
        Ok(false) => bail!("{name} ended: {}", tail(&log())),
        Err(error) => Err(error.context(format!("the end of its log: {}", tail(&log())))),
    }
}

/// Ends a process and its group: asked first, killed after some seconds. Does nothing if it does not run.
pub(crate) fn stop(places: &Places, name: &str) {
    end(places, name, Signal::SIGTERM);
}

/// Kills it at once, as a crash would.
pub(crate) fn crash(places: &Places, name: &str) {
    end(places, name, Signal::SIGKILL);
}

fn end(places: &Places, name: &str, signal: Signal) {
    if let Some(pid) = find(places, name) {
        let group = Pid::from_raw(pid);
        let _ = killpg(group, signal).or_else(|_| kill(group, signal));
        let gone = || Ok(find(places, name).is_none().then_some(()));
        if until(name, END_SECONDS, gone).is_err() {
            let _ = killpg(group, Signal::SIGKILL);
            drop(until(name, END_SECONDS, gone));
        }
    }
    drop(fs::remove_file(places.running().join(name)));
}

/// All names under which something was started.
pub(crate) fn names(places: &Places) -> Vec<String> {
    let entries = fs::read_dir(places.running()).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// When a process began, in the kernel's ticks; none if there is none, or only its zombie.
pub(crate) fn begun(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") { None } else { fields.get(19)?.parse().ok() }
}

/// Kills every process of this program with a path below the folder among its arguments: what containers leave behind.
pub(crate) fn kill_naming(program: &str, folder: &Path) {
    let Some(folder) = folder.to_str() else { return };
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|b| *b == 0).map(String::from_utf8_lossy);
        let named = words.next().is_some_and(|first| first.ends_with(program));
        if named && words.any(|word| word.starts_with(folder)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    std::thread::sleep(TRY_EVERY);
}
