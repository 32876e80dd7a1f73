//! Conditions of a status: what is so, since when, and why.
//!
//! The time of a change moves only when the status changes: otherwise each look would write, and each write would be looked at.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{Schema, SchemaGenerator};

/// Longest text of a condition or a status: what comes from a store's error may be any length.
pub const TEXT_BYTES_MAX: usize = 1024;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which condition.
    pub kind: &'static str,
    /// `None`: it is not known.
    pub holds: Option<bool>,
    /// One CamelCase word for programs.
    pub reason: &'static str,
    /// For a person; cut at [`TEXT_BYTES_MAX`].
    pub message: String,
}

impl Standing {
    /// It holds.
    #[must_use]
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: Some(true), reason, message: message.into() }
    }

    /// It does not.
    #[must_use]
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: Some(false), ..Self::yes(kind, reason, message) }
    }

    /// Nobody knows.
    #[must_use]
    pub fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: None, ..Self::yes(kind, reason, message) }
    }
}

/// What is done with a list of conditions.
pub trait Conditions {
    /// Says it, at generation `observed` of the object. The time stays where the status stays.
    fn put(&mut self, standing: Standing, observed: Option<i64>, now: Time);
    /// True where the condition holds.
    fn holds(&self, kind: &str) -> bool;
}

impl Conditions for Vec<Condition> {
    fn put(&mut self, standing: Standing, observed: Option<i64>, now: Time) {
        let status = match standing.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let known = self.iter().position(|c| c.type_ == standing.kind);
        let since = known.and_then(|at| self.get(at)).filter(|c| c.status == status);
        let condition = Condition {
            last_transition_time: since.map_or(now, |c| c.last_transition_time.clone()),
            message: cut(standing.message),
            observed_generation: observed,
            reason: standing.reason.to_owned(),
            status: status.to_owned(),
            type_: standing.kind.to_owned(),
        };
        match known.and_then(|at| self.get_mut(at)) {
            Some(known) => *known = condition,
            None => self.push(condition),
        }
    }

    fn holds(&self, kind: &str) -> bool {
        self.iter().any(|c| c.type_ == kind && c.status == "True")
    }
}

/// No longer than [`TEXT_BYTES_MAX`], at a character's end.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX - 3).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// The schema of a list of conditions: one of each type.
pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "description": "What is so, since when, and why.",
        "type": "array",
        "items": (generator.subschema_for::<Condition>()),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use k8s_openapi::jiff::Timestamp;

    use super::{Conditions as _, Standing, TEXT_BYTES_MAX};

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_time_moves_with_the_status_only() {
        let mut all: Vec<Condition> = Vec::new();
        all.put(Standing::no("Ready", "Opening", "wait"), Some(1), at(1));
        all.put(Standing::no("Ready", "Denied", "key"), Some(2), at(2));
        let check = |all: &[Condition], reason: &str, since: i64| {
            assert_eq!(all.len(), 1);
            assert_eq!((all[0].reason.as_str(), &all[0].last_transition_time), (reason, &at(since)));
        };
        check(&all, "Denied", 1);
        all.put(Standing::yes("Ready", "Opened", ""), Some(2), at(3));
        check(&all, "Opened", 3);
        assert!(all.holds("Ready") && !all.holds("Reachable"));
    }

    #[test]
    fn texts_are_bounded() {
        let mut all: Vec<Condition> = Vec::new();
        all.put(Standing::no("Ready", "Long", "ä".repeat(TEXT_BYTES_MAX)), None, at(1));
        assert!(all[0].message.len() <= TEXT_BYTES_MAX && all[0].message.ends_with("ä..."));
    }
}
