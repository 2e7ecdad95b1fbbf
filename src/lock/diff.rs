//! What changed between two locks, for people.

use std::collections::BTreeSet;
use std::fmt;

use super::{Artifact, Lock, Source};
use crate::name::ArtifactId;

/// One difference between an old and a new lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something that only the new lock has.
    Added(String),
    /// Something that only the old lock has.
    Removed(String),
    /// Something that both have, differently.
    Changed {
        /// What it is.
        what: String,
        /// As it was.
        from: String,
        /// As it is.
        to: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(what) => write!(formatter, "+ {what}"),
            Self::Removed(what) => write!(formatter, "- {what}"),
            Self::Changed { what, from, to } => write!(formatter, "~ {what}: {from} -> {to}"),
        }
    }
}

/// Returns what changed from `old` to `new`: toolchains, then packages, then bytes of layers.
pub fn diff(old: &Lock, new: &Lock) -> Vec<Change> {
    let mut changes = Vec::new();
    let names: BTreeSet<_> = old.toolchains().iter().chain(new.toolchains()).map(|toolchain| &toolchain.name).collect();
    for name in names {
        match (old.toolchain(name).ok(), new.toolchain(name).ok()) {
            (None, _) => changes.push(Change::Added(format!("toolchain {name}"))),
            (_, None) => changes.push(Change::Removed(format!("toolchain {name}"))),
            (Some(before), Some(after)) => {
                if before.recipe != after.recipe {
                    let (from, to) = (before.recipe.to_string(), after.recipe.to_string());
                    changes.push(Change::Changed { what: format!("recipe of {name}"), from, to });
                }
                for layer in &after.layers {
                    let earlier = before.layers.iter().find(|earlier| earlier.name == layer.name);
                    let bytes = |layer: &super::LockedLayer| {
                        layer.bytes.map_or_else(|| "not assembled".to_owned(), |bytes| bytes.diff_id.to_string())
                    };
                    let from = earlier.map_or_else(|| "nothing".to_owned(), bytes);
                    let to = bytes(layer);
                    if from != to {
                        changes.push(Change::Changed { what: format!("layer {} of {name}", layer.name), from, to });
                    }
                }
            }
        }
    }
    diff_artifacts(old, new, &mut changes);
    changes
}

fn diff_artifacts(old: &Lock, new: &Lock, changes: &mut Vec<Change>) {
    let removed: Vec<&Artifact> = old.artifacts().filter(|artifact| new.artifact(&artifact.id).is_none()).collect();
    let mut replaced: BTreeSet<&ArtifactId> = BTreeSet::new();
    for artifact in new.artifacts() {
        if let Some(before) = old.artifact(&artifact.id) {
            if before != artifact {
                let pin = |artifact: &Artifact| {
                    artifact.pin.map_or_else(|| "not pinned".to_owned(), |pin| pin.sha256.to_string())
                };
                let licence = |artifact: &Artifact| {
                    let licence = artifact.licence.as_deref().unwrap_or("unknown");
                    if artifact.redistributable {
                        licence.to_owned()
                    } else {
                        format!("{licence}, not redistributable")
                    }
                };
                let source = |artifact: &Artifact| artifact.source.kind().to_owned();
                // What says the most comes first; a source of another place of the same kind remains.
                let facts = [("", pin(before), pin(artifact)), ("licence of ", licence(before), licence(artifact))];
                let facts: Vec<_> = facts.into_iter().filter(|(_, from, to)| from != to).collect();
                if facts.is_empty() {
                    let (from, to) = (source(before), format!("{}, described differently", source(artifact)));
                    changes.push(Change::Changed { what: format!("source of {}", artifact.id), from, to });
                }
                for (of, from, to) in facts {
                    changes.push(Change::Changed { what: format!("{of}{}", artifact.id), from, to });
                }
            }
            continue;
        }
        let (name, version) = name_and_version(artifact);
        match removed.iter().find(|before| name_and_version(before).0 == name) {
            Some(before) => {
                replaced.insert(&before.id);
                let from = name_and_version(before).1;
                changes.push(Change::Changed { what: name, from, to: version });
            }
            None => changes.push(Change::Added(format!("{name} {version}"))),
        }
    }
    for artifact in removed.into_iter().filter(|artifact| !replaced.contains(&artifact.id)) {
        let (name, version) = name_and_version(artifact);
        changes.push(Change::Removed(format!("{name} {version}")));
    }
}

fn name_and_version(artifact: &Artifact) -> (String, String) {
    match &artifact.source {
        Source::Debian(source) => (source.package.clone(), source.version.clone()),
        Source::Pypi { project, version } => (project.clone(), version.clone()),
        _ => (artifact.file.to_string(), artifact.pin.map_or_else(String::new, |pin| pin.sha256.to_string())),
    }
}
