//! What there is to know about an image without making it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::ImageError;
use crate::digest::{DiffId, Digest};
use crate::lock::{Lock, Toolchain};
use crate::name::{LayerName, Platform, ToolchainName};
use crate::oci::ImageReference;
use crate::ops::assemble::AssembledImage;
use crate::plan::image::{ImagePlan, PlannedArtifact};
use crate::store::Store;
use crate::units::ByteSize;

/// An image of the lock, for a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedImage {
    /// The toolchain.
    pub toolchain: String,
    /// Its name in container engines.
    pub reference: String,
    /// Where it runs.
    pub platform: Platform,
    /// Whether it is there.
    pub presence: Presence,
    /// The length of all layers, where the lock knows it.
    pub size: Option<ByteSize>,
    /// The length of all layers compressed, where the lock knows it.
    pub compressed_size: Option<ByteSize>,
}

/// How much of an image is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// All layers.
    Assembled,
    /// Some layers, shared with another image or left from an interrupted assembly.
    Partial,
    /// Nothing.
    Absent,
    /// Nothing, and an artifact has no pin yet.
    Incomplete,
}

impl fmt::Display for Presence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Assembled => "assembled",
            Self::Partial => "partly assembled",
            Self::Absent => "not assembled",
            Self::Incomplete => "needs files that you must obtain",
        })
    }
}

/// Lists the images of a lock.
///
/// # Errors
/// The store cannot be read.
pub fn list(lock: &Lock, store: &Store) -> Result<Vec<ListedImage>, ImageError> {
    lock.toolchains().iter().map(|toolchain| listed(lock, toolchain, store)).collect()
}

fn listed(lock: &Lock, toolchain: &Toolchain, store: &Store) -> Result<ListedImage, ImageError> {
    let bytes: Option<Vec<_>> = toolchain.layers.iter().map(|layer| layer.bytes).collect();
    let mut present = 0;
    for layer in toolchain.layers.iter().filter_map(|layer| layer.bytes) {
        present += usize::from(store.tree(&layer.diff_id)?.is_some());
    }
    let presence = match present {
        _ if lock.artifacts_of(toolchain).any(|artifact| artifact.pin.is_none()) => Presence::Incomplete,
        0 => Presence::Absent,
        all if all == toolchain.layers.len() => Presence::Assembled,
        _ => Presence::Partial,
    };
    Ok(ListedImage {
        toolchain: toolchain.name.to_string(),
        reference: ImageReference::of_toolchain(&toolchain.name).to_string(),
        platform: toolchain.platform,
        presence,
        size: bytes.as_ref().map(|layers| layers.iter().map(|layer| layer.size).sum()),
        compressed_size: bytes.as_ref().map(|layers| layers.iter().map(|layer| layer.compressed_size).sum()),
    })
}

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageFacts {
    /// The toolchain.
    #[serde(serialize_with = "text")]
    pub toolchain: ToolchainName,
    /// Its name in container engines.
    pub reference: String,
    /// Where it runs.
    pub platform: Platform,
    /// The digest of its configuration, once it is assembled.
    pub id: Option<Digest>,
    /// The layers, lowest first.
    pub layers: Vec<LayerFacts>,
    /// The environment of every process in it.
    pub env: BTreeMap<String, String>,
}

/// What a layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerFacts {
    /// Its name.
    pub name: LayerName,
    /// The digest of its tar stream, where it is known.
    pub diff_id: Option<DiffId>,
    /// The length of its tar stream, where it is known.
    pub size: Option<ByteSize>,
    /// The digest of its compressed form, where the lock knows it.
    pub compressed: Option<Digest>,
    /// The length of its compressed form, where the lock knows it.
    pub compressed_size: Option<ByteSize>,
    /// What it is made of.
    pub artifacts: Vec<PlannedArtifact>,
}

fn text<S: serde::Serializer>(name: &ToolchainName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// Collects what plan and, if there is one, image say.
pub fn facts(plan: &ImagePlan, image: Option<&AssembledImage>) -> ImageFacts {
    let mut layers: Vec<LayerFacts> = plan
        .layers
        .iter()
        .map(|layer| LayerFacts {
            name: layer.name.clone(),
            diff_id: layer.expected.map(|bytes| bytes.diff_id),
            size: layer.expected.map(|bytes| bytes.size),
            compressed: layer.expected.map(|bytes| bytes.compressed),
            compressed_size: layer.expected.map(|bytes| bytes.compressed_size),
            artifacts: layer.content.artifacts.clone(),
        })
        .collect();
    for assembled in image.map(|image| image.layers.as_slice()).unwrap_or_default() {
        let found = layers.iter_mut().find(|layer| layer.name == assembled.name);
        let (diff_id, size) = (Some(assembled.diff_id), Some(assembled.size));
        match found {
            Some(layer) => (layer.diff_id, layer.size) = (diff_id, size),
            None => layers.push(LayerFacts {
                name: assembled.name.clone(),
                diff_id,
                size,
                compressed: None,
                compressed_size: None,
                artifacts: Vec::new(),
            }),
        }
    }
    ImageFacts {
        toolchain: plan.toolchain.clone(),
        reference: ImageReference::of_toolchain(&plan.toolchain).to_string(),
        platform: plan.platform,
        id: image.map(|image| image.id),
        layers,
        env: image.map_or_else(|| plan.env.clone(), |image| image.env.clone()),
    }
}

/// Prints the facts for people.
impl fmt::Display for ImageFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} ({}, {})", self.reference, self.toolchain, self.platform)?;
        if let Some(id) = self.id {
            writeln!(formatter, "id {id}")?;
        }
        for layer in &self.layers {
            write!(formatter, "layer {}", layer.name)?;
            match (layer.size, layer.compressed_size) {
                (Some(size), Some(compressed)) => writeln!(formatter, ": {size}, {compressed} compressed")?,
                (Some(size), None) => writeln!(formatter, ": {size}")?,
                _ => writeln!(formatter, ": not measured yet")?,
            }
            if let Some(diff_id) = layer.diff_id {
                writeln!(formatter, "  diff id    {diff_id}")?;
            }
            if let Some(compressed) = layer.compressed {
                writeln!(formatter, "  compressed {compressed}")?;
            }
            for artifact in &layer.artifacts {
                writeln!(formatter, "  {} ({})", artifact.id, artifact.size)?;
            }
        }
        for (key, value) in &self.env {
            writeln!(formatter, "env {key}={value}")?;
        }
        Ok(())
    }
}
