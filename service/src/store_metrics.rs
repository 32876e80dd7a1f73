//! Requests to the store as metrics, of both servers.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use repository::store::{CountFigures as Figures, Counts, Op};

/// Reads the counters of a store when metrics are asked for.
#[derive(Debug)]
struct StoreCollector(Arc<Counts>);

/// Registers `store_requests`, `store_request_errors` and `store_bytes`, by operation.
pub fn register(registry: &mut Registry, counts: Arc<Counts>) {
    registry.register_collector(Box::new(StoreCollector(counts)));
}

type Read = fn(&Figures, Op) -> u64;

const METRICS: [(&str, &str, Read); 3] = [
    ("store_requests", "Requests to the store, retries included", Figures::requests),
    ("store_request_errors", "Requests to the store that failed", Figures::errors),
    ("store_bytes", "Bytes sent to the store, or received from it", Figures::bytes),
];

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let figures = self.0.figures();
        for (name, help, read) in METRICS {
            // The library adds the full stop only to registered metrics.
            let help = format!("{help}.");
            let mut metric = encoder.encode_descriptor(name, &help, None, MetricType::Counter)?;
            for op in Op::ALL {
                let counter = ConstCounter::new(read(&figures, op));
                counter.encode(metric.encode_family(&[("op", op.name())])?)?;
            }
        }
        Ok(())
    }
}
