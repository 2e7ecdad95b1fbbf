//! Artifacts and an [`ImagePlan`] become an image: unpacked layers in the store with the diff ids that the lock promises.
//!
//! No daemon, root, chroot or script takes part. Artifacts are unpacked in parallel; a layer's identity is computed by
//! streaming its folder. Nothing unverified enters an image: a layer whose diff id stands in the lock is verified by it,
//! and where the lock has none yet, each artifact is verified again before it is unpacked. Nothing is compressed here.
//! What a layer measured is kept in the store under the digest of everything that decides its bytes, so
//! an image that was assembled before costs a few look-ups. Must not fetch anything.

mod fit;
mod workshop;

use std::collections::BTreeMap;
use std::io::{self, Seek};
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layer::LayerError;
use super::tree::{self, TreeError};
use crate::archive::{ArchiveError, GlobError};
use crate::debian::DebianError;
use crate::digest::{DiffId, Digest, Hasher, HashingWriter};
use crate::disk::{self, DiskError, Metadata};
use crate::elf::Unresolved;
use crate::hint::Hint;
use crate::image_path::ImagePath;
use crate::lock::{LAYER_FORMAT, LayerBytes};
use crate::name::{ArtifactId, FileName, LayerName, Platform, ToolchainName};
use crate::oci::{Document, DocumentError, ImageConfig, ProcessDefaults};
use crate::plan::image::{ImagePlan, LayerPlan};
use crate::progress::Progress;
use crate::python::PythonError;
use crate::recipe::{Prepare, RecipeFiles};
use crate::store::{Judgement, Kept, Store, StoreError};
use crate::tarball::{FileMode, TarWriter, directory_bits};
use crate::units::ByteSize;
use fit::check_image;
use workshop::{Made, Workshop, verify_artifacts};

/// Where the converter stands in every image.
pub const CONVERTER: &str = "usr/bin/modelconverter";

/// The name of the converter's own layer, the last one.
pub const CONVERTER_LAYER: &str = "converter";

/// The variable that tells the converter inside an image which toolchain it is in.
pub const TOOLCHAIN_VARIABLE: &str = "MODELCONVERTER_TOOLCHAIN";

/// The variable that tells the converter inside an image the identity of the toolchain's layers, for its records.
pub const LAYERS_VARIABLE: &str = "MODELCONVERTER_LAYERS";

/// The kind of store documents that say what a layer measured, by the digest of what decides its bytes.
const MEASURED: &str = "layers";

/// The kind of store documents that say what a program measures as a layer, by the state of its file.
const PROGRAMS: &str = "programs";

/// The kind of store documents that say that the layers of an image fit each other, by the digest of them all.
const CHECKED: &str = "checked";

/// Read at a time from artifacts.
const BUFFER: usize = 256 * 1024;

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssembledImage {
    /// The toolchain.
    pub toolchain: ToolchainName,
    /// Where it runs.
    pub platform: Platform,
    /// The layers, lowest first; the last is the converter's own.
    pub layers: Vec<AssembledLayer>,
    /// The image configuration, as its digest sees it.
    pub config: Vec<u8>,
    /// The digest of the configuration, which container engines call the image's id.
    pub id: Digest,
    /// The environment of every process in the image.
    pub env: BTreeMap<String, String>,
    /// A command that fills the image's cache folder.
    pub prepare: Option<Prepare>,
    /// Files it is made of whose bytes may not be passed on.
    pub restricted: Vec<FileName>,
}

impl AssembledImage {
    /// Returns the layers that the lock pins: all but the converter's own.
    pub fn toolchain_layers(&self) -> impl Iterator<Item = &AssembledLayer> {
        self.layers.iter().filter(|layer| layer.name.as_str() != CONVERTER_LAYER)
    }

    /// Returns the identity of the toolchain's layers: the same whatever converter is above them.
    pub fn layers_identity(&self) -> Digest {
        layers_identity(self.toolchain_layers())
    }
}

/// Computes the diff id of an unpacked layer again, for `store verify`.
pub fn judge(expected: &DiffId, path: &Path) -> Judgement {
    match tree::measure(path) {
        Ok((found, _)) if found == *expected => Judgement::Intact,
        Ok((found, _)) => Judgement::Broken { reason: format!("its files have the diff id {found}") },
        Err(error) => Judgement::Broken { reason: error.to_string() },
    }
}

/// A layer in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssembledLayer {
    /// Its name.
    pub name: LayerName,
    /// The digest of its tar stream.
    pub diff_id: DiffId,
    /// The length of its tar stream.
    pub size: ByteSize,
    /// What the lock promises.
    pub expected: Option<LayerBytes>,
    /// The unpacked folder.
    pub tree: PathBuf,
}

/// What a layer measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Measured {
    diff_id: DiffId,
    size: ByteSize,
}

/// Whether what was assembled before is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Layers that are in the store are taken as they are.
    Assembled,
    /// Everything is made anew from the artifacts.
    Nothing,
}

/// How the work is done; the result never depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How many threads work.
    pub threads: NonZero<usize>,
    /// What is taken from the store.
    pub reuse: Reuse,
}

impl Default for Effort {
    /// As many threads as there are processors, and whatever was assembled before.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Self { threads, reuse: Reuse::Assembled }
    }
}

/// An image that cannot be assembled.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// An artifact is not in the store.
    #[error("{file} ({sha256}) is not in the store")]
    Missing {
        /// The artifact's file name.
        file: FileName,
        /// The digest of its bytes.
        sha256: Digest,
    },
    /// The bytes of an artifact in the store are not the pinned ones.
    #[error("artifact {artifact} cannot be read, or its bytes have changed in the store")]
    Artifact {
        /// Which one.
        artifact: ArtifactId,
        /// What happened.
        source: io::Error,
    },
    /// A Debian package cannot be unpacked.
    #[error("artifact {artifact} cannot be unpacked")]
    Debian {
        /// Which one.
        artifact: ArtifactId,
        /// Why.
        source: DebianError,
    },
    /// A wheel cannot be unpacked.
    #[error("artifact {artifact} cannot be unpacked")]
    Wheel {
        /// Which one.
        artifact: ArtifactId,
        /// Why.
        source: PythonError,
    },
    /// A vendor's archive cannot be unpacked.
    #[error("artifact {artifact} cannot be unpacked")]
    Archive {
        /// Which one.
        artifact: ArtifactId,
        /// Why.
        source: ArchiveError,
    },
    /// A layer cannot be put together.
    #[error("layer `{layer}` cannot be assembled")]
    Layer {
        /// Which layer.
        layer: LayerName,
        /// Why.
        #[source]
        source: Box<LayerError>,
    },
    /// Two layers have different things at one path.
    #[error("`/{path}` of layer `{upper}` is not what layer `{lower}` has there")]
    Overlap {
        /// The path.
        path: ImagePath,
        /// The lower layer.
        lower: LayerName,
        /// The upper layer.
        upper: LayerName,
    },
    /// Native libraries that nothing in the image provides.
    #[error("the image lacks native libraries: {}", list(missing))]
    Libraries {
        /// What is needed by which file.
        missing: Vec<Unresolved>,
    },
    /// A layer is not the one that the lock promises.
    #[error(
        "layer `{layer}` is not the one in the lock: expected {} ({} bytes), found {} ({} bytes)",
        expected, expected_size.bytes(), found, size.bytes()
    )]
    Different {
        /// Which layer.
        layer: LayerName,
        /// What the lock says.
        expected: DiffId,
        /// The length of what the lock says.
        expected_size: ByteSize,
        /// What was assembled.
        found: DiffId,
        /// The length of what was assembled.
        size: ByteSize,
    },
    /// The converter's own program cannot be put into the image.
    #[error("the program {} cannot be put into the image", path.display())]
    Converter {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document of the image cannot be written.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A value that belongs into a document of the store cannot be written.
    #[error("the plan of layer `{layer}` cannot be written as JSON")]
    Plan {
        /// Which layer.
        layer: LayerName,
        /// Why.
        source: serde_json::Error,
    },
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] GlobError),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A folder in the store is no layer.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AssembleError {
    /// Returns whether what the artifacts contain is the cause, and not the machine.
    pub const fn is_about_artifacts(&self) -> bool {
        matches!(
            self,
            Self::Debian { .. }
                | Self::Wheel { .. }
                | Self::Archive { .. }
                | Self::Overlap { .. }
                | Self::Libraries { .. }
                | Self::Pattern(_)
        )
    }
}

impl Hint for AssembleError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } => vec!["run `modelconverter toolchain fetch`, or leave out `--offline`".to_owned()],
            Self::Artifact { .. } => {
                vec!["run `modelconverter store verify`, then fetch the artifact again".to_owned()]
            }
            Self::Debian { source, .. } => source.hints(),
            Self::Wheel { source, .. } => source.hints(),
            Self::Archive { source, .. } => source.hints(),
            Self::Layer { source, .. } => source.hints(),
            Self::Libraries { .. } => vec![
                "add the package that has the library to the recipe, then run `modelconverter lock`".to_owned(),
                "or say why it is not needed: `allow-missing = { \"libx.so.1\" = \"reason\" }` in the recipe's layer"
                    .to_owned(),
            ],
            Self::Different { .. } => vec![
                "if the recipe was meant to change the layer, run `modelconverter lock`".to_owned(),
                "if nothing was changed, please report it: the same lock must give the same bytes everywhere"
                    .to_owned(),
            ],
            Self::Disk(error) => error.hints_in_store(),
            Self::Tree(error) => error.hints(),
            Self::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

impl AssembleError {
    /// Returns whether the lock or the recipe is to blame: on every machine the same would happen.
    pub fn is_about_the_project(&self) -> bool {
        match self {
            Self::Debian { .. }
            | Self::Wheel { .. }
            | Self::Archive { .. }
            | Self::Overlap { .. }
            | Self::Libraries { .. }
            | Self::Different { .. }
            | Self::Pattern(_) => true,
            Self::Layer { source, .. } => source.is_about_the_project(),
            _ => false,
        }
    }
}

/// Names each library with the first file that needs it, as one missing package may leave hundreds of files without it.
fn list(missing: &[Unresolved]) -> String {
    let mut files: BTreeMap<&str, Vec<&ImagePath>> = BTreeMap::new();
    for need in missing {
        files.entry(&need.library).or_default().push(&need.file);
    }
    let name = |(library, files): (&str, Vec<&ImagePath>)| match files.as_slice() {
        [] => library.to_owned(),
        [file] => format!("{library} (for /{file})"),
        [file, others @ ..] => format!("{library} (for /{file} and {} more)", others.len()),
    };
    files.into_iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Assembles the image of a plan, with the program at `converter` as its last layer.
///
/// # Errors
/// An artifact is missing or broken, inputs contradict each other, a library is missing, or the result is not what the
/// lock promises.
pub fn assemble(
    plan: &ImagePlan,
    store: &Store,
    files: &dyn RecipeFiles,
    converter: &Path,
    progress: &dyn Progress,
) -> Result<AssembledImage, AssembleError> {
    assemble_with(plan, store, files, Converter::Program(converter), Effort::default(), progress)
}

/// What becomes the last layer.
#[derive(Clone, Copy, Debug)]
pub enum Converter<'a> {
    /// The program at this path.
    Program(&'a Path),
    /// Nothing: the image is the toolchain's own, as the lock pins it.
    None,
}

/// Assembles the image of a plan in a stated way; see [`assemble`].
///
/// # Errors
/// The same.
pub fn assemble_with(
    plan: &ImagePlan,
    store: &Store,
    files: &dyn RecipeFiles,
    converter: Converter<'_>,
    effort: Effort,
    progress: &dyn Progress,
) -> Result<AssembledImage, AssembleError> {
    let job = Job { plan, store, files, effort, progress };
    let (layers, own) = std::thread::scope(|scope| {
        // A large program takes as long as a small layer.
        let own = match converter {
            Converter::Program(path) => Some(scope.spawn(|| converter_layer(path, store))),
            Converter::None => None,
        };
        let layers = assemble_layers(job);
        (layers, own.map(|own| own.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
    });
    let mut layers = layers?;
    let identity = layers_identity(&layers);
    let mut env = plan.env.clone();
    let mut history: Vec<String> = plan.layers.iter().map(created_by).collect();
    if let Some(own) = own {
        layers.push(own?);
        history.push(format!("modelconverter layer-format {LAYER_FORMAT}: modelconverter"));
        env.insert(TOOLCHAIN_VARIABLE.to_owned(), plan.toolchain.to_string());
        env.insert(LAYERS_VARIABLE.to_owned(), identity.to_string());
    }
    let defaults = ProcessDefaults {
        entrypoint: match converter {
            Converter::Program(_) => vec![format!("/{CONVERTER}")],
            Converter::None => Vec::new(),
        },
        env: env.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        working_dir: "/".to_owned(),
    };
    let diff_ids = layers.iter().map(|layer| layer.diff_id);
    let config = ImageConfig::new(plan.platform, defaults, std::iter::zip(diff_ids, history)).to_bytes()?;
    Ok(AssembledImage {
        toolchain: plan.toolchain.clone(),
        platform: plan.platform,
        layers,
        id: Digest::of(&config),
        config,
        env,
        prepare: plan.prepare.clone(),
        restricted: plan.restricted.clone(),
    })
}

/// Returns the digest of the diff ids of some layers, lowest first: the OCI image specification's "chain" in one step.
fn layers_identity<'a>(layers: impl IntoIterator<Item = &'a AssembledLayer>) -> Digest {
    identity_of(layers.into_iter().map(|layer| layer.diff_id))
}

fn identity_of(ids: impl IntoIterator<Item = DiffId>) -> Digest {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    Digest::of(ids.join(" ").as_bytes())
}

/// Says what a layer was made of.
fn created_by(layer: &LayerPlan) -> String {
    let inputs: Vec<&str> = layer.content.artifacts.iter().map(|artifact| artifact.id.as_str()).collect();
    format!("modelconverter layer-format {LAYER_FORMAT}: {}", inputs.join(" ")).trim_end_matches([' ', ':']).to_owned()
}

/// What is to be assembled, from what, and how.
#[derive(Clone, Copy)]
struct Job<'a> {
    plan: &'a ImagePlan,
    store: &'a Store,
    files: &'a dyn RecipeFiles,
    effort: Effort,
    progress: &'a dyn Progress,
}

fn assemble_layers(job: Job<'_>) -> Result<Vec<AssembledLayer>, AssembleError> {
    let Job { plan, store, files, effort, .. } = job;
    let identities = plan.layers.iter().map(|layer| identity(layer, files)).collect::<Result<Vec<_>, _>>()?;
    let whole = image_identity(plan, &identities);
    let find = || match effort.reuse {
        Reuse::Assembled => find_layers(plan, store, &identities),
        Reuse::Nothing => Ok(plan.layers.iter().map(|_| None).collect()),
    };
    let is_checked = || Ok::<_, AssembleError>(store.document(CHECKED, &whole.hex())?.is_some());
    let found = find()?;
    if found.iter().all(Option::is_some) && is_checked()? {
        return Ok(found.into_iter().flatten().collect());
    }
    check_artifacts(plan, store, &found)?;
    // Another process may be at it; then there is nothing left to do when it lets go.
    let _lock = store.lock(&format!("assemble {whole}"))?;
    let found = find()?;
    let is_known = found.iter().all(Option::is_some) && is_checked()?;
    let done = make_layers(job, found, is_known)?;
    for (identity, layer) in std::iter::zip(&identities, &done) {
        let measured = Measured { diff_id: layer.diff_id, size: layer.size };
        let bytes = serde_json::to_vec(&measured)
            .map_err(|source| AssembleError::Plan { layer: layer.name.clone(), source })?;
        store.write_document(MEASURED, &identity.hex(), &bytes)?;
    }
    store.write_document(CHECKED, &whole.hex(), b"{}")?;
    Ok(done)
}

/// Returns whether the layers of a plan are in the store and known to fit together, so that nothing is left to do.
///
/// # Errors
/// The store or a file of the recipe cannot be read.
pub fn is_assembled(plan: &ImagePlan, store: &Store, files: &dyn RecipeFiles) -> Result<bool, AssembleError> {
    let identities = plan.layers.iter().map(|layer| identity(layer, files)).collect::<Result<Vec<_>, _>>()?;
    let whole = image_identity(plan, &identities);
    let found = find_layers(plan, store, &identities)?;
    Ok(found.iter().all(Option::is_some) && store.document(CHECKED, &whole.hex())?.is_some())
}

/// Finds out before any work begins whether an artifact of a layer that has to be made is missing.
fn check_artifacts(plan: &ImagePlan, store: &Store, found: &[Option<AssembledLayer>]) -> Result<(), AssembleError> {
    let to_make = std::iter::zip(&plan.layers, found).filter(|(_, found)| found.is_none());
    for artifact in to_make.flat_map(|(layer, _)| &layer.content.artifacts) {
        if store.blob(&artifact.sha256)?.is_none() {
            return Err(AssembleError::Missing { file: artifact.file.clone(), sha256: artifact.sha256 });
        }
    }
    Ok(())
}

/// Returns what `gc` must keep for the image of a plan, beyond what the lock names: what its layers measured, that they
/// fit, and what its `prepare` command derived.
///
/// # Errors
/// A file of the recipe cannot be read.
pub fn kept(plan: &ImagePlan, files: &dyn RecipeFiles) -> Result<Kept, AssembleError> {
    let identities = plan.layers.iter().map(|layer| identity(layer, files)).collect::<Result<Vec<_>, _>>()?;
    let mut kept = Kept::default();
    kept.documents.extend(identities.iter().map(|identity| (MEASURED.to_owned(), identity.hex())));
    kept.documents.insert((CHECKED.to_owned(), image_identity(plan, &identities).hex()));
    if let (Some(prepare), Some(ids)) = (&plan.prepare, plan.diff_ids()) {
        kept.caches.insert(cache_key(identity_of(ids), prepare));
    }
    Ok(kept)
}

/// Returns the key of what an image's `prepare` command derives: it depends on the toolchain's layers only, so the
/// converter's own layer has no part in it.
pub fn cache_key(layers: Digest, prepare: &Prepare) -> Digest {
    Digest::of(format!("{layers}\n{}", prepare.command.join("\0")).as_bytes())
}

/// Returns the digest of everything that decides a layer's bytes.
fn identity(layer: &LayerPlan, files: &dyn RecipeFiles) -> Result<Digest, AssembleError> {
    let mut hasher = Hasher::default();
    hasher.update(format!("layer format {LAYER_FORMAT}\n").as_bytes());
    let plan = serde_json::to_vec(&layer.content)
        .map_err(|source| AssembleError::Plan { layer: layer.name.clone(), source })?;
    hasher.update(&plan);
    for file in &layer.content.files {
        let bytes = files.read(&file.from).map_err(|source| AssembleError::Layer {
            layer: layer.name.clone(),
            source: Box::new(LayerError::RecipeFile { from: file.from.clone(), source }),
        })?;
        hasher.update(format!("\n{}", Digest::of(&bytes)).as_bytes());
    }
    Ok(hasher.finish().1)
}

/// Returns the digest of everything that decides whether the layers fit each other.
fn image_identity(plan: &ImagePlan, identities: &[Digest]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(format!("{}\n{}\n", plan.platform, library_path(plan)).as_bytes());
    for (identity, layer) in std::iter::zip(identities, &plan.layers) {
        let allowed: Vec<&str> = layer.allow_missing.keys().map(String::as_str).collect();
        hasher.update(format!("{identity} {}\n", allowed.join(" ")).as_bytes());
    }
    hasher.finish().1
}

/// Returns where some process of the image looks for libraries, beside the loader's own places.
fn library_path(plan: &ImagePlan) -> String {
    let everywhere = plan.env.get("LD_LIBRARY_PATH").cloned();
    let of_tools = plan.library_folders.iter().map(|folder| format!("/{folder}"));
    everywhere.into_iter().chain(of_tools).collect::<Vec<_>>().join(":")
}

/// Looks layers up that were assembled before.
fn find_layers(
    plan: &ImagePlan,
    store: &Store,
    identities: &[Digest],
) -> Result<Vec<Option<AssembledLayer>>, AssembleError> {
    let find = |(identity, layer): (&Digest, &LayerPlan)| {
        let document = store.document(MEASURED, &identity.hex())?;
        let measured = document.and_then(|bytes| serde_json::from_slice::<Measured>(&bytes).ok());
        let Some(measured) = measured else { return Ok(None) };
        check(layer, measured)?;
        let tree = store.tree(&measured.diff_id)?;
        Ok(tree.map(|tree| assembled(layer, measured, tree)))
    };
    std::iter::zip(identities, &plan.layers).map(find).collect()
}

fn assembled(layer: &LayerPlan, measured: Measured, tree: PathBuf) -> AssembledLayer {
    let Measured { diff_id, size } = measured;
    AssembledLayer { name: layer.name.clone(), diff_id, size, expected: layer.expected, tree }
}

/// Checks a layer against the lock.
fn check(layer: &LayerPlan, measured: Measured) -> Result<(), AssembleError> {
    match layer.expected {
        Some(expected) if (expected.diff_id, expected.size) != (measured.diff_id, measured.size) => {
            Err(AssembleError::Different {
                layer: layer.name.clone(),
                expected: expected.diff_id,
                expected_size: expected.size,
                found: measured.diff_id,
                size: measured.size,
            })
        }
        _ => Ok(()),
    }
}

fn make_layers(
    job: Job<'_>,
    found: Vec<Option<AssembledLayer>>,
    is_known: bool,
) -> Result<Vec<AssembledLayer>, AssembleError> {
    let plan = job.plan;
    let made = Workshop::new(job, found)?.work()?;
    for (layer, made) in std::iter::zip(&plan.layers, &made) {
        if let Made::New { measured, .. } = made
            && let Err(different) = check(layer, *measured)
        {
            verify_artifacts(layer, job.store)?;
            return Err(different);
        }
    }
    if !is_known {
        check_image(plan, &made)?;
    }
    std::iter::zip(&plan.layers, made)
        .map(|(layer, made)| match made {
            Made::Found(layer) => Ok(layer),
            Made::New { staged, measured, .. } => Ok(assembled(layer, measured, staged.commit(&measured.diff_id)?)),
        })
        .collect()
}

fn in_layer(layer: &LayerPlan) -> impl FnOnce(LayerError) -> AssembleError {
    |source| AssembleError::Layer { layer: layer.name.clone(), source: Box::new(source) }
}

/// Puts the running program, or another, into a layer of its own.
fn converter_layer(program: &Path, store: &Store) -> Result<AssembledLayer, AssembleError> {
    let failed = |source| AssembleError::Converter { path: program.to_owned(), source };
    let named = |error: &dyn std::fmt::Display| failed(io::Error::other(error.to_string()));
    let name: LayerName = CONVERTER_LAYER.parse().map_err(|error| named(&error))?;
    let place: ImagePath = CONVERTER.parse().map_err(|error| named(&error))?;
    let mut folders: Vec<ImagePath> = place.ancestors().collect();
    folders.reverse();
    let done = |measured: Measured, tree| {
        let Measured { diff_id, size } = measured;
        AssembledLayer { name: name.clone(), diff_id, size, expected: None, tree }
    };

    let mut source = disk::open(program)?;
    let state = FileState::of(&source.metadata().map_err(failed)?);
    let key = Digest::of(format!("layer format {LAYER_FORMAT} {state:?}").as_bytes()).hex();
    let document = store.document(PROGRAMS, &key)?;
    if let Some(measured) = document.and_then(|bytes| serde_json::from_slice::<Measured>(&bytes).ok())
        && let Some(tree) = store.tree(&measured.diff_id)?
    {
        return Ok(done(measured, tree));
    }

    let mut tar = TarWriter::new(HashingWriter::new(io::sink()));
    folders.iter().try_for_each(|folder| tar.directory(folder)).map_err(failed)?;
    tar.file(&place, FileMode::Executable, ByteSize::new(state.length), &mut source).map_err(failed)?;
    let (_, size, digest) = tar.finish().map_err(failed)?.finish();
    let measured = Measured { diff_id: DiffId(digest), size };
    let tree = match store.tree(&measured.diff_id)? {
        Some(tree) => tree,
        None => {
            let staged = store.stage_tree()?;
            let at = |path: &ImagePath| staged.path().join(path.as_str());
            disk::set_mode(staged.path(), 0o755)?;
            for folder in &folders {
                disk::create_folder(&at(folder))?;
                disk::set_mode(&at(folder), directory_bits(folder))?;
            }
            let mut target = disk::create_new(&at(&place), FileMode::Executable.bits())?;
            disk::set_file_mode(&target, FileMode::Executable.bits(), &at(&place))?;
            source.rewind().map_err(failed)?;
            // A copy: builders overwrite programs in place, and a hard link would change with them.
            io::copy(&mut source, &mut target).map_err(failed)?;
            if FileState::of(&source.metadata().map_err(failed)?) != state {
                return Err(failed(io::Error::other("it was overwritten while it was copied")));
            }
            staged.commit(&measured.diff_id)?
        }
    };
    if state.is_settled() {
        let bytes =
            serde_json::to_vec(&measured).map_err(|source| AssembleError::Plan { layer: name.clone(), source })?;
        store.write_document(PROGRAMS, &key, &bytes)?;
    }
    Ok(done(measured, tree))
}

/// What tells that a file has not changed since it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds, as in the next.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns whether any later change will show: file systems tell times apart only when some time lies between.
    fn is_settled(&self) -> bool {
        const TOLD_APART: u64 = 2;
        let last = self.modified.max(self.changed).0;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        u64::try_from(last).is_ok_and(|last| last.saturating_add(TOLD_APART) < now)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn another_program_has_another_state_and_a_new_one_is_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, "one").unwrap();
        let state = || FileState::of(&fs::metadata(&path).unwrap());
        let before = state();
        assert_eq!(state(), before);
        assert!(!before.is_settled());
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(state(), before, "its times and length are the same, but it is another file");
        let old = |seconds: i64| (before.changed.0 - seconds, 0);
        assert!(FileState { modified: old(10), changed: old(10), ..before }.is_settled());
        assert!(!FileState { modified: old(-10), changed: old(10), ..before }.is_settled(), "a time to come");
    }
}
