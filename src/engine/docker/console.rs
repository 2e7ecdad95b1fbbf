//! This process's terminal, lent to a container behind a socket.
//!
//! Owns raw mode and the copying of keys (termios(3)). What is set is put back when the [`Console`] is dropped.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::pipe::PipeFlags;

/// A terminal in raw mode: keys are passed on as they are, Ctrl-C included.
pub(super) struct Console {
    before: libc::termios,
}

impl Console {
    /// Puts the terminal into raw mode; nothing where standard input is none.
    pub(super) fn raw() -> Option<Self> {
        // SAFETY: the structure is plain data, filled by the first call and changed by the second.
        unsafe {
            let mut before: libc::termios = std::mem::zeroed();
            if libc::isatty(1) != 1 || libc::tcgetattr(0, &mut before) != 0 {
                return None;
            }
            let mut raw = before;
            libc::cfmakeraw(&mut raw);
            (libc::tcsetattr(0, libc::TCSANOW, &raw) == 0).then_some(Self { before })
        }
    }

    /// Returns the height and width of the terminal in characters.
    pub(super) fn size(&self) -> (i32, i32) {
        // SAFETY: the structure is plain data that the call fills.
        unsafe {
            let mut size: libc::winsize = std::mem::zeroed();
            match libc::ioctl(0, libc::TIOCGWINSZ, &mut size) {
                0 => (i32::from(size.ws_row), i32::from(size.ws_col)),
                _ => (24, 80),
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // SAFETY: `before` is what the terminal had.
        unsafe { libc::tcsetattr(0, libc::TCSANOW, &self.before) };
    }
}

/// Ends [`read_keys`] when dropped.
pub(super) struct Stop {
    _held: OwnedFd,
}

/// Returns the two ends by which [`read_keys`] is stopped.
pub(super) fn stop() -> io::Result<(OwnedFd, Stop)> {
    let (waited, held) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((waited, Stop { _held: held }))
}

/// Gives standard input to `take` until its end, until `take` refuses, or until stopped.
pub(super) fn read_keys(stopped: &OwnedFd, mut take: impl FnMut(Vec<u8>) -> bool) {
    let input = io::stdin();
    loop {
        let descriptor = input.as_fd();
        let mut waited = [PollFd::new(&descriptor, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match rustix::event::poll(&mut waited, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        let [_, stop] = waited.map(|descriptor| descriptor.revents());
        if !stop.is_empty() {
            return;
        }
        let mut buffer = [0; 4096];
        match input.lock().read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                if !take(buffer.get(..length).unwrap_or_default().to_vec()) {
                    return;
                }
            }
        }
    }
}
