//! Images in the store: listed, shown, written out, compared, and tried for reproducibility.
//!
//! Must not make images; see `assemble`.

mod compare;
mod export;
mod facts;

use std::io;
use std::num::NonZero;
use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use super::assemble::{AssembleError, Converter, Effort, Reuse, assemble_with};
use super::tree::TreeError;
use crate::digest::{DiffId, Digest};
use crate::disk::DiskError;
use crate::hint::Hint;
use crate::image_path::ImagePathError;
use crate::name::LayerName;
use crate::oci::DocumentError;
use crate::plan::image::ImagePlan;
use crate::progress::Progress;
use crate::recipe::RecipeFiles;
use crate::store::{Store, StoreError};

pub use compare::{FileChange, ImageDifference, PackageChange, Side, compare};
pub use export::{ArchiveForm, Exported, LoadableImage, measure, write_archive, write_layout};
pub use facts::{ImageFacts, LayerFacts, ListedImage, Presence, facts, list};

/// Something that cannot be done with an image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The folder of a layer in the store is not the layer any more.
    #[error("layer `{layer}` in {} has been changed: expected {expected}, found {found}", path.display())]
    Changed {
        /// Which layer.
        layer: LayerName,
        /// Where it is.
        path: PathBuf,
        /// What it was.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// The folder of a layer changed while it was written.
    #[error("a layer was changed while it was written: expected {expected}, found {found}")]
    Streamed {
        /// What it was.
        expected: Digest,
        /// What was written.
        found: Digest,
    },
    /// The compressed form of a layer is not the one in the lock.
    #[error("the compressed form of layer `{layer}` is not the one in the lock: expected {expected}, found {found}")]
    Compressed {
        /// Which layer.
        layer: LayerName,
        /// What the lock says.
        expected: Digest,
        /// What was made.
        found: Digest,
    },
    /// Two assemblies gave different bytes.
    #[error("layer `{layer}` came out differently the second time: {first}, then {second}")]
    Unreproducible {
        /// Which layer.
        layer: LayerName,
        /// The digest of the first, of the form that differs.
        first: Digest,
        /// The digest of the second.
        second: Digest,
    },
    /// Something is where a folder was to be made.
    #[error("{} exists", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The image cannot be written to where it should go.
    #[error("the image cannot be written")]
    Write {
        /// Why.
        source: io::Error,
    },
    /// A file that should hold an image cannot be read.
    #[error("{} cannot be read as an image", path.display())]
    Read {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that should hold an image does not hold exactly one.
    #[error("{} holds {count} images, expected one", path.display())]
    Count {
        /// Which file or folder.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// A member of a layer has a name that no image can have.
    #[error(transparent)]
    Path(#[from] ImagePathError),
    /// A document of an image is broken.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The image cannot be assembled.
    #[error(transparent)]
    Assemble(#[from] Box<AssembleError>),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A folder in the store is no layer.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hint for ImageError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Changed { .. } | Self::Streamed { .. } => {
                vec!["run `modelconverter store verify`, then build the image again".to_owned()]
            }
            Self::Compressed { .. } | Self::Unreproducible { .. } => {
                vec!["please report it: the same lock must give the same bytes everywhere".to_owned()]
            }
            Self::Exists { .. } => vec!["name a folder that does not exist yet".to_owned()],
            Self::Assemble(error) => error.hints(),
            Self::Disk(error) => error.hints(),
            Self::Tree(error) => error.hints(),
            Self::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

/// A layer that came out the same twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reproduced {
    /// Its name.
    pub layer: LayerName,
    /// The digest of its tar stream, both times.
    pub diff_id: DiffId,
    /// The digest of its compressed form, both times.
    pub compressed: Digest,
}

/// Assembles and compresses a toolchain's image twice from its artifacts, on one thread and on several, using nothing
/// that was assembled before, and compares every layer.
///
/// # Errors
/// A layer comes out differently, or it cannot be assembled at all.
pub fn assemble_twice(
    plan: &ImagePlan,
    store: &Store,
    files: &dyn RecipeFiles,
    progress: &dyn Progress,
) -> Result<Vec<Reproduced>, ImageError> {
    let several = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN).saturating_add(1);
    let mut assemblies = [NonZero::<usize>::MIN, several].into_iter().map(|threads| {
        let effort = Effort { threads, reuse: Reuse::Nothing };
        let image = assemble_with(plan, store, files, Converter::None, effort, progress).map_err(Box::new)?;
        export::measure_on(&image, threads, progress)
    });
    let (Some(first), Some(second)) = (assemblies.next(), assemblies.next()) else { return Ok(Vec::new()) };
    let compared = std::iter::zip(&plan.layers, std::iter::zip(first?, second?)).map(|(layer, (first, second))| {
        let layer = layer.name.clone();
        for (first, second) in [(first.diff_id.0, second.diff_id.0), (first.compressed, second.compressed)] {
            if first != second {
                return Err(ImageError::Unreproducible { layer, first, second });
            }
        }
        Ok(Reproduced { layer, diff_id: first.diff_id, compressed: first.compressed })
    });
    compared.collect()
}
