//! What happens as time passes: waiting jobs are offered, lost ones taken back, due volumes queued, snapshots read again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use proto::convert;
use proto::job::BackupSpec;
use proto::v1;
use repository::Result;
use repository::env::Timestamp;
use repository::ops::snapshots::Snapshot;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Core, Snapshots};
use crate::db::agents::VolumeRow;
use crate::db::jobs::Queued;
use crate::jobs::{Event, Record, State};
use crate::limits::OFFER_SECONDS;
use crate::schedule::{Action, Decision, Volume, plan};

/// Time-outs and schedules are looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// Jobs that come are offered after this: many that come together are looked at once.
const PAUSE: Duration = Duration::from_millis(20);

impl Core {
    /// Offers and schedules until `shutdown`.
    pub(crate) async fn keep_going(&self, shutdown: &CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let tick = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => true,
                () = self.wake.notified() => {
                    tokio::time::sleep(PAUSE).await;
                    false
                }
            };
            if let Err(e) = self.step(tick).await {
                tracing::error!(error = %e.chain(), "jobs could not be given out");
            }
        }
    }

    /// Looks after the jobs; at a tick also for volumes that are due.
    async fn step(&self, tick: bool) -> Result<()> {
        let now = self.env.now();
        if tick {
            self.schedule(now).await?;
        }
        for record in self.db.active_jobs().await? {
            self.tend(record, now).await?;
        }
        let active = self.db.active_jobs().await?;
        self.keeper.live.set(&active);
        self.metrics.set_jobs(&active);
        Ok(())
    }

    async fn tend(&self, record: Record, now: Timestamp) -> Result<()> {
        match (record.state, &record.agent) {
            (State::Queued, _) if now >= record.not_before => self.offer(record).await,
            (State::Offered | State::Running, Some(agent)) => {
                let id = record.job.id;
                let away = self.hub.away_since(agent, self.started);
                let lost = match away {
                    Some(since) => now >= since.plus_seconds(self.lost_seconds),
                    // Connected, but it never answered the offer.
                    None => {
                        let since = record.offered.unwrap_or(record.queued).max(self.started);
                        record.state == State::Offered && now >= since.plus_seconds(OFFER_SECONDS)
                    }
                };
                if lost {
                    tracing::warn!(run = %id, agent, "job lost with its agent");
                    self.change(id, Event::Lost).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn offer(&self, record: Record) -> Result<()> {
        let agent = match (&record.wanted_agent, record.job.spec.volume()) {
            (Some(agent), _) => Some(agent.clone()).filter(|a| self.hub.has_room(a)),
            (None, Some(volume)) => self.hub.find_for_volume(volume),
            (None, None) => None,
        };
        let Some(agent) = agent else { return Ok(()) };
        let id = record.job.id;
        let offered = self.change(id, Event::Offer(agent.clone())).await?;
        if offered.is_none_or(|r| r.state != State::Offered) {
            return Ok(());
        }
        self.hub.hold(&agent, id);
        let offer = v1::Offer { job: Some(convert::job_to_wire(&record.job)) };
        if !self.hub.send(&agent, v1::coordinator_message::Message::Offer(offer)) {
            // Gone between the two: as if it had declined.
            self.change(id, Event::Decline(agent)).await?;
        }
        Ok(())
    }

    async fn schedule(&self, now: Timestamp) -> Result<()> {
        // Before the snapshots are known, everything would look due.
        if self.snapshots().read.is_none() {
            return Ok(());
        }
        let volumes = self.volumes().await?;
        let decisions = plan(now, &volumes, &self.rules());
        self.count_volumes(&volumes, &decisions);
        for decision in decisions {
            if decision.action == Action::Run {
                let spec = BackupSpec { volume: decision.volume, ..BackupSpec::default() };
                tracing::info!(volume = spec.volume, late = decision.late, "volume is due");
                if self.run_scheduled(spec).await? == Queued::Full {
                    // The rest stays due.
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What the scheduler needs to know of each volume.
    pub(crate) async fn volumes(&self) -> Result<Vec<Volume>> {
        let snapshots = self.snapshots();
        let mut newest: HashMap<&str, Timestamp> = HashMap::new();
        for s in &snapshots.all {
            let t = newest.entry(&s.manifest.volume).or_insert(s.manifest.started);
            *t = (*t).max(s.manifest.started);
        }
        let active = self.db.active_jobs().await?;
        let busy: HashSet<&str> = active.iter().filter_map(|r| r.job.spec.volume()).collect();
        let failed: HashMap<String, Timestamp> = self.db.failed_volumes().await?.into_iter().collect();
        let rows = self.db.volumes().await?;
        let volume = |row: VolumeRow| Volume {
            first_seen: row.first_seen,
            newest_started: newest.get(row.name.as_str()).copied(),
            last_failed: failed.get(&row.name).copied(),
            busy: busy.contains(row.name.as_str()),
            connected: row.agent.is_some_and(|a| self.hub.is_connected(&a)),
            name: row.name,
        };
        Ok(rows.into_iter().map(volume).collect())
    }

    fn count_volumes(&self, volumes: &[Volume], decisions: &[Decision]) {
        let mut counts = [0; 3];
        let mut behind: Option<i64> = None;
        for (volume, decision) in volumes.iter().zip(decisions) {
            let place = match (decision.action, decision.late) {
                (Action::Unscheduled, _) => 2,
                (_, true) => 1,
                (_, false) => 0,
            };
            counts[place] += 1;
            if place != 2 {
                let newest = volume.newest_started.map_or(0, Timestamp::seconds);
                behind = Some(behind.map_or(newest, |b| b.min(newest)));
            }
        }
        self.metrics.set_volumes(counts);
        self.metrics.furthest_behind.set(behind.unwrap_or(0));
    }

    /// Reads the snapshots again until `shutdown`.
    pub(crate) async fn keep_fresh(&self, every: Duration, shutdown: &CancellationToken) {
        loop {
            if let Err(e) = self.refresh().await {
                self.metrics.refresh_failures.inc();
                tracing::warn!(error = %e.chain(), "snapshots could not be read");
            }
            // Ahead of the agents' questions, so that none of them waits for it.
            if let Err(e) = self.engine.refresh_index().await {
                self.metrics.refresh_failures.inc();
                tracing::warn!(error = %e.chain(), "the index could not be refreshed");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// Reads the snapshots from the bucket; volumes come back with them.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let began = self.env.now();
        let known = {
            let known = self.snapshots();
            // What only an agent said is read from the store once.
            let read = |s: &&Arc<Snapshot>| !known.reported.contains_key(&s.id);
            known.all.iter().filter(read).cloned().collect::<Vec<_>>()
        };
        let (all, damaged) = self.engine.snapshots_light(&known).await?;
        let volumes: HashMap<&str, VolumeRow> = all
            .iter()
            .map(|s| {
                let m = &s.manifest;
                let (name, host, path) = (m.volume.clone(), m.host.clone(), m.path.clone());
                (m.volume.as_str(), VolumeRow { name, host, path, agent: None, first_seen: m.started })
            })
            .collect();
        self.db.put_volumes_unless_known(volumes.into_values().collect()).await?;
        self.metrics.by_volume.set(&all);
        self.metrics.snapshots.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
        self.metrics.snapshots_damaged.set(i64::try_from(damaged.len()).unwrap_or(i64::MAX));
        let damaged = damaged.iter().map(|e| (e.kind(), e.chain())).collect();
        self.put_snapshots(
            Snapshots { all, damaged, read: Some(self.env.now()), ..Snapshots::default() },
            began,
        );
        self.wake.notify_one();
        Ok(())
    }
}

impl Core {
    /// A snapshot that an agent reported since the listing began may be missing in the listing: it stays, whatever times the
    /// agent wrote into it. One that was reported before and is missing has been forgotten.
    fn put_snapshots(&self, mut fresh: Snapshots, began: Timestamp) {
        let mut guard = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        let listed: HashSet<_> = fresh.all.iter().map(|s| s.id).collect();
        let missing = guard.reported.iter().filter(|(id, at)| **at >= began && !listed.contains(id));
        fresh.reported = missing.map(|(id, at)| (*id, *at)).collect();
        let kept: Vec<_> = guard.all.iter().filter(|s| fresh.reported.contains_key(&s.id)).cloned().collect();
        if !kept.is_empty() {
            fresh.all.extend(kept);
            fresh.all.sort_by_key(|s| s.manifest.started);
        }
        *guard = Arc::new(fresh);
        drop(guard);
        self.pulse.beat();
    }
}
