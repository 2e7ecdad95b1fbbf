//! What a container left behind becomes the user's result: checked against the report, then put in place at once.
//!
//! Owns the rules of the output folder: what may be replaced, and the marker that says so. A folder is replaced as a
//! whole and only after the new one is complete; a folder that is not ours is never touched. A container is a stranger:
//! nothing it left is followed or taken over but folders and regular files that give nobody any rights.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::digest::VerifyingReader;
use crate::disk::{self, DiskError};
use crate::exchange::{Artifact, LOG};
use crate::hint::Hint;

/// The file that marks a folder as the result of a conversion.
pub const MARKER: &str = ".modelconverter_output";

/// A result that could not be put in place.
#[derive(Debug, Error)]
pub enum CollectError {
    /// The place of the result is taken.
    #[error("refusing to overwrite {path}: {reason}")]
    Taken {
        /// The folder.
        path: PathBuf,
        /// Why it is not ours.
        reason: &'static str,
    },
    /// A file of the report is not what the report says.
    #[error("the result `{path}` is not what the report of the container says")]
    Different {
        /// The path below the output folder.
        path: String,
        /// What differs.
        #[source]
        source: std::io::Error,
    },
    /// The report names a path that leaves the output folder.
    #[error("the report of the container names `{path}`, which is no path inside the output folder")]
    Outside {
        /// The path.
        path: String,
    },
    /// Something that no conversion makes.
    #[error("the container left {what} at {path}")]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file cannot be read or written.
    #[error("failed to put the result in place")]
    Disk(#[from] DiskError),
}

impl Hint for CollectError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Taken { .. } => vec!["choose another place with `--output-dir`, or move the folder away".to_owned()],
            Self::Different { .. } | Self::Outside { .. } | Self::Foreign { .. } => {
                vec!["the image may be another one than you think; build it again with `image build`".to_owned()]
            }
            Self::Disk(error) => error.hints(),
        }
    }
}

/// What a result may replace, as it stood when the work began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was there.
    Nothing,
    /// An earlier result, or an empty folder.
    Folder {
        /// Its file system.
        device: u64,
        /// Its number there.
        inode: u64,
    },
}

/// Returns the folder that `place` leads to, if it is a link to one; else `place` itself. The link then leads to each
/// result that is put there.
///
/// # Errors
/// The link leads nowhere.
pub fn settled(place: &Path) -> Result<PathBuf, CollectError> {
    match disk::metadata(place)? {
        Some(metadata) if metadata.is_symlink() => place
            .canonicalize()
            .map_err(|_| CollectError::Taken { path: place.to_owned(), reason: "it is a link that leads nowhere" }),
        _ => Ok(place.to_owned()),
    }
}

/// Checks, before any work is done, that the result may be put at `place`, and returns what it then replaces.
///
/// # Errors
/// Something that is no result of ours is there.
pub fn check_place(place: &Path) -> Result<Standing, CollectError> {
    let taken = |reason| Err(CollectError::Taken { path: place.to_owned(), reason });
    let Some(metadata) = disk::metadata(place)? else { return Ok(Standing::Nothing) };
    if !metadata.is_dir() {
        return taken("it is not a directory");
    }
    if disk::metadata(&place.join(MARKER))?.is_none() && !disk::list(place)?.is_empty() {
        return taken("it is not empty, and no result of an earlier conversion");
    }
    Ok(Standing::Folder { device: metadata.dev(), inode: metadata.ino() })
}

/// Checks the files of a report below `made`, and puts that folder at `place`, where it replaces what stood there when
/// the work began and nothing else: if something came there meanwhile, the result goes to the first of `place_2`,
/// `place_3` and so on where nothing is. Returns where it is.
///
/// # Errors
/// A file differs from the report, or the folder of `place` cannot be written.
pub fn collect(made: &Path, artifacts: &[Artifact], place: &Path, standing: Standing) -> Result<PathBuf, CollectError> {
    check_folder(made)?;
    // All at once: the large ones take their time.
    std::thread::scope(|scope| {
        let checks: Vec<_> = artifacts.iter().map(|artifact| scope.spawn(|| check(made, artifact))).collect();
        checks.into_iter().try_for_each(|check| check.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    disk::write(&made.join(MARKER), b"")?;
    if standing != Standing::Nothing && replace(made, place, standing)? {
        return Ok(place.to_owned());
    }
    let mut free = place.to_owned();
    for number in 2.. {
        match disk::rename(made, &free) {
            Err(error) if was_overtaken(&error) && disk::metadata(made)?.is_some() => {}
            result => {
                result?;
                break;
            }
        }
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!("_{number}"));
        free = place.with_file_name(name);
    }
    Ok(free)
}

/// Checks that there is nothing below `made`, and at it, but folders and plain files.
fn check_folder(made: &Path) -> Result<(), CollectError> {
    let mut folders = vec![made.to_owned()];
    while let Some(folder) = folders.pop() {
        if !is_folder(&folder)? {
            return Err(CollectError::Foreign { path: folder, what: "something else than a folder" });
        }
        for path in disk::list(&folder)? {
            let Some(metadata) = disk::metadata(&path)? else { continue };
            let what = match metadata.file_type() {
                kind if kind.is_dir() => {
                    folders.push(path);
                    continue;
                }
                kind if kind.is_symlink() => "a link",
                kind if !kind.is_file() => "a device, socket or pipe",
                // The container's root may be this user: such a file would lend the user's rights to everybody.
                _ if metadata.mode() & SET_ID != 0 => "a program that runs as its owner",
                _ => continue,
            };
            return Err(CollectError::Foreign { path, what });
        }
    }
    Ok(())
}

/// The mode bits that make a program run as its owner or group.
const SET_ID: u32 = 0o6000;

fn is_folder(path: &Path) -> Result<bool, DiskError> {
    Ok(disk::metadata(path)?.is_some_and(|metadata| metadata.is_dir()))
}

/// Puts a folder in the place of the one that stood there, if it still does.
fn replace(made: &Path, place: &Path, standing: Standing) -> Result<bool, CollectError> {
    // Between the look and the exchange no other conversion puts anything there.
    let _alone = disk::lock_folder(place.parent().unwrap_or(Path::new(".")))?;
    if !check_place(place).is_ok_and(|found| found == standing) {
        return Ok(false);
    }
    match disk::swap(made, place) {
        // `made` is the earlier result now.
        Ok(()) => Ok(disk::remove_all(made).map(|()| true)?),
        Err(error) if was_overtaken(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn was_overtaken(error: &DiskError) -> bool {
    match error {
        DiskError::Missing { .. } => true,
        DiskError::Other { source, .. } => {
            matches!(source.kind(), std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists)
        }
        _ => false,
    }
}

/// Moves the log of a failed conversion beside the place where its result would be; a log that cannot be moved is lost.
pub fn keep_log(made: &Path, place: &Path) -> Option<PathBuf> {
    // A container may have put links there, to folders and files that are not its own.
    let log = Some(made.join(LOG)).filter(|_| is_folder(made).unwrap_or(false))?;
    let mut name = place.file_name()?.to_owned();
    name.push(".log");
    let kept = place.with_file_name(name);
    disk::metadata(&log).ok()?.filter(|metadata| metadata.is_file())?;
    disk::rename(&log, &kept).ok()?;
    Some(kept)
}

fn check(made: &Path, artifact: &Artifact) -> Result<(), CollectError> {
    let outside = || CollectError::Outside { path: artifact.path.clone() };
    let is_plain = |component| matches!(component, std::path::Component::Normal(_));
    if !Path::new(&artifact.path).components().all(is_plain) {
        return Err(outside());
    }
    let content = disk::open_regular(&made.join(&artifact.path))?;
    VerifyingReader::new(content, artifact.size, artifact.sha256)
        .check()
        .map_err(|source| CollectError::Different { path: artifact.path.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::digest::Digest;
    use crate::exchange::ArtifactKind;
    use crate::units::ByteSize;

    fn made(folder: &Path) -> PathBuf {
        let made = folder.join("output");
        fs::create_dir(&made).unwrap();
        fs::write(made.join("m.blob"), b"blob").unwrap();
        made
    }

    #[test]
    fn a_place_that_nobody_named_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("net_to_rvc2");
        let names = ["net_to_rvc2", "net_to_rvc2_2", "net_to_rvc2_3"].map(|name| folder.path().join(name));
        for name in &names {
            let put = collect(&made(folder.path()), &[artifact("m.blob", b"blob")], &place, Standing::Nothing).unwrap();
            assert_eq!(&put, name);
        }
        assert!(names.iter().all(|name| name.join("m.blob").exists()));
    }

    fn artifact(path: &str, bytes: &[u8]) -> Artifact {
        let size = ByteSize::new(bytes.len() as u64);
        Artifact { path: path.to_owned(), size, sha256: Digest::of(bytes), kind: ArtifactKind::Blob }
    }

    /// Converts for `place`, and lets `meanwhile` happen.
    fn converted(folder: &Path, place: &Path, meanwhile: impl FnOnce()) -> PathBuf {
        let standing = check_place(place).unwrap();
        meanwhile();
        collect(&made(folder), &[artifact("m.blob", b"blob")], place, standing).unwrap()
    }

    #[test]
    fn a_result_replaces_an_earlier_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, place) = (folder.path(), folder.path().join("result"));
        let beside = |number: u32| folder.join(format!("result_{number}"));
        fs::create_dir(&place).unwrap();
        assert_eq!(converted(folder, &place, || ()), place);
        fs::write(place.join("old"), b"").unwrap();
        assert_eq!(converted(folder, &place, || ()), place);
        assert!(!place.join("old").exists());
        assert_eq!(fs::read(place.join("m.blob")).unwrap(), b"blob");

        // Another result came, the folder went, and somebody took it for himself.
        let another = || fs::write(converted(folder, &place, || ()).join("other"), b"").unwrap();
        assert_eq!(converted(folder, &place, another), beside(2));
        assert!(place.join("other").exists());
        assert_eq!(converted(folder, &place, || fs::remove_dir_all(&place).unwrap()), place);
        assert_eq!(converted(folder, &place, || fs::remove_file(place.join(MARKER)).unwrap()), beside(3));
        assert!(matches!(check_place(&place), Err(CollectError::Taken { .. })));
    }

    #[test]
    fn a_link_to_a_folder_stays_and_leads_to_the_result() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        fs::create_dir(at("results")).unwrap();
        symlink("results", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        assert_eq!(settled(&at("results")).unwrap(), at("results"));
        assert_eq!(settled(&at("none")).unwrap(), at("none"));
        for _ in 0..2 {
            let place = settled(&at("link")).unwrap();
            assert_eq!(converted(folder.path(), &place, || ()), at("results"));
            assert_eq!(fs::read(at("link/m.blob")).unwrap(), b"blob");
        }
        assert!(settled(&at("dangling")).unwrap_err().to_string().contains("a link that leads nowhere"));
    }

    #[test]
    fn results_that_come_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        for (round, is_standing) in std::iter::zip(0..20, [false, true].into_iter().cycle()) {
            let place = folder.path().join(format!("result {round}"));
            if is_standing {
                converted(folder.path(), &place, || ());
            }
            let standing = check_place(&place).unwrap();
            let places = std::thread::scope(|scope| {
                let collecting = (0..4).map(|one| {
                    let (own, place) = (folder.path().join(format!("{round}-{one}")), &place);
                    fs::create_dir(&own).unwrap();
                    scope.spawn(move || collect(&made(&own), &[artifact("m.blob", b"blob")], place, standing).unwrap())
                });
                let collecting: Vec<_> = collecting.collect();
                collecting.into_iter().map(|one| one.join().unwrap()).collect::<std::collections::BTreeSet<_>>()
            });
            assert_eq!(places.len(), 4, "{round}");
            assert!(places.contains(&place));
            assert!(places.iter().all(|place| fs::read(place.join("m.blob")).unwrap() == b"blob"));
        }
    }

    #[test]
    fn what_a_hostile_container_leaves_is_not_taken_over() {
        let set_id = |path: &Path| {
            fs::write(path, b"").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).unwrap();
        };
        let pipe = |path: &Path| drop(UnixListener::bind(path).unwrap());
        let link = |path: &Path| symlink("/etc", path).unwrap();
        let makers: [&dyn Fn(&Path); 3] = [&set_id, &pipe, &link];
        for (name, make) in std::iter::zip(["program", "socket", "link"], makers) {
            let folder = tempfile::tempdir().unwrap();
            let made = made(folder.path());
            fs::create_dir(made.join("deep")).unwrap();
            make(&made.join("deep").join(name));
            let place = folder.path().join("result");
            let error = collect(&made, &[artifact("m.blob", b"blob")], &place, Standing::Nothing).unwrap_err();
            assert!(matches!(error, CollectError::Foreign { .. }), "{name}: {error}");
            assert!(!place.exists(), "{name}");
        }
    }

    #[test]
    fn links_in_place_of_the_output_folder_reach_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join(LOG), b"mine").unwrap();
        let made = folder.path().join("output");
        symlink(&victim, &made).unwrap();
        let place = folder.path().join("result");
        assert!(matches!(collect(&made, &[], &place, Standing::Nothing), Err(CollectError::Foreign { .. })));
        assert_eq!(keep_log(&made, &place), None);
        assert_eq!(fs::read(victim.join(LOG)).unwrap(), b"mine");
        assert!(!victim.join(MARKER).exists() && !place.exists());

        fs::remove_file(&made).unwrap();
        fs::create_dir(&made).unwrap();
        symlink(victim.join(LOG), made.join(LOG)).unwrap();
        assert_eq!(keep_log(&made, &place), None);
    }

    #[test]
    fn a_result_that_differs_from_its_report_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let made = made(folder.path());
        let place = folder.path().join("result");
        for artifact in [artifact("m.blob", b"bolb"), artifact("m.blob", b"blo"), artifact("../etc/passwd", b"")] {
            assert!(collect(&made, &[artifact], &place, Standing::Nothing).is_err());
            assert!(!place.exists());
        }
    }
}
