//! Samples for calibration: their files found, read on all cores, and given out in order.
//!
//! Owns what `calibration` must not do: listing folders, unpacking zip files, reading, threads. The order of samples is
//! the plan's, whatever the number of cores, and at any time only a few samples are in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use thiserror::Error;

use crate::calibration::plan::SampleKind;
use crate::calibration::random::{Generator, Seed};
use crate::calibration::{
    CalibrationPlan, DecodeError, Feed, FeedError, Listing, NpyError, PlanError, Supply, Tensor, decode, npy,
};
use crate::config::{Calibration, ResolvedInput};
use crate::disk::{self, DiskError};
use crate::hint::Hint;
use crate::intake::zip::{ZipFile, ZipKind};
use crate::intake::{Guard, IntakeError, Limits, Shape};
use crate::units::ByteSize;

/// No sample is larger in memory, and files hold less than that.
const FILE_LIMIT: ByteSize = ByteSize::new(1 << 30);
/// How many samples each thread may be ahead: enough for a large picture among small ones.
const AHEAD: usize = 2;
/// What zip files of samples may hold; those that people have are far below.
const ZIP_LIMITS: Limits = Limits { members: 1_000_000, member: FILE_LIMIT, total: ByteSize::new(64 << 30) };
/// What systems leave in folders and archives, besides names with a dot.
const LEFTOVERS: [&str; 3] = ["__MACOSX", "Thumbs.db", "desktop.ini"];

/// Samples that cannot be read.
#[derive(Debug, Error)]
pub enum SampleError {
    /// A file or folder cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The files do not make samples.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file is no picture, or a broken one.
    #[error("cannot read the picture {}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// A file is no array, or a broken one.
    #[error("cannot read the array {}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: NpyError,
    },
    /// The input cannot be fed what is in the file.
    #[error("{} does not fit the input", path.display())]
    Feed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: FeedError,
    },
    /// A zip file cannot be unpacked.
    #[error("cannot unpack {}", path.display())]
    Zip {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: IntakeError,
    },
    /// The name says nothing about the content.
    #[error("{} has none of the suffixes of samples", path.display())]
    Suffix {
        /// The file.
        path: PathBuf,
    },
    /// Calibration data is a folder or a zip file.
    #[error("{} is neither a folder nor a zip file", path.display())]
    NoFolder {
        /// What it is instead.
        path: PathBuf,
    },
    /// The system gives no more threads.
    #[error("failed to start a thread for reading samples")]
    Thread(#[source] io::Error),
    /// A thread ended without its result.
    #[error("reading sample {number} ended unexpectedly")]
    Lost {
        /// Counted from 0.
        number: usize,
    },
}

impl Hint for SampleError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Plan(error) => error.hints(),
            Self::Decode { source, .. } => source.hints(),
            Self::Npy { source, .. } => source.hints(),
            Self::Feed { source, .. } => source.hints(),
            Self::Zip { source, .. } => source.hints(),
            Self::Suffix { .. } => vec![format!("samples are read from {}", SampleKind::SUFFIXES.join(", "))],
            Self::NoFolder { .. } => vec!["name the folder that holds the samples".to_owned()],
            Self::Thread(_) | Self::Lost { .. } => Vec::new(),
        }
    }
}

impl SampleError {
    /// Returns whether the machine is to blame, and not the samples.
    pub const fn is_about_the_machine(&self) -> bool {
        match self {
            Self::Disk(DiskError::Missing { .. } | DiskError::TooLarge { .. }) => false,
            Self::Disk(_) | Self::Thread(_) | Self::Lost { .. } => true,
            _ => false,
        }
    }
}

/// Reads one sample of an input. A file takes memory only as far as it is looked at, and its elements are copied only if
/// the input takes so many.
///
/// # Errors
/// The file cannot be read, is damaged, or does not fit.
pub fn read(feed: &Feed, path: &Path) -> Result<Tensor, SampleError> {
    read_shown(feed, path, path)
}

/// Reads a sample that people call `shown`.
fn read_shown(feed: &Feed, path: &Path, shown: &Path) -> Result<Tensor, SampleError> {
    let kind = SampleKind::of(path).ok_or_else(|| SampleError::Suffix { path: shown.to_owned() })?;
    let bytes = disk::map(path, FILE_LIMIT)?;
    let fed = match kind {
        SampleKind::Raw => feed.raw(&bytes),
        // The name may be wrong about what the file holds, the bytes are not.
        SampleKind::PictureOrArray
            if npy::is_npy(&bytes) || path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("npy")) =>
        {
            let damaged = |source| SampleError::Npy { path: shown.to_owned(), source };
            let array = npy::open(&bytes).map_err(damaged)?;
            match feed.accept(array.shape()) {
                Ok(()) => feed.array(array.tensor().map_err(damaged)?),
                Err(error) => Err(error),
            }
        }
        SampleKind::PictureOrArray => {
            let picture = decode::decode(&bytes);
            feed.picture(picture.map_err(|source| SampleError::Decode { path: shown.to_owned(), source })?)
        }
    };
    fed.map_err(|source| SampleError::Feed { path: shown.to_owned(), source })
}

/// Lists the folders that inputs are calibrated with, by the inputs' names. Zip files are unpacked into `scratch`.
///
/// Links have no folder: whoever runs the stage that they name adds a listing of what came out.
///
/// # Errors
/// A folder cannot be read, or is none; a zip file is damaged or hostile.
pub fn listings(inputs: &[ResolvedInput], scratch: &Path) -> Result<BTreeMap<String, Listing>, SampleError> {
    let mut listings = BTreeMap::new();
    for (number, input) in inputs.iter().enumerate() {
        if let (Calibration::Images { path, .. }, None) = (&input.calibration, &input.frozen_value) {
            let scratch = scratch.join(number.to_string());
            listings.insert(input.name.clone(), list(Path::new(path.as_str()), &scratch)?);
        }
    }
    Ok(listings)
}

/// Takes the first samples, at most `most`, of the inputs that are calibrated with files; a folder without any gives
/// none. `linked` has what other stages made for inputs. Zip files are unpacked into `scratch`, which must stay as long
/// as samples are read.
///
/// # Errors
/// A folder cannot be read, or is none; a zip file is damaged or hostile; the files do not make samples.
pub fn first_of_files(
    inputs: &[ResolvedInput],
    linked: &BTreeMap<String, Listing>,
    most: usize,
    scratch: &Path,
) -> Result<CalibrationSet, SampleError> {
    let mut listings = with_linked(listings(inputs, scratch)?, linked, most);
    listings.retain(|_, listing| !listing.files().is_empty());
    let inputs: Vec<ResolvedInput> =
        inputs.iter().filter(|input| listings.contains_key(&input.name)).cloned().collect();
    let plan = CalibrationPlan::new(&inputs, &listings, Seed::default())?;
    Ok(CalibrationSet::new(plan.first(most)))
}

/// Takes the first samples, at most `most`, of all inputs. `linked` has what other stages made for inputs. Zip files are
/// unpacked into `scratch`, which must stay as long as samples are read.
///
/// # Errors
/// The same as [`first_of_files`], and a folder without samples.
pub fn first(
    inputs: &[ResolvedInput],
    linked: &BTreeMap<String, Listing>,
    most: usize,
    scratch: &Path,
) -> Result<CalibrationSet, SampleError> {
    let listings = with_linked(listings(inputs, scratch)?, linked, most);
    let plan = CalibrationPlan::new(inputs, &listings, Seed::default())?;
    Ok(CalibrationSet::new(plan.first(most)))
}

/// Adds what other stages made. They make no more than is needed, so that folders with more fit as well.
fn with_linked(
    mut listings: BTreeMap<String, Listing>,
    linked: &BTreeMap<String, Listing>,
    most: usize,
) -> BTreeMap<String, Listing> {
    if !linked.is_empty() {
        listings.values_mut().for_each(|listing| listing.keep_first(most));
        listings.extend(linked.iter().map(|(input, listing)| (input.clone(), listing.clone())));
    }
    listings
}

/// Writes the tensors of a sample into `folder`, as files of NumPy, and returns them by the inputs' names.
///
/// # Errors
/// The file system refuses.
pub fn write(sample: &Sample, folder: &Path) -> Result<BTreeMap<String, String>, DiskError> {
    let mut files = BTreeMap::new();
    for (index, (name, tensor)) in sample.tensors.iter().enumerate() {
        // Names of inputs may have letters that no path has.
        let path = folder.join(format!("{}-{index}.npy", sample.number));
        disk::write(&path, &npy::write(tensor))?;
        files.insert(name.clone(), path.to_string_lossy().into_owned());
    }
    Ok(files)
}

/// Lists the samples of a folder, or of a zip file, which is unpacked into `scratch`. A folder that holds nothing but
/// another one stands for that one.
///
/// # Errors
/// The folder cannot be read, or is none; the zip file is damaged or hostile.
pub fn list(path: &Path, scratch: &Path) -> Result<Listing, SampleError> {
    if is_folder(path)? {
        return innermost(path);
    }
    if !is_zip(path) {
        return Err(SampleError::NoFolder { path: path.to_owned() });
    }
    unpack(path, scratch)?;
    Ok(innermost(scratch)?.unpacked_from(path, scratch))
}

/// Refuses a zip file that surely cannot be unpacked; its members are not read.
///
/// # Errors
/// The zip file cannot be read, is damaged or hostile.
pub fn check(path: &Path) -> Result<(), SampleError> {
    if is_folder(path)? || !is_zip(path) {
        return Ok(());
    }
    let zip = ZipFile::open(&path.display().to_string(), disk::open(path)?, ZIP_LIMITS);
    zip.and_then(|zip| zip.members()).map(drop).map_err(|source| SampleError::Zip { path: path.to_owned(), source })
}

/// Lists a folder, or the one in it if there is nothing else.
fn innermost(folder: &Path) -> Result<Listing, SampleError> {
    let mut folder = folder.to_owned();
    loop {
        let (folders, files) = content(&folder)?;
        match (folders.as_slice(), files.is_empty()) {
            ([only], true) => only.clone_into(&mut folder),
            _ => return Ok(Listing::new(folder, files)),
        }
    }
}

/// Returns whether a file is a zip file, by its name.
pub fn is_zip(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("zip"))
}

/// Returns whether a folder stands there, perhaps behind a link.
///
/// # Errors
/// Nothing stands there.
pub fn is_folder(path: &Path) -> Result<bool, SampleError> {
    match disk::metadata(path)? {
        Some(_) => Ok(path.is_dir()),
        // A pipe is not opened: that would wait for who writes into it.
        None => Ok(disk::open(path).map(|_| false)?),
    }
}

/// Returns the folders and files in a folder, without leftovers. A link counts as a file, so no walk goes in circles.
fn content(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), SampleError> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for path in disk::list(folder)? {
        if path.file_name().is_some_and(|name| is_leftover(&name.to_string_lossy())) {
            continue;
        }
        match disk::metadata(&path)? {
            Some(metadata) if metadata.is_dir() => folders.push(path),
            Some(metadata) if metadata.is_file() || metadata.is_symlink() => files.push(path),
            _ => {}
        }
    }
    Ok((folders, files))
}

fn is_leftover(name: &str) -> bool {
    name.starts_with('.') || LEFTOVERS.contains(&name)
}

/// Unpacks the samples of a zip file and nothing else.
fn unpack(path: &Path, folder: &Path) -> Result<(), SampleError> {
    let wrong = |source| SampleError::Zip { path: path.to_owned(), source };
    disk::create_folder(folder)?;
    let mut zip = ZipFile::open(&path.display().to_string(), disk::open(path)?, ZIP_LIMITS).map_err(wrong)?;
    let mut guard = Guard::new(ZIP_LIMITS);
    for member in zip.members().map_err(wrong)? {
        let is_file = matches!(member.kind, ZipKind::File { .. });
        let is_left_out = member.path.as_str().split('/').any(is_leftover);
        if !is_file || is_left_out || SampleKind::of(Path::new(member.path.as_str())).is_none() {
            continue;
        }
        guard.count(member.size).map_err(wrong)?;
        guard.admit(&member.path, Shape::File).map_err(wrong)?;
        let target = folder.join(member.path.as_str());
        disk::create_folder(target.parent().unwrap_or(folder))?;
        let mut file = disk::create_new(&target, 0o600)?;
        let mut bytes = zip.content(&member, None).map_err(wrong)?;
        io::copy(&mut bytes, &mut file).map_err(|source| wrong(IntakeError::Taking { path: member.path, source }))?;
    }
    Ok(())
}

/// One sample: what every input is fed at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Counted from 0.
    pub number: usize,
    /// What each input is fed, by its name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// All samples of a plan.
#[derive(Clone, Debug)]
pub struct CalibrationSet {
    plan: Arc<CalibrationPlan>,
}

impl CalibrationSet {
    /// Takes a plan; nothing is read yet.
    pub fn new(plan: CalibrationPlan) -> Self {
        Self { plan: Arc::new(plan) }
    }

    /// Returns the plan.
    pub fn plan(&self) -> &CalibrationPlan {
        &self.plan
    }

    /// Begins to read samples on all cores.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn samples(&self) -> Result<Samples, SampleError> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        self.samples_on(cores.min(self.plan.samples()))
    }

    fn samples_on(&self, threads: usize) -> Result<Samples, SampleError> {
        let mut samples = Samples { lanes: Vec::new(), threads: Vec::new(), next: 0, end: self.plan.samples() };
        for first in 0..threads {
            let (sender, receiver) = sync_channel(AHEAD);
            let plan = Arc::clone(&self.plan);
            let work = move || make(&plan, (first..plan.samples()).step_by(threads), &sender);
            let thread = thread::Builder::new().name("samples".to_owned()).spawn(work);
            samples.threads.push(thread.map_err(SampleError::Thread)?);
            samples.lanes.push(receiver);
        }
        Ok(samples)
    }
}

/// Makes some of the samples, until they are done or nobody wants them any more.
fn make(plan: &CalibrationPlan, numbers: impl Iterator<Item = usize>, to: &SyncSender<Result<Sample, SampleError>>) {
    for number in numbers {
        if to.send(sample(plan, number)).is_err() {
            return;
        }
    }
}

fn sample(plan: &CalibrationPlan, number: usize) -> Result<Sample, SampleError> {
    let mut tensors = BTreeMap::new();
    for input in plan.inputs() {
        let tensor = match &input.supply {
            Supply::Files(listing) => {
                let file = listing.files().get(number).ok_or(SampleError::Lost { number })?;
                read_shown(&input.feed, file, &listing.shown(file))?
            }
            Supply::Random(distribution) => {
                input.feed.random(*distribution, Generator::new(plan.seed(), &input.name, number as u64))
            }
        };
        tensors.insert(input.name.clone(), tensor);
    }
    Ok(Sample { number, tensors })
}

/// The samples of a plan, in its order. After an error there are no more.
///
/// Each thread makes every n-th sample and has a lane of its own, so nothing has to be put in order, and a full lane
/// holds its thread back.
#[derive(Debug)]
pub struct Samples {
    lanes: Vec<Receiver<Result<Sample, SampleError>>>,
    threads: Vec<JoinHandle<()>>,
    next: usize,
    end: usize,
}

impl Iterator for Samples {
    type Item = Result<Sample, SampleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let number = self.next;
        let lane = self.lanes.get(number % self.lanes.len().max(1))?;
        let sample = lane.recv().unwrap_or(Err(SampleError::Lost { number }));
        self.next = if sample.is_ok() { number + 1 } else { self.end };
        Some(sample)
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        // Without lanes the threads end after the sample in hand.
        self.lanes.clear();
        for thread in self.threads.drain(..) {
            // A thread that panicked has lost its sample, which was told.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::feed::FeedOptions;
    use crate::config::{Color, DataType, Encoding, FileReference, LinkSource, ResizeMethod};

    fn feed() -> Feed {
        Feed::new(FeedOptions {
            shape: vec![1, 2],
            layout: "NC".parse().unwrap(),
            data_type: DataType::Uint8,
            color: Color::None,
            resize_method: ResizeMethod::Resize,
        })
        .unwrap()
    }

    fn set(folder: &Path) -> CalibrationSet {
        let listing = list(folder, &folder.join("scratch")).unwrap();
        CalibrationSet::new(CalibrationPlan::of_folder("x", feed(), listing).unwrap())
    }

    #[test]
    fn samples_come_in_order_on_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..50_u8 {
            disk::write(&folder.path().join(format!("{number:02} ä.RAW")), &[number, 1]).unwrap();
        }
        let set = set(folder.path());
        for threads in [1, 2, 3, 7, 50] {
            let samples = set.samples_on(threads).unwrap();
            let numbers: Vec<u8> = samples.map(|sample| sample.unwrap().tensors["x"].bytes[0]).collect();
            assert_eq!(numbers, (0..50).collect::<Vec<u8>>());
        }
        // Whoever wants no more is not held up.
        assert_eq!(set.samples_on(2).unwrap().take(3).count(), 3);
    }

    #[test]
    fn only_the_first_samples_of_inputs_with_files_are_made() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..5_u8 {
            disk::write(&folder.path().join(format!("{number}.raw")), &[number, 1]).unwrap();
        }
        let random = Calibration::Random {
            max_images: 20,
            min_value: 0.0,
            max_value: 255.0,
            mean: 127.5,
            standard_deviation: 35.0,
            data_type: DataType::Float32,
        };
        let input = |name: &str, calibration| ResolvedInput {
            name: name.to_owned(),
            shape: vec![1, 2],
            layout: "NC".parse().unwrap(),
            data_type: DataType::Uint8,
            encoding: Encoding::same(Color::None),
            mean_values: None,
            scale_values: None,
            calibration,
            frozen_value: None,
        };
        let path = FileReference::new(folder.path().to_string_lossy());
        let files = Calibration::Images { path, max_images: Some(4), resize_method: ResizeMethod::Resize };
        let inputs = [input("random", random), input("x", files)];
        let made = |inputs: &[ResolvedInput], most| -> Vec<Sample> {
            let set = first_of_files(inputs, &BTreeMap::new(), most, &folder.path().join("scratch")).unwrap();
            set.samples().unwrap().map(Result::unwrap).collect()
        };
        let numbers = |samples: Vec<Sample>| -> Vec<(usize, u8)> {
            assert!(samples.iter().all(|sample| sample.tensors.keys().eq(["x"])), "{samples:?}");
            samples.iter().map(|sample| (sample.number, sample.tensors["x"].bytes[0])).collect()
        };
        assert_eq!(numbers(made(&inputs, 2)), [(0, 0), (1, 1)]);
        assert_eq!(numbers(made(&inputs, 100)).len(), 4);
        assert!(made(&inputs[..1], 2).is_empty());
        let all = first(&inputs, &BTreeMap::new(), 2, &folder.path().join("scratch")).unwrap();
        let all: Vec<Sample> = all.samples().unwrap().map(Result::unwrap).collect();
        assert!(all.len() == 2 && all.iter().all(|sample| sample.tensors.keys().eq(["random", "x"])), "{all:?}");

        // What another stage made of its first samples goes with the first files of a folder that has more.
        let stage = "before".parse().unwrap();
        let link = Calibration::Link { stage, source: LinkSource::Output("y".to_owned()) };
        let linked = list(folder.path(), &folder.path().join("scratch")).unwrap();
        let linked = Listing::new(folder.path().to_owned(), linked.files()[1..3].to_vec());
        let inputs = [inputs[1].clone(), input("linked", link)];
        let linked = BTreeMap::from([("linked".to_owned(), linked)]);
        let set = first_of_files(&inputs, &linked, 2, &folder.path().join("scratch")).unwrap();
        let bytes = |sample: &Sample, input: &str| sample.tensors[input].bytes[0];
        let pairs: Vec<(u8, u8)> = set
            .samples()
            .unwrap()
            .map(Result::unwrap)
            .map(|sample| (bytes(&sample, "x"), bytes(&sample, "linked")))
            .collect();
        assert_eq!(pairs, [(0, 1), (1, 2)]);
        for number in 0..5_u8 {
            disk::remove_all(&folder.path().join(format!("{number}.raw"))).unwrap();
        }
        assert!(made(&inputs[..1], 2).is_empty(), "nothing is given");
    }

    #[test]
    fn files_of_another_shape_are_refused_by_their_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,)}\n";
        let start = [&b"\x93NUMPY\x01\0"[..], &[u8::try_from(header.len()).unwrap(), 0], header.as_bytes()].concat();
        for (name, start, length) in [("huge.raw", &b""[..], 1 << 30), ("huge.npy", &start, 1 << 29)] {
            let path = folder.path().join(name);
            disk::write(&path, start).unwrap();
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
            let error = read(&feed(), &path).unwrap_err();
            // That elements are missing would be seen last.
            assert!(matches!(error, SampleError::Feed { .. }), "{error:?}");
        }
    }

    #[test]
    fn the_first_error_is_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("0.raw", &[0, 0][..]), ("1.raw", &[0]), ("2.raw", &[0, 0])] {
            disk::write(&folder.path().join(name), bytes).unwrap();
        }
        let results: Vec<_> = set(folder.path()).samples().unwrap().collect();
        assert_eq!(results.len(), 2);
        let Err(error @ SampleError::Feed { .. }) = &results[1] else { panic!("{results:?}") };
        assert!(error.to_string().contains("1.raw"), "{error}");
    }

    #[test]
    fn folders_around_folders_and_leftovers_are_looked_through() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("outer/in ner");
        disk::create_folder(&inner).unwrap();
        disk::create_folder(&folder.path().join("__MACOSX")).unwrap();
        disk::symlink(".", &inner.join(".circle")).unwrap();
        disk::write(&folder.path().join(".DS_Store"), b"x").unwrap();
        for name in ["a.png", "b.txt", "Thumbs.db", ".c.png"] {
            disk::write(&inner.join(name), b"x").unwrap();
        }
        let listing = list(folder.path(), &folder.path().join("scratch")).unwrap();
        assert_eq!(listing, Listing::new(inner.clone(), [inner.join("a.png")]));
        let file = inner.join("b.txt");
        assert!(matches!(list(&file, folder.path()), Err(SampleError::NoFolder { .. })));
        assert!(matches!(list(&folder.path().join("none"), folder.path()), Err(SampleError::Disk(_))));
    }
}
