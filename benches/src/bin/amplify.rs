//! `amplify`: how much more a repository stores than its snapshots need, over a hundred versions of a database's file of which
//! some are kept, with retention and garbage collection as in earnest.
//!
//! *Live* is what the kept snapshots refer to: of a blob of file content the slices that any of them needs, of metadata
//! whole blobs; in each case that share of the stored bytes. *Stored* is all packs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use benches::random::Random;
use benches::text::Writer;
use bytes::Bytes;
use clap::Parser;
use futures::TryStreamExt as _;
use repository::chunk::segment::{self, StretchData};
use repository::env::Env;
use repository::ids::{BlobRef, DomainName, PackId, Place};
use repository::items::entry::{Content, Kind};
use repository::items::range::Range;
use repository::items::segment::read_segment;
use repository::items::{BlobFetch, NodeRef, TreeReader};
use repository::keys::Credential;
use repository::manifest::{Manifest, summary};
use repository::ops::backup::{BackupRequest, Reuse, backup};
use repository::ops::forget::{Because, forget};
use repository::ops::gc::{Alive, Compaction, GcRequest, collect};
use repository::ops::init::{InitOptions, init};
use repository::ops::{OpenOptions, Repository, Task};
use repository::pack::{BlobReader, Footer, PackKind};
use repository::session::Relocations;
use repository::source::Rules;
use repository::store::{RemoteStore, Store};

/// How much more is stored than needed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder for the database's file.
    #[arg(long)]
    data: PathBuf,
    /// The file's size at the beginning, MiB.
    #[arg(long, default_value_t = 256)]
    mebibytes: u64,
    /// Versions that are backed up.
    #[arg(long, default_value_t = 100)]
    versions: u64,
    /// The newest so many are kept.
    #[arg(long, default_value_t = 7)]
    keep: usize,
    /// Pages that change from one version to the next, in a hundred.
    #[arg(long, default_value_t = 2)]
    percent: u64,
    /// Packs of which less than this share is live are copied forward, percent; 0 for none.
    #[arg(long, default_value_t = 70)]
    live_percent_below: u8,
}

const PAGE: u64 = 8192;
/// A run of pages that is written anew now and then, as a table that is rebuilt.
const RUN_PAGES: u64 = 512;

/// A page that compresses about as those of databases do.
fn page(writer: &Writer, random: &mut Random, out: &mut Vec<u8>) {
    let (start, text) = (out.len(), 3000 + random.below(3000) as usize);
    writer.text(random, out, text);
    let mut noise = vec![0; 1500];
    random.fill(&mut noise);
    out.extend_from_slice(&noise);
    out.resize(start + PAGE as usize, 0);
}

fn make(path: &Path, pages: u64, writer: &Writer) -> Result<()> {
    let (mut random, mut file) = (Random::new("churning file", 0), io::BufWriter::new(File::create(path)?));
    let mut out = Vec::new();
    for _ in 0..pages {
        out.clear();
        page(writer, &mut random, &mut out);
        file.write_all(&out)?;
    }
    file.flush()?;
    Ok(())
}

/// Scattered pages, most of them in a fifth of the file; a little growth; and in every tenth version a long run. Returns
/// how many bytes are new.
fn churn(path: &Path, version: u64, percent: u64, writer: &Writer) -> Result<u64> {
    let file = File::options().read(true).write(true).open(path)?;
    let (mut random, mut new, mut out) = (Random::new("churn", version), 0, Vec::new());
    let pages = file.metadata()?.len() / PAGE;
    let mut put = |at: u64, count: u64, random: &mut Random| -> Result<()> {
        out.clear();
        (0..count).for_each(|_| page(writer, random, &mut out));
        file.write_all_at(&out, at * PAGE)?;
        new += out.len() as u64;
        Ok(())
    };
    for _ in 0..pages * percent / 100 {
        let hot = random.below(10) < 7;
        let at = random.below(if hot { pages / 5 } else { pages });
        put(at, 1, &mut random)?;
    }
    put(pages, pages / 1000, &mut random)?;
    if version.is_multiple_of(10) {
        let at = random.below(pages - RUN_PAGES);
        put(at, RUN_PAGES, &mut random)?;
    }
    Ok(new)
}

/// Reads as the engine does, wherever blobs were moved to.
struct Resolving {
    reader: Arc<BlobReader>,
    relocations: Relocations,
}

#[async_trait]
impl BlobFetch for Resolving {
    async fn get(&self, blob: BlobRef) -> repository::Result<Bytes> {
        self.reader.get(BlobRef { id: blob.id, place: self.relocations.resolve(blob.place) }).await
    }
}

/// What is needed: of each blob the bytes, as disjoint ranges by their start.
#[derive(Default)]
struct Needed(BTreeMap<PackId, BTreeMap<u32, BTreeMap<u64, u64>>>);

impl Needed {
    fn add(&mut self, place: Place, mut from: u64, mut to: u64) {
        let ranges = self.0.entry(place.pack).or_default().entry(place.ordinal).or_default();
        let touching = ranges.range(..=to).filter(|(_, end)| **end >= from).map(|(start, _)| *start);
        for start in touching.collect::<Vec<_>>() {
            let end = ranges.remove(&start).unwrap_or(start);
            (from, to) = (from.min(start), to.max(end));
        }
        ranges.insert(from, to);
    }

    /// Their share of the stored bytes.
    async fn stored(&self, reader: &BlobReader) -> Result<f64> {
        let mut sum = 0.0;
        for (pack, blobs) in &self.0 {
            let footer = reader.footer(*pack).await?;
            for (ordinal, ranges) in blobs {
                sum += share(&footer, *ordinal, ranges.iter().map(|(from, to)| to - from).sum());
            }
        }
        Ok(sum)
    }
}

/// What so many bytes of a blob take in its pack, less frames, footer and padding.
fn share(footer: &Footer, ordinal: u32, bytes: u64) -> f64 {
    let group = &footer.groups[footer.blobs[ordinal as usize].group as usize];
    bytes as f64 * f64::from(group.stored) / f64::from(group.plain.max(1))
}

/// Adds what a snapshot needs.
async fn add(needed: &mut Needed, fetch: &Arc<Resolving>, manifest: &Manifest) -> Result<()> {
    let mut kinds: HashMap<PackId, PackKind> = HashMap::new();
    for u in summary::load(&manifest.summary, fetch.as_ref()).await? {
        for ordinal in u.ordinals.iter() {
            let place = fetch.relocations.resolve(Place { pack: u.pack.id, ordinal });
            let kind = match kinds.get(&place.pack) {
                Some(kind) => *kind,
                None => fetch.reader.describe(place.pack).await?.kind,
            };
            kinds.insert(place.pack, kind);
            if kind == PackKind::Meta {
                let footer = fetch.reader.footer(place.pack).await?;
                needed.add(place, 0, u64::from(footer.blobs[place.ordinal as usize].bytes));
            }
        }
    }
    let root = NodeRef { node: manifest.root, usage: manifest.root_usage };
    let mut entries = TreeReader::new(Arc::clone(fetch) as Arc<dyn BlobFetch>, root).stream(Range::All);
    while let Some(entry) = entries.try_next().await? {
        let Kind::File(Content::Segments(segments)) = entry.kind else { continue };
        for part in segments {
            let (bytes, places) = read_segment(fetch.as_ref(), part).await?;
            let segment = segment::decode(&bytes, &places)?;
            for stretch in segment.stretches() {
                if let StretchData::Slice(number, offset) = stretch.data {
                    let place = segment.blobs()[number as usize].blob.place;
                    let from = u64::from(offset);
                    needed.add(fetch.relocations.resolve(place), from, from + stretch.bytes);
                }
            }
        }
    }
    Ok(())
}

async fn open() -> Result<Arc<Repository>> {
    let store: Arc<dyn Store> = Arc::new(RemoteStore::memory());
    let credential = || Credential::KeyFile(zeroize::Zeroizing::new([7; 32]));
    let (domain, env) = (DomainName::default_domain(), Env::system());
    let options = InitOptions { domain: domain.clone(), credentials: vec![credential()] };
    init(Arc::clone(&store), options, &env).await?;
    let options =
        OpenOptions { domain, credential: credential(), cache_dir: None, remote: false, cpu_threads: 0 };
    Ok(Repository::open(store, options, env).await?)
}

fn request(root: &Path) -> BackupRequest {
    BackupRequest {
        root: root.to_owned(),
        volume: "database".to_owned(),
        host: "bench".to_owned(),
        rules: Rules::default(),
        tags: Vec::new(),
        read_all: false,
        reread_days: 0,
        zstd_level: 2,
        memory_bytes_max: 256 << 20,
        readers: 0,
        reuse: Reuse::Any,
        origin: None,
        shown: None,
        guard: None,
    }
}

/// What it cost to get here, bytes.
#[derive(Default)]
struct Cost {
    changed: u64,
    /// Plain bytes of blobs that were stored, those of little-used blobs among them.
    new: u64,
    again: u64,
    /// Stored bytes that collectors copied.
    copied: u64,
}

async fn print(repo: &Repository, kept: &VecDeque<Manifest>, version: u64, cost: &Cost) -> Result<()> {
    let listed: Vec<_> = repo.store.list("default/p/", None).try_collect().await?;
    let stored: u64 = listed.iter().map(|l| l.bytes).sum();
    let relocations = Relocations::load_newest(&repo.objects()).await?;
    let fetch = Arc::new(Resolving { reader: repo.reader(), relocations });
    let mut needed = Needed::default();
    for manifest in kept {
        add(&mut needed, &fetch, manifest).await?;
    }
    let live = needed.stored(&fetch.reader).await?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (stored, packs) = (mib(stored), listed.len());
    let live = live / f64::from(1 << 20);
    let (changed, new, again, copied) = (mib(cost.changed), mib(cost.new), mib(cost.again), mib(cost.copied));
    let row = format!(
        "| {version} | {stored:.1} | {live:.1} | {:.2} | {packs} | {changed:.1} | {new:.1} | {again:.1} | {copied:.1} |",
        stored / live
    );
    writeln!(io::stdout(), "{row}")?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (folder, writer) = (arguments.data.join("churn"), Writer::new());
    fs::create_dir_all(&folder)?;
    let file = folder.join("database");
    make(&file, arguments.mebibytes * (1 << 20) / PAGE, &writer)?;
    let (repo, mut kept, mut cost) = (open().await?, VecDeque::new(), Cost::default());
    let mut ids = VecDeque::new();
    let collects = GcRequest {
        fence_after_seconds: 0,
        alive: Alive::unknown(),
        dry_run: false,
        compaction: Compaction { live_percent_below: arguments.live_percent_below, ..Compaction::default() },
    };
    writeln!(
        io::stdout(),
        "| version | stored MiB | live MiB | stored / live | packs | changed | new | stored again | copied |"
    )?;
    writeln!(io::stdout(), "|---|---|---|---|---|---|---|---|---|")?;
    for version in 1..=arguments.versions {
        if version > 1 {
            cost.changed += churn(&file, version, arguments.percent, &writer)?;
        }
        let done = backup(&repo, request(&folder), None, &Task::default()).await?;
        cost.new += done.figures.bytes_new;
        cost.again += done.figures.bytes_rewritten;
        ids.push_back(done.snapshot.id);
        kept.push_back(done.snapshot.manifest);
        if ids.len() > arguments.keep {
            kept.pop_front();
            if let Some(oldest) = ids.pop_front() {
                forget(&repo, oldest, &Because::default()).await?;
            }
        }
        let run = collect(&repo, collects.clone(), &Task::default()).await?;
        cost.copied += run.copied_bytes;
        if version == 1 || version.is_multiple_of(10) {
            print(&repo, &kept, version, &cost).await?;
        }
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}
