//! What is on which dashboard.

use super::{Dashboard, Look, Panel};

/// All dashboards.
#[must_use]
pub fn all() -> &'static [Dashboard] {
    &[FLEET, VOLUME, REPOSITORY, NODE]
}

const fn lines(title: &'static str, unit: &'static str, query: &'static str, legend: &'static str) -> Panel {
    Panel { title, query: (query, legend), unit, look: Look::Lines }
}

const fn bad(title: &'static str, query: &'static str) -> Panel {
    Panel { title, query: (query, ""), unit: "short", look: Look::Bad }
}

const fn number(title: &'static str, unit: &'static str, query: &'static str) -> Panel {
    Panel { title, query: (query, ""), unit, look: Look::Number }
}

const fn table(title: &'static str, unit: &'static str, query: &'static str) -> Panel {
    Panel { title, query: (query, ""), unit, look: Look::Table }
}

const FLEET: Dashboard = Dashboard {
    uid: "holdfast-fleet",
    title: "Holdfast / Fleet",
    variables: &[],
    panels: &[
        number("Protected claims", "short", r#"sum(holdfast_operator_claims{state="Protected"})"#),
        bad("Unprotected claims", r#"sum(holdfast_operator_claims{state="Unprotected"})"#),
        number("Claims left out", "short", r#"sum(holdfast_operator_claims{state="Excluded"})"#),
        bad("Volumes later than their schedule", r#"sum(holdfast_coordinator_volumes{state="late"})"#),
        number("Agents connected", "short", "max(holdfast_coordinator_agents_connected)"),
        number("Coordinators that lead", "short", "sum(holdfast_operator_leads)"),
        bad("Domains that can't be opened", "count(holdfast_coordinator_domain_open == 0) or vector(0)"),
        number("Jobs running", "short", r#"sum(holdfast_coordinator_jobs{state="running"})"#),
        lines(
            "Unprotected claims, by reason",
            "short",
            "sum by (reason) (holdfast_operator_claims_unprotected)",
            "{{reason}}",
        ),
        lines("Jobs by state", "short", "sum by (state) (holdfast_coordinator_jobs)", "{{state}}"),
        lines(
            "Jobs that ended",
            "short",
            "sum by (kind, result) (increase(holdfast_coordinator_jobs_finished_total[1h]))",
            "{{kind}} {{result}}",
        ),
        lines(
            "Volumes, by how they stand",
            "short",
            "sum by (state) (holdfast_coordinator_volumes)",
            "{{state}}",
        ),
        lines(
            "Policies: claims without protection",
            "short",
            "holdfast_operator_policy_claims - holdfast_operator_policy_claims_protected",
            "{{policy}}",
        ),
        lines(
            "Policies: since the last good backup",
            "s",
            "time() - (holdfast_operator_policy_last_success_timestamp_seconds > 0)",
            "{{policy}}",
        ),
        lines(
            "Writes to the API",
            "ops",
            "sum by (outcome) (rate(holdfast_operator_writes_total[$__rate_interval]))",
            "{{outcome}}",
        ),
        lines(
            "Time of a round",
            "s",
            "rate(holdfast_operator_round_seconds_total[$__rate_interval]) / rate(holdfast_operator_rounds_total[$__rate_interval])",
            "round",
        ),
        table("Claims that are not protected", "short", "holdfast_operator_claim_unprotected"),
    ],
};

const VOLUME: Dashboard = Dashboard {
    uid: "holdfast-volume",
    title: "Holdfast / Volume",
    variables: &[
        ("domain", "label_values(holdfast_coordinator_volume_snapshots, domain)"),
        ("volume", "label_values(holdfast_coordinator_volume_snapshots{domain=~\"$domain\"}, volume)"),
    ],
    panels: &[
        lines(
            "Since the newest good snapshot began",
            "s",
            r#"time() - (holdfast_coordinator_volume_newest_good_timestamp_seconds{domain=~"$domain",volume=~"$volume"} > 0)"#,
            "{{volume}}",
        ),
        lines(
            "Snapshots",
            "short",
            r#"holdfast_coordinator_volume_snapshots{domain=~"$domain",volume=~"$volume"}"#,
            "{{volume}}",
        ),
        bad(
            "Volumes without any good snapshot",
            r#"count(holdfast_coordinator_volume_newest_good_timestamp_seconds{domain=~"$domain",volume=~"$volume"} == 0) or vector(0)"#,
        ),
        number(
            "Furthest behind",
            "s",
            r#"max(time() - (holdfast_coordinator_furthest_behind_timestamp_seconds{domain=~"$domain"} > 0))"#,
        ),
        table(
            "Newest good snapshots",
            "dateTimeFromNow",
            r#"holdfast_coordinator_volume_newest_good_timestamp_seconds{domain=~"$domain",volume=~"$volume"} * 1000"#,
        ),
    ],
};

const REPOSITORY: Dashboard = Dashboard {
    uid: "holdfast-repository",
    title: "Holdfast / Repository",
    variables: &[("domain", "label_values(holdfast_coordinator_snapshots, domain)")],
    panels: &[
        number("Snapshots", "short", r#"sum(holdfast_coordinator_snapshots{domain=~"$domain"})"#),
        number("Stored", "bytes", r#"sum(holdfast_coordinator_repository_bytes{domain=~"$domain"})"#),
        bad("Damaged snapshots", r#"sum(holdfast_coordinator_snapshots_damaged{domain=~"$domain"})"#),
        bad(
            "Damaged packs",
            r#"sum(holdfast_coordinator_scrub_damaged_packs{domain=~"$domain"}) + sum(holdfast_coordinator_gc_damaged_packs{domain=~"$domain"})"#,
        ),
        bad(
            "Retention stopped",
            r#"sum(holdfast_coordinator_retention_breakers_tripped{domain=~"$domain"})"#,
        ),
        bad(
            "Restore tests that failed",
            r#"sum(holdfast_coordinator_restore_tests_failed_total{domain=~"$domain"})"#,
        ),
        number(
            "Packs never verified",
            "short",
            r#"sum(holdfast_coordinator_scrub_unverified_packs{domain=~"$domain"})"#,
        ),
        number("Packs", "short", r#"sum(holdfast_coordinator_repository_packs{domain=~"$domain"})"#),
        lines("Stored", "bytes", r#"holdfast_coordinator_repository_bytes{domain=~"$domain"}"#, "{{domain}}"),
        lines(
            "Freed and copied by GC",
            "bytes",
            r#"sum by (domain) (increase(holdfast_coordinator_gc_freed_bytes_total{domain=~"$domain"}[1d]))"#,
            "{{domain}} freed",
        ),
        lines(
            "Requests to the store",
            "reqps",
            r#"sum by (op) (rate(holdfast_coordinator_store_requests_total{domain=~"$domain"}[$__rate_interval]))"#,
            "{{op}}",
        ),
        lines(
            "Requests that failed",
            "reqps",
            r#"sum by (op) (rate(holdfast_coordinator_store_request_errors_total{domain=~"$domain"}[$__rate_interval]))"#,
            "{{op}}",
        ),
        lines(
            "Since maintenance last succeeded",
            "s",
            r#"time() - (holdfast_coordinator_maintenance_success_timestamp_seconds{domain=~"$domain"} > 0)"#,
            "{{domain}} {{kind}}",
        ),
        lines(
            "How long maintenance takes",
            "s",
            r#"holdfast_coordinator_maintenance_seconds{domain=~"$domain"}"#,
            "{{domain}} {{kind}}",
        ),
        lines(
            "Maintenance that ended",
            "short",
            r#"sum by (kind, result) (increase(holdfast_coordinator_maintenance_finished_total{domain=~"$domain"}[1d]))"#,
            "{{kind}} {{result}}",
        ),
        lines(
            "Lookups of agents",
            "ops",
            r#"sum by (result) (rate(holdfast_coordinator_lookup_ids_total{domain=~"$domain"}[$__rate_interval]))"#,
            "{{result}}",
        ),
    ],
};

const NODE: Dashboard = Dashboard {
    uid: "holdfast-node",
    title: "Holdfast / Node",
    variables: &[("instance", "label_values(holdfast_agent_connected, instance)")],
    panels: &[
        number("Agents connected", "short", r#"sum(holdfast_agent_connected{instance=~"$instance"})"#),
        number("Jobs running", "short", r#"sum(holdfast_agent_jobs_running{instance=~"$instance"})"#),
        bad("Results that nobody took yet", r#"sum(holdfast_agent_results_waiting{instance=~"$instance"})"#),
        bad(
            "Entries that failed, last day",
            r#"sum(increase(holdfast_agent_entries_failed_total{instance=~"$instance"}[1d]))"#,
        ),
        lines(
            "Read from volumes",
            "Bps",
            r#"sum by (instance) (rate(holdfast_agent_read_bytes_total{instance=~"$instance"}[$__rate_interval]))"#,
            "{{instance}}",
        ),
        lines(
            "Put into stores",
            "Bps",
            r#"sum by (instance) (rate(holdfast_agent_stored_bytes_total{instance=~"$instance"}[$__rate_interval]))"#,
            "{{instance}}",
        ),
        lines(
            "New and known",
            "Bps",
            r#"sum(rate(holdfast_agent_new_bytes_total{instance=~"$instance"}[$__rate_interval]))"#,
            "new",
        ),
        lines(
            "Entries walked",
            "ops",
            r#"sum by (instance) (rate(holdfast_agent_entries_total{instance=~"$instance"}[$__rate_interval]))"#,
            "{{instance}}",
        ),
        lines(
            "Jobs that ended",
            "short",
            r#"sum by (kind, result) (increase(holdfast_agent_jobs_finished_total{instance=~"$instance"}[1h]))"#,
            "{{kind}} {{result}}",
        ),
        lines(
            "Connections that broke",
            "short",
            r#"sum by (instance) (increase(holdfast_agent_connection_failures_total{instance=~"$instance"}[1h]))"#,
            "{{instance}}",
        ),
        lines(
            "Volumes of the plan, by what there is of them",
            "short",
            r#"sum by (seen) (holdfast_node_volumes{instance=~"$instance"})"#,
            "{{seen}}",
        ),
        lines(
            "Processes that were killed to let go of a volume",
            "short",
            r#"sum by (instance) (increase(holdfast_node_children_killed_total{instance=~"$instance"}[1h]))"#,
            "{{instance}}",
        ),
        bad(
            "Agents that don't confine what reads",
            r#"count(holdfast_node_confined{instance=~"$instance"} == 0) or vector(0)"#,
        ),
    ],
};
