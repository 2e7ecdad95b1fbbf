//! `completions`: words a shell may offer.

use clap::{Args, Command as CommandLine};
use clap_complete::Shell;

use super::context::Context;
use super::{Status, command_line};
use crate::ui::Failure;

/// What is typed first.
const NAME: &str = "modelconverter";

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
    clap_complete::generate(args.shell, &mut typed(), NAME, &mut script);
    context.printer.raw(&script);
    Ok(Status::Success)
}

/// Returns the command line without the commands that programs alone call.
fn typed() -> CommandLine {
    let whole = command_line();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    CommandLine::new(NAME).version(env!("CARGO_PKG_VERSION")).args(whole.get_arguments().cloned()).subcommands(commands)
}
