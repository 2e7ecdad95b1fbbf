//! Folders of samples with links in them, made folders of files.
//!
//! A container sees a folder and nothing that links in it lead to. So a folder with links is put together again in a
//! temporary one: files by hard links, or copies where that is impossible. A folder without links is used as it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError, NewFile, TemporaryFolder};

/// Returns a folder in `temporary` that holds `folder`, by its own name, with files in the place of links; nothing if
/// there are no links in it. Links to folders are followed, but not in circles. What is neither file nor folder, and
/// links that lead nowhere, are left out: they are no samples.
///
/// # Errors
/// A folder cannot be read, or a file cannot be copied.
pub(super) fn followed(folder: &Path, temporary: &Path) -> Result<Option<TemporaryFolder>, DiskError> {
    let mut found = Found::default();
    found.collect(folder, Path::new(""), &mut BTreeSet::new())?;
    if !found.has_links {
        return Ok(None);
    }
    let made = TemporaryFolder::create_in(temporary)?;
    let root = made.path().join(folder.file_name().unwrap_or_default());
    disk::create_folder(&root)?;
    for (relative, file) in found.files {
        let place = root.join(relative);
        place.parent().map(disk::create_folder).transpose()?;
        if disk::hard_link(&file, &place).is_err() {
            let mut copy = NewFile::create(&place)?;
            let copied = std::io::copy(&mut disk::open(&file)?, &mut copy);
            copied.map_err(|source| DiskError::new("copy", &file, source))?;
            copy.commit()?;
        }
    }
    Ok(Some(made))
}

#[derive(Default)]
struct Found {
    has_links: bool,
    /// Each file by its path in the folder, with the path of the file itself.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Found {
    /// `above` are the folders that this one lies in, by their true paths.
    fn collect(&mut self, folder: &Path, relative: &Path, above: &mut BTreeSet<PathBuf>) -> Result<(), DiskError> {
        let Ok(own) = folder.canonicalize() else { return Ok(()) };
        if !above.insert(own.clone()) {
            return Ok(());
        }
        for path in disk::list(folder)? {
            let name = path.file_name().unwrap_or_default();
            let relative = relative.join(name);
            self.has_links |= disk::metadata(&path)?.is_some_and(|metadata| metadata.is_symlink());
            if path.is_dir() {
                if name != ".git" {
                    self.collect(&path, &relative, above)?;
                }
            } else if path.is_file()
                && let Ok(file) = path.canonicalize()
            {
                self.files.push((relative, file));
            }
        }
        above.remove(&own);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_become_files_and_circles_end() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["photos", "other/deep", "temporary"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["photos/1.png", "other/2.png", "other/deep/3.png"] {
            fs::write(at(file), file).unwrap();
        }
        assert!(followed(&at("photos"), &at("temporary")).unwrap().is_none());
        symlink(at("other/2.png"), at("photos/two é.png")).unwrap();
        symlink("../other/deep", at("photos/deep")).unwrap();
        symlink("../../photos", at("other/deep/circle")).unwrap();
        symlink("nowhere", at("photos/dangling.png")).unwrap();
        let made = followed(&at("photos"), &at("temporary")).unwrap().unwrap();
        let read = |path: &str| fs::read_to_string(made.path().join("photos").join(path));
        assert_eq!(read("1.png").unwrap(), "photos/1.png");
        assert_eq!(read("two é.png").unwrap(), "other/2.png");
        assert_eq!(read("deep/3.png").unwrap(), "other/deep/3.png");
        assert!(read("dangling.png").is_err() && read("deep/circle/1.png").is_err());
        assert_eq!(fs::read_dir(made.path().join("photos")).unwrap().count(), 3);
    }
}
