//! Tries system calls that a confined process must not make, and says which the kernel would have made.
//!
//! The arguments are such that a call that is not refused fails anyway or changes nothing: null pointers, no process, no file.

use libc::c_long;

/// What is tried.
const TRIED: [(&str, c_long, [c_long; 5]); 22] = [
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, 0, 0, 0, 0]),
    ("mount", libc::SYS_mount, [0; 5]),
    ("umount2", libc::SYS_umount2, [0; 5]),
    ("move_mount", libc::SYS_move_mount, [-1, 0, -1, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [-1, 0, 0, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [0; 5]),
    ("chroot", libc::SYS_chroot, [0; 5]),
    ("pivot_root", libc::SYS_pivot_root, [0; 5]),
    // PTRACE_ATTACH, to no process.
    ("ptrace", libc::SYS_ptrace, [16, -1, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [-1, 0, 0, 0, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [-1, 0, 0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, -1, 0, 0, 0]),
    ("execve", libc::SYS_execve, [0; 5]),
    // No namespace at all.
    ("unshare", libc::SYS_unshare, [0; 5]),
    ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [-1, 0, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0, -1, -1, -1, -1]),
    ("keyctl", libc::SYS_keyctl, [-1, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [0; 5]),
    ("init_module", libc::SYS_init_module, [0; 5]),
    ("kexec_load", libc::SYS_kexec_load, [0, -1, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 5]),
];

/// The names of all that is tried.
pub fn tried() -> impl Iterator<Item = &'static str> {
    TRIED.iter().map(|(name, _, _)| *name)
}

/// The names of those that are not refused to this thread. A kernel that does not have a call refuses it, too.
#[must_use]
pub fn allowed() -> Vec<&'static str> {
    TRIED
        .iter()
        .filter(|(_, call, arguments)| !is_refused(*call, *arguments))
        .map(|(name, _, _)| *name)
        .collect()
}

fn is_refused(call: c_long, [a, b, c, d, e]: [c_long; 5]) -> bool {
    // SAFETY: only calls of the list above come here. Their pointers are null and their descriptors and processes are -1, so that
    // they touch no memory; those that could succeed (unshare of nothing) change nothing.
    let done = unsafe { libc::syscall(call, a, b, c, d, e) };
    done == -1 && matches!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM | libc::ENOSYS))
}

#[cfg(test)]
mod tests;
