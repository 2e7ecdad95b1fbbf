//! Descriptors, manifests and indexes (OCI image specification, "descriptor.md", "manifest.md", "image-index.md").

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Document;
use crate::digest::Digest;
use crate::name::Platform;
use crate::units::ByteSize;

/// How the bytes of a layer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// As they are.
    None,
    /// With gzip.
    Gzip,
    /// With Zstandard; read, never written.
    Zstd,
}

/// What the bytes behind a descriptor are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// An index.
    Index,
    /// A manifest.
    Manifest,
    /// An image configuration.
    Config,
    /// The tar stream of a layer.
    Layer(Compression),
    /// Something else.
    Unknown(String),
}

impl MediaType {
    /// The types that are written, with their names.
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Index, "application/vnd.oci.image.index.v1+json"),
        (Self::Manifest, "application/vnd.oci.image.manifest.v1+json"),
        (Self::Config, "application/vnd.oci.image.config.v1+json"),
        (Self::Layer(Compression::None), "application/vnd.oci.image.layer.v1.tar"),
        (Self::Layer(Compression::Gzip), "application/vnd.oci.image.layer.v1.tar+gzip"),
        (Self::Layer(Compression::Zstd), "application/vnd.oci.image.layer.v1.tar+zstd"),
    ];

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown(name) => name,
            known => Self::NAMES.iter().find(|(media_type, _)| media_type == known).map_or("", |(_, name)| name),
        }
    }
}

impl From<&str> for MediaType {
    fn from(name: &str) -> Self {
        match name {
            // The names of Docker's format 2.2, from which this one was made.
            "application/vnd.docker.distribution.manifest.v2+json" => Self::Manifest,
            "application/vnd.docker.distribution.manifest.list.v2+json" => Self::Index,
            "application/vnd.docker.container.image.v1+json" => Self::Config,
            "application/vnd.docker.image.rootfs.diff.tar" => Self::Layer(Compression::None),
            "application/vnd.docker.image.rootfs.diff.tar.gzip" => Self::Layer(Compression::Gzip),
            name => Self::NAMES
                .into_iter()
                .find(|(_, known)| *known == name)
                .map_or_else(|| Self::Unknown(name.to_owned()), |(media_type, _)| media_type),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

/// A reference to bytes by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Facts for whoever reads the document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The digest of the bytes.
    pub digest: Digest,
    /// What they are.
    pub media_type: MediaType,
    /// Where an image runs; in indexes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformRecord>,
    /// Their length.
    pub size: ByteSize,
}

impl Descriptor {
    /// Returns a descriptor without annotations.
    pub const fn new(media_type: MediaType, digest: Digest, size: ByteSize) -> Self {
        Self { annotations: BTreeMap::new(), digest, media_type, platform: None, size }
    }

    /// Returns the descriptor of these bytes.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), ByteSize::new(bytes.len() as u64))
    }
}

/// Where an image runs, as documents write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformRecord {
    /// The processor: `amd64`.
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
}

impl From<Platform> for PlatformRecord {
    fn from(platform: Platform) -> Self {
        Self { architecture: platform.architecture().to_owned(), os: "linux".to_owned() }
    }
}

/// A manifest: a configuration and layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Facts for whoever reads the document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Always [`MediaType::Manifest`]; older writers leave it out.
    #[serde(default = "manifest_type")]
    pub media_type: MediaType,
    /// Always 2.
    pub schema_version: u32,
}

impl Manifest {
    /// Puts a manifest together.
    pub const fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { annotations: BTreeMap::new(), config, layers, media_type: MediaType::Manifest, schema_version: 2 }
    }
}

impl Document for Manifest {
    const NAME: &'static str = "image manifest";
}

/// An index: the images of a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Always [`MediaType::Index`]; older writers leave it out.
    #[serde(default = "index_type")]
    pub media_type: MediaType,
    /// Always 2.
    pub schema_version: u32,
}

impl Document for Index {
    const NAME: &'static str = "image index";
}

fn manifest_type() -> MediaType {
    MediaType::Manifest
}

fn index_type() -> MediaType {
    MediaType::Index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_round_trip_and_docker_names_are_known() {
        for (media_type, name) in MediaType::NAMES {
            assert_eq!(MediaType::from(name), media_type);
            assert_eq!(media_type.as_str(), name);
        }
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        assert_eq!(MediaType::from(docker), MediaType::Layer(Compression::Gzip));
        assert_eq!(MediaType::from("text/plain").as_str(), "text/plain");
    }

    #[test]
    fn broken_documents_are_refused() {
        for bytes in [&b""[..], b"{}", b"[]", br#"{"schemaVersion":2,"config":{},"layers":[]}"#] {
            assert!(Manifest::from_bytes(bytes).is_err());
        }
        assert!(Index::from_bytes(br#"{"schemaVersion":2,"manifests":[],"unknown":1}"#).is_ok());
    }
}
