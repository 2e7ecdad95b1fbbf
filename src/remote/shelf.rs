//! Downloads kept on this machine, below one folder.
//!
//! ```text
//! files/<sha256>/<name>      whole files, read-only, under the last component of their URL
//! folders/<sha256>/<name>/   folders of such files (hard links), by the digest of what is in them
//! known/<key>                which file or folder a URL led to last: one JSON document
//! partial/<key>              a download that broke off; <key>.from says of which version
//! locks/<key>                held while the URL is being downloaded; locks/use, while files may be used
//! ```
//!
//! A key is the digest of the whole URL, which may hold secrets and is written nowhere. A file is found by its bytes, so
//! that two URLs with one last component never meet, and whoever was handed a path keeps that content whatever happens
//! to the URL. Everything becomes visible by one rename of something complete. Must not know about networks.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::budget;
use super::location::Location;
use super::source::Version;
use crate::digest::{Digest, Hasher};
use crate::disk::{self, DiskError, File, FileLock, Sharing, TemporaryFolder};
use crate::units::ByteSize;

/// No document here is longer.
const DOCUMENT_LIMIT: ByteSize = ByteSize::new(16 << 10);

/// Read at a time.
const BUFFER: usize = 256 * 1024;

/// The folder of downloads.
pub(super) struct Shelf {
    root: PathBuf,
    _use: FileLock,
}

/// What everything but locks is in.
const FOLDERS: [&str; 4] = ["files", "folders", "known", "partial"];

/// What a URL led to last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub(super) enum Known {
    /// A file.
    File { sha256: Digest, size: ByteSize, name: String, version: Option<String> },
    /// A folder.
    Folder { contents: Digest, name: String },
}

/// A whole file on the shelf.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) path: PathBuf,
    pub(super) sha256: Digest,
    pub(super) version: Option<Version>,
}

/// What a location is called here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn of(location: &Location) -> Self {
        Self(Digest::of(location.identity().as_bytes()).hex())
    }

    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of a folder of which at most so many files are wanted.
    pub(super) fn of_folder(location: &Location, limit: Option<usize>) -> Self {
        let limit = limit.map_or_else(|| "all".to_owned(), |limit| limit.to_string());
        Self(Digest::of(format!("{}\n{limit}", location.identity()).as_bytes()).hex())
    }
}

impl Known {
    /// Reads a document. One that cannot be read, or of another release, says nothing; it is written again.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, DiskError> {
        let bytes = disk::read_if_exists(path, DOCUMENT_LIMIT)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).filter(|known| match known {
            Self::File { name, .. } | Self::Folder { name, .. } => is_name(name),
        }))
    }
}

impl Shelf {
    /// Opens the folder at `root`. If nobody else uses it and it holds more than `most`, it is trimmed before.
    pub(super) fn open(root: &Path, most: Option<ByteSize>) -> Result<Self, DiskError> {
        disk::create_folder(&root.join("locks"))?;
        if let Some(most) = most {
            // Who may not write there does not fill it either.
            if let Err(error) = budget::trim(root, most) {
                tracing::debug!(%error, "downloads were not trimmed");
            }
        }
        let in_use = FileLock::wait(&root.join("locks/use"), Sharing::Shared)?;
        for folder in FOLDERS {
            disk::create_folder(&root.join(folder))?;
        }
        Ok(Self { root: root.to_owned(), _use: in_use })
    }

    /// Removes everything below `root`, and returns how much that was; nothing if somebody may be using it.
    pub(super) fn clear(root: &Path) -> Result<Option<ByteSize>, DiskError> {
        if disk::metadata(root)?.is_none() {
            return Ok(Some(ByteSize::default()));
        }
        disk::create_folder(&root.join("locks"))?;
        let Some(_alone) = FileLock::attempt(&root.join("locks/use"))? else { return Ok(None) };
        // Folders hold files once more, by hard links.
        let mut size = 0;
        for folder in ["files", "partial"] {
            size += size_below(&root.join(folder))?;
        }
        FOLDERS.iter().try_for_each(|folder| disk::remove_all(&root.join(folder)))?;
        Ok(Some(ByteSize::new(size)))
    }

    fn place(&self, folder: &str, key: &Key) -> PathBuf {
        self.root.join(folder).join(&key.0)
    }

    fn file(&self, sha256: &Digest, name: &str) -> PathBuf {
        self.root.join("files").join(sha256.hex()).join(name)
    }

    /// Returns the file that a URL led to last, if it is whole.
    pub(super) fn held(&self, key: &Key) -> Result<Option<Held>, DiskError> {
        let Some(Known::File { sha256, size, name, version }) = self.known(key)? else { return Ok(None) };
        let path = self.file(&sha256, &name);
        let is_whole = disk::metadata(&path)?.is_some_and(|metadata| metadata.len() == size.bytes());
        let version = version.as_deref().and_then(Version::of_line);
        Ok(is_whole.then_some(Held { path, sha256, version }))
    }

    /// Returns the folder that a URL led to last.
    pub(super) fn held_folder(&self, key: &Key) -> Result<Option<PathBuf>, DiskError> {
        let Some(Known::Folder { contents, name }) = self.known(key)? else { return Ok(None) };
        let path = self.root.join("folders").join(contents.hex()).join(name);
        Ok(disk::metadata(&path)?.is_some().then_some(path))
    }

    /// Returns what a URL led to last, and notes that it is used now.
    fn known(&self, key: &Key) -> Result<Option<Known>, DiskError> {
        let path = self.place("known", key);
        let known = Known::read(&path)?;
        if known.is_some() {
            // Somebody else's folder may be read and no more.
            let _ = disk::touch(&path);
        }
        Ok(known)
    }

    fn remember(&self, key: &Key, known: &Known) -> Result<(), DiskError> {
        disk::write(&self.place("known", key), &serde_json::to_vec(known).unwrap_or_default())
    }

    /// Waits until nobody else downloads the same, and takes up what there is of it.
    pub(super) fn slot(&self, key: Key) -> Result<Slot<'_>, DiskError> {
        let lock = FileLock::wait(&self.place("locks", &key), Sharing::Alone)?;
        let path = self.place("partial", &key);
        let from = path.with_extension("from");
        let version = disk::read_if_exists(&from, DOCUMENT_LIMIT)?.and_then(|bytes| String::from_utf8(bytes).ok());
        let version = version.as_deref().and_then(Version::of_line).filter(Version::can_resume);
        if disk::metadata(&path)?.is_some() {
            // A process that died just before the last rename left it read-only.
            disk::set_mode(&path, 0o644)?;
        }
        let file = disk::append(&path)?;
        let mut slot = Slot { shelf: self, key, path, file, hasher: Hasher::default(), version, _lock: lock };
        if slot.version.is_some() {
            slot.take_up()?
        } else {
            slot.restart(None)?
        }
        Ok(slot)
    }

    /// Makes a folder of files that are held, by their path in it, and returns where it is; `name` is its own name.
    pub(super) fn folder(&self, name: &str, files: &[(String, Held)]) -> Result<(Digest, PathBuf), DiskError> {
        let mut listing: Vec<String> = files.iter().map(|(path, held)| format!("{path:?} {}\n", held.sha256)).collect();
        listing.sort();
        let contents = Digest::of(listing.concat().as_bytes());
        let folders = self.root.join("folders");
        let standing = folders.join(contents.hex());
        if disk::metadata(&standing.join(name))?.is_some() {
            return Ok((contents, standing.join(name)));
        }
        let made = TemporaryFolder::create_in(&folders)?;
        disk::set_mode(made.path(), 0o755)?;
        let inner = made.path().join(name);
        disk::create_folder(&inner)?;
        for (path, held) in files {
            let place = inner.join(path);
            place.parent().map(disk::create_folder).transpose()?;
            disk::hard_link(&held.path, &place)?;
        }
        disk::create_folder(&standing)?;
        // Whoever is first wins: the folders are the same.
        match disk::rename(&inner, &standing.join(name)) {
            Err(_) if disk::metadata(&standing.join(name))?.is_some() => {}
            result => result?,
        }
        Ok((contents, standing.join(name)))
    }

    /// Notes which folder a URL led to.
    pub(super) fn remember_folder(&self, keys: [&Key; 2], contents: Digest, name: &str) -> Result<(), DiskError> {
        let known = Known::Folder { contents, name: name.to_owned() };
        keys.into_iter().try_for_each(|key| self.remember(key, &known))
    }
}

fn size_below(folder: &Path) -> Result<u64, DiskError> {
    let mut size = 0;
    for path in disk::list(folder)? {
        match disk::metadata(&path)? {
            Some(metadata) if metadata.is_dir() => size += size_below(&path)?,
            Some(metadata) => size += metadata.len(),
            None => {}
        }
    }
    Ok(size)
}

/// Returns whether a name stays in its folder.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// A download under way. Death or drop lets it go and keeps the bytes of a version that can be resumed.
pub(super) struct Slot<'a> {
    shelf: &'a Shelf,
    key: Key,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    version: Option<Version>,
    _lock: FileLock,
}

impl Slot<'_> {
    /// Hashes what is there already.
    fn take_up(&mut self) -> Result<(), DiskError> {
        let mut file = disk::open(&self.path)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = file.read(&mut buffer).map_err(|source| DiskError::new("read", &self.path, source))?;
            if count == 0 {
                return Ok(());
            }
            self.hasher.update(buffer.get(..count).unwrap_or_default());
        }
    }

    /// Returns how many bytes there are.
    pub(super) fn length(&self) -> u64 {
        self.hasher.length().bytes()
    }

    /// Returns of which version the bytes so far are, if the download can go on.
    pub(super) fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// Returns the file that the URL led to last, if it is whole.
    pub(super) fn held(&self) -> Result<Option<Held>, DiskError> {
        self.shelf.held(&self.key)
    }

    /// Throws the bytes away and begins again with those of a version.
    pub(super) fn restart(&mut self, version: Option<Version>) -> Result<(), DiskError> {
        let from = self.path.with_extension("from");
        disk::remove_file(&from)?;
        disk::truncate(&self.file, ByteSize::default(), &self.path)?;
        self.hasher = Hasher::default();
        self.version = version.filter(Version::can_resume);
        match &self.version {
            Some(version) => disk::write(&from, version.to_line().as_bytes()),
            None => Ok(()),
        }
    }

    /// Takes the next bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.hasher.update(bytes);
        disk::write_all(&mut self.file, bytes, &self.path)
    }

    /// Makes the bytes the file of this name that the URL leads to.
    pub(super) fn commit(self, name: &str, version: Option<Version>) -> Result<Held, DiskError> {
        let (size, sha256) = self.hasher.clone().finish();
        let path = self.shelf.file(&sha256, name);
        disk::sync(&self.file, &self.path)?;
        disk::set_mode(&self.path, 0o444)?;
        path.parent().map(disk::create_folder).transpose()?;
        disk::rename(&self.path, &path)?;
        disk::remove_file(&self.path.with_extension("from"))?;
        let line = version.as_ref().map(Version::to_line);
        let known = Known::File { sha256, size, name: name.to_owned(), version: line };
        self.shelf.remember(&self.key, &known)?;
        Ok(Held { path, sha256, version })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        // Best effort: what cannot be gone on with is of no use, and an empty file is in nobody's way.
        if self.version.is_none() || self.length() == 0 {
            let _ = disk::remove_file(&self.path.with_extension("from"));
            let _ = disk::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::FileReference;

    pub(in super::super) fn key(url: &str) -> Key {
        Key::of(&Location::parse(&FileReference::new(url)).unwrap())
    }

    fn tag(text: &str) -> Option<Version> {
        Some(Version::Tag(text.to_owned()))
    }

    pub(in super::super) fn put(shelf: &Shelf, url: &str, bytes: &[u8]) -> Held {
        let mut slot = shelf.slot(key(url)).unwrap();
        slot.restart(tag("1")).unwrap();
        slot.append(bytes).unwrap();
        slot.commit("net.onnx", tag("1")).unwrap()
    }

    #[test]
    fn files_with_one_name_do_not_meet() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(root.path(), None).unwrap();
        let (one, two) = (put(&shelf, "s3://b/one/net.onnx", b"1"), put(&shelf, "s3://b/two/net.onnx", b"2"));
        assert_ne!(one.path, two.path);
        assert_eq!(one.path.file_name(), two.path.file_name());
        let newer = put(&shelf, "s3://b/one/net.onnx", b"3");
        assert_eq!(disk::read(&one.path, ByteSize::new(9)).unwrap(), b"1", "whoever has the old one keeps it");
        assert_eq!(shelf.held(&key("s3://b/one/net.onnx")).unwrap().unwrap().path, newer.path);
        assert!(shelf.held(&key("s3://b/three/net.onnx")).unwrap().is_none());
    }

    #[test]
    fn what_broke_off_goes_on_only_if_its_version_is_known() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(root.path(), None).unwrap();
        for (version, kept) in [(tag("\"v\""), 3), (Some(Version::WeakTag("W/\"v\"".into())), 0), (None, 0)] {
            let url = format!("s3://b/{kept}{version:?}");
            let mut slot = shelf.slot(key(&url)).unwrap();
            slot.restart(version.clone()).unwrap();
            slot.append(b"abc").unwrap();
            drop(slot);
            let mut slot = shelf.slot(key(&url)).unwrap();
            assert_eq!(slot.length(), kept);
            slot.append(&b"abcdef"[usize::try_from(kept).unwrap()..]).unwrap();
            let held = slot.commit("f", version).unwrap();
            assert_eq!(held.sha256, Digest::of(b"abcdef"));
        }
        assert!(disk::list(&root.path().join("partial")).unwrap().is_empty());
    }

    #[test]
    fn a_truncated_file_is_not_taken_for_whole() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(root.path(), None).unwrap();
        let held = put(&shelf, "s3://b/net.onnx", b"12345");
        disk::remove_file(&held.path).unwrap();
        disk::write(&held.path, b"123").unwrap();
        assert!(shelf.held(&key("s3://b/net.onnx")).unwrap().is_none());
    }

    #[test]
    fn everything_goes_at_once_unless_somebody_may_be_using_it() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Shelf::clear(&root.path().join("none")).unwrap(), Some(ByteSize::default()));
        let shelf = Shelf::open(root.path(), None).unwrap();
        let held = put(&shelf, "s3://b/net.onnx", b"12345");
        assert_eq!(Shelf::clear(root.path()).unwrap(), None);
        drop(shelf);
        assert_eq!(Shelf::clear(root.path()).unwrap(), Some(ByteSize::new(5)));
        assert!(disk::metadata(&held.path).unwrap().is_none());
        assert!(Shelf::open(root.path(), None).unwrap().held(&key("s3://b/net.onnx")).unwrap().is_none());
    }

    #[test]
    fn folders_are_made_once_of_what_is_held() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(root.path(), None).unwrap();
        let files =
            [("a.onnx".to_owned(), put(&shelf, "s3://b/a", b"1")), ("d/w".to_owned(), put(&shelf, "s3://b/w", b"2"))];
        let (contents, folder) = shelf.folder("photos", &files).unwrap();
        assert_eq!(shelf.folder("photos", &files).unwrap(), (contents, folder.clone()));
        assert_eq!(disk::read(&folder.join("d/w"), ByteSize::new(9)).unwrap(), b"2");
        let location = Location::parse(&FileReference::new("s3://b/photos/")).unwrap();
        let key = Key::of_folder(&location, Some(2));
        shelf.remember_folder([&key, &Key::of(&location)], contents, "photos").unwrap();
        assert_eq!(shelf.held_folder(&key).unwrap(), Some(folder));
        assert_eq!(shelf.held_folder(&Key::of_folder(&location, None)).unwrap(), None);
    }
}
