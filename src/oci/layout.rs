//! Names of things inside an OCI image layout (image specification, "image-layout.md"), and the file that lets older
//! container engines load the same tar ("docker save" format).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Descriptor, Document, ImageReference, Index, MediaType};
use crate::digest::Digest;
use crate::name::Platform;

/// The file that says what the folder is.
pub const LAYOUT: &str = "oci-layout";

/// What [`LAYOUT`] holds.
pub const LAYOUT_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The file that names the images.
pub const INDEX: &str = "index.json";

/// The file that names the images to engines which do not read layouts: a list of [`DockerImage`].
pub const LEGACY_MANIFEST: &str = "manifest.json";

/// Returns the path of a blob inside a layout.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Returns the index of a layout that holds one image under a name.
pub fn index_of(manifest: &[u8], platform: Platform, reference: &ImageReference) -> Index {
    let mut descriptor = Descriptor::of(MediaType::Manifest, manifest);
    descriptor.platform = Some(platform.into());
    descriptor.annotations = BTreeMap::from([
        ("io.containerd.image.name".to_owned(), reference.full()),
        ("org.opencontainers.image.ref.name".to_owned(), reference.tag().to_owned()),
    ]);
    Index { manifests: vec![descriptor], media_type: MediaType::Index, schema_version: 2 }
}

/// One image in [`LEGACY_MANIFEST`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerImage {
    /// The path of the image configuration.
    pub config: String,
    /// The paths of the layers, lowest first.
    pub layers: Vec<String>,
    /// The image's names.
    #[serde(default)]
    pub repo_tags: Vec<String>,
}

impl Document for Vec<DockerImage> {
    const NAME: &'static str = "manifest.json";
}
