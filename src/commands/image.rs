//! `image`: assembles images and looks at them.
use super::Status;
use super::context::Context;
use super::toolchain::Which;
use crate::ui::Failure;
use clap::Args;
/// Images
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    #[command(flatten)]
    which: Which,
}
pub(super) fn run(args: ImageArgs, context: &mut Context) -> Result<Status, Failure> {
    let project = context.project()?;
    let name = args.which.name(&project)?;
    let store = context.store()?;
    let image = context.image(&project, &store, &name)?;
    context.printer.say(format!("{} {:?}", image.id, image.layers));
    Ok(Status::Success)
}
