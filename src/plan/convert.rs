//! What a conversion is going to do: toolchain or image, engine, order, mounts and the place of the result.
//!
//! Owns the rules by which `--image`, `--tool-version` and `--engine` choose, and the places that files of the host get
//! inside the container. Must not look at the file system: whoever does has found the files already.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::files::FileRole;
use crate::config::{ConversionConfig, FileReference, StageName, sanitised};
use crate::exchange::{self, Order, OutputForm, PreprocessingPlace};
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
    /// What is written.
    pub form: OutputForm,
    /// Where mean, scale and colours are applied.
    pub preprocessing: PreprocessingPlace,
    /// The stage with the main model.
    pub main_stage: Option<StageName>,
    /// Where the result goes.
    pub place: PathBuf,
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
    /// What the container is told.
    pub order: Order,
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
/// The place of the result has no name.
pub fn plan(request: ConversionRequest) -> Result<ConversionPlan, NameError> {
    let engine = match (&request.image, request.engine) {
        (ImageChoice::Named(_), _) => EngineChoice::Docker,
        (ImageChoice::Locked, chosen) => chosen.unwrap_or(EngineChoice::Embedded),
    };
    let (mounts, targets) = place_files(&request.files);
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
        source_archive: None,
        main_stage: request.main_stage,
        form: request.form,
        preprocessing: request.preprocessing,
        output_folder: folder.parse::<FileName>()?,
    };
    Ok(ConversionPlan {
        toolchain: request.toolchain.to_string(),
        image: request.image,
        engine,
        mounts,
        output: request.place,
        order,
    })
}

/// Plans a conversion by the tools around this process: files are read where they are.
///
/// # Errors
/// The place of the result has no name.
pub fn plan_in_image(request: ConversionRequest) -> Result<ConversionPlan, NameError> {
    let mut paths: Vec<FileReference> =
        request.files.iter().map(|file| FileReference::new(file.path.to_string_lossy())).collect();
    paths.reverse();
    let configuration = request.configuration.with_files(&mut |_, file| paths.pop().unwrap_or_else(|| file.clone()));
    let mut plan = plan(ConversionRequest { files: Vec::new(), ..request })?;
    plan.order.configuration = configuration;
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
        }
        let form = match self.order.form {
            OutputForm::Native => "the compiled model",
            OutputForm::NnArchive => "the compiled model and its NN Archive",
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

    #[test]
    fn weights_and_companions_stand_beside_their_model() {
        let file = |role, path: &str| FoundFile {
            role,
            reference: FileReference::new(path),
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
