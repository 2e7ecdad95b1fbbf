//! `store`: looking after the content store.

use clap::{Args, Subcommand};

use super::Status;
use super::context::Context;
use crate::ops;
use crate::project::Project;
use crate::remote;
use crate::store::Kept;
use crate::ui::{Failure, Kind};

/// Look after the content store
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Show where the store is and how much is in it
    Info,
    /// Remove what the lock does not name
    ///
    /// The lock is that of the project around the working folder, else the built-in one. What a running process relies
    /// on stays.
    Gc {
        /// Also remove what was downloaded from buckets and web servers
        #[arg(long)]
        downloads: bool,
    },
    /// Read everything again and remove what is broken
    Verify,
}

pub(super) fn run(args: StoreArgs, context: &mut Context) -> Result<Status, Failure> {
    let failed = |error| Failure::of(Kind::Environment, &error);
    let store = context.store()?;
    match args.command {
        StoreCommand::Info => {
            let usage = ops::store::info(&store).map_err(failed)?;
            let value = serde_json::json!({ "root": store.root(), "size": usage.size(), "kinds": usage.kinds });
            context.printer.result(&value, || format!("{}\n{usage}", store.root().display()));
        }
        StoreCommand::Gc { downloads } => {
            if let Some(folder) = context.downloads().filter(|_| downloads) {
                let cleared = remote::clear(&folder).map_err(|error| Failure::of(Kind::Environment, &error))?;
                context.printer.say(cleared.map_or_else(
                    || "downloads stay: another process may be using them".to_owned(),
                    |size| format!("removed {size} of downloads"),
                ));
            }
            let project = context.project()?;
            let collected = ops::store::gc(&store, &[project.lock()], kept(&project)).map_err(failed)?;
            context.printer.result(&collected, || format!("removed\n{collected}"));
        }
        StoreCommand::Verify => {
            let judge = ops::assemble::judge;
            let verified = ops::store::verify(&store, &judge, context.progress()).map_err(failed)?;
            context.printer.result(&verified, || verified.to_string());
            if !verified.broken.is_empty() {
                return Ok(Status::Code(1));
            }
        }
    }
    Ok(Status::Success)
}

/// Returns what the images of the lock need beyond what it names. An image that cannot be planned needs nothing.
fn kept(project: &Project) -> Kept {
    let mut kept = Kept::default();
    for toolchain in project.lock().toolchains() {
        let plan = ops::ready::plan(project, &toolchain.name).ok();
        let recipe = project.recipe(toolchain.name.target).ok();
        let more = plan.zip(recipe).and_then(|(plan, recipe)| ops::assemble::kept(&plan, recipe).ok());
        kept = more.into_iter().fold(kept, Kept::and);
    }
    kept
}
