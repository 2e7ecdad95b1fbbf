//! `lock`: recipes become pins.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Status;
use super::context::{Context, complete_failure};
use crate::lock::{Change, Lock};
use crate::name::FileName;
use crate::ops;
use crate::ops::lock::{self, FetchedIndexes, Moves, RecipeWithFiles, Stale};
use crate::ops::ready::Workshop;
use crate::project::Project;
use crate::ui::{Failure, Kind};

/// Resolve the recipes to pins in toolchains.toml
///
/// Pins that still satisfy the recipes stay. Layers that changed are assembled, so that the lock says what their bytes
/// must be. Without network when nothing changed.
#[derive(Debug, Args)]
pub(super) struct LockArgs {
    /// Only say whether lock and recipes agree: exit code 1 if they do not
    #[arg(long, conflicts_with = "upgrade")]
    check: bool,
    /// Move pins to the newest versions that the recipes allow: all, or that of one package
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    upgrade: Option<String>,
}

pub(super) fn run(args: LockArgs, context: &mut Context) -> Result<Status, Failure> {
    let project = context.project()?;
    if args.check { check(&project, context) } else { resolve(args, &project, context) }
}

/// Returns every recipe and the way to its files.
fn recipes(project: &Project) -> Vec<RecipeWithFiles<'_>> {
    project.recipes().map(|folder| RecipeWithFiles { recipe: folder.recipe(), files: folder }).collect()
}

fn check(project: &Project, context: &Context) -> Result<Status, Failure> {
    let stale = lock::check(project.lock(), &recipes(project)).map_err(|error| Failure::of(Kind::Project, &error))?;
    let unmeasured = lock::unmeasured(project.lock()).map(|name| format!("layers of {name} have no digests yet"));
    let lines: Vec<String> = stale.iter().map(Stale::to_string).chain(unmeasured).collect();
    // That a vendor's archive is still to come is no disagreement: nobody but its user can end it.
    let waiting: Vec<String> = lock::waiting(project.lock())
        .map(|(name, files)| format!("{name} waits for {}: see `modelconverter toolchain import`", list(&files)))
        .collect();
    let value = serde_json::json!({ "agrees": lines.is_empty(), "differences": lines, "waiting": waiting });
    context.printer.result(&value, || match lines.as_slice() {
        [] => [&["lock and recipes agree".to_owned()], waiting.as_slice()].concat().join("\n"),
        lines => format!("{}\nrun `modelconverter lock`", lines.join("\n")),
    });
    Ok(if lines.is_empty() { Status::Success } else { Status::Code(1) })
}

fn list(files: &[FileName]) -> String {
    files.iter().map(FileName::as_str).collect::<Vec<_>>().join(", ")
}

fn resolve(args: LockArgs, project: &Project, context: &Context) -> Result<Status, Failure> {
    let moves = match args.upgrade {
        None => Moves::None,
        Some(name) if name.is_empty() => Moves::All,
        Some(name) => Moves::One(name),
    };
    let store = context.store()?;
    let fetcher = context.fetcher(project)?;
    let indexes =
        FetchedIndexes { fetcher: &fetcher, store: &store, progress: context.progress(), keyrings: lock::keyrings() };
    let resolved = lock::resolve(Some(project.lock()), &recipes(project), &moves, &indexes).map_err(|error| {
        let kind = if error.is_about_the_machine() { Kind::Environment } else { Kind::Project };
        Failure::of(kind, &error)
    })?;
    for note in &resolved.notes {
        context.printer.say(note.to_string());
    }
    let workshop = Workshop { project, store: &store, fetcher: &fetcher };
    let lock = ops::complete::complete(workshop, &resolved.lock, context.progress()).map_err(complete_failure)?;
    let path = project.save_lock(&lock, &context.working_folder()?);
    let path = path.map_err(|error| Failure::of(Kind::Environment, &error))?;
    report(project.lock(), &lock, path.as_deref(), context);
    Ok(Status::Success)
}

fn report(before: &Lock, after: &Lock, written: Option<&Path>, context: &Context) {
    let changes: Vec<String> = crate::lock::diff(before, after).iter().map(Change::to_string).collect();
    let value = serde_json::json!({ "written": written.map(PathBuf::from), "changes": changes });
    context.printer.result(&value, || match written {
        None => "nothing changed".to_owned(),
        Some(path) => format!("{}\n{} written", changes.join("\n"), path.display()),
    });
}
