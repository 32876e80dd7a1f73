//! What goes wrong in the middle of a backup: it ends well all the same, and no application waits for it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cluster::run;
use serde_json::Value;

use super::backups::{begin, ended, restored, runs};
use crate::apps::{self, Claim, IDLE, Kind};
use crate::stage::{SYSTEM, Stage};
use crate::tree;

/// What a backup of takes some seconds.
const LARGE_MEBIBYTES: u32 = 400;
/// How much longer than without a backup an application's end may take.
const LONGER_MAX: Duration = Duration::from_secs(5);

/// A claim with a pod, and so much in it that a backup takes a while.
fn large(stage: &Stage, name: &str, node: usize) -> anyhow::Result<Claim> {
    apps::namespace(stage, "faults")?;
    let claim = apps::claim(stage, &format!("faults/{name}"), node, Kind::Local)?;
    for part in 0..4 {
        let out = format!("of={}", claim.folder.join(format!("part-{part}")).display());
        let count = format!("count={}", LARGE_MEBIBYTES / 4);
        run(Command::new("dd").args(["if=/dev/urandom", &out, "bs=1M", &count, "status=none"]), None)?;
    }
    apps::pod(stage, &claim, IDLE)?;
    Ok(claim)
}

/// Backs a large claim up, does something to it in the middle, and checks what came of it.
fn disturbed(
    stage: &Stage,
    name: &str,
    fault: impl FnOnce(&Claim) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let claim = large(stage, name, 2)?;
    begin(stage, &claim, name)?;
    runs(stage, &claim, name)?;
    fault(&claim)?;
    let id = ended(stage, &claim, name, 300)?;
    let expected = tree::read(&claim.folder)?;
    tree::same(name, &expected, &restored(stage, &id)?)?;
    clean(stage, &claim)
}

fn clean(stage: &Stage, claim: &Claim) -> anyhow::Result<()> {
    let words = [
        "delete",
        "pod",
        "-n",
        &claim.namespace,
        &claim.name,
        "--grace-period=0",
        "--force",
        "--ignore-not-found",
    ];
    stage.access.kubectl(&words)?;
    empty(&claim.folder)
}

fn empty(folder: &Path) -> anyhow::Result<()> {
    run(Command::new("find").arg(folder).args(["-mindepth", "1", "-delete"]), None).map(drop)
}

/// The pods of a component; each with its node's number and its container's id.
fn pods(stage: &Stage, component: &str) -> anyhow::Result<Vec<(String, usize, String)>> {
    let label = format!("app.kubernetes.io/component={component}");
    let list = stage.access.list(&["pods", "-n", SYSTEM, "-l", &label])?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let of = |pod: &Value| {
        let node =
            text(&pod["spec"]["nodeName"]).trim_start_matches("node").parse().context("a node's number")?;
        Ok((
            text(&pod["metadata"]["name"]),
            node,
            text(&pod["status"]["containerStatuses"][0]["containerID"]),
        ))
    };
    list.iter().map(of).collect()
}

/// The agent that reads is killed.
pub(crate) fn agent_killed(stage: &Stage) -> anyhow::Result<()> {
    disturbed(stage, "agent-killed", |claim| {
        let agents = pods(stage, "agent")?;
        let (_, node, id) = agents.iter().find(|a| a.1 == claim.node).context("the node's agent")?;
        stage.own()?.kill_container(*node, id)
    })
}

/// The coordinator that leads is killed.
pub(crate) fn leader_killed(stage: &Stage) -> anyhow::Result<()> {
    let holder = |stage: &Stage| -> anyhow::Result<String> {
        let lease = stage.access.get(&["lease", "-n", SYSTEM, "holdfast-coordinator"])?;
        Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
    };
    disturbed(stage, "leader-killed", |_| {
        let before = holder(stage)?;
        let all = pods(stage, "coordinator")?;
        let (_, node, id) =
            all.iter().find(|p| before.starts_with(&p.0)).with_context(|| format!("the pod of {before}"))?;
        stage.own()?.kill_container(*node, id)?;
        cluster::until("another one leads", 60, || {
            let now = holder(stage)?;
            Ok((!now.is_empty() && now != before).then_some(()))
        })
    })
}

/// The node's kubelet is killed and comes back.
pub(crate) fn kubelet_killed(stage: &Stage) -> anyhow::Result<()> {
    disturbed(stage, "kubelet-killed", |claim| {
        let own = stage.own()?;
        own.crash_kubelet(claim.node);
        own.until_ready(claim.node, false, 60)?;
        own.start_kubelet(claim.node)?;
        own.until_ready(claim.node, true, 60)
    })
}

/// The node is cut off, until the API takes it for lost, and comes back.
pub(crate) fn node_cut_off(stage: &Stage) -> anyhow::Result<()> {
    disturbed(stage, "cut-off", |claim| {
        let own = stage.own()?;
        own.cut(claim.node)?;
        let lost = own.until_ready(claim.node, false, 90);
        own.heal(claim.node)?;
        lost?;
        own.until_ready(claim.node, true, 90)
    })
}

/// A pod that is deleted in the middle of its volume's backup is gone as soon as without one.
pub(crate) fn deletion_does_not_wait(stage: &Stage) -> anyhow::Result<()> {
    let claim = large(stage, "deleted", 1)?;
    let delete = || -> anyhow::Result<Duration> {
        let begun = Instant::now();
        stage.access.kubectl(&["delete", "pod", "-n", "faults", "deleted", "--timeout=60s"])?;
        Ok(begun.elapsed())
    };
    let usual = delete()?;
    apps::pod(stage, &claim, IDLE)?;
    begin(stage, &claim, "deleted")?;
    runs(stage, &claim, "deleted")?;
    let beside = delete()?;
    ensure!(
        beside < usual + LONGER_MAX,
        "the pod left after {beside:?} beside a backup, else after {usual:?}"
    );
    // Where the volume is again, its backup goes on.
    apps::pod(stage, &claim, IDLE)?;
    let id = ended(stage, &claim, "deleted", 300)?;
    tree::same("after the pod came back", &tree::read(&claim.folder)?, &restored(stage, &id)?)?;
    clean(stage, &claim)
}

/// What reads a volume is confined, in the real pod as well.
pub(crate) fn readers_are_confined(stage: &Stage) -> anyhow::Result<()> {
    let claim = large(stage, "confined", 1)?;
    begin(stage, &claim, "confined")?;
    let status = cluster::until("a volume is being read", 60, || {
        let found = run(
            Command::new("pgrep").args([
                "-f",
                "^/bin/holdfast volume-worker|^/proc/self/exe volume-worker|holdfast volume-worker",
            ]),
            None,
        )?;
        let statuses =
            found.lines().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
        // Before it has confined itself it has read nothing.
        Ok(statuses.into_iter().find(|s| field(s, "Seccomp_filters").parse::<u32>().is_ok_and(|n| n >= 2)))
    })?;
    ensure!(field(&status, "NoNewPrivs") == "1" && field(&status, "Seccomp") == "2", "{status}");
    // DAC_READ_SEARCH alone: to read what only its owner may.
    ensure!(field(&status, "CapEff") == "0000000000000004", "{status}");
    ended(stage, &claim, "confined", 120)?;
    clean(stage, &claim)
}

fn field<'t>(status: &'t str, name: &str) -> &'t str {
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).unwrap_or_default()
}

/// A pod that swaps folders for links to what is not its own, as fast as it can, gets nothing of that into its backups.
pub(crate) fn swapped_for_links(stage: &Stage) -> anyhow::Result<()> {
    apps::namespace(stage, "faults")?;
    let claim = apps::claim(stage, "faults/hostile", 1, Kind::Local)?;
    let swap = "mkdir -p /data/real; for i in $(seq 300); do echo mine > /data/real/f$i; done; \
                while true; do mv /data/real /data/kept; ln -s /etc /data/real; rm /data/real; ln -s /var/run/secrets /data/real; rm /data/real; \
                mv /data/kept /data/real; done";
    apps::pod(stage, &claim, swap)?;
    for round in 0..3 {
        let name = format!("hostile-{round}");
        begin(stage, &claim, &name)?;
        let over = |o: &Value| matches!(o["status"]["phase"].as_str(), Some("Done" | "Partial" | "Failed"));
        let words = ["backups.holdfast.dev", "-n", "faults", &name];
        let status = stage.access.until("the backup ends", 120, &words, over)?["status"].clone();
        let Some(id) = status["volumes"][0]["snapshot"].as_str() else { continue };
        for (path, what) in restored(stage, id)? {
            let mine = ["", "real", "kept"].contains(&path.as_str()) || path.contains("/f");
            ensure!(mine, "the snapshot holds {path}: {what}");
            ensure!(
                !what.starts_with("file") || what.starts_with("file of 5 bytes"),
                "{path} is not the pod's: {what}"
            );
        }
    }
    clean(stage, &claim)
}
