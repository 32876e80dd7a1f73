//! What each volume has, by name: the one label that is not from a closed set. It is bounded: those furthest behind are shown.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use repository::ops::snapshots::Snapshot;

/// Snapshots of each volume, and when its newest good one began. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Volumes {
    rows: Arc<RwLock<Vec<Row>>>,
    names_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    volume: String,
    snapshots: i64,
    newest_good: i64,
}

impl Volumes {
    /// Names at most so many.
    pub(super) fn new(names_max: usize) -> Self {
        Self { rows: Arc::default(), names_max }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// As the snapshots were read.
    pub fn set(&self, all: &[Arc<Snapshot>]) {
        let mut by_volume: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for s in all {
            let known = by_volume.entry(&s.manifest.volume).or_default();
            known.0 += 1;
            if s.manifest.problems == 0 {
                known.1 = known.1.max(s.manifest.started.seconds());
            }
        }
        let row = |(volume, (snapshots, newest_good)): (&str, (i64, i64))| Row {
            volume: volume.to_owned(),
            snapshots,
            newest_good,
        };
        let mut rows: Vec<Row> = by_volume.into_iter().map(row).collect();
        rows.sort_by_key(|r| r.newest_good);
        rows.truncate(self.names_max);
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

type Read = fn(&Row) -> i64;

const METRICS: [(&str, &str, Read); 2] = [
    (
        "volume_snapshots",
        "Snapshots of each volume (label `volume`), of the thousand volumes furthest behind",
        |r| r.snapshots,
    ),
    (
        "volume_newest_good_timestamp_seconds",
        "Start of the newest snapshot without problems of each volume (label `volume`), of the thousand furthest \
         behind; 0 if there is none",
        |r| r.newest_good,
    ),
];

impl Collector for Volumes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, help, read) in METRICS {
            // The library adds the full stop only to registered metrics.
            let help = format!("{help}.");
            let mut metric = encoder.encode_descriptor(name, &help, None, MetricType::Gauge)?;
            for row in &rows {
                let gauge = ConstGauge::new(read(row));
                gauge.encode(metric.encode_family(&[("volume", row.volume.as_str())])?)?;
            }
        }
        Ok(())
    }
}
