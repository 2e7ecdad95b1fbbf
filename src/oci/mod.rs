//! Documents of the OCI image format (image specification 1.1): manifest, index, image configuration, layout.
//!
//! Owns their types, their canonical bytes and the check that an image is whole. Written documents are canonical JSON:
//! keys sorted (by declaring fields in that order, with ordered maps in them), no spaces, no volatile data. A document is
//! never written anew after it was read, as its digest is that of its bytes. Not supported: nested indexes, encrypted
//! layers, layers outside the image ("foreign layers"). Must not touch files.

mod image_config;
mod layout;
mod manifest;
mod reference;
mod validate;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::hint::Hint;

pub use image_config::{History, ImageConfig, ProcessDefaults, RootFilesystem};
pub use layout::{DockerImage, INDEX, LAYOUT, LAYOUT_CONTENT, LEGACY_MANIFEST, blob_path, index_of};
pub use manifest::{Compression, Descriptor, Index, Manifest, MediaType, PlatformRecord};
pub use reference::{ImageReference, ReferenceError};
pub use validate::{ValidImage, ValidLayer, ValidateError, validate};

/// The moment all documents call their creation: the same that layers give their members.
pub const CREATED: &str = "1980-01-02T00:00:00Z";

/// A document that cannot be used.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// No JSON, or JSON of another shape.
    #[error("{what} is not well formed")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A document cannot be written, which no value of these types should cause.
    #[error("{what} cannot be written as JSON")]
    Unwritable {
        /// Which document.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl Hint for DocumentError {}

/// A document with canonical bytes.
pub trait Document: Serialize + DeserializeOwned {
    /// What people call it.
    const NAME: &'static str;

    /// Returns the canonical bytes.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(|source| DocumentError::Unwritable { what: Self::NAME, source })
    }

    /// Reads bytes from anywhere, whatever the order of their keys. Unknown keys are ignored, as the specification asks.
    ///
    /// # Errors
    /// No JSON, or JSON of another shape.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        serde_json::from_slice(bytes).map_err(|source| DocumentError::Malformed { what: Self::NAME, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{DiffId, Digest};
    use crate::name::Platform;
    use crate::units::ByteSize;

    fn descriptor(media_type: MediaType, content: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::of(content), ByteSize::new(content.len() as u64))
    }

    fn config() -> ImageConfig {
        ImageConfig::new(
            Platform::LinuxAmd64,
            ProcessDefaults {
                entrypoint: vec!["/usr/bin/modelconverter".to_owned()],
                env: vec!["A=1".to_owned(), "B=2".to_owned()],
                working_dir: "/".to_owned(),
            },
            [(DiffId(Digest::of(b"layer")), "one layer".to_owned())],
        )
    }

    /// Keys must stand sorted at every depth, although nothing but the order of fields makes them so.
    fn assert_sorted(text: &str) {
        let render = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap().to_string();
        assert_eq!(render(r#"{"b":1,"a":2}"#), r#"{"a":2,"b":1}"#, "JSON values no longer sort their keys");
        assert_eq!(render(text), text);
    }

    #[test]
    fn documents_are_canonical_and_survive_reading() {
        let layer = descriptor(MediaType::Layer(Compression::Gzip), b"layer");
        let manifest = Manifest::new(descriptor(MediaType::Config, b"config"), vec![layer]);
        let reference: ImageReference = "modelconverter/rvc2:2021.4.2".parse().unwrap();
        let index = index_of(&manifest.to_bytes().unwrap(), Platform::LinuxAmd64, &reference);
        for bytes in [manifest.to_bytes().unwrap(), index.to_bytes().unwrap(), config().to_bytes().unwrap()] {
            assert_sorted(std::str::from_utf8(&bytes).unwrap());
        }
        assert_eq!(Manifest::from_bytes(&manifest.to_bytes().unwrap()).unwrap(), manifest);
        assert_eq!(Index::from_bytes(&index.to_bytes().unwrap()).unwrap(), index);
        assert_eq!(ImageConfig::from_bytes(&config().to_bytes().unwrap()).unwrap(), config());
    }

    #[test]
    fn documents_read_as_the_specification_writes_them() {
        insta::assert_snapshot!(String::from_utf8(config().to_bytes().unwrap()).unwrap());
        let manifest = Manifest::new(
            descriptor(MediaType::Config, b""),
            vec![descriptor(MediaType::Layer(Compression::None), b"")],
        );
        insta::assert_snapshot!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap());
    }
}
