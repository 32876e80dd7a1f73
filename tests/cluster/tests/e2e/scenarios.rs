//! What is tested, in this order.

mod backups;
mod install;
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
    nodes("pods_volumes_are_backed_up_and_restored", backups::round_trip),
    nodes("backups_run_on_schedule", backups::on_schedule),
];
