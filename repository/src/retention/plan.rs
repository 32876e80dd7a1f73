//! The plan: rules applied to the snapshots of each volume.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::buckets::bucket;
use super::{Candidate, Decision, Plan, Quality, Reason, Rules};
use crate::env::Timestamp;

/// Decides each snapshot's fate. `snapshots` may come in any order. Snapshots of different volumes don't compete.
#[must_use]
pub fn plan(snapshots: Vec<Candidate>, rules: &Rules, now: Timestamp) -> Plan {
    let mut volumes: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    for snapshot in snapshots {
        volumes.entry(snapshot.volume.clone()).or_default().push(snapshot);
    }
    let decisions = volumes.into_values().flat_map(|volume| decide(volume, rules, now));
    Plan { decisions: decisions.collect() }
}

/// One volume's.
fn decide(mut snapshots: Vec<Candidate>, rules: &Rules, now: Timestamp) -> Vec<Decision> {
    snapshots.sort_by_key(|s| Reverse((s.recorded, s.id)));
    let mut kept: Vec<Vec<Reason>> = snapshots.iter().map(|s| own_reasons(s, rules, now)).collect();
    kept.iter_mut().take(rules.last as usize).for_each(|reasons| reasons.push(Reason::Last));
    let periods = [
        (Reason::Hourly, rules.hourly),
        (Reason::Daily, rules.daily),
        (Reason::Weekly, rules.weekly),
        (Reason::Monthly, rules.monthly),
        (Reason::Yearly, rules.yearly),
    ];
    for (period, count) in periods {
        for best in best_of_periods(&snapshots, &period, count) {
            kept[best].push(period.clone());
        }
    }
    keep_last_good(&snapshots, &mut kept);
    let decisions = snapshots.into_iter().zip(kept).map(|(snapshot, mut kept)| {
        kept.sort();
        Decision { snapshot, kept }
    });
    decisions.collect()
}

/// What speaks for a snapshot whatever others there are. One from the future, by the store's own clock, is young.
fn own_reasons(snapshot: &Candidate, rules: &Rules, now: Timestamp) -> Vec<Reason> {
    let age = u64::try_from(now.seconds().saturating_sub(snapshot.recorded.seconds())).unwrap_or(0);
    let tags = snapshot.tags.iter().filter(|tag| rules.tags.contains(tag));
    let mut reasons: Vec<_> = tags.cloned().map(Reason::Tag).collect();
    if rules.within_seconds.is_some_and(|within| age <= within) {
        reasons.push(Reason::Within);
    }
    if snapshot.pinned {
        reasons.push(Reason::Pinned);
    }
    if age < rules.age_seconds_min {
        reasons.push(Reason::Young);
    }
    reasons
}

/// Of each of the newest `count` periods that have a snapshot, the newest of the best quality there: a partial one does
/// not stand in for a whole one. `snapshots` are newest first.
fn best_of_periods(snapshots: &[Candidate], period: &Reason, count: u32) -> Vec<usize> {
    let (mut best, mut last): (Vec<usize>, _) = (Vec::new(), None);
    for (i, snapshot) in snapshots.iter().enumerate() {
        let now = bucket(period, snapshot.recorded);
        if last != Some(now) {
            if best.len() >= count as usize {
                break;
            }
            best.push(i);
            last = Some(now);
        } else if let Some(found) = best.last_mut()
            && snapshot.quality > snapshots[*found].quality
        {
            *found = i;
        }
    }
    best
}

/// Keeps the newest snapshot of the best quality if everything of that quality would go.
fn keep_last_good(snapshots: &[Candidate], kept: &mut [Vec<Reason>]) {
    let best: Option<Quality> = snapshots.iter().map(|s| s.quality).max();
    let of_best = |i: &usize| Some(snapshots[*i].quality) == best;
    if !(0..snapshots.len()).filter(of_best).any(|i| !kept[i].is_empty())
        && let Some(newest) = (0..snapshots.len()).find(of_best)
    {
        kept[newest].push(Reason::LastGood);
    }
}
