//! `images/<target>/recipe.toml`: what people want in the images of a target; `modelconverter lock` makes pins of it.
//!
//! Owns the file's shape and [`Recipe`]. Must not read files: a recipe names the files it adds, and whoever reads the
//! folder hands their bytes over (see `project`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::hint::Hint;
use crate::image_path::ImagePath;
use crate::lock::Platform;
use crate::name::{FileName, LayerName, Target, ToolchainName, ToolchainVersion};

/// The newest version of the file format, and the only one there is.
pub const FORMAT: u32 = 1;

/// A recipe: all toolchains of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// The version of the file format.
    pub recipe: u32,
    /// The target.
    pub target: Target,
    /// Where the images run.
    pub platform: Platform,
    /// The version used where people name none.
    pub default_version: ToolchainVersion,
    /// Where Debian packages come from.
    pub debian: DebianWants,
    /// The interpreter that wheels are for.
    pub python: PythonWants,
    /// Verdicts on maintainer scripts.
    #[serde(default, rename = "script")]
    pub scripts: Vec<KnownScript>,
    /// The toolchains.
    #[serde(rename = "toolchain")]
    pub toolchains: Vec<ToolchainRecipe>,
}

/// Where Debian packages come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DebianWants {
    /// Suites, the most preferred version wins over all of them.
    #[serde(rename = "suite")]
    pub suites: Vec<DebianSuite>,
    /// Dependencies left out, each with the reason. A left-out package is also left out of the closure behind it.
    #[serde(default)]
    pub omit: BTreeMap<String, String>,
}

/// One suite of one Debian archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DebianSuite {
    /// Which archive: `debian` or `debian-security`.
    pub archive: String,
    /// The suite below `dists/`: `bullseye`, `bullseye-security`.
    pub suite: String,
    /// The component: `main`.
    pub component: String,
}

/// The interpreter that wheels are for (PEP 425, PEP 600).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PythonWants {
    /// The CPython version, major and minor: `3.9`.
    pub version: String,
    /// The newest glibc that wheels may need: `2.31`.
    pub glibc: String,
    /// Where the interpreter stands.
    pub interpreter: ImagePath,
    /// Where purelib and platlib go.
    pub site_packages: ImagePath,
    /// Where console scripts go.
    pub scripts: ImagePath,
    /// Dependencies left out, each with the reason; `wheel/project` leaves out only what that one wheel asks for.
    #[serde(default)]
    pub omit: BTreeMap<String, String>,
    /// What is known about licences of wheels, by `project` or `project==version`; it wins over the wheel's metadata.
    #[serde(default, rename = "licence")]
    pub licences: BTreeMap<String, WheelLicence>,
}

/// What is known about the licence of a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WheelLicence {
    /// The licence (SPDX expression).
    pub licence: String,
    /// Whether the wheel's bytes may be passed on.
    pub redistributable: bool,
}

/// A verdict on the maintainer script with these bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KnownScript {
    /// The package that has it.
    pub package: String,
    /// `preinst`, `postinst`, `prerm`, `postrm`, `config` or `triggers`.
    pub script: String,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// Why nothing is lost when it does not run. Either this or `handled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noop: Option<String>,
    /// What does its work at assembly. Either this or `noop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<String>,
}

/// One toolchain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ToolchainRecipe {
    /// The vendor's version.
    pub version: ToolchainVersion,
    /// The environment of every process in the image.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A command that fills the cache folder of the image on a host, once, before its first use; see `engine`.
    #[serde(default)]
    pub prepare: Option<Prepare>,
    /// Folders in which a tool finds native libraries because its own environment, not the image's, says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub library_folders: Vec<ImagePath>,
    /// The layers, lowest first.
    #[serde(rename = "layer")]
    pub layers: Vec<LayerRecipe>,
}

/// A command that derives files from the image alone (bytecode), kept on the host per image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prepare {
    /// The folder inside the image where the cache is mounted: writable for this command, read-only later.
    pub cache: ImagePath,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayerRecipe {
    /// Its name.
    pub name: LayerName,
    /// Debian packages; their dependencies join the layer unless a lower layer has them.
    #[serde(default)]
    pub debian: Vec<String>,
    /// Python requirements (PEP 508); their dependencies join the layer unless a lower layer has them.
    #[serde(default)]
    pub pypi: Vec<String>,
    /// Archives placed in the image.
    #[serde(default, rename = "archive")]
    pub archives: Vec<ArchiveRecipe>,
    /// Files of the recipe's folder placed in the image.
    #[serde(default, rename = "file")]
    pub files: Vec<FileRecipe>,
    /// Folders that must exist.
    #[serde(default)]
    pub folders: BTreeSet<ImagePath>,
    /// Symbolic links: path to target.
    #[serde(default)]
    pub links: BTreeMap<ImagePath, String>,
    /// Members left out: glob patterns over paths inside the image, `**` crosses folders.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether to make the bundle of certificate authorities from `usr/share/ca-certificates`.
    #[serde(default)]
    pub ca_bundle: bool,
    /// Native libraries that files of this layer need and the image does not have, each with the reason why that is fine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allow_missing: BTreeMap<String, String>,
}

/// An archive that is placed in the image: a vendor's tar or zip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArchiveRecipe {
    /// The archive's name, as the vendor calls it.
    pub file: FileName,
    /// Other names under which users know it in `docker/extra_packages/`.
    #[serde(default)]
    pub also_known_as: BTreeSet<FileName>,
    /// The vendor's server, a key of `[mirrors.https]`, where it can be had without an account.
    #[serde(default)]
    pub origin: Option<String>,
    /// The path below the server's base.
    #[serde(default)]
    pub path: Option<String>,
    /// How to obtain it by hand, in one sentence.
    #[serde(default)]
    pub obtain: Option<String>,
    /// Its licence (SPDX expression).
    #[serde(default)]
    pub licence: Option<String>,
    /// Whether its bytes may be passed on.
    #[serde(default)]
    pub redistributable: bool,
    /// The folder its members go to.
    pub folder: ImagePath,
    /// How many leading path components of each member are dropped.
    #[serde(default)]
    pub strip: usize,
    /// Members taken, as glob patterns over paths after stripping; all of them where none is given.
    #[serde(default)]
    pub include: Vec<String>,
}

/// A file of the recipe's folder placed in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileRecipe {
    /// The path below the recipe's folder.
    pub from: String,
    /// The path inside the image.
    pub to: ImagePath,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// The files of a recipe's folder.
pub trait RecipeFiles: Sync {
    /// Returns the bytes of the file at `from`, a path below the recipe's folder.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn read(&self, from: &str) -> io::Result<Vec<u8>>;
}

/// A recipe that cannot be used.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// No TOML, an unknown key or a broken value; the source names line and column.
    #[error("recipe is not well formed")]
    Malformed(#[source] toml::de::Error),
    /// A version of the format that is not known.
    #[error("recipe has format {found}, this program reads {FORMAT}")]
    Format {
        /// The version found.
        found: u32,
    },
    /// Two things of one name, a name that names nothing, a verdict that is none.
    #[error("recipe contradicts itself: {0}")]
    Contradiction(String),
}

impl Hint for RecipeError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Format { .. } => vec!["use a newer modelconverter for this recipe".to_owned()],
            _ => Vec::new(),
        }
    }
}

impl FromStr for Recipe {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = toml::from_str(text).map_err(RecipeError::Malformed)?;
        if recipe.recipe != FORMAT {
            return Err(RecipeError::Format { found: recipe.recipe });
        }
        recipe.check().map_err(RecipeError::Contradiction)?;
        Ok(recipe)
    }
}

impl Recipe {
    /// Returns the toolchain of that version.
    pub fn toolchain(&self, version: &ToolchainVersion) -> Option<&ToolchainRecipe> {
        self.toolchains.iter().find(|toolchain| toolchain.version == *version)
    }

    /// Returns the names of all toolchains.
    pub fn names(&self) -> impl Iterator<Item = ToolchainName> {
        self.toolchains
            .iter()
            .map(|toolchain| ToolchainName { target: self.target, version: toolchain.version.clone() })
    }

    /// Returns the digest of everything that decides one toolchain's pins and layers, files included.
    ///
    /// `file` returns the bytes of a file below the recipe's folder.
    ///
    /// # Errors
    /// Whatever `file` fails with.
    pub fn digest<E>(
        &self,
        toolchain: &ToolchainRecipe,
        mut file: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<Digest, E> {
        let mut files = BTreeMap::new();
        for recipe in toolchain.layers.iter().flat_map(|layer| &layer.files) {
            files.insert(&recipe.from, Digest::of(&file(&recipe.from)?));
        }
        let document = serde_json::json!({
            "platform": self.platform, "debian": self.debian, "python": self.python, "toolchain": toolchain, "files": files,
        });
        // A JSON value holds its keys sorted, so the text is canonical.
        Ok(Digest::of(document.to_string().as_bytes()))
    }

    fn check(&self) -> Result<(), String> {
        let mut versions = BTreeSet::new();
        for toolchain in &self.toolchains {
            if !versions.insert(&toolchain.version) {
                return Err(format!("toolchain {} stands twice", toolchain.version));
            }
            let mut layers = BTreeSet::new();
            for layer in &toolchain.layers {
                if !layers.insert(&layer.name) {
                    return Err(format!("layer `{}` of {} stands twice", layer.name, toolchain.version));
                }
                for archive in &layer.archives {
                    if archive.origin.is_some() != archive.path.is_some() {
                        return Err(format!("archive `{}` needs both `origin` and `path`, or neither", archive.file));
                    }
                    if archive.origin.is_none() && archive.obtain.is_none() {
                        return Err(format!("archive `{}` needs `origin` and `path`, or `obtain`", archive.file));
                    }
                }
            }
        }
        if !versions.contains(&self.default_version) {
            return Err(format!("`default-version` {} is none of its toolchains", self.default_version));
        }
        for script in &self.scripts {
            if script.noop.is_some() == script.handled.is_some() {
                return Err(format!(
                    "the verdict on {} of `{}` needs `noop` or `handled`, and only one",
                    script.script, script.package
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        [[toolchain.layer]]
        name = "base"
        debian = ["libc6"]
        links = { "/bin" = "usr/bin" }
    "#;

    #[test]
    fn a_recipe_is_read_and_its_digest_follows_its_content() {
        let recipe: Recipe = RECIPE.parse().unwrap();
        let digest = |recipe: &Recipe| recipe.digest(&recipe.toolchains[0], |_| Ok::<_, ()>(Vec::new())).unwrap();
        let other: Recipe = RECIPE.replace("libc6", "libc7").parse().unwrap();
        assert_eq!(digest(&recipe), digest(&RECIPE.parse().unwrap()));
        assert_ne!(digest(&recipe), digest(&other));
    }

    #[test]
    fn broken_recipes_are_refused() {
        for (from, to, part) in [
            ("recipe = 1", "recipe = 2", "format 2"),
            ("default-version = \"1.0\"", "default-version = \"2.0\"", "none of its toolchains"),
            ("debian = [\"libc6\"]", "debain = [\"libc6\"]", "not well formed"),
        ] {
            let error = RECIPE.replace(from, to).parse::<Recipe>().unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
