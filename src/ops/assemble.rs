//! Artifacts and an [`ImagePlan`] become an image: unpacked layers in the store with the diff ids that the lock promises.
//!
//! No daemon, root, chroot or script takes part. Artifacts are unpacked in parallel, each verified once more while it is
//! read, as nothing unverified may enter an image; a layer's identity is computed by streaming its folder. Nothing is
//! compressed here. What a layer measured is kept in the store under the digest of everything that decides its bytes, so
//! an image that was assembled before costs a few look-ups. Must not fetch anything.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layer::{Finished, Layer, LayerError};
use super::tree::{self, Node, TreeError};
use crate::archive::{self, ArchiveError, GlobError, Placement};
use crate::debian::{self, DebianError};
use crate::digest::{DiffId, Digest, Hasher, VerifyingReader};
use crate::disk::{self, DiskError};
use crate::elf::{self, Dynamic, Unresolved};
use crate::hint::Hint;
use crate::image_path::ImagePath;
use crate::lock::{LAYER_FORMAT, LayerBytes};
use crate::name::{ArtifactId, FileName, LayerName, Platform, ToolchainName};
use crate::oci::{Document, DocumentError, ImageConfig, ProcessDefaults};
use crate::plan::image::{ImagePlan, LayerPlan, PlannedArtifact, Unpacking};
use crate::progress::{Progress, Subject};
use crate::python::{self, PythonError};
use crate::recipe::{Prepare, RecipeFiles};
use crate::store::{Judgement, StagedTree, Store, StoreError};
use crate::units::ByteSize;

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
        expected.diff_id, expected.size.bytes(), found, size.bytes()
    )]
    Different {
        /// Which layer.
        layer: LayerName,
        /// What the lock says.
        expected: Box<LayerBytes>,
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
            Self::Disk(error) => error.hints(),
            Self::Tree(error) => error.hints(),
            Self::Store(error) => error.hints(),
            _ => Vec::new(),
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
    let mut layers = assemble_layers(plan, store, files, effort, progress)?;
    let identity = layers_identity(&layers);
    let mut env = plan.env.clone();
    let mut history: Vec<String> = plan.layers.iter().map(created_by).collect();
    if let Converter::Program(path) = converter {
        layers.push(converter_layer(path, store)?);
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
    })
}

/// Returns the digest of the diff ids of some layers, lowest first: the OCI image specification's "chain" in one step.
fn layers_identity<'a>(layers: impl IntoIterator<Item = &'a AssembledLayer>) -> Digest {
    let ids: Vec<String> = layers.into_iter().map(|layer| layer.diff_id.to_string()).collect();
    Digest::of(ids.join(" ").as_bytes())
}

/// Says what a layer was made of.
fn created_by(layer: &LayerPlan) -> String {
    let inputs: Vec<&str> = layer.content.artifacts.iter().map(|artifact| artifact.id.as_str()).collect();
    format!("modelconverter layer-format {LAYER_FORMAT}: {}", inputs.join(" ")).trim_end_matches([' ', ':']).to_owned()
}

fn assemble_layers(
    plan: &ImagePlan,
    store: &Store,
    files: &dyn RecipeFiles,
    effort: Effort,
    progress: &dyn Progress,
) -> Result<Vec<AssembledLayer>, AssembleError> {
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
    // Another process may be at it; then there is nothing left to do when it lets go.
    let _lock = store.lock(&format!("assemble {whole}"))?;
    let found = find()?;
    let is_known = found.iter().all(Option::is_some) && is_checked()?;
    let made = Workshop::new(plan, store, files, progress, found)?.work(effort.threads)?;
    if !is_known {
        check_image(plan, &made)?;
    }
    let done = keep(plan, made)?;
    for (identity, layer) in std::iter::zip(&identities, &done) {
        let measured = Measured { diff_id: layer.diff_id, size: layer.size };
        let bytes = serde_json::to_vec(&measured)
            .map_err(|source| AssembleError::Plan { layer: layer.name.clone(), source })?;
        store.write_document(MEASURED, &identity.hex(), &bytes)?;
    }
    store.write_document(CHECKED, &whole.hex(), b"{}")?;
    Ok(done)
}

/// Returns the digest of everything that decides a layer's bytes.
fn identity(layer: &LayerPlan, files: &dyn RecipeFiles) -> Result<Digest, AssembleError> {
    let mut hasher = Hasher::default();
    hasher.update(format!("layer format {LAYER_FORMAT}\n").as_bytes());
    let plan = serde_json::to_vec(&layer.content)
        .map_err(|source| AssembleError::Plan { layer: layer.name.clone(), source })?;
    hasher.update(&plan);
    for file in &layer.content.files {
        let unreadable = |source| LayerError::RecipeFile { from: file.from.clone(), source };
        let bytes = files.read(&file.from).map_err(unreadable).map_err(in_layer(layer))?;
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

fn library_path(plan: &ImagePlan) -> &str {
    plan.env.get("LD_LIBRARY_PATH").map_or("", String::as_str)
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
            let (layer, found, size) = (layer.name.clone(), measured.diff_id, measured.size);
            Err(AssembleError::Different { layer, expected: Box::new(expected), found, size })
        }
        _ => Ok(()),
    }
}

/// A layer on its way into the store.
enum Made {
    /// It was there.
    Found(AssembledLayer),
    /// It is new.
    New { staged: StagedTree, elf: BTreeMap<ImagePath, Dynamic>, measured: Measured },
}

impl Made {
    fn root(&self) -> &Path {
        match self {
            Self::Found(layer) => &layer.tree,
            Self::New { staged, .. } => staged.path(),
        }
    }
}

/// Puts layers into the store, once all of them are the ones that the lock promises.
fn keep(plan: &ImagePlan, made: Vec<Made>) -> Result<Vec<AssembledLayer>, AssembleError> {
    for (layer, made) in std::iter::zip(&plan.layers, &made) {
        if let Made::New { measured, .. } = made {
            check(layer, *measured)?;
        }
    }
    std::iter::zip(&plan.layers, made)
        .map(|(layer, made)| match made {
            Made::Found(layer) => Ok(layer),
            Made::New { staged, measured, .. } => Ok(assembled(layer, measured, staged.commit(&measured.diff_id)?)),
        })
        .collect()
}

/// Artifacts being unpacked and layers being measured by several threads.
struct Workshop<'a> {
    plan: &'a ImagePlan,
    store: &'a Store,
    files: &'a dyn RecipeFiles,
    progress: &'a dyn Progress,
    benches: Vec<Bench<'a>>,
    /// Layer and artifact, by their positions, in the order in which they are taken up.
    tasks: Vec<(usize, usize)>,
    next: AtomicUsize,
    stop: AtomicBool,
    /// What went wrong, with the task it went wrong in.
    failures: Mutex<Vec<((usize, usize), AssembleError)>>,
}

/// One layer in the workshop.
struct Bench<'a> {
    /// Taken by whoever finishes it.
    layer: Mutex<Option<std::sync::Arc<Layer<'a>>>>,
    /// Artifacts that are not unpacked yet.
    left: AtomicUsize,
    made: Mutex<Option<Made>>,
}

impl<'a> Workshop<'a> {
    fn new(
        plan: &'a ImagePlan,
        store: &'a Store,
        files: &'a dyn RecipeFiles,
        progress: &'a dyn Progress,
        found: Vec<Option<AssembledLayer>>,
    ) -> Result<Self, AssembleError> {
        let mut benches = Vec::new();
        let mut tasks = Vec::new();
        for (index, (layer, found)) in std::iter::zip(&plan.layers, found).enumerate() {
            let artifacts = &layer.content.artifacts;
            let staged = match &found {
                Some(_) => None,
                None => Some(std::sync::Arc::new(Layer::begin(&layer.content, store).map_err(in_layer(layer))?)),
            };
            if found.is_none() {
                // A layer without artifacts still has one piece of work: to be finished.
                tasks.extend((0..artifacts.len().max(1)).map(|artifact| (index, artifact)));
            }
            benches.push(Bench {
                layer: Mutex::new(staged),
                left: AtomicUsize::new(artifacts.len().max(1)),
                made: Mutex::new(found.map(Made::Found)),
            });
        }
        // Largest first, so that no thread is left alone with a large one at the end.
        let size = |(layer, artifact): &(usize, usize)| {
            let layer = plan.layers.get(*layer)?;
            Some(layer.content.artifacts.get(*artifact)?.size)
        };
        tasks.sort_by_key(|task| std::cmp::Reverse(size(task)));
        let (next, stop, failures) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::default());
        Ok(Self { plan, store, files, progress, benches, tasks, next, stop, failures })
    }

    /// Does all the work and returns the layers, or the failure of the lowest layer and first artifact among those seen.
    fn work(self, threads: NonZero<usize>) -> Result<Vec<Made>, AssembleError> {
        let threads = threads.get().min(self.tasks.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work_alone());
            }
        });
        let mut failures = self.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        failures.sort_by_key(|(task, _)| *task);
        if let Some((_, failure)) = failures.into_iter().next() {
            return Err(failure);
        }
        let made =
            self.benches.into_iter().map(|bench| bench.made.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(made.flatten().collect())
    }

    fn work_alone(&self) {
        while let Some(task) = self.tasks.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(failure) = self.carry_out(*task) {
                self.stop.store(true, Ordering::Relaxed);
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push((*task, failure));
                return;
            }
        }
    }

    /// Unpacks one artifact, and finishes its layer if that was the last one.
    fn carry_out(&self, (layer_index, artifact_index): (usize, usize)) -> Result<(), AssembleError> {
        let (Some(bench), Some(layer)) = (self.benches.get(layer_index), self.plan.layers.get(layer_index)) else {
            return Ok(());
        };
        if let Some(artifact) = layer.content.artifacts.get(artifact_index) {
            let staged = bench.layer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(staged) = staged {
                let subject = Subject::Unpack(artifact.id.to_string());
                self.progress.started(&subject, Some(artifact.size));
                let result = unpack(artifact, artifact_index, layer, &staged, self.store);
                self.progress.ended(&subject, &result);
                result?;
            }
        }
        if bench.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Ok(());
        }
        let staged = bench.layer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Everybody else has let go of the layer before counting down.
        if let Some(staged) = staged.and_then(std::sync::Arc::into_inner) {
            let subject = Subject::Layer(layer.name.to_string());
            self.progress.started(&subject, None);
            let result = self.finish(staged, layer);
            self.progress.ended(&subject, &result);
            *bench.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(result?);
        }
        Ok(())
    }

    fn finish(&self, staged: Layer<'a>, layer: &LayerPlan) -> Result<Made, AssembleError> {
        let Finished { staged, elf } = staged.finish(self.files, self.plan.platform).map_err(in_layer(layer))?;
        let (diff_id, size) = tree::measure(staged.path())?;
        Ok(Made::New { staged, elf, measured: Measured { diff_id, size } })
    }
}

fn in_layer(layer: &LayerPlan) -> impl FnOnce(LayerError) -> AssembleError {
    |source| AssembleError::Layer { layer: layer.name.clone(), source: Box::new(source) }
}

/// Unpacks an artifact into its layer.
fn unpack(
    artifact: &PlannedArtifact,
    index: usize,
    layer: &LayerPlan,
    staged: &Layer<'_>,
    store: &Store,
) -> Result<(), AssembleError> {
    let missing = || AssembleError::Missing { file: artifact.file.clone(), sha256: artifact.sha256 };
    let path = store.blob(&artifact.sha256)?.ok_or_else(missing)?;
    let unreadable = |source| AssembleError::Artifact { artifact: artifact.id.clone(), source };
    let file = disk::open(&path)?;
    let mut sink = staged.sink(index);
    let result = match &artifact.unpacking {
        Unpacking::Debian { package, scripts } => {
            let mut verified =
                BufReader::with_capacity(BUFFER, VerifyingReader::new(file, artifact.size, artifact.sha256));
            let control = debian::unpack(&mut verified, &mut sink);
            // The digest is compared when the last byte has been read.
            let rest = io::copy(&mut verified, &mut io::sink());
            match (control, rest) {
                (Ok(control), Ok(_)) => {
                    let unknown = |script: &&String| {
                        let bytes = control.scripts.get(*script).map(|bytes| Digest::of(bytes));
                        bytes != scripts.get(*script).copied()
                    };
                    if let Some(script) = control.scripts.keys().find(unknown).cloned() {
                        return Err(in_layer(layer)(LayerError::Script { package: package.clone(), script }));
                    }
                    staged.control(package, control);
                    Ok(())
                }
                // Changed bytes explain whatever else went wrong.
                (_, Err(source)) => Err(unreadable(source)),
                (Err(source), Ok(_)) => Err(AssembleError::Debian { artifact: artifact.id.clone(), source }),
            }
        }
        Unpacking::Wheel { site_packages, scripts, interpreter } => {
            let (site_packages, scripts) = (site_packages.clone(), scripts.clone());
            let place = python::Place { site_packages, scripts, interpreter: interpreter.clone() };
            let verified = verify(file, artifact).map_err(unreadable)?;
            python::unpack(&artifact.file, verified, &place, &mut sink)
                .map_err(|source| AssembleError::Wheel { artifact: artifact.id.clone(), source })
        }
        Unpacking::Archive { folder, strip, include } => {
            let include = archive::globs(include.iter().map(String::as_str))?;
            let placement = Placement { folder: folder.clone(), strip: *strip, include };
            let verified = verify(file, artifact).map_err(unreadable)?;
            archive::unpack(&artifact.file, verified, &placement, &mut sink)
                .map_err(|source| AssembleError::Archive { artifact: artifact.id.clone(), source })
        }
    };
    // What stopped the reader says more than that it was stopped.
    match (result, sink.failure()) {
        (Err(AssembleError::Artifact { artifact, source }), None) => Err(AssembleError::Artifact { artifact, source }),
        (Err(_), Some(failure)) => Err(in_layer(layer)(failure)),
        (result, _) => result,
    }
}

/// Reads a file once to its end and returns it at its beginning, for readers that go back and forth in it.
fn verify(mut file: File, artifact: &PlannedArtifact) -> io::Result<Positioned> {
    let mut verified = VerifyingReader::new(&mut file, artifact.size, artifact.sha256);
    let mut buffer = vec![0; BUFFER];
    while verified.read(&mut buffer)? > 0 {}
    file.rewind()?;
    Ok(Positioned { inner: BufReader::with_capacity(BUFFER, file), position: 0 })
}

/// A buffered file that keeps its buffer when it is told to go where it nearly is, as readers of zip files do all the
/// time; [`BufReader`] alone would read everything many times over.
struct Positioned {
    inner: BufReader<File>,
    position: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Positioned {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(target) => Some(target),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(_) => None,
        };
        let distance = target.and_then(|target| target.checked_signed_diff(self.position));
        self.position = match (target, distance) {
            (Some(target), Some(distance)) => {
                self.inner.seek_relative(distance)?;
                target
            }
            _ => self.inner.seek(to)?,
        };
        Ok(self.position)
    }
}

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

/// Checks what layers must be to each other: no two contents at one path, and no library missing.
fn check_image(plan: &ImagePlan, made: &[Made]) -> Result<(), AssembleError> {
    let mut paths = Paths { nodes: HashMap::new() };
    let mut dynamic = BTreeMap::new();
    for (index, layer) in made.iter().enumerate() {
        let nodes = tree::nodes(layer.root())?;
        match layer {
            Made::New { elf, .. } => {
                let first_names: HashMap<&ImagePath, &ImagePath> = nodes
                    .iter()
                    .filter_map(|(path, node)| match node {
                        Node::Hardlink { original, .. } => Some((path, original)),
                        _ => None,
                    })
                    .collect();
                let first = |path: &ImagePath| first_names.get(path).map_or(path, |first| *first).clone();
                dynamic.extend(elf.iter().map(|(path, dynamic)| (first(path), dynamic.clone())));
            }
            Made::Found(found) => dynamic.extend(read_elf(plan.platform, &found.tree, &nodes)?),
        }
        for (path, node) in nodes {
            if let Some((lower, below)) = paths.nodes.get(&path) {
                if !is_same(made, (*lower, below), (index, &node), &path)? {
                    let name = |index: usize| plan.layers.get(index).map(|layer| layer.name.clone());
                    if let (Some(lower), Some(upper)) = (name(*lower), name(index)) {
                        return Err(AssembleError::Overlap { path, lower, upper });
                    }
                }
                continue;
            }
            paths.nodes.insert(path, (index, node));
        }
    }
    let is_allowed = |library: &str| plan.layers.iter().any(|layer| layer.allow_missing.contains_key(library));
    let mut missing = elf::unresolved(plan.platform, &dynamic, &paths, library_path(plan));
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

/// Puts the running program, or another, into a layer of its own.
fn converter_layer(program: &Path, store: &Store) -> Result<AssembledLayer, AssembleError> {
    let failed = |source| AssembleError::Converter { path: program.to_owned(), source };
    let name: LayerName = CONVERTER_LAYER.parse().map_err(|error| failed(io::Error::other(error)))?;
    let mut source = disk::open(program)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        match source.read(&mut buffer).map_err(failed)? {
            0 => break,
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    let (_, digest) = hasher.finish();
    let identity = Digest::of(format!("layer format {LAYER_FORMAT} converter {digest}").as_bytes());
    let done = |measured: Measured, tree| {
        let Measured { diff_id, size } = measured;
        AssembledLayer { name: name.clone(), diff_id, size, expected: None, tree }
    };
    let document = store.document(MEASURED, &identity.hex())?;
    if let Some(measured) = document.and_then(|bytes| serde_json::from_slice::<Measured>(&bytes).ok())
        && let Some(tree) = store.tree(&measured.diff_id)?
    {
        return Ok(done(measured, tree));
    }
    let staged = store.stage_tree()?;
    let place = staged.path().join(CONVERTER);
    for folder in ["", "usr", "usr/bin"] {
        disk::create_folder(&staged.path().join(folder))?;
        disk::set_mode(&staged.path().join(folder), 0o755)?;
    }
    let mut target = disk::create_new(&place, 0o755)?;
    source.rewind().map_err(failed)?;
    // A copy: builders overwrite programs in place, and a hard link would change with them.
    io::copy(&mut source, &mut target).map_err(failed)?;
    disk::set_file_mode(&target, 0o755, &place)?;
    let (diff_id, size) = tree::measure(staged.path())?;
    let measured = Measured { diff_id, size };
    let tree = staged.commit(&diff_id)?;
    let bytes = serde_json::to_vec(&measured).map_err(|source| AssembleError::Plan { layer: name.clone(), source })?;
    store.write_document(MEASURED, &identity.hex(), &bytes)?;
    Ok(done(measured, tree))
}
