//! The whole flow of a conversion on the host, and only that.
//!
//! plan -> image -> container -> result in place. What went before (words to plan) is decided in `plan::convert`; what
//! happens in the container is `pipeline`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::collect::{self, CollectError, Standing};
use super::dispatch::{self, DispatchError, Listener, Session};
use super::inside::InsideError;
use super::workplace::Workplace;
use crate::disk::{self, DiskError};
use crate::engine::{Access, Mount};
use crate::exchange::{self, Artifact, Outcome, Report};
use crate::hint::Hint;
use crate::image_path::ImagePathError;
use crate::plan::convert::ConversionPlan;

/// What a conversion left behind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Output {
    /// The folder.
    pub folder: PathBuf,
    /// Its results, the main one first.
    pub artifacts: Vec<Artifact>,
    /// The whole report.
    pub report: Report,
    /// The URLs of what was uploaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uploads: Vec<String>,
}

/// A conversion that failed.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// The result has no place.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The container came to no report.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// A folder cannot be made.
    #[error("failed to prepare the folder of the result")]
    Disk(#[from] DiskError),
    /// A place in the container has no name.
    #[error("failed to name a place inside the image")]
    Path(#[from] ImagePathError),
    /// The tools around this process cannot be used.
    #[error(transparent)]
    Inside(#[from] InsideError),
    /// The container reports a failure.
    #[error("the conversion failed")]
    Reported {
        /// Why.
        failure: Box<exchange::Failure>,
        /// The whole log on the host.
        log: Option<PathBuf>,
    },
}

impl Hint for ConvertError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Collect(error) => error.hints(),
            Self::Dispatch(error) => error.hints(),
            Self::Disk(DiskError::ReadOnly { .. } | DiskError::Denied { .. }) => {
                vec!["name a folder that you may write to: `--output-dir PATH`".to_owned()]
            }
            Self::Disk(error) => error.hints(),
            Self::Inside(error) => error.hints(),
            Self::Path(_) => Vec::new(),
            Self::Reported { failure, log } => {
                let log = log.iter().map(|log| format!("see the whole log: {}", log.display()));
                failure.hints.iter().cloned().chain(log).collect()
            }
        }
    }
}

/// Carries a plan out.
///
/// The container works in a folder beside the result's place, so that the result gets there by a rename. After a
/// failure only the log stays, beside the place where the result would be.
///
/// # Errors
/// The plan cannot be carried out, or the container reports a failure.
pub fn convert(plan: &ConversionPlan, session: &Session<'_>, listener: &dyn Listener) -> Result<Output, ConvertError> {
    let standing = standing(plan)?;
    let parent = plan.output.parent().unwrap_or(Path::new("."));
    let had_parent = disk::metadata(parent)?.is_some();
    disk::create_folder(parent)?;
    let result = in_folder(plan, session, listener, (parent, standing));
    if result.is_err() && !had_parent {
        // Only an empty folder goes.
        let _ = disk::remove_empty_folder(parent);
    }
    result
}

fn in_folder(
    plan: &ConversionPlan,
    session: &Session<'_>,
    listener: &dyn Listener,
    (parent, standing): (&Path, Standing),
) -> Result<Output, ConvertError> {
    let exchange = Workplace::in_folder(parent)?;
    let mut mounts = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        mounts.push(Mount { source: mount.source.clone(), target: mount.target.parse()?, access: Access::ReadOnly });
    }
    let report = dispatch::convert(session, &plan.order, mounts, exchange.path(), listener);
    let made = exchange.path().join(exchange::OUTPUT);
    match report {
        Ok(report) => settle(plan, standing, &made, report),
        Err(error) => {
            collect::keep_log(&made, &plan.output);
            Err(error.into())
        }
    }
}

/// Returns what the result of a plan may replace: nothing, where nobody named its place.
pub(super) fn standing(plan: &ConversionPlan) -> Result<Standing, CollectError> {
    let standing = collect::check_place(&plan.output)?;
    Ok(if plan.is_output_free { Standing::Nothing } else { standing })
}

/// Puts what an order left in the folder `made` where it belongs: the whole result, or the log of a failure.
pub(super) fn settle(
    plan: &ConversionPlan,
    standing: Standing,
    made: &Path,
    report: Report,
) -> Result<Output, ConvertError> {
    match &report.outcome {
        Outcome::Failure(failure) => {
            let log = failure.log.as_ref().and_then(|_| collect::keep_log(made, &plan.output));
            Err(ConvertError::Reported { failure: Box::new(failure.clone()), log })
        }
        Outcome::Success { artifacts } => {
            let folder = collect::collect(made, artifacts, &plan.output, standing)?;
            Ok(Output { folder, artifacts: artifacts.clone(), report, uploads: Vec::new() })
        }
    }
}
