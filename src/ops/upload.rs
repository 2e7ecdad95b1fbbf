//! Results into buckets and other folders, after a conversion that succeeded.
//!
//! Owns which results go where: the compiled models of a stage and their NN Archive below its `output_remote_url`, the
//! folder of intermediate files below its `intermediate_outputs_remote_url`; a path is seen from the working folder. Where
//! they go is checked before the conversion begins. A place whose last component ends like a result
//! (`s3://bucket/net.superblob`) is taken for the name of that result. Results that were not brought away stay where they
//! are on this machine.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::convert::Output;
use super::find;
use crate::config::{ConversionConfig, FileReference, StageName};
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::exchange::{Artifact, ArtifactKind};
use crate::hint::Hint;
use crate::pipeline;
use crate::plan::convert::ConversionPlan;
use crate::remote::{Location, LocationError, Remote, RemoteError};

/// What of one stage goes where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    stage: StageName,
    what: What,
    to: Target,
}

/// A place that takes files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// On this machine.
    Here(PathBuf),
    /// On another one.
    There(Location),
}

impl Target {
    /// Takes a URL or path apart, seen from the folder `working`.
    fn parse(reference: &FileReference, working: &Path, home: Option<&Path>) -> Result<Self, LocationError> {
        if reference.is_remote() {
            return Location::parse_target(reference).map(Self::There);
        }
        let path = find::written(reference, home).pop().unwrap_or_default();
        // Without `.` and a slash at its end.
        Ok(Self::Here(working.join(path).components().collect()))
    }

    /// Returns the last component.
    fn name(&self) -> String {
        match self {
            Self::Here(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::There(location) => location.name(),
        }
    }

    /// Returns the place at `relative` in this folder; nothing if there can be none.
    fn below(&self, relative: &str) -> Option<Self> {
        match self {
            Self::Here(path) => Some(Self::Here(path.join(relative))),
            Self::There(location) => location.below(relative).map(Self::There),
        }
    }

    /// Returns the place at `relative`, seen from this file's folder; nothing if there can be none.
    fn beside(&self, relative: &str) -> Option<Self> {
        match self {
            Self::Here(path) => Some(Self::Here(path.with_file_name(relative))),
            Self::There(location) => location.beside(relative).map(Self::There),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(path) => path.display().fmt(formatter),
            Self::There(location) => location.fmt(formatter),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Results,
    Intermediates,
}

/// Results that cannot be brought where they are wanted.
#[derive(Debug, Error)]
pub enum UploadError {
    /// A URL leads nowhere.
    #[error("stage `{stage}` has an impossible `{key}`")]
    Location {
        /// Which stage.
        stage: StageName,
        /// The key of the configuration.
        key: &'static str,
        /// Why.
        #[source]
        source: LocationError,
    },
    /// Files that will not be there.
    #[error("stage `{stage}` has an `intermediate_outputs_remote_url`, and does not keep its intermediate files")]
    NotKept {
        /// Which stage.
        stage: StageName,
    },
    /// The place takes no files from here; nothing was converted yet.
    #[error("the results could not be uploaded")]
    Refused(#[source] RemoteError),
    /// The conversion succeeded, and the upload did not.
    #[error("the result is in {}, but it could not be uploaded", folder.display())]
    Failed {
        /// The folder of the result on this machine.
        folder: PathBuf,
        /// Why.
        #[source]
        source: RemoteError,
    },
    /// A folder of this machine takes no files; nothing was converted yet.
    #[error("the results could not be copied to {}", to.display())]
    NoFolder {
        /// Where they were to go.
        to: PathBuf,
        /// Why.
        #[source]
        source: DiskError,
    },
    /// The conversion succeeded, and the copy did not.
    #[error("the result is in {}, but it could not be copied", folder.display())]
    NotCopied {
        /// The folder of the result.
        folder: PathBuf,
        /// Why.
        #[source]
        source: DiskError,
    },
    /// A result cannot be read.
    #[error("the result cannot be read to be uploaded")]
    Disk(#[from] DiskError),
    /// A result whose name is no key.
    #[error("`{name}` cannot be the name of an object in a bucket")]
    Name {
        /// The name.
        name: String,
    },
}

impl UploadError {
    /// Returns whether the machine or the network is to blame, and not the configuration.
    pub fn is_about_the_machine(&self) -> bool {
        match self {
            Self::Location { .. } | Self::NotKept { .. } => false,
            Self::Refused(error) => error.is_about_the_machine(),
            Self::Failed { .. } | Self::NoFolder { .. } | Self::NotCopied { .. } => true,
            Self::Disk(_) | Self::Name { .. } => true,
        }
    }
}

impl Hint for UploadError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Location { source, .. } => source.hints(),
            Self::NotKept { .. } => vec!["set `keep_intermediate_outputs: true`, or remove the URL".to_owned()],
            Self::Refused(error) => error.hints(),
            Self::Failed { source, .. } => source.hints(),
            Self::NoFolder { source, .. } | Self::NotCopied { source, .. } => source.hints(),
            Self::Disk(error) => error.hints(),
            Self::Name { .. } => Vec::new(),
        }
    }
}

/// What is uploaded of one conversion, and who does it.
pub struct Uploads<'a> {
    destinations: Vec<Destination>,
    remote: &'a Remote<'a>,
}

impl<'a> Uploads<'a> {
    /// Takes over what a configuration wants uploaded or copied; paths are seen from the folder `working`, or begin with
    /// the user's own folder `home`.
    ///
    /// # Errors
    /// A URL is none that takes files, or what it is for will not be there.
    pub fn new(
        configuration: &ConversionConfig,
        (working, home): (&Path, Option<&Path>),
        remote: &'a Remote<'a>,
    ) -> Result<Self, UploadError> {
        let target = |reference: &FileReference| Target::parse(reference, working, home);
        Ok(Self { destinations: destinations(configuration, &target)?, remote })
    }

    /// Checks that every destination can be written to.
    ///
    /// # Errors
    /// One cannot.
    pub fn check(&self) -> Result<(), UploadError> {
        let mut checked: Vec<&Target> = Vec::new();
        for destination in &self.destinations {
            if checked.contains(&&destination.to) {
                continue;
            }
            match &destination.to {
                Target::There(location) => self.remote.check_target(location).map_err(UploadError::Refused)?,
                Target::Here(to) => {
                    let failed = |source| UploadError::NoFolder { to: to.clone(), source };
                    check_folder(to, ending(&destination.to).is_some()).map_err(failed)?;
                }
            }
            checked.push(&destination.to);
        }
        Ok(())
    }

    /// Uploads what is wanted of a result, and adds the URLs to it.
    ///
    /// # Errors
    /// Something cannot be uploaded; the result stays where it is.
    pub fn carry_out(&self, plan: &ConversionPlan, output: Output) -> Result<Output, UploadError> {
        let stages = &plan.order.configuration.stages;
        let mut uploads = Vec::new();
        for destination in &self.destinations {
            let pairs = match destination.what {
                What::Results => results(destination, stages.len() == 1, &output.artifacts)?,
                What::Intermediates => {
                    let folder = match stages.len() {
                        1 => output.folder.clone(),
                        _ => output.folder.join(destination.stage.as_str()),
                    };
                    intermediates(destination, &folder.join(pipeline::INTERMEDIATES))?
                }
            };
            for (file, to) in pairs {
                self.bring(&output.folder, &output.folder.join(file), &to)?;
                uploads.push(to.to_string());
            }
        }
        Ok(Output { uploads, ..output })
    }

    /// Brings one file of the result in `folder` to its place.
    fn bring(&self, folder: &Path, file: &Path, to: &Target) -> Result<(), UploadError> {
        let folder = folder.to_owned();
        match to {
            Target::There(location) => {
                self.remote.upload(file, location).map_err(|source| UploadError::Failed { folder, source })?;
                Ok(())
            }
            Target::Here(to) => {
                let made = to.parent().map_or(Ok(()), disk::create_folder);
                made.and_then(|()| disk::copy(file, to)).map_err(|source| UploadError::NotCopied { folder, source })
            }
        }
    }
}

/// Checks that files can be written at `to`, or in the folder above it that is there already, and leaves nothing behind.
/// Where a file can be meant, one may be there already.
fn check_folder(to: &Path, can_be_file: bool) -> Result<(), DiskError> {
    let mut folder = if can_be_file && to.is_file() { to.parent().unwrap_or(to) } else { to };
    while disk::metadata(folder)?.is_none()
        && let Some(parent) = folder.parent()
    {
        folder = parent;
    }
    TemporaryFolder::create_in(folder).map(drop)
}

/// Returns everything that a configuration wants uploaded or copied.
fn destinations(
    configuration: &ConversionConfig,
    target: &dyn Fn(&FileReference) -> Result<Target, LocationError>,
) -> Result<Vec<Destination>, UploadError> {
    let mut destinations = Vec::new();
    for stage in &configuration.stages {
        let settings = &stage.settings;
        let wanted = [
            ("output_remote_url", What::Results, &settings.output_remote_url),
            ("intermediate_outputs_remote_url", What::Intermediates, &settings.intermediate_outputs_remote_url),
        ];
        for (key, what, url) in wanted {
            let Some(url) = url else { continue };
            let failed = |source| UploadError::Location { stage: stage.name.clone(), key, source };
            let to = target(url).map_err(failed)?;
            if what == What::Intermediates && !settings.keep_intermediate_outputs {
                return Err(UploadError::NotKept { stage: stage.name.clone() });
            }
            destinations.push(Destination { stage: stage.name.clone(), what, to });
        }
    }
    Ok(destinations)
}

/// Returns the results of a stage, by their path in the output folder, and where each goes.
fn results(
    destination: &Destination,
    single: bool,
    artifacts: &[Artifact],
) -> Result<Vec<(PathBuf, Target)>, UploadError> {
    let is_result = |artifact: &&Artifact| match artifact.kind {
        ArtifactKind::Blob | ArtifactKind::Superblob | ArtifactKind::Dlc | ArtifactKind::Hef => true,
        ArtifactKind::NnArchive => true,
        ArtifactKind::Configuration | ArtifactKind::BuildInfo | ArtifactKind::Log | ArtifactKind::Intermediate => false,
    };
    // What several stages have in common lies beside their folders.
    let belongs = |artifact: &&Artifact| match artifact.path.split_once('/') {
        Some((folder, _)) => single || folder == destination.stage.as_str(),
        None => true,
    };
    let mut pairs = Vec::new();
    for artifact in artifacts.iter().filter(is_result).filter(belongs) {
        let name = artifact.path.rsplit('/').next().unwrap_or_default();
        let is_its_name = |name: &str| ending(&destination.to).is_some_and(|ending| name.ends_with(ending.as_str()));
        let to = if is_its_name(name) {
            Some(destination.to.clone())
        } else if artifacts.iter().filter(is_result).any(|other| is_its_name(&other.path)) {
            destination.to.beside(name)
        } else {
            destination.to.below(name)
        };
        let to = to.ok_or_else(|| UploadError::Name { name: name.to_owned() })?;
        pairs.push((PathBuf::from(&artifact.path), to));
    }
    Ok(pairs)
}

/// Returns the end of a place's last component, from its first dot on.
fn ending(target: &Target) -> Option<String> {
    let name = target.name();
    Some(name.get(name.find('.')?..)?.to_owned())
}

/// Returns every file below a folder and where it goes.
fn intermediates(destination: &Destination, folder: &Path) -> Result<Vec<(PathBuf, Target)>, UploadError> {
    let mut pairs = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in disk::list(&next)? {
            let Some(metadata) = disk::metadata(&path)? else { continue };
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            let to = destination.to.below(&relative).ok_or(UploadError::Name { name: relative })?;
            pairs.push((path, to));
        }
    }
    pairs.sort();
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{read, yaml};
    use crate::digest::Digest;
    use crate::units::ByteSize;

    fn configuration(text: &str) -> ConversionConfig {
        read::read(&yaml::parse(text, "f.yaml").unwrap()).unwrap().config
    }

    fn target(text: &str) -> Result<Target, LocationError> {
        Target::parse(&FileReference::new(text), Path::new("/srv"), Some(Path::new("/home/u")))
    }

    fn wanted(text: &str) -> Result<Vec<Destination>, UploadError> {
        destinations(&configuration(text), &|reference| target(reference.as_str()))
    }

    fn artifact(path: &str, kind: ArtifactKind) -> Artifact {
        Artifact { path: path.to_owned(), size: ByteSize::new(0), sha256: Digest::of(b""), kind }
    }

    fn goes(to: &str, single: bool, artifacts: &[Artifact]) -> Vec<(String, String)> {
        let to = target(to).unwrap();
        let destination = Destination { stage: "one".parse().unwrap(), what: What::Results, to };
        let pairs = results(&destination, single, artifacts).unwrap();
        pairs.into_iter().map(|(file, to)| (file.display().to_string(), to.to_string())).collect()
    }

    #[test]
    fn results_go_into_the_folder_or_get_the_name_of_the_url() {
        let artifacts = [
            artifact("net.superblob", ArtifactKind::Superblob),
            artifact("net.rvc2.tar.xz", ArtifactKind::NnArchive),
            artifact("config.yaml", ArtifactKind::Configuration),
        ];
        for (to, blob, archive) in [
            ("s3://b/v1.2", "s3://b/v1.2/net.superblob", "s3://b/v1.2/net.rvc2.tar.xz"),
            ("s3://b/r/", "s3://b/r/net.superblob", "s3://b/r/net.rvc2.tar.xz"),
            ("s3://b/r/final.superblob", "s3://b/r/final.superblob", "s3://b/r/net.rvc2.tar.xz"),
            ("s3://b/final.tar.xz", "s3://b/net.superblob", "s3://b/final.tar.xz"),
            ("r/./v1.2/", "/srv/r/v1.2/net.superblob", "/srv/r/v1.2/net.rvc2.tar.xz"),
            ("~/final.superblob", "/home/u/final.superblob", "/home/u/net.rvc2.tar.xz"),
            ("file:///r%20s", "/r s/net.superblob", "/r s/net.rvc2.tar.xz"),
        ] {
            let pairs = [("net.superblob", blob), ("net.rvc2.tar.xz", archive)];
            assert_eq!(goes(to, true, &artifacts), pairs.map(|(file, to)| (file.to_owned(), to.to_owned())), "{to}");
        }
    }

    #[test]
    fn each_stage_has_its_own_results() {
        let artifacts = [artifact("one/a.blob", ArtifactKind::Blob), artifact("two/b.blob", ArtifactKind::Blob)];
        assert_eq!(goes("gs://b/r", false, &artifacts), [("one/a.blob".to_owned(), "gs://b/r/a.blob".to_owned())]);
    }

    #[test]
    fn impossible_destinations_are_refused_at_once() {
        let text = |rest: &str| format!("input_model: m.onnx\n{rest}\n");
        assert!(wanted(&text("")).unwrap().is_empty());
        let both = "output_remote_url: s3://b/r\nintermediate_outputs_remote_url: gs://b/i";
        assert_eq!(wanted(&text(both)).unwrap().len(), 2);
        for web in ["https://h/r", "ftp://h/r"] {
            let web = wanted(&text(&format!("output_remote_url: {web}"))).unwrap_err();
            assert!(
                matches!(web, UploadError::Location { key: "output_remote_url", .. }) && !web.is_about_the_machine()
            );
        }
        let gone = "intermediate_outputs_remote_url: s3://b/i\nkeep_intermediate_outputs: false";
        assert!(matches!(wanted(&text(gone)), Err(UploadError::NotKept { .. })));
    }
}
