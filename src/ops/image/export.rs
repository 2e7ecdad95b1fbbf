//! An assembled image as one file or folder that other tools read.
//!
//! Owns the two forms: layers in block gzip 1, for passing on, and layers as they are, for a container engine on the same
//! machine. Both are OCI image layouts; the file also has what engines without layouts read. Its bytes follow from the
//! image and its name. Every layer is hashed once more on its way out, so that nothing leaves that is not what it is
//! called.

use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::ImageError;
use crate::block_gzip::BlockGzip;
use crate::digest::{DiffId, Digest, HashingWriter};
use crate::disk::{self, DiskError, File, TemporaryFolder};
use crate::engine::ImageArchive;
use crate::image_path::ImagePath;
use crate::lock::LayerBytes;
use crate::oci::{
    Compression, Descriptor, DockerImage, Document, INDEX, ImageReference, LAYOUT, LAYOUT_CONTENT, LEGACY_MANIFEST,
    Manifest, MediaType, blob_path, index_of,
};
use crate::ops::assemble::{AssembledImage, AssembledLayer};
use crate::ops::tree::{self, TreeError};
use crate::progress::{Progress, Subject};
use crate::store::Store;
use crate::tarball::{FileMode, TarWriter};
use crate::units::ByteSize;

/// The annotation of manifests that says that the image has files whose licences forbid passing them on.
pub const REDISTRIBUTABLE: &str = "org.modelconverter.redistributable";

/// How layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveForm {
    /// In block gzip 1: for files that travel.
    Compressed,
    /// As they are: for a container engine on the same machine, which unpacks them at once.
    Uncompressed,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The name of the image inside.
    pub reference: ImageReference,
    /// The digest of the manifest, by which registries know the image.
    pub manifest: Digest,
    /// The digest of the configuration, by which engines know it.
    pub id: Digest,
}

/// A layer ready to be written.
struct Blob {
    descriptor: Descriptor,
    content: BlobContent,
}

enum BlobContent {
    /// A compressed file.
    File(PathBuf),
    /// The folder whose stream it is.
    Tree(PathBuf),
}

/// Everything of an export but the place.
struct Export {
    /// Documents by their paths in the layout.
    documents: Vec<(String, Vec<u8>)>,
    layers: Vec<Blob>,
    exported: Exported,
    /// Holds compressed layers until they are written.
    _scratch: Option<TemporaryFolder>,
}

/// Writes an image as one file: an OCI image layout in a tar, which `docker load` and `podman load` read as well.
///
/// # Errors
/// `to` fails, the store cannot be used, a layer's folder has been changed, or the compressed form is not what the lock
/// says.
pub fn write_archive(
    image: &AssembledImage,
    store: &Store,
    form: ArchiveForm,
    to: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Exported, ImageError> {
    let export = Export::prepare(image, store, form, progress)?;
    export.write_tar(to)?;
    Ok(export.exported)
}

/// Writes an image as a new folder: an OCI image layout.
///
/// # Errors
/// The folder exists, or the same as for a file.
pub fn write_layout(
    image: &AssembledImage,
    store: &Store,
    form: ArchiveForm,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Exported, ImageError> {
    if disk::metadata(folder)?.is_some() {
        return Err(ImageError::Exists { path: folder.to_owned() });
    }
    let export = Export::prepare(image, store, form, progress)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staged = TemporaryFolder::create_in(parent)?;
    let path = staged.path();
    disk::create_folder(&path.join("blobs/sha256"))?;
    for (name, bytes) in &export.documents {
        let path = path.join(name);
        disk::write_all(&mut disk::create_new(&path, 0o644)?, bytes, &path)?;
    }
    for blob in &export.layers {
        let path = path.join(blob_path(&blob.descriptor.digest));
        // Two layers of the same bytes are one blob.
        if disk::metadata(&path)?.is_none() {
            let file = disk::create_new(&path, 0o644)?;
            blob.copy_to(file)?;
        }
    }
    disk::set_mode(path, 0o755)?;
    disk::rename(path, folder)?;
    Ok(export.exported)
}

/// Measures every layer of an image in all ways that the lock records.
///
/// # Errors
/// A layer's folder has been changed or cannot be read.
pub fn measure(image: &AssembledImage, progress: &dyn Progress) -> Result<Vec<LayerBytes>, ImageError> {
    measure_on(image, threads(), progress)
}

/// Measures every layer of an image, compressing on that many threads.
pub(super) fn measure_on(
    image: &AssembledImage,
    threads: NonZero<usize>,
    progress: &dyn Progress,
) -> Result<Vec<LayerBytes>, ImageError> {
    let measure = |layer: &AssembledLayer| {
        let (_, compressed_size, compressed) = compress(layer, io::sink(), threads, progress)?;
        Ok(LayerBytes { diff_id: layer.diff_id, size: layer.size, compressed, compressed_size })
    };
    image.layers.iter().map(measure).collect()
}

fn threads() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Writes a layer in block gzip 1, and returns the writer and what passed through it.
fn compress<W: Write>(
    layer: &AssembledLayer,
    to: W,
    threads: NonZero<usize>,
    progress: &dyn Progress,
) -> Result<(W, ByteSize, Digest), ImageError> {
    let subject = Subject::Layer(layer.name.to_string());
    progress.started(&subject, Some(layer.size));
    let result = (|| {
        let failed = |source| TreeError::Stream { root: layer.tree.clone(), source };
        let gzip = BlockGzip::new(HashingWriter::new(to), threads).map_err(failed)?;
        let telling = Telling { inner: gzip, subject: &subject, progress };
        let (telling, size, found) = tree::write_layer(&layer.tree, HashingWriter::new(telling))?.finish();
        check_layer(layer, size, DiffId(found))?;
        Ok(telling.inner.finish().map_err(failed)?.finish())
    })();
    progress.ended(&subject, &result);
    result
}

/// Tells how many bytes have passed.
struct Telling<'a, W> {
    inner: W,
    subject: &'a Subject,
    progress: &'a dyn Progress,
}

impl<W: Write> Write for Telling<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        // Headers are too small to be worth telling.
        if count > 4096 {
            self.progress.advanced(self.subject, ByteSize::new(count as u64));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Checks that the folder in the store still is the layer it was.
fn check_layer(layer: &AssembledLayer, size: ByteSize, found: DiffId) -> Result<(), ImageError> {
    if (size, found) == (layer.size, layer.diff_id) {
        return Ok(());
    }
    Err(ImageError::Changed { layer: layer.name.clone(), path: layer.tree.clone(), expected: layer.diff_id, found })
}

impl Export {
    fn prepare(
        image: &AssembledImage,
        store: &Store,
        form: ArchiveForm,
        progress: &dyn Progress,
    ) -> Result<Self, ImageError> {
        let scratch = match form {
            ArchiveForm::Compressed => Some(store.scratch()?),
            ArchiveForm::Uncompressed => None,
        };
        let blob = |layer: &AssembledLayer| match &scratch {
            Some(scratch) => Blob::compressed(layer, scratch.path(), progress),
            None => Ok(Blob::plain(layer)),
        };
        let layers = image.layers.iter().map(blob).collect::<Result<Vec<_>, _>>()?;
        let config = Descriptor::of(MediaType::Config, &image.config);
        let descriptors = layers.iter().map(|blob| blob.descriptor.clone()).collect();
        let mut manifest = Manifest::new(config.clone(), descriptors);
        if !image.restricted.is_empty() {
            manifest.annotations.insert(REDISTRIBUTABLE.to_owned(), "false".to_owned());
        }
        let manifest = manifest.to_bytes()?;
        let reference = ImageReference::of_toolchain(&image.toolchain);
        let index = index_of(&manifest, image.platform, &reference).to_bytes()?;
        let legacy = vec![DockerImage {
            config: blob_path(&config.digest),
            layers: layers.iter().map(|blob| blob_path(&blob.descriptor.digest)).collect(),
            repo_tags: vec![reference.to_string()],
        }];
        let exported = Exported { reference, manifest: Digest::of(&manifest), id: image.id };
        let documents = vec![
            (LAYOUT.to_owned(), LAYOUT_CONTENT.to_vec()),
            (INDEX.to_owned(), index),
            (LEGACY_MANIFEST.to_owned(), legacy.to_bytes()?),
            (blob_path(&exported.manifest), manifest),
            (blob_path(&config.digest), image.config.clone()),
        ];
        Ok(Self { documents, layers, exported, _scratch: scratch })
    }

    /// Writes the layout as a tar: documents first, so that a reader of the stream knows what comes.
    fn write_tar(&self, to: &mut dyn Write) -> Result<(), ImageError> {
        let failed = |source| ImageError::Write { source };
        let mut tar = TarWriter::new(to);
        let path = |text: &str| text.parse::<ImagePath>().map_err(|error| failed(io::Error::other(error)));
        for folder in ["blobs", "blobs/sha256"] {
            tar.directory(&path(folder)?).map_err(failed)?;
        }
        for (name, bytes) in &self.documents {
            let size = ByteSize::new(bytes.len() as u64);
            tar.file(&path(name)?, FileMode::Plain, size, &mut bytes.as_slice()).map_err(failed)?;
        }
        let mut written: Vec<Digest> = Vec::new();
        for blob in &self.layers {
            let Descriptor { digest, size, .. } = blob.descriptor;
            // A path stands once in a tar, although two layers may have the same bytes.
            if written.contains(&digest) {
                continue;
            }
            written.push(digest);
            let place = path(&blob_path(&digest))?;
            match &blob.content {
                BlobContent::File(_) => {
                    let mut file = blob.open()?;
                    tar.file(&place, FileMode::Plain, size, &mut file).map_err(failed)?;
                }
                BlobContent::Tree(root) => {
                    let mut member = tar.begin_file(&place, FileMode::Plain, size).map_err(failed)?;
                    let hashing = tree::write_layer(root, HashingWriter::new(&mut member))?;
                    let (_, _, found) = hashing.finish();
                    member.finish().map_err(failed)?;
                    blob.check(found)?;
                }
            }
        }
        tar.finish().map_err(failed)?.flush().map_err(failed)
    }

    /// Returns the length of the tar.
    fn tar_length(&self) -> u64 {
        // Headers and the end of the stream are of 512 bytes each, contents are filled up to that; no name is long.
        let member = |size: u64| 512 + size.next_multiple_of(512);
        let documents: u64 = self.documents.iter().map(|(_, bytes)| member(bytes.len() as u64)).sum();
        let mut digests: Vec<(Digest, u64)> =
            self.layers.iter().map(|blob| (blob.descriptor.digest, blob.descriptor.size.bytes())).collect();
        digests.sort();
        digests.dedup();
        2 * 512 + documents + digests.iter().map(|(_, size)| member(*size)).sum::<u64>() + 2 * 512
    }
}

impl Blob {
    fn plain(layer: &AssembledLayer) -> Self {
        let media_type = MediaType::Layer(Compression::None);
        let descriptor = Descriptor::new(media_type, layer.diff_id.0, layer.size);
        Self { descriptor, content: BlobContent::Tree(layer.tree.clone()) }
    }

    fn compressed(layer: &AssembledLayer, scratch: &Path, progress: &dyn Progress) -> Result<Self, ImageError> {
        let path = scratch.join(layer.name.as_str());
        let (_, size, digest) = compress(layer, disk::create_new(&path, 0o644)?, threads(), progress)?;
        if let Some(expected) = layer.expected
            && (expected.compressed, expected.compressed_size) != (digest, size)
        {
            let layer = layer.name.clone();
            return Err(ImageError::Compressed { layer, expected: expected.compressed, found: digest });
        }
        let descriptor = Descriptor::new(MediaType::Layer(Compression::Gzip), digest, size);
        Ok(Self { descriptor, content: BlobContent::File(path) })
    }

    fn open(&self) -> Result<File, DiskError> {
        match &self.content {
            BlobContent::File(path) | BlobContent::Tree(path) => disk::open(path),
        }
    }

    /// Writes the bytes to a file.
    fn copy_to(&self, mut to: File) -> Result<(), ImageError> {
        let found = match &self.content {
            BlobContent::File(_) => {
                io::copy(&mut self.open()?, &mut to).map_err(|source| ImageError::Write { source })?;
                return Ok(());
            }
            BlobContent::Tree(root) => tree::write_layer(root, HashingWriter::new(&mut to))?.finish().2,
        };
        self.check(found)
    }

    /// Checks that what was streamed from a folder is what the documents say.
    fn check(&self, found: Digest) -> Result<(), ImageError> {
        let expected = self.descriptor.digest;
        if found == expected { Ok(()) } else { Err(ImageError::Streamed { expected, found }) }
    }
}

/// An assembled image in the form in which a container engine loads it.
pub struct LoadableImage<'a> {
    image: &'a AssembledImage,
    store: &'a Store,
}

impl<'a> LoadableImage<'a> {
    /// Offers `image` for loading.
    pub const fn new(image: &'a AssembledImage, store: &'a Store) -> Self {
        Self { image, store }
    }

    fn export(&self) -> Result<Export, ImageError> {
        Export::prepare(self.image, self.store, ArchiveForm::Uncompressed, &crate::progress::Silent)
    }
}

impl ImageArchive for LoadableImage<'_> {
    fn length(&self) -> Option<ByteSize> {
        self.export().ok().map(|export| ByteSize::new(export.tar_length()))
    }

    fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        let written = self.export().and_then(|export| export.write_tar(to));
        written.map_err(|error| match error {
            ImageError::Write { source } => source,
            error => io::Error::other(error),
        })
    }
}
