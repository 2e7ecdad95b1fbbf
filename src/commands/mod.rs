//! The command tree and its dispatch.
//!
//! One command, one file: an `Args` struct whose documentation is the help text, and `run`, which settles the words into
//! a request and makes one call into `ops`. Nothing below this module sees words, the terminal or the environment.

mod archive;
mod calibration;
mod completions;
mod config;
mod context;
mod convert;
mod dotenv;
mod exit;
mod image;
mod import;
mod inside;
mod lock;
mod shell;
mod store;
mod toolchain;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::ui::{Colours, Failure, Form, Kind, Printer, Verbosity};

use context::Context;
use watch::Watch;

/// Converts neural networks for Luxonis cameras with pinned, reproducible vendor toolchains.
///
/// A lock decides the bytes, the bytes decide the image, the image and the order decide the result.
#[derive(Debug, Parser)]
#[command(name = "modelconverter", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 success, 1 project or model wrong, 2 usage, 3 machine, network or vendor tool failed, \
    70 internal, 130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command knows.
#[derive(Debug, Args)]
struct Global {
    /// Write the result as one JSON document on standard output
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Say nothing but errors and the result
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    quiet: bool,
    /// Also say what the vendor tools say
    #[arg(long, short, global = true, help_heading = "Global options")]
    verbose: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", help_heading = "Global options")]
    color: Colour,
    /// Use no network: everything must be in the store already
    #[arg(long, global = true, help_heading = "Global options")]
    offline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`
    Auto,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Convert(convert::ConvertArgs),
    Archive(archive::ArchiveArgs),
    Shell(shell::ShellArgs),
    Image(image::ImageArgs),
    Toolchain(toolchain::ToolchainArgs),
    Lock(lock::LockArgs),
    Config(config::ConfigArgs),
    Calibration(calibration::CalibrationArgs),
    Store(store::StoreArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Inside(inside::InsideArgs),
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// All is well.
    Success,
    /// The question was answered with no (`lock --check`, `toolchain verify`), or a program in the image ended so.
    Code(u8),
}

/// Parses the words, runs the command and returns the exit code.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().map(with_zero).collect();
    exit::guarded(|| carry_out(&words))
}

fn carry_out(words: &[OsString]) -> ExitCode {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results, everything else is a usage error; clap knows which stream.
            if error.use_stderr() && words.iter().any(|word| word == "--json") {
                let text = error.render().to_string();
                let message = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
                let failure = Failure::new(Kind::Usage, message);
                let printer = Printer::new(Verbosity::Quiet, Form::Json, Colours::Unwanted);
                printer.result(&serde_json::json!({ "error": failure }), String::new);
            }
            if error.use_stderr() {
                let _ = error.print();
                return exit::code(Kind::Usage);
            }
            let printer = Printer::new(Verbosity::Normal, Form::Text, Colours::Unwanted);
            printer.wrote(error.print().and_then(|()| std::io::stdout().flush()));
            return ended(&printer, ExitCode::SUCCESS);
        }
    };
    let mut context = Context::new(&cli.global);
    context.begin_log();
    // In an image the pipeline listens itself, and its report tells.
    let is_inside = matches!(cli.command, Command::Inside(_)) || context.inside().is_some();
    let watch = (!is_inside).then(|| Watch::begin(context.printer.clone(), context.bars.clone()));
    let result = dispatch(cli.command, &mut context);
    watch.iter().for_each(Watch::settle);
    match result {
        Ok(Status::Success) => ended(&context.printer, ExitCode::SUCCESS),
        Ok(Status::Code(code)) => ended(&context.printer, ExitCode::from(code)),
        Err(failure) => {
            context.printer.failure(&failure);
            exit::code(failure.kind())
        }
    }
}

/// Returns the exit code of a command that did not fail: another one if its result reached nobody.
fn ended(printer: &Printer, code: ExitCode) -> ExitCode {
    let Some(failure) = printer.lost() else { return code };
    printer.failure(&failure);
    exit::code(failure.kind())
}

/// Returns `-.5` as `-0.5`, which is known for a number and not for options.
fn with_zero(word: OsString) -> OsString {
    let rest = word.to_str().and_then(|word| word.strip_prefix("-."));
    match rest.filter(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit())) {
        Some(rest) => format!("-0.{rest}").into(),
        None => word,
    }
}

fn dispatch(command: Command, context: &mut Context) -> Result<Status, Failure> {
    match command {
        Command::Convert(args) => convert::run(args, context),
        Command::Archive(args) => archive::run(args, context),
        Command::Shell(args) => shell::run(args, context),
        Command::Image(args) => image::run(args, context),
        Command::Toolchain(args) => toolchain::run(args, context),
        Command::Lock(args) => lock::run(args, context),
        Command::Config(args) => config::run(args, context),
        Command::Calibration(args) => calibration::run(args, context),
        Command::Store(args) => store::run(args, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Inside(args) => inside::run(args, context),
    }
}

fn command_line() -> clap::Command {
    Cli::command()
}

impl Global {
    fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }

    fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }

    fn colours(&self) -> Colours {
        if self.color == Colour::Never { Colours::Unwanted } else { Colours::Wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_well_formed() {
        command_line().debug_assert();
    }

    #[test]
    fn numbers_without_a_zero_are_no_options() {
        for (word, taken) in [("-.5", "-0.5"), ("-.5e3", "-0.5e3"), ("-5", "-5"), ("-.", "-."), ("-.x", "-.x")] {
            assert_eq!(with_zero(word.into()), taken);
        }
        let words = ["modelconverter", "config", "resolve", "rvc2", "mean_values", "-.5"];
        assert!(Cli::try_parse_from(words.map(|word| with_zero(word.into()))).is_ok());
    }
}
