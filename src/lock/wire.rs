//! The shape of `toolchains.toml`, format 1, and what a well-formed lock keeps.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;

use super::{
    Artifact, DebianSource, FORMAT, LAYER_FORMAT, LayerBytes, Lock, LockedLayer, Pin, Platform, ScriptVerdict, Source,
    Toolchain, Verdict,
};
use crate::digest::{DiffId, Digest};
use crate::hint::Hint;
use crate::name::{ArtifactId, FileName, LayerName, Target, ToolchainName, ToolchainVersion};
use crate::units::ByteSize;

/// A lock that cannot be used.
#[derive(Debug, Error)]
pub enum LockError {
    /// No TOML, an unknown key or a broken value; the source names line and column.
    #[error("lock is not well formed")]
    Malformed(#[source] toml::de::Error),
    /// A version of the file format that is not known.
    #[error("lock has format {found}, this program reads {FORMAT}")]
    Format {
        /// The version found.
        found: i64,
    },
    /// A byte format of layers that is not known.
    #[error("lock asks for layer format {found}, this program makes {LAYER_FORMAT}")]
    LayerFormat {
        /// The number found.
        found: i64,
    },
    /// Somebody changed the lock by hand, or a merge did.
    #[error("lock does not fit its own checksum: it says {expected}, its content has {found}")]
    Checksum {
        /// The digest that the lock states.
        expected: Digest,
        /// The digest of its content.
        found: Digest,
    },
    /// Two things of one name, or a name that names nothing.
    #[error("lock contradicts itself: {0}")]
    Contradiction(String),
}

impl Hint for LockError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Format { .. } | Self::LayerFormat { .. } => {
                vec!["use a newer modelconverter for this lock".to_owned()]
            }
            Self::Checksum { .. } | Self::Contradiction(_) => vec![
                "restore the file from version control, or run `modelconverter lock` to resolve the recipes again"
                    .to_owned(),
            ],
            Self::Malformed(_) => vec!["restore the file from version control".to_owned()],
        }
    }
}

/// The two numbers that must be looked at before anything else is believed.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Versions {
    version: i64,
    layer_format: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LockWire {
    #[serde(rename = "version")]
    _version: i64,
    #[serde(rename = "layer-format")]
    _layer_format: i64,
    checksum: Digest,
    #[serde(default)]
    toolchain: Vec<ToolchainWire>,
    #[serde(default)]
    artifact: Vec<ArtifactWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ToolchainWire {
    target: Target,
    version: ToolchainVersion,
    platform: Platform,
    recipe: Digest,
    #[serde(default)]
    layer: Vec<LayerWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LayerWire {
    name: LayerName,
    #[serde(default)]
    diff_id: Option<DiffId>,
    #[serde(default)]
    size: Option<ByteSize>,
    #[serde(default)]
    compressed: Option<Digest>,
    #[serde(default)]
    compressed_size: Option<ByteSize>,
    #[serde(default)]
    artifacts: Vec<ArtifactId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ArtifactWire {
    id: ArtifactId,
    kind: Kind,
    file: FileName,
    #[serde(default)]
    size: Option<ByteSize>,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    licence: Option<String>,
    #[serde(default = "yes")]
    redistributable: bool,
    #[serde(default)]
    archive: Option<String>,
    #[serde(default)]
    package: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    repository: Option<String>,
    #[serde(default)]
    obtain: Option<String>,
    #[serde(default)]
    scripts: BTreeMap<String, ScriptWire>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Debian,
    Pypi,
    Https,
    Oci,
    File,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ScriptWire {
    sha256: String,
    #[serde(default)]
    noop: Option<String>,
    #[serde(default)]
    handled: Option<String>,
}

const fn yes() -> bool {
    true
}

/// Reads the text of a lock; see [`Lock::parse`].
pub(super) fn parse(text: &str) -> Result<Lock, LockError> {
    let versions: Versions = toml::from_str(text).map_err(LockError::Malformed)?;
    if versions.version != i64::from(FORMAT) {
        return Err(LockError::Format { found: versions.version });
    }
    if versions.layer_format != i64::from(LAYER_FORMAT) {
        return Err(LockError::LayerFormat { found: versions.layer_format });
    }
    let wire: LockWire = toml::from_str(text).map_err(LockError::Malformed)?;
    let toolchains = wire.toolchain.into_iter().map(Toolchain::try_from).collect::<Result<Vec<_>, _>>()?;
    let artifacts = wire.artifact.into_iter().map(Artifact::try_from).collect::<Result<Vec<_>, _>>()?;
    let mut ids = BTreeSet::new();
    if let Some(twice) = artifacts.iter().find(|artifact| !ids.insert(&artifact.id)) {
        return Err(LockError::Contradiction(format!("artifact `{}` stands twice", twice.id)));
    }
    let lock = Lock::new(toolchains, artifacts)?;
    let found = super::write::checksum(&lock);
    if found == wire.checksum { Ok(lock) } else { Err(LockError::Checksum { expected: wire.checksum, found }) }
}

/// Checks what a well-formed lock keeps; see [`Lock`].
pub(super) fn check(lock: &Lock) -> Result<(), LockError> {
    let refused = |text: String| Err(LockError::Contradiction(text));
    let mut used = BTreeSet::new();
    let mut previous: Option<&ToolchainName> = None;
    for toolchain in &lock.toolchains {
        if previous == Some(&toolchain.name) {
            return refused(format!("toolchain {} stands twice", toolchain.name));
        }
        previous = Some(&toolchain.name);
        let mut names = BTreeSet::new();
        for layer in &toolchain.layers {
            if !names.insert(&layer.name) {
                return refused(format!("layer `{}` of {} stands twice", layer.name, toolchain.name));
            }
            for id in &layer.artifacts {
                if !lock.artifacts.contains_key(id) {
                    return refused(format!(
                        "layer `{}` of {} names `{id}`, which is missing",
                        layer.name, toolchain.name
                    ));
                }
                used.insert(id);
            }
        }
    }
    match lock.artifacts.keys().find(|id| !used.contains(id)) {
        Some(id) => refused(format!("no layer is made of `{id}`")),
        None => Ok(()),
    }
}

impl TryFrom<ToolchainWire> for Toolchain {
    type Error = LockError;

    fn try_from(wire: ToolchainWire) -> Result<Self, LockError> {
        let name = ToolchainName { target: wire.target, version: wire.version };
        let layers = wire.layer.into_iter().map(|layer| {
            let bytes = match (layer.diff_id, layer.size, layer.compressed, layer.compressed_size) {
                (Some(diff_id), Some(size), Some(compressed), Some(compressed_size)) => {
                    Some(LayerBytes { diff_id, size, compressed, compressed_size })
                }
                (None, None, None, None) => None,
                _ => {
                    return Err(LockError::Contradiction(format!(
                        "layer `{}` of {name} needs all of diff-id, size, compressed and compressed-size, or none",
                        layer.name
                    )));
                }
            };
            Ok(LockedLayer { name: layer.name, artifacts: layer.artifacts, bytes })
        });
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { name, platform: wire.platform, recipe: wire.recipe, layers })
    }
}

impl TryFrom<ArtifactWire> for Artifact {
    type Error = LockError;

    fn try_from(wire: ArtifactWire) -> Result<Self, LockError> {
        let id = wire.id.clone();
        let refused = |text: String| LockError::Contradiction(format!("artifact `{id}` {text}"));
        let hex = |text: &str| Digest::from_hex(text).map_err(|error| refused(format!("has a bad sha256: {error}")));
        let pin = match (wire.size, wire.sha256.as_deref()) {
            (Some(size), Some(text)) => Some(Pin { size, sha256: hex(text)? }),
            (None, None) => None,
            _ => return Err(refused("needs both size and sha256, or neither".to_owned())),
        };
        let missing = |key: &str| refused(format!("needs `{key}`"));
        let scripts = wire.scripts.iter().map(|(script, wire)| {
            let verdict = match (wire.noop.clone(), wire.handled.clone()) {
                (Some(reason), None) => Verdict::Noop { reason },
                (None, Some(by)) => Verdict::Handled { by },
                _ => return Err(refused(format!("needs one verdict on `{script}`"))),
            };
            Ok(ScriptVerdict { script: script.clone(), sha256: hex(&wire.sha256)?, verdict })
        });
        let scripts = scripts.collect::<Result<Vec<_>, _>>()?;
        let source = match wire.kind {
            Kind::Debian => Source::Debian(DebianSource {
                archive: wire.archive.ok_or_else(|| missing("archive"))?,
                package: wire.package.ok_or_else(|| missing("package"))?,
                version: wire.version.ok_or_else(|| missing("version"))?,
                architecture: wire.architecture.ok_or_else(|| missing("architecture"))?,
                path: wire.path.ok_or_else(|| missing("path"))?,
                scripts,
            }),
            Kind::Pypi => Source::Pypi {
                project: wire.project.ok_or_else(|| missing("project"))?,
                version: wire.version.ok_or_else(|| missing("version"))?,
            },
            Kind::Https => Source::Https {
                origin: wire.origin.ok_or_else(|| missing("origin"))?,
                path: wire.path.ok_or_else(|| missing("path"))?,
            },
            Kind::Oci => Source::Oci { repository: wire.repository.ok_or_else(|| missing("repository"))? },
            Kind::File => Source::File { obtain: wire.obtain.ok_or_else(|| missing("obtain"))? },
        };
        Ok(Self {
            id: wire.id,
            file: wire.file,
            source,
            pin,
            licence: wire.licence,
            redistributable: wire.redistributable,
        })
    }
}
