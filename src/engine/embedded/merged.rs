//! The union of layer trees as one folder of hard links.
//!
//! Owns what stands in for an overlay where the kernel refuses one: the same names, with the upper layer's entry where
//! two have one. Files are linked, not copied, unless the file system refuses links. The folder must be mounted read
//! only: its files are the store's own.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// Makes in the empty folder `target` the union of `trees`, lowest first.
///
/// A character device 0:0 in an upper tree takes the name away, as in overlayfs; other special files are left out.
///
/// # Errors
/// A tree cannot be read or `target` cannot be written.
pub(super) fn merge<'a>(trees: impl IntoIterator<Item = &'a Path>, target: &Path) -> io::Result<()> {
    trees.into_iter().try_for_each(|tree| lay_over(tree, target))
}

fn lay_over(source: &Path, target: &Path) -> io::Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&from)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            if !fs::symlink_metadata(&to).is_ok_and(|present| present.is_dir()) {
                remove(&to)?;
                fs::create_dir(&to)?;
            }
            // The caller must be able to fill and to remove the folder.
            fs::set_permissions(&to, fs::Permissions::from_mode(metadata.mode() & 0o7777 | 0o700))?;
            lay_over(&from, &to)?;
            continue;
        }
        remove(&to)?;
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() && fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(present) if present.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_entries_win() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for folder in ["low/both", "low/folder-then-file", "high/both", "target"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        let files = [
            ("low/both/low", "low"),
            ("low/both/same", "low"),
            ("low/folder-then-file/gone", "low"),
            ("low/file-then-link", "low"),
            ("high/both/same", "high"),
            ("high/folder-then-file", "high"),
        ];
        for (name, text) in files {
            fs::write(path(name), text).unwrap();
        }
        symlink("both/same", path("high/file-then-link")).unwrap();
        merge([path("low").as_path(), &path("high")], &path("target")).unwrap();
        let expected = [
            ("target/both/low", "low"),
            ("target/both/same", "high"),
            ("target/folder-then-file", "high"),
            ("target/file-then-link", "high"),
        ];
        for (name, text) in expected {
            assert_eq!(fs::read_to_string(path(name)).unwrap(), text, "{name}");
        }
        let inode = |name: &str| fs::metadata(path(name)).unwrap().ino();
        assert_eq!(inode("low/both/low"), inode("target/both/low"), "linked, not copied");
        assert_eq!(fs::read_to_string(path("low/both/same")).unwrap(), "low", "lower trees stay as they were");
    }
}
