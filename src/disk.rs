//! The file system: the only place below the operations that touches `std::fs`.
//!
//! Owns reading, atomic writing, locks on files, and errors that name the path. A full disk and a read-only file system
//! are variants of their own, because people act on them differently. Must not know what files mean.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};
use rustix::io::Errno;
use thiserror::Error;

use crate::hint::Hint;
use crate::units::ByteSize;

/// An open file, opened through the functions here, whose errors name the path; and what the system knows of one.
pub use std::fs::{File, Metadata};

/// Something the file system refused.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The disk, the quota or the allowed file size is used up.
    #[error("no space left to {action} {}", path.display())]
    NoSpace {
        /// What was tried: `write`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system is mounted read-only.
    #[error("read-only file system: cannot {action} {}", path.display())]
    ReadOnly {
        /// What was tried: `write`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The user may not do that.
    #[error("no permission to {action} {}", path.display())]
    Denied {
        /// What was tried: `write`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such file or folder.
    #[error("cannot {action} {}: it does not exist", path.display())]
    Missing {
        /// What was tried: `read`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than anything sensible.
    #[error("{} is larger than {limit}", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The largest size that is read.
        limit: ByteSize,
    },
    /// Anything else.
    #[error("cannot {action} {}", path.display())]
    Other {
        /// What was tried: `write`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DiskError {
    /// Names what was tried with which path when `source` came up.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match Errno::from_io_error(&source) {
            // EFBIG: the limit on the size of files; to people it is the same as a full disk.
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::NoSpace { action, path, source },
            Some(Errno::ROFS) => Self::ReadOnly { action, path, source },
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied { action, path, source },
            Some(Errno::NOENT) => Self::Missing { action, path, source },
            _ => Self::Other { action, path, source },
        }
    }

    /// Returns what to do where the path is in the store, or beside what is kept there.
    pub fn hints_in_store(&self) -> Vec<String> {
        match self {
            Self::NoSpace { .. } => vec![
                "free some space on that disk: `modelconverter store gc` removes what no lock needs, and with \
                 `--downloads` remote files too"
                    .to_owned(),
                "or put the store elsewhere with `MODELCONVERTER_CACHE_DIR`".to_owned(),
            ],
            _ if self.refuses_writing() => {
                let mut hints = self.hints();
                hints.push("the store is where `MODELCONVERTER_CACHE_DIR` says".to_owned());
                hints
            }
            _ => self.hints(),
        }
    }

    /// Returns whether nothing can be written there, whatever is done: read-only or not allowed.
    pub fn refuses_writing(&self) -> bool {
        matches!(self, Self::ReadOnly { .. } | Self::Denied { .. })
    }
}

impl Hint for DiskError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoSpace { .. } => vec!["free some space on that disk, or choose a place on another one".to_owned()],
            Self::Denied { action: "read" | "open" | "list" | "look at" | "map", .. } => {
                vec!["let this user read it".to_owned()]
            }
            Self::ReadOnly { .. } | Self::Denied { .. } => {
                vec!["choose a folder that you may write to".to_owned()]
            }
            Self::Missing { .. } | Self::TooLarge { .. } | Self::Other { .. } => Vec::new(),
        }
    }
}

/// Makes a [`DiskError`] of an [`io::Error`].
fn refused(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |source| DiskError::new(action, path, source)
}

/// Turns "it does not exist" into nothing.
fn optional<T>(result: Result<T, DiskError>) -> Result<Option<T>, DiskError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(DiskError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File, DiskError> {
    fs::File::open(path).map_err(refused("open", path))
}

/// Opens a file for reading, if there is one.
pub fn open_if_exists(path: &Path) -> Result<Option<File>, DiskError> {
    optional(open(path))
}

/// Opens a file that a stranger made, for reading. It must be a regular file itself: a link could lead anywhere, and a
/// pipe would be waited for without end.
pub fn open_regular(path: &Path) -> Result<File, DiskError> {
    open_plain(path, libc::O_NOFOLLOW)
}

/// Opens a file, unless it is something else, such as a pipe, for which nobody waits.
fn open_plain(path: &Path, flags: i32) -> Result<File, DiskError> {
    let flags = flags | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(refused("open", path))?;
    if file.metadata().map_err(refused("open", path))?.is_file() {
        return Ok(file);
    }
    Err(refused("open", path)(io::Error::other("it is no regular file")))
}

/// Reads a whole file of at most `limit`.
pub fn read(path: &Path, limit: ByteSize) -> Result<Vec<u8>, DiskError> {
    read_open(open(path)?, path, limit)
}

/// Returns the contents of a regular file of at most `limit`. A large file is mapped: it takes memory only where it is
/// looked at, and only as long as the system has memory to spare; of a very large one, what was looked at does not add up.
///
/// Whoever shortens a mapped file meanwhile ends this process with SIGBUS, so this is for what users hand over to be
/// read, never for the store.
pub fn map(path: &Path, limit: ByteSize) -> Result<Bytes, DiskError> {
    /// Below this, one copy costs less than the faults of the pages.
    const MAPPED_FROM: u64 = 4 << 20;
    /// Below this, nobody misses the memory.
    const SPARED_FROM: u64 = 64 << 20;
    let file = open_plain(path, 0)?;
    let metadata = file.metadata().map_err(refused("read", path))?;
    if metadata.len() > limit.bytes() {
        return Err(DiskError::TooLarge { path: path.to_owned(), limit });
    }
    if metadata.len() < MAPPED_FROM {
        return read_open(file, path, limit).map(Bytes::from);
    }
    // SAFETY: the mapping is private and read-only; what happens when others change the file is said above.
    let map = unsafe { Mmap::map(&file) }.map_err(refused("map", path))?;
    if metadata.len() < SPARED_FROM {
        return Ok(Bytes::from_owner(map));
    }
    Ok(Bytes::from_owner(Spared::new(map)))
}

/// A mapped file whose pages are given back every now and then; those that are looked at again are read again, mostly from
/// the system's cache. Else a network of which all weights are rewritten would be in memory twice.
struct Spared {
    map: Arc<Mmap>,
    /// Ends the thread that gives back when it is dropped.
    _until: mpsc::Sender<()>,
}

impl Spared {
    fn new(map: Mmap) -> Self {
        /// Time to look at some hundred megabytes at most.
        const EVERY: Duration = Duration::from_millis(50);
        let map = Arc::new(map);
        let (until, over) = mpsc::channel();
        let pages = Arc::clone(&map);
        let give_back = move || {
            while over.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: the mapping is of a file and read-only, so that pages come back as they were.
                let _ = unsafe { pages.unchecked_advise(UncheckedAdvice::DontNeed) };
            }
        };
        // Without such a thread there is just more in memory.
        let _ = thread::Builder::new().name("pages".to_owned()).spawn(give_back);
        Self { map, _until: until }
    }
}

impl AsRef<[u8]> for Spared {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Reads a whole file of at most `limit` that a stranger made, if there is one; see [`open_regular`].
pub fn read_regular_if_exists(path: &Path, limit: ByteSize) -> Result<Option<Vec<u8>>, DiskError> {
    optional(open_regular(path).and_then(|file| read_open(file, path, limit)))
}

fn read_open(file: File, path: &Path, limit: ByteSize) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    file.take(limit.bytes().saturating_add(1)).read_to_end(&mut bytes).map_err(refused("read", path))?;
    if bytes.len() as u64 > limit.bytes() {
        return Err(DiskError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Reads a whole file of at most `limit`, if there is one.
pub fn read_if_exists(path: &Path, limit: ByteSize) -> Result<Option<Vec<u8>>, DiskError> {
    optional(read(path, limit))
}

/// Returns what the system knows about a path without following a last link, if it exists.
pub fn metadata(path: &Path) -> Result<Option<Metadata>, DiskError> {
    optional(fs::symlink_metadata(path).map_err(refused("look at", path)))
}

/// Lists the names in a folder, sorted; a missing folder has none.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let Some(entries) = optional(fs::read_dir(folder).map_err(refused("list", folder)))? else {
        return Ok(Vec::new());
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(refused("list", folder))?;
    paths.sort();
    Ok(paths)
}

/// Makes a folder and those above it; one that exists is left as it is.
pub fn create_folder(path: &Path) -> Result<(), DiskError> {
    let _making = making();
    fs::create_dir_all(path).map_err(refused("create folder", path))
}

/// Creates a file in the place of an old one, for writing; neither the old nor the new one survives a crash for sure.
pub fn create_anew(path: &Path) -> Result<File, DiskError> {
    remove_file(path)?;
    create_new(path, 0o666)
}

/// Writes a file that nobody relies on after a crash, without waiting for the disk.
pub fn put(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    write_all(&mut create_anew(path)?, bytes, path)
}

/// Creates a file that must not exist yet, for writing, with this mode (less the umask).
pub fn create_new(path: &Path, mode: u32) -> Result<File, DiskError> {
    let _making = making();
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(refused("create", path))
}

/// Opens a file for adding at its end; it is created if need be.
pub fn append(path: &Path) -> Result<File, DiskError> {
    let _making = making();
    OpenOptions::new().append(true).create(true).open(path).map_err(refused("write", path))
}

/// Cuts an open file to `length`.
pub fn truncate(file: &File, length: ByteSize, path: &Path) -> Result<(), DiskError> {
    file.set_len(length.bytes()).map_err(refused("truncate", path))
}

/// Writes all `bytes` to an open file.
pub fn write_all(file: &mut File, bytes: &[u8], path: &Path) -> Result<(), DiskError> {
    file.write_all(bytes).map_err(refused("write", path))
}

/// Waits until the bytes of a file have reached the disk.
pub fn sync(file: &File, path: &Path) -> Result<(), DiskError> {
    file.sync_all().map_err(refused("write", path))
}

/// Waits until everything written to the file system of `path` has reached the disk.
pub fn sync_file_system(path: &Path) -> Result<(), DiskError> {
    let file = open(path)?;
    rustix::fs::syncfs(&file).map_err(|errno| DiskError::new("write", path, errno.into()))
}

/// Notes in the time of a file that it is used now.
pub fn touch(path: &Path) -> Result<(), DiskError> {
    let file = OpenOptions::new().append(true).open(path).map_err(refused("open", path))?;
    file.set_modified(SystemTime::now()).map_err(refused("note the use of", path))
}

/// Sets the permission bits of a file or folder.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), DiskError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(refused("change the mode of", path))
}

/// Sets the permission bits of an open file, whatever the umask left of them.
pub fn set_file_mode(file: &File, mode: u32, path: &Path) -> Result<(), DiskError> {
    rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(mode))
        .map_err(|errno| DiskError::new("change the mode of", path, errno.into()))
}

/// Makes a symbolic link that must not exist yet.
pub fn symlink(target: &str, path: &Path) -> Result<(), DiskError> {
    let _making = making();
    std::os::unix::fs::symlink(target, path).map_err(refused("create link", path))
}

/// Returns what a symbolic link says.
pub fn read_link(path: &Path) -> Result<PathBuf, DiskError> {
    fs::read_link(path).map_err(refused("read link", path))
}

/// Gives a file another name.
pub fn hard_link(original: &Path, path: &Path) -> Result<(), DiskError> {
    let _making = making();
    fs::hard_link(original, path).map_err(refused("create link", path))
}

/// Moves a file or folder within one file system; a file at `to` is replaced.
pub fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    let _making = making();
    fs::rename(from, to).map_err(refused("write", to))
}

/// Puts two files or folders of one file system in each other's places: at no moment is one of them missing, where the
/// file system can do that.
pub fn swap(one: &Path, other: &Path) -> Result<(), DiskError> {
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    match rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, exchange) {
        Ok(()) => return Ok(()),
        Err(Errno::INVAL | Errno::NOSYS) => {}
        Err(errno) => return Err(DiskError::new("write", other, errno.into())),
    }
    let mut name = one.file_name().unwrap_or_default().to_owned();
    name.push(".swapped");
    let aside = one.with_file_name(name);
    rename(other, &aside)?;
    if let Err(error) = rename(one, other) {
        rename(&aside, other)?;
        return Err(error);
    }
    rename(&aside, one)
}

/// Removes a file; a missing one is no error.
pub fn remove_file(path: &Path) -> Result<(), DiskError> {
    optional(fs::remove_file(path).map_err(refused("remove", path))).map(drop)
}

/// Removes a folder if there is nothing in it.
pub fn remove_empty_folder(path: &Path) -> Result<(), DiskError> {
    fs::remove_dir(path).map_err(refused("remove", path))
}

/// Removes a file or a folder with everything in it, whatever its modes; a missing one is no error.
pub fn remove_all(path: &Path) -> Result<(), DiskError> {
    match metadata(path)? {
        None => Ok(()),
        Some(metadata) if metadata.is_dir() => {
            if fs::remove_dir_all(path).is_ok() {
                return Ok(());
            }
            // Folders of images can have modes that keep their owner from emptying them.
            open_up(path)?;
            optional(fs::remove_dir_all(path).map_err(refused("remove", path))).map(drop)
        }
        Some(_) => remove_file(path),
    }
}

/// Lets the owner into every folder below `folder`.
fn open_up(folder: &Path) -> Result<(), DiskError> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        set_mode(&folder, 0o700)?;
        for path in list(&folder)? {
            if metadata(&path)?.is_some_and(|metadata| metadata.is_dir()) {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// What [`remove_fleeting`] removes.
static FLEETING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn fleeting() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    FLEETING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared by whoever makes something new on the disk, and taken for good by [`remove_fleeting`]: a thread that made
/// folders while others are removed would bring those back.
static MAKING: RwLock<()> = RwLock::new(());

/// Lets [`remove_fleeting`] wait until what is made now is made. Once that has begun this waits for the end of the
/// process.
fn making() -> RwLockReadGuard<'static, ()> {
    MAKING.read().unwrap_or_else(PoisonError::into_inner)
}

/// A note that a file or folder must not outlive this process, for ends at which nothing is dropped.
#[derive(Debug)]
pub struct Fleeting(PathBuf);

impl Fleeting {
    /// Notes a file or folder until the note is dropped.
    pub fn note(path: &Path) -> Self {
        fleeting().insert(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Fleeting {
    fn drop(&mut self) {
        fleeting().remove(&self.0);
    }
}

/// Removes everything that must not outlive this process, which is about to end without dropping anything: from now on
/// its threads wait when they want to make a file or a folder.
pub fn remove_fleeting() {
    // A tool may still be writing there, and a file system may hang; what cannot be removed now is removed by the next
    // run.
    const ATTEMPTS: usize = 50;
    const BETWEEN: Duration = Duration::from_millis(10);
    for _ in 0..ATTEMPTS {
        match MAKING.try_write() {
            Ok(alone) => {
                std::mem::forget(alone);
                break;
            }
            Err(_) => std::thread::sleep(BETWEEN),
        }
    }
    let noted = fleeting().clone();
    for path in noted {
        for _ in 0..ATTEMPTS {
            let removed = match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => remove_all(&path),
                Ok(_) => remove_file(&path),
                Err(_) => break,
            };
            if removed.is_err() {
                std::thread::sleep(BETWEEN);
            }
        }
    }
}

/// Replaces a file as a whole: readers see the old bytes or the new ones, also after a crash.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes).map_err(refused("write", path))?;
    file.commit()
}

/// Copies a file as a whole; see [`write`].
pub fn copy(from: &Path, to: &Path) -> Result<(), DiskError> {
    let mut content = open(from)?;
    let mut file = NewFile::create(to)?;
    io::copy(&mut content, &mut file).map_err(refused("write", to))?;
    file.commit()
}

/// A file under a temporary name beside its target; dropping it without [`NewFile::commit`] leaves nothing.
pub struct NewFile {
    file: tempfile::NamedTempFile,
    target: PathBuf,
    _fleeting: Fleeting,
}

impl NewFile {
    /// Begins a file that will stand at `target`.
    pub fn create(target: &Path) -> Result<Self, DiskError> {
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let _making = making();
        let file = tempfile::Builder::new()
            .prefix(TemporaryFolder::PREFIX)
            .suffix(".tmp")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(refused("write", target))?;
        let fleeting = Fleeting::note(file.path());
        Ok(Self { file, target: target.to_owned(), _fleeting: fleeting })
    }

    /// Writes `bytes` from `offset` on.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.as_file().write_all_at(bytes, offset).map_err(refused("write", &self.target))
    }

    /// Waits for the disk and moves the file to its target.
    pub fn commit(self) -> Result<(), DiskError> {
        let refused = refused("write", &self.target);
        if let Err(error) = self.file.as_file().sync_all() {
            return Err(refused(error));
        }
        let _making = making();
        self.file.persist(&self.target).map(drop).map_err(|error| refused(error.error))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A new folder that only this user can enter, removed with everything in it by drop, whatever modes that has.
#[derive(Debug)]
pub struct TemporaryFolder {
    path: PathBuf,
    _fleeting: Fleeting,
}

impl TemporaryFolder {
    /// How the names of these folders begin.
    pub const PREFIX: &'static str = ".modelconverter-";

    /// Makes an empty folder with a name of its own in `parent`.
    pub fn create_in(parent: &Path) -> Result<Self, DiskError> {
        Self::with_prefix(Self::PREFIX, parent)
    }

    /// The same with another beginning of its name.
    pub fn with_prefix(prefix: &str, parent: &Path) -> Result<Self, DiskError> {
        let _making = making();
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
        let path = folder.map_err(refused("create a folder in", parent))?.keep();
        Ok(Self { _fleeting: Fleeting::note(&path), path })
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Best effort: nobody is left to be told.
        let _ = remove_all(&self.path);
    }
}

/// A lock on a file, released by drop or by the death of the process.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

/// Waits for the lock on a folder, which lasts as long as the result is kept; some file systems have none.
pub fn lock_folder(path: &Path) -> Result<File, DiskError> {
    let folder = open(path)?;
    match folder.lock() {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(DiskError::new("lock", path, error)),
        _ => Ok(folder),
    }
}

/// Whether others may hold the same lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Many holders, as long as nobody holds it alone.
    Shared,
    /// One holder.
    Alone,
}

impl FileLock {
    /// Waits for the lock on `path`; the file is created if need be and stays.
    pub fn wait(path: &Path, sharing: Sharing) -> Result<Self, DiskError> {
        loop {
            let file = Self::open(path, sharing)?;
            match sharing {
                Sharing::Shared => file.lock_shared(),
                Sharing::Alone => file.lock(),
            }
            .map_err(refused("lock", path))?;
            if Self::stands_at(&file, path)? {
                return Ok(Self { file });
            }
        }
    }

    /// Takes the lock on `path` alone, or returns nothing if somebody holds it.
    pub fn attempt(path: &Path) -> Result<Option<Self>, DiskError> {
        let file = Self::open(path, Sharing::Alone)?;
        match file.try_lock() {
            Ok(()) => Ok(Self::stands_at(&file, path)?.then_some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(DiskError::new("lock", path, source)),
        }
    }

    fn open(path: &Path, sharing: Sharing) -> Result<File, DiskError> {
        let _making = making();
        let created = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        match created.map_err(refused("lock", path)) {
            // A reader of a read-only store can still share a lock that stands there.
            Err(error) if error.refuses_writing() && sharing == Sharing::Shared => open(path),
            result => result,
        }
    }

    /// Returns whether `file` is still the file at `path`: the one who held the lock before may have removed it.
    fn stands_at(file: &File, path: &Path) -> Result<bool, DiskError> {
        let ours = file.metadata().map_err(refused("lock", path))?;
        let theirs = metadata(path)?;
        Ok(theirs.is_some_and(|theirs| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino())))
    }

    /// Returns the locked file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        let mut dropped = NewFile::create(&path).unwrap();
        dropped.write_all(b"three").unwrap();
        drop(dropped);
        assert_eq!(read(&path, ByteSize::new(3)).unwrap(), b"two");
        assert_eq!(list(folder.path()).unwrap(), std::slice::from_ref(&path));
        assert!(matches!(read(&path, ByteSize::new(2)), Err(DiskError::TooLarge { .. })));
    }

    #[test]
    fn what_was_looked_at_of_a_very_large_file_is_given_back() {
        const LENGTH: u64 = 80 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        fs::write(&path, b"first").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(LENGTH).unwrap();
        let bytes = map(&path, ByteSize::new(LENGTH)).unwrap();
        let in_memory = || {
            let maps = fs::read_to_string("/proc/self/smaps").unwrap();
            let own = maps.split_once(path.to_str().unwrap()).unwrap().1;
            let resident = own.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
            resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        for _ in 0..2 {
            assert!(bytes.starts_with(b"first") && bytes[5..].iter().step_by(4096).all(|byte| *byte == 0));
            // Whenever the thread gets its turn.
            let is_given_back = (0..1000).any(|_| {
                thread::sleep(Duration::from_millis(10));
                in_memory() == 0
            });
            assert!(is_given_back);
        }
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert_eq!(slice, b"ir"[..]);
    }

    #[test]
    fn errors_name_the_path_and_what_to_do() {
        let path = Path::new("/somewhere/x");
        for (errno, text, hinted) in [
            (Errno::NOSPC, "no space left to write /somewhere/x", true),
            (Errno::DQUOT, "no space left to write /somewhere/x", true),
            (Errno::ROFS, "read-only file system: cannot write /somewhere/x", true),
            (Errno::ACCESS, "no permission to write /somewhere/x", true),
            (Errno::IO, "cannot write /somewhere/x", false),
        ] {
            let error = DiskError::new("write", path, errno.into());
            assert_eq!(error.to_string(), text);
            assert_eq!(!error.hints().is_empty(), hinted, "{text}");
        }
        let device = Path::new("/dev/full");
        let mut file = OpenOptions::new().write(true).open(device).unwrap();
        assert!(matches!(write_all(&mut file, b"x", device), Err(DiskError::NoSpace { .. })));
    }

    #[test]
    fn strangers_files_are_files_or_nothing() {
        let folder = TemporaryFolder::create_in(&std::env::temp_dir()).unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("file"), b"x").unwrap();
        symlink("file", &at("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let limit = ByteSize::new(1);
        assert_eq!(read_regular_if_exists(&at("file"), limit).unwrap().unwrap(), b"x");
        assert!(read_regular_if_exists(&at("none"), limit).unwrap().is_none());
        for name in ["link", "pipe", "."] {
            assert!(read_regular_if_exists(&at(name), limit).is_err(), "{name}");
        }
        create_folder(&at("closed/full")).unwrap();
        set_mode(&at("closed"), 0).unwrap();
        let path = folder.path().to_owned();
        drop(folder);
        assert!(metadata(&path).unwrap().is_none());
    }

    #[test]
    fn folders_swap_places() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            create_folder(&at(name)).unwrap();
            write(&at(name).join(name), b"").unwrap();
        }
        swap(&at("one"), &at("two")).unwrap();
        assert!(at("one/two").exists() && at("two/one").exists());
        assert!(swap(&at("none"), &at("two")).is_err());
        assert!(at("two/one").exists());
    }

    #[test]
    fn what_is_noted_as_fleeting_can_be_removed_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, gone) = (folder.path().join("kept"), folder.path().join("gone"));
        for path in [&kept, &gone] {
            create_folder(&path.join("inner")).unwrap();
        }
        drop(Fleeting::note(&kept));
        let _note = Fleeting::note(&gone);
        // Other tests of this process have notes of their own, so only this one is carried out.
        assert!(fleeting().contains(&gone) && !fleeting().contains(&kept));
    }

    #[test]
    fn missing_things_are_nothing_where_that_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        assert!(read_if_exists(&path, ByteSize::new(1)).unwrap().is_none());
        assert!(list(&path).unwrap().is_empty());
        remove_file(&path).unwrap();
        remove_all(&path).unwrap();
        assert!(matches!(open(&path), Err(DiskError::Missing { .. })));
    }

    #[test]
    fn folders_that_shut_their_owner_out_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        create_folder(&inner).unwrap();
        write(&inner.join("c"), b"").unwrap();
        set_mode(&inner, 0o000).unwrap();
        set_mode(&folder.path().join("a"), 0o500).unwrap();
        remove_all(&folder.path().join("a")).unwrap();
        assert!(list(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn a_lock_is_held_by_one_or_shared_by_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let alone = FileLock::wait(&path, Sharing::Alone).unwrap();
        assert!(FileLock::attempt(&path).unwrap().is_none());
        drop(alone);
        let first = FileLock::wait(&path, Sharing::Shared).unwrap();
        let second = FileLock::wait(&path, Sharing::Shared).unwrap();
        drop(first);
        assert!(FileLock::attempt(&path).unwrap().is_none());
        drop(second);
        assert!(FileLock::attempt(&path).unwrap().is_some());
    }
}
