//! From flags to the servers' settings. Only what was given is set: file and environment say the rest.

use std::path::PathBuf;

use agent::ConfigLayer as AgentLayer;
use agent::node::{Folders, NodeLayer};
use coordinator::ConfigLayer as CoordinatorLayer;

use crate::args::{AgentArgs, CoordinatorArgs, Global, NodeArgs};

/// What only its file may set stays unset.
fn given<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}

/// A flag that is off says nothing.
fn on(flag: bool) -> Option<bool> {
    flag.then_some(true)
}

/// One variable of the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// An agent's flags.
pub(crate) fn agent(global: &Global, args: AgentArgs) -> AgentLayer {
    AgentLayer {
        repo: global.repo.clone(),
        domain: global.domain.as_ref().map(ToString::to_string),
        passphrase_file: global.passphrase_file.clone(),
        key_file: global.key_file.clone(),
        cache_dir: global.cache_dir.clone(),
        cpu_threads: args.cpu_threads,
        coordinator: global.coordinator.clone(),
        token_file: global.token_file.clone(),
        tls_ca_file: global.tls_ca_file.clone(),
        tls_cert_file: global.tls_cert_file.clone(),
        tls_key_file: global.tls_key_file.clone(),
        allow_plaintext: on(global.allow_plaintext),
        http_listen: args.http_listen,
        agent_id: args.agent_id,
        host: args.host,
        state_dir: args.state_dir,
        memory_bytes_max: args.memory_bytes_max,
        jobs_max: args.jobs_max,
        zstd_level: args.zstd_level,
        reread_days: args.reread_days,
        reuse: args.reuse,
        readers: args.readers,
        reconnect_seconds_max: args.reconnect_seconds_max,
        volumes: given(args.volumes),
        restore_roots: given::<PathBuf>(args.restore_roots),
        domains: None,
    }
}

/// The flags of a node's agent, or a mover.
pub(crate) fn node(global: &Global, args: NodeArgs) -> NodeLayer {
    NodeLayer {
        coordinator: global.coordinator.clone(),
        token_file: global.token_file.clone(),
        tls_ca_file: global.tls_ca_file.clone(),
        allow_plaintext: on(global.allow_plaintext),
        node_name: args.node_name,
        pod_uid: args.pod_uid,
        kubelet_root: args.kubelet_root,
        host_paths: given(args.host_paths).map(Folders),
        state_dir: args.state_dir,
        http_listen: args.http_listen,
        memory_bytes_max: args.memory_bytes_max,
        jobs_max: args.jobs_max,
        cpu_threads: args.cpu_threads,
        readers: args.readers,
        zstd_level: args.zstd_level,
        reread_days: args.reread_days,
        confine: args.confine,
        reconnect_seconds_max: args.reconnect_seconds_max,
    }
}

/// A coordinator's flags.
pub(crate) fn coordinator(global: &Global, args: CoordinatorArgs) -> CoordinatorLayer {
    CoordinatorLayer {
        repo: global.repo.clone(),
        domain: global.domain.as_ref().map(ToString::to_string),
        passphrase_file: global.passphrase_file.clone(),
        key_file: global.key_file.clone(),
        cache_dir: global.cache_dir.clone(),
        cpu_threads: args.cpu_threads,
        listen: args.listen,
        http_listen: args.http_listen,
        allow_plaintext: on(global.allow_plaintext),
        tls_cert_file: global.tls_cert_file.clone(),
        tls_key_file: global.tls_key_file.clone(),
        tls_client_ca_file: args.tls_client_ca_file,
        agent_token_file: args.agent_token_file,
        client_token_file: args.client_token_file,
        state_dir: args.state_dir,
        timezone: args.timezone,
        refresh_seconds: args.refresh_seconds,
        lost_seconds: args.lost_seconds,
        heartbeat_seconds: args.heartbeat_seconds,
        leader: args.leader,
        schedules: None,
        tokens: None,
        retention: None,
        maintenance: None,
        destinations: None,
        domains: None,
    }
}
