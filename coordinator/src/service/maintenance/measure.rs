//! Figures of the repository. The work goes on as long as the client waits for it, and holds nobody else up.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, stream};
use proto::convert::{between_to_wire, detail_to_wire, freed_to_wire, rules_from_wire};
use proto::v1;
use proto::v1::measure_request::What;
use repository::ops::Task;
use repository::ops::browse::ResultStream;
use repository::ops::snapshots::Snapshot;
use repository::retention::plan;
use repository::{Error, ErrorKind, Result};

use crate::core::Core;

/// Files and folders that are named unless somebody says how many.
const TOP: u32 = 20;

/// The figures, in parts. Dropping the stream ends the work.
pub(super) fn measure(core: Arc<Core>, request: v1::MeasureRequest) -> ResultStream<v1::MeasureResponse> {
    let task = Task::default();
    let guard = task.cancel.clone().drop_guard();
    let work = async move {
        let _ended_with_the_stream = guard;
        parts(&core, request, &task).await
    };
    let items = work.into_stream().flat_map(|done| {
        stream::iter(match done {
            Ok(parts) => parts.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(e) => vec![Err(e)],
        })
    });
    items.boxed()
}

async fn parts(core: &Core, request: v1::MeasureRequest, task: &Task) -> Result<Vec<v1::MeasureResponse>> {
    match request.what {
        Some(What::Detail(v1::MeasureDetail {})) => Ok(detail_to_wire(core.engine.detail(task).await?)),
        Some(What::Between(b)) => {
            let (older, newer) = (find(core, b.older).await?, find(core, b.newer).await?);
            let top = if b.top == 0 { TOP } else { b.top };
            let most = usize::try_from(top).unwrap_or(usize::MAX);
            core.engine.between((&older, &newer), most, task).await.map(between_to_wire)
        }
        Some(What::WouldFree(w)) => {
            let volume = Some(w.volume.as_str()).filter(|v| !v.is_empty());
            let mut ids = HashSet::new();
            for name in &w.snapshots {
                ids.insert(core.engine.snapshot(name, volume).await?.id);
            }
            if let Some(rules) = w.rules {
                let (candidates, _) = core.engine.candidates(volume).await?;
                let planned = plan(candidates, &rules_from_wire(rules)?, core.env.now());
                ids.extend(planned.forgotten().map(|s| s.id));
            }
            core.engine.would_free(&ids, task).await.map(|f| freed_to_wire(&f))
        }
        None => Err(Error::new(ErrorKind::Input, "message field what: missing")),
    }
}

async fn find(core: &Core, spec: Option<v1::SnapshotSpec>) -> Result<Snapshot> {
    let spec = spec.unwrap_or_default();
    core.engine.snapshot(&spec.spec, Some(spec.volume.as_str()).filter(|v| !v.is_empty())).await
}
