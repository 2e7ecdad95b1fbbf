//! `toolchain import`: a vendor's archive that somebody has becomes a pin.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Status;
use super::context::{Context, complete_failure};
use crate::digest::Digest;
use crate::lock::Lock;
use crate::name::{ArtifactId, FileName, Target, ToolchainName, ToolchainVersion};
use crate::ops;
use crate::ops::ready::Workshop;
use crate::project::RecipeFolder;
use crate::ui::{Failure, Kind};
use crate::units::ByteSize;

/// Takes a file as an artifact. A pin is written together with the bytes of all layers that follow from it, or not at
/// all: a wrong file would bar the right one otherwise.
pub(super) fn run(file: &Path, context: &Context) -> Result<Status, Failure> {
    let (project, store) = (context.project()?, context.store()?);
    let names = ops::obtain::other_names(project.recipes().map(RecipeFolder::recipe));
    let imported = ops::obtain::import(file, project.lock(), &names, &store)
        .map_err(|error| Failure::of(Kind::Project, &error))?;
    let pinned = project.lock().pinned(&imported.artifact, imported.pin);
    let fetcher = context.fetcher(&project)?;
    let workshop = Workshop { project: &project, store: &store, fetcher: &fetcher };
    let lock = ops::complete::complete(workshop, &pinned, context.progress()).map_err(|error| {
        let unchanged = (!imported.was_pinned).then(|| format!("the lock does not pin {} yet", file.display()));
        complete_failure(error).hinted(unchanged)
    })?;
    let path = project.save_lock(&lock, &context.working_folder()?);
    let path = path.map_err(|error| Failure::of(Kind::Environment, &error))?;
    let report = Report {
        toolchains: users(&lock, &imported.artifact),
        artifact: imported.artifact,
        pinned: imported.was_pinned,
        size: imported.pin.size,
        sha256: imported.pin.sha256,
        lock: path,
    };
    context.printer.result(&report, || report.to_string());
    Ok(Status::Success)
}

/// What became of an import.
#[derive(Serialize)]
struct Report {
    artifact: ArtifactId,
    /// Whether the lock had the pin before.
    pinned: bool,
    size: ByteSize,
    sha256: Digest,
    /// The lock, if it was written.
    lock: Option<PathBuf>,
    /// The toolchains that have the artifact.
    toolchains: Vec<User>,
}

/// A toolchain that has the artifact.
#[derive(Serialize)]
struct User {
    target: Target,
    version: ToolchainVersion,
    /// Files that it still waits for.
    waits_for: Vec<FileName>,
}

fn users(lock: &Lock, artifact: &ArtifactId) -> Vec<User> {
    let has = |name: &ToolchainName| {
        lock.toolchain(name).is_ok_and(|one| one.layers.iter().any(|layer| layer.artifacts.contains(artifact)))
    };
    let names = lock.toolchains().iter().map(|toolchain| &toolchain.name);
    let user = |name: &ToolchainName| {
        let waits_for = ops::lock::waiting(lock).find(|(waiting, _)| *waiting == name);
        let waits_for = waits_for.map(|(_, files)| files).unwrap_or_default();
        User { target: name.target, version: name.version.clone(), waits_for }
    };
    names.filter(|name| has(name)).map(user).collect()
}

/// Says it to people, the next step last.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { artifact, size, sha256, .. } = self;
        writeln!(formatter, "{artifact} is in the store")?;
        if let Some(lock) = &self.lock {
            let lock = lock.display();
            writeln!(formatter, "{lock} pins it: keep that with your project, and others get the same image")?;
        }
        if !self.pinned {
            let size = size.bytes();
            writeln!(formatter, "nobody had pinned it before: compare {size} bytes, {sha256} with a colleague's")?;
        }
        for User { target, version, waits_for } in &self.toolchains {
            let files: Vec<&str> = waits_for.iter().map(FileName::as_str).collect();
            match files.as_slice() {
                [] => {
                    let command = format!("modelconverter convert {target} --tool-version {version} --path MODEL");
                    writeln!(formatter, "{target} {version} is ready: `{command}`")?;
                }
                files => writeln!(formatter, "{target} {version} still waits for {}", files.join(", "))?,
            }
        }
        Ok(())
    }
}
