//! Inside the container: an order becomes a report.
//!
//! Owns the sequence of stages; each makes a new value and nothing is changed on the way: `Order` to `LoadedModel` to
//! `ResolvedConfig` to `OperatedModel` to `CompiledModel` to `NnArchive` to `Report`. Needs nothing of the host but the
//! exchange folder, and never the network.

pub mod capacity;
pub mod compile;
pub mod journal;
pub mod superblob;

use std::path::PathBuf;

use crate::invocation::tools::Tools;
use crate::process::Bounds;
use crate::progress::Progress;

/// Where and with what a conversion is done.
pub struct Workshop<'run> {
    /// The tools of the image.
    pub tools: Tools,
    /// The folder for results.
    pub output: PathBuf,
    /// A folder for what nobody keeps.
    pub scratch: PathBuf,
    /// What may end a tool before it ends by itself.
    pub bounds: Bounds,
    /// Who listens to the progress.
    pub progress: &'run dyn Progress,
    /// Who listens to the log.
    pub log: &'run (dyn Fn(&str) + Sync),
}
