//! Ends: of the agent, of a child, and of what they hold.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{MIB, Node, backup, start, volume};
use crate::data::tree;
use crate::process::{eventually, now};

/// A node in the middle of a backup of its only volume.
fn busy() -> Option<(Node, std::path::PathBuf)> {
    let mut node = Node::find()?;
    let path = node.host.mount("u-1", "pv-1");
    tree(&node.host.inside(&path), 640 * MIB, 1);
    node.plan(vec![volume("v", &[("u-1", "pv-1")])]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", backup(1, "v"));
    // So much that some of it is in the store.
    node.fake.reads(96 * MIB as u64);
    Some((node, path))
}

impl Node {
    /// The only child.
    pub(crate) fn child(&self) -> u32 {
        let file = format!("/proc/{0}/task/{0}/children", self.agent.id());
        let all = || std::fs::read_to_string(&file).unwrap();
        // Threads have children of their own.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.agent.id())).unwrap();
        let of_threads = tasks.map(|t| std::fs::read_to_string(t.unwrap().path().join("children")).unwrap());
        let all: String = of_threads.chain([all()]).collect::<Vec<_>>().join(" ");
        all.split_whitespace().next().unwrap().parse().unwrap()
    }
}

#[test]
fn an_agent_that_is_rolled_goes_on_where_it_was() {
    let Some((mut node, path)) = busy() else { return };
    node.agent.signal(Signal::SIGTERM);
    let since = now();
    let gone = node.host.outside().start(&["--version"]);
    assert_eq!(std::mem::replace(&mut node.agent, gone).ends().code, Some(0));
    assert!(since.elapsed().as_secs() < 15, "{:?}", since.elapsed());
    assert!(node.host.run(&["test", "-d", path.to_str().unwrap()]));
    node.agent = start(&node.host, &node.fake, &["node"]);
    node.fake.is_offered("default", &["v"]);
    node.fake.offer("default", backup(1, "v"));
    // The first agent must not have said anything of the job's end.
    let done = node.fake.finished();
    assert!(done.failure.is_none(), "{done:?}");
    assert!(done.figures.bytes_found > 8 * MIB as u64, "{:?}", done.figures);
    node.restores("v", &node.host.inside(&path));
}

#[test]
fn a_killed_child_is_a_failed_job_and_leaves_nothing_open() {
    let Some((mut node, path)) = busy() else { return };
    kill(Pid::from_raw(i32::try_from(node.child()).unwrap()), Signal::SIGKILL).unwrap();
    let failure = node.fake.finished().failure.unwrap();
    assert!(failure.what.contains("signal: 9"), "{}", failure.what);
    assert!(node.host.unmount(&path));
}

#[test]
fn a_killed_agent_takes_its_children_along() {
    let Some((mut node, path)) = busy() else { return };
    let since = now();
    node.agent.kill();
    eventually("unmounted", || node.host.unmount(&path));
    assert!(since.elapsed().as_secs_f64() < 2.0, "{:?}", since.elapsed());
}

#[test]
fn a_child_stays_within_its_share_of_the_memory() {
    let Some((mut node, _)) = busy() else { return };
    let child = node.child();
    // The most that it has had is told as long as it lives.
    let watching = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(kib) = peak_kib(child) {
            peak = kib >> 10;
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        peak
    });
    assert!(node.fake.finished().failure.is_none());
    let peak = watching.join().unwrap();
    let share = super::MEMORY_MIB / 2;
    assert!(peak > 16 && peak < share + PROGRAM_MIB_MAX, "{peak} MiB of {share}");
}

fn peak_kib(process: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The program itself, its stacks, and what a job needs before it reads anything.
const PROGRAM_MIB_MAX: usize = 64;
