//! `shell`: a shell in an image.

use clap::Args;

use super::Status;
use super::context::Context;
use super::convert::{EngineName, RunArgs, interrupted};
use super::toolchain::Which;
use crate::ops;
use crate::ops::dispatch::{DispatchError, Session, SessionImage};
use crate::ui::{Failure, Kind};

/// Open a shell in the image of a toolchain
///
/// The working folder is seen as /work, and the shell starts there. The exit code is the shell's.
#[derive(Debug, Args)]
pub(super) struct ShellArgs {
    #[command(flatten)]
    which: Which,
    /// Run this instead of an interactive shell
    #[arg(long, short)]
    command: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn run(args: ShellArgs, context: &mut Context) -> Result<Status, Failure> {
    let project = context.project()?;
    let name = args.which.name(&project)?;
    let store = context.store()?;
    let image = context.image(&project, &store, &name)?;
    let engine = context.engine(args.run.engine.map(EngineName::choice), &store)?;
    let mut program = vec!["/bin/bash".to_owned()];
    if let Some(command) = args.command {
        program.extend(["-c".to_owned(), command]);
    }
    let session = Session {
        image: SessionImage::Assembled(&image),
        store: &store,
        engine: engine.as_ref(),
        limits: args.run.limits(),
        tool_time: context.tool_time()?,
    };
    let code = ops::dispatch::shell(&session, program, &context.working_folder()?, context.bars.as_ref()).map_err(
        |error| match &error {
            DispatchError::Interrupted(signal) => interrupted(*signal),
            error => Failure::of(Kind::Environment, error).with_last_lines(error.last_lines().iter().cloned()),
        },
    )?;
    Ok(Status::Code(code))
}
