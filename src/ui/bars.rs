//! Progress as bars on a terminal, as plain lines elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Verbosity;
use crate::ops::dispatch::Listener;
use crate::progress::{Event, Moment, Progress, Subject};
use crate::units::ByteSize;

/// Shows events to a person.
pub struct Bars {
    verbosity: Verbosity,
    shown: Shown,
}

/// Whether lines may move where there is a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// On a terminal.
    Moving,
    /// Never (`TERM=dumb`).
    Still,
}

enum Shown {
    Nothing,
    Lines(Mutex<HashMap<Subject, Line>>),
    Bars { bars: MultiProgress, open: Mutex<HashMap<Subject, ProgressBar>> },
}

struct Line {
    since: Instant,
    done: u64,
}

/// Work shorter than this is not worth a line of its own.
const WORTH_A_LINE: Duration = Duration::from_millis(500);

impl Bars {
    /// Makes bars where that fits, lines elsewhere, nothing where a person wants quiet.
    pub fn new(verbosity: Verbosity, motion: Motion) -> Self {
        let shown = match verbosity {
            Verbosity::Quiet => Shown::Nothing,
            _ if motion == Motion::Moving && std::io::stderr().is_terminal() => Shown::Bars {
                bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
                open: Mutex::default(),
            },
            _ => Shown::Lines(Mutex::default()),
        };
        Self { verbosity, shown }
    }

    /// Removes the bars.
    pub fn clear(&self) {
        if let Shown::Bars { bars, .. } = &self.shown {
            let _ = bars.clear();
        }
    }

    /// Writes a line above the bars.
    pub fn line(&self, text: &str) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bars { bars, .. } => {
                let _ = bars.println(text);
            }
            Shown::Lines(_) => line(text),
        }
    }
}

impl Progress for Bars {
    fn tell(&self, event: Event) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines(open) => {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                tell_line(&mut open, event);
            }
            Shown::Bars { bars, open } => {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                tell_bar(bars, &mut open, event);
            }
        }
    }
}

impl Listener for Bars {
    fn progress(&self) -> &dyn Progress {
        self
    }

    fn noise(&self, line: &str) {
        if self.verbosity == Verbosity::Verbose {
            self.line(line);
        }
    }

    fn notice(&self, line: &str) {
        self.line(&format!("note: {line}"));
    }
}

fn tell_line(open: &mut HashMap<Subject, Line>, event: Event) {
    let (verb, name) = words(&event.subject);
    match event.moment {
        Moment::Started { total } => {
            if matches!(event.subject, Subject::Download(_)) {
                let size = total.map_or_else(String::new, |total| format!(" ({total})"));
                line(&format!("{verb} {name}{size}"));
            }
            open.insert(event.subject, Line { since: Instant::now(), done: 0 });
        }
        Moment::Advanced { by } => {
            if let Some(started) = open.get_mut(&event.subject) {
                started.done += by.bytes();
            }
        }
        Moment::Said { line: text } => line(&format!("{name}: {text}")),
        Moment::Finished | Moment::Failed => {
            let Some(started) = open.remove(&event.subject) else { return };
            let took = started.since.elapsed();
            let ended = if event.moment == Moment::Finished { "done" } else { "failed" };
            if took >= WORTH_A_LINE || event.moment == Moment::Failed {
                line(&format!("{verb} {name}: {ended} after {:.1} s", took.as_secs_f64()));
            }
        }
    }
}

fn tell_bar(bars: &MultiProgress, open: &mut HashMap<Subject, ProgressBar>, event: Event) {
    let (verb, name) = words(&event.subject);
    match event.moment {
        Moment::Started { total } => {
            let bar = bars.add(match total {
                Some(total) => ProgressBar::new(total.bytes())
                    .with_style(style("{prefix} {msg:40!} {bar:24} {bytes:>10} of {total_bytes} {bytes_per_sec}")),
                None => ProgressBar::new_spinner().with_style(style("{prefix} {msg} {spinner} {elapsed}")),
            });
            bar.set_prefix(verb);
            bar.set_message(name.to_owned());
            if total.is_none() {
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            open.insert(event.subject, bar);
        }
        Moment::Advanced { by } => {
            if let Some(bar) = open.get(&event.subject) {
                bar.inc(by.bytes());
            }
        }
        Moment::Said { line } => {
            let _ = bars.println(format!("{name}: {line}"));
        }
        Moment::Finished | Moment::Failed => {
            let Some(bar) = open.remove(&event.subject) else { return };
            let took = bar.elapsed();
            bar.finish_and_clear();
            bars.remove(&bar);
            if event.moment == Moment::Failed {
                let _ = bars.println(format!("{verb} {name}: failed after {:.1} s", took.as_secs_f64()));
            } else if matches!(event.subject, Subject::Step(_) | Subject::Image(_)) || took >= Duration::from_secs(2) {
                let size = bar.length().map_or_else(String::new, |length| format!(" ({})", ByteSize::new(length)));
                let _ = bars.println(format!("{verb} {name}{size}: {:.1} s", took.as_secs_f64()));
            }
        }
    }
}

fn words(subject: &Subject) -> (&'static str, &str) {
    match subject {
        Subject::Download(name) => ("downloading", name),
        Subject::Unpack(name) => ("unpacking", name),
        Subject::Layer(name) => ("assembling layer", name),
        Subject::Image(name) => ("image", name),
        Subject::Step(name) => ("step", name),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
