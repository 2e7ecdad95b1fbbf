//! System calls that have no safe form elsewhere.
//!
//! Owns the unsafe code of the embedded engine: fork, wait, signal masks, the loopback interface, mount attributes.
//! Everything here runs in the helper process, which has one thread. Must not decide anything.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Turns the result of a C call into a result with `errno`.
fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Which side of a fork this is.
pub(super) enum Fork {
    /// The parent, with the child's id.
    Parent(i32),
    /// The child.
    Child,
}

/// Makes a second process. Only for a process with one thread.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: the helper has one thread, so the child may do whatever the parent may.
    match checked(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent(child)),
    }
}

/// Ends this process at once, without destructors of the parent's state.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Waits for one child, and returns its status.
pub(super) fn wait_for(child: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid for writing.
        match checked(unsafe { libc::waitpid(child, &mut status, 0) }) {
            Ok(_) => return Ok(status),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Collects one dead child, if there is one: its id and status.
pub(super) fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    let child = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (child > 0).then_some((child, status))
}

/// Sends a signal; `-1` means every process of the PID namespace but this one.
pub(super) fn kill(process: i32, signal: i32) {
    // SAFETY: kill has no preconditions.
    unsafe { libc::kill(process, signal) };
}

/// Blocks every signal and returns a descriptor that becomes readable when a child dies.
pub(super) fn block_signals() -> io::Result<OwnedFd> {
    // SAFETY: signal sets are plain data, filled before use.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        checked(libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut()))?;
        let mut children: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut children);
        libc::sigaddset(&mut children, libc::SIGCHLD);
        let descriptor = checked(libc::signalfd(-1, &children, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Gives every signal its default action and unblocks all.
pub(super) fn reset_signals() -> io::Result<()> {
    // SAFETY: signal sets are plain data, filled before use; SIG_DFL is a valid action for every signal, and signals
    // that cannot be changed refuse without harm.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        checked(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())).map(drop)
    }
}

/// Makes this process be killed when its parent dies.
pub(super) fn die_with_parent() -> io::Result<()> {
    // SAFETY: prctl with these arguments touches no memory.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }).map(drop)
}

/// Hides this process from others of the same user: no tracing, no reading of its executable.
pub(super) fn hide() -> io::Result<()> {
    // SAFETY: prctl with these arguments touches no memory.
    checked(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// Marks every descriptor from `first` on as closed by execution.
pub(super) fn close_on_execute(first: u32) -> io::Result<()> {
    // SAFETY: close_range with CLOEXEC only changes flags.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, 4 /* CLOSE_RANGE_CLOEXEC */)
    };
    if result == 0 {
        return Ok(());
    }
    // Kernels before 5.11: one by one, which is slow only where the limit is very high.
    // SAFETY: fcntl on a number that is no descriptor fails without harm; sysconf has no preconditions.
    unsafe {
        let most = libc::sysconf(libc::_SC_OPEN_MAX).clamp(0, 65536) as i32;
        for descriptor in first as i32..most {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok(())
}

/// Returns the bytes of a page of memory.
pub(super) fn page_size() -> u64 {
    // SAFETY: sysconf has no preconditions.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Gives up the supplementary groups, as far as that is allowed.
pub(super) fn drop_groups() {
    // SAFETY: a length of zero reads nothing.
    unsafe { libc::setgroups(0, std::ptr::null()) };
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn raise_loopback() -> io::Result<()> {
    // SAFETY: the request structure is plain data of the size the kernel expects, and lives through both calls.
    unsafe {
        let socket =
            OwnedFd::from_raw_fd(checked(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        checked(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request)).map(drop)
    }
}

/// Lets this process run on the given processors only.
pub(super) fn use_processors(processors: &[usize]) -> io::Result<()> {
    // SAFETY: the set is plain data; CPU_SET ignores numbers that do not fit, which the filter keeps away anyway.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for processor in processors.iter().filter(|processor| **processor < libc::CPU_SETSIZE as usize) {
            libc::CPU_SET(*processor, &mut set);
        }
        checked(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)).map(drop)
    }
}

/// Returns the processors this process may run on.
pub(super) fn usable_processors() -> io::Result<Vec<usize>> {
    // SAFETY: the set is plain data, filled by the kernel.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        checked(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set))?;
        Ok((0..libc::CPU_SETSIZE as usize).filter(|processor| libc::CPU_ISSET(*processor, &set)).collect())
    }
}

/// Sets attributes of the mount at `path`, and of all mounts below it when asked.
pub(super) fn set_mount_attributes(path: &CStr, attributes: u64, depth: MountDepth) -> io::Result<()> {
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let value = MountAttributes { set: attributes, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = match depth {
        MountDepth::One => 0,
        MountDepth::All => libc::AT_RECURSIVE,
    };
    // SAFETY: `path` is a C string and `value` has the first version of the kernel's structure, of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const value,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How far a change of mounts reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MountDepth {
    /// The mount itself.
    One,
    /// The mount and everything mounted below it.
    All,
}

/// Installs a system call filter for this process and its children.
pub(super) fn install_filter(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives through the call.
    checked(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) }).map(drop)
}

/// Replaces this process by a program; returns only when that fails.
pub(super) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<*const c_char>>()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and live, with their strings, through the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Returns `path` as a C string.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}
