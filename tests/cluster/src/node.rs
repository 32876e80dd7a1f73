//! One node: its mount namespace, its container runtime, its kubelet and its service proxy.
//!
//! All nodes share the machine's files. What must be each node's own (`OWN`) is bound over in its mount namespace, which
//! shares mounts among the processes of the node, as a real node does.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::keys::kubeconfig;
use crate::machine::is_unified;
use crate::places::{
    CONTROL_ADDRESS, DNS_SERVICE, PODS, Places, node_address, node_cgroup, node_name, node_net, node_pods,
    text,
};
use crate::process::{find, start, wait};
use crate::programs::place;
use crate::shell::{command, run, until};

/// Folders that each node has for itself: where kubelet, agents and the tests' volumes are.
pub(crate) const OWN: &[&str] = &["/var/lib/kubelet", "/var/lib/holdfast", "/srv"];
/// What a pod's first process is.
pub(crate) const PAUSE_IMAGE: &str = "holdfast.test/pause:1";
const HIERARCHIES: &str = "/sys/fs/cgroup";
const RUNTIME_SECONDS: u64 = 30;

/// Makes the node's files and starts its runtime.
pub(crate) fn up(places: &Places, index: usize) -> anyhow::Result<()> {
    let (node, name) = (places.node(index), node_name(index));
    for folder in ["containerd", "run", "cni", "manifests"] {
        fs::create_dir_all(node.join(folder))?;
    }
    kubeconfig(places, &name, &node.join("kubelet.conf"))?;
    kubeconfig(places, "proxy", &node.join("proxy.conf"))?;
    let write = |file: &str, content: String| fs::write(node.join(file), content);
    write("cni/10-pods.conflist", pod_network(&node, index))?;
    write("containerd.toml", runtime_config(&node))?;
    write("kubelet.yaml", kubelet_config(places, index))?;
    write("proxy.yaml", proxy_config(places, index))?;
    make_cgroups(index)?;
    let mut script = "mount --make-rshared /".to_owned();
    for folder in OWN {
        let own = node.join("own").join(&folder[1..]);
        fs::create_dir_all(&own)?;
        fs::create_dir_all(folder)?;
        script += &format!(" && mount --bind {} {folder}", own.display());
    }
    let net = format!("--net=/run/netns/{}", node_net(index));
    let script = format!("{script} && exec sleep infinity");
    let words = ["nsenter", &net, "unshare", "--mount", "--propagation", "private", "sh", "-ec", &script];
    start(places, &name, &mut command(&words))?;
    wait(places, &name, RUNTIME_SECONDS, || {
        let pid = find(places, &name).context("it ended")?;
        Ok(fs::read_to_string(format!("/proc/{pid}/comm"))?.trim() == "sleep")
    })?;
    let config = text(&node.join("containerd.toml"));
    let runtime = format!("containerd{index}");
    start(places, &runtime, inside(places, index)?.args(["containerd", "--config", &config]))?;
    wait(places, &runtime, RUNTIME_SECONDS, || {
        Ok(run(&mut command(&["ctr", "-a", &socket(places, index), "version"]), None).is_ok())
    })
}

/// Starts kubelet.
pub(crate) fn kubelet(places: &Places, index: usize) -> anyhow::Result<()> {
    let node = places.node(index);
    let mut kubelet = inside(places, index)?;
    kubelet.arg(place(places, "kubelet")?).args([
        &format!("--config={}", text(&node.join("kubelet.yaml"))),
        &format!("--kubeconfig={}", text(&node.join("kubelet.conf"))),
        "--root-dir=/var/lib/kubelet",
        &format!("--cert-dir={}", text(&node.join("certificates"))),
        &format!("--hostname-override={}", node_name(index)),
        &format!("--node-ip={}", node_address(index)),
        "--v=2",
    ]);
    start(places, &format!("kubelet{index}"), &mut kubelet)
}

/// Starts what makes services reachable.
pub(crate) fn proxy(places: &Places, index: usize) -> anyhow::Result<()> {
    let config = format!("--config={}", text(&places.node(index).join("proxy.yaml")));
    let mut proxy = inside(places, index)?;
    start(places, &format!("kube-proxy{index}"), proxy.arg(place(places, "kube-proxy")?).arg(config))
}

/// Gives an image to the node's runtime.
pub(crate) fn load(places: &Places, index: usize, archive: &Path) -> anyhow::Result<()> {
    let (socket, archive) = (socket(places, index), text(archive));
    run(&mut command(&["ctr", "-a", &socket, "-n", "k8s.io", "images", "import", &archive]), None)
        .with_context(|| format!("load {archive} into node {index}"))
        .map(drop)
}

/// Kills a container's first process.
pub(crate) fn kill(places: &Places, index: usize, id: &str) -> anyhow::Result<()> {
    let socket = socket(places, index);
    let words = ["ctr", "-a", &socket, "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", id];
    run(&mut command(&words), None).map(drop)
}

/// Ends all containers of a node.
pub(crate) fn end_containers(places: &Places, index: usize) {
    let socket = socket(places, index);
    let ctr = |words: &[&str]| {
        let words: Vec<&str> = ["ctr", "-a", &socket, "-n", "k8s.io"].iter().chain(words).copied().collect();
        run(&mut command(&words), None)
    };
    if Path::new(&socket).exists() {
        for task in ctr(&["tasks", "list", "-q"]).unwrap_or_default().lines() {
            drop(ctr(&["tasks", "delete", "--force", task]));
        }
    }
}

/// A command in the node's mount and network namespaces; what is to be run follows.
pub(crate) fn inside(places: &Places, index: usize) -> anyhow::Result<Command> {
    let pid = find(places, &node_name(index)).with_context(|| format!("node {index} does not run"))?;
    Ok(command(&["nsenter", "-t", &pid.to_string(), "-m", "-n"]))
}

fn socket(places: &Places, index: usize) -> String {
    text(&places.node(index).join("containerd.sock"))
}

/// The folders of the node's control groups.
fn cgroups(index: usize) -> Vec<String> {
    if is_unified() {
        return vec![format!("{HIERARCHIES}/{}", node_cgroup(index))];
    }
    let entries = fs::read_dir(HIERARCHIES).into_iter().flatten().flatten();
    let names = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.file_name());
    names.map(|name| format!("{HIERARCHIES}/{}/{}", name.to_string_lossy(), node_cgroup(index))).collect()
}

fn make_cgroups(index: usize) -> anyhow::Result<()> {
    for folder in cgroups(index) {
        fs::create_dir_all(&folder).with_context(|| format!("create {folder}"))?;
        if is_unified() {
            let there = fs::read_to_string(format!("{HIERARCHIES}/cgroup.controllers"))?;
            let all = there.split_whitespace().map(|c| format!("+{c}")).collect::<Vec<_>>().join(" ");
            fs::write(format!("{folder}/cgroup.subtree_control"), all)?;
        }
        // A group without processors or memory takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"].map(|f| format!("{folder}/{f}")) {
            let above = file.replace(&format!("/{}", node_cgroup(index)), "");
            if !is_unified() && Path::new(&file).exists() {
                fs::write(&file, fs::read_to_string(&above)?)?;
            }
        }
    }
    Ok(())
}

/// Removes the node's control groups, which must be without processes.
pub(crate) fn remove_cgroups(index: usize) {
    for folder in cgroups(index) {
        let all = || Ok(remove_folders(Path::new(&folder)).is_ok().then_some(()));
        drop(until("control groups are empty", 5, all));
    }
}

fn remove_folders(folder: &Path) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_folders(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

fn pod_network(node: &Path, index: usize) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": text(&node.join("addresses")),
                    "ranges": [[{"subnet": node_pods(index)}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

fn runtime_config(node: &Path) -> String {
    let node = node.display();
    format!(
        r#"version = 2
root = "{node}/containerd"
state = "{node}/run"
[grpc]
  address = "{node}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE_IMAGE}"
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{node}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
  path = "{node}/opt"
"#
    )
}

fn kubelet_config(places: &Places, index: usize) -> String {
    let node = places.node(index);
    serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node_address(index),
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": text(&places.key("ca.crt"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": text(&places.key(&format!("{}.crt", node_name(index)))),
        "tlsPrivateKeyFile": text(&places.key(&format!("{}.key", node_name(index)))),
        "containerRuntimeEndpoint": format!("unix://{}", socket(places, index)),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node_cgroup(index)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "staticPodPath": text(&node.join("manifests")),
        // The machine's disk is not the tests' to tidy.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "4s",
        "syncFrequency": "10s",
        "podLogsDir": text(&node.join("pod-logs")),
        "volumePluginDir": text(&node.join("volume-plugins")),
        "resolvConf": text(&places.state.join("resolv.conf")),
        // Tolerates settings of the kernel that it may not change here.
        "featureGates": {"KubeletInUserNamespace": true},
    })
    .to_string()
}

fn proxy_config(places: &Places, index: usize) -> String {
    let conf = text(&places.node(index).join("proxy.conf"));
    serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": conf},
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": node_name(index),
        "bindAddress": node_address(index),
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
    .to_string()
}

/// What else the nodes know of: nothing answers there.
pub(crate) fn resolver() -> String {
    format!("nameserver {CONTROL_ADDRESS}\n")
}
