//! `inside`: what the host runs in an image; not for people.

use std::path::PathBuf;

use clap::Args;

use super::Status;
use super::context::Context;
use crate::ops;
use crate::ops::inside::Carried;
use crate::ui::{Failure, Kind, Wire};

/// Carry out an order (what the host runs in an image)
#[derive(Debug, Args)]
pub(super) struct InsideArgs {
    /// The order
    order: PathBuf,
}

pub(super) fn run(args: InsideArgs, context: &mut Context) -> Result<Status, Failure> {
    match ops::inside::carry_out(&args.order, context.image_id(), context.tool_time()?, &Wire::new(&context.printer)) {
        Ok(Carried::Converted) => Ok(Status::Success),
        // The report tells why; the host reads it.
        Ok(Carried::Failed) => Ok(Status::Code(1)),
        Err(error) => Err(Failure::of(Kind::Environment, &error)),
    }
}
