//! Who may do what: each thing that must be refused is tried, and beside it one that must not.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use cluster::oci::BUSYBOX_IMAGE;
use cluster::run;

use crate::apps;
use crate::stage::{SYSTEM, Stage};

const COORDINATOR: &str = "system:serviceaccount:holdfast-system:holdfast-coordinator";

/// Whether the API lets `who` do this; `what` is as `kubectl auth can-i` wants it.
fn may(stage: &Stage, who: &[&str], what: &str) -> anyhow::Result<bool> {
    let words: Vec<&str> =
        ["auth", "can-i"].into_iter().chain(what.split(' ')).chain(who.iter().copied()).collect();
    // It ends with 1 for a no: the answer is in its words.
    let out = stage.access.command(&stage.access.kubectl).args(&words).output().context("ask kubectl")?;
    match String::from_utf8_lossy(&out.stdout).trim() {
        "yes" => Ok(true),
        answer if answer.starts_with("no") => Ok(false),
        _ => anyhow::bail!("{what}: {}", String::from_utf8_lossy(&out.stderr)),
    }
}

fn check(stage: &Stage, who: &[&str], allowed: &[&str], refused: &[&str]) -> anyhow::Result<()> {
    for what in allowed {
        ensure!(may(stage, who, what)?, "{who:?} must be allowed to {what}");
    }
    for what in refused {
        ensure!(!may(stage, who, what)?, "{who:?} must not be allowed to {what}");
    }
    Ok(())
}

/// The accounts of coordinator, agents and movers.
pub(crate) fn own_accounts(stage: &Stage) -> anyhow::Result<()> {
    let allowed = [
        "list pods -A",
        "watch persistentvolumeclaims -A",
        "watch persistentvolumes",
        "list storageclasses.storage.k8s.io",
        "watch nodes",
        "create tokenreviews.authentication.k8s.io",
        "create events.events.k8s.io -n default",
        "update repositories.holdfast.dev/dev --subresource=status",
        "create snapshots.holdfast.dev -n default",
        "delete snapshots.holdfast.dev -n default",
        "get secrets/holdfast-dev -n holdfast-system",
        "update secrets/holdfast-tls -n holdfast-system",
        "update configmaps/holdfast-ca -n holdfast-system",
        "update leases.coordination.k8s.io/holdfast-coordinator -n holdfast-system",
        "create pods -n holdfast-system",
        "create persistentvolumeclaims -n holdfast-system",
        "create persistentvolumes",
        "delete backups.holdfast.dev -n default",
    ];
    let refused = [
        "get secrets -n default",
        "list secrets -A",
        "update secrets/holdfast-dev -n holdfast-system",
        "delete secrets -n holdfast-system",
        "create pods -n default",
        "delete pods -n default",
        "create pods -n default --subresource=exec",
        "delete persistentvolumeclaims -n default",
        "create persistentvolumeclaims -n default",
        "update persistentvolumes",
        "delete namespaces",
        "create repositories.holdfast.dev",
        "delete repositories.holdfast.dev",
        "update backuppolicies.holdfast.dev",
        "create serviceaccounts -n holdfast-system --subresource=token",
        "update nodes",
        "create clusterrolebindings.rbac.authorization.k8s.io",
        "update configmaps -n holdfast-system",
        "update leases.coordination.k8s.io -n kube-system",
        "update daemonsets.apps -n holdfast-system",
    ];
    check(stage, &["--as", COORDINATOR], &allowed, &refused)?;
    own_volumes(stage)?;
    for account in ["holdfast-agent", "holdfast-mover"] {
        let who = format!("system:serviceaccount:{SYSTEM}:{account}");
        let nothing = [
            "list pods -A",
            "get secrets -n holdfast-system",
            "list nodes",
            "list persistentvolumes",
            "get snapshots.holdfast.dev -A",
            "create tokenreviews.authentication.k8s.io",
            "get configmaps -n holdfast-system",
        ];
        check(stage, &["--as", &who], &[], &nothing)?;
        ensure!(
            rules(stage, &who)? == rules(stage, "system:serviceaccount:holdfast-system:unheard-of")?,
            "{account} may do more than an account that nobody gave anything"
        );
    }
    Ok(())
}

/// Of volumes the coordinator makes and deletes those for restores only, and none that goes with its data.
fn own_volumes(stage: &Stage) -> anyhow::Result<()> {
    let volume = |name: &str, reclaim: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "", "persistentVolumeReclaimPolicy": reclaim,
            "claimRef": {"namespace": SYSTEM, "name": name}, "hostPath": {"path": "/srv/nothing"}}})
    };
    stage.access.apply_json(&[volume("somebodys", "Retain")])?;
    let delete = ["delete", "persistentvolume", "somebodys", "--dry-run=server", "--as", COORDINATOR];
    let said =
        stage.access.kubectl(&delete).err().context("the coordinator can delete a volume of others")?;
    ensure!(format!("{said:#}").contains("volumes for restores only"), "{said:#}");
    for (name, reclaim, good) in [
        ("holdfast-restore-x", "Retain", true),
        ("holdfast-restore-x", "Delete", false),
        ("other", "Retain", false),
    ] {
        let text = volume(name, reclaim).to_string();
        let words = ["create", "--dry-run=server", "--as", COORDINATOR, "-f", "-"];
        let made = run(stage.access.command(&stage.access.kubectl).args(words), Some(text.as_bytes()));
        ensure!(made.is_ok() == good, "volume {name} with {reclaim}: {made:?}");
    }
    stage.access.kubectl(&["delete", "persistentvolume", "somebodys"]).map(drop)
}

/// All that an account may do in our namespace.
fn rules(stage: &Stage, who: &str) -> anyhow::Result<String> {
    stage.access.kubectl(&["auth", "can-i", "--list", "--as", who, "-n", SYSTEM])
}

/// People with the usual roles in a namespace.
pub(crate) fn users(stage: &Stage) -> anyhow::Result<()> {
    apps::namespace(stage, "team")?;
    for role in ["view", "edit", "admin"] {
        stage.access.apply_json(&[json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": "team"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("{role}er")}]})])?;
    }
    let reads = [
        "list backups.holdfast.dev -n team",
        "list restores.holdfast.dev -n team",
        "get snapshots.holdfast.dev -n team",
    ];
    let runs = [
        "create backups.holdfast.dev -n team",
        "create restores.holdfast.dev -n team",
        "delete restores.holdfast.dev -n team",
    ];
    let never = [
        "create snapshots.holdfast.dev -n team",
        "delete snapshots.holdfast.dev -n team",
        "update snapshots.holdfast.dev -n team",
        "create repositories.holdfast.dev",
        "update backuppolicies.holdfast.dev",
        "get repositories.holdfast.dev",
        "create restores.holdfast.dev -n default",
        "list snapshots.holdfast.dev -n default",
        "update restores.holdfast.dev -n team --subresource=status",
        "get secrets -n holdfast-system",
        "create pods -n holdfast-system",
    ];
    // The controller that adds our rules to the usual roles takes a moment.
    cluster::until("roles are aggregated", 30, || {
        Ok(may(stage, &["--as", "editer"], runs[1])?.then_some(()))
    })?;
    check(stage, &["--as", "viewer"], &reads, &runs)?;
    check(stage, &["--as", "editer"], &[reads, runs].concat(), &never)?;
    check(stage, &["--as", "adminer"], &[reads, runs].concat(), &never)
}

/// A pod is refused while a Restore fills its claim, and only then and there.
pub(crate) fn claims_being_restored(stage: &Stage) -> anyhow::Result<()> {
    apps::namespace(stage, "guarded")?;
    // A coordinator would say of this Restore what is so: that there is no such snapshot.
    let coordinators = |replicas: &str| {
        let replicas = format!("--replicas={replicas}");
        stage.access.kubectl(&["scale", "deploy", "-n", SYSTEM, "holdfast-coordinator", &replicas])
    };
    coordinators("0")?;
    cluster::until("no coordinator runs", 60, || {
        let words = ["pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=coordinator"];
        Ok(stage.access.list(&words)?.is_empty().then_some(()))
    })?;
    let pod = |namespace: &str, name: &str, claim: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [{"name": "app", "image": BUSYBOX_IMAGE}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}})
    };
    let apply = |object: Value| stage.access.apply_json(&[object]);
    apply(
        json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "Restore", "metadata": {"name": "fill", "namespace": "guarded"},
        "spec": {"snapshot": {"name": "none"}, "target": {"claim": "data"}}}),
    )?;
    let phase = |phase: &str| {
        let patch = json!({"status": {"phase": phase, "conditions": []}}).to_string();
        let words = [
            "patch",
            "restores.holdfast.dev",
            "fill",
            "-n",
            "guarded",
            "--subresource=status",
            "--type=merge",
            "-p",
        ];
        stage.access.kubectl(&[&words[..], &[patch.as_str()]].concat())
    };
    phase("Running")?;
    // The server hears of policies and Restores by watches of its own.
    let refusal = cluster::until("a pod is refused", 30, || {
        let words =
            ["delete", "pod", "-n", "guarded", "taker", "--ignore-not-found", "--force", "--grace-period=0"];
        stage.access.kubectl(&words)?;
        Ok(apply(pod("guarded", "taker", "data")).err().map(|e| format!("{e:#}")))
    })?;
    ensure!(refusal.contains("claim data is being restored by Restore fill"), "{refusal}");
    apply(pod("guarded", "other", "another")).context("a pod with another claim")?;
    apply(pod("default", "elsewhere", "data")).context("a pod of another namespace")?;
    phase("Done")?;
    cluster::until("the pod may start afterwards", 30, || Ok(apply(pod("guarded", "taker", "data")).ok()))?;
    stage.access.kubectl(&["delete", "pod", "-n", "default", "elsewhere", "--force", "--grace-period=0"])?;
    stage.access.kubectl(&["delete", "namespace", "guarded", "--wait=false"])?;
    coordinators("2").map(drop)
}

/// What agents are is refused where applications run; our own namespace allows it.
pub(crate) fn pod_security(stage: &Stage) -> anyhow::Result<()> {
    let agent = stage.access.get(&["ds", "-n", SYSTEM, "holdfast-agent"])?;
    let spec = agent["spec"]["template"]["spec"].clone();
    for level in ["baseline", "restricted"] {
        let name = format!("security-{level}");
        stage
            .access
            .apply_json(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name,
            "labels": {"pod-security.kubernetes.io/enforce": level}}})])?;
        let mut spec = spec.clone();
        spec["serviceAccountName"] = json!("default");
        spec["serviceAccount"] = json!("default");
        let mut pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent", "namespace": name}});
        pod["spec"] = spec;
        let refused = stage.access.apply_json(&[pod]).err().map(|e| format!("{e:#}")).unwrap_or_default();
        ensure!(
            refused.contains("violates PodSecurity"),
            "{level} must refuse an agent, not say {refused:?}"
        );
        stage.access.kubectl(&["delete", "namespace", &name, "--wait=false"])?;
    }
    let pods = stage.access.list(&["pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=agent"])?;
    ensure!(!pods.is_empty(), "there are agents' pods in {SYSTEM}");
    let context = &spec["containers"][0]["securityContext"];
    let expected = json!({
        "runAsUser": 0, "runAsGroup": 0, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    ensure!(context == &expected, "the agent's security context is {context}");
    ensure!(spec["automountServiceAccountToken"] == false, "agents have no token for the API");
    Ok(())
}
