//! From lock and recipe to the exact list of layers of an image.
//!
//! Owns [`ImagePlan`] and the refusal of what cannot be assembled: a lock that does not fit its recipe, artifacts without
//! pins. Must not know where artifacts are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use crate::archive::{self, GlobError};
use crate::digest::{DiffId, Digest};
use crate::hint::{Hint, nearest};
use crate::image_path::ImagePath;
use crate::lock::{Artifact, LayerBytes, Lock, LockedLayer, Platform, Source, Toolchain};
use crate::name::{ArtifactId, FileName, LayerName, ToolchainName, ToolchainVersion};
use crate::recipe::{FileRecipe, LayerRecipe, Prepare, PythonWants, Recipe};
use crate::units::ByteSize;

/// Where programs are searched in images whose recipe does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that decides an image, save the converter's own layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlan {
    /// The toolchain.
    pub toolchain: ToolchainName,
    /// Where the image runs.
    pub platform: Platform,
    /// The environment of every process in the image.
    pub env: BTreeMap<String, String>,
    /// A command that fills the image's cache folder.
    pub prepare: Option<Prepare>,
    /// The layers, lowest first.
    pub layers: Vec<LayerPlan>,
    /// Folders in which a tool finds native libraries because its own environment says so.
    pub library_folders: Vec<ImagePath>,
    /// Files among the artifacts whose bytes may not be passed on.
    pub restricted: Vec<FileName>,
}

/// One layer: everything that decides its bytes, and what these must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPlan {
    /// Its name.
    pub name: LayerName,
    /// What decides its bytes.
    pub content: LayerContent,
    /// What its bytes must be, where the lock knows.
    pub expected: Option<LayerBytes>,
    /// Native libraries that may be missing, each with the reason.
    pub allow_missing: BTreeMap<String, String>,
}

/// What decides the bytes of a layer, together with the bytes of the recipe's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerContent {
    /// The artifacts, in the lock's order.
    pub artifacts: Vec<PlannedArtifact>,
    /// Files of the recipe's folder.
    pub files: Vec<FileRecipe>,
    /// Folders that must exist.
    pub folders: BTreeSet<ImagePath>,
    /// Symbolic links: path to target.
    pub links: BTreeMap<ImagePath, String>,
    /// Patterns of members that are left out.
    pub exclude: Vec<String>,
    /// Whether to make the bundle of certificate authorities.
    pub ca_bundle: bool,
    /// Whether the layer is the lowest, which has the links that make `/bin` and its like parts of `/usr`.
    pub lowest: bool,
}

/// An artifact and how it becomes files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedArtifact {
    /// Its key in the lock.
    pub id: ArtifactId,
    /// Its file name.
    pub file: FileName,
    /// Its length.
    pub size: ByteSize,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// How it becomes files.
    pub unpacking: Unpacking,
}

/// How an artifact becomes files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unpacking {
    /// As a Debian package.
    Debian {
        /// The package's name.
        package: String,
        /// The maintainer scripts that were judged, with the digests of their bytes.
        scripts: BTreeMap<String, Digest>,
    },
    /// As a Python wheel.
    Wheel {
        /// Where modules go.
        site_packages: ImagePath,
        /// Where commands go.
        scripts: ImagePath,
        /// What commands are run by.
        interpreter: ImagePath,
    },
    /// As a vendor's archive.
    Archive {
        /// The folder its members go to.
        folder: ImagePath,
        /// How many leading components of their paths are dropped.
        strip: usize,
        /// Patterns of the members taken; all where there are none.
        include: Vec<String>,
    },
}

/// Lock and recipe from which no image can be made.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The lock has no such toolchain.
    #[error("the lock has no toolchain {wanted}")]
    Unknown {
        /// What was asked for.
        wanted: ToolchainName,
        /// The versions there are for the target.
        versions: Vec<ToolchainVersion>,
    },
    /// The recipe has no such toolchain although the lock has.
    #[error("the recipe of {} has no version {}", wanted.target, wanted.version)]
    NoRecipe {
        /// What was asked for.
        wanted: ToolchainName,
    },
    /// The lock was made from another recipe.
    #[error("the lock of {toolchain} is stale: it was made from recipe {locked}, the recipe is now {current}")]
    Stale {
        /// The toolchain.
        toolchain: ToolchainName,
        /// The recipe's digest in the lock.
        locked: Digest,
        /// The recipe's digest.
        current: Digest,
    },
    /// Lock and recipe differ although the digests agree: the lock was edited by hand.
    #[error("the lock of {toolchain} does not fit its recipe: {difference}")]
    Unfit {
        /// The toolchain.
        toolchain: ToolchainName,
        /// What differs.
        difference: String,
    },
    /// Artifacts whose bytes nobody has measured yet.
    #[error("{toolchain} cannot be assembled yet: {} not pinned", list(missing))]
    Unpinned {
        /// The toolchain.
        toolchain: ToolchainName,
        /// The files that are missing.
        missing: Vec<UnpinnedFile>,
    },
    /// A pattern of the recipe that is none.
    #[error("layer `{layer}` has a pattern that cannot be used")]
    Pattern {
        /// The layer.
        layer: LayerName,
        /// Which pattern.
        source: GlobError,
    },
}

impl Hint for PlanError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { wanted, versions } => {
                let names: Vec<&str> = versions.iter().map(ToolchainVersion::as_str).collect();
                match nearest(wanted.version.as_str(), names.iter().copied()) {
                    Some(near) => vec![format!("did you mean {near}? The lock has {}", names.join(", "))],
                    None if names.is_empty() => vec![format!("the lock has nothing for {}", wanted.target)],
                    None => vec![format!("the lock has {}", names.join(", "))],
                }
            }
            Self::NoRecipe { .. } | Self::Stale { .. } | Self::Unfit { .. } => {
                vec!["run `modelconverter lock` to make the lock anew".to_owned()]
            }
            Self::Unpinned { missing, .. } => missing.iter().map(UnpinnedFile::way).collect(),
            Self::Pattern { .. } => Vec::new(),
        }
    }
}

/// A file that nobody has measured yet, and the way to change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpinnedFile {
    /// The file.
    pub file: FileName,
    /// Other names under which users know it.
    pub also_known_as: BTreeSet<FileName>,
    /// Where it comes from.
    pub source: Source,
    /// How to obtain it, in one sentence without its period.
    pub obtain: String,
    /// Where it lies, if somebody placed it by hand.
    pub placed: Option<PathBuf>,
}

impl UnpinnedFile {
    /// Says what to do, in one sentence without its period.
    fn way(&self) -> String {
        if let Some(path) = &self.placed {
            return format!("run `modelconverter toolchain import {}`, which pins the file", path.display());
        }
        let or = self.also_known_as.iter().map(|name| format!(" (or {name})")).collect::<String>();
        format!("{}; then run `modelconverter toolchain import {}`{or}", self.obtain, self.file)
    }
}

fn list(missing: &[UnpinnedFile]) -> String {
    let names: Vec<&str> = missing.iter().map(|missing| missing.file.as_str()).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// Plans the image of a toolchain. `digest` is that of the recipe as it is now (see `Recipe::digest`).
///
/// # Errors
/// There is no such toolchain, the lock does not fit the recipe, or an artifact has no pin.
pub fn plan(lock: &Lock, recipe: &Recipe, digest: Digest, name: &ToolchainName) -> Result<ImagePlan, PlanError> {
    let locked = lock
        .toolchain(name)
        .map_err(|unknown| PlanError::Unknown { wanted: unknown.wanted, versions: unknown.versions })?;
    let wanted = recipe
        .toolchain(&name.version)
        .filter(|_| recipe.target == name.target)
        .ok_or_else(|| PlanError::NoRecipe { wanted: name.clone() })?;
    if locked.recipe != digest {
        return Err(PlanError::Stale { toolchain: name.clone(), locked: locked.recipe, current: digest });
    }
    let names = |names: Vec<&str>| names.join(", ");
    let (of_lock, of_recipe) = (
        names(locked.layers.iter().map(|layer| layer.name.as_str()).collect()),
        names(wanted.layers.iter().map(|layer| layer.name.as_str()).collect()),
    );
    if of_lock != of_recipe {
        let difference = format!("its layers are {of_lock}, the recipe has {of_recipe}");
        return Err(PlanError::Unfit { toolchain: name.clone(), difference });
    }
    check_pins(lock, locked, wanted.layers.iter())?;
    let layers = std::iter::zip(&locked.layers, &wanted.layers)
        .enumerate()
        .map(|(index, (locked, wanted))| plan_layer(lock, name, &recipe.python, (locked, wanted), index == 0))
        .collect::<Result<_, _>>()?;
    let mut env = wanted.env.clone();
    env.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    let restricted = lock.artifacts_of(locked).filter(|artifact| !artifact.redistributable);
    let restricted = restricted.map(|artifact| artifact.file.clone()).collect();
    Ok(ImagePlan {
        toolchain: name.clone(),
        platform: locked.platform,
        env,
        prepare: wanted.prepare.clone(),
        layers,
        library_folders: wanted.library_folders.clone(),
        restricted,
    })
}

fn check_pins<'a>(
    lock: &Lock,
    toolchain: &Toolchain,
    layers: impl Iterator<Item = &'a LayerRecipe>,
) -> Result<(), PlanError> {
    let archives: BTreeMap<_, _> = layers.flat_map(|layer| &layer.archives).map(|one| (&one.file, one)).collect();
    let missing: Vec<_> = lock
        .artifacts_of(toolchain)
        .filter(|artifact| artifact.pin.is_none())
        .map(|artifact| {
            let archive = archives.get(&artifact.file);
            let by_hand = archive.and_then(|archive| archive.obtain.clone());
            let obtain = match &artifact.source {
                Source::File { obtain } => obtain.clone(),
                _ => by_hand.unwrap_or_else(|| format!("obtain {} from its publisher", artifact.file)),
            };
            UnpinnedFile {
                file: artifact.file.clone(),
                also_known_as: archive.map(|archive| archive.also_known_as.clone()).unwrap_or_default(),
                source: artifact.source.clone(),
                obtain: obtain.trim_end_matches('.').to_owned(),
                placed: None,
            }
        })
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(PlanError::Unpinned { toolchain: toolchain.name.clone(), missing }) }
}

fn plan_layer(
    lock: &Lock,
    toolchain: &ToolchainName,
    python: &PythonWants,
    (locked, wanted): (&LockedLayer, &LayerRecipe),
    lowest: bool,
) -> Result<LayerPlan, PlanError> {
    let unfit = |difference| PlanError::Unfit { toolchain: toolchain.clone(), difference };
    let pattern = |source| PlanError::Pattern { layer: wanted.name.clone(), source };
    archive::globs(wanted.exclude.iter().map(String::as_str)).map_err(pattern)?;
    let mut artifacts = Vec::new();
    for id in &locked.artifacts {
        let artifact = lock.artifact(id).ok_or_else(|| unfit(format!("artifact {id} is not in it")))?;
        let pin = artifact.pin.ok_or_else(|| unfit(format!("artifact {id} has no pin")))?;
        let unpacking = unpacking(artifact, python, wanted).ok_or_else(|| {
            unfit(format!("layer `{}` of the recipe does not say where {} goes", wanted.name, artifact.file))
        })?;
        if let Unpacking::Archive { include, .. } = &unpacking {
            archive::globs(include.iter().map(String::as_str)).map_err(pattern)?;
        }
        artifacts.push(PlannedArtifact {
            id: id.clone(),
            file: artifact.file.clone(),
            size: pin.size,
            sha256: pin.sha256,
            unpacking,
        });
    }
    let content = LayerContent {
        artifacts,
        files: wanted.files.clone(),
        folders: wanted.folders.clone(),
        links: wanted.links.clone(),
        exclude: wanted.exclude.clone(),
        ca_bundle: wanted.ca_bundle,
        lowest,
    };
    let allow_missing = wanted.allow_missing.clone();
    Ok(LayerPlan { name: wanted.name.clone(), content, expected: locked.bytes, allow_missing })
}

/// Returns how an artifact becomes files; nothing for an archive that the recipe does not place.
fn unpacking(artifact: &Artifact, python: &PythonWants, layer: &LayerRecipe) -> Option<Unpacking> {
    if let Source::Debian(source) = &artifact.source {
        let scripts = source.scripts.iter().map(|script| (script.script.clone(), script.sha256)).collect();
        return Some(Unpacking::Debian { package: source.package.clone(), scripts });
    }
    if let Some(archive) = layer.archives.iter().find(|archive| archive.file == artifact.file) {
        let (folder, strip, include) = (archive.folder.clone(), archive.strip, archive.include.clone());
        return Some(Unpacking::Archive { folder, strip, include });
    }
    let is_wheel = matches!(artifact.source, Source::Pypi { .. }) || artifact.file.as_str().ends_with(".whl");
    is_wheel.then(|| Unpacking::Wheel {
        site_packages: python.site_packages.clone(),
        scripts: python.scripts.clone(),
        interpreter: python.interpreter.clone(),
    })
}

impl ImagePlan {
    /// Returns all artifacts, lowest layer first.
    pub fn artifacts(&self) -> impl Iterator<Item = &PlannedArtifact> {
        self.layers.iter().flat_map(|layer| &layer.content.artifacts)
    }

    /// Returns the diff ids, lowest first, if the lock knows them all.
    pub fn diff_ids(&self) -> Option<Vec<DiffId>> {
        self.layers.iter().map(|layer| layer.expected.map(|bytes| bytes.diff_id)).collect()
    }
}

/// Prints the plan for people, one thing a line.
impl fmt::Display for ImagePlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "image of {} for {}", self.toolchain, self.platform)?;
        for layer in &self.layers {
            match &layer.expected {
                Some(bytes) => writeln!(formatter, "layer {}: {}, {}", layer.name, bytes.size, bytes.diff_id)?,
                None => writeln!(formatter, "layer {}: not measured yet", layer.name)?,
            }
            let content = &layer.content;
            for artifact in &content.artifacts {
                let kind = match &artifact.unpacking {
                    Unpacking::Debian { .. } => "package".to_owned(),
                    Unpacking::Wheel { .. } => "wheel".to_owned(),
                    Unpacking::Archive { folder, .. } => format!("archive in /{folder}"),
                };
                writeln!(formatter, "  {kind}: {} ({}, {})", artifact.file, artifact.size, artifact.sha256)?;
            }
            for file in &content.files {
                writeln!(formatter, "  file: /{} from {}", file.to, file.from)?;
            }
            for folder in &content.folders {
                writeln!(formatter, "  folder: /{folder}")?;
            }
            for (path, target) in &content.links {
                writeln!(formatter, "  link: /{path} to {target}")?;
            }
            for pattern in &content.exclude {
                writeln!(formatter, "  without: {pattern}")?;
            }
            if content.ca_bundle {
                writeln!(formatter, "  bundle of certificate authorities")?;
            }
        }
        for (key, value) in &self.env {
            writeln!(formatter, "environment: {key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{DebianSource, Pin};

    const RECIPE: &str = r#"
        recipe = 1
        target = "rvc2"
        platform = "linux/amd64"
        default-version = "1.0"
        [debian]
        suite = [{ archive = "debian", suite = "bullseye", component = "main" }]
        [python]
        version = "3.9"
        glibc = "2.31"
        interpreter = "/usr/bin/python3.9"
        site-packages = "/usr/lib/python3/dist-packages"
        scripts = "/usr/bin"
        [[toolchain]]
        version = "1.0"
        env = { LANG = "C.UTF-8" }
        [[toolchain.layer]]
        name = "base"
        debian = ["libc6"]
        links = { "/etc/mtab" = "/proc/mounts" }
        [[toolchain.layer]]
        name = "tool"
        pypi = ["openvino==1"]
        exclude = ["**/tests/**"]
        [[toolchain.layer.archive]]
        file = "tool.tgz"
        obtain = "Download tool.tgz from the vendor."
        folder = "/opt/tool"
        strip = 1
    "#;

    fn name() -> ToolchainName {
        ToolchainName { target: "rvc2".parse().unwrap(), version: "1.0".parse().unwrap() }
    }

    fn recipe() -> Recipe {
        RECIPE.parse().unwrap()
    }

    fn digest() -> Digest {
        recipe().digest(&recipe().toolchains[0], |_| Ok::<_, ()>(Vec::new())).unwrap()
    }

    fn artifact(id: &str, file: &str, source: Source) -> Artifact {
        let pin = Some(Pin { size: ByteSize::new(7), sha256: Digest::of(id.as_bytes()) });
        let (id, file) = (id.parse().unwrap(), file.parse().unwrap());
        Artifact { id, file, source, pin, licence: None, redistributable: true }
    }

    fn artifacts() -> [Artifact; 3] {
        let debian = DebianSource {
            archive: "debian".to_owned(),
            package: "libc6".to_owned(),
            version: "2".to_owned(),
            architecture: "amd64".to_owned(),
            path: "pool/libc6.deb".to_owned(),
            scripts: Vec::new(),
        };
        let wheel = Source::Pypi { project: "openvino".to_owned(), version: "1".to_owned() };
        let archive = Source::File { obtain: "Download tool.tgz from the vendor.".to_owned() };
        [
            artifact("libc6", "libc6.deb", Source::Debian(debian)),
            artifact("openvino", "openvino-1-py3-none-any.whl", wheel),
            artifact("tool", "tool.tgz", archive),
        ]
    }

    fn lock(artifacts: [Artifact; 3], recipe: Digest) -> Lock {
        let layer = |name: &str, artifacts: &[&str]| LockedLayer {
            name: name.parse().unwrap(),
            artifacts: artifacts.iter().map(|id| id.parse().unwrap()).collect(),
            bytes: None,
        };
        let layers = vec![layer("base", &["libc6"]), layer("tool", &["openvino", "tool"])];
        let toolchain = Toolchain { name: name(), platform: Platform::LinuxAmd64, recipe, layers };
        Lock::new(vec![toolchain], artifacts).unwrap()
    }

    #[test]
    fn a_plan_says_everything() {
        let plan = plan(&lock(artifacts(), digest()), &recipe(), digest(), &name()).unwrap();
        insta::assert_snapshot!(plan.to_string());
        assert!(plan.layers[0].content.lowest && !plan.layers[1].content.lowest);
    }

    #[test]
    fn a_stale_lock_is_refused_with_the_way_out() {
        let error = plan(&lock(artifacts(), Digest::of(b"old")), &recipe(), digest(), &name()).unwrap_err();
        assert!(matches!(error, PlanError::Stale { .. }), "{error}");
        assert!(error.hints()[0].contains("modelconverter lock"));
        let fewer = RECIPE.replace("name = \"tool\"", "name = \"tools\"").parse().unwrap();
        let error = plan(&lock(artifacts(), digest()), &fewer, digest(), &name()).unwrap_err();
        assert!(error.to_string().contains("its layers are base, tool, the recipe has base, tools"), "{error}");
    }

    #[test]
    fn a_missing_pin_names_file_and_way() {
        let mut artifacts = artifacts();
        artifacts[2].pin = None;
        let error = plan(&lock(artifacts, digest()), &recipe(), digest(), &name()).unwrap_err();
        assert_eq!(error.to_string(), "rvc2 1.0 cannot be assembled yet: tool.tgz is not pinned");
        let way = "Download tool.tgz from the vendor; then run `modelconverter toolchain import tool.tgz`";
        assert_eq!(error.hints(), [way]);
    }

    #[test]
    fn unknown_toolchains_archives_without_place_and_broken_patterns_are_refused() {
        let other = ToolchainName { version: "1.1".parse().unwrap(), ..name() };
        let error = plan(&lock(artifacts(), digest()), &recipe(), digest(), &other).unwrap_err();
        assert_eq!(error.hints(), ["did you mean 1.0? The lock has 1.0"]);
        for (from, to, part) in [
            ("file = \"tool.tgz\"", "file = \"other.tgz\"", "does not say where tool.tgz goes"),
            ("**/tests/**", "a[", "has a pattern"),
        ] {
            let recipe = RECIPE.replace(from, to).parse().unwrap();
            let error = plan(&lock(artifacts(), digest()), &recipe, digest(), &name()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
