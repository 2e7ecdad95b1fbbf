//! What a conversion leaves on record: its log, its steps, the commands it ran, the versions that took part.
//!
//! Owns [`Journal`]. Every vendor tool runs through it, so that no run is missing from the log or from
//! `buildinfo.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::de::DeserializeOwned;

use crate::disk::{self, DiskError, File};
use crate::exchange::{LOG, Step};
use crate::hint::Hint;
use crate::invocation::Invocation;
use crate::process::{self, Bounds, Finished, ProcessError, Stream};
use crate::progress::{Progress, Subject};
use crate::units::ByteSize;

/// The record of one conversion; may be written to from several threads.
pub struct Journal<'run> {
    progress: &'run dyn Progress,
    listen: &'run (dyn Fn(&str) + Sync),
    path: PathBuf,
    /// The output folder, with a slash at its end.
    output: String,
    /// The folder for what nobody keeps.
    scratch: String,
    state: Mutex<State>,
}

struct State {
    /// Gone once writing failed: a full disk must not hide the error that matters.
    log: Option<File>,
    record: Record,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Steps, in the order in which they ended.
    pub steps: Vec<Step>,
    /// Commands, by what they were for.
    pub commands: BTreeMap<String, Vec<String>>,
    /// Versions of tools, in their own words.
    pub tools: BTreeMap<String, String>,
    /// What people should know although all went well.
    pub warnings: Vec<String>,
    /// What random calibration data was drawn from, by `stage.input`.
    pub seeds: BTreeMap<String, u64>,
}

/// A vendor tool that failed.
#[derive(Debug)]
pub struct ToolError {
    /// How it was started.
    pub command: Vec<String>,
    /// How it failed.
    pub failure: ProcessError,
}

/// Speaks as the failure does; the command is for the report.
impl std::fmt::Display for ToolError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.failure.fmt(formatter)
    }
}

impl std::error::Error for ToolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.source()
    }
}

impl Hint for ToolError {
    fn hints(&self) -> Vec<String> {
        self.failure.hints()
    }
}

impl<'run> Journal<'run> {
    /// Begins the log in the folder `output`; every line also goes to `listen`.
    ///
    /// # Errors
    /// The log cannot be created.
    pub fn open(
        output: &Path,
        scratch: &Path,
        progress: &'run dyn Progress,
        listen: &'run (dyn Fn(&str) + Sync),
    ) -> Result<Self, DiskError> {
        let path = output.join(LOG);
        let log = Some(disk::append(&path)?);
        let output = format!("{}/", output.display());
        let scratch = scratch.display().to_string();
        Ok(Self {
            progress,
            listen,
            path,
            output,
            scratch,
            state: Mutex::new(State { log, record: Record::default() }),
        })
    }

    /// Writes one line to the log.
    pub fn line(&self, line: &str) {
        (self.listen)(line);
        let mut state = self.state();
        if let Some(log) = &mut state.log
            && disk::write_all(log, format!("{line}\n").as_bytes(), &self.path).is_err()
        {
            state.log = None;
        }
    }

    /// Does one step of the conversion, told to people and measured.
    ///
    /// # Errors
    /// Whatever the step fails with.
    pub fn step<T, E>(&self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.measured(name, work, |_| None)
    }

    /// Runs a tool of ours that tells events, one JSON document on a line. Returns the first line that is none.
    ///
    /// # Errors
    /// The tool does not end well.
    pub fn ask<Event: DeserializeOwned>(
        &self,
        step: &str,
        invocation: &Invocation,
        bounds: &Bounds,
        heed: &mut dyn FnMut(Event),
    ) -> Result<Option<String>, ToolError> {
        let mut unknown = None;
        self.run(step, invocation, bounds, &mut |line| match serde_json::from_str(line) {
            Ok(event) => heed(event),
            Err(_) => unknown = unknown.take().or_else(|| Some(line.to_owned())),
        })?;
        Ok(unknown)
    }

    /// Runs a vendor tool as a step; `listen` gets the lines of its standard output.
    ///
    /// # Errors
    /// The tool does not end well.
    pub fn run(
        &self,
        step: &str,
        invocation: &Invocation,
        bounds: &Bounds,
        listen: &mut dyn FnMut(&str),
    ) -> Result<Finished, ToolError> {
        let command = invocation.command();
        {
            let placeless: Vec<String> = command.iter().map(|word| self.placeless(word)).collect();
            let commands = &mut self.state().record.commands;
            commands.insert(step.to_owned(), placeless);
            if !invocation.input.is_empty() {
                commands.insert(format!("{step}_input"), vec![self.placeless(invocation.input.trim_end())]);
            }
        }
        self.line(&format!("$ {}", command.join(" ")));
        let work = || {
            process::run(invocation, bounds, &mut |stream, line| {
                self.line(line);
                if stream == Stream::Output {
                    listen(line);
                }
            })
        };
        self.measured(step, work, |finished| Some(finished.peak_memory))
            .map_err(|failure| ToolError { command, failure })
    }

    /// Returns a word of a command, or a message, as it is recorded: paths in the output folder are relative to it, and the
    /// folder for what nobody keeps has one name, so that the record of the same conversion is the same everywhere.
    pub fn placeless(&self, word: &str) -> String {
        word.replace(&self.output, "").replace(&self.scratch, "{scratch}")
    }

    /// Records the version of a tool.
    pub fn tool(&self, name: &str, version: &str) {
        self.state().record.tools.insert(name.to_owned(), version.to_owned());
    }

    /// Records what the random calibration data of an input was drawn from.
    pub fn drawn(&self, stage: &str, input: &str, seed: u64) {
        self.line(&format!("input `{input}` of stage `{stage}` is fed random numbers of seed {seed}"));
        self.state().record.seeds.insert(format!("{stage}.{input}"), seed);
    }

    /// Records what people should know although all goes well.
    pub fn warn(&self, warning: String) {
        self.line(&format!("warning: {warning}"));
        self.state().record.warnings.push(warning);
    }

    /// Returns what was done so far.
    pub fn record(&self) -> Record {
        self.state().record.clone()
    }

    fn measured<T, E>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, E>,
        peak_memory: impl FnOnce(&T) -> Option<ByteSize>,
    ) -> Result<T, E> {
        let subject = Subject::Step(name.to_owned());
        self.progress.started(&subject, None);
        let begun = Instant::now();
        let result = work();
        let step = Step {
            name: name.to_owned(),
            milliseconds: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            peak_memory: result.as_ref().ok().and_then(peak_memory),
        };
        self.line(&format!("step {name} took {} ms", step.milliseconds));
        self.state().record.steps.push(step);
        self.progress.ended(&subject, &result);
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left at most an unfinished line behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
