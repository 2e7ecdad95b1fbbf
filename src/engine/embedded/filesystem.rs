//! What the program sees as its file system.
//!
//! Owns the order of mounts: the layers over each other as a read-only root, `/proc`, `/dev`, `/tmp`, `/run`, the
//! caller's mounts, and the change of root. Runs in the helper, inside its own mount namespace; it must not touch
//! anything outside that namespace, except that a merged root gets its missing mount points as empty entries.
//!
//! Mount points that the image lacks are made in a folder that lies over the layers, so no layer is ever written to.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::description::{Bind, Description, Failure, HostPath, Root, Step};
use super::system::{self, MountDepth};

/// Where the host's root is during construction, the trees, the mount points, and the new root.
const HOST: &str = "/host";
const TREES: &str = "/trees";
const POINTS: &str = "/points";
const ROOT: &str = "/root";

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Files of `/proc` that the owner of this process could write or read beyond its container: as real root, ownership
/// alone is enough. (The same list as in the OCI runtime tools.)
const READ_ONLY_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
const HIDDEN_PROC: [&str; 7] = ["acpi", "kcore", "keys", "latency_stats", "timer_list", "sched_debug", "scsi"];

const READ_ONLY: u64 = 0x1;
const NO_SET_UID: u64 = 0x2;
const NO_DEVICES: u64 = 0x4;

/// Builds the file system and makes it the root of this process.
pub(super) fn enter(description: &Description) -> Result<(), Failure> {
    take_foothold(description)?;
    mount_root(description)?;
    mount_proc()?;
    mount_devices(description)?;
    mount_temporary("/tmp", &format!("mode=1777,size={}", description.temporary_size))?;
    mount_temporary("/run", "mode=0755,size=64m")?;
    let mut binds: Vec<&Bind> = description.binds.iter().collect();
    binds.sort_by_key(|bind| bind.target.split('/').count());
    for bind in binds {
        mount_bind(bind)?;
    }
    change_root()
}

/// Puts a small tmpfs over the foothold and makes it the root, with the host's root inside it.
fn take_foothold(description: &Description) -> Result<(), Failure> {
    let foothold = &description.foothold.0;
    let step = |result: rustix::io::Result<()>| result.map_err(|error| failed(Step::Mount, foothold, error.into()));
    // Unmounting on the host reaches this namespace, mounting here does not reach the host.
    step(rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC))?;
    step(rustix::mount::mount(
        "tmpfs",
        foothold,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=0755,size=16m",
    ))?;
    for folder in [HOST, TREES, POINTS, ROOT] {
        let folder = foothold.join(folder.trim_start_matches('/'));
        fs::create_dir(&folder).map_err(|error| failed(Step::Mount, &folder, error))?;
    }
    step(rustix::process::chdir(foothold))?;
    step(rustix::process::pivot_root(".", HOST.trim_start_matches('/')))?;
    step(rustix::process::chdir("/"))
}

fn mount_root(description: &Description) -> Result<(), Failure> {
    let points = mount_points(description);
    let trees = match &description.root {
        Root::Merged(merged) => {
            bind(&host(merged), Path::new(ROOT)).map_err(|error| failed(Step::Mount, &merged.0, error))?;
            make_points(Path::new(ROOT), &points)?;
            return restrict(Path::new(ROOT), READ_ONLY | NO_SET_UID | NO_DEVICES, MountDepth::One)
                .map_err(|error| failed(Step::Mount, &merged.0, error));
        }
        Root::Overlay(trees) => trees,
    };
    // Short names keep the option below the one page that the kernel accepts, and free of characters it splits at.
    let mut lower = String::from("points");
    for (number, tree) in trees.iter().enumerate().rev() {
        let name = format!("{TREES}/{number}");
        fs::create_dir(&name).map_err(|error| failed(Step::Mount, Path::new(&name), error))?;
        bind(&host(tree), Path::new(&name)).map_err(|error| failed(Step::Mount, &tree.0, error))?;
        lower.push_str(&format!(":trees/{number}"));
    }
    mount_overlay(&lower)?;
    if make_points(Path::new(POINTS), &points)? == Points::Made {
        // A mounted overlay must not see its layers change.
        rustix::mount::unmount(ROOT, UnmountFlags::DETACH)
            .map_err(|error| failed(Step::Overlay, Path::new("/"), error.into()))?;
        mount_overlay(&lower)?;
    }
    Ok(())
}

fn mount_overlay(lower: &str) -> Result<(), Failure> {
    let refused = |error| failed(Step::Overlay, Path::new("/"), error);
    let options = std::ffi::CString::new(format!("lowerdir={lower}")).map_err(|error| refused(error.into()))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("overlay", ROOT, "overlay", flags, options.as_c_str()).map_err(|error| refused(error.into()))
}

/// A path that must exist in the root before something is mounted there.
struct Point {
    path: PathBuf,
    is_folder: bool,
}

#[derive(PartialEq, Eq)]
enum Points {
    Made,
    AllThere,
}

fn mount_points(description: &Description) -> Vec<Point> {
    let folders = ["proc", "dev", "tmp", "run", description.working_folder.as_str()];
    let folders = folders.map(|path| Point { path: path.into(), is_folder: true });
    let binds = description.binds.iter();
    let binds = binds.map(|bind| Point { path: bind.target.clone().into(), is_folder: bind.is_folder });
    folders.into_iter().chain(binds).collect()
}

/// Makes in `layer` the points that the root lacks.
fn make_points(layer: &Path, points: &[Point]) -> Result<Points, Failure> {
    let mut result = Points::AllThere;
    for point in points {
        let (inside, found) = resolve(&point.path);
        if found == Found::Whole {
            continue;
        }
        result = Points::Made;
        let path = layer.join(&inside);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| match point.is_folder {
            true => fs::create_dir_all(&path),
            false => fs::File::create(&path).map(drop),
        });
        made.map_err(|error| failed(Step::Mount, &Path::new("/").join(&point.path), error))?;
    }
    Ok(result)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Whole,
    Part,
}

/// Returns what `path` means inside the new root, following the root's symbolic links within the root. Nothing else
/// runs in this namespace yet, so nothing changes between looking and using.
fn resolve(path: &Path) -> (PathBuf, Found) {
    let mut inside = PathBuf::new();
    let mut rest: Vec<Vec<u8>> = components(path);
    let mut links = 0;
    let mut found = Found::Whole;
    while let Some(name) = rest.pop() {
        if name == b".." {
            inside.pop();
            continue;
        }
        let next = inside.join(OsStr::from_bytes(&name));
        match fs::read_link(Path::new(ROOT).join(&next)) {
            Ok(target) if links < 40 => {
                links += 1;
                if target.is_absolute() {
                    inside.clear();
                }
                rest.extend(components(&target));
            }
            _ => {
                if found == Found::Whole && fs::symlink_metadata(Path::new(ROOT).join(&next)).is_err() {
                    found = Found::Part;
                }
                inside = next;
            }
        }
    }
    (inside, found)
}

/// Returns the names in `path`, last first.
fn components(path: &Path) -> Vec<Vec<u8>> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned().into_vec()),
        Component::ParentDir => Some(b"..".to_vec()),
        _ => None,
    });
    names.collect()
}

fn at(path: &str) -> PathBuf {
    Path::new(ROOT).join(resolve(Path::new(path)).0)
}

fn mount_proc() -> Result<(), Failure> {
    let proc = at("/proc");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", &proc, "proc", flags, None::<&CStr>)
        .map_err(|error| failed(Step::Mount, Path::new("/proc"), error.into()))?;
    for name in READ_ONLY_PROC {
        let path = proc.join(name);
        if path.exists() {
            bind(&path, &path)
                .and_then(|()| restrict(&path, READ_ONLY | NO_SET_UID | NO_DEVICES, MountDepth::One))
                .map_err(|error| failed(Step::Mount, &Path::new("/proc").join(name), error))?;
        }
    }
    for name in HIDDEN_PROC {
        let path = proc.join(name);
        let hidden = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let flags = flags | MountFlags::RDONLY;
                rustix::mount::mount("tmpfs", &path, "tmpfs", flags, c"size=0,mode=0555").map_err(io::Error::from)
            }
            Ok(_) => bind(&Path::new(HOST).join("dev/null"), &path),
            Err(_) => Ok(()),
        };
        hidden.map_err(|error| failed(Step::Mount, &Path::new("/proc").join(name), error))?;
    }
    Ok(())
}

fn mount_devices(description: &Description) -> Result<(), Failure> {
    let devices = at("/dev");
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let wrong = |name: &str, error: io::Error| failed(Step::Mount, &Path::new("/dev").join(name), error);
    rustix::mount::mount("tmpfs", &devices, "tmpfs", flags, c"mode=0755,size=64k")
        .map_err(|error| wrong("", error.into()))?;
    for name in DEVICES {
        let device = devices.join(name);
        fs::File::create(&device)
            .and_then(|_| bind(&Path::new(HOST).join("dev").join(name), &device))
            .map_err(|error| wrong(name, error))?;
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    for (name, target) in links {
        symlink(target, devices.join(name)).map_err(|error| wrong(name, error))?;
    }
    for name in ["pts", "shm"] {
        fs::create_dir(devices.join(name)).map_err(|error| wrong(name, error))?;
    }
    let terminals = c"newinstance,ptmxmode=0666,mode=0620";
    rustix::mount::mount("devpts", devices.join("pts"), "devpts", flags, terminals)
        .map_err(|error| wrong("pts", error.into()))?;
    let options = format!("mode=1777,size={}", description.temporary_size);
    let options = std::ffi::CString::new(options).map_err(|error| wrong("shm", error.into()))?;
    let flags = flags | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", devices.join("shm"), "tmpfs", flags, options.as_c_str())
        .map_err(|error| wrong("shm", error.into()))?;
    restrict(&devices, READ_ONLY, MountDepth::One).map_err(|error| wrong("", error))
}

fn mount_temporary(path: &str, options: &str) -> Result<(), Failure> {
    let wrong = |error: io::Error| failed(Step::Mount, Path::new(path), error);
    let options = std::ffi::CString::new(options).map_err(|error| wrong(error.into()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", at(path), "tmpfs", flags, options.as_c_str()).map_err(|error| wrong(error.into()))
}

fn mount_bind(mount: &Bind) -> Result<(), Failure> {
    let wrong = |error: io::Error| failed(Step::Mount, &Path::new("/").join(&mount.target), error);
    let (inside, found) = resolve(Path::new(&mount.target));
    let target = Path::new(ROOT).join(inside);
    // A mount point inside an earlier mount can only be made there, as far as that mount allows.
    if found == Found::Part {
        let made = target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| match mount.is_folder {
            true => fs::create_dir_all(&target),
            false => fs::File::create(&target).map(drop),
        });
        made.map_err(wrong)?;
    }
    rustix::mount::mount_bind_recursive(host(&mount.source), &target).map_err(|error| wrong(error.into()))?;
    let access = if mount.writable { 0 } else { READ_ONLY };
    restrict(&target, access | NO_SET_UID | NO_DEVICES, MountDepth::All).map_err(wrong)
}

/// Makes what was built the root, and lets the host's tree go.
fn change_root() -> Result<(), Failure> {
    let step =
        |result: rustix::io::Result<()>| result.map_err(|error| failed(Step::Mount, Path::new("/"), error.into()));
    step(rustix::process::chdir(ROOT))?;
    step(rustix::process::pivot_root(".", "."))?;
    step(rustix::mount::unmount(".", UnmountFlags::DETACH))?;
    step(rustix::process::chdir("/"))
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind(source, target)?)
}

fn host(path: &HostPath) -> PathBuf {
    Path::new(HOST).join(path.0.strip_prefix("/").unwrap_or(&path.0))
}

/// Adds attributes to a mount, or to a mount and everything below it. Attributes it has already stay: in a user
/// namespace they are locked.
fn restrict(path: &Path, attributes: u64, depth: MountDepth) -> io::Result<()> {
    match system::set_mount_attributes(&system::c_path(path)?, attributes, depth) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
        result => return result,
    }
    // Kernels before 5.12: one remount for each mount, naming its present flags again.
    let table = fs::read(Path::new(ROOT).join("proc/self/mountinfo"))
        .or_else(|_| fs::read(Path::new(HOST).join("proc/self/mountinfo")))?;
    for (mounted, options) in mounts(&table) {
        let below = depth == MountDepth::All && mounted.starts_with(path);
        if mounted == path || below {
            let mut flags = MountFlags::BIND | present_flags(&options);
            for (attribute, flag) in
                [(READ_ONLY, MountFlags::RDONLY), (NO_SET_UID, MountFlags::NOSUID), (NO_DEVICES, MountFlags::NODEV)]
            {
                if attributes & attribute != 0 {
                    flags |= flag;
                }
            }
            rustix::mount::mount_remount(&mounted, flags, c"")?;
        }
    }
    Ok(())
}

/// Reads mount points and their options from the kernel's table (proc_pid_mountinfo(5), fields 5 and 6).
fn mounts(table: &[u8]) -> Vec<(PathBuf, String)> {
    let lines = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        let path = unescape(fields.next()?);
        Some((OsStr::from_bytes(&path).into(), String::from_utf8_lossy(fields.next()?).into_owned()))
    });
    lines.collect()
}

/// Replaces `\040` and its like by the bytes they stand for.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn present_flags(options: &str) -> MountFlags {
    let names = [
        ("ro", MountFlags::RDONLY),
        ("nosuid", MountFlags::NOSUID),
        ("nodev", MountFlags::NODEV),
        ("noexec", MountFlags::NOEXEC),
        ("noatime", MountFlags::NOATIME),
        ("nodiratime", MountFlags::NODIRATIME),
        ("relatime", MountFlags::RELATIME),
    ];
    let present = names.iter().filter(|(name, _)| options.split(',').any(|option| option == *name));
    present.fold(MountFlags::empty(), |flags, (_, flag)| flags | *flag)
}

fn failed(step: Step, subject: &Path, error: io::Error) -> Failure {
    Failure { step, subject: subject.display().to_string(), errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_table_is_read() {
        let table = b"36 35 98:0 / /mnt/a\\040b\\134c rw,noatime,nosuid master:1 - ext4 /dev/root rw\nbroken\n";
        let expected = [(PathBuf::from("/mnt/a b\\c"), "rw,noatime,nosuid".to_owned())];
        assert_eq!(mounts(table), expected);
        assert_eq!(present_flags("rw,noatime,nosuid"), MountFlags::NOATIME | MountFlags::NOSUID);
    }

    #[test]
    fn escapes_at_the_end_are_kept() {
        for (field, bytes) in [("a\\04", "a\\04"), ("\\", "\\"), ("\\099", "\\099"), ("\\011", "\t")] {
            assert_eq!(unescape(field.as_bytes()), bytes.as_bytes());
        }
    }
}
