//! What the stages of a conversion left, and what is made of all of them together.
//!
//! One stage works in the output folder itself, several in a folder each, below which everything is as for one. Beside
//! these folders stand a `config.yaml` that repeats the whole, a `buildinfo.json` that maps each stage to its own, and,
//! for models that came in one NN Archive, the one that they go on in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::load::LoadedModel;
use super::pack::{self, PackError, Packed};
use super::{PipelineError, repeatable};
use crate::config::archive::main_stage_of;
use crate::config::{PreprocessingPlace, ResolvedConfig, Setting, StageName, sanitised};
use crate::digest::Fingerprint;
use crate::disk;
use crate::exchange::{Artifact, ArtifactKind, Order, Packing};
use crate::image_path::ImagePath;
use crate::nn_archive::pack::BUILD_INFO_NAME;
use crate::nn_archive::{ArchiveForm, Document, Haste};
use crate::units::ByteSize;

/// The name of the configuration among the results.
pub(super) const CONFIGURATION: &str = "config.yaml";

/// What a configuration says first where the device does what models have in themselves otherwise.
pub(super) const ON_DEVICE: &str = "# Converted with --archive-preprocess: give that again for the same result.\n";

/// What that of one stage says where its calibration is left out.
const WITHOUT_LINKS: &str = "# Without calibration on results of other stages: that needs the configuration of all.\n";

/// No record is larger.
const RECORD_LIMIT: ByteSize = ByteSize::new(1 << 30);

/// What one stage left in its folder.
pub(super) struct Produced {
    /// The stage.
    pub(super) stage: StageName,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// The compiled model.
    pub(super) artifact: PathBuf,
    /// What it is.
    pub(super) kind: ArtifactKind,
    /// What its file is.
    pub(super) file: Fingerprint,
    /// The record of its making.
    pub(super) build_info: String,
    /// The same for an archive, whose bytes do not depend on the machine: without what was measured on it.
    pub(super) archived_info: String,
    /// How it is described, if an NN Archive describes it.
    pub(super) document: Option<Document>,
    /// How the archive is written.
    pub(super) haste: Haste,
}

/// Returns where the compiled model of a stage stands in the archive that describes it, if one does.
///
/// # Errors
/// Its name cannot stand in an archive.
pub(super) fn path_in_archive(
    order: &Order,
    stage: &StageName,
    artifact: &Path,
) -> Result<Option<ImagePath>, PackError> {
    match order.packing() {
        Packing::Nothing => Ok(None),
        Packing::Together { second, .. } if second == *stage => Ok(None),
        Packing::Together { .. } => Ok(Some(path_of_stage(stage, artifact)?)),
        Packing::Each => Ok(Some(file_name(artifact).parse()?)),
    }
}

/// Returns whether the compiled model of a stage is the first in its archive.
pub(super) fn is_packed_first(order: &Order, stage: &StageName) -> bool {
    match order.packing() {
        Packing::Nothing => false,
        Packing::Each => true,
        Packing::Together { main, .. } => main == *stage,
    }
}

/// Models of several stages may have one file name, so that in one archive they are named after their stages.
fn path_of_stage(stage: &StageName, artifact: &Path) -> Result<ImagePath, PackError> {
    let suffix = artifact.extension().map(|suffix| format!(".{}", suffix.to_string_lossy())).unwrap_or_default();
    Ok(format!("{stage}{suffix}").parse()?)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The results of all stages, the main one first.
pub(super) struct Results<'run> {
    order: &'run Order,
    config: &'run ResolvedConfig,
    output: &'run Path,
    stages: Vec<Produced>,
    /// Files beside those of the stages, in the order in which they are told.
    beside: Vec<(PathBuf, ArtifactKind)>,
    archives: Vec<(PathBuf, Fingerprint)>,
}

impl<'run> Results<'run> {
    /// Takes what the stages left.
    pub(super) fn new(
        order: &'run Order,
        config: &'run ResolvedConfig,
        mut stages: Vec<Produced>,
        output: &'run Path,
    ) -> Self {
        if let Some(main) = &order.main_stage {
            stages.sort_by_key(|made| made.stage != *main);
        }
        Self { order, config, output, stages, beside: Vec::new(), archives: Vec::new() }
    }

    /// Writes what several stages have beside their folders, and the configuration of each into its own.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn record_stages(&mut self, models: &BTreeMap<StageName, LoadedModel>) -> Result<(), PipelineError> {
        let path = self.output.join(BUILD_INFO_NAME);
        disk::write(&path, self.joined(|made| &made.build_info).as_bytes())?;
        self.beside.push((path, ArtifactKind::BuildInfo));
        for made in &self.stages {
            let stages = self.config.stages.iter().filter(|stage| stage.name == made.stage);
            let config = ResolvedConfig {
                name: made.stage.to_string(),
                rich_logging: self.config.rich_logging,
                stages: stages.cloned().collect(),
            };
            let mut config = repeatable(&config, models, true, self.order);
            let is_on_device = self.order.preprocessing_of(&made.stage) == PreprocessingPlace::Archive;
            let mut comment = if is_on_device { ON_DEVICE.to_owned() } else { String::new() };
            for entry in config.stages.iter_mut().flat_map(|stage| &mut stage.inputs) {
                if entry.settings.calibration.given().is_some_and(|keys| keys.stage.is_some()) {
                    if !comment.contains(WITHOUT_LINKS) {
                        comment.push_str(WITHOUT_LINKS);
                    }
                    entry.settings.calibration = Setting::Absent;
                }
            }
            let path = made.folder.join(CONFIGURATION);
            disk::write(&path, format!("{comment}{}", config.to_yaml()).as_bytes())?;
            self.beside.push((path, ArtifactKind::Configuration));
        }
        Ok(())
    }

    /// Returns the records of all stages by their names.
    fn joined(&self, record: impl Fn(&Produced) -> &String) -> String {
        let stages = self.stages.iter().map(|made| {
            // It was written from plain data, and reads back.
            let record = serde_json::from_str(record(made)).unwrap_or_default();
            (made.stage.as_str(), record)
        });
        let stages: BTreeMap<&str, serde_json::Value> = stages.collect();
        serde_json::to_string_pretty(&stages).unwrap_or_default() + "\n"
    }

    /// Writes the NN Archives: one for each stage, or the one that all came from.
    ///
    /// # Errors
    /// An archive cannot be written or is not read back as it was written.
    pub(super) fn pack(&mut self) -> Result<(), PackError> {
        let target = self.order.target;
        // An archive's results keep the name of its file, unless the user chose another.
        let source = self.order.source_archive.as_ref();
        let source = source.filter(|source| self.config.name == main_stage_of(&source.document));
        let name = source.map_or_else(|| sanitised(&self.config.name), |source| source.name.to_string());
        if let Packing::Together { main, second } = self.order.packing() {
            let made = |name: &StageName| self.stages.iter().find(|made| made.stage == *name);
            // An order with this packing has both stages.
            let (Some(main), Some(second)) = (made(&main), made(&second)) else { return Ok(()) };
            let path = self.output.join(format!("{name}.{target}.tar.xz"));
            let fed = path_of_stage(&second.stage, &second.artifact)?;
            let Some(mut document) = main.document.clone() else { return Ok(()) };
            document.model.heads.iter_mut().flatten().for_each(|head| head.move_postprocessor(fed.as_str()));
            let files = [
                Packed { path: path_of_stage(&main.stage, &main.artifact)?, file: &main.artifact },
                Packed { path: fed, file: &second.artifact },
            ];
            let record = self.joined(|made| &made.archived_info);
            let written = pack::archive(&path, ArchiveForm::Xz, &files, (&document, Some(&record)), &main.haste)?;
            self.archives.push((path, written));
            return Ok(());
        }
        for made in &self.stages {
            let Some(document) = &made.document else { continue };
            let name = if self.stages.len() == 1 { name.clone() } else { sanitised(made.stage.as_str()) };
            let path = made.folder.join(format!("{name}.{target}.tar.xz"));
            let files = [Packed { path: file_name(&made.artifact).parse()?, file: &made.artifact }];
            let contents = (document, Some(made.archived_info.as_str()));
            let written = pack::archive(&path, ArchiveForm::Xz, &files, contents, &made.haste)?;
            self.archives.push((path, written));
        }
        Ok(())
    }

    /// Lists the results with their digests, archives first; the log is still being written and left out.
    ///
    /// # Errors
    /// A result cannot be read.
    pub(super) fn artifacts(self) -> Result<Vec<Artifact>, PipelineError> {
        let below = |path: &Path| path.strip_prefix(self.output).unwrap_or(path).to_string_lossy().into_owned();
        let told = |path: &Path, kind, Fingerprint { size, sha256 }| Artifact { path: below(path), size, sha256, kind };
        let read = |path: &Path, kind| Ok(told(path, kind, Fingerprint::of([&*disk::read(path, RECORD_LIMIT)?])));
        let mut artifacts: Vec<Artifact> =
            self.archives.iter().map(|(path, file)| told(path, ArtifactKind::NnArchive, *file)).collect();
        for made in &self.stages {
            artifacts.push(told(&made.artifact, made.kind, made.file));
            artifacts.push(read(&made.folder.join(BUILD_INFO_NAME), ArtifactKind::BuildInfo)?);
        }
        let configuration = (self.output.join(CONFIGURATION), ArtifactKind::Configuration);
        let records = self.beside.iter().chain([&configuration]);
        let records: Result<Vec<Artifact>, PipelineError> = records.map(|(path, kind)| read(path, *kind)).collect();
        artifacts.extend(records?);
        Ok(artifacts)
    }
}
