//! `config`: what a configuration says, and what it may say.

use clap::{Args, Subcommand};

use super::Status;
use super::context::Context;
use super::convert::{gather, uploads};
use crate::config::explain::explain;
use crate::config::resolve::Resolution;
use crate::config::schema::schema;
use crate::name::Target;
use crate::ops::gather::Words;
use crate::ui::Failure;

/// Show what a configuration comes to, or what it may say
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Resolve(ResolveArgs),
    /// Print the JSON Schema of configurations, for editors
    Schema,
}

/// Print the configuration with everything decided, and the origin of every value
///
/// Takes the words that `convert` takes, reads the model, and prints JSON: `config` is what a conversion would use, and
/// can be given to --path (for the tar of an NN Archive, beside its members once it is unpacked); `notes` is what is worth
/// knowing; `origins` tells for each key who said it.
#[derive(Debug, Args)]
struct ResolveArgs {
    /// What the configuration is for: rvc2, rvc3, rvc4 or hailo
    target: Target,
    /// Pairs of configuration key and value; they win over the configuration file
    #[arg(value_name = "KEY VALUE", allow_negative_numbers = true)]
    overrides: Vec<String>,
    /// A configuration (YAML), an NN Archive, or a bare model (.onnx, .xml, .bin, .tflite)
    #[arg(long)]
    path: Option<String>,
}

pub(super) fn run(args: ConfigArgs, context: &mut Context) -> Result<Status, Failure> {
    match args.command {
        ConfigCommand::Resolve(args) => resolve(&args, context),
        ConfigCommand::Schema => {
            let schema = schema();
            context.printer.result(&schema, || pretty(&schema));
            Ok(Status::Success)
        }
    }
}

fn resolve(args: &ResolveArgs, context: &Context) -> Result<Status, Failure> {
    let words = Words { target: args.target, path: args.path.as_deref(), overrides: &args.overrides };
    let (working, remote) = (context.working_folder()?, context.remote());
    let gathered = gather(&words, &working, context, &remote)?;
    // What a conversion would refuse.
    let _uploads = uploads(&gathered, &working, context, &remote)?;
    let mut resolution = Resolution { config: gathered.shown(), ..gathered.resolution.clone() };
    if gathered.archive.as_ref().is_some_and(|archive| archive.is_unpacked()) {
        // The folder with its members goes away now; people know the members by their names.
        for (stage, written) in resolution.config.stages.iter_mut().zip(&gathered.configuration.stages) {
            stage.model = written.model.clone();
            stage.settings.rvc4.encodings = written.settings.rvc4.encodings.clone();
        }
    }
    let explanation = explain(&resolution, &gathered.configuration, &gathered.said, &args.overrides, &gathered.notes);
    context.printer.result(&explanation, || pretty(&explanation));
    Ok(Status::Success)
}

/// Returns JSON, which is what people get here too.
fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("\"{error}\""))
}
