//! Everything that can go wrong in a conversion, and how it is told in the report.

use std::error::Error;

use thiserror::Error as ThisError;

use super::compile::CompileError;
use super::journal::ToolError;
use super::links::LinkError;
use super::load::LoadError;
use super::operate::OperateError;
use super::pack::PackError;
use super::proof::{Compared, ProofError};
use crate::config::StageName;
use crate::disk::DiskError;
use crate::exchange::{Failure, FailureKind, LOG, ToolEnd, ToolFailure};
use crate::hint::Hint;
use crate::name::{Target, ToolchainName};
use crate::process::ProcessError;
use crate::surgery::SurgeryError;
use crate::translation::TranslationError;

/// A conversion that did not succeed.
#[derive(Debug, ThisError)]
pub enum PipelineError {
    /// The order is for another image.
    #[error("this image holds the tools {image}, but the order is for {order}")]
    OtherImage {
        /// What the image holds.
        image: ToolchainName,
        /// What was ordered.
        order: ToolchainName,
    },
    /// The target has no pipeline.
    #[error("this program cannot convert to {target} yet")]
    Target {
        /// The target.
        target: Target,
    },
    /// The output folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Model or configuration.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Rewriting.
    #[error(transparent)]
    Operate(#[from] OperateError),
    /// Compiling.
    #[error("the model `{model}` cannot be compiled")]
    Compile {
        /// The model's file name.
        model: String,
        /// Why not.
        #[source]
        source: CompileError,
    },
    /// Proving.
    #[error("the converted model `{model}` is not proven to compute what the original does")]
    Proof {
        /// The model's file name.
        model: String,
        /// Why not.
        #[source]
        source: ProofError,
    },
    /// Reading calibration data.
    #[error("the calibration data of the model `{model}` cannot be used")]
    Calibration {
        /// The model's file name.
        model: String,
        /// Why not.
        #[source]
        source: ProofError,
    },
    /// Making calibration data for other stages.
    #[error("stage `{stage}` cannot make the calibration data of others")]
    Link {
        /// The stage.
        stage: StageName,
        /// Why not.
        #[source]
        source: LinkError,
    },
    /// Packing.
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl Hint for PipelineError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::OtherImage { order, .. } => vec![format!("run the image of {order}, or order what this image holds")],
            Self::Target { .. } => Vec::new(),
            Self::Disk(error) => error.hints(),
            Self::Load(error) => error.hints(),
            Self::Operate(error) => error.hints(),
            Self::Compile { source, .. } => source.hints(),
            Self::Proof { source, .. } | Self::Calibration { source, .. } => source.hints(),
            Self::Link { source, .. } => source.hints(),
            Self::Pack(error) => error.hints(),
        }
    }
}

impl PipelineError {
    /// Returns how the error is told in the report.
    pub fn told(&self) -> Failure {
        let mut messages = Vec::new();
        let mut next: Option<&dyn Error> = Some(self);
        while let Some(error) = next {
            messages.push(error.to_string());
            next = error.source();
        }
        let tool = match self {
            Self::Compile { source, .. } => source.tool().map(told_tool),
            Self::Proof { source: ProofError::Tool(error) | ProofError::Crash { source: error, .. }, .. } => {
                Some(told_tool(error))
            }
            Self::Link { source: LinkError::Tool(error), .. } => Some(told_tool(error)),
            _ => None,
        };
        // Before a tool is started the log has nothing that the messages do not say.
        let log = (!matches!(self, Self::Operate(OperateError::Unsupported(_)))).then(|| LOG.to_owned());
        Failure { kind: self.kind(), messages, hints: self.hints(), log, tool }
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::OtherImage { .. } | Self::Disk(_) | Self::Load(LoadError::Disk(_)) => FailureKind::Environment,
            Self::Operate(OperateError::Disk(_)) | Self::Pack(PackError::Disk(_)) => FailureKind::Environment,
            Self::Target { .. } => FailureKind::Usage,
            Self::Load(_) => FailureKind::Project,
            Self::Operate(OperateError::Surgery(error)) => match **error {
                SurgeryError::Pass { .. } => FailureKind::Project,
                SurgeryError::Patch { .. } | SurgeryError::NoFixedPoint { .. } => FailureKind::Internal,
            },
            Self::Operate(OperateError::Translation(error)) => match **error {
                TranslationError::Result(_) => FailureKind::Internal,
                _ => FailureKind::Project,
            },
            Self::Pack(_) => FailureKind::Internal,
            Self::Operate(_) => FailureKind::Project,
            Self::Compile { source, .. } => kind_of_compile(source),
            Self::Proof { source, .. } | Self::Calibration { source, .. } => kind_of_proof(source),
            Self::Link { source, .. } if source.is_about_the_machine() => FailureKind::Environment,
            Self::Link { .. } => FailureKind::Project,
        }
    }
}

const fn kind_of_compile(error: &CompileError) -> FailureKind {
    match error {
        CompileError::Argument(_)
        | CompileError::FrontEnd(_)
        | CompileError::Unsupported { .. }
        | CompileError::Refused { .. } => FailureKind::Project,
        CompileError::Neither { importer, .. } => kind_of_compile(importer),
        CompileError::Disk(_)
        | CompileError::Tool(_)
        | CompileError::Killed { .. }
        | CompileError::Signal { .. }
        | CompileError::Language { .. }
        | CompileError::NoIr { .. }
        | CompileError::Result(_) => FailureKind::Environment,
    }
}

/// A wrong rewriting is our defect, a wrong import the vendor's; a model that does not run, one that its quantization is
/// everything to, and a broken sample are the user's.
const fn kind_of_proof(error: &ProofError) -> FailureKind {
    match error {
        ProofError::Sample(error) if error.is_about_the_machine() => FailureKind::Environment,
        ProofError::Sample(_) | ProofError::Original { .. } | ProofError::Unrounded { .. } => FailureKind::Project,
        ProofError::Disk(_)
        | ProofError::Tool(_)
        | ProofError::Crash { .. }
        | ProofError::Language { .. }
        | ProofError::Shape { network: Compared::Imported, .. }
        | ProofError::Missing { network: Compared::Imported, .. }
        | ProofError::Different { network: Compared::Imported, .. } => FailureKind::Environment,
        ProofError::Cut(_)
        | ProofError::Rewritten { .. }
        | ProofError::Shape { .. }
        | ProofError::Missing { .. }
        | ProofError::Different { .. } => FailureKind::Internal,
    }
}

fn told_tool(error: &ToolError) -> ToolFailure {
    let end = match &error.failure {
        ProcessError::Failed { code, .. } => ToolEnd::Code(*code),
        ProcessError::Signal { signal, .. } | ProcessError::Interrupted { signal, .. } => ToolEnd::Signal(*signal),
        ProcessError::Killed { .. } => ToolEnd::Signal(signal_hook::consts::SIGKILL),
        ProcessError::TimeLimit { limit, .. } => {
            ToolEnd::TimedOut(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
        }
        ProcessError::Start { .. } | ProcessError::Lost { .. } => ToolEnd::NotStarted,
    };
    ToolFailure { command: error.command.clone(), end, last_lines: error.failure.last_lines().to_vec() }
}
