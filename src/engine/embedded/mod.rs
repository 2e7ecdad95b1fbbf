//! Running an image from its unpacked layers, without a daemon and without anything installed.
//!
//! Owns the engine `embedded`: it starts this program's own executable again as a helper ([`maybe_enter`]), which makes
//! Linux namespaces and becomes the container (namespaces(7), user_namespaces(7), pid_namespaces(7)). An ordinary user
//! is mapped to root inside, alone; so is real root, after building as itself.
//!
//! Not guarded against: other processes of the same user on the host, and what the kernel itself gets wrong.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;
use tempfile::TempDir;
use thiserror::Error;

use self::description::{Bind, Description, Failure, HostPath, Reply, Root, Step};
use self::limits::Prepared;
use super::interruption::Interruptions;
use super::lines::LineCutter;
use super::{
    Access, ContainerOutcome, ContainerRun, Engine, EngineError, Network, OutputLines, OutputStream, Status, Terminal,
};
use crate::hint::Hint;

mod description;
mod filesystem;
mod limits;
mod merged;
mod privileges;
mod stage;
mod system;

/// The first argument that makes this program the helper of a run.
const STAGE: &str = "--container-stage";

/// Becomes the helper of a run, if this process was started as one; otherwise returns at once.
///
/// The program calls this with its arguments before anything else, while the process has one thread.
pub fn maybe_enter(arguments: impl IntoIterator<Item = OsString>) {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next().is_some_and(|first| first == STAGE) {
        let channels = arguments.next().and_then(|numbers| stage::Channels::adopt(numbers.to_str()?));
        match channels {
            Some(channels) => stage::run(channels),
            None => std::process::exit(125),
        }
    }
}

/// The engine that needs nothing but the kernel.
#[derive(Clone, Debug)]
pub struct Embedded {
    scratch: PathBuf,
    helper: PathBuf,
    union: Union,
}

/// How layers become one root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Union {
    /// By the kernel's overlay, or by hard links where that is refused.
    Automatic,
    /// By hard links in the scratch folder.
    HardLinks,
}

/// A failure of the embedded engine.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// The image has no unpacked layers.
    #[error("the image {reference} has no unpacked layers")]
    NotUnpacked {
        /// The image's name.
        reference: String,
    },
    /// The scratch folder cannot be used.
    #[error("scratch folder {} cannot be used", path.display())]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The helper process cannot be started.
    #[error("helper process {} cannot be started", path.display())]
    Helper {
        /// The executable.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refuses this user a container.
    #[error("this user may not make {namespaces}")]
    Refused {
        /// What is refused.
        namespaces: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// The settings of the kernel that forbid it, as `sysctl` writes them.
        settings: Vec<String>,
    },
    /// A step of building the container failed.
    #[error("{action} {subject} failed inside the new container")]
    Build {
        /// What was done.
        action: &'static str,
        /// To what.
        subject: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The helper ended without an answer.
    #[error("the helper process of the container was killed")]
    HelperKilled,
    /// The output or the answer of the container cannot be read.
    #[error("the container cannot be listened to")]
    Listen(#[source] io::Error),
}

impl Hint for EmbeddedError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotUnpacked { .. } => {
                vec!["build the image with `modelconverter image build`, or use `--engine docker`".to_owned()]
            }
            Self::Refused { settings, .. } => {
                let allow = settings.iter().map(|setting| format!("allow it as root: `sysctl -w {setting}`"));
                allow.chain(["use a container engine that is installed: `--engine docker`".to_owned()]).collect()
            }
            Self::Build { .. } => vec!["use a container engine that is installed: `--engine docker`".to_owned()],
            Self::Scratch { .. } => vec!["choose a cache folder you can write to".to_owned()],
            Self::HelperKilled => vec!["look into the kernel's log: `dmesg`".to_owned()],
            Self::Helper { .. } | Self::Listen(_) => Vec::new(),
        }
    }
}

impl Embedded {
    /// Makes an engine with a folder of the store's file system for what a run needs for a while.
    ///
    /// The helper is this very executable, so its `main` must call [`maybe_enter`] first.
    pub fn new(scratch: &Path) -> Self {
        Self { scratch: scratch.to_owned(), helper: "/proc/self/exe".into(), union: Union::Automatic }
    }

    /// Takes another executable as the helper: one whose `main` calls [`maybe_enter`] first.
    #[must_use]
    pub fn with_helper(self, helper: &Path) -> Self {
        Self { helper: helper.to_owned(), ..self }
    }

    /// Chooses how layers become one root.
    #[must_use]
    pub fn with_union(self, union: Union) -> Self {
        Self { union, ..self }
    }

    fn scratch_error(&self, source: io::Error) -> EmbeddedError {
        EmbeddedError::Scratch { path: self.scratch.clone(), source }
    }

    /// Starts the helper and waits for its end.
    fn attempt(
        &self,
        description: &Description,
        run: &ContainerRun<'_>,
        output: &dyn OutputLines,
    ) -> Result<Ended, EmbeddedError> {
        let helper_error = |source| EmbeddedError::Helper { path: self.helper.clone(), source };
        let text = serde_json::to_vec(description).map_err(|error| helper_error(error.into()))?;
        let document = rustix::fs::memfd_create("container", MemfdFlags::CLOEXEC);
        let mut document = File::from(document.map_err(|error| helper_error(error.into()))?);
        document.write_all(&text).and_then(|()| document.rewind()).map_err(helper_error)?;
        let (reply, reply_end) = pipe().map_err(helper_error)?;
        let (control_end, control) = pipe().map_err(helper_error)?;
        let interruptions = Interruptions::listen().map_err(helper_error)?;

        let inherited = [document.as_raw_fd(), reply_end.as_raw_fd(), control_end.as_raw_fd()];
        let mut command = Command::new(&self.helper);
        command.arg0("modelconverter").arg(STAGE).arg(inherited.map(|number| number.to_string()).join(","));
        command.env_clear().current_dir("/");
        if run.terminal == Terminal::Piped {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        // SAFETY: between fork and exec only fcntl is called, on descriptors that are open in this scope.
        unsafe {
            command.pre_exec(move || {
                for number in inherited {
                    if libc::fcntl(number, libc::F_SETFD, 0) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(helper_error)?;
        drop((document, reply_end, control_end));

        let (out, err) = (child.stdout.take(), child.stderr.take());
        let listened = std::thread::scope(|scope| {
            let out = out.map(|out| scope.spawn(|| LineCutter::new(OutputStream::Stdout, output).drain(out)));
            let err = err.map(|err| scope.spawn(|| LineCutter::new(OutputStream::Stderr, output).drain(err)));
            let supervised = supervise(File::from(reply), File::from(control), &interruptions, run.terminal);
            let waited = child.wait();
            for thread in [out, err].into_iter().flatten() {
                match thread.join() {
                    Ok(read) => read?,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            waited.and(supervised)
        });
        if run.terminal == Terminal::Inherit {
            take_terminal_back();
        }
        listened.map_err(EmbeddedError::Listen)
    }
}

/// What the helper left behind.
struct Ended {
    replies: Vec<Reply>,
    interrupted: Option<i32>,
}

impl Engine for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn run(&self, run: &ContainerRun<'_>, output: &dyn OutputLines) -> Result<ContainerOutcome, EngineError> {
        /// Whether this kernel refused an overlay before: it will again.
        static REFUSES_OVERLAY: AtomicBool = AtomicBool::new(false);

        if run.image.trees.is_empty() {
            return Err(EmbeddedError::NotUnpacked { reference: run.image.reference.clone() }.into());
        }
        let prepared = Prepared::new(run.limits);
        let mut description = self.describe(run, &prepared)?;
        let mut merged = None;
        if self.union == Union::HardLinks || REFUSES_OVERLAY.load(Ordering::Relaxed) {
            description.root = Root::Merged(HostPath(merged.insert(self.merge(run)?).path().to_owned()));
        }
        let mut ended = self.attempt(&description, run, output)?;
        if merged.is_none() && failure(&ended).is_some_and(|failure| failure.step == Step::Overlay) {
            REFUSES_OVERLAY.store(true, Ordering::Relaxed);
            description.root = Root::Merged(HostPath(merged.insert(self.merge(run)?).path().to_owned()));
            ended = self.attempt(&description, run, output)?;
        }
        let killed = prepared.killed_for_memory();
        let status = judge(ended, killed, run)?;
        Ok(ContainerOutcome { status, notices: prepared.notices.clone() })
    }
}

impl Embedded {
    fn describe(&self, run: &ContainerRun<'_>, prepared: &Prepared) -> Result<Description, EngineError> {
        let trees: io::Result<Vec<HostPath>> =
            run.image.trees.iter().map(|tree| Ok(HostPath(tree.canonicalize()?))).collect();
        let trees = trees.map_err(|error| self.scratch_error(error))?;
        let mut binds = Vec::with_capacity(run.mounts.len());
        for mount in &run.mounts {
            let refused = |source| EngineError::MountSource {
                source_path: mount.source.clone(),
                target: mount.target.clone(),
                source,
            };
            let source = mount.source.canonicalize().map_err(refused)?;
            let is_folder = source.metadata().map_err(refused)?.is_dir();
            let writable = mount.access == Access::Writable;
            binds.push(Bind { source: HostPath(source), target: mount.target.to_string(), is_folder, writable });
        }
        if run.network == Network::Host {
            // Names are resolved as on the host.
            for name in ["etc/resolv.conf", "etc/hosts"] {
                if let Ok(source) = Path::new("/").join(name).canonicalize() {
                    let target = name.to_owned();
                    binds.insert(0, Bind { source: HostPath(source), target, is_folder: false, writable: false });
                }
            }
        }
        Ok(Description {
            root: Root::Overlay(trees),
            foothold: HostPath(self.scratch.canonicalize().map_err(|error| self.scratch_error(error))?),
            program: run.program.clone(),
            environment: run.environment().iter().map(|(name, value)| format!("{name}={value}")).collect(),
            working_folder: run.working_folder.to_string(),
            binds,
            host_network: run.network == Network::Host,
            own_session: run.terminal == Terminal::Piped,
            cgroups: prepared.cgroups.iter().map(|cgroup| HostPath(cgroup.entrance())).collect(),
            processors: prepared.processors.clone(),
            watched_memory: prepared.watched_memory,
            temporary_size: run.limits.memory.map_or_else(|| "50%".to_owned(), |memory| memory.bytes().to_string()),
        })
    }

    fn merge(&self, run: &ContainerRun<'_>) -> Result<TempDir, EmbeddedError> {
        let folder = tempfile::Builder::new().prefix("root-").tempdir_in(&self.scratch);
        let folder = folder.map_err(|error| self.scratch_error(error))?;
        let trees = run.image.trees.iter().map(PathBuf::as_path);
        merged::merge(trees, folder.path()).map_err(|error| self.scratch_error(error))?;
        Ok(folder)
    }
}

/// Passes signals on until the container is over, and returns its replies.
fn supervise(
    mut reply: File,
    mut control: File,
    interruptions: &Interruptions,
    terminal: Terminal,
) -> io::Result<Ended> {
    let mut text = Vec::new();
    let mut interrupted = None;
    loop {
        let mut waited = [PollFd::new(&reply, PollFlags::IN), PollFd::new(&interruptions.received, PollFlags::IN)];
        match rustix::event::poll(&mut waited, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [replied, signalled] = waited.map(|descriptor| descriptor.revents());
        let mut byte = [0];
        if !signalled.is_empty() && matches!((&interruptions.received).read(&mut byte), Ok(1)) {
            let signal = i32::from(byte[0]);
            // A key pressed at the terminal has reached the program as well; it decides.
            let from_keys = terminal == Terminal::Inherit && matches!(signal, libc::SIGINT | libc::SIGQUIT);
            if !from_keys {
                let passed_on = if interrupted.is_some() { libc::SIGKILL } else { signal };
                interrupted.get_or_insert(signal);
                // It fails when the container is over already.
                let _ = control.write_all(&[passed_on as u8]);
            }
        }
        if !replied.is_empty() {
            let mut buffer = [0; 1024];
            match reply.read(&mut buffer)? {
                0 => break,
                length => text.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            }
        }
    }
    let replies = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    Ok(Ended { replies, interrupted })
}

fn failure(ended: &Ended) -> Option<&Failure> {
    ended.replies.iter().find_map(|reply| match reply {
        Reply::Failed(failure) => Some(failure),
        Reply::Ended { .. } => None,
    })
}

/// Says what the replies mean.
fn judge(ended: Ended, killed_by_kernel: bool, run: &ContainerRun<'_>) -> Result<Status, EngineError> {
    if let Some(failure) = failure(&ended) {
        return Err(explain(failure, run));
    }
    if let Some(signal) = ended.interrupted {
        return Ok(Status::Interrupted(signal));
    }
    let Some(Reply::Ended { wait_status, killed_for_memory }) = ended.replies.first() else {
        return if killed_by_kernel { Ok(Status::KilledForMemory) } else { Err(EmbeddedError::HelperKilled.into()) };
    };
    if (*killed_for_memory || killed_by_kernel) && *wait_status != 0 {
        return Ok(Status::KilledForMemory);
    }
    if libc::WIFSIGNALED(*wait_status) {
        return Ok(Status::Signal(libc::WTERMSIG(*wait_status)));
    }
    Ok(Status::Code(libc::WEXITSTATUS(*wait_status)))
}

fn explain(failure: &Failure, run: &ContainerRun<'_>) -> EngineError {
    let source = io::Error::from_raw_os_error(failure.errno);
    let (program, reference) = (failure.subject.clone(), run.image.reference.clone());
    let action = match failure.step {
        Step::Execute if failure.errno == libc::ENOENT => return EngineError::ProgramNotFound { program, reference },
        Step::Execute => return EngineError::ProgramNotExecutable { program, reference, source },
        Step::Namespaces | Step::UserMapping => {
            let settings = forbidding_settings(|path| std::fs::read_to_string(path).ok());
            return EmbeddedError::Refused { namespaces: "user namespaces", source, settings }.into();
        }
        // AppArmor lets the namespace be made and refuses everything in it.
        Step::Mount | Step::Overlay if matches!(failure.errno, libc::EACCES | libc::EPERM) => {
            let settings = forbidding_settings(|path| std::fs::read_to_string(path).ok());
            if !settings.is_empty() {
                return EmbeddedError::Refused { namespaces: "mounts in a user namespace", source, settings }.into();
            }
            "mounting"
        }
        Step::Mount | Step::Overlay => "mounting",
        Step::Confinement => "confining",
    };
    EmbeddedError::Build { action, subject: failure.subject.clone(), source }.into()
}

/// Returns the settings of the kernel that forbid user namespaces, with the value that allows them.
fn forbidding_settings(read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let table = [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("user.max_user_namespaces", "0", "15000"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ];
    let forbidding = table.iter().filter(|(name, forbids, _)| {
        read(&format!("/proc/sys/{}", name.replace('.', "/"))).is_some_and(|value| value.trim() == *forbids)
    });
    forbidding.map(|(name, _, allows)| format!("{name}={allows}")).collect()
}

/// Makes this process the foreground of its terminal again, which a killed shell cannot do itself.
fn take_terminal_back() {
    // SAFETY: changes the terminal's foreground group only; SIGTTOU is ignored meanwhile, so that asking from the
    // background does not stop this process.
    unsafe {
        if libc::isatty(0) == 1 {
            let before = libc::signal(libc::SIGTTOU, libc::SIG_IGN);
            libc::tcsetpgrp(0, libc::getpgrp());
            libc::signal(libc::SIGTTOU, before);
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_forbid_are_named() {
        let named = |settings: &[(&str, &str)]| {
            forbidding_settings(|path| {
                settings.iter().find(|(name, _)| *name == path).map(|(_, value)| (*value).to_owned())
            })
        };
        let (clone, most, armor) = (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "/proc/sys/user/max_user_namespaces",
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        );
        assert_eq!(named(&[(most, "0\n")]), ["user.max_user_namespaces=15000"]);
        assert!(named(&[(clone, "1\n"), (most, "1000\n"), (armor, "0\n")]).is_empty());
        assert_eq!(
            named(&[(clone, "0\n"), (armor, "1\n")]),
            ["kernel.unprivileged_userns_clone=1", "kernel.apparmor_restrict_unprivileged_userns=0"]
        );
    }
}
