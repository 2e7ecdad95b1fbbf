//! Wheels of a recipe become artifacts.

use thiserror::Error;

use super::indexes::{Indexes, ObtainError};
use super::{LockingError, Moves, Parts, artifact_id};
use crate::hint::Hint;
use crate::lock::{Artifact, Lock, Pin, Source};
use crate::python::metadata::{Markers, Metadata, MetadataError};
use crate::python::tags::{Interpreter, InterpreterError};
use crate::recipe::{Recipe, ToolchainRecipe};
use crate::resolve::python::{Known, SelectError, Step, Terms, Wheel, select};
use crate::resolve::{Keep, LayerWants};

/// The licence of a wheel that says no more than that it is proprietary.
const PROPRIETARY: &str = "LicenseRef-Proprietary";

/// Wheels that cannot be locked.
#[derive(Debug, Error)]
pub enum PythonLockError {
    /// The recipe's interpreter cannot be read.
    #[error("interpreter of the recipe cannot be used")]
    Interpreter(#[from] InterpreterError),
    /// Its markers cannot be made.
    #[error("markers of the interpreter cannot be made")]
    Markers(#[source] MetadataError),
    /// The wheels do not fit together.
    #[error("wheels cannot be chosen")]
    Select(#[from] SelectError),
    /// A page or a wheel cannot be had.
    #[error("a page or a wheel cannot be had")]
    Obtain(#[from] ObtainError),
    /// A name that no artifact may have.
    #[error("a wheel has a file name that cannot be used")]
    Name(#[source] Box<LockingError>),
}

impl Hint for PythonLockError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Select(error) => error.hints(),
            Self::Obtain(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

/// Chooses the wheels of a toolchain.
pub(super) fn lock(
    recipe: &Recipe,
    toolchain: &ToolchainRecipe,
    old: Option<&Lock>,
    moves: &Moves,
    indexes: &dyn Indexes,
) -> Result<Parts, PythonLockError> {
    let wants =
        |layer: &crate::recipe::LayerRecipe| LayerWants { layer: layer.name.clone(), wants: layer.pypi.clone() };
    let wants: Vec<LayerWants> = toolchain.layers.iter().map(wants).collect();
    if wants.iter().all(|layer| layer.wants.is_empty()) {
        return Ok(Parts::new());
    }
    let interpreter = Interpreter::new(&recipe.python.version, &recipe.python.glibc)?;
    let markers = Markers::new(interpreter).map_err(PythonLockError::Markers)?;
    let name = crate::name::ToolchainName { target: recipe.target, version: toolchain.version.clone() };
    let before = old.and_then(|lock| Some(lock.artifacts_of(lock.toolchain(&name).ok()?)));
    let mut keep = Keep::new();
    for artifact in before.into_iter().flatten() {
        if let Source::Pypi { project, version } = &artifact.source
            && (*moves == Moves::None || matches!(moves, Moves::One(name) if name != project))
        {
            keep.insert(project.clone(), version.clone());
        }
    }
    let terms = Terms { interpreter, markers: &markers, omit: &recipe.python.omit, keep: &keep };
    let mut known = Known::default();
    loop {
        match select(&known, &wants, terms)? {
            Step::Needs { pages, metadata } => {
                for project in pages {
                    let files = indexes.files(&project)?;
                    known.pages.insert(project, files);
                }
                for name in metadata {
                    let page = known
                        .pages
                        .iter()
                        .find_map(|(project, files)| Some((project, files.iter().find(|file| file.name == name)?)));
                    if let Some((project, file)) = page {
                        let metadata = indexes.metadata(project, file)?;
                        known.metadata.insert(name, metadata);
                    }
                }
            }
            Step::Done(selection) => {
                let mut parts = Parts::new();
                for (layer, wheels) in selection {
                    let artifacts = wheels.iter().map(|wheel| artifact(wheel, &known, recipe));
                    parts.insert(layer, artifacts.collect::<Result<_, _>>()?);
                }
                return Ok(parts);
            }
        }
    }
}

fn artifact(wheel: &Wheel, known: &Known, recipe: &Recipe) -> Result<Artifact, PythonLockError> {
    let file = &wheel.file;
    let pin = match (file.size, file.sha256) {
        (Some(size), Some(sha256)) => Pin { size, sha256 },
        _ => return Err(ObtainError::NoPin { file: file.name.to_string() }.into()),
    };
    let terms = terms(wheel, known.metadata.get(&file.name), recipe);
    Ok(Artifact {
        id: artifact_id(&file.name).map_err(|error| PythonLockError::Name(Box::new(error)))?,
        file: file.name.clone(),
        source: Source::Pypi { project: wheel.project.to_string(), version: wheel.version.to_string() },
        pin: Some(pin),
        licence: terms.licence,
        redistributable: terms.redistributable,
    })
}

/// What may be done with a wheel.
struct WheelTerms {
    licence: Option<String>,
    redistributable: bool,
}

/// Returns what the recipe says about a wheel's licence, else what the wheel says.
fn terms(wheel: &Wheel, metadata: Option<&Metadata>, recipe: &Recipe) -> WheelTerms {
    let licences = &recipe.python.licences;
    let known = licences
        .get(&format!("{}=={}", wheel.project, wheel.version))
        .or_else(|| licences.get(&wheel.project.to_string()));
    match (known, metadata) {
        (Some(known), _) => WheelTerms { licence: Some(known.licence.clone()), redistributable: known.redistributable },
        (None, Some(metadata)) if metadata.is_proprietary => {
            WheelTerms { licence: Some(PROPRIETARY.to_owned()), redistributable: false }
        }
        (None, metadata) => {
            WheelTerms { licence: metadata.and_then(|metadata| metadata.licence.clone()), redistributable: true }
        }
    }
}
