//! Confines this process to one volume, before it has a second thread: what it reads may be hostile, and it runs as root.
//!
//! 1. Landlock: files are opened beneath the volume's root only (read; in a restore also written), in the job's own folders, and
//!    what names and certificates need. Its file rights are required; what newer kernels can refuse besides is refused there.
//! 2. seccomp: no file by its handle, no other process, no mount, no new namespace, no socket but to the network (`filter`).
//! 3. No new privileges, ever.
//!
//! Not refused, since neither can tell: reading names and sizes outside (`stat`), and changing times of what may be opened.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use repository::error::Context as _;
use repository::{Error, ErrorKind, Result};

use super::filter;

/// Without these rights nothing is confined: a kernel that lacks them is refused.
const REQUIRED: ABI = ABI::V1;
/// The newest that is known.
const NEWEST: ABI = ABI::V10;

/// What names, certificates and random numbers need: a static program asks the device for these. What is not there needs nothing.
const FOR_NETWORK: [&str; 13] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/dev/random",
    "/dev/urandom",
];

/// What a process may reach.
#[derive(Debug)]
pub(crate) struct Reach<'r> {
    /// The volume's root.
    pub(crate) root: BorrowedFd<'r>,
    /// It may be written.
    pub(crate) write: bool,
    /// Folders of its own; they exist.
    pub(crate) own: Vec<PathBuf>,
}

/// Whether this kernel can confine at all; else why not.
pub(crate) fn is_possible() -> Result<()> {
    ruleset().map(drop)
}

fn ruleset() -> Result<RulesetCreated> {
    let what = || "this kernel can't confine what reads volumes (Landlock)".to_owned();
    let required = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))
        .context(ErrorKind::Refused, what)?;
    let best = required
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|r| r.scope(Scope::from_all(NEWEST)))
        .context(ErrorKind::Refused, what)?;
    best.create().context(ErrorKind::Refused, what)
}

/// Confines the calling thread, which must be the only one, and all that it starts.
pub(crate) fn confine(reach: &Reach<'_>) -> Result<()> {
    if threads()? != 1 {
        return Err(Error::new(ErrorKind::Internal, "there is a second thread before the confinement"));
    }
    let all = AccessFs::from_all(NEWEST);
    let read = AccessFs::from_read(NEWEST) & !AccessFs::Execute;
    let mut rules = ruleset()?;
    // Nothing is ever executed.
    let root = if reach.write { all & !AccessFs::Execute } else { read };
    rules = add(rules, reach.root, root)?;
    for folder in &reach.own {
        let opened =
            PathFd::new(folder).context(ErrorKind::Refused, || format!("confine to {}", folder.display()))?;
        rules = add(rules, opened, all & !AccessFs::Execute)?;
    }
    for path in FOR_NETWORK.map(Path::new) {
        if let Ok(opened) = PathFd::new(path) {
            rules = add(rules, opened, read)?;
        }
    }
    let done = rules.restrict_self().context(ErrorKind::Refused, || "confine by Landlock".to_owned())?;
    if done.ruleset == RulesetStatus::NotEnforced || !done.no_new_privs {
        return Err(Error::new(ErrorKind::Refused, "confine by Landlock: nothing was enforced"));
    }
    filter::install(reach.write)
}

fn add(rules: RulesetCreated, at: impl AsFd, rights: BitFlags<AccessFs>) -> Result<RulesetCreated> {
    rules
        .add_rule(PathBeneath::new(at, rights))
        .context(ErrorKind::Refused, || "confine by Landlock".to_owned())
}

fn threads() -> Result<usize> {
    let tasks = std::fs::read_dir("/proc/self/task");
    Ok(tasks.context(ErrorKind::Refused, || "count the threads".to_owned())?.count())
}
