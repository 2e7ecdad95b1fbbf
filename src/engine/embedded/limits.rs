//! Limits of memory and processor time.
//!
//! Owns the search for a cgroup that this user may make (version 2, or the controllers of version 1), its life, and what
//! stands in where there is none: the first process watches the memory, and the program is bound to some processors.
//! Whatever is weaker than asked is said in a notice. Kernel documents: `cgroup-v2.rst`, `cgroup-v1/memory.rst`,
//! `scheduler/sched-bwc.rst`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::super::Limits;
use super::system;

/// The length over which the kernel measures processor time, in microseconds: its own default.
const PERIOD: u64 = 100_000;

/// Limits made ready: what the helper is told, and what must be removed afterwards.
#[derive(Default)]
pub(super) struct Prepared {
    /// The cgroups of the run; a process enters by writing to their `cgroup.procs`.
    pub(super) cgroups: Vec<Cgroup>,
    /// The processors to use instead of a limit of time.
    pub(super) processors: Vec<usize>,
    /// The memory that no cgroup limits.
    pub(super) watched_memory: Option<u64>,
    /// What is weaker than asked.
    pub(super) notices: Vec<String>,
}

/// A cgroup of one run; removed when dropped.
pub(super) struct Cgroup {
    folder: PathBuf,
    /// The file with the line `oom_kill N`, where memory is limited here.
    kills: Option<PathBuf>,
}

impl Prepared {
    /// Finds the strongest form of `limits` that this process can give.
    pub(super) fn new(limits: Limits) -> Self {
        let mut prepared = Self::default();
        if limits == Limits::default() {
            return prepared;
        }
        let machine = Machine::read();
        let memory = limits.memory.map(|memory| memory.bytes());
        let quota = limits.cpus.map(|cpus| ((cpus * PERIOD as f64) as u64).max(1000));
        let wanted: Vec<Controller> =
            memory.map(|_| Controller::Memory).into_iter().chain(quota.map(|_| Controller::Cpu)).collect();
        let mut missing = wanted.clone();
        for controllers in [wanted.as_slice(), &[Controller::Memory], &[Controller::Cpu]] {
            if controllers.iter().all(|controller| missing.contains(controller))
                && let Some(cgroup) = machine.make(controllers, memory, quota)
            {
                prepared.cgroups.push(cgroup);
                missing.retain(|controller| !controllers.contains(controller));
            }
        }
        if let Some(bytes) = memory.filter(|_| missing.contains(&Controller::Memory)) {
            prepared.watched_memory = Some(bytes);
            prepared.notices.push(
                "this user may not make a memory cgroup: memory is watched instead of limited by the kernel, and a short \
                 burst can exceed the limit"
                    .to_owned(),
            );
        }
        if let Some(cpus) = limits.cpus.filter(|_| missing.contains(&Controller::Cpu)) {
            prepared.bind_to_processors(cpus);
        }
        prepared
    }

    /// Whether the kernel killed a process of the run for its memory.
    pub(super) fn killed_for_memory(&self) -> bool {
        self.cgroups.iter().filter_map(|cgroup| cgroup.kills.as_ref()).any(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
        })
    }

    fn bind_to_processors(&mut self, cpus: f64) {
        let mut processors = system::usable_processors().unwrap_or_default();
        let count = (cpus.ceil() as usize).max(1);
        if count >= processors.len() && cpus >= processors.len() as f64 {
            return;
        }
        processors.truncate(count);
        self.notices.push(format!(
            "this user may not make a cpu cgroup: the program is bound to {} of the processors instead of limited to \
             {cpus} of their time",
            processors.len()
        ));
        self.processors = processors;
    }
}

impl Cgroup {
    /// Returns the file that a process enters the cgroup by.
    pub(super) fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process of a run has ended, and the kernel counts it out a moment later.
        for _ in 0..200 {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => return,
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    Memory,
    Cpu,
}

impl Controller {
    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }
}

/// The kernel's tables about this process.
struct Machine {
    /// `/proc/self/cgroup`.
    membership: String,
    /// `/proc/self/mountinfo`.
    mounts: String,
}

impl Machine {
    fn read() -> Self {
        let text =
            |path: &str| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Self { membership: text("/proc/self/cgroup"), mounts: text("/proc/self/mountinfo") }
    }

    /// Makes one cgroup with limits for all of `controllers`, if this user may.
    fn make(&self, controllers: &[Controller], memory: Option<u64>, quota: Option<u64>) -> Option<Cgroup> {
        let memory = memory.filter(|_| controllers.contains(&Controller::Memory));
        let quota = quota.filter(|_| controllers.contains(&Controller::Cpu));
        if let [controller] = controllers
            && let Some(parent) = self.folder_of_version_1(*controller)
        {
            return make_below(&parent, |folder| limit_version_1(folder, memory, quota)).ok();
        }
        let (mount, own) = self.folder_of_version_2()?;
        let candidates = own.ancestors().take_while(|folder| folder.starts_with(&mount));
        candidates
            .filter(|folder| {
                let enabled = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
                controllers.iter().all(|controller| enabled.split_whitespace().any(|name| name == controller.name()))
            })
            .find_map(|folder| make_below(folder, |folder| limit_version_2(folder, memory, quota)).ok())
    }

    fn folder_of_version_1(&self, controller: Controller) -> Option<PathBuf> {
        let own = self.membership.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let names = fields.next()?;
            names.split(',').any(|name| name == controller.name()).then(|| fields.next()).flatten()
        })?;
        self.mounts.lines().filter_map(HierarchyMount::parse).find_map(|mount| {
            let has_it = mount.kind == "cgroup" && mount.options.split(',').any(|name| name == controller.name());
            has_it.then(|| mount.folder(own)).flatten()
        })
    }

    /// Returns where version 2 is mounted and where this process is in it.
    fn folder_of_version_2(&self) -> Option<(PathBuf, PathBuf)> {
        let own = self.membership.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.mounts.lines().filter_map(HierarchyMount::parse).find_map(|mount| {
            (mount.kind == "cgroup2").then(|| Some((PathBuf::from(mount.point), mount.folder(own)?))).flatten()
        })
    }
}

/// One mounted hierarchy of cgroups.
struct HierarchyMount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> HierarchyMount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut system = system.split(' ');
        let (root, point, kind) = (mount.next()?, mount.next()?, system.next()?);
        Some(Self { root, point, kind, options: system.nth(1)? })
    }

    /// Returns the folder of the cgroup `own`, if this mount shows it.
    fn folder(&self, own: &str) -> Option<PathBuf> {
        let below = Path::new(own).strip_prefix(self.root).ok()?;
        Some(Path::new(self.point).join(below))
    }
}

/// Makes a new cgroup in `parent` and sets its limits; leaves nothing when any of it is refused.
fn make_below(parent: &Path, limit: impl Fn(&Path) -> io::Result<Option<PathBuf>>) -> io::Result<Cgroup> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!("modelconverter-{}-{number}", std::process::id()));
    fs::create_dir(&folder)?;
    let mut cgroup = Cgroup { folder, kills: None };
    cgroup.kills = limit(&cgroup.folder)?;
    // Entering needs the right to write here and, in version 2, in the nearest cgroup above both.
    fs::OpenOptions::new().write(true).open(cgroup.entrance())?;
    fs::OpenOptions::new().write(true).open(parent.join("cgroup.procs"))?;
    Ok(cgroup)
}

fn limit_version_1(folder: &Path, memory: Option<u64>, quota: Option<u64>) -> io::Result<Option<PathBuf>> {
    if let Some(bytes) = memory {
        fs::write(folder.join("memory.limit_in_bytes"), bytes.to_string())?;
        // Counting swap is a choice at the start of the kernel.
        let _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), bytes.to_string());
    }
    if let Some(quota) = quota {
        fs::write(folder.join("cpu.cfs_period_us"), PERIOD.to_string())?;
        fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string())?;
    }
    Ok(memory.map(|_| folder.join("memory.oom_control")))
}

fn limit_version_2(folder: &Path, memory: Option<u64>, quota: Option<u64>) -> io::Result<Option<PathBuf>> {
    if let Some(bytes) = memory {
        fs::write(folder.join("memory.max"), bytes.to_string())?;
        // Machines without swap accounting have no such file.
        let _ = fs::write(folder.join("memory.swap.max"), "0");
    }
    if let Some(quota) = quota {
        fs::write(folder.join("cpu.max"), format!("{quota} {PERIOD}"))?;
    }
    Ok(memory.map(|_| folder.join("memory.events")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cgroups_are_found_in_the_tables() {
        let machine = Machine {
            membership: "4:memory:/jobs/one\n2:cpu,cpuacct:/\n0::/user.slice/term.scope\n".to_owned(),
            mounts: "25 20 0:21 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                     26 20 0:22 /jobs /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                     27 20 0:23 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n"
                .to_owned(),
        };
        let folder = |controller| machine.folder_of_version_1(controller).unwrap();
        assert_eq!(folder(Controller::Memory), Path::new("/sys/fs/cgroup/memory/one"));
        assert_eq!(folder(Controller::Cpu), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        let (mount, own) = machine.folder_of_version_2().unwrap();
        assert_eq!(mount, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(own, Path::new("/sys/fs/cgroup/unified/user.slice/term.scope"));
    }

    #[test]
    fn a_machine_without_cgroups_gives_none() {
        let machine = Machine { membership: String::new(), mounts: "nonsense\n1 2 - \n".to_owned() };
        assert!(machine.folder_of_version_1(Controller::Memory).is_none());
        assert!(machine.folder_of_version_2().is_none());
        assert!(machine.make(&[Controller::Memory], Some(1), None).is_none());
    }

    #[test]
    fn a_refused_limit_leaves_no_cgroup() {
        let parent = tempfile::tempdir().unwrap();
        // A plain folder has no cgroup.procs to enter by.
        assert!(make_below(parent.path(), |_| Ok(None)).is_err());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
