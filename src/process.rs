//! Child processes.
//!
//! Owns starting a vendor tool, reading its lines while it runs, measuring it, ending it when its time is up or the
//! person interrupts, and telling apart the ways it can end. Must not know what the tools are for. Nothing else in the
//! program starts processes, except `engine`.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
use thiserror::Error;

use crate::hint::Hint;
use crate::invocation::Invocation;
use crate::units::ByteSize;

/// How many of the last lines an error carries.
const LAST_LINES: usize = 25;
/// Longer lines are cut here: a tool that never ends its line must not fill the memory.
const LINE_LIMIT: u64 = 64 << 10;
/// How often a silent tool's time and interruption are looked at; ended tools are noticed at once.
const PATIENCE: Duration = Duration::from_millis(50);

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What may end a tool before it ends by itself.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How long it may run.
    pub time: Duration,
    /// Whether the person interrupts.
    pub interruption: Interruption,
}

/// Whether this process was asked to end (SIGINT, SIGTERM or SIGHUP).
#[derive(Clone, Debug, Default)]
pub struct Interruption {
    signal: Arc<AtomicUsize>,
    /// What interrupts this one too.
    above: Option<Box<Interruption>>,
}

impl Interruption {
    /// Begins to take the signals; from now on they end children first and this process in good order.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn watch() -> Result<Self, std::io::Error> {
        let interruption = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or(0);
            signal_hook::flag::register_usize(signal, Arc::clone(&interruption.signal), number)?;
        }
        Ok(interruption)
    }

    /// Returns an interruption that comes with this one, or alone.
    #[must_use]
    pub fn branch(&self) -> Self {
        Self { signal: Arc::default(), above: Some(Box::new(self.clone())) }
    }

    /// Asks to end, as the signal would.
    pub fn interrupt(&self) {
        self.signal.store(usize::try_from(SIGINT).unwrap_or(0), Ordering::SeqCst);
    }

    /// Returns the signal that came, if one did.
    pub fn signal(&self) -> Option<i32> {
        let own = i32::try_from(self.signal.load(Ordering::SeqCst)).ok().filter(|signal| *signal != 0);
        own.or_else(|| self.above.as_ref()?.signal())
    }
}

/// What is known of a tool that ended well.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The largest resident memory of the tool or one of its own children.
    pub peak_memory: ByteSize,
    /// How long it ran.
    pub duration: Duration,
}

/// A tool that did not end well.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {tool} (`{program}`)")]
    Start {
        /// What the tool is.
        tool: String,
        /// What was to be started.
        program: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It ended with a code other than zero.
    #[error("{tool} failed with exit code {code}")]
    Failed {
        /// What the tool is.
        tool: String,
        /// Its exit code.
        code: i32,
        /// Its last lines.
        last_lines: Vec<String>,
    },
    /// It was ended by a signal other than SIGKILL.
    #[error("{tool} was ended by signal {signal}")]
    Signal {
        /// What the tool is.
        tool: String,
        /// The signal's number.
        signal: i32,
        /// Its last lines.
        last_lines: Vec<String>,
    },
    /// Somebody else killed it, and that is the kernel when memory runs out.
    #[error("{tool} was killed, probably for memory")]
    Killed {
        /// What the tool is.
        tool: String,
        /// Its last lines.
        last_lines: Vec<String>,
    },
    /// It was ended because it ran too long.
    #[error("{tool} was ended after {} s, its time limit", limit.as_secs())]
    TimeLimit {
        /// What the tool is.
        tool: String,
        /// The limit.
        limit: Duration,
        /// Its last lines.
        last_lines: Vec<String>,
    },
    /// The person interrupted.
    #[error("interrupted by signal {signal} while {tool} ran")]
    Interrupted {
        /// What the tool is.
        tool: String,
        /// The signal's number.
        signal: i32,
    },
    /// The system refused something between the processes.
    #[error("lost contact with {tool}")]
    Lost {
        /// What the tool is.
        tool: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ProcessError {
    /// Returns the tool's last lines, oldest first.
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::Failed { last_lines, .. }
            | Self::Signal { last_lines, .. }
            | Self::Killed { last_lines, .. }
            | Self::TimeLimit { last_lines, .. } => last_lines,
            Self::Start { .. } | Self::Interrupted { .. } | Self::Lost { .. } => &[],
        }
    }
}

impl Hint for ProcessError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Killed { .. } => {
                vec!["raise `--memory`, or lower `rvc2.n_workers`, so that fewer compiles run at once".to_owned()]
            }
            Self::TimeLimit { .. } => vec![
                "give it more time: set `MODELCONVERTER_TOOL_TIMEOUT` to a number of seconds".to_owned(),
                "or look at the last lines of the log: a tool that works prints where it is".to_owned(),
            ],
            Self::Start { .. } => vec!["the image lacks this tool: build it again with `image build`".to_owned()],
            Self::Failed { .. } | Self::Signal { .. } | Self::Interrupted { .. } | Self::Lost { .. } => Vec::new(),
        }
    }
}

/// What the threads around a running tool tell.
enum Moment {
    Line(Stream, String),
    Ended(Result<Ended, std::io::Error>),
}

struct Ended {
    status: libc::c_int,
    peak_memory: ByteSize,
}

/// Runs `invocation` to its end and hands every line to `listen` while it runs.
///
/// The tool has its own process group; whatever is left of the group is killed when the tool ends, in whatever way.
///
/// # Errors
/// The tool cannot be started or does not end well.
pub fn run(
    invocation: &Invocation,
    bounds: &Bounds,
    listen: &mut dyn FnMut(Stream, &str),
) -> Result<Finished, ProcessError> {
    let tool = || invocation.tool.clone();
    let lost = |source| ProcessError::Lost { tool: tool(), source };
    if let Some(signal) = bounds.interruption.signal() {
        return Err(ProcessError::Interrupted { tool: tool(), signal });
    }
    let begun = Instant::now();
    tracing::debug!(program = %invocation.program.display(), arguments = ?invocation.arguments, "starts");
    let child = Command::new(&invocation.program)
        .args(&invocation.arguments)
        .envs(&invocation.environment)
        .current_dir(&invocation.working_folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| ProcessError::Start { tool: tool(), program: invocation.program.clone(), source })?;
    let group = Group::of(&child).map_err(lost)?;
    // A bounded channel: a tool that prints faster than the log takes waits, as it would at a terminal.
    let (sender, moments) = mpsc::sync_channel(1024);
    attend(child, invocation.input.clone(), &group, &sender);
    drop(sender);

    let mut last_lines = VecDeque::new();
    let mut ended_by_us = None;
    let mut ended = None;
    // The loop ends when all threads around the tool have ended, so no line is lost.
    loop {
        match moments.recv_timeout(PATIENCE) {
            Ok(Moment::Line(stream, line)) => {
                listen(stream, &line);
                if last_lines.len() == LAST_LINES {
                    last_lines.pop_front();
                }
                last_lines.push_back(line);
            }
            Ok(Moment::Ended(result)) => ended = Some(result.map_err(lost)?),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() && ended_by_us.is_none() {
            ended_by_us = match bounds.interruption.signal() {
                Some(signal) => Some(ProcessError::Interrupted { tool: tool(), signal }),
                None if begun.elapsed() >= bounds.time => {
                    Some(ProcessError::TimeLimit { tool: tool(), limit: bounds.time, last_lines: Vec::new() })
                }
                None => None,
            };
            if ended_by_us.is_some() {
                group.kill();
            }
        }
    }
    let last_lines = Vec::from(last_lines);
    match ended_by_us {
        Some(ProcessError::TimeLimit { tool, limit, .. }) => {
            return Err(ProcessError::TimeLimit { tool, limit, last_lines });
        }
        Some(error) => return Err(error),
        None => {}
    }
    let ended = ended.ok_or_else(|| lost(std::io::ErrorKind::UnexpectedEof.into()))?;
    if libc::WIFSIGNALED(ended.status) {
        let signal = libc::WTERMSIG(ended.status);
        return Err(match signal {
            SIGKILL => ProcessError::Killed { tool: tool(), last_lines },
            _ => ProcessError::Signal { tool: tool(), signal, last_lines },
        });
    }
    match libc::WEXITSTATUS(ended.status) {
        0 => Ok(Finished { peak_memory: ended.peak_memory, duration: begun.elapsed() }),
        code => Err(ProcessError::Failed { tool: tool(), code, last_lines }),
    }
}

/// Starts the threads around a child: one feeds it, two read it, one waits for it.
fn attend(mut child: Child, input: String, group: &Group, sender: &SyncSender<Moment>) {
    if let Some(mut to) = child.stdin.take() {
        // A tool that does not read its input is no failure of its own.
        std::thread::spawn(move || drop(to.write_all(input.as_bytes())));
    }
    if let Some(from) = child.stdout.take() {
        let sender = sender.clone();
        std::thread::spawn(move || read_lines(from, Stream::Output, &sender));
    }
    if let Some(from) = child.stderr.take() {
        let sender = sender.clone();
        std::thread::spawn(move || read_lines(from, Stream::Error, &sender));
    }
    let sender = sender.clone();
    let group = group.clone();
    std::thread::spawn(move || drop(sender.send(Moment::Ended(group.wait()))));
}

/// Sends every line of a stream, without its end and without what colours it on a terminal.
fn read_lines(from: impl Read, stream: Stream, sender: &SyncSender<Moment>) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = without_escapes(&String::from_utf8_lossy(&line));
        if sender.send(Moment::Line(stream, text)).is_err() {
            return;
        }
    }
}

/// Removes escape sequences for colours and cursors (ECMA-48 CSI) and other control characters.
fn without_escapes(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.trim_end_matches(['\r', '\n']).chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.as_str().starts_with('[') {
                    // The sequence ends with its first byte from `@` to `~` after the `[`.
                    characters.next();
                    characters.by_ref().find(|character| ('@'..='~').contains(character));
                }
            }
            '\t' => text.push('\t'),
            other if other.is_control() => {}
            other => text.push(other),
        }
    }
    text
}

/// The process group of a tool; its leader is a child of ours.
#[derive(Clone)]
struct Group {
    leader: libc::pid_t,
    /// Whether the leader was waited for: its number may belong to somebody else then.
    gone: Arc<AtomicBool>,
}

impl Group {
    fn of(child: &Child) -> Result<Self, std::io::Error> {
        let leader = libc::pid_t::try_from(child.id()).map_err(std::io::Error::other)?;
        Ok(Self { leader, gone: Arc::new(AtomicBool::new(false)) })
    }

    /// Kills every process of the group.
    fn kill(&self) {
        if !self.gone.load(Ordering::SeqCst) {
            // SAFETY: `kill` touches no memory; the group's leader is ours and not yet waited for, so its number is.
            unsafe { libc::kill(-self.leader, libc::SIGKILL) };
        }
    }

    /// Waits for the leader, kills what it leaves behind, and returns how it ended.
    fn wait(&self) -> Result<Ended, std::io::Error> {
        let id = libc::id_t::try_from(self.leader).map_err(std::io::Error::other)?;
        loop {
            // SAFETY: an all-zero `siginfo_t` is valid, and `waitid` writes only there. The leader stays a zombie, so
            // its group can still be named safely below.
            let waited = unsafe {
                let mut information: libc::siginfo_t = std::mem::zeroed();
                libc::waitid(libc::P_PID, id, &mut information, libc::WEXITED | libc::WNOWAIT)
            };
            if waited == 0 {
                break;
            }
            retry_interrupted()?;
        }
        self.kill();
        self.gone.store(true, Ordering::SeqCst);
        loop {
            let mut status = 0;
            // SAFETY: an all-zero `rusage` is valid, and `wait4` writes only to the two places given.
            let (waited, usage) = unsafe {
                let mut usage: libc::rusage = std::mem::zeroed();
                (libc::wait4(self.leader, &mut status, 0, &mut usage), usage)
            };
            if waited == self.leader {
                let kibibytes = u64::try_from(usage.ru_maxrss).unwrap_or(0);
                return Ok(Ended { status, peak_memory: ByteSize::new(kibibytes << 10) });
            }
            retry_interrupted()?;
        }
    }
}

/// Returns the last error of the system, unless it only was a signal that came meanwhile.
fn retry_interrupted() -> Result<(), std::io::Error> {
    match std::io::Error::last_os_error() {
        error if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
        error => Err(error),
    }
}

/// Lets this process keep memory that it frees, up to a limit, for what it allocates next. By default, glibc gives the end
/// of the heap back once 128 KiB of it are free, and at first maps whatever is larger than that (`mallopt(3)`); the kernel
/// then clears it anew for each tensor. To be called before there are threads.
pub fn keep_freed_memory() {
    /// What is larger is given back at once, in bytes.
    #[cfg(target_env = "gnu")]
    const LARGE: libc::c_int = 16 << 20;
    /// The most that is kept, in bytes.
    #[cfg(target_env = "gnu")]
    const KEPT: libc::c_int = 64 << 20;
    // SAFETY: both change settings of the allocator only, and nothing else runs yet.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation {
            tool: "the tool".to_owned(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::new(),
            working_folder: "/".into(),
            input: "fed\n".to_owned(),
        }
    }

    fn bounds() -> Bounds {
        Bounds { time: Duration::from_secs(60), interruption: Interruption::default() }
    }

    fn run_shell(script: &str, bounds: &Bounds) -> (Result<Finished, ProcessError>, Vec<(Stream, String)>) {
        let mut lines = Vec::new();
        let result = run(&shell(script), bounds, &mut |stream, line| lines.push((stream, line.to_owned())));
        (result, lines)
    }

    #[test]
    fn lines_arrive_from_both_streams_without_colour() {
        let (result, lines) =
            run_shell("read x; echo \"$x\"; printf '\\033[1;33mwarning\\033[0m\\r\\n' >&2", &bounds());
        assert!(result.unwrap().peak_memory > ByteSize::new(0));
        assert!(lines.contains(&(Stream::Output, "fed".to_owned())));
        assert!(lines.contains(&(Stream::Error, "warning".to_owned())));
    }

    #[test]
    fn every_end_has_its_error() {
        let (result, _) = run_shell("echo why; exit 7", &bounds());
        let error = result.unwrap_err();
        assert!(matches!(error, ProcessError::Failed { code: 7, .. }));
        assert_eq!(error.last_lines(), ["why"]);
        assert!(matches!(run_shell("kill -SEGV $$", &bounds()).0, Err(ProcessError::Signal { signal: 11, .. })));
        let killed = run_shell("kill -KILL $$", &bounds()).0.unwrap_err();
        assert!(matches!(killed, ProcessError::Killed { .. }));
        assert!(killed.hints()[0].contains("--memory"));
        let missing = Invocation { program: "/nonexistent/tool".into(), ..shell("") };
        assert!(matches!(run(&missing, &bounds(), &mut |_, _| {}), Err(ProcessError::Start { .. })));
    }

    #[test]
    fn a_branch_is_interrupted_with_its_stem_or_alone() {
        let stem = Interruption::default();
        let (one, other) = (stem.branch(), stem.branch());
        one.interrupt();
        assert_eq!([one.signal(), other.signal(), stem.signal()], [Some(SIGINT), None, None]);
        stem.interrupt();
        assert_eq!(other.signal(), Some(SIGINT));
    }

    #[test]
    fn a_hanging_tool_is_ended_with_its_children() {
        let short = Bounds { time: Duration::from_millis(100), ..bounds() };
        let (result, lines) = run_shell("echo begun; sleep 1000 & sleep 1000", &short);
        assert!(matches!(result, Err(ProcessError::TimeLimit { .. })));
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn what_a_tool_leaves_behind_does_not_keep_us() {
        let (result, _) = run_shell("sleep 1000 & exit 0", &bounds());
        assert!(result.is_ok());
    }

    #[test]
    fn interruption_ends_the_tool() {
        let bounds = bounds();
        let interruption = bounds.interruption.clone();
        let mut listen = |_: Stream, _: &str| interruption.interrupt();
        let result = run(&shell("echo begun; sleep 1000"), &bounds, &mut listen);
        assert!(matches!(result, Err(ProcessError::Interrupted { signal: SIGINT, .. })));
        assert!(matches!(run(&shell("true"), &bounds, &mut |_, _| {}), Err(ProcessError::Interrupted { .. })));
    }

    #[test]
    fn only_the_last_lines_are_kept_and_endless_lines_are_cut() {
        let (result, _) = run_shell("i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); done; exit 1", &bounds());
        let error = result.unwrap_err();
        assert_eq!(error.last_lines().len(), LAST_LINES);
        assert_eq!(error.last_lines().last().unwrap(), "99");
        let (_, lines) = run_shell("head -c 200000 /dev/zero | tr '\\0' x", &bounds());
        assert!(lines.iter().all(|(_, line)| line.len() as u64 <= LINE_LIMIT));
    }
}
