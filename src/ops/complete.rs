//! A lock whose layers have no bytes yet is completed: their images are made, checked and measured.
//!
//! Owns the last step of `lock` and of `toolchain import`. A lock comes out whole or not at all. Must not write it.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::assemble::{AssembledImage, Converter, Effort};
use super::image::{self, ImageError};
use super::lock;
use super::ready::{self, ReadyError, Workshop};
use crate::disk::{self, DiskError};
use crate::hint::Hint;
use crate::invocation::tools::{self, Compiler, Program, Tools, ToolsError};
use crate::lock::{Lock, LockError};
use crate::name::ToolchainName;
use crate::progress::Progress;
use crate::units::ByteSize;

/// No list of tools is longer.
const TOOLS_LIMIT: ByteSize = ByteSize::new(1 << 20);

/// A lock that cannot be completed.
#[derive(Debug, Error)]
pub enum CompleteError {
    /// An image cannot be made.
    #[error(transparent)]
    Ready(#[from] ReadyError),
    /// An image cannot be measured.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The parts do not make a lock.
    #[error("the parts do not make a lock")]
    Lock(#[from] LockError),
    /// The list of tools in an image cannot be read.
    #[error("failed to read the tools of {name}")]
    Disk {
        /// Which toolchain.
        name: ToolchainName,
        /// Why.
        source: DiskError,
    },
    /// The list of tools in an image cannot be understood.
    #[error("failed to read the tools of {name}")]
    Tools {
        /// Which toolchain.
        name: ToolchainName,
        /// Why.
        source: ToolsError,
    },
    /// A tool is not in its image.
    #[error("the image of {name} has no {what} `{path}`")]
    NoTool {
        /// Which toolchain.
        name: ToolchainName,
        /// A program or a file.
        what: &'static str,
        /// Where it should be.
        path: String,
    },
}

impl Hint for CompleteError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Ready(error) => error.hints(),
            Self::Image(error) => error.hints(),
            Self::Lock(error) => error.hints(),
            Self::Disk { source, .. } => source.hints(),
            Self::Tools { source, .. } => source.hints(),
            Self::NoTool { .. } => vec![
                "a vendor's archive of another release or edition has other files: compare its list with the recipe's \
                 `strip` and `include`"
                    .to_owned(),
            ],
        }
    }
}

/// Returns `lock` with the bytes of all layers that could be made, but have none. Artifacts that are not in the store
/// are fetched. Toolchains that wait for a vendor's archive are left as they are.
///
/// # Errors
/// An artifact cannot be had, or the artifacts do not make an image with the tools that it should have.
pub fn complete(workshop: Workshop<'_>, lock: &Lock, progress: &dyn Progress) -> Result<Lock, CompleteError> {
    let Workshop { project, store, fetcher } = workshop;
    lock::measure(lock, |lock, name| {
        let project = project.with_lock(lock);
        let plan = ready::plan(&project, name)?;
        let workshop = Workshop { project: &project, store, fetcher };
        let made = ready::image(workshop, &plan, Converter::None, Effort::default(), progress)?;
        check_tools(&made)?;
        Ok(image::measure(&made, progress)?)
    })
}

/// Checks that the tools that an image says it has are there. An image that says nothing has none to check.
fn check_tools(image: &AssembledImage) -> Result<(), CompleteError> {
    let name = &image.toolchain;
    let unreadable = |source| CompleteError::Disk { name: name.clone(), source };
    let Some(path) = find(image, tools::PLACE).map_err(unreadable)? else { return Ok(()) };
    let text = disk::read(&path, TOOLS_LIMIT).map_err(unreadable)?;
    let tools = Tools::parse(&String::from_utf8_lossy(&text))
        .map_err(|source| CompleteError::Tools { name: name.clone(), source })?;
    let (Compiler::Driver(compiler) | Compiler::CompileTool(compiler)) = &tools.compiler;
    for Program { program, arguments, .. } in [&tools.model_optimizer, compiler] {
        let program = program.to_string_lossy();
        let files = arguments.iter().filter(|argument| argument.starts_with('/')).map(|path| ("file", path.as_str()));
        for (what, path) in std::iter::once(("program", program.as_ref())).chain(files) {
            if find(image, path).map_err(unreadable)?.is_none() {
                return Err(CompleteError::NoTool { name: name.clone(), what, path: path.to_owned() });
            }
        }
    }
    Ok(())
}

/// Returns where a path of an image is in the store: in the highest layer that has it.
fn find(image: &AssembledImage, path: &str) -> Result<Option<PathBuf>, DiskError> {
    let below = Path::new(path.trim_start_matches('/'));
    for layer in image.layers.iter().rev() {
        let place = layer.tree.join(below);
        if disk::metadata(&place)?.is_some() {
            return Ok(Some(place));
        }
    }
    Ok(None)
}
