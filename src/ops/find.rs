//! Files by the words of people: on this machine, or on another one and brought here.
//!
//! Owns the order in which relative paths are tried: beside the configuration, wherever that is, in the working folder,
//! in `shared_with_container`. Finding comes before bringing, so that whatever is missing is said before anything large
//! is downloaded. Must not know what is in the files, but for the names of those that an ONNX model needs beside it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;
use url::Url;

use crate::config::FileReference;
use crate::config::files::FileRole;
use crate::disk::{self, DiskError};
use crate::hint::{Hint, nearest};
use crate::onnx::{self, Model, Whereabouts};
use crate::pipeline::samples;
use crate::remote::{Found, Location, LocationError, Remote, RemoteError};
use crate::units::ByteSize;

/// The folder below the working folder in which users of the earlier tool keep their files.
pub(super) const SHARED: &str = "shared_with_container";

/// Where files are looked for.
#[derive(Clone, Copy)]
pub struct Folders<'a> {
    /// The working folder.
    pub working: &'a Path,
    /// The user's own folder, for `~`.
    pub home: Option<&'a Path>,
    /// The folder for what goes with the conversion: the members of NN Archives.
    pub temporary: &'a Path,
    /// Who brings files of other machines.
    pub remote: &'a Remote<'a>,
}

/// A file that cannot be found or brought.
#[derive(Debug, Error)]
pub enum FindError {
    /// It does not exist.
    #[error("`{reference}` does not exist")]
    Missing {
        /// The path as it was written.
        reference: FileReference,
        /// Where it was looked for.
        tried: Vec<String>,
        /// A file beside the first place whose name is much alike.
        near: Option<String>,
    },
    /// A link that leads nowhere.
    #[error("`{reference}` is a link to {}, which does not exist", target.display())]
    Dangling {
        /// The path as it was written.
        reference: FileReference,
        /// What the link says.
        target: PathBuf,
    },
    /// A folder where a file is wanted.
    #[error("`{reference}` is a folder")]
    Folder {
        /// The path as it was written.
        reference: FileReference,
    },
    /// A file in which no samples can be.
    #[error("`{reference}` is neither a folder nor a zip file")]
    NoSamples {
        /// The path as it was written.
        reference: FileReference,
    },
    /// It is on another machine and cannot be had.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It cannot be looked at or read.
    #[error("failed to look for `{reference}`")]
    Disk {
        /// The path as it was written.
        reference: FileReference,
        /// Why.
        #[source]
        source: DiskError,
    },
}

impl From<LocationError> for FindError {
    fn from(error: LocationError) -> Self {
        Self::Remote(error.into())
    }
}

impl FindError {
    /// Returns whether the machine or the network is to blame, and not the words of the user.
    pub fn is_about_the_machine(&self) -> bool {
        matches!(self, Self::Remote(error) if error.is_about_the_machine())
    }
}

impl Hint for FindError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Missing { tried, near, .. } => {
                let mut hints: Vec<String> = near.iter().map(|near| format!("did you mean `{near}`?")).collect();
                hints.push(format!("looked at {}", tried.join(", ")));
                hints
            }
            Self::Dangling { .. } => vec!["correct the link, or name the file itself".to_owned()],
            Self::Folder { .. } => vec!["name a file in it".to_owned()],
            Self::NoSamples { .. } => vec!["name the folder that holds the samples, or a .zip of it".to_owned()],
            Self::Remote(error) => error.hints(),
            Self::Disk { source, .. } => source.hints(),
        }
    }
}

/// Where a file was found.
#[derive(Clone, Debug)]
pub(super) enum Spot {
    /// On this machine.
    Here(PathBuf),
    /// On another one.
    There(Location, Found),
}

impl Spot {
    /// Returns what people call a file that was found here and is at `path` now: its URL without what may be secret, or
    /// that path.
    pub(super) fn shown(&self, path: &Path) -> FileReference {
        match self {
            Self::Here(_) => FileReference::new(path.to_string_lossy()),
            Self::There(location, _) => FileReference::new(location.to_string()),
        }
    }
}

/// A folder that relative paths are tried in.
enum Place {
    Here(PathBuf),
    /// The folder of this file.
    Beside(Location),
}

/// The folders that relative paths are tried in, the first one first.
pub(super) struct Places<'a> {
    folders: Folders<'a>,
    places: Vec<Place>,
}

impl<'a> Places<'a> {
    pub(super) fn new(folders: &Folders<'a>) -> Self {
        let places = vec![Place::Here(folders.working.to_owned()), Place::Here(folders.working.join(SHARED))];
        Self { folders: *folders, places }
    }

    /// From now on, tries the folder of the configuration first.
    pub(super) fn begin_beside(&mut self, configuration: &Spot) {
        let beside = match configuration {
            Spot::There(location, _) => vec![Place::Beside(location.clone())],
            Spot::Here(path) => {
                // A link stands in for its file: what lies beside either of them is meant.
                let own = path.parent().map(Path::to_owned);
                let followed = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
                let followed = followed.filter(|followed| own.as_ref() != Some(followed));
                own.into_iter().chain(followed).map(Place::Here).collect()
            }
        };
        self.places.splice(0..0, beside);
    }

    /// From now on, tries a folder of this machine first.
    pub(super) fn begin_in(&mut self, folder: &Path) {
        self.places.insert(0, Place::Here(folder.to_owned()));
    }

    /// Finds a file or folder.
    ///
    /// # Errors
    /// It is nowhere, or nobody can tell.
    pub(super) fn find(&self, reference: &FileReference) -> Result<Spot, FindError> {
        if reference.is_remote() {
            let location = Location::parse(reference)?;
            let found = self.folders.remote.look(&location)?;
            let missing =
                || FindError::Missing { reference: reference.clone(), tried: vec![location.to_string()], near: None };
            return found.map(|found| Spot::There(location.clone(), found)).ok_or_else(missing);
        }
        let (mut tried, mut near, mut refused) = (Vec::new(), None, None);
        for written in written(reference, self.folders.home) {
            for place in &self.places {
                let folder = match place {
                    Place::Here(folder) => folder,
                    Place::Beside(_) if written.is_absolute() => continue,
                    Place::Beside(configuration) => {
                        let Some(location) = configuration.beside(reference.as_str()) else { continue };
                        match self.folders.remote.look(&location) {
                            Ok(Some(found)) => return Ok(Spot::There(location, found)),
                            // What was not downloaded before may still lie on this machine.
                            Ok(None) | Err(RemoteError::Offline { .. }) => tried.push(location.to_string()),
                            // To accounts that may not list a bucket, what is not there is forbidden.
                            Err(error) if error.is_denial() => refused = Some(error),
                            Err(error) => return Err(error.into()),
                        }
                        continue;
                    }
                };
                // Joining an absolute path gives the path itself.
                let path = folder.join(&written);
                if is_there(&path, reference)? {
                    return Ok(Spot::Here(settled(&path)));
                }
                near = near.or_else(|| alike(&path));
                let path = path.display().to_string();
                if !tried.contains(&path) {
                    tried.push(path);
                }
            }
        }
        match refused {
            Some(error) => Err(error.into()),
            None => Err(FindError::Missing { reference: reference.clone(), tried, near }),
        }
    }

    /// Finds what can have this role.
    ///
    /// # Errors
    /// The same as [`Places::find`], and a folder where a file is wanted, or a file where samples are.
    pub(super) fn find_for(&self, role: FileRole, reference: &FileReference) -> Result<Spot, FindError> {
        let spot = self.find(reference)?;
        let is_folder = match &spot {
            Spot::Here(path) => path.is_dir(),
            Spot::There(_, found) => *found == Found::Folder,
        };
        match role {
            FileRole::CalibrationData if !is_folder && !samples::is_zip(Path::new(reference.file_name())) => {
                Err(FindError::NoSamples { reference: reference.clone() })
            }
            FileRole::CalibrationData => Ok(spot),
            _ if is_folder => Err(FindError::Folder { reference: reference.clone() }),
            _ => Ok(spot),
        }
    }

    /// Brings what was found to this machine, if it is not there, and returns its path. Of a folder of samples at most
    /// `limit` are brought.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn bring(
        &self,
        spot: &Spot,
        role: FileRole,
        reference: &FileReference,
        limit: Option<usize>,
    ) -> Result<PathBuf, FindError> {
        let remote = self.folders.remote;
        match spot {
            Spot::Here(path) => Ok(path.clone()),
            Spot::There(location, Found::Folder) if role == FileRole::CalibrationData => {
                Ok(remote.fetch_folder(location, limit)?)
            }
            Spot::There(location, _) if role == FileRole::Model && reference.suffix().eq_ignore_ascii_case(".onnx") => {
                let path = self.bring_file(spot)?;
                match companions(&path) {
                    companions if companions.is_empty() => Ok(path),
                    companions => Ok(remote.fetch_with(location, &companions)?),
                }
            }
            Spot::There(..) => self.bring_file(spot),
        }
    }

    /// Brings a file to this machine, if it is not there, and returns its path.
    ///
    /// # Errors
    /// It cannot be had, or is a folder on another machine.
    pub(super) fn bring_file(&self, spot: &Spot) -> Result<PathBuf, FindError> {
        match spot {
            Spot::Here(path) => Ok(path.clone()),
            Spot::There(location, Found::File) => Ok(self.folders.remote.fetch(location)?),
            Spot::There(location, Found::Folder) => Err(RemoteError::Folder { location: location.clone() }.into()),
        }
    }
}

/// Returns the paths that a reference to this machine may stand for, the one that URLs are for last.
pub(super) fn written(reference: &FileReference, home: Option<&Path>) -> Vec<PathBuf> {
    let text = reference.as_str();
    if let Some(path) = text.strip_prefix("file://") {
        // Some people write paths behind the scheme, and others URLs.
        let decoded = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
        return std::iter::once(PathBuf::from(path)).chain(decoded).collect();
    }
    match (text.strip_prefix('~'), home) {
        (Some(""), Some(home)) => vec![home.to_owned()],
        (Some(rest), Some(home)) if rest.starts_with('/') => vec![home.join(rest.trim_start_matches('/'))],
        _ => vec![PathBuf::from(text)],
    }
}

/// Returns the files that an ONNX model needs beside it. What cannot be read, or leaves the model's folder, is left for
/// whoever loads the model to say.
pub(super) fn companions(path: &Path) -> Vec<String> {
    let bytes = disk::read(path, ByteSize::new(onnx::MAX_MODEL_BYTES)).unwrap_or_default();
    let Ok(model) = Model::parse(bytes.into()) else { return Vec::new() };
    let inside = |data: &onnx::ExternalData| data.whereabouts == Whereabouts::Inside;
    let mut files: Vec<String> = model.external_data().into_iter().filter(inside).map(|data| data.location).collect();
    files.sort();
    files.dedup();
    files
}

/// Returns whether there is something at a path that can be used.
fn is_there(path: &Path, reference: &FileReference) -> Result<bool, FindError> {
    let metadata = match disk::metadata(path) {
        Ok(metadata) => metadata,
        // Words that cannot be a path, or a file where a folder would have to be.
        Err(DiskError::Other { source, .. })
            if matches!(
                source.kind(),
                ErrorKind::NotADirectory | ErrorKind::InvalidFilename | ErrorKind::InvalidInput
            ) =>
        {
            None
        }
        Err(source) => return Err(FindError::Disk { reference: reference.clone(), source }),
    };
    if metadata.is_some_and(|metadata| metadata.is_symlink()) && !path.exists() {
        let failed = |source| FindError::Disk { reference: reference.clone(), source };
        let target = disk::read_link(path).map_err(failed)?;
        return Err(FindError::Dangling { reference: reference.clone(), target });
    }
    Ok(path.exists())
}

/// Returns a path without links in its folders. A link at its end stays, for results are named after what people wrote,
/// and what belongs to a model lies beside the link.
fn settled(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    }
}

/// Returns the name in the folder of `path` that looks most like its own.
fn alike(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let names: Vec<String> = disk::list(path.parent()?)
        .ok()?
        .iter()
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .collect();
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::progress::Silent;
    use crate::remote::RemoteOptions;

    /// Asks for `words` with `home` and `working`, and returns the path from `root`, or the error.
    fn found(root: &Path, config: Option<&str>, words: &str) -> Result<String, String> {
        let remote = Remote::new(RemoteOptions::default(), &Silent);
        let (working, home) = (root.join("working"), root.join("home"));
        let folders = Folders { working: &working, home: Some(&home), temporary: root, remote: &remote };
        let mut places = Places::new(&folders);
        if let Some(config) = config {
            places.begin_beside(&Spot::Here(root.join(config)));
        }
        match places.find(&FileReference::new(words)) {
            Ok(Spot::Here(path)) => {
                let path = path.strip_prefix(root.canonicalize().unwrap()).unwrap().to_owned();
                Ok(path.to_str().unwrap().to_owned())
            }
            Ok(spot) => panic!("{spot:?}"),
            Err(error) => Err(format!("{error}; {}", error.hints().join("; "))),
        }
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["working/shared_with_container", "home"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    #[test]
    fn every_way_to_write_a_path_leads_to_the_file() {
        let odd = "a b\n'ü'%20.onnx";
        let root =
            tree(&["home/m/home.onnx", "working/here.onnx", "elsewhere/a b.onnx", "c/conf.yaml", "c/beside.onnx"]);
        fs::write(root.path().join("working").join(odd), "").unwrap();
        let absolute = root.path().join("elsewhere/a b.onnx").display().to_string();
        for (words, path) in [
            ("~/m/home.onnx", "home/m/home.onnx"),
            ("~", "home"),
            ("here.onnx", "working/here.onnx"),
            ("./here.onnx", "working/here.onnx"),
            ("../elsewhere/a b.onnx", "elsewhere/a b.onnx"),
            (absolute.as_str(), "elsewhere/a b.onnx"),
            (format!("file://{absolute}").as_str(), "elsewhere/a b.onnx"),
            (format!("file://{}", absolute.replace(' ', "%20")).as_str(), "elsewhere/a b.onnx"),
            (odd, format!("working/{odd}").as_str()),
            ("beside.onnx", "c/beside.onnx"),
            ("shared_with_container", "working/shared_with_container"),
        ] {
            assert_eq!(found(root.path(), Some("c/conf.yaml"), words).as_deref(), Ok(path), "{words}");
        }
    }

    #[test]
    fn the_places_have_their_order() {
        let root = tree(&["c/conf.yaml"]);
        for (place, config) in
            [("working/shared_with_container", true), ("working", true), ("c", true), ("working", false)]
        {
            fs::write(root.path().join(place).join("net.onnx"), "").unwrap();
            let path = found(root.path(), config.then_some("c/conf.yaml"), "net.onnx").unwrap();
            assert_eq!(path, format!("{place}/net.onnx"));
        }
    }

    #[test]
    fn links_keep_their_names_and_lead_to_what_is_beside_them() {
        let root = tree(&["store/0123", "real/conf.yaml", "real/far.onnx", "links/near.onnx"]);
        let at = |path: &str| root.path().join(path);
        symlink("../store/0123", at("working/net.onnx")).unwrap();
        assert_eq!(found(root.path(), None, "net.onnx").unwrap(), "working/net.onnx");
        symlink(at("real"), at("working/folder")).unwrap();
        assert_eq!(found(root.path(), None, "folder/far.onnx").unwrap(), "real/far.onnx");
        symlink("../real/conf.yaml", at("links/conf.yaml")).unwrap();
        for (words, path) in [("near.onnx", "links/near.onnx"), ("far.onnx", "real/far.onnx")] {
            assert_eq!(found(root.path(), Some("links/conf.yaml"), words).unwrap(), path);
        }
        symlink("nowhere", at("working/dangling.onnx")).unwrap();
        let error = found(root.path(), None, "dangling.onnx").unwrap_err();
        assert!(error.starts_with("`dangling.onnx` is a link to nowhere, which does not exist"), "{error}");
    }

    #[test]
    fn what_is_missing_is_told_with_the_places_and_a_guess() {
        let root = tree(&["working/model.onnx"]);
        let error = found(root.path(), None, "modle.onnx").unwrap_err();
        assert!(error.starts_with("`modle.onnx` does not exist; did you mean `model.onnx`?; looked at "), "{error}");
        assert!(error.contains(SHARED), "{error}");
        for words in ["model.onnx/inside", &"x".repeat(5000), "nul\0", ""] {
            let found = found(root.path(), None, words);
            assert!(words.is_empty() || found.unwrap_err().contains("does not exist"));
        }
        for (words, start) in [
            ("mlflow://run/net.onnx", "`mlflow://run/net.onnx` is a URL of an unknown kind; give a local path"),
            ("git+ssh://host/net.onnx", "`git+ssh://host/net.onnx` is a URL of an unknown kind"),
        ] {
            let error = found(root.path(), None, words).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
