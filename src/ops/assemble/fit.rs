//! What layers must be to each other: no two contents at one path, and no library missing.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::workshop::Made;
use super::{AssembleError, library_path};
use crate::disk;
use crate::elf::{self, Dynamic};
use crate::image_path::ImagePath;
use crate::name::Platform;
use crate::ops::tree::{self, Node};
use crate::plan::image::ImagePlan;

/// The paths of an image, the layers taken together.
struct Paths {
    nodes: HashMap<ImagePath, (usize, Node)>,
}

/// Links followed before one is taken for a circle, as Linux does.
const MOST_LINKS: usize = 40;

impl elf::Tree for Paths {
    fn resolve(&self, path: &str) -> Option<ImagePath> {
        let mut todo: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(component) = todo.pop() {
            match component.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(component),
            }
            let path: ImagePath = done.join("/").parse().ok()?;
            if let (_, Node::Symlink { target }) = self.nodes.get(&path)? {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                todo.extend(target.rsplit('/').map(str::to_owned));
            }
        }
        let path: ImagePath = done.join("/").parse().ok()?;
        match self.nodes.get(&path)? {
            (_, Node::Hardlink { original, .. }) => Some(original.clone()),
            _ => Some(path),
        }
    }
}

/// Checks the layers of an image.
pub(super) fn check_image(plan: &ImagePlan, made: &[Made]) -> Result<(), AssembleError> {
    let mut paths = Paths { nodes: HashMap::new() };
    let mut dynamic = BTreeMap::new();
    for (index, layer) in made.iter().enumerate() {
        let listed;
        let nodes = match layer {
            Made::New { nodes, elf, .. } => {
                let first_names: HashMap<&ImagePath, &ImagePath> = nodes
                    .iter()
                    .filter_map(|(path, node)| match node {
                        Node::Hardlink { original, .. } => Some((path, original)),
                        _ => None,
                    })
                    .collect();
                let first = |path: &ImagePath| first_names.get(path).map_or(path, |first| *first).clone();
                dynamic.extend(elf.iter().map(|(path, dynamic)| (first(path), dynamic.clone())));
                nodes
            }
            Made::Found(found) => {
                listed = tree::nodes(&found.tree)?;
                dynamic.extend(read_elf(plan.platform, &found.tree, &listed)?);
                &listed
            }
        };
        for (path, node) in nodes {
            if let Some((lower, below)) = paths.nodes.get(path) {
                if !is_same(made, (*lower, below), (index, node), path)? {
                    let name = |index: usize| plan.layers.get(index).map(|layer| layer.name.clone());
                    if let (Some(lower), Some(upper)) = (name(*lower), name(index)) {
                        return Err(AssembleError::Overlap { path: path.clone(), lower, upper });
                    }
                }
                continue;
            }
            paths.nodes.insert(path.clone(), (index, node.clone()));
        }
    }
    let is_allowed = |library: &str| plan.layers.iter().any(|layer| layer.allow_missing.contains_key(library));
    let mut missing = elf::unresolved(plan.platform, &dynamic, &paths, &library_path(plan));
    missing.retain(|need| !is_allowed(&need.library));
    if missing.is_empty() { Ok(()) } else { Err(AssembleError::Libraries { missing }) }
}

fn is_same(
    made: &[Made],
    (lower, below): (usize, &Node),
    (upper, above): (usize, &Node),
    path: &ImagePath,
) -> Result<bool, AssembleError> {
    let mode = |node: &Node| match node {
        Node::File { mode, .. } | Node::Hardlink { mode, .. } => Some(*mode),
        Node::Directory | Node::Symlink { .. } => None,
    };
    let root = |index: usize| made.get(index).map(Made::root);
    match (mode(below), mode(above), root(lower), root(upper)) {
        (Some(one), Some(other), Some(lower), Some(upper)) => {
            Ok(one == other && tree::equal_files(&lower.join(path.as_str()), &upper.join(path.as_str()))?)
        }
        _ => Ok(below == above),
    }
}

/// Reads the dynamic sections of a layer that was there before.
fn read_elf(
    platform: Platform,
    root: &Path,
    nodes: &[(ImagePath, Node)],
) -> Result<BTreeMap<ImagePath, Dynamic>, AssembleError> {
    let mut found = BTreeMap::new();
    for (path, node) in nodes {
        if let Node::File { .. } = node {
            let file = disk::open(&root.join(path.as_str()))?;
            if let Ok(Some(dynamic)) = elf::read(platform, file) {
                found.insert(path.clone(), dynamic);
            }
        }
    }
    Ok(found)
}
