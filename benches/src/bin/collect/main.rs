//! `collect`: what garbage collection costs on a generated repository in memory, by the code that collects in earnest.
//!
//! Two runs: the first reads every outcome, the second one the catalogue and what came since. For each: requests by kind,
//! processor seconds, and the peak of memory above what the repository itself takes.

mod generated;

use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::Result;

use benches::usage::{cpu_seconds, forget_peak, status_kib};
use clap::Parser;
use generated::{Shape, Volume, env};
use repository::ids::{DomainName, Generation};
use repository::keys::Credential;
use repository::ops::forget::{Because, forget};
use repository::ops::gc::{Compaction, GcRequest, collect};
use repository::ops::init::{InitOptions, init};
use repository::ops::{OpenOptions, Repository, Task};
use repository::store::{CountedStore, Counts, Op, RemoteStore, Store};

/// What garbage collection costs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Volumes.
    #[arg(long, default_value_t = 1000)]
    volumes: u64,
    /// Snapshots of each volume.
    #[arg(long, default_value_t = 100)]
    snapshots: u64,
    /// Packs of each volume.
    #[arg(long, default_value_t = 29)]
    packs: u64,
    /// Packs that all volumes share.
    #[arg(long, default_value_t = 1000)]
    shared: u64,
    /// Blobs in a pack.
    #[arg(long, default_value_t = 333)]
    blobs: u32,
    /// Packs are a byte each: for the mark alone, without compaction.
    #[arg(long)]
    hollow: bool,
    /// Only the mark of the first run.
    #[arg(long)]
    mark_only: bool,
}

/// Runs `work` and prints what it took.
async fn measure<T>(what: &str, counts: &Counts, work: impl Future<Output = Result<T>>) -> Result<T> {
    // Forgets the peak so far.
    forget_peak()?;
    let (rss, cpu, before) = (status_kib("VmRSS")?, cpu_seconds()?, counts.figures());
    let out = work.await?;
    let (peak, cpu) = (status_kib("VmHWM")?, cpu_seconds()? - cpu);
    let work = counts.figures().since(&before);
    let mut text = format!(
        "{what}: {cpu:.1} CPU s, peak {} MiB above {} MiB;",
        peak.saturating_sub(rss) >> 10,
        rss >> 10
    );
    for op in Op::ALL {
        for letter in 'a'..='z' {
            let n = work.requests_of(op, letter);
            if n > 0 {
                text += &format!(" {op:?} {letter} {n},");
            }
        }
    }
    writeln!(io::stdout(), "{}", text.trim_end_matches(','))?;
    Ok(out)
}

async fn make(shape: &Shape, repo: &Arc<Repository>) -> Result<(Vec<Volume>, Volume)> {
    let shared = shape.put_packs(repo, u64::MAX, shape.shared).await?;
    let mut volumes = Vec::new();
    for number in 0..shape.volumes {
        let volume = shape.put_packs(repo, number, shape.packs).await?;
        for at in 0..shape.snapshots {
            shape.put_snapshot(repo, (&volume, &shared), at, Generation(0)).await?;
        }
        volumes.push(volume);
    }
    // What a backup that died left.
    shape.put_packs(repo, u64::MAX - 1, shape.packs).await?;
    Ok((volumes, shared))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { volumes, snapshots, packs, shared, blobs, hollow, mark_only } = arguments;
    let shape = Shape { volumes, snapshots, packs, shared, blobs, whole: !hollow };
    let counts = Arc::new(Counts::default());
    let store: Arc<dyn Store> =
        Arc::new(CountedStore::new(Arc::new(RemoteStore::memory()), Arc::clone(&counts)));
    let credential = || Credential::KeyFile(zeroize::Zeroizing::new([7; 32]));
    let domain = DomainName::default_domain();
    let options = InitOptions { domain: domain.clone(), credentials: vec![credential()] };
    init(Arc::clone(&store), options, &env()).await?;
    let options =
        OpenOptions { domain, credential: credential(), cache_dir: None, remote: false, cpu_threads: 0 };
    let repo = Repository::open(store, options, env()).await?;
    let (volumes, shared) = make(&shape, &repo).await?;
    let compaction = if hollow { Compaction::NONE } else { Compaction::default() };
    let request =
        GcRequest { fence_after_seconds: 0, dry_run: mark_only, compaction, ..GcRequest::default() };
    let task = Task::default();
    let run = |request: GcRequest| {
        let (repo, task) = (&repo, &task);
        async move { Ok(collect(repo, request, task).await?) }
    };
    let first = measure("first run", &counts, run(request.clone())).await?;
    writeln!(io::stdout(), "  {first:?}")?;
    if mark_only {
        return Ok(());
    }
    let names = repository::session::history::list_outcomes(&repo.objects()).await?;
    for (_, sid) in names.iter().step_by(usize::try_from(shape.snapshots)?.max(1)) {
        forget(&repo, *sid, &Because::default()).await?;
    }
    for volume in &volumes {
        shape.put_snapshot(&repo, (volume, &shared), shape.snapshots, first.generation).await?;
    }
    let second = measure("second run", &counts, run(request)).await?;
    writeln!(io::stdout(), "  {second:?}")?;
    Ok(())
}
