//! The work itself: artifacts unpacked and layers measured by several threads.
//!
//! Each piece of work is one artifact; whoever unpacks the last one of a layer also finishes and measures the layer, while
//! others go on with the next. Must not put anything into the store.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{AssembleError, AssembledLayer, BUFFER, Job, Measured, in_layer};
use crate::archive::{self, Placement};
use crate::debian;
use crate::digest::{Digest, VerifyingReader};
use crate::disk::{self, File};
use crate::elf::Dynamic;
use crate::image_path::ImagePath;
use crate::ops::layer::{Finished, Layer, LayerError, LayerSink};
use crate::ops::tree::{self, Node};
use crate::plan::image::{LayerPlan, PlannedArtifact, Unpacking};
use crate::progress::Subject;
use crate::python::{self, RecordCheck};
use crate::store::{StagedTree, Store};

/// A layer on its way into the store.
pub(super) enum Made {
    /// It was there.
    Found(AssembledLayer),
    /// It is new.
    New { staged: StagedTree, nodes: Vec<(ImagePath, Node)>, elf: BTreeMap<ImagePath, Dynamic>, measured: Measured },
}

impl Made {
    /// Returns the folder of the layer.
    pub fn root(&self) -> &Path {
        match self {
            Self::Found(layer) => &layer.tree,
            Self::New { staged, .. } => staged.path(),
        }
    }
}

/// Artifacts being unpacked and layers being measured by several threads.
pub(super) struct Workshop<'a> {
    job: Job<'a>,
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
    layer: Mutex<Option<Arc<Layer<'a>>>>,
    /// Artifacts that are not unpacked yet.
    left: AtomicUsize,
    made: Mutex<Option<Made>>,
}

impl<'a> Workshop<'a> {
    /// Lays out what is to be done; layers that were found need nothing.
    pub fn new(job: Job<'a>, found: Vec<Option<AssembledLayer>>) -> Result<Self, AssembleError> {
        let Job { plan, store, .. } = job;
        let mut benches = Vec::new();
        let mut tasks = Vec::new();
        for (index, (layer, found)) in std::iter::zip(&plan.layers, found).enumerate() {
            let artifacts = &layer.content.artifacts;
            let staged = match &found {
                Some(_) => None,
                None => Some(Arc::new(Layer::begin(&layer.content, store).map_err(in_layer(layer))?)),
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
        // The largest layer first, so that one thread measures it while others unpack the next; and in it the largest
        // artifact first, so that no thread is left alone with one at the end.
        let size = |(layer, artifact): &(usize, usize)| {
            let artifacts = &plan.layers.get(*layer)?.content.artifacts;
            let whole: u64 = artifacts.iter().map(|artifact| artifact.size.bytes()).sum();
            Some((whole, artifacts.get(*artifact)?.size))
        };
        tasks.sort_by_cached_key(|task| std::cmp::Reverse(size(task)));
        let (next, stop, failures) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::default());
        Ok(Self { job, benches, tasks, next, stop, failures })
    }

    /// Does all the work and returns the layers, or the failure of the lowest layer and first artifact among those seen.
    pub fn work(self) -> Result<Vec<Made>, AssembleError> {
        let threads = self.job.effort.threads.get().min(self.tasks.len());
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
        let (Some(bench), Some(layer)) = (self.benches.get(layer_index), self.job.plan.layers.get(layer_index)) else {
            return Ok(());
        };
        if let Some(artifact) = layer.content.artifacts.get(artifact_index) {
            let staged = bench.layer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(staged) = staged {
                // An artifact that is to be fetched first is no failure to be told.
                let opened = open(artifact, self.job.store)?;
                let subject = Subject::Unpack(artifact.id.to_string());
                self.job.progress.started(&subject, Some(artifact.size));
                let result = unpack(artifact, artifact_index, layer, &staged, opened);
                self.job.progress.ended(&subject, &result);
                result?;
            }
        }
        if bench.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Ok(());
        }
        let staged = bench.layer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Everybody else has let go of the layer before counting down.
        if let Some(staged) = staged.and_then(Arc::into_inner) {
            let subject = Subject::Layer(layer.name.to_string());
            self.job.progress.started(&subject, None);
            let result = self.finish(staged, layer);
            self.job.progress.ended(&subject, &result);
            *bench.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(result?);
        }
        Ok(())
    }

    fn finish(&self, staged: Layer<'a>, layer: &LayerPlan) -> Result<Made, AssembleError> {
        let Finished { staged, elf } =
            staged.finish(self.job.files, self.job.plan.platform).map_err(in_layer(layer))?;
        let nodes = tree::nodes(staged.path())?;
        let (diff_id, size) = tree::measure_nodes(staged.path(), &nodes)?;
        Ok(Made::New { staged, nodes, elf, measured: Measured { diff_id, size } })
    }
}

/// Unpacks an artifact into its layer.
///
/// Its bytes are verified before that, unless the lock has the layer's diff id: then every byte that enters the image is
/// verified with the layer, which costs less, and the artifact only if something is wrong.
fn unpack(
    artifact: &PlannedArtifact,
    index: usize,
    layer: &LayerPlan,
    staged: &Layer<'_>,
    (path, mut file): (PathBuf, File),
) -> Result<(), AssembleError> {
    if layer.expected.is_none() {
        verify(artifact, &mut file)?;
    }
    let mut sink = staged.sink(index);
    let reader = Positioned { inner: BufReader::with_capacity(BUFFER, file), position: 0 };
    let result = unpack_into(&mut sink, artifact, layer, staged, reader);
    if result.is_err() {
        // Changed bytes explain whatever went wrong.
        verify(artifact, &mut disk::open(&path)?)?;
    }
    // What stopped the reader says more than that it was stopped.
    match (result, sink.failure()) {
        (Err(_), Some(failure)) => Err(in_layer(layer)(failure)),
        (result, _) => result,
    }
}

fn unpack_into(
    sink: &mut LayerSink<'_, '_>,
    artifact: &PlannedArtifact,
    layer: &LayerPlan,
    staged: &Layer<'_>,
    mut reader: Positioned,
) -> Result<(), AssembleError> {
    let id = || artifact.id.clone();
    match &artifact.unpacking {
        Unpacking::Debian { package, scripts } => {
            let control = debian::unpack(&mut reader, sink);
            let control = control.map_err(|source| AssembleError::Debian { artifact: id(), source })?;
            let is_unknown = |(name, bytes): &(&String, &Vec<u8>)| scripts.get(*name) != Some(&Digest::of(bytes));
            if let Some((script, _)) = control.scripts.iter().find(is_unknown) {
                let (package, script) = (package.clone(), script.clone());
                return Err(in_layer(layer)(LayerError::Script { package, script }));
            }
            staged.control(package, control);
            Ok(())
        }
        Unpacking::Wheel { site_packages, scripts, interpreter } => {
            let (site_packages, scripts) = (site_packages.clone(), scripts.clone());
            let place = python::Place { site_packages, scripts, interpreter: interpreter.clone() };
            let check = if layer.expected.is_some() { RecordCheck::Names } else { RecordCheck::Contents };
            python::unpack(&artifact.file, reader, &place, check, sink)
                .map_err(|source| AssembleError::Wheel { artifact: id(), source })
        }
        Unpacking::Archive { folder, strip, include } => {
            let include = archive::globs(include.iter().map(String::as_str))?;
            let placement = Placement { folder: folder.clone(), strip: *strip, include };
            archive::unpack(&artifact.file, reader, &placement, sink)
                .map_err(|source| AssembleError::Archive { artifact: id(), source })
        }
    }
}

/// Verifies all artifacts of a layer, to tell whether they are the reason why it is not what the lock says.
pub(super) fn verify_artifacts(layer: &LayerPlan, store: &Store) -> Result<(), AssembleError> {
    layer.content.artifacts.iter().try_for_each(|artifact| verify(artifact, &mut open(artifact, store)?.1))
}

fn open(artifact: &PlannedArtifact, store: &Store) -> Result<(PathBuf, File), AssembleError> {
    let missing = || AssembleError::Missing { file: artifact.file.clone(), sha256: artifact.sha256 };
    let path = store.blob(&artifact.sha256)?.ok_or_else(missing)?;
    let file = disk::open(&path)?;
    Ok((path, file))
}

/// Reads a file once to its end and leaves it at its beginning.
fn verify(artifact: &PlannedArtifact, file: &mut File) -> Result<(), AssembleError> {
    let mut verified = VerifyingReader::new(&mut *file, artifact.size, artifact.sha256);
    let mut buffer = vec![0; BUFFER];
    let read = loop {
        match verified.read(&mut buffer) {
            Ok(0) => break file.rewind(),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    read.map_err(|source| AssembleError::Artifact { artifact: artifact.id.clone(), source })
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
