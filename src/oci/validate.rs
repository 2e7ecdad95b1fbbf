//! Do sizes, digests and diff ids of an image agree?

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

use super::{Compression, Descriptor, Document, DocumentError, ImageConfig, Index, Manifest, MediaType};
use crate::digest::{DiffId, Digest, Fingerprint, VerifyingReader};
use crate::hint::Hint;
use crate::units::ByteSize;

/// Documents larger than this are not read, as registries refuse them too.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// An image whose bytes are all there and are the right ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidImage {
    /// Its entry in the index.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<ValidLayer>,
}

/// A layer whose bytes are the right ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidLayer {
    /// The digest of the tar stream.
    pub diff_id: DiffId,
    /// The length of the tar stream.
    pub size: ByteSize,
}

/// An image that is not whole.
#[derive(Debug, Error)]
pub enum ValidateError {
    /// A document cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A blob is missing, or its bytes are not the promised ones.
    #[error("blob {digest} cannot be used")]
    Blob {
        /// Which blob.
        digest: Digest,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A document that is too large to be one.
    #[error("document {digest} has {size} bytes, more than {LARGEST_DOCUMENT}", size = size.bytes())]
    Large {
        /// Which blob.
        digest: Digest,
        /// Its size.
        size: ByteSize,
    },
    /// Something that should stand elsewhere.
    #[error("{digest} is of type `{found}` where {expected} must stand")]
    Type {
        /// Which blob.
        digest: Digest,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: MediaType,
    },
    /// The manifest and the configuration count differently.
    #[error(
        "manifest {digest} has {layers} layers, its configuration has {diff_ids} diff ids and {history} records of layers"
    )]
    Count {
        /// The manifest.
        digest: Digest,
        /// Layers of the manifest.
        layers: usize,
        /// Diff ids of the configuration.
        diff_ids: usize,
        /// History records of the configuration that stand for layers.
        history: usize,
    },
    /// A layer is not the one that the configuration names.
    #[error("layer {digest} has diff id {found}, the configuration says {expected}")]
    DiffId {
        /// The layer's blob.
        digest: Digest,
        /// The configuration's diff id.
        expected: DiffId,
        /// The diff id of its bytes.
        found: DiffId,
    },
}

impl Hint for ValidateError {}

/// Reads every image of an index to its last byte.
///
/// # Errors
/// A blob is missing or has other bytes, a document is broken, or the parts do not fit each other.
pub fn validate<R: Read>(
    index: &[u8],
    mut blob: impl FnMut(&Digest) -> io::Result<R>,
) -> Result<Vec<ValidImage>, ValidateError> {
    let index = Index::from_bytes(index)?;
    index.manifests.iter().map(|descriptor| validate_image(descriptor, &mut blob)).collect()
}

fn validate_image<R: Read>(
    descriptor: &Descriptor,
    blob: &mut impl FnMut(&Digest) -> io::Result<R>,
) -> Result<ValidImage, ValidateError> {
    expect(descriptor, "a manifest", descriptor.media_type == MediaType::Manifest)?;
    let manifest = Manifest::from_bytes(&document(descriptor, blob)?)?;
    expect(&manifest.config, "a configuration", manifest.config.media_type == MediaType::Config)?;
    let config = ImageConfig::from_bytes(&document(&manifest.config, blob)?)?;
    let history = config.history.iter().filter(|record| !record.empty_layer).count();
    let diff_ids = &config.rootfs.diff_ids;
    if manifest.layers.len() != diff_ids.len() || (!config.history.is_empty() && history != diff_ids.len()) {
        let layers = manifest.layers.len();
        return Err(ValidateError::Count { digest: descriptor.digest, layers, diff_ids: diff_ids.len(), history });
    }
    let layers = std::iter::zip(&manifest.layers, diff_ids)
        .map(|(layer, diff_id)| validate_layer(layer, *diff_id, blob))
        .collect::<Result<_, _>>()?;
    Ok(ValidImage { descriptor: descriptor.clone(), manifest, config, layers })
}

fn validate_layer<R: Read>(
    descriptor: &Descriptor,
    expected: DiffId,
    blob: &mut impl FnMut(&Digest) -> io::Result<R>,
) -> Result<ValidLayer, ValidateError> {
    let digest = descriptor.digest;
    let failed = |source| ValidateError::Blob { digest, source };
    let mut content = VerifyingReader::new(blob(&digest).map_err(failed)?, descriptor.size, digest);
    let Fingerprint { size, sha256: found } = match &descriptor.media_type {
        MediaType::Layer(Compression::None) => Fingerprint::read(&mut content),
        MediaType::Layer(Compression::Gzip) => Fingerprint::read(MultiGzDecoder::new(&mut content)),
        MediaType::Layer(Compression::Zstd) => zstd::Decoder::new(&mut content).and_then(Fingerprint::read),
        _ => return Err(wrong_type(descriptor, "a layer")),
    }
    .map_err(failed)?;
    // A decoder may stop before the last byte; the digest is checked at the end only.
    content.check().map_err(failed)?;
    let found = DiffId(found);
    if found != expected {
        return Err(ValidateError::DiffId { digest, expected, found });
    }
    Ok(ValidLayer { diff_id: found, size })
}

fn document<R: Read>(
    descriptor: &Descriptor,
    blob: &mut impl FnMut(&Digest) -> io::Result<R>,
) -> Result<Vec<u8>, ValidateError> {
    let digest = descriptor.digest;
    if descriptor.size.bytes() > LARGEST_DOCUMENT {
        return Err(ValidateError::Large { digest, size: descriptor.size });
    }
    let failed = |source| ValidateError::Blob { digest, source };
    let mut bytes = Vec::new();
    VerifyingReader::new(blob(&digest).map_err(failed)?, descriptor.size, digest)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

fn expect(descriptor: &Descriptor, expected: &'static str, fits: bool) -> Result<(), ValidateError> {
    if fits { Ok(()) } else { Err(wrong_type(descriptor, expected)) }
}

fn wrong_type(descriptor: &Descriptor, expected: &'static str) -> ValidateError {
    ValidateError::Type { digest: descriptor.digest, expected, found: descriptor.media_type.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::num::NonZero;

    use super::*;
    use crate::block_gzip::BlockGzip;
    use crate::name::Platform;
    use crate::oci::{ProcessDefaults, index_of};

    const TAR: &[u8] = b"the stream of a layer";

    struct Layout {
        blobs: BTreeMap<Digest, Vec<u8>>,
        config: ImageConfig,
        layer: Descriptor,
    }

    impl Layout {
        fn new() -> Self {
            let mut gzip = BlockGzip::new(Vec::new(), NonZero::<usize>::MIN).unwrap();
            gzip.write_all(TAR).unwrap();
            let blob = gzip.finish().unwrap();
            let layer = Descriptor::of(MediaType::Layer(Compression::Gzip), &blob);
            let layers = [(DiffId(Digest::of(TAR)), "test".to_owned())];
            let config = ImageConfig::new(Platform::LinuxAmd64, ProcessDefaults::default(), layers);
            Self { blobs: BTreeMap::from([(layer.digest, blob)]), config, layer }
        }

        fn add(&mut self, bytes: Vec<u8>) {
            self.blobs.insert(Digest::of(&bytes), bytes);
        }

        fn validate(&mut self) -> Result<Vec<ValidImage>, ValidateError> {
            let config = self.config.to_bytes().unwrap();
            let manifest =
                Manifest::new(Descriptor::of(MediaType::Config, &config), vec![self.layer.clone()]).to_bytes().unwrap();
            let index = index_of(&manifest, Platform::LinuxAmd64, &"a/b:1".parse().unwrap()).to_bytes().unwrap();
            self.add(config);
            self.add(manifest);
            validate(&index, |digest| {
                self.blobs.get(digest).map(Vec::as_slice).ok_or_else(|| io::ErrorKind::NotFound.into())
            })
        }
    }

    #[test]
    fn a_whole_image_is_valid() {
        let images = Layout::new().validate().unwrap();
        let size = ByteSize::new(TAR.len() as u64);
        assert_eq!(images[0].layers, [ValidLayer { diff_id: DiffId(Digest::of(TAR)), size }]);
    }

    #[test]
    fn whatever_does_not_fit_is_named() {
        type Break = fn(&mut Layout);
        let cases: [(&str, Break); 6] = [
            ("cannot be used", |layout| layout.blobs.clear()),
            ("cannot be used", |layout| layout.blobs.values_mut().for_each(|blob| blob[15] ^= 1)),
            ("cannot be used", |layout| layout.layer.size = ByteSize::new(3)),
            ("where a layer must stand", |layout| layout.layer.media_type = MediaType::Config),
            ("has diff id", |layout| layout.config.rootfs.diff_ids[0] = DiffId(Digest::of(b""))),
            ("1 layers, its configuration has 1 diff ids and 0 records", |layout| {
                layout.config.history[0].empty_layer = true
            }),
        ];
        for (part, break_it) in cases {
            let mut layout = Layout::new();
            break_it(&mut layout);
            let error = layout.validate().unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
