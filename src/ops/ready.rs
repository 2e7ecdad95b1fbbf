//! A toolchain's name becomes an image that can be run: planned, its artifacts in the store, assembled.
//!
//! Owns the order of these three, which `image build`, `convert` and `shell` share. Artifacts are fetched only if a
//! layer has to be made from them.

use thiserror::Error;

use super::assemble::{self, AssembleError, AssembledImage, Converter, Effort};
use super::obtain::{self, ObtainError};
use crate::defaults;
use crate::fetch::{self, Fetcher};
use crate::hint::Hint;
use crate::lock::Source;
use crate::name::ToolchainName;
use crate::plan::image::{self, ImagePlan, PlanError, UnpinnedFile};
use crate::progress::Progress;
use crate::project::{Project, ProjectError, RecipeFolder};
use crate::store::Store;

/// What an image is made with.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// The lock and the recipes.
    pub project: &'a Project,
    /// Where artifacts and layers are.
    pub store: &'a Store,
    /// Where missing artifacts come from.
    pub fetcher: &'a Fetcher,
}

/// An image that could not be made.
#[derive(Debug, Error)]
pub enum ReadyError {
    /// The project cannot be used.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// Lock and recipe do not make an image.
    #[error("failed to plan the image of {name}")]
    Plan {
        /// Which toolchain.
        name: ToolchainName,
        /// Why.
        #[source]
        source: Box<PlanError>,
    },
    /// Artifacts are missing.
    #[error("failed to obtain the artifacts of {name}")]
    Obtain {
        /// Which toolchain.
        name: ToolchainName,
        /// Why.
        #[source]
        source: Box<ObtainError>,
    },
    /// The layers could not be made.
    #[error("failed to assemble the image of {name}")]
    Assemble {
        /// Which toolchain.
        name: ToolchainName,
        /// Why.
        #[source]
        source: Box<AssembleError>,
    },
}

impl Hint for ReadyError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Project(error) => error.hints(),
            Self::Plan { source, .. } => source.hints(),
            Self::Obtain { source, .. } => source.hints(),
            Self::Assemble { source, .. } => source.hints(),
        }
    }
}

/// Plans the image of a toolchain.
///
/// # Errors
/// Lock and recipe do not fit, or an artifact has no pin.
pub fn plan(project: &Project, name: &ToolchainName) -> Result<ImagePlan, ReadyError> {
    let recipe = project.recipe(name.target)?;
    let failed = |source| ReadyError::Plan { name: name.clone(), source: Box::new(source) };
    let digest = recipe.digest(&name.version)?.ok_or_else(|| PlanError::NoRecipe { wanted: name.clone() });
    let digest = digest.map_err(failed)?;
    image::plan(project.lock(), recipe.recipe(), digest, name).map_err(|error| match error {
        PlanError::Unpinned { toolchain, missing } => {
            let missing = missing.into_iter().map(|file| located(file, project)).collect();
            failed(PlanError::Unpinned { toolchain, missing })
        }
        error => failed(error),
    })
}

/// Adds to a missing file where it lies, if somebody placed it by hand, and where it can be downloaded.
fn located(mut missing: UnpinnedFile, project: &Project) -> UnpinnedFile {
    missing.placed = fetch::placed(&project.extra_packages(), &missing.file, &missing.also_known_as)
        .map(|path| project.typed(&path).to_owned());
    if let Source::Https { origin, path } = &missing.source
        && let Some(base) = defaults::mirrors().https.get(origin).and_then(|bases| bases.first())
    {
        missing.obtain = format!("download {base}/{path}");
    }
    missing
}

/// Returns whether all layers of a plan are unpacked in the store already.
///
/// # Errors
/// The store or a file of the recipe cannot be read.
pub fn is_assembled(project: &Project, store: &Store, plan: &ImagePlan) -> Result<bool, ReadyError> {
    let files = project.recipe(plan.toolchain.target)?;
    assemble::is_assembled(plan, store, files)
        .map_err(|source| ReadyError::Assemble { name: plan.toolchain.clone(), source: Box::new(source) })
}

/// Returns the image of a plan, with its layers unpacked in the store; `converter` becomes its last layer.
///
/// # Errors
/// An artifact cannot be had, or the layers are not what the lock promises.
pub fn image(
    workshop: Workshop<'_>,
    plan: &ImagePlan,
    converter: Converter<'_>,
    effort: Effort,
    progress: &dyn Progress,
) -> Result<AssembledImage, ReadyError> {
    let name = &plan.toolchain;
    let Workshop { project, store, fetcher } = workshop;
    let files = project.recipe(name.target)?;
    let assemble = || assemble::assemble_with(plan, store, files, converter, effort, progress);
    let failed = |source| ReadyError::Assemble { name: name.clone(), source: Box::new(source) };
    match assemble() {
        Err(AssembleError::Missing { .. }) => {
            let toolchain = project.lock().toolchain(name).map_err(ProjectError::Unknown)?;
            let names = obtain::other_names(project.recipes().map(RecipeFolder::recipe));
            let wanted = obtain::wanted(project.lock(), toolchain, &names);
            obtain::obtain(&wanted, store, fetcher, progress)
                .map_err(|source| ReadyError::Obtain { name: name.clone(), source: Box::new(source) })?;
            assemble().map_err(failed)
        }
        result => result.map_err(failed),
    }
}
