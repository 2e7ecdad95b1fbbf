//! `modelconverter lock`: recipes become a lock.
//!
//! [`resolve`] makes a lock whose layers have no bytes yet where they changed; [`measure`] fills these in, with whoever
//! assembles images. [`check`] compares without any network. Pins of the old lock are kept as far as [`Moves`] allows.

mod debian;
mod fetched;
mod indexes;
mod python;
mod signature;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use thiserror::Error;

use crate::digest::Digest;
use crate::hint::Hint;
use crate::lock::{Artifact, Change, LayerBytes, Lock, LockError, LockedLayer, Source, Toolchain, diff};
use crate::name::{ArtifactId, FileName, LayerName, Target, ToolchainName};
use crate::recipe::{ArchiveRecipe, Recipe, RecipeFiles, ToolchainRecipe};

pub use debian::DebianLockError;
pub use fetched::FetchedIndexes;
pub use indexes::{Indexes, ObtainError, Signature, SignedText};
pub use python::PythonLockError;
pub use signature::keyrings;
pub use verdicts::UnknownScript;

/// A recipe with the bytes of its files.
#[derive(Clone, Copy)]
pub struct RecipeWithFiles<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The files of its folder.
    pub files: &'a dyn RecipeFiles,
}

/// Which pins may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moves {
    /// Only those that no longer satisfy the recipe.
    None,
    /// All.
    All,
    /// The package or project of that name, and what it makes move.
    One(String),
}

/// What a resolution came to.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The new lock. Layers that changed have no bytes yet.
    pub lock: Lock,
    /// What differs from the old lock.
    pub changes: Vec<Change>,
    /// What people should know, one line each.
    pub notes: Vec<Note>,
}

/// Something people should know about a resolution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// Whether the signature of a suite's index was verified.
    Signature {
        /// The archive and the suite.
        suite: String,
        /// What is known, as a phrase.
        outcome: String,
    },
    /// A pin that could not be kept.
    Moved {
        /// The package with the version it had.
        package: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature { suite, outcome } => write!(formatter, "index of {suite}: {outcome}"),
            Self::Moved { package, reason } => write!(formatter, "{package} could not be kept: {reason}"),
        }
    }
}

/// A way in which a lock does not fit its recipes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The lock has no such toolchain.
    Missing(ToolchainName),
    /// No recipe has such a toolchain.
    Superfluous(ToolchainName),
    /// The recipe changed.
    Changed {
        /// The toolchain.
        toolchain: ToolchainName,
        /// The recipe's digest in the lock.
        locked: Digest,
        /// The recipe's digest now.
        current: Digest,
    },
    /// The recipe no longer has the verdict that the lock has.
    Verdict {
        /// The package.
        package: String,
        /// The script.
        script: String,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(formatter, "{name} is in the recipe, not in the lock"),
            Self::Superfluous(name) => write!(formatter, "{name} is in the lock, not in a recipe"),
            Self::Changed { toolchain, locked, current } => {
                write!(formatter, "{toolchain} was made from recipe {locked}, the recipe is now {current}")
            }
            Self::Verdict { package, script } => {
                write!(formatter, "the verdict on {script} of {package} differs from the recipe's")
            }
        }
    }
}

/// A lock that cannot be made.
#[derive(Debug, Error)]
pub enum LockingError {
    /// A file of the recipe's folder cannot be read.
    #[error("file `{path}` of the recipe of {target} cannot be read")]
    File {
        /// Whose.
        target: Target,
        /// The path below the recipe's folder.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Debian packages cannot be chosen or had.
    #[error("Debian packages of {toolchain} cannot be locked")]
    Debian {
        /// The toolchain.
        toolchain: ToolchainName,
        /// Why.
        #[source]
        source: Box<DebianLockError>,
    },
    /// Wheels cannot be chosen or had.
    #[error("wheels of {toolchain} cannot be locked")]
    Python {
        /// The toolchain.
        toolchain: ToolchainName,
        /// Why.
        #[source]
        source: Box<PythonLockError>,
    },
    /// Maintainer scripts that no verdict is about.
    #[error("{} without a verdict in the recipe: {}", count(scripts.len()), names(scripts))]
    Scripts {
        /// The scripts.
        scripts: Vec<UnknownScript>,
    },
    /// A package that `--upgrade` names, but nothing asks for.
    #[error("nothing in the lock is called `{name}`")]
    NoSuchPackage {
        /// The name.
        name: String,
    },
    /// Two sources say different things about one artifact.
    #[error("two artifacts are called `{id}`")]
    Ambiguous {
        /// The id.
        id: ArtifactId,
    },
    /// A name that no artifact may have.
    #[error("`{text}` cannot be the name of an artifact")]
    Name {
        /// The text.
        text: String,
    },
    /// The parts do not make a lock.
    #[error("the parts do not make a lock")]
    Lock(#[from] LockError),
}

fn count(scripts: usize) -> String {
    if scripts == 1 { "one maintainer script is".to_owned() } else { format!("{scripts} maintainer scripts are") }
}

fn names(scripts: &[UnknownScript]) -> String {
    let names: Vec<String> = scripts.iter().map(|script| format!("{} of {}", script.script, script.package)).collect();
    names.join(", ")
}

impl Hint for LockingError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Debian { source, .. } => source.hints(),
            Self::Python { source, .. } => source.hints(),
            Self::Scripts { scripts } => scripts.iter().map(ToString::to_string).collect(),
            Self::Lock(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

impl LockingError {
    /// Returns whether something could not be had, so that the network or the machine is to blame, not the project.
    pub fn is_about_the_machine(&self) -> bool {
        let obtaining = match self {
            Self::Debian { source, .. } => match &**source {
                DebianLockError::Obtain(error) => Some(error),
                _ => None,
            },
            Self::Python { source, .. } => match &**source {
                PythonLockError::Obtain(error) => Some(error),
                _ => None,
            },
            _ => None,
        };
        matches!(obtaining, Some(ObtainError::Fetch { .. } | ObtainError::Read { .. } | ObtainError::Content { .. }))
    }
}

/// What a part of a resolution adds to a layer.
type Parts = BTreeMap<LayerName, Vec<Artifact>>;

/// Compares a lock with the recipes it was made from, without any network. Nothing is returned when all fits.
///
/// # Errors
/// A file of a recipe's folder cannot be read.
pub fn check(lock: &Lock, recipes: &[RecipeWithFiles<'_>]) -> Result<Vec<Stale>, LockingError> {
    let mut stale = Vec::new();
    for input in recipes {
        for toolchain in &input.recipe.toolchains {
            let name = ToolchainName { target: input.recipe.target, version: toolchain.version.clone() };
            let Ok(locked) = lock.toolchain(&name) else {
                stale.push(Stale::Missing(name));
                continue;
            };
            let current = digest(input, toolchain)?;
            if locked.recipe != current {
                stale.push(Stale::Changed { toolchain: name, locked: locked.recipe, current });
                continue;
            }
            for artifact in lock.artifacts_of(locked) {
                let Source::Debian(source) = &artifact.source else { continue };
                for script in &source.scripts {
                    let verdict = verdicts::verdict(input.recipe, &source.package, &script.script, script.sha256);
                    if verdict.as_ref() != Some(&script.verdict) {
                        let (package, script) = (source.package.clone(), script.script.clone());
                        stale.push(Stale::Verdict { package, script });
                    }
                }
            }
        }
    }
    for name in lock.toolchains().iter().map(|toolchain| &toolchain.name) {
        if !recipes.iter().any(|input| input.recipe.names().any(|known| known == *name)) {
            stale.push(Stale::Superfluous(name.clone()));
        }
    }
    Ok(stale)
}

/// Makes a lock of recipes. Nobody is asked anything when the old lock fits them and no pin may move.
///
/// # Errors
/// Packages that do not exist or do not fit together, indexes that cannot be had or have bad signatures, maintainer
/// scripts without a verdict.
pub fn resolve(
    old: Option<&Lock>,
    recipes: &[RecipeWithFiles<'_>],
    moves: &Moves,
    indexes: &dyn Indexes,
) -> Result<Resolved, LockingError> {
    if let Some(old) = old.filter(|_| *moves == Moves::None)
        && check(old, recipes)?.is_empty()
    {
        return Ok(Resolved { lock: old.clone(), changes: Vec::new(), notes: Vec::new() });
    }
    let mut artifacts: BTreeMap<ArtifactId, Artifact> = BTreeMap::new();
    let mut toolchains = Vec::new();
    let mut notes = Vec::new();
    let mut unknown = Vec::new();
    let mut met = BTreeSet::new();
    for input in recipes {
        let mut debian = debian::Archives::new(input.recipe, old, moves, indexes);
        for recipe in &input.recipe.toolchains {
            let name = ToolchainName { target: input.recipe.target, version: recipe.version.clone() };
            let digest = digest(input, recipe)?;
            let before = old.and_then(|lock| lock.toolchain(&name).ok());
            let mut parts: Parts = Parts::new();
            let failed = |source| LockingError::Debian { toolchain: name.clone(), source: Box::new(source) };
            let locked = debian.lock(recipe, &mut unknown).map_err(failed)?;
            merge(&mut parts, locked);
            let failed = |source| LockingError::Python { toolchain: name.clone(), source: Box::new(source) };
            merge(&mut parts, python::lock(input.recipe, recipe, old, moves, indexes).map_err(failed)?);
            merge(&mut parts, archives(recipe, old)?);
            let mut layers = Vec::new();
            for layer in &recipe.layers {
                let mut ids = Vec::new();
                for artifact in parts.remove(&layer.name).unwrap_or_default() {
                    let (id, known) = (artifact.id.clone(), artifacts.get(&artifact.id));
                    if known.is_some_and(|known| *known != artifact) {
                        return Err(LockingError::Ambiguous { id });
                    }
                    met.insert(package_name(&artifact));
                    artifacts.insert(id.clone(), artifact);
                    ids.push(id);
                }
                ids.sort();
                layers.push(LockedLayer { name: layer.name.clone(), artifacts: ids, bytes: None });
            }
            keep_bytes(&mut layers, before, digest, old, &artifacts);
            toolchains.push(Toolchain { name, platform: input.recipe.platform, recipe: digest, layers });
        }
        notes.append(&mut debian.notes);
    }
    if !unknown.is_empty() {
        unknown
            .sort_by(|left: &UnknownScript, right| (&left.package, &left.script).cmp(&(&right.package, &right.script)));
        unknown.dedup();
        return Err(LockingError::Scripts { scripts: unknown });
    }
    if let Moves::One(name) = moves
        && !met.contains(name)
    {
        return Err(LockingError::NoSuchPackage { name: name.clone() });
    }
    let lock = Lock::new(toolchains, artifacts.into_values())?;
    let empty = Lock::new(Vec::new(), [])?;
    let changes = diff(old.unwrap_or(&empty), &lock);
    notes.sort();
    notes.dedup();
    Ok(Resolved { lock, changes, notes })
}

/// Returns the toolchains whose layers could be assembled, but have no bytes in the lock.
pub fn unmeasured(lock: &Lock) -> impl Iterator<Item = &ToolchainName> {
    lock.toolchains().iter().filter_map(|toolchain| {
        let pinned = lock.artifacts_of(toolchain).all(|artifact| artifact.pin.is_some());
        let missing = toolchain.layers.iter().any(|layer| layer.bytes.is_none());
        (pinned && missing).then_some(&toolchain.name)
    })
}

/// Returns the toolchains that cannot be assembled yet, with the files that nobody has measured.
pub fn waiting(lock: &Lock) -> impl Iterator<Item = (&ToolchainName, Vec<FileName>)> {
    lock.toolchains().iter().filter_map(|toolchain| {
        let unpinned = lock.artifacts_of(toolchain).filter(|artifact| artifact.pin.is_none());
        let files: Vec<FileName> = unpinned.map(|artifact| artifact.file.clone()).collect();
        (!files.is_empty()).then_some((&toolchain.name, files))
    })
}

/// Fills in the bytes of layers that have none: `assemble` makes the image and says what its layers came to.
///
/// A toolchain with artifacts that nobody has measured yet is left as it is.
///
/// # Errors
/// Whatever `assemble` fails with.
pub fn measure<E: From<LockError>>(
    lock: &Lock,
    mut assemble: impl FnMut(&Lock, &ToolchainName) -> Result<Vec<LayerBytes>, E>,
) -> Result<Lock, E> {
    let mut toolchains = lock.toolchains().to_vec();
    for name in unmeasured(lock) {
        let bytes = assemble(lock, name)?;
        if let Some(toolchain) = toolchains.iter_mut().find(|toolchain| toolchain.name == *name) {
            for (layer, bytes) in toolchain.layers.iter_mut().zip(bytes) {
                layer.bytes = Some(bytes);
            }
        }
    }
    Ok(Lock::new(toolchains, lock.artifacts().cloned())?)
}

fn digest(input: &RecipeWithFiles<'_>, toolchain: &ToolchainRecipe) -> Result<Digest, LockingError> {
    let target = input.recipe.target;
    input.recipe.digest(toolchain, |path| {
        input.files.read(path).map_err(|source| LockingError::File { target, path: path.to_owned(), source })
    })
}

fn merge(parts: &mut Parts, more: Parts) {
    for (layer, mut artifacts) in more {
        parts.entry(layer).or_default().append(&mut artifacts);
    }
}

/// Takes over the bytes of layers where neither recipe nor artifacts changed.
fn keep_bytes(
    layers: &mut [LockedLayer],
    before: Option<&Toolchain>,
    recipe: Digest,
    old: Option<&Lock>,
    artifacts: &BTreeMap<ArtifactId, Artifact>,
) {
    let (Some(before), Some(old)) = (before.filter(|before| before.recipe == recipe), old) else { return };
    // All or nothing: what a layer leaves out and merges depends on those below it.
    let same = before.layers.len() == layers.len()
        && before.layers.iter().zip(layers.iter()).all(|(before, layer)| {
            before.name == layer.name
                && before.artifacts == layer.artifacts
                && layer.artifacts.iter().all(|id| {
                    let pin = |artifact: Option<&Artifact>| artifact.and_then(|artifact| artifact.pin);
                    pin(artifacts.get(id)) == pin(old.artifact(id))
                })
        });
    if same {
        for (layer, before) in layers.iter_mut().zip(&before.layers) {
            layer.bytes = before.bytes;
        }
    }
}

/// Returns the vendors' archives of a toolchain, with the pins of the old lock.
fn archives(recipe: &ToolchainRecipe, old: Option<&Lock>) -> Result<Parts, LockingError> {
    let mut parts = Parts::new();
    for layer in &recipe.layers {
        for archive in &layer.archives {
            let mut artifact = archive_artifact(archive)?;
            let earlier = old.and_then(|lock| lock.artifact(&artifact.id));
            artifact.pin = earlier.filter(|earlier| earlier.source == artifact.source).and_then(|earlier| earlier.pin);
            parts.entry(layer.name.clone()).or_default().push(artifact);
        }
    }
    Ok(parts)
}

fn archive_artifact(archive: &ArchiveRecipe) -> Result<Artifact, LockingError> {
    let source = match (&archive.origin, &archive.path) {
        (Some(origin), Some(path)) => Source::Https { origin: origin.clone(), path: path.clone() },
        _ => Source::File { obtain: archive.obtain.clone().unwrap_or_default() },
    };
    Ok(Artifact {
        id: artifact_id(&archive.file)?,
        file: archive.file.clone(),
        source,
        pin: None,
        licence: archive.licence.clone(),
        redistributable: archive.redistributable,
    })
}

/// Returns the key of an artifact: its file name without the ending that says what it is packed with.
fn artifact_id(file: &FileName) -> Result<ArtifactId, LockingError> {
    const ENDINGS: [&str; 8] = [".deb", ".whl", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tgz", ".zip"];
    let text = file.as_str();
    let stem = ENDINGS.iter().find_map(|ending| text.strip_suffix(ending)).unwrap_or(text);
    stem.parse().map_err(|_| LockingError::Name { text: text.to_owned() })
}

/// Returns the name people know an artifact by.
fn package_name(artifact: &Artifact) -> String {
    match &artifact.source {
        Source::Debian(source) => source.package.clone(),
        Source::Pypi { project, .. } => project.clone(),
        _ => artifact.file.to_string(),
    }
}

#[cfg(test)]
mod tests;
