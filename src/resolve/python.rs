//! The wheels for a recipe: per project the highest version that satisfies all who ask and has a usable wheel.
//!
//! [`select`] is called again and again with what is known so far; it answers with what it still needs to know, or with
//! the selection. Not taken: yanked files (unless kept or asked for by `==`), pre-releases (unless asked for), wheels
//! for other interpreters, source distributions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pep440_rs::Version;
use pep508_rs::ExtraName;
use thiserror::Error;

use super::{Keep, LayerWants, MOST_ROUNDS, some_of};
use crate::hint::Hint;
use crate::name::{FileName, LayerName};
use crate::python::metadata::{Markers, Metadata, MetadataError, Requirement};
use crate::python::name::{ProjectName, WheelName};
use crate::python::simple::IndexFile;
use crate::python::tags::Interpreter;

/// What has been learned from package indexes so far.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The files of each project that was asked for; an empty list for a project that does not exist.
    pub pages: BTreeMap<ProjectName, Vec<IndexFile>>,
    /// The metadata of wheels that were asked for.
    pub metadata: BTreeMap<FileName, Metadata>,
}

/// What is fixed for a whole selection.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The interpreter.
    pub interpreter: Interpreter,
    /// Its markers.
    pub markers: &'a Markers,
    /// Projects left out, with the reasons; `wheel/project` leaves out only what that one wheel asks for.
    pub omit: &'a BTreeMap<String, String>,
    /// Versions to keep.
    pub keep: &'a Keep,
}

/// How far a selection has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These pages and these wheels' metadata are needed next.
    Needs {
        /// Projects whose pages are needed.
        pages: BTreeSet<ProjectName>,
        /// Wheels whose metadata is needed.
        metadata: BTreeSet<FileName>,
    },
    /// What each layer gains, in the order of the layers, each sorted by project.
    Done(Vec<(LayerName, Vec<Wheel>)>),
}

/// A wheel that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// Its project.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// The file.
    pub file: IndexFile,
}

/// A recipe that cannot be satisfied.
#[derive(Debug, Error)]
pub enum SelectError {
    /// A requirement of the recipe that cannot be read.
    #[error("layer `{layer}` wants what cannot be read")]
    Requirement {
        /// The layer.
        layer: LayerName,
        /// Why.
        #[source]
        source: MetadataError,
    },
    /// A project that the index does not have.
    #[error("{asker} wants `{requirement}`, but the package index has no such project")]
    Unknown {
        /// Who asks.
        asker: String,
        /// For what.
        requirement: String,
    },
    /// No version that will do has a wheel that will do.
    #[error("no wheel of `{project}` will do: {demands}; there is {there_is}")]
    Unsatisfied {
        /// The project.
        project: ProjectName,
        /// Who asks for what.
        demands: String,
        /// Which versions have wheels that could be used, or why none has.
        there_is: String,
    },
    /// Choices went round in a circle.
    #[error("choosing versions of {projects} finds no end")]
    NoEnd {
        /// Which projects still change.
        projects: String,
    },
}

impl Hint for SelectError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unsatisfied { .. } => vec![
                "loosen the recipe's requirement, or add the project to `[python.omit]` with the reason".to_owned(),
            ],
            _ => Vec::new(),
        }
    }
}

/// Who asks for what, by project.
type Demands = BTreeMap<ProjectName, Vec<(String, Requirement)>>;

/// Chooses the wheels of all layers, lowest layer first, as far as what is known allows.
///
/// # Errors
/// Something asked for does not exist, or not in a version that all who ask will take and that has a usable wheel.
pub fn select(known: &Known, layers: &[LayerWants], terms: Terms<'_>) -> Result<Step, SelectError> {
    let mut demands = Demands::new();
    let mut unmet = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let mut round = Round {
            known,
            terms,
            demands: &demands,
            heard: Demands::new(),
            chosen: BTreeMap::new(),
            needs: Needs::default(),
        };
        let selection = round.select(layers)?;
        if !round.needs.pages.is_empty() || !round.needs.metadata.is_empty() {
            let Needs { pages, metadata } = round.needs;
            return Ok(Step::Needs { pages, metadata });
        }
        unmet = round.unmet();
        if unmet.is_empty() {
            return Ok(Step::Done(selection));
        }
        let heard = round.heard;
        if heard == demands {
            break;
        }
        demands = heard;
    }
    Err(SelectError::NoEnd { projects: some_of(&unmet) })
}

#[derive(Default)]
struct Needs {
    pages: BTreeSet<ProjectName>,
    metadata: BTreeSet<FileName>,
}

struct Round<'a, 'r> {
    known: &'a Known,
    terms: Terms<'a>,
    /// What the round before heard.
    demands: &'r Demands,
    heard: Demands,
    chosen: BTreeMap<ProjectName, Wheel>,
    needs: Needs,
}

impl Round<'_, '_> {
    fn select(&mut self, layers: &[LayerWants]) -> Result<Vec<(LayerName, Vec<Wheel>)>, SelectError> {
        let mut selection = Vec::new();
        // Which extras of a project have been followed already.
        let mut followed: BTreeSet<(ProjectName, ExtraName)> = BTreeSet::new();
        for LayerWants { layer, wants } in layers {
            let before: BTreeSet<ProjectName> = self.chosen.keys().cloned().collect();
            let mut queue: VecDeque<(String, Requirement)> = VecDeque::new();
            for want in wants {
                let requirement: Result<Requirement, _> = want.parse();
                let requirement =
                    requirement.map_err(|source| SelectError::Requirement { layer: layer.clone(), source })?;
                queue.push_back((format!("layer `{layer}`"), requirement));
            }
            while let Some((asker, requirement)) = queue.pop_front() {
                if self.terms.omit.contains_key(requirement.project.as_str()) {
                    continue;
                }
                let project = requirement.project.clone();
                let extras: Vec<ExtraName> = requirement.extras.clone();
                self.heard.entry(project.clone()).or_default().push((asker.clone(), requirement.clone()));
                let new = !self.chosen.contains_key(&project);
                if new {
                    let Some(wheel) = self.best(&asker, &requirement)? else { continue };
                    self.chosen.insert(project.clone(), wheel);
                }
                let extras: Vec<ExtraName> =
                    extras.into_iter().filter(|extra| followed.insert((project.clone(), extra.clone()))).collect();
                if !new && extras.is_empty() {
                    continue;
                }
                let Some(wheel) = self.chosen.get(&project) else { continue };
                let Some(metadata) = self.known.metadata.get(&wheel.file.name) else {
                    self.needs.metadata.insert(wheel.file.name.clone());
                    continue;
                };
                let asker = format!("`{project}` {}", wheel.version);
                let wanted = metadata
                    .requires
                    .iter()
                    .filter(|requirement| !self.terms.omit.contains_key(&format!("{project}/{}", requirement.project)));
                let applying = wanted.filter(|requirement| {
                    let plain = requirement.applies(self.terms.markers, &[]);
                    (new && plain) || (!plain && requirement.applies(self.terms.markers, &extras))
                });
                queue.extend(applying.map(|requirement| (asker.clone(), requirement.clone())));
            }
            let gained = self.chosen.iter().filter(|(project, _)| !before.contains(*project));
            selection.push((layer.clone(), gained.map(|(_, wheel)| wheel.clone()).collect()));
        }
        Ok(selection)
    }

    /// Returns the wheel to take, or nothing while the project's page is not known.
    fn best(&mut self, asker: &str, requirement: &Requirement) -> Result<Option<Wheel>, SelectError> {
        let project = &requirement.project;
        let Some(files) = self.known.pages.get(project) else {
            self.needs.pages.insert(project.clone());
            return Ok(None);
        };
        if files.is_empty() {
            let (asker, requirement) = (asker.to_owned(), requirement.text.clone());
            return Err(SelectError::Unknown { asker, requirement });
        }
        let mut demands: Vec<(&str, &Requirement)> = vec![(asker, requirement)];
        for (asker, demand) in self.demands.get(project).map_or(&[][..], Vec::as_slice) {
            if *demand != *requirement {
                demands.push((asker, demand));
            }
        }
        let usable: Vec<(Wheel, u32, (u64, String))> =
            files.iter().filter_map(|file| self.usable(project, file)).collect();
        let kept: Option<Version> = self.terms.keep.get(project.as_str()).and_then(|version| version.parse().ok());
        let fits = |wheel: &Wheel| {
            let kept = kept.as_ref() == Some(&wheel.version);
            let exact = demands.iter().any(|(_, demand)| names_exactly(demand, &wheel.version));
            demands.iter().all(|(_, demand)| demand.versions.contains(&wheel.version))
                && (kept || exact || wheel.file.yanked.is_none())
                && (kept || exact || !wheel.version.any_prerelease())
        };
        let best = usable.iter().filter(|(wheel, ..)| fits(wheel)).max_by_key(|(wheel, rank, build)| {
            let kept = kept.as_ref() == Some(&wheel.version);
            // Build tags decide last; the file name makes the order total.
            (kept, wheel.version.clone(), *rank, build.clone(), Reverse(wheel.file.name.clone()))
        });
        match best {
            Some((wheel, ..)) => Ok(Some(wheel.clone())),
            None => Err(self.unsatisfied(project, &demands, &usable, files.len())),
        }
    }

    fn usable(&self, project: &ProjectName, file: &IndexFile) -> Option<(Wheel, u32, (u64, String))> {
        let name: WheelName = file.name.as_str().parse().ok()?;
        let rank = self.terms.interpreter.rank(&name.tags)?;
        let takes = file.requires_python.as_deref().is_none_or(|text| self.terms.markers.takes(text));
        (takes && name.project == *project)
            .then(|| (Wheel { project: project.clone(), version: name.version, file: file.clone() }, rank, name.build))
    }

    fn unmet(&self) -> Vec<String> {
        let unmet = self.heard.iter().filter(|(project, demands)| {
            self.chosen
                .get(*project)
                .is_some_and(|wheel| demands.iter().any(|(_, demand)| !demand.versions.contains(&wheel.version)))
        });
        unmet.map(|(project, _)| project.to_string()).collect()
    }

    fn unsatisfied(
        &self,
        project: &ProjectName,
        demands: &[(&str, &Requirement)],
        usable: &[(Wheel, u32, (u64, String))],
        files: usize,
    ) -> SelectError {
        let demands: Vec<String> =
            demands.iter().map(|(asker, demand)| format!("{asker} wants `{}`", demand.text)).collect();
        let versions: BTreeSet<&Version> = usable.iter().map(|(wheel, ..)| &wheel.version).collect();
        let versions: Vec<String> = versions.into_iter().rev().map(ToString::to_string).collect();
        let there_is = if versions.is_empty() {
            let Interpreter { minor, glibc_minor } = self.terms.interpreter;
            format!("no wheel among {files} files for CPython 3.{minor} on Linux with glibc 2.{glibc_minor}")
        } else {
            some_of(&versions)
        };
        SelectError::Unsatisfied { project: project.clone(), demands: demands.join(", "), there_is }
    }
}

/// Returns whether a requirement asks for just this version.
fn names_exactly(requirement: &Requirement, version: &Version) -> bool {
    requirement
        .versions
        .iter()
        .any(|specifier| *specifier.operator() == pep440_rs::Operator::Equal && specifier.version() == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRES: &[(&str, &str)] = &[
        ("tool-1.0-py3-none-any.whl", "numpy<1.20\nlib[fast]>=1\ntensorflow\nold; python_version < '3'"),
        ("tool-2.0-py3-none-any.whl", "missing>1"),
        ("lib-1.0-py3-none-any.whl", "extra-thing; extra == 'fast'"),
        ("numpy-1.19.5-cp39-cp39-manylinux2010_x86_64.whl", ""),
        ("numpy-1.19.6-cp310-cp310-manylinux2010_x86_64.whl", ""),
        ("numpy-1.24.0-cp39-cp39-manylinux2010_x86_64.whl", ""),
        ("numpy-1.24.0-cp39-cp39-manylinux2014_x86_64.whl", ""),
        ("numpy-1.25.0rc1-cp39-cp39-manylinux2014_x86_64.whl", ""),
        ("extra_thing-1-2-py3-none-any.whl", ""),
        ("extra_thing-1-10-py3-none-any.whl", ""),
        ("needs_new-1-py3-none-any.whl", "numpy>=1.24"),
        ("only_source-1.tar.gz", ""),
    ];

    fn page(project: &ProjectName) -> Vec<IndexFile> {
        let files =
            REQUIRES.iter().filter(|(name, _)| name.split('-').next().unwrap().replace('_', "-") == project.as_str());
        files
            .map(|(name, _)| IndexFile {
                name: name.parse().unwrap(),
                url: format!("../{name}"),
                sha256: None,
                size: None,
                requires_python: None,
                yanked: name.starts_with("tool-2.0").then(String::new),
                has_metadata: true,
            })
            .collect()
    }

    fn resolve(layers: &[&[&str]], omit: &[&str], keep: &[(&str, &str)]) -> Result<Vec<String>, SelectError> {
        let layers: Vec<LayerWants> = layers
            .iter()
            .enumerate()
            .map(|(number, wants)| LayerWants {
                layer: format!("l{number}").parse().unwrap(),
                wants: wants.iter().map(|want| (*want).to_owned()).collect(),
            })
            .collect();
        let omit = omit.iter().map(|name| ((*name).to_owned(), "no".to_owned())).collect();
        let keep = keep.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
        let interpreter = Interpreter::new("3.9", "2.31").unwrap();
        let markers = Markers::new(interpreter).unwrap();
        let mut known = Known::default();
        loop {
            match select(&known, &layers, Terms { interpreter, markers: &markers, omit: &omit, keep: &keep })? {
                Step::Needs { pages, metadata } => {
                    for project in pages {
                        assert!(known.pages.insert(project.clone(), page(&project)).is_none());
                    }
                    for name in metadata {
                        let (_, requires) = REQUIRES.iter().find(|(file, _)| *file == name.as_str()).unwrap();
                        let lines: String = requires.lines().map(|line| format!("Requires-Dist: {line}\n")).collect();
                        let text = format!("Name: x\nVersion: 1\n{lines}");
                        assert!(known.metadata.insert(name, text.parse().unwrap()).is_none());
                    }
                }
                Step::Done(selection) => {
                    let line = |(_, wheels): &(LayerName, Vec<Wheel>)| {
                        wheels.iter().map(|wheel| wheel.file.name.to_string()).collect::<Vec<_>>().join(" ")
                    };
                    return Ok(selection.iter().map(line).collect());
                }
            }
        }
    }

    #[test]
    fn the_best_wheel_of_the_highest_version_is_taken() {
        assert_eq!(resolve(&[&["numpy"]], &[], &[]).unwrap(), ["numpy-1.24.0-cp39-cp39-manylinux2014_x86_64.whl"]);
        assert_eq!(
            resolve(&[&["numpy==1.25.0rc1"]], &[], &[]).unwrap(),
            ["numpy-1.25.0rc1-cp39-cp39-manylinux2014_x86_64.whl"]
        );
        assert_eq!(
            resolve(&[&["numpy"]], &[], &[("numpy", "1.19.5")]).unwrap(),
            ["numpy-1.19.5-cp39-cp39-manylinux2010_x86_64.whl"]
        );
        assert_eq!(resolve(&[&["extra-thing"]], &[], &[]).unwrap(), ["extra_thing-1-10-py3-none-any.whl"]);
    }

    #[test]
    fn dependencies_join_unless_omitted_or_owned_below() {
        assert_eq!(
            resolve(&[&["numpy"], &["tool"]], &["tensorflow"], &[]).unwrap(),
            [
                "numpy-1.19.5-cp39-cp39-manylinux2010_x86_64.whl",
                "extra_thing-1-10-py3-none-any.whl lib-1.0-py3-none-any.whl tool-1.0-py3-none-any.whl",
            ]
        );
    }

    #[test]
    fn what_one_wheel_asks_for_can_be_left_out_alone() {
        let selection = resolve(&[&["tool", "needs-new"]], &["tensorflow", "lib/extra-thing", "needs-new/numpy"], &[]);
        let all = "lib-1.0-py3-none-any.whl needs_new-1-py3-none-any.whl numpy-1.19.5-cp39-cp39-manylinux2010_x86_64.whl \
                   tool-1.0-py3-none-any.whl";
        assert_eq!(selection.unwrap(), [all]);
    }

    #[test]
    fn what_cannot_be_satisfied_is_named() {
        for (wants, parts) in [
            (&["tool"][..], &["`tool` 1.0 wants `tensorflow`", "no such project"][..]),
            (&["tool==2.0"], &["`tool` 2.0 wants `missing>1`"]),
            (&["lib>5"], &["layer `l0` wants `lib>5`", "there is 1.0"]),
            (&["only-source"], &["no wheel among 1 files for CPython 3.9"]),
            (&["lib[fast", "x"], &["layer `l0` wants what cannot be read"]),
        ] {
            let error = resolve(&[wants], &[], &[]).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
        }
        let error = resolve(&[&["tool", "needs-new"]], &["tensorflow"], &[]).unwrap_err().to_string();
        for part in ["no wheel of `numpy`", "`tool` 1.0 wants `numpy<1.20`", "`needs-new` 1 wants `numpy>=1.24`"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
