//! `toolchain`: what is pinned, and the bytes behind the pins.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Status;
use super::context::Context;
use super::import;
use crate::lock::{Artifact, Toolchain};
use crate::name::{ArtifactId, FileName, Target, ToolchainName, ToolchainVersion};
use crate::ops;
use crate::project::{Project, RecipeFolder};
use crate::ui::{Failure, Kind};
use crate::units::ByteSize;

/// Look at pinned toolchains and bring their artifacts into the store
#[derive(Debug, Args)]
pub(super) struct ToolchainArgs {
    #[command(subcommand)]
    command: ToolchainCommand,
}

#[derive(Debug, Subcommand)]
enum ToolchainCommand {
    /// List the toolchains of the lock
    List,
    /// Show the layers and artifacts of a toolchain
    Show(Which),
    /// Download the artifacts of a toolchain into the store
    Fetch(Which),
    /// Check that every artifact of a toolchain is in the store and intact
    Verify(Which),
    /// Take a vendor's archive that you have into the store, and pin it in the lock if it was not
    Import {
        /// The archive, under the vendor's name for it
        file: PathBuf,
    },
}

/// Which toolchain.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The target: rvc2, rvc3, rvc4 or hailo
    pub(super) target: Target,
    /// The version of the vendor's tools; the default version of the target where none is given
    #[arg(long, alias = "tool_version", value_name = "VERSION")]
    pub(super) tool_version: Option<ToolchainVersion>,
}

pub(super) fn run(args: ToolchainArgs, context: &mut Context) -> Result<Status, Failure> {
    match args.command {
        ToolchainCommand::List => list(context),
        ToolchainCommand::Show(which) => show(&which, context),
        ToolchainCommand::Fetch(which) => fetch(&which, context),
        ToolchainCommand::Verify(which) => verify(&which, context),
        ToolchainCommand::Import { file } => import::run(&file, context),
    }
}

impl Which {
    /// Returns the name of the toolchain in the project's lock.
    pub(super) fn name(&self, project: &Project) -> Result<ToolchainName, Failure> {
        project.toolchain(self.target, self.tool_version.as_ref()).map_err(|error| Failure::of(Kind::Project, &error))
    }
}

fn toolchain<'a>(project: &'a Project, name: &ToolchainName) -> Result<&'a Toolchain, Failure> {
    project
        .lock()
        .toolchain(name)
        .map_err(|unknown| Failure::of(Kind::Project, &crate::project::ProjectError::Unknown(unknown)))
}

/// One line of `toolchain list`.
#[derive(Serialize)]
struct Listed {
    target: Target,
    version: ToolchainVersion,
    default: bool,
    size: ByteSize,
    missing: Vec<FileName>,
    state: &'static str,
}

fn list(context: &Context) -> Result<Status, Failure> {
    let project = context.project()?;
    let store = context.store()?;
    let mut all = Vec::new();
    for toolchain in project.lock().toolchains() {
        let name = &toolchain.name;
        let artifacts: Vec<&Artifact> = project.lock().artifacts_of(toolchain).collect();
        let missing = artifacts.iter().filter(|artifact| artifact.pin.is_none());
        let missing: Vec<FileName> = missing.map(|artifact| artifact.file.clone()).collect();
        let here =
            |artifact: &&Artifact| artifact.pin.is_some_and(|pin| matches!(store.blob(&pin.sha256), Ok(Some(_))));
        let state = if !missing.is_empty() {
            "needs import"
        } else if artifacts.iter().all(here) {
            "in the store"
        } else {
            "to be fetched"
        };
        let default = project.recipe(name.target).is_ok_and(|recipe| recipe.recipe().default_version == name.version);
        let size = artifacts.iter().filter_map(|artifact| artifact.pin).map(|pin| pin.size).sum();
        all.push(Listed { target: name.target, version: name.version.clone(), default, size, missing, state });
    }
    context.printer.result(&all, || {
        let mut text = String::new();
        for toolchain in &all {
            let Listed { target, version, size, state, .. } = toolchain;
            let default = if toolchain.default { "default" } else { "" };
            let _ = write!(text, "{target:<6} {:<14} {default:<8} {:>10}  {state}", version.as_str(), size.to_string());
            for file in &toolchain.missing {
                let _ = write!(text, " ({file})");
            }
            text.push('\n');
        }
        text
    });
    Ok(Status::Success)
}

fn show(which: &Which, context: &Context) -> Result<Status, Failure> {
    let project = context.project()?;
    let name = which.name(&project)?;
    let toolchain = toolchain(&project, &name)?;
    let artifact = |id: &ArtifactId| {
        let artifact = project.lock().artifact(id)?;
        Some(serde_json::json!({
            "id": id, "kind": artifact.source.kind(), "file": artifact.file,
            "size": artifact.pin.map(|pin| pin.size), "sha256": artifact.pin.map(|pin| pin.sha256),
            "licence": artifact.licence, "redistributable": artifact.redistributable,
        }))
    };
    let layers: Vec<serde_json::Value> = toolchain
        .layers
        .iter()
        .map(|layer| {
            let artifacts: Vec<_> = layer.artifacts.iter().filter_map(artifact).collect();
            serde_json::json!({
                "name": layer.name, "diff_id": layer.bytes.map(|bytes| bytes.diff_id),
                "size": layer.bytes.map(|bytes| bytes.size), "compressed": layer.bytes.map(|bytes| bytes.compressed),
                "compressed_size": layer.bytes.map(|bytes| bytes.compressed_size), "artifacts": artifacts,
            })
        })
        .collect();
    let value = serde_json::json!({
        "target": name.target, "version": name.version, "platform": toolchain.platform, "recipe": toolchain.recipe,
        "layers": layers,
    });
    context.printer.result(&value, || described(&project, toolchain));
    Ok(Status::Success)
}

fn described(project: &Project, toolchain: &Toolchain) -> String {
    let mut text = format!("{} for {}\n", toolchain.name, toolchain.platform);
    for layer in &toolchain.layers {
        let bytes = layer.bytes.map_or_else(
            || "not assembled".to_owned(),
            |bytes| format!("{} ({} compressed)  {}", bytes.size, bytes.compressed_size, bytes.diff_id),
        );
        let _ = writeln!(text, "layer {}: {bytes}", layer.name);
        for artifact in layer.artifacts.iter().filter_map(|id| project.lock().artifact(id)) {
            let size = artifact.pin.map_or_else(|| "not pinned".to_owned(), |pin| pin.size.to_string());
            let _ = writeln!(text, "  {:<7} {:<44} {size:>10}", artifact.source.kind(), artifact.id.as_str());
        }
    }
    text
}

fn fetch(which: &Which, context: &Context) -> Result<Status, Failure> {
    let project = context.project()?;
    let name = which.name(&project)?;
    let toolchain = toolchain(&project, &name)?;
    let names = ops::obtain::other_names(project.recipes().map(RecipeFolder::recipe));
    let wanted = ops::obtain::wanted(project.lock(), toolchain, &names);
    let fetcher = context.fetcher(&project)?;
    let artifacts = ops::obtain::obtain(&wanted, &context.store()?, &fetcher, context.progress())
        .map_err(|error| Failure::of(Kind::Environment, &error))?;
    let value = serde_json::json!({ "toolchain": name.to_string(), "artifacts": artifacts.count() });
    context.printer.result(&value, || format!("{name}: {} artifacts in the store", artifacts.count()));
    Ok(Status::Success)
}

fn verify(which: &Which, context: &Context) -> Result<Status, Failure> {
    let project = context.project()?;
    let name = which.name(&project)?;
    let toolchain = toolchain(&project, &name)?;
    let found = ops::store::verify_artifacts(project.lock().artifacts_of(toolchain), &context.store()?)
        .map_err(|error| Failure::of(Kind::Environment, &error))?;
    context.printer.result(&found, || format!("{name}: {found}"));
    Ok(if found.is_whole() { Status::Success } else { Status::Code(1) })
}
