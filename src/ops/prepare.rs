//! Prepares samples for calibration as files, to be looked at or used elsewhere.

use std::path::{Path, PathBuf};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};
use serde::Serialize;
use thiserror::Error;

use crate::calibration::{
    CalibrationPlan, Channels, Element, Feed, FeedError, Picture, PlanError, Statistics, Tensor, npy,
};
use crate::config::{FileReference, Shape};
use crate::digest::Digest;
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::hint::{Hint, nearest};
use crate::nn_archive::Layout;
use crate::pipeline::samples::{self, CalibrationSet, SampleError};
use crate::remote::{Remote, RemoteError};

/// What prepared samples look like in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// NumPy's format: the tensor with its shape and type.
    Npy,
    /// The tensor's bytes alone.
    Raw,
    /// A picture for people, in true colours.
    Png,
}

impl Form {
    const SUFFIXES: [(&str, Self); 3] = [("npy", Self::Npy), ("raw", Self::Raw), ("png", Self::Png)];

    fn of(path: &Path) -> Result<Self, PrepareError> {
        let suffix = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let form = Self::SUFFIXES.iter().find(|(known, _)| *known == suffix).map(|(_, form)| *form);
        form.ok_or_else(|| PrepareError::Suffix { path: path.to_owned(), suffix })
    }
}

/// A sample that cannot be prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The result's name does not say what it is to be.
    #[error("{} does not end in .npy, .raw or .png", path.display())]
    Suffix {
        /// The path.
        path: PathBuf,
        /// What it ends in.
        suffix: String,
    },
    /// The results' folder is there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The results' folder would look like a file.
    #[error("{} is named like a file, and samples of a folder go into a folder", path.display())]
    LikeFile {
        /// The folder.
        path: PathBuf,
    },
    /// The result would take the place of the sample.
    #[error("{} is the sample itself", path.display())]
    Same {
        /// The path of the result.
        path: PathBuf,
    },
    /// A sample cannot be read.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The folder has no samples.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The sample is no picture.
    #[error("the prepared sample is no picture")]
    NoPicture(#[source] FeedError),
    /// The picture cannot be written.
    #[error("failed to make the picture {}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ImageError,
    },
    /// A result cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Hint for PrepareError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Suffix { suffix, .. } => match nearest(suffix, Form::SUFFIXES.map(|(known, _)| known)) {
                Some(known) => vec![format!("did you mean `.{known}`?")],
                None => vec![".npy has shape and type, .raw the bytes alone, .png a picture for people".to_owned()],
            },
            Self::LikeFile { .. } => vec!["name a folder, or prepare one file".to_owned()],
            Self::Same { .. } => vec!["name another file".to_owned()],
            Self::Exists { .. } => vec!["name a folder that does not exist yet".to_owned()],
            Self::Sample(error) => error.hints(),
            Self::Plan(error) => error.hints(),
            Self::NoPicture(_) => vec!["write `.npy` instead".to_owned()],
            Self::Encode { .. } => Vec::new(),
            Self::Disk(error) => error.hints(),
        }
    }
}

/// What one prepared sample is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prepared {
    /// Where it was written.
    pub path: PathBuf,
    /// Its dimensions.
    pub shape: Shape,
    /// The letters of the dimensions.
    pub layout: Layout,
    /// The type of its elements.
    pub data_type: Element,
    /// The smallest element.
    pub min: f64,
    /// The largest element.
    pub max: f64,
    /// The mean of all elements.
    pub mean: f64,
    /// The digest of the bytes that the network is fed.
    pub sha256: Digest,
}

impl Prepared {
    fn new(path: &Path, feed: &Feed, tensor: &Tensor) -> Self {
        let Statistics { min, max, mean } = tensor.element.statistics(&tensor.bytes);
        Self {
            path: path.to_owned(),
            shape: tensor.shape.clone(),
            layout: feed.layout().clone(),
            data_type: tensor.element,
            min,
            max,
            mean,
            sha256: Digest::of(&tensor.bytes),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// One sample.
    File(Prepared),
    /// A folder of samples, in order.
    Folder(Vec<Prepared>),
}

/// Returns where samples are on this machine; those of a URL are brought.
///
/// # Errors
/// They cannot be had.
pub fn bring(samples: &Path, remote: &Remote<'_>) -> Result<PathBuf, RemoteError> {
    let reference = FileReference::new(samples.to_string_lossy());
    if reference.is_remote() { remote.fetch_any(&reference) } else { Ok(samples.to_owned()) }
}

/// Writes what a network is fed: for a file as the suffix of `out` says, for each file of a folder or zip file as
/// `NAME.npy` in the new folder `out`.
///
/// # Errors
/// A sample cannot be read or does not fit, or the result cannot be written.
pub fn prepare(feed: &Feed, from: &Path, out: &Path) -> Result<Written, PrepareError> {
    let is_set = samples::is_folder(from)? || samples::is_zip(from);
    if is_set { folder(feed, from, out).map(Written::Folder) } else { file(feed, from, out).map(Written::File) }
}

fn file(feed: &Feed, sample: &Path, out: &Path) -> Result<Prepared, PrepareError> {
    let form = Form::of(out)?;
    if out.canonicalize().is_ok_and(|out| sample.canonicalize().is_ok_and(|sample| sample == out)) {
        return Err(PrepareError::Same { path: out.to_owned() });
    }
    let tensor = samples::read(feed, sample)?;
    let prepared = Prepared::new(out, feed, &tensor);
    let bytes = match form {
        Form::Npy => npy::write(&tensor),
        Form::Raw => tensor.bytes,
        Form::Png => {
            let picture = feed.to_picture(&tensor).map_err(PrepareError::NoPicture)?;
            png(&picture).map_err(|source| PrepareError::Encode { path: out.to_owned(), source })?
        }
    };
    disk::write(out, &bytes)?;
    Ok(prepared)
}

/// The folder is there as a whole or not at all.
fn folder(feed: &Feed, from: &Path, out: &Path) -> Result<Vec<Prepared>, PrepareError> {
    if Form::of(out).is_ok() {
        return Err(PrepareError::LikeFile { path: out.to_owned() });
    }
    if disk::metadata(out)?.is_some() {
        return Err(PrepareError::Exists { path: out.to_owned() });
    }
    let beside = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = TemporaryFolder::create_in(beside)?;
    let made = scratch.path().join("made");
    disk::create_folder(&made)?;
    let listing = samples::list(from, &scratch.path().join("unpacked"))?;
    let files = listing.files().to_vec();
    let set = CalibrationSet::new(CalibrationPlan::of_folder("input", feed.clone(), listing)?);
    let mut all = Vec::with_capacity(files.len());
    for (sample, file) in set.samples()?.zip(&files) {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".npy");
        for tensor in sample?.tensors.values() {
            let path = made.join(&name);
            disk::write_all(&mut disk::create_new(&path, 0o666)?, &npy::write(tensor), &path)?;
            all.push(Prepared::new(&out.join(&name), feed, tensor));
        }
    }
    disk::rename(&made, out)?;
    Ok(all)
}

fn png(picture: &Picture) -> Result<Vec<u8>, ImageError> {
    let kind = match picture.channels() {
        Channels::Gray => ExtendedColorType::L8,
        Channels::GrayAlpha => ExtendedColorType::La8,
        Channels::Rgb => ExtendedColorType::Rgb8,
        Channels::Rgba => ExtendedColorType::Rgba8,
    };
    // Both sides are sizes of a tensor of at most a gigabyte.
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let size = picture.size();
    PngEncoder::new(&mut bytes).write_image(picture.samples(), side(size.width), side(size.height), kind)?;
    Ok(bytes)
}
