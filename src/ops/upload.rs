//! Results into buckets, after a conversion that succeeded.
//!
//! Owns which results go where: the compiled models of a stage and their NN Archive below its `output_remote_url`, the
//! folder of intermediate files below its `intermediate_outputs_remote_url`. Where they go is checked before the
//! conversion begins. A URL whose last component ends like a result (`s3://bucket/net.superblob`) is taken for the
//! name of that result. Results that were not uploaded stay where they are on this machine.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::convert::Output;
use crate::config::{ConversionConfig, StageName};
use crate::disk::{self, DiskError};
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
    to: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Results,
    Intermediates,
}

/// Results that cannot be uploaded.
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
            Self::Failed { .. } | Self::Disk(_) | Self::Name { .. } => true,
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
    /// Takes over what a configuration wants uploaded.
    ///
    /// # Errors
    /// A URL is none that takes files, or what it is for will not be there.
    pub fn new(configuration: &ConversionConfig, remote: &'a Remote<'a>) -> Result<Self, UploadError> {
        Ok(Self { destinations: destinations(configuration)?, remote })
    }

    /// Checks that every destination can be written to.
    ///
    /// # Errors
    /// One cannot.
    pub fn check(&self) -> Result<(), UploadError> {
        let mut checked: Vec<&Location> = Vec::new();
        for destination in &self.destinations {
            if !checked.contains(&&destination.to) {
                self.remote.check_target(&destination.to).map_err(UploadError::Refused)?;
                checked.push(&destination.to);
            }
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
                let failed = |source| UploadError::Failed { folder: output.folder.clone(), source };
                self.remote.upload(&output.folder.join(file), &to).map_err(failed)?;
                uploads.push(to.to_string());
            }
        }
        Ok(Output { uploads, ..output })
    }
}

/// Returns everything that a configuration wants uploaded.
fn destinations(configuration: &ConversionConfig) -> Result<Vec<Destination>, UploadError> {
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
            let to = Location::parse_target(url).map_err(failed)?;
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
) -> Result<Vec<(PathBuf, Location)>, UploadError> {
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

/// Returns the end of a URL's last component, from its first dot on.
fn ending(location: &Location) -> Option<String> {
    let name = location.name();
    Some(name.get(name.find('.')?..)?.to_owned())
}

/// Returns every file below a folder and where it goes.
fn intermediates(destination: &Destination, folder: &Path) -> Result<Vec<(PathBuf, Location)>, UploadError> {
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
    use crate::config::{FileReference, read, yaml};
    use crate::digest::Digest;
    use crate::units::ByteSize;

    fn configuration(text: &str) -> ConversionConfig {
        read::read(&yaml::parse(text, "f.yaml").unwrap()).unwrap().config
    }

    fn artifact(path: &str, kind: ArtifactKind) -> Artifact {
        Artifact { path: path.to_owned(), size: ByteSize::new(0), sha256: Digest::of(b""), kind }
    }

    fn goes(to: &str, single: bool, artifacts: &[Artifact]) -> Vec<(String, String)> {
        let to = Location::parse(&FileReference::new(to)).unwrap();
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
        assert!(destinations(&configuration(&text(""))).unwrap().is_empty());
        let both = "output_remote_url: s3://b/r\nintermediate_outputs_remote_url: gs://b/i";
        assert_eq!(destinations(&configuration(&text(both))).unwrap().len(), 2);
        let web = destinations(&configuration(&text("output_remote_url: https://h/r"))).unwrap_err();
        assert!(matches!(web, UploadError::Location { key: "output_remote_url", .. }) && !web.is_about_the_machine());
        let gone = "intermediate_outputs_remote_url: s3://b/i\nkeep_intermediate_outputs: false";
        assert!(matches!(destinations(&configuration(&text(gone))), Err(UploadError::NotKept { .. })));
    }
}
