//! `kubectl holdfast`: finds the coordinator of the cluster that kubectl means, and gets there through the API server.
//!
//! 1. Who leads says the Lease; the way there is a port-forward to its pod, behind a port of this machine's loopback.
//! 2. Whoever may make tokens of one of Holdfast's accounts for people may do what that account may: RBAC decides, nothing else.
//! 3. Token and CA lie in a folder of this process's own for as long as it runs.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::args::{ClusterArgs, Global};

/// The Lease of who leads, and the name that all of the coordinator's objects begin with.
const COORDINATOR: &str = "holdfast-coordinator";
/// Where the leader is, in the Lease's annotations.
const ADDRESS: &str = "holdfast.dev/address";
/// The audience of tokens for the coordinator.
const AUDIENCE: &str = "holdfast-coordinator";
/// The ConfigMap with the coordinator's CA.
const CA: &str = "holdfast-ca";
/// The accounts for people, the one that may most first.
const ACCOUNTS: [&str; 3] = ["holdfast-administrator", "holdfast-writer", "holdfast-reader"];
/// How long a token is good: longer than anybody waits between two calls of one command.
const TOKEN_SECONDS: i64 = 3600;
/// How long the API server may take for one answer.
const ANSWER: Duration = Duration::from_secs(20);

/// True for a program that kubectl calls as its plugin.
pub(crate) fn is_plugin(program: Option<&std::ffi::OsStr>) -> bool {
    let name = program.map(std::path::Path::new).and_then(|p| p.file_name());
    name.is_some_and(|n| n.to_string_lossy().starts_with("kubectl-"))
}

/// The way to a cluster's coordinator, open for as long as this lives.
#[derive(Debug)]
pub(crate) struct Way {
    files: TempDir,
    port: u16,
    _forwarding: AbortOnDropHandle<()>,
}

impl Way {
    /// Has commands go this way.
    pub(crate) fn lead(&self, global: &mut Global) {
        global.repo = None;
        global.coordinator = Some(format!("https://localhost:{}", self.port));
        global.token_file = Some(self.path("token"));
        global.tls_ca_file = Some(self.path("ca.crt"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

/// Opens the way.
pub(crate) async fn open(args: &ClusterArgs) -> Result<Way> {
    let client = client(args).await?;
    let namespace = args.system_namespace.as_str();
    let pod = find_leader(&client, namespace).await?;
    let ca = find_ca(&client, namespace).await?;
    let token = make_token(&client, namespace, args.as_account.as_deref()).await?;
    let files =
        tempfile::Builder::new().prefix("holdfast-").tempdir().context("make a folder for the token")?;
    for (name, content) in [("token", &token), ("ca.crt", &ca)] {
        let mut file = std::fs::File::create_new(files.path().join(name)).context("write the token")?;
        file.write_all(content.as_bytes()).context("write the token")?;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen on the loopback")?;
    let port = listener.local_addr().context("listen on the loopback")?.port();
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let forwarding = tokio::spawn(forward(listener, pods, pod));
    Ok(Way { files, port, _forwarding: AbortOnDropHandle::new(forwarding) })
}

async fn client(args: &ClusterArgs) -> Result<Client> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let config = match &args.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
            Config::from_custom_kubeconfig(read, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    };
    let config =
        config.context("which cluster? kubectl's configuration (KUBECONFIG, --kubeconfig) can't be used")?;
    Client::try_from(config).context("the cluster's API server")
}

/// One answer of the API server, in time.
async fn asked<T>(what: &str, answer: impl Future<Output = kube::Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(ANSWER, answer).await;
    answer
        .map_err(|_| anyhow!("no answer within {} s", ANSWER.as_secs()))
        .and_then(|a| a.map_err(Into::into))
        .with_context(|| format!("the cluster's API server: {what}"))
}

/// The pod of the coordinator that leads, and its port.
async fn find_leader(client: &Client, namespace: &str) -> Result<(String, u16)> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let what = format!("get Lease {namespace}/{COORDINATOR}");
    let lease = asked(&what, leases.get_opt(COORDINATOR)).await?;
    let Some(lease) = lease else {
        bail!(
            "no coordinator leads in namespace {namespace}: is Holdfast installed there (--system-namespace)?"
        );
    };
    let address = lease.metadata.annotations.as_ref().and_then(|a| a.get(ADDRESS)).cloned();
    let address = address.filter(|a| !a.is_empty());
    let Some(address) = address else {
        bail!("Lease {namespace}/{COORDINATOR}: nobody leads now; try again soon")
    };
    let (ip, port) =
        split(&address).with_context(|| format!("Lease {namespace}/{COORDINATOR}: address {address:?}"))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let coordinators = ListParams::default().labels("app.kubernetes.io/component=coordinator");
    let all = asked(&format!("list pods in {namespace}"), pods.list(&coordinators)).await?;
    let is_leader = |p: &Pod| p.status.as_ref().and_then(|s| s.pod_ip.as_deref()) == Some(ip);
    let leader = all.items.into_iter().find(is_leader).and_then(|p| p.metadata.name);
    let leader = leader
        .with_context(|| format!("no pod in {namespace} has the leader's address {ip}; try again soon"))?;
    Ok((leader, port))
}

/// `host:port`; an IPv6 address stands in brackets.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok().filter(|p| *p > 0)?)).filter(|(host, _)| !host.is_empty())
}

async fn find_ca(client: &Client, namespace: &str) -> Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = asked(&format!("get ConfigMap {namespace}/{CA}"), maps.get(CA)).await?;
    let ca = map.data.and_then(|mut data| data.remove("ca.crt"));
    ca.with_context(|| format!("ConfigMap {namespace}/{CA} has no ca.crt"))
}

/// A token of the account that may most of those that the user may make tokens of; or of the given one.
async fn make_token(client: &Client, namespace: &str, account: Option<&str>) -> Result<String> {
    let accounts: Vec<&str> = account.map_or(ACCOUNTS.to_vec(), |one| vec![one]);
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        metadata: ObjectMeta::default(),
        spec: TokenRequestSpec {
            audiences: vec![AUDIENCE.to_owned()],
            bound_object_ref: None,
            expiration_seconds: Some(TOKEN_SECONDS),
        },
        status: None,
    };
    let plain = PostParams::default();
    for account in &accounts {
        let made = api.create_subresource::<_, TokenRequest>("token", account, &plain, &request);
        let made = tokio::time::timeout(ANSWER, made).await;
        match made.map_err(|_| anyhow!("the cluster's API server: no token within {} s", ANSWER.as_secs()))? {
            Ok(token) => {
                tracing::debug!(account, "the way to the coordinator is open");
                return token.status.map(|s| s.token).context("the cluster's API server made no token");
            }
            Err(kube::Error::Api(status)) if status.code == 403 || status.code == 404 => {}
            Err(e) => {
                return Err(anyhow!(e).context(format!("make a token of account {namespace}/{account}")));
            }
        }
    }
    bail!(
        "you may not make tokens of any of these accounts in namespace {namespace}: {}; bind the Role holdfast-user-reader, \
         -writer or -administrator to yourself, or have somebody bind it",
        accounts.join(", ")
    )
}

/// Passes connections on until it is dropped.
async fn forward(listener: TcpListener, pods: Api<Pod>, (pod, port): (String, u16)) {
    loop {
        let Ok((local, _)) = listener.accept().await else { return };
        let (pods, pod) = (pods.clone(), pod.clone());
        tokio::spawn(async move {
            if let Err(e) = pass(local, &pods, &pod, port).await {
                tracing::warn!("the way to pod {pod} broke: {e:#}");
            }
        });
    }
}

async fn pass(mut local: TcpStream, pods: &Api<Pod>, pod: &str, port: u16) -> Result<()> {
    let mut forwarder =
        asked(&format!("forward a port to pod {pod}"), pods.portforward(pod, &[port])).await?;
    let mut remote = forwarder.take_stream(port).context("no stream")?;
    // Either side may end it in the middle; what was asked then fails by itself.
    let _ended = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
    drop(remote);
    forwarder.abort();
    Ok(())
}

#[cfg(test)]
mod tests;
