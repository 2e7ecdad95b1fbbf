//! The helper process: from the caller's namespaces into the container's.
//!
//! Owns what happens between the engine starting the program's own executable again and the program inside running:
//! namespaces, file system, confinement, execution; then the first process of the container, which passes signals on,
//! collects the dead, watches memory where no cgroup does, and ends everything when the engine is gone.
//!
//! There are three processes. The *outer* one has one task after the fork, to wait; the *first* one is PID 1 inside;
//! the *program* is its child. The engine holds one end of a pipe: each byte in it is a signal to pass on, and its end
//! means that the engine is dead.

use std::ffi::CString;
use std::fs;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::description::{Description, Failure, Reply, Step};
use super::system::{self, Fork};
use super::{filesystem, privileges};

/// How often memory is looked at when no cgroup limits it. A process can fill a few megabytes in a millisecond.
const LOOK_AT_MEMORY_EVERY: Duration = Duration::from_millis(20);

/// The descriptors the engine gives.
pub(super) struct Channels {
    /// Holds the [`Description`].
    pub(super) description: File,
    /// Takes one [`Reply`].
    pub(super) reply: File,
    /// Gives signals to pass on, and ends with the engine.
    pub(super) control: File,
}

impl Channels {
    /// Takes over the descriptors named in `numbers`: `3,4,5`.
    pub(super) fn adopt(numbers: &str) -> Option<Self> {
        let numbers: Vec<i32> = numbers.split(',').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [description, reply, control] = numbers.as_slice() else { return None };
        if *description < 3 || *reply < 3 || *control < 3 || description == reply || reply == control {
            return None;
        }
        // SAFETY: the engine opened these for this process, and nothing else in it knows them. Numbers that are not
        // open make the first use fail.
        let take = |number: i32| File::from(unsafe { OwnedFd::from_raw_fd(number) });
        Some(Self { description: take(*description), reply: take(*reply), control: take(*control) })
    }
}

/// Does everything; the process ends with it.
pub(super) fn run(mut channels: Channels) -> ! {
    let mut text = Vec::new();
    let description = channels.description.read_to_end(&mut text).ok().and_then(|_| serde_json::from_slice(&text).ok());
    let Some(description) = description else { system::exit(125) };
    drop(channels.description);
    let result = enter(&description, &channels.reply, &channels.control);
    if let Err(failure) = result {
        tell(&channels.reply, &Reply::Failed(failure));
    }
    system::exit(0)
}

/// The outer process.
fn enter(description: &Description, reply: &File, control: &File) -> Result<(), Failure> {
    let confinement = |error: io::Error| failure(Step::Confinement, "the helper process", &error);
    system::close_on_execute(3).map_err(confinement)?;
    system::die_with_parent().map_err(confinement)?;
    if description.own_session {
        rustix::process::setsid().map_err(|error| confinement(error.into()))?;
    }
    let children = system::block_signals().map_err(confinement)?;
    for cgroup in &description.cgroups {
        fs::write(&cgroup.0, "0")
            .map_err(|error| failure(Step::Confinement, &cgroup.0.display().to_string(), &error))?;
    }
    if !description.processors.is_empty() {
        system::use_processors(&description.processors).map_err(confinement)?;
    }
    let identity = Identity::of_caller();
    unshare(description, identity)?;
    match system::fork().map_err(|error| failure(Step::Namespaces, "the first process", &error))? {
        Fork::Parent(first) => {
            let status = system::wait_for(first).map_err(confinement)?;
            if status != 0 {
                // The first process ends with 0 whatever the program did, unless it was killed itself.
                tell(reply, &Reply::Ended { wait_status: status, killed_for_memory: false });
            }
            system::exit(0)
        }
        Fork::Child => {
            system::die_with_parent().map_err(confinement)?;
            drop(children);
            first_process(description, identity, reply, control)
        }
    }
}

/// How the caller becomes the owner of the container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// Real root builds without a user namespace, so that no folder on the way is closed to it, and enters one last.
    Root,
    /// Anybody else needs a user namespace to build at all.
    User { uid: u32, gid: u32 },
}

impl Identity {
    fn of_caller() -> Self {
        let capable = rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP));
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if capable && uid == 0 && gid == 0 { Self::Root } else { Self::User { uid, gid } }
    }
}

fn unshare(description: &Description, identity: Identity) -> Result<(), Failure> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if !description.host_network {
        flags |= UnshareFlags::NEWNET;
    }
    let namespaces = |error: rustix::io::Errno| failure(Step::Namespaces, "namespaces", &error.into());
    if let Identity::User { uid, gid } = identity {
        separate(UnshareFlags::NEWUSER).map_err(namespaces)?;
        map_user(Path::new("/proc/self"), uid, gid)?;
    }
    separate(flags).map_err(namespaces)?;
    if identity == Identity::Root {
        system::drop_groups();
    }
    // Kernels before 4.6 and a few containers have none; nothing depends on it.
    let _ = separate(UnshareFlags::NEWCGROUP);
    let confinement = |error: io::Error| failure(Step::Confinement, "the network", &error);
    if !description.host_network {
        system::raise_loopback().map_err(confinement)?;
    }
    rustix::system::sethostname(b"modelconverter").map_err(|error| confinement(error.into()))
}

fn separate(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: CLONE_FILES is not among the flags, so no descriptor changes under anybody's feet.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Makes the caller root in the new user namespace, and everybody else nobody.
fn map_user(process: &Path, uid: u32, gid: u32) -> Result<(), Failure> {
    for (file, text) in
        [("uid_map", format!("0 {uid} 1")), ("setgroups", "deny".to_owned()), ("gid_map", format!("0 {gid} 1"))]
    {
        fs::write(process.join(file), text).map_err(|error| failure(Step::UserMapping, file, &error))?;
    }
    Ok(())
}

/// PID 1 of the container.
fn first_process(description: &Description, identity: Identity, reply: &File, control: &File) -> Result<(), Failure> {
    let confinement = |error: io::Error| failure(Step::Confinement, "the first process", &error);
    let children = system::block_signals().map_err(confinement)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    filesystem::enter(description)?;
    // Before the program exists, so that it never sees this process without the fence. Execution takes it down again.
    system::hide().map_err(confinement)?;
    let program = match system::fork().map_err(confinement)? {
        Fork::Child => return program(description, identity),
        Fork::Parent(program) => program,
    };
    privileges::drop_capabilities().map_err(confinement)?;
    let ended = watch(program, &children, control, description.watched_memory).map_err(confinement)?;
    tell(reply, &ended);
    system::exit(0)
}

/// Confines this process and becomes the program; returns only when that fails.
fn program(description: &Description, identity: Identity) -> Result<(), Failure> {
    let confinement = |error: io::Error| failure(Step::Confinement, "the program", &error);
    if identity == Identity::Root && separate(UnshareFlags::NEWUSER).is_ok() {
        map_user(Path::new("/proc/self"), 0, 0)?;
    }
    // Where user namespaces are forbidden, real root goes on without: it has lost every capability all the same.
    if description.own_session {
        rustix::process::setsid().map_err(|error| confinement(error.into()))?;
    }
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, no_core).map_err(|error| confinement(error.into()))?;
    if let Some(bytes) = description.watched_memory {
        // A burst between two looks at the memory ends here.
        let bytes = bytes.saturating_mul(2);
        let burst = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(Resource::Data, burst).map_err(|error| confinement(error.into()))?;
    }
    privileges::drop_capabilities().map_err(confinement)?;
    system::reset_signals().map_err(confinement)?;
    let folder = format!("/{}", description.working_folder);
    rustix::process::chdir(&folder).map_err(|error| failure(Step::Mount, &folder, &error.into()))?;
    let strings = |strings: &[String]| {
        strings.iter().map(|string| CString::new(string.as_str())).collect::<Result<Vec<CString>, _>>()
    };
    let name = description.program.first().map(String::as_str).unwrap_or_default();
    let execute = |error: io::Error| failure(Step::Execute, name, &error);
    let arguments = strings(&description.program).map_err(|error| execute(error.into()))?;
    let environment = strings(&description.environment).map_err(|error| execute(error.into()))?;
    let path = CString::new(name).map_err(|error| execute(error.into()))?;
    privileges::filter_system_calls().map_err(confinement)?;
    Err(execute(system::execute(&path, &arguments, &environment)))
}

/// Waits for the program; passes on what comes through `control`, and ends everything when that ends.
fn watch(program: i32, children: &OwnedFd, mut control: &File, watched_memory: Option<u64>) -> io::Result<Reply> {
    let page = system::page_size();
    let interval =
        watched_memory.map(|_| Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_AT_MEMORY_EVERY.subsec_nanos()) });
    let mut killed_for_memory = false;
    loop {
        while let Some((child, wait_status)) = system::reap() {
            if child == program {
                return Ok(Reply::Ended { wait_status, killed_for_memory });
            }
        }
        if let Some(limit) = watched_memory {
            let mut processes = resident_pages();
            let used: u64 = processes.iter().map(|(_, pages)| pages * page).sum();
            processes.sort_by_key(|(_, pages)| *pages);
            if let Some((largest, _)) = processes.last().filter(|_| used > limit) {
                killed_for_memory = true;
                system::kill(*largest, libc::SIGKILL);
            }
        }
        let mut waited = [PollFd::new(children, PollFlags::IN), PollFd::new(&control, PollFlags::IN)];
        match rustix::event::poll(&mut waited, interval.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [children_event, control_event] = waited.map(|descriptor| descriptor.revents());
        if !children_event.is_empty() {
            let mut told = [0; 128];
            let _ = rustix::io::read(children.as_fd(), &mut told);
        }
        if !control_event.is_empty() {
            let mut signal = [0];
            match control.read(&mut signal)? {
                // The engine is dead; so is everything here once this process is.
                0 => system::exit(0),
                _ if i32::from(signal[0]) == libc::SIGKILL => system::kill(-1, libc::SIGKILL),
                _ => system::kill(program, i32::from(signal[0])),
            }
        }
    }
}

/// Returns the processes but this one, with their memory that is neither a file's nor shared, in pages.
fn resident_pages() -> Vec<(i32, u64)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let processes = entries.filter_map(|entry| {
        let process: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let sizes = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
        let mut sizes = sizes.split(' ').skip(1).map(|size| size.parse::<u64>().unwrap_or(0));
        Some((process, sizes.next()?.saturating_sub(sizes.next()?)))
    });
    processes.filter(|(process, _)| *process != 1).collect()
}

fn tell(mut reply: &File, message: &Reply) {
    if let Ok(text) = serde_json::to_vec(message) {
        // One write, below the length that a pipe keeps whole; nobody listens if it fails.
        let _ = reply.write_all(&text).and_then(|()| reply.write_all(b"\n"));
    }
}

fn failure(step: Step, subject: &str, error: &io::Error) -> Failure {
    Failure { step, subject: subject.to_owned(), errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
}
