//! Known agents and volumes.

use repository::Result;
use repository::env::Timestamp;
use rusqlite::{Transaction, params};

use super::Db;

/// A volume that an agent registered, or that has snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeRow {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) path: Vec<u8>,
    /// The agent that had it last.
    pub(crate) agent: Option<String>,
    pub(crate) first_seen: Timestamp,
}

/// An agent that was connected once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentRow {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) version: String,
    pub(crate) seen: Timestamp,
}

impl Db {
    /// Notes an agent and all that it has; volumes that it had before are no longer its own.
    pub(crate) async fn put_agent(&self, agent: AgentRow, volumes: Vec<VolumeRow>) -> Result<()> {
        self.call("note an agent", move |t| {
            t.execute(
                "INSERT INTO agents VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET host = ?2, version = ?3, seen = ?4",
                params![agent.id, agent.host, agent.version, agent.seen.0],
            )?;
            t.execute("UPDATE volumes SET agent = NULL WHERE agent = ?1", [&agent.id])?;
            volumes.iter().try_for_each(|v| put_volume(t, v))
        })
        .await
    }

    /// Notes that an agent was there.
    pub(crate) async fn put_agent_seen(&self, id: String, seen: Timestamp) -> Result<()> {
        let work = move |t: &Transaction<'_>| {
            t.execute("UPDATE agents SET seen = ?2 WHERE id = ?1", params![id, seen.0]).map(|_| ())
        };
        self.call("note an agent's sign of life", work).await
    }

    /// Notes volumes of which only snapshots are known.
    pub(crate) async fn put_volumes_unless_known(&self, volumes: Vec<VolumeRow>) -> Result<()> {
        self.call("note volumes", move |t| {
            for v in &volumes {
                t.execute(
                    "INSERT INTO volumes VALUES (?1, ?2, ?3, NULL, ?4) ON CONFLICT DO NOTHING",
                    params![v.name, v.host, v.path, v.first_seen.0],
                )?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn volumes(&self) -> Result<Vec<VolumeRow>> {
        self.call("list volumes", |t| {
            let mut query =
                t.prepare("SELECT name, host, path, agent, first_seen FROM volumes ORDER BY name")?;
            let rows = query.query_map([], |r| {
                Ok(VolumeRow {
                    name: r.get(0)?,
                    host: r.get(1)?,
                    path: r.get(2)?,
                    agent: r.get(3)?,
                    first_seen: Timestamp(r.get(4)?),
                })
            })?;
            rows.collect()
        })
        .await
    }

    pub(crate) async fn agents(&self) -> Result<Vec<AgentRow>> {
        self.call("list agents", |t| {
            let mut query = t.prepare("SELECT id, host, version, seen FROM agents ORDER BY id")?;
            let rows = query.query_map([], |r| {
                Ok(AgentRow {
                    id: r.get(0)?,
                    host: r.get(1)?,
                    version: r.get(2)?,
                    seen: Timestamp(r.get(3)?),
                })
            })?;
            rows.collect()
        })
        .await
    }
}

fn put_volume(t: &Transaction<'_>, v: &VolumeRow) -> rusqlite::Result<()> {
    t.execute(
        "INSERT INTO volumes VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET host = ?2, path = ?3, agent = ?4",
        params![v.name, v.host, v.path, v.agent, v.first_seen.0],
    )
    .map(|_| ())
}
