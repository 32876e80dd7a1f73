//! The operator's settings: one name each, whether from file, environment (`HOLDFAST_<NAME>`) or flags. All else is in the cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use service::config::Invalid;

service::layer! {
    /// One source of settings.
    pub struct ConfigLayer {
        scalars {
            /// Holdfast's own namespace.
            namespace: String,
            /// The name of this pod.
            pod_name: String,
            /// Its address.
            pod_ip: std::net::IpAddr,
            /// Address of the gRPC listener; 0.0.0.0:7425 unless given.
            listen: SocketAddr,
            /// Address of metrics and health; 0.0.0.0:7426 unless given.
            http_listen: SocketAddr,
            /// Folder for keys, certificates and the queue: in memory.
            state_dir: PathBuf,
            /// The cluster's name in the identities of volumes; the uid of the namespace kube-system unless given.
            cluster_name: String,
            /// The image of movers.
            mover_image: String,
        }
        lists {}
    }
}

/// The operator's settings, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Holdfast's own namespace.
    pub namespace: String,
    /// The name of this pod.
    pub pod_name: String,
    /// Where others reach this pod's gRPC listener.
    pub address: Option<SocketAddr>,
    /// gRPC listener.
    pub listen: SocketAddr,
    /// Metrics and health.
    pub http_listen: SocketAddr,
    /// Folder for keys, certificates and the queue.
    pub state_dir: PathBuf,
    /// The cluster's name in identities, if it was given one.
    pub cluster_name: Option<String>,
    /// The image of movers.
    pub mover_image: Option<String>,
}

/// Longest name of a cluster: it is in the identity of each volume.
const CLUSTER_NAME_BYTES_MAX: usize = 63;

impl ConfigLayer {
    /// Checks everything, and names everything that is wrong at once.
    pub fn validate(self) -> Result<Config, Invalid> {
        let mut wrong = Vec::new();
        let namespace = self.namespace.unwrap_or_else(|| "holdfast-system".to_owned());
        if !is_label(&namespace) {
            wrong.push(format!("namespace {namespace:?} is no name of a namespace"));
        }
        if let Some(name) = &self.cluster_name
            && (name.len() > CLUSTER_NAME_BYTES_MAX || !is_label(name))
        {
            wrong.push(format!("cluster_name {name:?}: 1 to {CLUSTER_NAME_BYTES_MAX} of a-z, 0-9 and -"));
        }
        if self.pod_name.is_none() {
            wrong.push("pod_name is missing: by it the leader is told from the others".to_owned());
        }
        if self.state_dir.as_ref().is_none_or(|d| !d.is_absolute()) {
            wrong.push(
                "state_dir is missing or not absolute: the folder, in memory, for keys and the queue"
                    .to_owned(),
            );
        }
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let listen = self.listen.unwrap_or_else(|| any(coordinator::config::PORT));
        let (Some(pod_name), Some(state_dir), true) = (self.pod_name, self.state_dir, wrong.is_empty())
        else {
            return Err(Invalid(wrong));
        };
        Ok(Config {
            namespace,
            pod_name,
            address: self.pod_ip.map(|ip| SocketAddr::new(ip, listen.port())),
            listen,
            http_listen: self.http_listen.unwrap_or_else(|| any(coordinator::config::HTTP_PORT)),
            state_dir,
            cluster_name: self.cluster_name,
            mover_image: self.mover_image,
        })
    }
}

fn is_label(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(good) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::ConfigLayer;

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let layer = ConfigLayer {
            namespace: Some("A".into()),
            cluster_name: Some(String::new()),
            state_dir: Some("here".into()),
            ..ConfigLayer::default()
        };
        let wrong = layer.validate().unwrap_err().0;
        assert_eq!(wrong.len(), 4, "{wrong:?}");
    }

    #[test]
    fn most_has_defaults() {
        let layer = ConfigLayer {
            pod_name: Some("p".into()),
            pod_ip: Some([10, 0, 0, 1].into()),
            state_dir: Some("/s".into()),
            ..ConfigLayer::default()
        };
        let config = layer.validate().unwrap();
        assert_eq!((config.namespace.as_str(), config.listen.port()), ("holdfast-system", 7425));
        assert_eq!(config.address.unwrap().to_string(), "10.0.0.1:7425");
    }
}
