//! `completions`: words a shell may offer.

use clap::Args;
use clap_complete::Shell;

use super::context::Context;
use super::{Status, command_line};
use crate::ui::Failure;

/// Print the completion script for a shell
///
/// For bash: `modelconverter completions bash > ~/.local/share/bash-completion/completions/modelconverter`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(args: CompletionsArgs, context: &mut Context) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line(), "modelconverter", &mut script);
    context.printer.raw(&script);
    Ok(Status::Success)
}
