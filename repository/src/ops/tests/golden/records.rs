//! What the golden repository's records say, beside the snapshots: a line for each statement, in words of this file alone, so
//! that a change of the code's types changes no line.

use super::*;
use crate::ids::{Generation, PackId};
use crate::index::Lookup as _;
use crate::index::objects::Objects;
use crate::layout::ObjectKind;
use crate::manifest::audit::{Event, Record};
use crate::manifest::gc::{GcOpen, GcSweep, Relocation};
use crate::manifest::record::{Mark, Outcome, Registration, SessionKind};
use crate::ops::index::open_own;
use crate::ops::{audit, keys, proofs};
use crate::session::forbidden::{find_gc, find_newest_done, load_quarantine};

/// All lines.
pub(super) async fn lines(repo: &Arc<Repository>) -> Vec<String> {
    let objects = repo.objects();
    let mut out = Vec::new();
    ring(repo, &mut out).await;
    sessions(&objects, &mut out).await;
    collector(&objects, &mut out).await;
    damage(repo, &mut out).await;
    for record in audit::list(repo, &audit::Filter::default()).await.unwrap().0 {
        audited(&record, &mut out);
    }
    index(repo, &mut out).await;
    out
}

async fn ring(repo: &Repository, out: &mut Vec<String>) {
    let list = keys::list(repo).await.unwrap();
    out.push(format!("ring {} epoch {} copies {}", list.version, list.epoch, list.copies));
    for a in list.credentials {
        let label = printable(a.label.as_bytes());
        out.push(format!("credential {} {} {} {label} {}", a.id, a.kind, a.role, a.added.0));
    }
}

async fn sessions(objects: &Objects, out: &mut Vec<String>) {
    let kinds = [ObjectKind::Registration, ObjectKind::Outcome, ObjectKind::Forget, ObjectKind::Pin];
    for kind in kinds {
        for key in objects.list(&objects.layout.folder(kind), None).await.unwrap() {
            let plain = objects.find(kind, &key).await.unwrap().unwrap();
            out.push(match kind {
                ObjectKind::Registration => registration(&Registration::decode(&plain).unwrap()),
                ObjectKind::Outcome => match Outcome::decode(&plain).unwrap() {
                    Outcome::Committed { manifest, .. } => format!("{key} committed {}", manifest.volume),
                    Outcome::Aborted { reason, .. } => format!("{key} aborted {reason}"),
                },
                _ => {
                    let Mark { at, by, why } = Mark::decode(&plain).unwrap();
                    format!("{key} marked {} {by} ({why})", at.0)
                }
            });
        }
    }
}

fn registration(r: &Registration) -> String {
    let kind = match r.kind {
        SessionKind::Write => "writes",
        SessionKind::Read => "reads",
        SessionKind::Gc => "collects",
    };
    let carries: Vec<_> = r.carries.iter().map(ToString::to_string).collect();
    let snapshot = r.snapshot.map_or_else(|| "-".to_owned(), |s| s.to_string());
    let (generation, started) = (r.generation.0, r.started.0);
    format!("session {generation} {kind} {} {:?} {carries:?} {snapshot} {started}", r.node, r.volume)
}

async fn collector(objects: &Objects, out: &mut Vec<String>) {
    let (generation, done) = find_newest_done(objects).await.unwrap().unwrap();
    let open = find_gc(objects, generation, "open", GcOpen::decode).await.unwrap().unwrap();
    let sweep = find_gc(objects, generation, "sweep", GcSweep::decode).await.unwrap().unwrap();
    let n = generation.0;
    let packs = |word: &str, packs: Vec<PackId>| -> Vec<_> {
        packs.iter().map(|p| format!("{word} {n} {p}")).collect()
    };
    let moved = |word: &str, all: &[Relocation]| -> Vec<_> {
        let line = |r: &Relocation| {
            let Relocation { pack, ordinal, count, to } = r;
            format!("{word} {n} {pack}:{ordinal}+{count} to {}:{}", to.pack, to.ordinal)
        };
        all.iter().map(line).collect()
    };
    out.extend(packs("condemned", open.condemned));
    out.extend(moved("opened-moved", &open.relocations));
    out.extend(packs("swept", sweep.packs));
    out.push(format!("done {n} frozen {}", done.frozen.0));
    out.extend(done.catalogue.iter().map(|(Generation(g), sid)| format!("catalogued {g} {sid}")));
    out.extend(moved("done-moved", &done.relocations));
    out.extend(done.parts.iter().map(|part| format!("part {n} {}", crate::ids::hex(part))));
}

async fn damage(repo: &Repository, out: &mut Vec<String>) {
    let mut quarantined: Vec<_> = load_quarantine(&repo.objects()).await.unwrap().into_iter().collect();
    quarantined.sort_by_key(|(pack, _)| *pack);
    for (pack, ordinals) in quarantined {
        let ordinals = ordinals.map(|all| all.into_iter().collect::<std::collections::BTreeSet<_>>());
        out.push(format!("quarantined {pack} {ordinals:?}"));
    }
    let proofs = proofs::load(repo).await.unwrap();
    out.extend(proofs.packs.iter().map(|(pack, p)| format!("read {pack} {} damaged {}", p.at.0, p.damaged)));
    let snapshots = proofs.snapshots.iter();
    out.extend(snapshots.map(|(sid, p)| format!("verified {sid} {} problems {}", p.at.0, p.problems)));
    let tests = proofs.tests.iter();
    out.extend(tests.map(|(v, p)| format!("tested {v} {} {} problems {}", p.snapshot, p.at.0, p.problems)));
}

fn audited(record: &Record, out: &mut Vec<String>) {
    let Record { at, by, host, event } = record;
    out.push(format!("audit {} {by:?} {host:?} {}", at.0, event.kind()));
    match event {
        Event::Forgot(all) => {
            out.extend(all.iter().map(|f| format!("- {} {} {:?}", f.snapshot, f.volume, f.why)));
        }
        Event::Unforgot { snapshot, copy } => out.push(format!("- {snapshot} as {copy}")),
        Event::Collected(c) => {
            out.push(format!("- {} done {}", c.generation.0, c.done));
            out.extend(c.figures.iter().map(|(name, n)| format!("- {name} {n}")));
            out.extend(c.fenced.iter().map(|sid| format!("- fenced {sid}")));
        }
        Event::Verified(v) => {
            let (level, packs, bytes, problems) = (&v.level, v.packs, v.bytes, v.problems);
            out.push(format!("- {level} {:?} packs {packs} bytes {bytes} problems {problems}", v.snapshot));
            out.extend(v.damaged.iter().map(|d| format!("- damaged {} {}", d.pack, d.blobs)));
        }
        Event::Tested(t) => {
            let (volume, sid, files, bytes, problems) = (&t.volume, t.snapshot, t.files, t.bytes, t.problems);
            out.push(format!("- {volume} {sid} {files} {bytes} {} {problems} {:?}", t.sampled, t.failed));
        }
        Event::Repaired(r) => {
            let (what, packs, problems) = (&r.what, r.packs, r.problems);
            out.push(format!("- {what} {:?} {:?} {packs} {problems} {:?}", r.snapshot, r.copy, r.lost));
        }
        Event::Keys(what) => out.push(format!("- {what}")),
        Event::Other { text, .. } => out.push(format!("- {text}")),
    }
}

/// Where the index says that the blobs of all snapshots' files are.
async fn index(repo: &Arc<Repository>, out: &mut Vec<String>) {
    let index = open_own(repo);
    assert!(index.refresh().await.unwrap().damaged.is_empty());
    let mut ids = std::collections::BTreeSet::new();
    for snapshot in snapshots::list(repo).await.unwrap().0 {
        let entries: Vec<Entry> = browse::list(repo, &snapshot, b"", true).try_collect().await.unwrap();
        ids.extend(entries.iter().flat_map(|e| e.blobs().map(|b| b.id).collect::<Vec<_>>()));
    }
    let ids: Vec<_> = ids.into_iter().collect();
    for (id, place) in ids.iter().zip(index.find(&ids).await.unwrap()) {
        let place = place.map_or_else(|| "nowhere".to_owned(), |p| format!("{}:{}", p.pack, p.ordinal));
        out.push(format!("blob {id} {place}"));
    }
}
