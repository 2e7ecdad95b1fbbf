//! `lock`: recipes become pins.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Status;
use super::context::{Context, ready_failure};
use crate::lock::{Change, Lock, LockError};
use crate::ops::assemble::{Converter, Effort};
use crate::ops::lock::{self, FetchedIndexes, Moves, RecipeWithFiles, Stale};
use crate::ops::{image, ready};
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
    let value = serde_json::json!({ "agrees": lines.is_empty(), "differences": lines });
    context.printer.result(&value, || match lines.as_slice() {
        [] => "lock and recipes agree".to_owned(),
        lines => format!("{}\nrun `modelconverter lock`", lines.join("\n")),
    });
    Ok(if lines.is_empty() { Status::Success } else { Status::Code(1) })
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
    let resolved = lock::resolve(Some(project.lock()), &recipes(project), &moves, &indexes)
        .map_err(|error| Failure::of(Kind::Project, &error))?;
    for note in &resolved.notes {
        context.printer.say(note.to_string());
    }
    let lock = lock::measure(&resolved.lock, |lock, name| -> Result<_, Unmeasured> {
        let project = project.with_lock(lock);
        let plan = ready::plan(&project, name).map_err(ready_failure)?;
        let workshop = ready::Workshop { project: &project, store: &store, fetcher: &fetcher };
        let made = ready::image(workshop, &plan, Converter::None, Effort::default(), context.progress())
            .map_err(ready_failure)?;
        Ok(image::measure(&made, context.progress()).map_err(|error| Failure::of(Kind::Environment, &error))?)
    });
    let lock = lock.map_err(|Unmeasured(failure)| *failure)?;
    let path = project.save_lock(&lock, &context.working_folder()?);
    let path = path.map_err(|error| Failure::of(Kind::Environment, &error))?;
    report(project.lock(), &lock, path.as_deref(), context);
    Ok(Status::Success)
}

/// Why the layers of a new lock could not be measured.
struct Unmeasured(Box<Failure>);

impl From<Failure> for Unmeasured {
    fn from(failure: Failure) -> Self {
        Self(Box::new(failure))
    }
}

impl From<LockError> for Unmeasured {
    fn from(error: LockError) -> Self {
        Failure::of(Kind::Internal, &error).into()
    }
}

fn report(before: &Lock, after: &Lock, written: Option<&Path>, context: &Context) {
    let changes: Vec<String> = crate::lock::diff(before, after).iter().map(Change::to_string).collect();
    let value = serde_json::json!({ "written": written.map(PathBuf::from), "changes": changes });
    context.printer.result(&value, || match written {
        None => "nothing changed".to_owned(),
        Some(path) => format!("{}\n{} written", changes.join("\n"), path.display()),
    });
}
