//! Ctrl-C and its like on the host: what must not outlive the process is removed, and the process ends.
//!
//! While a container runs, the engine takes the signals and hands them on; inside an image, the pipeline does. A signal
//! that is ignored (`nohup`) stays ignored.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::convert::interrupted;
use super::exit;
use crate::disk;
use crate::ui::{Bars, Kind, Printer};

/// Somebody who ends the process when it is asked to end.
pub(super) struct Watch {
    ending: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to listen.
    pub(super) fn begin(printer: Printer, bars: Arc<Bars>) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal));
        // Without handlers the system ends the process, and the next one tidies up.
        if let Ok(mut signals) = Signals::new(heard) {
            let ending = Arc::clone(&ending);
            thread::spawn(move || {
                let Some(signal) = signals.forever().next() else { return };
                ending.store(true, Ordering::SeqCst);
                disk::remove_fleeting();
                bars.clear();
                printer.failure(&interrupted(signal));
                process::exit(i32::from(exit::number(Kind::Interrupted)));
            });
        }
        Self { ending }
    }

    /// Returns at once, or never if the process is being ended: whatever went wrong since is a consequence of that.
    pub(super) fn settle(&self) {
        while self.ending.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros is a valid `sigaction`; the call only writes what is installed into it.
    unsafe {
        let mut installed: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut installed) == 0 && installed.sa_sigaction == libc::SIG_IGN
    }
}
