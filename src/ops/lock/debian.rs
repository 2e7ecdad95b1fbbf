//! Debian packages of a recipe become artifacts with verdicts.

use std::collections::BTreeMap;
use std::io::{self, BufReader};

use thiserror::Error;

use super::indexes::{Indexes, ObtainError, Signature};
use super::verdicts::{self, UnknownScript};
use super::{LockingError, Moves, Note, Parts, artifact_id};
use crate::debian::index::{self, Index, IndexError};
use crate::debian::release::{Release, ReleaseError};
use crate::debian::{DebianError, unpack};
use crate::entry::{Entry, Sink};
use crate::hint::Hint;
use crate::intake::Compression;
use crate::lock::{Artifact, DebianSource, Lock, Pin, Source};
use crate::name::FileName;
use crate::recipe::{DebianSuite, Recipe, ToolchainRecipe};
use crate::resolve::debian::{Choice, ClosureError, Suite, closure};
use crate::resolve::{Keep, LayerWants};

/// How many packages are fetched and looked into at once.
const AT_ONCE: usize = 8;

/// Debian packages that cannot be locked.
#[derive(Debug, Error)]
pub enum DebianLockError {
    /// Something cannot be had.
    #[error("an index or a package cannot be had")]
    Obtain(#[from] ObtainError),
    /// The list of a suite's indexes cannot be read.
    #[error("`InRelease` of {suite} cannot be used")]
    Release {
        /// Archive and suite.
        suite: String,
        /// Why.
        #[source]
        source: ReleaseError,
    },
    /// A suite is another one than was asked for, or lacks the index.
    #[error("{suite} is refused: {reason}")]
    Suite {
        /// Archive and suite.
        suite: String,
        /// Why.
        reason: String,
    },
    /// An index cannot be read.
    #[error("index of {suite} cannot be used")]
    Index {
        /// Archive and suite.
        suite: String,
        /// Why.
        #[source]
        source: IndexError,
    },
    /// The packages do not fit together.
    #[error("packages cannot be chosen")]
    Closure(#[from] ClosureError),
    /// A package cannot be read.
    #[error("package `{package}` cannot be used")]
    Package {
        /// Which.
        package: String,
        /// Why.
        #[source]
        source: DebianError,
    },
    /// A name that no artifact may have.
    #[error("package `{package}` has a file name that cannot be used")]
    Name {
        /// Which.
        package: String,
        /// Why.
        #[source]
        source: Box<LockingError>,
    },
    /// The program was cut short while it looked into packages.
    #[error("looking into packages was cut short")]
    Interrupted,
}

impl Hint for DebianLockError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Obtain(error) => error.hints(),
            Self::Closure(error) => error.hints(),
            Self::Package { source, .. } => source.hints(),
            _ => Vec::new(),
        }
    }
}

/// The archives of one recipe, asked for once however many toolchains it has.
pub(super) struct Archives<'a> {
    recipe: &'a Recipe,
    old: Option<&'a Lock>,
    moves: &'a Moves,
    indexes: &'a dyn Indexes,
    /// The archives and what they have; filled at first use. The last ones are of packages that are no longer listed.
    suites: Option<Vec<(String, Index)>>,
    keep: Keep,
    /// Artifacts by id that were made in this run.
    made: BTreeMap<String, Artifact>,
    pub(super) notes: Vec<Note>,
}

impl<'a> Archives<'a> {
    pub(super) fn new(recipe: &'a Recipe, old: Option<&'a Lock>, moves: &'a Moves, indexes: &'a dyn Indexes) -> Self {
        let (suites, keep, made) = (None, Keep::new(), BTreeMap::new());
        Self { recipe, old, moves, indexes, suites, keep, made, notes: Vec::new() }
    }

    /// Chooses the packages of a toolchain and looks into those that the old lock does not have.
    ///
    /// Scripts without a verdict go to `unknown`, so that people see all of them at once.
    pub(super) fn lock(
        &mut self,
        toolchain: &ToolchainRecipe,
        unknown: &mut Vec<UnknownScript>,
    ) -> Result<Parts, DebianLockError> {
        let wants: Vec<LayerWants> = toolchain
            .layers
            .iter()
            .map(|layer| LayerWants { layer: layer.name.clone(), wants: layer.debian.clone() })
            .collect();
        if wants.iter().all(|layer| layer.wants.is_empty()) {
            return Ok(Parts::new());
        }
        if self.suites.is_none() {
            self.suites = Some(self.read_suites()?);
        }
        let suites: Vec<Suite<'_>> =
            self.suites.iter().flatten().map(|(archive, index)| Suite { archive, index }).collect();
        let chosen = closure(&suites, &wants, &self.recipe.debian.omit, &self.keep)?;
        let choices: Vec<Choice<'_>> = chosen.iter().flat_map(|(_, choices)| choices.iter().copied()).collect();
        let made = self.look_into(&choices, unknown)?;
        let mut parts = Parts::new();
        for (layer, choices) in &chosen {
            let artifacts = choices.iter().filter_map(|choice| made.get(&choice.package.path).cloned());
            parts.insert(layer.clone(), artifacts.collect());
        }
        self.made.extend(made);
        Ok(parts)
    }

    fn read_suites(&mut self) -> Result<Vec<(String, Index)>, DebianLockError> {
        let mut suites = Vec::new();
        for suite in &self.recipe.debian.suites {
            let (index, note) = self.read_suite(suite)?;
            self.notes.push(note);
            suites.push((suite.archive.clone(), index));
        }
        // Only this target's: other recipes have other archives.
        let target = self.recipe.target;
        let toolchains =
            self.old.into_iter().flat_map(|lock| lock.toolchains().iter().map(move |toolchain| (lock, toolchain)));
        let toolchains = toolchains.filter(|(_, toolchain)| toolchain.name.target == target);
        for artifact in toolchains.flat_map(|(lock, toolchain)| lock.artifacts_of(toolchain)) {
            let Source::Debian(source) = &artifact.source else { continue };
            let stays = match self.moves {
                Moves::All => false,
                Moves::One(name) => *name != source.package,
                Moves::None => true,
            };
            if !stays {
                continue;
            }
            let listed = suites.iter().any(|(_, index)| {
                index.versions(&source.package).iter().any(|package| package.version == source.version)
            });
            if !listed {
                // Archives list the newest versions alone; an older one that is still to be had can stay.
                match self.unlisted(source, artifact.pin) {
                    Ok(index) => suites.push((source.archive.clone(), index)),
                    Err(reason) => {
                        let package = format!("{} {}", source.package, source.version);
                        self.notes.push(Note::Moved { package, reason });
                        continue;
                    }
                }
            }
            self.keep.insert(source.package.clone(), source.version.clone());
        }
        Ok(suites)
    }

    fn read_suite(&self, suite: &DebianSuite) -> Result<(Index, Note), DebianLockError> {
        let name = format!("{} {}", suite.archive, suite.suite);
        let signed = self.indexes.release(suite)?;
        let outcome = match signed.signature {
            Signature::Verified { keyrings } => {
                let keyrings: Vec<String> = keyrings.iter().map(|path| path.display().to_string()).collect();
                format!("verified by {}", keyrings.join(", "))
            }
            Signature::NotVerified { reason } => format!("not verified: {reason}"),
        };
        let release =
            Release::read(&signed.text).map_err(|source| DebianLockError::Release { suite: name.clone(), source })?;
        // Otherwise a mirror could answer with a suite that is as well signed but another.
        if release.codename != suite.suite && release.suite != suite.suite {
            let reason = format!("its `InRelease` is of `{}`", release.codename);
            return Err(DebianLockError::Suite { suite: name, reason });
        }
        let architecture = self.recipe.platform.architecture();
        let path = ["xz", "gz"]
            .map(|ending| format!("{}/binary-{architecture}/Packages.{ending}", suite.component))
            .into_iter()
            .find(|path| release.indexes.contains_key(path));
        let Some((path, (size, sha256))) = path.and_then(|path| Some((path.clone(), *release.indexes.get(&path)?)))
        else {
            let reason = format!("it has no index of `{}` for {architecture}", suite.component);
            return Err(DebianLockError::Suite { suite: name, reason });
        };
        let bytes = self.indexes.index(suite, &path, Pin { size, sha256 })?;
        let failed = |source| DebianLockError::Index { suite: name.clone(), source };
        let plain = Compression::of_bytes(&bytes).reader(&*bytes).map_err(|source| failed(source.into()))?;
        let index = Index::read(BufReader::with_capacity(1 << 18, plain)).map_err(failed)?;
        Ok((index, Note::Signature { suite: name, outcome }))
    }

    /// Returns an index of one package that the archives no longer list, read from the package itself.
    fn unlisted(&self, source: &DebianSource, pin: Option<Pin>) -> Result<Index, String> {
        let pin = pin.ok_or_else(|| "it has no pin".to_owned())?;
        let bytes = self.indexes.package(&source.archive, &source.path, pin);
        let bytes = bytes.map_err(|_| "its archive no longer has it".to_owned())?;
        let control = unpack(&mut &bytes[..], &mut Nobody).map_err(|error| error.to_string())?;
        let mut package = index::read_stanza(&control.stanza).map_err(|error| error.to_string())?;
        (package.path, package.size, package.sha256) = (source.path.clone(), pin.size, Some(pin.sha256));
        let mut index = Index::default();
        index.add(package);
        Ok(index)
    }

    /// Makes artifacts by path: known ones of the old lock, and others by their scripts.
    fn look_into(
        &self,
        choices: &[Choice<'_>],
        unknown: &mut Vec<UnknownScript>,
    ) -> Result<BTreeMap<String, Artifact>, DebianLockError> {
        let mut made = BTreeMap::new();
        let mut strangers: Vec<Choice<'_>> = Vec::new();
        for choice in choices {
            let path = &choice.package.path;
            match self.made.get(path).cloned().or_else(|| self.known(choice)) {
                Some(artifact) => {
                    made.insert(path.clone(), artifact);
                }
                None => strangers.push(*choice),
            }
        }
        let mut results = Vec::new();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE)
                .map(|worker| {
                    let mine: Vec<Choice<'_>> = strangers.iter().skip(worker).step_by(AT_ONCE).copied().collect();
                    scope.spawn(move || mine.iter().map(|choice| self.examine(choice)).collect::<Vec<_>>())
                })
                .collect();
            for worker in workers {
                results.extend(worker.join().unwrap_or_else(|_| vec![Err(DebianLockError::Interrupted)]));
            }
        });
        for result in results {
            match result? {
                Ok((path, artifact)) => {
                    made.insert(path, artifact);
                }
                Err(mut scripts) => unknown.append(&mut scripts),
            }
        }
        Ok(made)
    }

    /// Returns the old lock's artifact for a choice, if the recipe still has all its verdicts.
    fn known(&self, choice: &Choice<'_>) -> Option<Artifact> {
        let package = choice.package;
        let mut artifact = self.old?.artifacts().find(|artifact| {
            let same = matches!(&artifact.source, Source::Debian(source) if source.path == package.path && source.archive == choice.archive);
            same && artifact.pin.is_some_and(|pin| Some(pin.sha256) == package.sha256)
        })?.clone();
        if let Source::Debian(source) = &mut artifact.source {
            for script in &mut source.scripts {
                script.verdict = verdicts::verdict(self.recipe, &source.package, &script.script, script.sha256)?;
            }
        }
        Some(artifact)
    }

    /// Fetches a package and judges its scripts.
    ///
    /// The inner result separates what people must decide from what failed.
    fn examine(&self, choice: &Choice<'_>) -> Result<Result<(String, Artifact), Vec<UnknownScript>>, DebianLockError> {
        let package = choice.package;
        let named = || format!("{} {}", package.name, package.version);
        let failed = |source| DebianLockError::Package { package: named(), source };
        let Some(sha256) = package.sha256 else {
            return Err(failed(DebianError::Format("its index has no digest of it".to_owned())));
        };
        let pin = Pin { size: package.size, sha256 };
        let bytes = self.indexes.package(choice.archive, &package.path, pin)?;
        let control = unpack(&mut &bytes[..], &mut Nobody).map_err(failed)?;
        let scripts = match verdicts::judge(self.recipe, &package.name, &package.version, &control.scripts) {
            Ok(scripts) => scripts,
            Err(unknown) => return Ok(Err(unknown)),
        };
        let bad_name = |source| DebianLockError::Name { package: named(), source: Box::new(source) };
        let file = package.path.rsplit('/').next().unwrap_or_default();
        let file: FileName = file.parse().map_err(|_| bad_name(LockingError::Name { text: file.to_owned() }))?;
        let artifact = Artifact {
            id: artifact_id(&file).map_err(bad_name)?,
            file,
            source: Source::Debian(DebianSource {
                archive: choice.archive.to_owned(),
                package: package.name.clone(),
                version: package.version.clone(),
                architecture: package.architecture.clone(),
                path: package.path.clone(),
                scripts,
            }),
            pin: Some(pin),
            licence: None,
            redistributable: true,
        };
        Ok(Ok((package.path.clone(), artifact)))
    }
}

/// Takes files and looks at none.
struct Nobody;

impl Sink for Nobody {
    fn take(&mut self, _entry: Entry<'_>) -> io::Result<()> {
        Ok(())
    }
}
