//! The lock `toolchains.toml`: every toolchain with every artifact it is made of, pinned.
//!
//! Owns the domain types. The file's shape is in `wire`, its canonical text in `write`. Must not read files.

mod diff;
mod wire;
mod write;

use std::collections::BTreeMap;

use crate::digest::{DiffId, Digest, Fingerprint};
use crate::name::{ArtifactId, FileName, LayerName, Target, ToolchainName, ToolchainVersion};
use crate::units::ByteSize;

pub use crate::name::Platform;
pub use diff::{Change, diff};
pub use wire::LockError;

/// The newest version of the file format, and the only one there is.
pub const FORMAT: u32 = 1;

/// The number of the byte format of layers (see `tarball` and `block_gzip`). Other bytes mean another number.
pub const LAYER_FORMAT: u32 = 1;

/// A whole lock.
///
/// Invariants (kept by reading and by [`Lock::new`]): toolchains are unique by name and sorted; every artifact that a
/// layer names exists; every artifact is named by a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    toolchains: Vec<Toolchain>,
    artifacts: BTreeMap<ArtifactId, Artifact>,
}

/// The vendor tools of one version for one target, as an image without the converter's own layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Target and version.
    pub name: ToolchainName,
    /// Where the image runs, as Go writes it: `linux/amd64`.
    pub platform: Platform,
    /// The digest of the part of the recipe that this entry was made from; another recipe makes the entry stale.
    pub recipe: Digest,
    /// The layers, lowest first.
    pub layers: Vec<LockedLayer>,
}

/// One layer of a toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedLayer {
    /// Its name, unique in the toolchain.
    pub name: LayerName,
    /// The packages it is made of, sorted.
    pub artifacts: Vec<ArtifactId>,
    /// What these bytes must produce; nothing while an artifact still has no pin.
    pub bytes: Option<LayerBytes>,
}

/// The identity of a layer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerBytes {
    /// The digest of the tar stream.
    pub diff_id: DiffId,
    /// The length of the tar stream.
    pub size: ByteSize,
    /// The digest of the tar stream in block gzip 1.
    pub compressed: Digest,
    /// The length of the tar stream in block gzip 1.
    pub compressed_size: ByteSize,
}

/// One file of bytes that toolchains are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its key.
    pub id: ArtifactId,
    /// The name of the file, as its publisher calls it.
    pub file: FileName,
    /// Where it comes from.
    pub source: Source,
    /// Its bytes; nothing for a vendor archive that nobody has measured yet (see `toolchain import`).
    pub pin: Option<Pin>,
    /// Its licence as an SPDX expression, where it is known.
    pub licence: Option<String>,
    /// Whether its bytes may be passed on to others.
    pub redistributable: bool,
}

/// What an artifact is.
pub type Pin = Fingerprint;

/// Where an artifact comes from: a kind and a place within that kind. Mirrors and hosts are configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A binary package of a Debian archive.
    Debian(DebianSource),
    /// A wheel of a Python package index (Simple repository API).
    Pypi {
        /// The normalised project name (PEP 503).
        project: String,
        /// The version (PEP 440).
        version: String,
    },
    /// A file of a vendor's public server.
    Https {
        /// Which server: a key of `[mirrors.https]`.
        origin: String,
        /// The path below the server's base.
        path: String,
    },
    /// A blob of a registry repository; the artifact's digest is the blob's.
    Oci {
        /// The repository, without a host.
        repository: String,
    },
    /// A file that only the user can obtain.
    File {
        /// How, in one sentence.
        obtain: String,
    },
}

impl Source {
    /// Returns the kind as the lock writes it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Debian(_) => "debian",
            Self::Pypi { .. } => "pypi",
            Self::Https { .. } => "https",
            Self::Oci { .. } => "oci",
            Self::File { .. } => "file",
        }
    }
}

/// A binary package of a Debian archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebianSource {
    /// Which archive: a key of `[mirrors.debian]`, `debian` or `debian-security`.
    pub archive: String,
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The package's architecture: `amd64` or `all`.
    pub architecture: String,
    /// The path below the archive's root: `pool/main/z/zlib/zlib1g_1.2.11_amd64.deb`.
    pub path: String,
    /// Every maintainer script of the package with its verdict, sorted by name.
    pub scripts: Vec<ScriptVerdict>,
}

/// A maintainer script that never runs, and why nothing is lost by that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptVerdict {
    /// Which script: `preinst`, `postinst`, `prerm`, `postrm`, `config`, `triggers`.
    pub script: String,
    /// The digest of the script's bytes.
    pub sha256: Digest,
    /// Why it need not run.
    pub verdict: Verdict,
}

/// Why a maintainer script need not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does nothing that an image needs.
    Noop {
        /// In a few words.
        reason: String,
    },
    /// What it does is done at assembly.
    Handled {
        /// By what: a handler's name, or the recipe's keys.
        by: String,
    },
}

/// A toolchain or artifact that is not in the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The name that was asked for.
    pub wanted: ToolchainName,
    /// The versions there are for the same target.
    pub versions: Vec<ToolchainVersion>,
}

impl Lock {
    /// Puts a lock together. Order of the arguments does not matter.
    ///
    /// # Errors
    /// Two toolchains of one name, a layer that names a missing artifact, an artifact that no layer names.
    pub fn new(
        mut toolchains: Vec<Toolchain>,
        artifacts: impl IntoIterator<Item = Artifact>,
    ) -> Result<Self, LockError> {
        toolchains.sort_by(|left, right| left.name.cmp(&right.name));
        let artifacts = artifacts.into_iter().map(|artifact| (artifact.id.clone(), artifact)).collect();
        let lock = Self { toolchains, artifacts };
        wire::check(&lock)?;
        Ok(lock)
    }

    /// Reads the text of a lock.
    ///
    /// # Errors
    /// No TOML; a newer format or layer format; an unknown key or a broken value; a self-check that does not fit.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        wire::parse(text)
    }

    /// Returns the canonical text, keeping the comments people wrote in `previous`, the text it replaces.
    pub fn render(&self, previous: Option<&str>) -> String {
        write::render(self, previous)
    }

    /// Returns the same lock with the pin of one artifact set.
    #[must_use]
    pub fn pinned(&self, id: &ArtifactId, pin: Pin) -> Self {
        let mut lock = self.clone();
        if let Some(artifact) = lock.artifacts.get_mut(id) {
            artifact.pin = Some(pin);
        }
        lock
    }

    /// Returns all toolchains, sorted by target and version.
    pub fn toolchains(&self) -> &[Toolchain] {
        &self.toolchains
    }

    /// Returns the toolchain of that name.
    ///
    /// # Errors
    /// There is none; the error lists the versions there are.
    pub fn toolchain(&self, name: &ToolchainName) -> Result<&Toolchain, Unknown> {
        self.toolchains
            .iter()
            .find(|toolchain| toolchain.name == *name)
            .ok_or_else(|| Unknown { wanted: name.clone(), versions: self.versions(name.target).cloned().collect() })
    }

    /// Returns the versions of a target.
    pub fn versions(&self, target: Target) -> impl Iterator<Item = &ToolchainVersion> {
        self.toolchains
            .iter()
            .map(|toolchain| &toolchain.name)
            .filter(move |name| name.target == target)
            .map(|name| &name.version)
    }

    /// Returns all artifacts, sorted by id.
    pub fn artifacts(&self) -> impl DoubleEndedIterator<Item = &Artifact> {
        self.artifacts.values()
    }

    /// Returns the artifact of that id.
    pub fn artifact(&self, id: &ArtifactId) -> Option<&Artifact> {
        self.artifacts.get(id)
    }

    /// Returns the artifacts of a toolchain, layer by layer.
    pub fn artifacts_of<'a>(&'a self, toolchain: &'a Toolchain) -> impl Iterator<Item = &'a Artifact> {
        toolchain.layers.iter().flat_map(|layer| &layer.artifacts).filter_map(|id| self.artifact(id))
    }
}
