//! Retention by configured rules: the first that matches a volume counts, each with its own breaker. Pure.

use repository::env::Timestamp;
use repository::retention::{Candidate, Decision, Plan, Reason, Rules, TooMany, plan};

use crate::glob::matches;

/// What to keep of which volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// A volume's name; `*` stands for any text.
    pub volume: String,
    /// What to keep; with none, everything is.
    pub rules: Rules,
    /// A run that would forget a larger share of these volumes' snapshots forgets none of them.
    pub share_percent_max: u8,
}

/// What is forgotten at the most in one run, unless configured.
pub const SHARE_PERCENT_MAX: u8 = 50;

/// What counts where nobody said anything: two days whole, then ever fewer, and one of each year for ever.
#[must_use]
pub fn default_rules() -> Vec<RetentionRule> {
    let rules = Rules {
        last: 3,
        hourly: 48,
        daily: 30,
        weekly: 12,
        monthly: 24,
        yearly: u32::MAX,
        within_seconds: Some(2 * 24 * 3600),
        ..Rules::default()
    };
    vec![RetentionRule { volume: "*".to_owned(), rules, share_percent_max: SHARE_PERCENT_MAX }]
}

/// What the rules decide.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// The fate of each snapshot, by volume, then newest first.
    pub plan: Plan,
    /// Rules whose breaker tripped, by their volumes' pattern: of these nothing is to be forgotten.
    pub tripped: Vec<(String, TooMany)>,
}

/// Decides by the rules. With `force_percent`, that is every rule's breaker.
#[must_use]
pub fn decide(
    candidates: Vec<Candidate>,
    rules: &[RetentionRule],
    now: Timestamp,
    force_percent: Option<u8>,
) -> Retention {
    let mut groups: Vec<Vec<Candidate>> = vec![Vec::new(); rules.len()];
    let mut out = Retention::default();
    for candidate in candidates {
        let rule = rules.iter().position(|r| matches(&r.volume, &candidate.volume));
        match rule.filter(|&i| !rules[i].rules.is_empty()) {
            Some(i) => groups[i].push(candidate),
            None => {
                let kept = vec![Reason::NoRule];
                out.plan.decisions.push(Decision { snapshot: candidate, kept });
            }
        }
    }
    for (rule, group) in rules.iter().zip(groups) {
        let decided = plan(group, &rule.rules, now);
        if let Err(e) = decided.check_share(force_percent.unwrap_or(rule.share_percent_max)) {
            out.tripped.push((rule.volume.clone(), e));
        }
        out.plan.decisions.extend(decided.decisions);
    }
    out.plan.decisions.sort_by(|a, b| {
        let (a, b) = (&a.snapshot, &b.snapshot);
        a.volume.cmp(&b.volume).then(b.recorded.cmp(&a.recorded)).then(a.id.cmp(&b.id))
    });
    out
}

impl Retention {
    /// The plan without what a tripped breaker holds back, as its rule's volumes.
    #[must_use]
    pub fn allowed(&self, rules: &[RetentionRule]) -> Plan {
        let held = |volume: &str| {
            let rule = rules.iter().find(|r| matches(&r.volume, volume));
            rule.is_some_and(|r| self.tripped.iter().any(|(pattern, _)| *pattern == r.volume))
        };
        let decisions = self.plan.decisions.iter().filter(|d| !held(&d.snapshot.volume)).cloned().collect();
        Plan { decisions }
    }
}

#[cfg(test)]
mod tests;
