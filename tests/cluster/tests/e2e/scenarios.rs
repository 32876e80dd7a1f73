//! What is tested, in this order.

mod backups;
mod faults;
mod install;
mod monitored;
mod refusals;

use crate::stage::Stage;

/// One thing that is tested.
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: &'static str,
    /// It needs the nodes of a cluster of our own.
    pub(crate) needs_nodes: bool,
    /// The others build on it.
    pub(crate) always: bool,
    /// Does it.
    pub(crate) run: fn(&Stage) -> anyhow::Result<()>,
}

const fn any(name: &'static str, run: fn(&Stage) -> anyhow::Result<()>) -> Scenario {
    Scenario { name, needs_nodes: false, always: false, run }
}

const fn nodes(name: &'static str, run: fn(&Stage) -> anyhow::Result<()>) -> Scenario {
    Scenario { name, needs_nodes: true, always: false, run }
}

const fn always(name: &'static str, run: fn(&Stage) -> anyhow::Result<()>) -> Scenario {
    Scenario { name, needs_nodes: false, always: true, run }
}

/// All of them.
pub(crate) const ALL: &[Scenario] = &[
    always("manifests_are_applied_in_one_go", install::applied),
    any("own_accounts_may_do_what_is_listed_and_no_more", refusals::own_accounts),
    any("users_may_do_what_is_documented", refusals::users),
    any("pods_wait_while_their_claim_is_restored", refusals::claims_being_restored),
    any("pod_security_refuses_agents_elsewhere", refusals::pod_security),
    always("coordinator_and_agents_run", install::running),
    always("the_repository_is_opened", install::repository),
    nodes("backups_run_on_schedule", backups::on_schedule),
    nodes("pods_volumes_are_backed_up_and_restored", backups::round_trip),
    nodes("claims_without_protection_are_named", backups::coverage),
    nodes("volumes_are_read_by_confined_processes", faults::readers_are_confined),
    nodes("a_pod_is_deleted_in_the_middle_of_its_backup", faults::deletion_does_not_wait),
    nodes("the_agent_is_killed_in_the_middle", faults::agent_killed),
    nodes("the_leader_is_killed_in_the_middle", faults::leader_killed),
    nodes("the_kubelet_is_killed_in_the_middle", faults::kubelet_killed),
    nodes("the_node_is_cut_off_in_the_middle", faults::node_cut_off),
    nodes("every_panel_has_something_to_show", monitored::panels),
    nodes("a_hostile_pod_swaps_folders_for_links", faults::swapped_for_links),
    nodes("host_path_volumes_are_backed_up_where_agents_have_them", backups::host_path),
];
