//! Flags of every command that would do nothing for this one. They are refused: a flag that is silently ignored makes
//! people believe in a protection, or a bound, that is not there. Environment variables are of the machine, and may be.

use crate::exit::Usage;

const STORE: &[&str] = &["repo", "domain", "passphrase_file", "key_file", "cache_dir"];
const CONNECTION: &[&str] =
    &["coordinator", "token_file", "tls_ca_file", "tls_cert_file", "tls_key_file", "allow_plaintext"];
const CLUSTER: &[&str] = &["kubeconfig", "context", "system_namespace", "as_account"];
/// A node presents a token, never a certificate.
const NODE: &[&str] = &["coordinator", "token_file", "tls_ca_file", "allow_plaintext"];
const LISTENER: &[&str] = &["tls_cert_file", "tls_key_file", "allow_plaintext"];

/// Commands that go to no repository and no coordinator of somebody else's.
const AT_HOME: &[&str] = &["agent", "node", "mover", "coordinator", "standalone", "completions"];

/// Whether the command goes to the cluster's coordinator: kubectl called, or a flag says which cluster, and no other place is named.
pub(crate) fn goes_to_cluster(command: &str, plugin: bool, given: impl Fn(&str) -> bool) -> bool {
    let elsewhere = ["repo", "coordinator"].into_iter().any(&given);
    let wanted = plugin || CLUSTER.iter().any(|id| given(id));
    wanted && !elsewhere && !AT_HOME.contains(&command)
}

/// Refuses flags that the command has no use for. `through_coordinator` is where it works; `None` if that is not
/// decided. `given` tells whether a flag stands on the command line.
pub(crate) fn refuse(
    command: &str,
    through_coordinator: Option<bool>,
    given: impl Fn(&str) -> bool,
) -> Result<(), Usage> {
    let (used, with): (&[&[&str]], &str) = match (command, through_coordinator) {
        ("agent", _) => (&[STORE, CONNECTION], ""),
        ("node" | "mover", _) => (&[NODE], ""),
        ("coordinator", _) => (&[STORE, LISTENER], ""),
        ("standalone", _) => (&[STORE], ""),
        ("completions" | "volume-worker", _) => (&[], ""),
        // Objects are copied as they are: no key is needed.
        ("policy", Some(false)) => (&[&["repo", "domain"]], ""),
        ("mirror", Some(false)) => (&[&["repo"]], ""),
        (_, Some(true)) => (&[CONNECTION, CLUSTER, &["domain"]], " through a coordinator"),
        (_, Some(false)) => (&[STORE], " on the store itself"),
        // The command itself says that a place is missing, or given twice.
        (_, None) => return Ok(()),
    };
    let all = STORE.iter().chain(CONNECTION).chain(CLUSTER);
    let idle = all.filter(|id| !used.iter().any(|group| group.contains(id)) && given(id));
    let idle: Vec<_> = idle.map(|id| format!("--{}", id.replace('_', "-"))).collect();
    if idle.is_empty() {
        return Ok(());
    }
    Err(Usage(format!("{}: `{command}` has no use for that{with}", idle.join(", "))))
}

#[cfg(test)]
mod tests;
