//! Asks the coordinator where blobs lie; while it is away, the local index.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use proto::v1::agents_client::AgentsClient;
use proto::{MESSAGE_BYTES_MAX, convert};
use repository::Result;
use repository::ids::{BlobId, PackId, Place};
use repository::index::Lookup;
use service::client::{Connection, Dialer};
use tokio::time::Instant;

use crate::limits::{LOOKUP_IDS, LOOKUP_PAUSE_SECONDS, LOOKUP_SECONDS};
use crate::metrics::Metrics;

/// The coordinator's index, with the local one behind it.
#[derive(Debug)]
pub struct RemoteLookup {
    remote: Remote,
    local: Arc<dyn Lookup>,
}

/// The coordinator's index alone.
pub(crate) struct Remote {
    dialer: Dialer,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    paused_until: Option<Instant>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("dialer", &self.dialer).finish_non_exhaustive()
    }
}

impl RemoteLookup {
    /// Connects at the first question.
    #[must_use]
    pub fn new(dialer: Dialer, local: Arc<dyn Lookup>, metrics: Metrics) -> Self {
        Self { remote: Remote::new(dialer, metrics), local }
    }
}

impl Remote {
    /// Connects at the first question.
    pub(crate) fn new(dialer: Dialer, metrics: Metrics) -> Self {
        Self { dialer, metrics, state: Mutex::default() }
    }

    /// What the coordinator says, of at most [`LOOKUP_IDS`] ids; `None` while it is away.
    pub(crate) async fn find(&self, ids: &[BlobId]) -> Option<Vec<Option<Place>>> {
        let answer = match self.find_connection() {
            Some(connection) => match self.ask(connection, ids).await {
                Ok(answer) => Some(answer),
                Err(e) => {
                    tracing::info!(error = %e.chain(), "the coordinator does not answer lookups, using the local index");
                    self.pause();
                    None
                }
            },
            None => None,
        };
        self.metrics.count_lookup(answer.is_some(), ids.len());
        answer
    }

    /// The connection, unless the coordinator failed a moment ago.
    fn find_connection(&self) -> Option<Connection> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.paused_until.is_some_and(|t| Instant::now() < t) {
            return None;
        }
        state.paused_until = None;
        if state.connection.is_none() {
            match self.dialer.connect() {
                Ok(connection) => state.connection = Some(connection),
                Err(e) => {
                    tracing::warn!(error = %e.chain(), "no connection for lookups");
                    state.paused_until = Some(Instant::now() + Duration::from_secs(LOOKUP_PAUSE_SECONDS));
                }
            }
        }
        state.connection.clone()
    }

    fn pause(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.connection = None;
        state.paused_until = Some(Instant::now() + Duration::from_secs(LOOKUP_PAUSE_SECONDS));
    }

    async fn ask(&self, connection: Connection, ids: &[BlobId]) -> Result<Vec<Option<Place>>> {
        let mut client = AgentsClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut request = tonic::Request::new(convert::ids_to_wire(ids));
        request.set_timeout(Duration::from_secs(LOOKUP_SECONDS));
        let answer = tokio::time::timeout(Duration::from_secs(LOOKUP_SECONDS), client.lookup(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("lookup")));
        let answer = answer.map_err(|status| convert::error_from_status(&status))?;
        convert::places_from_wire(answer.get_ref(), ids.len())
    }
}

#[async_trait]
impl Lookup for RemoteLookup {
    async fn find(&self, ids: &[BlobId]) -> Result<Vec<Option<Place>>> {
        let mut places = Vec::with_capacity(ids.len());
        for batch in ids.chunks(LOOKUP_IDS) {
            match self.remote.find(batch).await {
                Some(answer) => places.extend(answer),
                None => places.extend(self.local.find(batch).await?),
            }
        }
        Ok(places)
    }

    fn find_besides(&self, id: &BlobId, packs: &HashSet<PackId>) -> Option<Place> {
        self.local.find_besides(id, packs)
    }
}
