//! The control plane: etcd, API server, controllers, scheduler and name server, all in the control plane's network namespace.

use std::fs;
use std::process::Command;

use crate::access::Access;
use crate::keys::kubeconfig;
use crate::places::{CONTROL, CONTROL_ADDRESS, DNS_SERVICE, Places, SERVICES, text};
use crate::process::{start, wait};
use crate::programs::place;

const ETCD_SECONDS: u64 = 30;
const API_SECONDS: u64 = 120;
/// A node that is cut off is noticed after so long. Kubernetes' own figure is 40 s.
const NODE_GRACE: &str = "20s";

/// Starts it and waits until the API answers.
pub(crate) fn up(places: &Places, access: &Access) -> anyhow::Result<()> {
    for (certificate, file) in
        [("admin", "admin"), ("controllers", "controllers"), ("scheduler", "scheduler")]
    {
        kubeconfig(places, certificate, &places.state.join(format!("{file}.conf")))?;
    }
    let data = format!("--data-dir={}", text(&places.state.join("etcd")));
    // What was not synced is lost with the machine only; and the whole cluster is.
    start(places, "etcd", inside(places, "etcd")?.args([&data, "--unsafe-no-fsync", "--log-level=warn"]))?;
    wait(places, "etcd", ETCD_SECONDS, || Ok(connects("2379")))?;
    start_api(places)?;
    wait(places, "kube-apiserver", API_SECONDS, || access.raw("/readyz").map(|_| true))?;
    let mut controllers = inside(places, "kube-controller-manager")?;
    controllers.args([
        &format!("--kubeconfig={}", text(&places.state.join("controllers.conf"))),
        &format!("--service-account-private-key-file={}", text(&places.key("accounts.key"))),
        &format!("--root-ca-file={}", text(&places.key("ca.crt"))),
        &format!("--cluster-signing-cert-file={}", text(&places.key("ca.crt"))),
        &format!("--cluster-signing-key-file={}", text(&places.key("ca.key"))),
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        &format!("--node-monitor-grace-period={NODE_GRACE}"),
    ]);
    start(places, "kube-controller-manager", &mut controllers)?;
    let conf = format!("--kubeconfig={}", text(&places.state.join("scheduler.conf")));
    start(places, "kube-scheduler", inside(places, "kube-scheduler")?.args([&conf, "--leader-elect=false"]))?;
    names(places, access)
}

fn start_api(places: &Places) -> anyhow::Result<()> {
    let key = |file: &str| text(&places.key(file));
    let mut api = inside(places, "kube-apiserver")?;
    api.args([
        "--etcd-servers=http://127.0.0.1:2379",
        "--secure-port=6443",
        &format!("--advertise-address={CONTROL_ADDRESS}"),
        &format!("--tls-cert-file={}", key("apiserver.crt")),
        &format!("--tls-private-key-file={}", key("apiserver.key")),
        &format!("--client-ca-file={}", key("ca.crt")),
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        &format!("--kubelet-client-certificate={}", key("admin.crt")),
        &format!("--kubelet-client-key={}", key("admin.key")),
        &format!("--kubelet-certificate-authority={}", key("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        &format!("--service-account-signing-key-file={}", key("accounts.key")),
        &format!("--service-account-key-file={}", key("accounts.pub")),
        &format!("--service-cluster-ip-range={SERVICES}"),
        "--allow-privileged=true",
    ]);
    start(places, "kube-apiserver", &mut api)
}

/// The name server, outside of the cluster's pods, behind the service that kubelets tell pods of.
fn names(places: &Places, access: &Access) -> anyhow::Result<()> {
    let config = format!(
        ".:53 {{\n bind {CONTROL_ADDRESS}\n ready {CONTROL_ADDRESS}:8181\n errors\n cache 5\n kubernetes cluster.local {{\n  kubeconfig {}\n }}\n}}\n",
        text(&places.admin())
    );
    let file = places.state.join("Corefile");
    fs::write(&file, config)?;
    start(places, "dns", inside(places, "dns")?.args(["-conf", &text(&file)]))?;
    let ports = [("dns", "UDP"), ("dns-tcp", "TCP")];
    let ports =
        ports.map(|(name, protocol)| serde_json::json!({"name": name, "port": 53, "protocol": protocol}));
    access.apply_json(&[
        serde_json::json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": DNS_SERVICE, "ports": ports}}),
        serde_json::json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "kube-dns-1", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [CONTROL_ADDRESS], "conditions": {"ready": true}}], "ports": ports}),
    ])
}

/// A program of ours in the control plane's network.
fn inside(places: &Places, program: &str) -> anyhow::Result<Command> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{CONTROL}")).arg(place(places, program)?);
    Ok(command)
}

/// Whether something listens on that port of the control plane's loopback.
fn connects(port: &str) -> bool {
    let probe = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let words = ["nsenter", &format!("--net=/run/netns/{CONTROL}"), "bash", "-c", &probe];
    crate::shell::run(&mut crate::shell::command(&words), None).is_ok()
}
