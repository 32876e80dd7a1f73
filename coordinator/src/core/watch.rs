//! Watching runs: each change of a job, and its progress, to whoever asked.

use std::sync::PoisonError;

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use proto::job::JobId;
use repository::Result;
use repository::monitor::Figures;
use tokio::sync::watch;

use super::{Core, unknown_run};
use crate::jobs::Record;

/// A job, and how far it is.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) record: Record,
    pub(crate) figures: Figures,
}

impl Core {
    /// A job, and how far it is now.
    pub(crate) fn view(&self, record: Record) -> View {
        let figures = record.result.as_ref().map_or_else(|| self.hub.figures(record.job.id), |r| r.figures);
        View { record, figures }
    }

    /// The run now, then each change (slow watchers miss those in between), until it has ended.
    pub(crate) async fn watch(&self, id: JobId) -> Result<BoxStream<'static, View>> {
        // Subscribed first, read then: no change falls in between.
        let mut changes = self.subscribe(id);
        let record = self.db.job(id).await?;
        let Some(record) = record else {
            self.forget_watch(id);
            return Err(unknown_run(id));
        };
        if record.state.has_ended() {
            self.forget_watch(id);
            return Ok(stream::iter([self.view(record)]).boxed());
        }
        changes.mark_unchanged();
        let first = self.view(record);
        // Progress is added to what is there: without a first view, a run that goes on already would show none.
        self.begin_watch(&first);
        let newer = changes.borrow().clone();
        let first = newer.filter(|n| n.record.state.has_ended()).unwrap_or(first);
        Ok(stream::unfold((Some(first), changes), next_view).boxed())
    }

    fn subscribe(&self, id: JobId) -> watch::Receiver<Option<View>> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|_, w| w.receiver_count() > 0);
        watches.entry(id).or_insert_with(|| watch::channel(None).0).subscribe()
    }

    fn begin_watch(&self, first: &View) {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = watches.get(&first.record.job.id) {
            watch.send_if_modified(|view| {
                view.get_or_insert_with(|| first.clone());
                false
            });
        }
    }

    fn forget_watch(&self, id: JobId) {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// A job changed.
    pub(super) fn publish(&self, record: &Record) {
        let view = self.view(record.clone());
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = watches.get(&record.job.id) {
            watch.send_replace(Some(view));
        }
        if record.state.has_ended() {
            watches.remove(&record.job.id);
        }
    }

    /// A job went on.
    pub(super) fn publish_figures(&self, id: JobId, figures: Figures) {
        self.hub.set_figures(id, figures);
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = watches.get(&id) {
            watch.send_if_modified(|view| {
                view.as_mut().is_some_and(|v| {
                    v.figures = figures;
                    true
                })
            });
        }
    }
}

type Watching = (Option<View>, watch::Receiver<Option<View>>);

/// `first` is what to give at once; after an ended view nothing follows.
async fn next_view((first, mut changes): Watching) -> Option<(View, Watching)> {
    if let Some(view) = first {
        if view.record.state.has_ended() {
            // A receiver of its own, closed: the stream ends at the next call.
            changes = watch::channel(None).1;
        }
        return Some((view, (None, changes)));
    }
    loop {
        changes.changed().await.ok()?;
        let view = changes.borrow_and_update().clone();
        if let Some(view) = view {
            return Some((view, (None, changes)));
        }
    }
}
