//! The alerts: what a person must look at, how soon, and where to read on (docs/runbooks.md has a section for each).

use serde_json::{Value, json};

/// Where the runbooks are.
const RUNBOOKS: &str = "https://holdfast.dev/docs/runbooks.md";

/// How soon somebody must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Now: data may be lost, or backups have stopped.
    Critical,
    /// Within days.
    Warning,
}

/// One alert.
#[derive(Debug, Clone, Copy)]
pub struct Alert {
    /// Its name, and its section in the runbooks.
    pub name: &'static str,
    /// True while something is wrong.
    pub query: &'static str,
    /// How long it must be so.
    pub lasts: &'static str,
    /// How soon somebody must look.
    pub severity: Severity,
    /// One line.
    pub summary: &'static str,
    /// What it means.
    pub description: &'static str,
}

/// All alerts.
pub const ALERTS: &[Alert] = &[
    Alert {
        name: "HoldfastObjectiveExceeded",
        query: r#"sum by (domain) (holdfast_coordinator_volumes{state="late"}) > 0"#,
        lasts: "15m",
        severity: Severity::Critical,
        summary: "{{ $value }} volumes of {{ $labels.domain }} have no snapshot within their objective",
        description: "Their newest good snapshot is older than their schedule allows: what was written since is in no backup.",
    },
    Alert {
        name: "HoldfastClaimUnprotected",
        query: r#"sum by (reason) (holdfast_operator_claims_unprotected) > 0"#,
        lasts: "1h",
        severity: Severity::Warning,
        summary: "{{ $value }} claims are not protected: {{ $labels.reason }}",
        description: "They have no good snapshot within an objective, and nobody said that they shall be left out. holdfast_operator_claim_unprotected names them.",
    },
    Alert {
        name: "HoldfastBackupFailed",
        query: r#"sum by (domain) (increase(holdfast_coordinator_jobs_finished_total{kind="backup",result="failed"}[1h])) > 0"#,
        lasts: "0m",
        severity: Severity::Warning,
        summary: "backups of {{ $labels.domain }} failed within the last hour",
        description: "They are tried again by themselves; HoldfastObjectiveExceeded follows if that does not help in time.",
    },
    Alert {
        name: "HoldfastBackupPartial",
        query: r#"sum by (domain) (increase(holdfast_coordinator_jobs_finished_total{kind="backup",result="partial"}[6h])) > 0"#,
        lasts: "0m",
        severity: Severity::Warning,
        summary: "snapshots of {{ $labels.domain }} lack files that could not be read",
        description: "The rest of each volume was backed up. What could not be read is in the snapshot's list of problems.",
    },
    Alert {
        name: "HoldfastRestoreFailed",
        query: r#"sum by (domain) (increase(holdfast_coordinator_jobs_finished_total{kind="restore",result=~"failed|partial"}[1h])) > 0"#,
        lasts: "0m",
        severity: Severity::Warning,
        summary: "a restore from {{ $labels.domain }} did not restore everything",
        description: "The Restore object says what is missing.",
    },
    Alert {
        name: "HoldfastVerificationFailed",
        query: "max by (domain) (holdfast_coordinator_scrub_damaged_packs) > 0 or max by (domain) (holdfast_coordinator_gc_damaged_packs) > 0 or max by (domain) (holdfast_coordinator_snapshots_damaged) > 0 or sum by (domain) (increase(holdfast_coordinator_restore_tests_failed_total[1d])) > 0",
        lasts: "0m",
        severity: Severity::Critical,
        summary: "what is stored in {{ $labels.domain }} is damaged",
        description: "Reading what is stored, or restoring a sample of it, found something that is not what was backed up.",
    },
    Alert {
        name: "HoldfastVerificationLate",
        query: r#"(time() - max by (domain) (holdfast_coordinator_maintenance_success_timestamp_seconds{kind="scrub"} > 0)) > 14 * 86400"#,
        lasts: "1h",
        severity: Severity::Warning,
        summary: "nothing of {{ $labels.domain }} was verified for {{ $value | humanizeDuration }}",
        description: "Damage in the store would not be noticed before a restore.",
    },
    Alert {
        name: "HoldfastRepositoryUnreachable",
        query: "max by (domain) (holdfast_coordinator_domain_open) == 0 or sum by (domain) (increase(holdfast_coordinator_refresh_failures_total[15m])) > 3",
        lasts: "10m",
        severity: Severity::Critical,
        summary: "the repository of {{ $labels.domain }} can't be opened or read",
        description: "No backup goes there until the store answers and the key opens it.",
    },
    Alert {
        name: "HoldfastRepositoryGrowth",
        query: "max by (domain) (holdfast_coordinator_repository_bytes) > 1.5 * max by (domain) (holdfast_coordinator_repository_bytes offset 7d) + 10 * 2^30",
        lasts: "1h",
        severity: Severity::Warning,
        summary: "{{ $labels.domain }} grew by more than half within a week, to {{ $value | humanize1024 }}B",
        description: "New volumes, data that changes more than before, or retention that no longer lets anything go.",
    },
    Alert {
        name: "HoldfastRetentionStopped",
        query: "max by (domain) (holdfast_coordinator_retention_breakers_tripped) > 0",
        lasts: "0m",
        severity: Severity::Warning,
        summary: "retention of {{ $labels.domain }} would have forgotten too much, and was stopped",
        description: "Nothing is forgotten by that rule until somebody looks: a wrong rule, a wrong clock or a mass deletion.",
    },
    Alert {
        name: "HoldfastAgentMissing",
        query: "min by (instance) (holdfast_agent_connected) == 0 or (kube_daemonset_status_desired_number_scheduled{daemonset=\"holdfast-agent\"} - kube_daemonset_status_number_ready{daemonset=\"holdfast-agent\"}) > 0",
        lasts: "15m",
        severity: Severity::Warning,
        summary: "a node has no agent that works",
        description: "Volumes that only this node has are not backed up.",
    },
    Alert {
        name: "HoldfastReadersNotConfined",
        query: "min by (instance) (holdfast_node_confined) == 0",
        lasts: "5m",
        severity: Severity::Warning,
        summary: "an agent reads volumes in processes that are not confined to them",
        description: "A fault in what reads hostile files would reach everything that the agent reaches.",
    },
    Alert {
        name: "HoldfastNoLeader",
        query: "(max(holdfast_operator_leads) or vector(0)) < 1",
        lasts: "5m",
        severity: Severity::Critical,
        summary: "no coordinator leads",
        description: "No schedule runs, no custom resource is attended to, and agents get no jobs.",
    },
];

/// As Prometheus wants them.
#[must_use]
pub fn groups() -> Value {
    let rules: Vec<Value> = ALERTS.iter().map(rule).collect();
    json!([{"name": "holdfast", "rules": rules}])
}

fn rule(alert: &Alert) -> Value {
    let severity = match alert.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
    };
    json!({
        "alert": alert.name,
        "expr": alert.query,
        "for": alert.lasts,
        "labels": {"severity": severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": format!("{RUNBOOKS}#{}", alert.name.to_lowercase()),
        },
    })
}
