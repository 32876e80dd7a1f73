//! Forgets snapshots, and takes it back.
//!
//! Forgetting writes a marker; nothing is deleted before a later GC run, and until then it can be undone. The undo is a session
//! that commits a copy under the same rules as a backup (W5): what GC has moved or condemned meanwhile is named where it is now, or
//! stored again. Where anything is gone it is too late, and it says so.

use std::collections::HashMap;

use futures::TryStreamExt as _;

use crate::env::Timestamp;
use crate::error::Context as _;
use crate::ids::{Generation, Place, Sid};
use crate::index::objects::Objects;
use crate::layout::ObjectKind;
use crate::limits::REPAIR_TRIES_MAX;
use crate::manifest::record::Mark;
use crate::manifest::{Manifest, summary};
use crate::ops::reader::{Reader, is_damage};
use crate::ops::repair::rewrite;
use crate::ops::snapshots::Snapshot;
use crate::ops::{Repository, Task, pins, proofs, snapshots};
use crate::retention::{Candidate, Quality};
use crate::session::{Found, Session, Who, history};
use crate::{Error, ErrorKind, Result};

/// Who forgets, and why: for people who ask later.
#[derive(Clone, Debug, Default)]
pub struct Because {
    /// A person, a policy, a host.
    pub by: String,
    /// A reason.
    pub why: String,
}

/// The snapshots that a retention plan is about, and the outcomes that can't be read: those are never forgotten.
pub async fn candidates(repo: &Repository, volume: Option<&str>) -> Result<(Vec<Candidate>, Vec<Error>)> {
    let objects = repo.objects();
    let folder = objects.layout.folder(ObjectKind::Outcome);
    let listed = objects.store.list(&folder, None).try_collect::<Vec<_>>().await;
    let listed = listed.context(ErrorKind::Store, || format!("list {folder}"))?;
    let recorded: HashMap<Sid, Timestamp> = listed
        .into_iter()
        .filter_map(|l| Some((objects.layout.parse_session(ObjectKind::Outcome, &l.key)?.1, l.recorded)))
        .collect();
    let (mut all, damaged) = snapshots::list(repo).await?;
    all.retain(|s| volume.is_none_or(|v| s.manifest.volume == v));
    let health = proofs::health(repo, &all).await?;
    let candidate = |s: Snapshot| {
        let known = health.get(&s.id).copied().unwrap_or_default();
        let quality = match s.manifest.problems {
            // Not by what a restore test met: that may be its scratch folder's fault.
            _ if known.damaged => Quality::Damaged,
            0 => Quality::Good,
            _ => Quality::Partial,
        };
        let recorded = recorded.get(&s.id).copied().unwrap_or_else(|| objects.env.now());
        let Snapshot { id, manifest } = s;
        let pinned = known.pinned;
        Candidate { id, volume: manifest.volume, recorded, tags: manifest.tags, quality, pinned }
    };
    Ok((all.into_iter().map(candidate).collect(), damaged))
}

/// The forgotten snapshots that nothing was deleted of yet, by the beginning of an id.
pub async fn find_forgotten(repo: &Repository, prefix: &str) -> Result<Sid> {
    let names = history::list_forgotten(&repo.objects()).await?;
    let mut found = names.into_iter().map(|(_, sid)| sid).filter(|sid| sid.to_string().starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(sid), None) if prefix.len() >= 4 => Ok(sid),
        (Some(_), _) => {
            Err(Error::new(ErrorKind::Input, format!("{prefix:?} names several: give more of the id")))
        }
        (None, _) => Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no forgotten snapshot {prefix}: it was never forgotten, or GC has deleted it"),
        )),
    }
}

/// Forgets snapshots, with one look at what there is for all of them.
#[derive(Debug)]
pub struct Forgetter<'a> {
    because: &'a Because,
    objects: Objects,
    names: HashMap<Sid, Generation>,
    pins: HashMap<Sid, Mark>,
    forgotten: Vec<Sid>,
}

impl<'a> Forgetter<'a> {
    /// Looks what there is, and what is pinned.
    pub async fn new(repo: &Repository, because: &'a Because) -> Result<Self> {
        let objects = repo.objects();
        let names = history::list_outcomes(&objects).await?.into_iter().map(|(g, sid)| (sid, g)).collect();
        let pins = pins::list(repo).await?;
        Ok(Self { because, objects, names, pins, forgotten: Vec::new() })
    }

    /// Marks a snapshot as forgotten. One that is already stays so; one that is pinned is refused.
    pub async fn forget(&mut self, snapshot: Sid) -> Result<()> {
        let Some(&generation) = self.names.get(&snapshot) else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no snapshot {snapshot}")));
        };
        if let Some(pin) = self.pins.get(&snapshot) {
            let what = format!("{}; `holdfast unpin` takes that back", pins::described(snapshot, pin));
            return Err(Error::new(ErrorKind::Refused, what));
        }
        let key = self.objects.layout.forget(generation, snapshot);
        let mark = self.because.mark(&self.objects);
        let sealed = self.objects.seal(ObjectKind::Forget, &key, &mark.encode());
        self.objects.put_own(&key, &sealed).await?;
        self.forgotten.push(snapshot);
        Ok(())
    }

    /// Says if any of them was pinned meanwhile: who pins looks for the marker afterwards, so that one of the two sees the
    /// other.
    pub async fn finish(self, repo: &Repository) -> Result<()> {
        if self.forgotten.is_empty() {
            return Ok(());
        }
        let pins = pins::list(repo).await?;
        match self.forgotten.iter().find_map(|sid| Some((sid, pins.get(sid)?))) {
            None => Ok(()),
            Some((sid, pin)) => {
                let what = pins::described(*sid, pin);
                let what = format!("{what}, while it was forgotten: `holdfast unforget` brings it back");
                Err(Error::new(ErrorKind::Refused, what))
            }
        }
    }
}

/// Marks a snapshot as forgotten. One that is already stays so; one that is pinned is refused.
pub async fn forget(repo: &Repository, snapshot: Sid, because: &Because) -> Result<()> {
    let mut forgetter = Forgetter::new(repo, because).await?;
    forgetter.forget(snapshot).await?;
    forgetter.finish(repo).await
}

impl Because {
    /// What a marker or a pin says.
    pub(super) fn mark(&self, objects: &Objects) -> Mark {
        Mark { at: objects.env.now(), by: self.by.clone(), why: self.why.clone() }
    }
}

/// Where a snapshot's outcome lies.
async fn find(objects: &Objects, snapshot: Sid, forgotten: bool) -> Result<history::Name> {
    let names = if forgotten {
        history::list_forgotten(objects).await?
    } else {
        history::list_outcomes(objects).await?
    };
    let found = names.into_iter().find(|(_, sid)| *sid == snapshot);
    found.ok_or_else(|| {
        let what = if forgotten { "there is no forgotten snapshot" } else { "there is no snapshot" };
        Error::new(ErrorKind::NotFound, format!("{what} {snapshot}"))
    })
}

/// Brings a forgotten snapshot back, under a new id, which is returned. What was moved or condemned meanwhile is led to, or
/// stored again, as long as it can be read. Fails with `Refused` where anything of it is gone.
pub async fn unforget(repo: &Repository, snapshot: Sid, node: &str, task: &Task) -> Result<Sid> {
    let mut tried = 1;
    loop {
        match undo(repo, snapshot, node, task).await {
            Err(e) if e.kind() == ErrorKind::Fenced && tried < REPAIR_TRIES_MAX => tried += 1,
            other => return other.map_err(|e| e.context(format!("bring snapshot {snapshot} back"))),
        }
    }
}

async fn undo(repo: &Repository, snapshot: Sid, node: &str, task: &Task) -> Result<Sid> {
    let objects = repo.objects();
    let (generation, sid) = find(&objects, snapshot, true).await?;
    let Found::Committed(manifest) = history::read(&objects, generation, sid).await? else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no snapshot {snapshot}")));
    };
    let session = Session::open(objects, &Who::writer(node, &manifest.volume)).await?;
    let original = Snapshot { id: snapshot, manifest: *manifest };
    match copy_of(repo, &session, original, task).await {
        Ok(copy) => {
            let id = session.sid();
            session.commit(copy).await?.or_error()?;
            Ok(id)
        }
        Err(e) => {
            // The error that counts is the first one; an open session is merely fenced later.
            drop(session.abort("the undo failed").await);
            Err(e)
        }
    }
}

/// What the session commits: the manifest as it is if all that it names may be referenced there, or else a rewritten one.
async fn copy_of(repo: &Repository, session: &Session, original: Snapshot, task: &Task) -> Result<Manifest> {
    session.note_all_packs().await?;
    if may_stay(repo, session, &original.manifest).await? {
        return Ok(original.manifest);
    }
    repo.need_data("bringing back a snapshot of which blobs have moved")?;
    Box::pin(rewrite::whole(repo, session, &original, task)).await
}

/// W5 for every place that the manifest needs, as it is named there: relocations last only as long as some summary names the old
/// place, and this one's is not in the catalogue any more.
async fn may_stay(repo: &Repository, session: &Session, manifest: &Manifest) -> Result<bool> {
    let needs = match summary::load(&manifest.summary, &*Reader::of_writer(repo, session)).await {
        Ok(needs) => needs,
        // The summary is made anew from the tree.
        Err(e) if is_damage(&e) => return Ok(false),
        Err(e) => return Err(e),
    };
    let places = needs.iter().flat_map(|n| {
        let pack = n.pack.id;
        n.ordinals.iter().map(move |ordinal| Place { pack, ordinal })
    });
    for place in places.chain(manifest.summary.pieces().iter().map(|p| p.place)) {
        if session.resolve(place) != place || !session.may_use(place).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
