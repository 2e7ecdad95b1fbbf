//! How much of what was downloaded is kept.
//!
//! Owns [`trim`]: what was not used for longest goes first, until the rest fits. Files that several URLs or folders share
//! count once, and are gone only when the last of them is. Nothing is removed while another process may be using it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::shelf::Known;
use crate::disk::{self, DiskError, FileLock};
use crate::units::ByteSize;

/// Something that can be removed by itself.
struct Kept {
    /// When it was used last.
    used: SystemTime,
    /// What is removed with it: the document that knows it first.
    paths: Vec<PathBuf>,
}

/// What stands on the disk, by file system and number.
#[derive(Default)]
struct Inodes {
    seen: BTreeMap<(u64, u64), Inode>,
    /// The size of all that have a name.
    total: u64,
}

struct Inode {
    size: u64,
    /// How many names there are that were seen.
    names: u64,
}

impl Inodes {
    fn add(&mut self, path: &Path) -> Result<(), DiskError> {
        each_file(path, &mut |size, key| {
            let inode = self.seen.entry(key).or_insert(Inode { size, names: 0 });
            if inode.names == 0 {
                self.total += inode.size;
            }
            inode.names += 1;
        })
    }

    fn remove(&mut self, path: &Path) -> Result<(), DiskError> {
        each_file(path, &mut |_, key| {
            let Some(inode) = self.seen.get_mut(&key).filter(|inode| inode.names > 0) else { return };
            inode.names -= 1;
            if inode.names == 0 {
                self.total -= inode.size;
            }
        })
    }
}

fn each_file(path: &Path, take: &mut dyn FnMut(u64, (u64, u64))) -> Result<(), DiskError> {
    match disk::metadata(path)? {
        Some(metadata) if metadata.is_dir() => disk::list(path)?.iter().try_for_each(|path| each_file(path, take)),
        Some(metadata) => {
            take(metadata.len(), (metadata.dev(), metadata.ino()));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Removes of the downloads below `root` what was not used for longest, until the rest is no more than `most`.
///
/// # Errors
/// Something cannot be looked at or removed.
pub(super) fn trim(root: &Path, most: ByteSize) -> Result<(), DiskError> {
    let Some(_alone) = FileLock::attempt(&root.join("locks/use"))? else { return Ok(()) };
    let mut inodes = Inodes::default();
    for folder in ["files", "folders", "partial"] {
        inodes.add(&root.join(folder))?;
    }
    if inodes.total <= most.bytes() {
        return Ok(());
    }
    for kept in oldest_first(root)? {
        if inodes.total <= most.bytes() {
            break;
        }
        for path in kept.paths {
            inodes.remove(&path)?;
            disk::remove_all(&path)?;
            tracing::debug!(path = %path.display(), "removed, for the cache is full");
        }
    }
    Ok(())
}

/// Lists what there is. Files and folders that no URL leads to any more were used before all others.
fn oldest_first(root: &Path) -> Result<Vec<Kept>, DiskError> {
    let modified = |path: &Path| -> Result<SystemTime, DiskError> {
        let modified = disk::metadata(path)?.and_then(|metadata| metadata.modified().ok());
        Ok(modified.unwrap_or(SystemTime::UNIX_EPOCH))
    };
    let mut things: BTreeMap<PathBuf, Kept> = BTreeMap::new();
    for folder in ["files", "folders"] {
        for path in disk::list(&root.join(folder))? {
            let paths = vec![path.clone()];
            things.insert(path, Kept { used: SystemTime::UNIX_EPOCH, paths });
        }
    }
    for document in disk::list(&root.join("known"))? {
        let place = match Known::read(&document)? {
            Some(Known::File { sha256, .. }) => root.join("files").join(sha256.hex()),
            Some(Known::Folder { contents, .. }) => root.join("folders").join(contents.hex()),
            None => document.clone(),
        };
        let thing = things.entry(place).or_insert(Kept { used: SystemTime::UNIX_EPOCH, paths: Vec::new() });
        thing.used = thing.used.max(modified(&document)?);
        thing.paths.insert(0, document);
    }
    for path in disk::list(&root.join("partial"))? {
        let used = modified(&path)?;
        things.insert(path.clone(), Kept { used, paths: vec![path] });
    }
    let mut things: Vec<Kept> = things.into_values().collect();
    things.sort_by_key(|thing| thing.used);
    Ok(things)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::location::Location;
    use super::super::shelf::tests::{key, put};
    use super::super::shelf::{Key, Shelf};
    use super::*;
    use crate::config::FileReference;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Makes a download older, as if it had been used then.
    fn age(root: &Path, key: &Key, hours: u32) {
        let document = std::fs::File::options().append(true).open(root.join("known").join(key.as_str())).unwrap();
        document.set_modified(SystemTime::now() - HOUR * hours).unwrap();
    }

    #[test]
    fn what_was_not_used_for_longest_goes_until_the_rest_fits() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let urls = ["s3://b/old.onnx", "s3://b/used.onnx", "s3://b/new.onnx"];
        let shelf = Shelf::open(root, None).unwrap();
        for (hours, url) in (1..).zip(urls.iter().rev()) {
            put(&shelf, url, url.repeat(10).as_bytes());
            age(root, &key(url), hours);
        }
        age(root, &key(urls[1]), 9);
        assert!(shelf.held(&key(urls[1])).unwrap().is_some(), "and with that it was used now");
        trim(root, ByteSize::default()).unwrap();
        assert!(shelf.held(&key(urls[0])).unwrap().is_some(), "somebody may be using it");
        age(root, &key(urls[0]), 5);
        drop(shelf);

        trim(root, ByteSize::new(1000)).unwrap();
        let held = |shelf: &Shelf| urls.map(|url| shelf.held(&key(url)).unwrap().is_some());
        assert_eq!(held(&Shelf::open(root, Some(ByteSize::new(1000))).unwrap()), [true; 3]);
        assert_eq!(held(&Shelf::open(root, Some(ByteSize::new(400))).unwrap()), [false, true, true]);
        assert_eq!(held(&Shelf::open(root, Some(ByteSize::new(1))).unwrap()), [false; 3]);
        assert!(disk::list(&root.join("files")).unwrap().is_empty());
    }

    #[test]
    fn files_of_folders_count_once_and_go_with_the_last_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let shelf = Shelf::open(root, None).unwrap();
        let held = put(&shelf, "s3://b/photos/a", &[7; 1000]);
        let (contents, folder) = shelf.folder("photos", &[("a".to_owned(), held.clone())]).unwrap();
        let location = Location::parse(&FileReference::new("s3://b/photos/")).unwrap();
        let whole = Key::of_folder(&location, None);
        shelf.remember_folder([&whole, &Key::of(&location)], contents, "photos").unwrap();
        age(root, &key("s3://b/photos/a"), 2);
        [&whole, &Key::of(&location)].into_iter().for_each(|key| age(root, key, 1));
        // A file that no URL leads to any more.
        put(&shelf, "s3://b/x", &[1; 500]);
        put(&shelf, "s3://b/x", &[2; 500]);
        drop(shelf);
        let exist = || [&held.path, &folder].map(|path| disk::metadata(path).unwrap().is_some());
        trim(root, ByteSize::new(1700)).unwrap();
        assert_eq!((exist(), disk::list(&root.join("files")).unwrap().len()), ([true, true], 2));
        trim(root, ByteSize::new(1200)).unwrap();
        assert_eq!(exist(), [false, false]);
        assert_eq!(disk::list(&root.join("files")).unwrap().len(), 1, "the newest stays");
    }

    #[test]
    fn what_broke_off_goes_too() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        Shelf::open(root, None).unwrap();
        disk::write(&root.join("partial/abc"), &[0; 100]).unwrap();
        trim(root, ByteSize::new(10)).unwrap();
        assert!(disk::list(&root.join("partial")).unwrap().is_empty());
    }
}
