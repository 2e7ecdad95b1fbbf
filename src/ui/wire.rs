//! Events as lines for the program on the host, which shows them to people.

use super::Printer;
use crate::ops::dispatch::Listener;
use crate::progress::{Event, Progress};

/// Writes each event as one JSON document a line on standard output, and everything else as it is.
pub struct Wire<'a> {
    printer: &'a Printer,
}

impl<'a> Wire<'a> {
    /// Makes a wire over the printer's standard output.
    pub fn new(printer: &'a Printer) -> Self {
        Self { printer }
    }
}

impl Progress for Wire<'_> {
    fn tell(&self, event: Event) {
        if let Ok(mut line) = serde_json::to_vec(&event) {
            line.push(b'\n');
            self.printer.raw(&line);
        }
    }
}

impl Listener for Wire<'_> {
    fn progress(&self) -> &dyn Progress {
        self
    }

    fn noise(&self, line: &str) {
        self.printer.raw(format!("{line}\n").as_bytes());
    }

    fn notice(&self, line: &str) {
        self.noise(line);
    }
}
