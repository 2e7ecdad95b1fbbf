//! What a conversion is going to do: toolchain or image, engine, order, mounts and the place of the result.
//!
//! Owns the rules by which `--image`, `--tool-version` and `--engine` choose, and the places that files of the host get
//! inside the container. Must not look at the file system: whoever does has found the files already.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::config::archive::main_stage_of;
use crate::config::files::FileRole;
use crate::config::{ConversionConfig, FileReference, StageName, sanitised};
use crate::exchange::{self, Order, OutputForm, Packing, PreprocessingPlace, SourceArchive};
use crate::hint::{Hint, nearest};
use crate::name::{FileName, NameError, Target, ToolchainName};

/// Which image a conversion runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageChoice {
    /// The one that the lock pins, assembled here.
    Locked,
    /// One that a container engine has, under the first of these references that exists.
    Named(Vec<String>),
}

/// What runs the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// This program itself.
    Embedded,
    /// Docker or Podman.
    Docker,
}

/// A file of the host that a conversion reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// What it is to the configuration.
    pub role: FileRole,
    /// How the configuration names it.
    pub reference: FileReference,
    /// What people call it, and what a configuration for another day names: its URL, or its path on the host.
    pub shown: FileReference,
    /// Where it is on the host.
    pub path: PathBuf,
    /// Files that must stand beside it, by their path relative to its folder.
    pub companions: BTreeMap<String, PathBuf>,
}

/// A file or folder of the host seen in the container, read-only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct InputMount {
    /// Where it is on the host.
    pub source: PathBuf,
    /// Where the container sees it.
    pub target: String,
}

/// Everything a person asked for, settled.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversionRequest {
    /// The toolchain of the lock.
    pub toolchain: ToolchainName,
    /// The image to run in.
    pub image: ImageChoice,
    /// What runs it; nothing where nobody chose.
    pub engine: Option<EngineChoice>,
    /// The configuration, with references as people wrote them.
    pub configuration: ConversionConfig,
    /// Every file that the configuration names, found on the host, in the configuration's order.
    pub files: Vec<FoundFile>,
    /// The NN Archive that the configuration came from.
    pub source_archive: Option<SourceArchive>,
    /// What is written.
    pub form: OutputForm,
    /// Where mean, scale and colours are applied.
    pub preprocessing: PreprocessingPlace,
    /// The stage with the main model.
    pub main_stage: Option<StageName>,
    /// What was found worth knowing in the configuration.
    pub notes: Vec<String>,
    /// Where the result goes.
    pub place: PathBuf,
    /// Whether nobody named that place, so that it gets another name rather than replace what is there.
    pub is_place_free: bool,
}

/// What a conversion is going to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConversionPlan {
    /// The toolchain, as it prints.
    pub toolchain: String,
    /// The image.
    pub image: ImageChoice,
    /// What runs it.
    pub engine: EngineChoice,
    /// Files of the host that the container sees.
    pub mounts: Vec<InputMount>,
    /// Where the result goes.
    pub output: PathBuf,
    /// Whether nobody named that place, so that it gets another name rather than replace what is there.
    #[serde(skip)]
    pub is_output_free: bool,
    /// What the container is told.
    pub order: Order,
}

/// Something that no conversion can do.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// The place of the result has no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `--main-stage` names no stage.
    #[error("there is no stage `{asked}`: the stages are {}", known.join(", "))]
    NoStage {
        /// The name.
        asked: StageName,
        /// The names that are.
        known: Vec<String>,
    },
    /// `--main-stage` names the second model of an NN Archive.
    #[error("the main stage of the NN Archive is `{main}`, which its heads belong to, not `{asked}`")]
    OtherMain {
        /// The name.
        asked: StageName,
        /// The stage that the archive describes.
        main: StageName,
    },
    /// Stages were added to those of an NN Archive.
    #[error("an NN Archive holds at most two models, but there are {stages} stages")]
    TooManyStages {
        /// How many there are.
        stages: usize,
    },
    /// Nothing would do what the model leaves undone.
    #[error("`--archive-preprocess` leaves mean, scale and colours to the NN Archive, but none is written")]
    NoArchive,
}

impl Hint for PlanError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Name(error) => error.hints(),
            Self::NoStage { asked, known } => {
                let near = nearest(asked.as_str(), known.iter().map(String::as_str));
                near.map(|near| format!("did you mean `--main-stage {near}`?")).into_iter().collect()
            }
            Self::OtherMain { .. } => vec!["leave `--main-stage` away, or use `--to native`".to_owned()],
            Self::TooManyStages { .. } => vec!["leave the further stages away, or use `--to native`".to_owned()],
            Self::NoArchive => vec!["use `--to nn_archive`, or leave `--archive-preprocess` away".to_owned()],
        }
    }
}

/// Returns the stage with the main model: the one that was asked for, else the one that an NN Archive describes, else the
/// first whose name says that it is a YOLO with segmentation, else the first.
///
/// # Errors
/// What was asked for is no stage, or not the one that an NN Archive describes.
pub fn main_stage(
    configuration: &ConversionConfig,
    source: Option<&SourceArchive>,
    asked: Option<&StageName>,
) -> Result<Option<StageName>, PlanError> {
    let stages = &configuration.stages;
    let described = source.map(|source| main_stage_of(&source.document));
    let described = stages.iter().find(|stage| Some(stage.name.as_str()) == described.as_deref());
    if let Some(asked) = asked {
        if !stages.iter().any(|stage| stage.name == *asked) {
            let known = stages.iter().map(|stage| stage.name.to_string()).collect();
            return Err(PlanError::NoStage { asked: asked.clone(), known });
        }
        return match described {
            Some(main) if main.name != *asked => {
                Err(PlanError::OtherMain { asked: asked.clone(), main: main.name.clone() })
            }
            _ => Ok(Some(asked.clone())),
        };
    }
    let segments = |name: &str| ["yolo", "seg"].iter().all(|part| name.to_ascii_lowercase().contains(part));
    let found =
        described.or_else(|| stages.iter().find(|stage| segments(stage.name.as_str()))).or_else(|| stages.first());
    Ok(found.map(|stage| stage.name.clone()))
}

/// Refuses what would fail only after everything has been converted.
fn check_order(order: &Order) -> Result<(), PlanError> {
    let stages = order.configuration.stages.len();
    let feeds = |source: &SourceArchive| !source.document.postprocessors().is_empty();
    if order.form == OutputForm::Native && order.preprocessing == PreprocessingPlace::Archive {
        return Err(PlanError::NoArchive);
    }
    if order.packing() == Packing::Each && stages > 2 && order.source_archive.as_ref().is_some_and(feeds) {
        return Err(PlanError::TooManyStages { stages });
    }
    Ok(())
}

/// Chooses the image.
///
/// Without `--image`, or with the name of a toolchain image of ours, the locked one. A name without a tag gets the tag
/// `<version>-latest`; a name with a tag is used exactly and `--tool-version` has no part in it. Versions of rvc4 with
/// four components are first tried with three.
pub fn choose_image(name: Option<&str>, toolchain: &ToolchainName) -> ImageChoice {
    let Some(name) = name else { return ImageChoice::Locked };
    let ToolchainName { target, version } = toolchain;
    let ours = format!("modelconverter/{target}");
    if name == ours || name == format!("{ours}:{version}") {
        return ImageChoice::Locked;
    }
    if is_tagged(name) {
        return ImageChoice::Named(vec![name.to_owned()]);
    }
    let mut versions = vec![version.as_str().to_owned()];
    let components: Vec<&str> = version.as_str().split('.').collect();
    if let (Target::Rvc4, [major, minor, patch, _]) = (*target, components.as_slice()) {
        versions.insert(0, format!("{major}.{minor}.{patch}"));
    }
    ImageChoice::Named(versions.iter().map(|version| format!("{name}:{version}-latest")).collect())
}

/// Returns whether a reference has a tag or a digest; a colon before the last slash belongs to a port.
fn is_tagged(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))
}

/// Returns the default name of the output folder. `now` is the time in UTC as `%Y_%m_%d_%H_%M_%S`.
pub fn output_name(configuration: &ConversionConfig, target: Target, now: &str) -> String {
    format!("{}_to_{target}_{now}", sanitised(&configuration.name))
}

/// Plans a conversion.
///
/// # Errors
/// The place of the result has no name, the main stage is none, or stages and NN Archive do not fit together.
pub fn plan(request: ConversionRequest) -> Result<ConversionPlan, PlanError> {
    let engine = match (&request.image, request.engine) {
        (ImageChoice::Named(_), _) => EngineChoice::Docker,
        (ImageChoice::Locked, chosen) => chosen.unwrap_or(EngineChoice::Embedded),
    };
    let main_stage = main_stage(&request.configuration, request.source_archive.as_ref(), request.main_stage.as_ref())?;
    let (mounts, targets) = place_files(&request.files);
    let is_copied = |role| matches!(role, FileRole::Model | FileRole::Weights);
    let place = |path: &Path| path.to_string_lossy().into_owned();
    let results = [
        (exchange::FOLDER.to_owned(), place(request.place.parent().unwrap_or(Path::new(".")))),
        (format!("{}/{}", exchange::FOLDER, exchange::OUTPUT), place(&request.place)),
    ];
    let host_paths = std::iter::zip(&request.files, &targets)
        .filter(|(file, _)| !is_copied(file.role))
        .map(|(file, target)| (target.as_str().to_owned(), file.shown.as_str().to_owned()))
        .chain(results)
        .collect();
    let mut next = targets.into_iter();
    // Files come in the order in which they were found.
    let configuration = request.configuration.with_files(&mut |_, file| next.next().unwrap_or_else(|| file.clone()));
    let folder = request.place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let order = Order {
        version: exchange::VERSION,
        target: request.toolchain.target,
        tool_version: request.toolchain.version.clone(),
        image: None,
        configuration,
        host_paths,
        source_archive: request.source_archive,
        main_stage,
        form: request.form,
        preprocessing: request.preprocessing,
        notes: request.notes,
        output_folder: folder.parse::<FileName>()?,
    };
    check_order(&order)?;
    Ok(ConversionPlan {
        toolchain: request.toolchain.to_string(),
        image: request.image,
        engine,
        mounts,
        output: request.place,
        is_output_free: request.is_place_free,
        order,
    })
}

/// Plans a conversion by the tools around this process: files are read where they are.
///
/// # Errors
/// The same as those of [`plan`].
pub fn plan_in_image(request: ConversionRequest) -> Result<ConversionPlan, PlanError> {
    let mut paths: Vec<FileReference> =
        request.files.iter().map(|file| FileReference::new(file.path.to_string_lossy())).collect();
    paths.reverse();
    let configuration = request.configuration.with_files(&mut |_, file| paths.pop().unwrap_or_else(|| file.clone()));
    let is_elsewhere = |file: &&FoundFile| file.shown.as_str() != file.path.to_string_lossy();
    let named = |file: &FoundFile| (file.path.to_string_lossy().into_owned(), file.shown.as_str().to_owned());
    let host_paths = request.files.iter().filter(is_elsewhere).map(named).collect();
    let mut plan = plan(ConversionRequest { files: Vec::new(), ..request })?;
    plan.order.configuration = configuration;
    plan.order.host_paths = host_paths;
    Ok(plan)
}

/// Gives every file a place below the container's folder of inputs: each model a folder of its own, shared with its
/// weights and companions.
fn place_files(files: &[FoundFile]) -> (Vec<InputMount>, Vec<FileReference>) {
    let mut mounts = Vec::new();
    let mut targets = Vec::with_capacity(files.len());
    let mut folder = 0;
    for (index, file) in files.iter().enumerate() {
        // Weights stay beside the model before them.
        if file.role != FileRole::Weights {
            folder = index;
        }
        let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let target = format!("{}/{folder}/{name}", exchange::INPUTS_FOLDER);
        mounts.push(InputMount { source: file.path.clone(), target: target.clone() });
        for (relative, path) in &file.companions {
            let target = format!("{}/{folder}/{relative}", exchange::INPUTS_FOLDER);
            mounts.push(InputMount { source: path.clone(), target });
        }
        targets.push(FileReference::new(&target));
    }
    mounts.sort();
    mounts.dedup();
    (mounts, targets)
}

/// Prints the plan for people, one thing a line.
impl fmt::Display for ConversionPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "toolchain  {}", self.toolchain)?;
        match &self.image {
            ImageChoice::Locked => writeln!(formatter, "image      as the lock pins it")?,
            ImageChoice::Named(names) => writeln!(formatter, "image      {}", names.join(" or "))?,
        }
        let engine = match self.engine {
            EngineChoice::Embedded => "embedded",
            EngineChoice::Docker => "docker",
        };
        writeln!(formatter, "engine     {engine}")?;
        for mount in &self.mounts {
            writeln!(formatter, "input      {} as {}", mount.source.display(), mount.target)?;
        }
        for stage in &self.order.configuration.stages {
            writeln!(formatter, "stage      {} from {}", stage.name, stage.model.path)?;
            let settings = &stage.settings;
            for url in settings.output_remote_url.iter().chain(&settings.intermediate_outputs_remote_url) {
                writeln!(formatter, "upload     to {url}")?;
            }
        }
        if let (Some(main), [_, _, ..]) = (&self.order.main_stage, self.order.configuration.stages.as_slice()) {
            writeln!(formatter, "main       {main}")?;
        }
        let several = self.order.configuration.stages.len() > 1;
        let form = match self.order.packing() {
            Packing::Nothing if several => "the compiled models",
            Packing::Nothing => "the compiled model",
            Packing::Each if several => "the compiled models and an NN Archive for each",
            Packing::Each => "the compiled model and its NN Archive",
            Packing::Together { .. } => "the compiled models and the NN Archive of both",
        };
        write!(formatter, "output     {}: {form}", self.output.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(target: Target, version: &str) -> ToolchainName {
        ToolchainName { target, version: version.parse().unwrap() }
    }

    #[test]
    fn images_are_chosen_as_users_know_it() {
        let named = |names: &[&str]| ImageChoice::Named(names.iter().map(|&name| name.to_owned()).collect());
        let rvc2 = toolchain(Target::Rvc2, "2021.4.2");
        let rvc4 = toolchain(Target::Rvc4, "2.41.0.251128");
        for (name, toolchain, choice) in [
            (None, &rvc2, ImageChoice::Locked),
            (Some("modelconverter/rvc2"), &rvc2, ImageChoice::Locked),
            (Some("modelconverter/rvc2:2021.4.2"), &rvc2, ImageChoice::Locked),
            (Some("modelconverter/rvc2:2022.3.0"), &rvc2, named(&["modelconverter/rvc2:2022.3.0"])),
            (Some("company/converter"), &rvc2, named(&["company/converter:2021.4.2-latest"])),
            (Some("registry:5000/converter"), &rvc2, named(&["registry:5000/converter:2021.4.2-latest"])),
            (Some("registry:5000/converter:7"), &rvc2, named(&["registry:5000/converter:7"])),
            (Some("c@sha256:00"), &rvc2, named(&["c@sha256:00"])),
            (Some("c"), &rvc4, named(&["c:2.41.0-latest", "c:2.41.0.251128-latest"])),
            (Some("c:mine"), &rvc4, named(&["c:mine"])),
        ] {
            assert_eq!(choose_image(name, toolchain), choice, "{name:?}");
        }
    }

    fn staged(names: &[&str]) -> ConversionConfig {
        let stages: Vec<String> = names.iter().map(|name| format!("  {name}: {{input_model: {name}.onnx}}")).collect();
        let tree = crate::config::yaml::parse(&format!("stages:\n{}\n", stages.join("\n")), "f.yaml").unwrap();
        crate::config::read::read(&tree).unwrap().config
    }

    fn archive(name: &str, heads: &str) -> SourceArchive {
        let json = format!(
            r#"{{"config_version": "1.0", "model": {{"metadata": {{"name": "{name}", "path": "m.onnx"}},
            "inputs": [], "outputs": [], "heads": {heads}}}}}"#
        );
        let document = crate::nn_archive::Document::parse(json.as_bytes()).unwrap();
        SourceArchive { name: "file".parse().unwrap(), document }
    }

    #[test]
    fn the_main_stage_is_found() {
        for (names, asked, described, found) in [
            (&["one"][..], None, None, Ok("one")),
            (&["b", "a"], None, None, Ok("b")),
            (&["face", "yolov5n-seg", "yolov8-seg"], None, None, Ok("yolov5n-seg")),
            (&["face", "yolov8n-seg"], Some("face"), None, Ok("face")),
            (&["det", "post"], None, Some("post"), Ok("post")),
            (&["det", "post"], Some("fost"), None, Err("there is no stage `fost`: the stages are det, post")),
            (
                &["det", "post"],
                Some("post"),
                Some("det"),
                Err("the main stage of the NN Archive is `det`, which its heads belong to, not `post`"),
            ),
        ] {
            let asked: Option<StageName> = asked.map(|name: &str| name.parse().unwrap());
            let source = described.map(|name| archive(name, "null"));
            let main = main_stage(&staged(names), source.as_ref(), asked.as_ref());
            let main = main.map(|main| main.unwrap().to_string()).map_err(|error| error.to_string());
            assert_eq!(main, found.map(str::to_owned).map_err(str::to_owned), "{names:?}");
        }
    }

    #[test]
    fn what_would_fail_at_the_end_is_refused_at_the_beginning() {
        let request = |names: &[&str], source_archive, form, preprocessing| ConversionRequest {
            toolchain: toolchain(Target::Rvc2, "2021.4.2"),
            image: ImageChoice::Locked,
            engine: None,
            configuration: staged(names),
            files: Vec::new(),
            source_archive,
            form,
            preprocessing,
            main_stage: None,
            notes: Vec::new(),
            place: "output/r".into(),
            is_place_free: false,
        };
        use OutputForm::{Native, NnArchive};
        use PreprocessingPlace::{Archive, Model};
        let feeding = || Some(archive("a", r#"[{"parser": "P", "metadata": {"postprocessor_path": "b.onnx"}}]"#));
        let refused = |request| plan(request).unwrap_err();
        assert_eq!(refused(request(&["a"], None, Native, Archive)), PlanError::NoArchive);
        let three = &["a", "b", "c"];
        assert_eq!(refused(request(three, feeding(), NnArchive, Model)), PlanError::TooManyStages { stages: 3 });
        for fine in [
            request(three, None, NnArchive, Archive),
            request(three, feeding(), Native, Model),
            request(&["a", "b"], feeding(), NnArchive, Archive),
        ] {
            assert_eq!(plan(fine).unwrap().order.main_stage.unwrap().as_str(), "a");
        }
    }

    #[test]
    fn weights_and_companions_stand_beside_their_model() {
        let file = |role, path: &str| FoundFile {
            role,
            reference: FileReference::new(path),
            shown: FileReference::new(path),
            path: path.into(),
            companions: BTreeMap::new(),
        };
        let mut model = file(FileRole::Model, "/a/m.onnx");
        model.companions.insert("data/w.bin".to_owned(), "/a/data/w.bin".into());
        let files = [model, file(FileRole::Model, "/b/n.xml"), file(FileRole::Weights, "/b/n.bin")];
        let (mounts, targets) = place_files(&files);
        let targets: Vec<&str> = targets.iter().map(FileReference::as_str).collect();
        assert_eq!(targets, ["/inputs/0/m.onnx", "/inputs/1/n.xml", "/inputs/1/n.bin"]);
        assert_eq!(mounts[0].target, "/inputs/0/data/w.bin");
        assert_eq!(mounts.len(), 4);
    }
}
