//! Signals that ask this process to end, while a run is under way.
//!
//! Owns the handlers of SIGINT, SIGTERM, SIGHUP and SIGQUIT for as long as an [`Interruptions`] lives, and puts back
//! what was there before. A signal that is ignored (`nohup`) stays ignored. Must not decide what a signal means.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::pipe::PipeFlags;

use crate::disk::File;

/// The signals a run passes on.
pub(super) const PASSED_ON: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// How many runs can listen at once; more of them run without being interruptible.
const LISTENERS: usize = 32;

/// The pipe of each listener, or -1. Only atomics may be touched in a signal handler.
static PIPES: [AtomicI32; LISTENERS] = [const { AtomicI32::new(-1) }; LISTENERS];

/// What was installed before the first listener came, and how many listeners there are.
static INSTALLED: Mutex<Installed> = Mutex::new(Installed { listeners: 0, before: Vec::new() });

struct Installed {
    listeners: usize,
    before: Vec<(i32, libc::sigaction)>,
}

/// A listener to the signals of this process.
pub(super) struct Interruptions {
    /// Gives one byte for each signal that came.
    pub(super) received: File,
    _sender: OwnedFd,
    slot: Option<usize>,
}

impl Interruptions {
    /// Begins to listen.
    pub(super) fn listen() -> io::Result<Self> {
        let (receiver, sender) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let slot = PIPES.iter().position(|pipe| pipe.load(Ordering::SeqCst) == -1);
        if let Some(pipe) = slot.and_then(|slot| PIPES.get(slot)) {
            pipe.store(sender.as_raw_fd(), Ordering::SeqCst);
        }
        if installed.listeners == 0 {
            installed.before = PASSED_ON.iter().filter_map(|signal| Some((*signal, install(*signal)?))).collect();
        }
        installed.listeners += 1;
        Ok(Self { received: File::from(receiver), _sender: sender, slot })
    }
}

impl Drop for Interruptions {
    fn drop(&mut self) {
        let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(pipe) = self.slot.and_then(|slot| PIPES.get(slot)) {
            pipe.store(-1, Ordering::SeqCst);
        }
        installed.listeners -= 1;
        if installed.listeners == 0 {
            for (signal, action) in std::mem::take(&mut installed.before) {
                // SAFETY: `action` is what the kernel returned for this very signal.
                unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
            }
        }
    }
}

/// Installs the handler and returns what was there; nothing where the signal is ignored and stays so.
fn install(signal: i32) -> Option<libc::sigaction> {
    // SAFETY: both structures are plain data, for which all zeros is a valid value; the handler only does what is
    // allowed in one.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &mut before) != 0 || before.sa_sigaction == libc::SIG_IGN {
            return None;
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tell as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_RESTART;
        (libc::sigaction(signal, &action, std::ptr::null_mut()) == 0).then_some(before)
    }
}

extern "C" fn tell(signal: i32) {
    let byte = signal as u8;
    for pipe in &PIPES {
        let pipe = pipe.load(Ordering::SeqCst);
        if pipe >= 0 {
            // SAFETY: write and the address of errno may be used in a handler; errno is kept for the interrupted code.
            unsafe {
                let errno = *libc::__errno_location();
                libc::write(pipe, (&raw const byte).cast(), 1);
                *libc::__errno_location() = errno;
            }
        }
    }
}
