//! The system calls that a child must not make: a filter in the kernel (seccomp).
//!
//! It names what is refused, not what is allowed: the engine, the allocator and the C library may learn new calls, and an
//! unknown refusal in the middle of a backup would help nobody. What would undo the confinement by Landlock is all named.

use std::collections::BTreeMap;

use libc::c_long;
use repository::error::Context as _;
use repository::{ErrorKind, Result};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Refused whatever the arguments are.
const REFUSED: &[c_long] = &[
    // Files past every check of paths: of any file system that is mounted anywhere.
    libc::SYS_open_by_handle_at,
    // What is mounted where, and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_memfd_secret,
    libc::SYS_personality,
    // Calls in a queue are seen by no filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Keys.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Clocks and names of the machine.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Cuts a file short by its path, which kernels before 6.2 let through.
    libc::SYS_truncate,
    // Names of special files.
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_set_mempolicy,
];

/// Refused where the volume is only read: Landlock does not know them, and root owns many files.
const REFUSED_TO_READERS: &[c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// Calls that libc has no name for, by the numbers that all machines share.
const REFUSED_NEW: [c_long; 2] = [
    // open_tree_attr
    467, // file_setattr
    469,
];
/// The same to readers: fchmodat2, setxattrat, removexattrat.
const REFUSED_NEW_TO_READERS: [c_long; 3] = [452, 463, 466];

#[cfg(target_arch = "x86_64")]
mod machine {
    use libc::c_long;

    /// Calls that only this machine has.
    pub(super) const REFUSED: [c_long; 8] = [
        libc::SYS_kexec_file_load,
        libc::SYS_iopl,
        libc::SYS_ioperm,
        libc::SYS_uselib,
        libc::SYS__sysctl,
        libc::SYS_modify_ldt,
        libc::SYS_fork,
        libc::SYS_vfork,
    ];
    pub(super) const REFUSED_TO_READERS: [c_long; 6] = [
        libc::SYS_chmod,
        libc::SYS_chown,
        libc::SYS_lchown,
        libc::SYS_utime,
        libc::SYS_utimes,
        libc::SYS_futimesat,
    ];
    /// Every call has a second number for programs with short pointers (x32), and some have a third: execve, ptrace,
    /// kexec_load, process_vm_readv, process_vm_writev, execveat.
    pub(super) const TWIN: Option<c_long> = Some(0x4000_0000);
    pub(super) const TRIPLETS: [c_long; 6] = [520, 521, 528, 539, 540, 545];
}

#[cfg(not(target_arch = "x86_64"))]
mod machine {
    use libc::c_long;

    pub(super) const REFUSED: [c_long; 1] = [libc::SYS_kexec_file_load];
    pub(super) const REFUSED_TO_READERS: [c_long; 0] = [];
    pub(super) const TWIN: Option<c_long> = None;
    pub(super) const TRIPLETS: [c_long; 0] = [];
}

/// Flags of `clone` that make a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// The network, and asking the kernel for this machine's addresses. Never AF_UNIX: kubelet's and drivers' sockets lie beside volumes.
const SOCKETS: [i32; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Installs the filters for the calling thread and all that it starts.
pub(crate) fn install(write: bool) -> Result<()> {
    let what = || "filter system calls (seccomp)".to_owned();
    for program in programs(write)? {
        seccompiler::apply_filter(&program).context(ErrorKind::Refused, what)?;
    }
    Ok(())
}

fn programs(write: bool) -> Result<[BpfProgram; 2]> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    for call in REFUSED.iter().copied().chain(REFUSED_NEW).chain(machine::REFUSED) {
        refuse(&mut rules, call, Vec::new());
    }
    if !write {
        let more = REFUSED_TO_READERS.iter().copied().chain(REFUSED_NEW_TO_READERS);
        for call in more.chain(machine::REFUSED_TO_READERS) {
            refuse(&mut rules, call, Vec::new());
        }
    }
    for call in machine::TRIPLETS {
        rules.insert(call | machine::TWIN.unwrap_or(0), Vec::new());
    }
    let flags = NAMESPACES.map(|flag| u64::from(flag.cast_unsigned()));
    let any = flags.map(|flag| rule(&[(0, SeccompCmpOp::MaskedEq(flag), flag)]));
    refuse(&mut rules, libc::SYS_clone, any.into_iter().collect::<Result<_>>()?);
    let others = SOCKETS.map(|domain| (0, SeccompCmpOp::Ne, u64::from(domain.cast_unsigned())));
    refuse(&mut rules, libc::SYS_socket, vec![rule(&others)?]);
    // What clone3 is asked for lies in memory, where no filter looks: without it the C library takes clone.
    let mut missing = BTreeMap::new();
    refuse(&mut missing, libc::SYS_clone3, Vec::new());
    Ok([program(rules, libc::EPERM)?, program(missing, libc::ENOSYS)?])
}

fn refuse(rules: &mut BTreeMap<c_long, Vec<SeccompRule>>, call: c_long, when: Vec<SeccompRule>) {
    if let Some(twin) = machine::TWIN {
        rules.insert(call | twin, when.clone());
    }
    rules.insert(call, when);
}

fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule> {
    let one = |(number, operation, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*number, SeccompCmpArgLen::Dword, operation.clone(), *value)
    };
    let what = || "a rule of the filter".to_owned();
    let all = conditions.iter().map(one).collect::<std::result::Result<_, _>>();
    SeccompRule::new(all.context(ErrorKind::Internal, what)?).context(ErrorKind::Internal, what)
}

fn program(rules: BTreeMap<c_long, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram> {
    let what = || format!("a filter of system calls for {}", std::env::consts::ARCH);
    let machine = std::env::consts::ARCH.try_into().context(ErrorKind::Refused, what)?;
    let refusal = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, machine);
    filter.and_then(TryInto::try_into).context(ErrorKind::Internal, what)
}

#[cfg(test)]
mod tests;
