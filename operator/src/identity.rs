//! The identity of a volume: cluster, driver or type, handle or path, and the node where it is bound to one.
//!
//! 1. Equal identities are the same data; equal paths on two nodes are two volumes.
//! 2. It outlives pods, claims and persistent volumes: a claim that is made anew on the same data goes on with its snapshots.
//! 3. Parts are escaped, so that no part can look like two.

use std::fmt::Write as _;

use crate::limits::VOLUME_ID_BYTES_MAX;
use crate::world::Source;

/// The identity of a persistent volume on `node`; `None` for a kind that is not known.
#[must_use]
pub fn of_source(cluster: &str, node: &str, source: &Source) -> Option<String> {
    Some(match source {
        Source::Csi { driver, handle } => join("csi", cluster, &[driver, handle]),
        Source::Local { path } => on_node("local", cluster, node, path),
        Source::HostPath { path } => on_node("hostpath", cluster, node, path),
        Source::Nfs { server, path } => join("nfs", cluster, &[server, below(path)]),
        Source::Other => return None,
    })
}

/// The identity of an emptyDir.
#[must_use]
pub fn of_empty_dir(cluster: &str, node: &str, pod_uid: &str, name: &str) -> String {
    join("emptydir", cluster, &[node, pod_uid, name])
}

/// The identity of a folder of a worker node.
#[must_use]
pub fn of_node_path(cluster: &str, node: &str, path: &str) -> String {
    on_node("node", cluster, node, path)
}

fn on_node(kind: &str, cluster: &str, node: &str, path: &str) -> String {
    join(kind, cluster, &[node, below(path)])
}

/// A path's own first slash is the one that is there already.
fn below(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

/// `kind:cluster/part/...`; the last part keeps its slashes: nothing follows it.
fn join(kind: &str, cluster: &str, parts: &[&str]) -> String {
    let mut out = format!("{kind}:");
    escape(cluster, false, &mut out);
    for (at, part) in parts.iter().enumerate() {
        out.push('/');
        escape(part, at + 1 == parts.len(), &mut out);
    }
    if out.len() <= VOLUME_ID_BYTES_MAX {
        return out;
    }
    let hash = blake3::hash(format!("{kind}\0{cluster}\0{}", parts.join("\0")).as_bytes()).to_hex();
    out.truncate(VOLUME_ID_BYTES_MAX - hash.len() - 1);
    // `~` is escaped elsewhere: nothing that was not cut looks like this.
    out + "~" + &hash
}

fn escape(part: &str, slashes: bool, out: &mut String) {
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'.'
            | b'_'
            | b'-'
            | b':'
            | b'#'
            | b'='
            | b'@'
            | b'+'
            | b',' => {
                out.push(char::from(byte));
            }
            b'/' if slashes => out.push('/'),
            _ => {
                let _fits = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{of_empty_dir, of_node_path, of_source};
    use crate::limits::VOLUME_ID_BYTES_MAX;
    use crate::world::Source;

    fn csi(handle: &str) -> String {
        of_source("c", "n", &Source::Csi { driver: "d".into(), handle: handle.into() }).unwrap()
    }

    #[test]
    fn one_for_each_kind() {
        let check = |source, expected: &str| assert_eq!(of_source("c", "n1", &source).unwrap(), expected);
        check(Source::Csi { driver: "ebs.csi".into(), handle: "vol-1".into() }, "csi:c/ebs.csi/vol-1");
        check(Source::Local { path: "/mnt/a b".into() }, "local:c/n1/mnt/a%20b");
        check(Source::HostPath { path: "/data".into() }, "hostpath:c/n1/data");
        check(Source::Nfs { server: "10.0.0.1".into(), path: "/x/y".into() }, "nfs:c/10.0.0.1/x/y");
        assert_eq!(of_empty_dir("c", "n1", "u", "tmp"), "emptydir:c/n1/u/tmp");
        assert_eq!(of_node_path("c", "n1", "/etc"), "node:c/n1/etc");
        assert_eq!(of_source("c", "n1", &Source::Other), None);
    }

    #[test]
    fn parts_can_not_be_mistaken() {
        let of = |driver: &str, handle: &str| {
            of_source("c", "n", &Source::Csi { driver: driver.into(), handle: handle.into() }).unwrap()
        };
        assert_ne!(of("a/b", "c"), of("a", "b/c"));
        assert_ne!(of("a", "%2Fx"), of("a", "/x"));
        assert_ne!(of("a", "x"), of("a", "/x"));
        assert_ne!(csi("a~"), csi("a"));
    }

    #[test]
    fn long_ones_are_cut_with_a_hash_of_all() {
        let (long, other) = ("x".repeat(5000), "x".repeat(5001));
        assert_eq!(csi(&long).len(), VOLUME_ID_BYTES_MAX);
        assert_ne!(csi(&long), csi(&other));
        assert!(csi(&"ä".repeat(2000)).is_ascii());
    }
}
