//! Which files make which sample.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::element::Element;
use super::feed::{Feed, FeedError};
use super::random::{Distribution, Seed};
use crate::config::{Calibration, LinkSource, ResolvedInput, StageName};
use crate::hint::Hint;

/// What a file of samples holds, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// A picture or an array; its bytes tell which.
    PictureOrArray,
    /// The input's elements and nothing else.
    Raw,
}

impl SampleKind {
    /// The suffixes of files that are taken, in small letters.
    pub const SUFFIXES: &[&str] = &["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "gif", "npy", "raw"];

    /// Returns what the file holds, or nothing if its name has none of the suffixes, in small or capital letters.
    pub fn of(path: &Path) -> Option<Self> {
        let suffix = path.extension()?.to_str()?.to_ascii_lowercase();
        let is_known = Self::SUFFIXES.contains(&suffix.as_str());
        is_known.then_some(if suffix == "raw" { Self::Raw } else { Self::PictureOrArray })
    }
}

/// The samples in a folder, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    folder: PathBuf,
    files: Vec<PathBuf>,
    unpacked: Option<Unpacked>,
}

/// A zip file, and the folder that its members are in now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unpacked {
    zip: PathBuf,
    folder: PathBuf,
}

impl Listing {
    /// Takes the files of a folder. Hidden ones and those with other suffixes are left out: folders of pictures have
    /// notes and thumbnails as well.
    pub fn new(folder: PathBuf, files: impl IntoIterator<Item = PathBuf>) -> Self {
        let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_sample = |path: &PathBuf| SampleKind::of(path).is_some() && !is_hidden(path);
        let mut files: Vec<PathBuf> = files.into_iter().filter(is_sample).collect();
        files.sort_by(|left, right| left.file_name().cmp(&right.file_name()));
        Self { folder, files, unpacked: None }
    }

    /// Remembers that the files are those of `zip`, unpacked into `folder`.
    #[must_use]
    pub fn unpacked_from(self, zip: &Path, folder: &Path) -> Self {
        Self { unpacked: Some(Unpacked { zip: zip.to_owned(), folder: folder.to_owned() }), ..self }
    }

    /// Returns what people call a file or folder: a member of a zip file goes by the zip file and its name in there.
    pub fn shown(&self, path: &Path) -> PathBuf {
        let member = |unpacked: &Unpacked| Some(unpacked.zip.join(path.strip_prefix(&unpacked.folder).ok()?));
        // Joining an empty name would add a slash.
        self.unpacked.as_ref().and_then(member).map_or_else(|| path.to_owned(), |path| path.components().collect())
    }

    /// Leaves out all but the first files.
    pub fn keep_first(&mut self, most: usize) {
        self.files.truncate(most);
    }

    /// Returns the files, in order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// Where the samples of one input come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Supply {
    /// From one file each.
    Files(Listing),
    /// From random numbers.
    Random(Distribution),
}

/// One input and where its samples come from.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedInput {
    /// The input's name.
    pub name: String,
    /// What it wants.
    pub feed: Feed,
    /// Where the samples come from.
    pub supply: Supply,
}

/// Which files make which sample.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationPlan {
    inputs: Vec<PlannedInput>,
    samples: usize,
    seed: Seed,
}

/// Calibration data from which no samples can be made.
#[derive(Debug, Error, PartialEq)]
pub enum PlanError {
    /// A folder has no samples.
    #[error("{} has no calibration data for input `{input}`", folder.display())]
    Empty {
        /// The input.
        input: String,
        /// The folder.
        folder: PathBuf,
    },
    /// No samples are asked for.
    #[error("`max_images` of input `{input}` is 0: nothing is left to calibrate with")]
    None {
        /// The input.
        input: String,
    },
    /// Two folders have different numbers of samples.
    #[error(
        "input `{input}` has {count} samples in {}, input `{other}` has {other_count} in {}",
        folder.display(), other_folder.display()
    )]
    Unequal {
        /// An input.
        input: String,
        /// Where its samples are.
        folder: PathBuf,
        /// How many.
        count: usize,
        /// Another input.
        other: String,
        /// Where its samples are.
        other_folder: PathBuf,
        /// How many.
        other_count: usize,
    },
    /// Two inputs are to have different numbers of random samples.
    #[error("input `{input}` has {count} random samples, input `{other}` has {other_count}")]
    UnequalRandom {
        /// An input.
        input: String,
        /// How many samples.
        count: u64,
        /// Another input.
        other: String,
        /// How many samples.
        other_count: u64,
    },
    /// Nobody said which files an input has.
    #[error("the calibration data of input `{input}` has not been made yet")]
    Unlisted {
        /// The input.
        input: String,
        /// The stage that makes it, and of what.
        link: Option<(StageName, LinkSource)>,
    },
    /// An input cannot be fed.
    #[error("input `{input}` cannot be calibrated")]
    Feed {
        /// The input.
        input: String,
        /// Why.
        #[source]
        source: FeedError,
    },
}

impl Hint for PlanError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Empty { .. } => {
                vec![format!("put files there with one of the suffixes {}", SampleKind::SUFFIXES.join(", "))]
            }
            Self::None { .. } => vec!["leave out `max_images` to use all files".to_owned()],
            Self::Unequal { .. } => {
                vec![
                    "give every input one file for each sample; files are paired in the order of their names"
                        .to_owned(),
                ]
            }
            Self::UnequalRandom { .. } => vec!["set the same `max_images` for both".to_owned()],
            Self::Unlisted { link: Some((stage, _)), .. } => vec![format!("run stage `{stage}` first")],
            Self::Unlisted { link: None, .. } => Vec::new(),
            Self::Feed { source, .. } => source.hints(),
        }
    }
}

impl CalibrationPlan {
    /// Decides which files make which sample: the first files, by name, of all inputs make the first sample, and so on.
    ///
    /// `listings` has the files of each input that is fed from files, by the input's name: those of the configured
    /// folder, or those that another stage's run has made for a link. Inputs with random samples have as many as the
    /// others have files. Frozen inputs are constants and are not fed.
    ///
    /// # Errors
    /// Folders without samples or with different numbers of them, inputs that cannot be fed.
    pub fn new(inputs: &[ResolvedInput], listings: &BTreeMap<String, Listing>, seed: Seed) -> Result<Self, PlanError> {
        let mut planned = Vec::new();
        let mut files: Option<(&str, PathBuf, usize)> = None;
        let mut random: Option<(&str, u64)> = None;
        for input in inputs.iter().filter(|input| input.frozen_value.is_none()) {
            let name = input.name.as_str();
            let feed = Feed::of(input).map_err(|source| PlanError::Feed { input: name.to_owned(), source })?;
            let supply = match (&input.calibration, listings.get(name)) {
                (Calibration::Random { .. }, None) => {
                    let (count, distribution) = drawn(&input.calibration)
                        .ok_or_else(|| PlanError::Unlisted { input: name.to_owned(), link: None })?;
                    if count == 0 {
                        return Err(PlanError::None { input: name.to_owned() });
                    }
                    match random {
                        Some((other, other_count)) if other_count != count => {
                            let (input, other) = (name.to_owned(), other.to_owned());
                            return Err(PlanError::UnequalRandom { input, count, other, other_count });
                        }
                        _ => random = Some((name, count)),
                    }
                    Supply::Random(distribution)
                }
                (calibration, Some(listing)) => {
                    let taken = taken(name, calibration, listing)?;
                    let (folder, count) = (listing.shown(&listing.folder), taken.files.len());
                    match files {
                        Some((other, other_folder, other_count)) if other_count != count => {
                            let (input, other) = (name.to_owned(), other.to_owned());
                            return Err(PlanError::Unequal { input, folder, count, other, other_folder, other_count });
                        }
                        _ => files = Some((name, folder, count)),
                    }
                    Supply::Files(taken)
                }
                (Calibration::Link { stage, source }, None) => {
                    let link = Some((stage.clone(), source.clone()));
                    return Err(PlanError::Unlisted { input: name.to_owned(), link });
                }
                (Calibration::Images { .. }, None) => {
                    return Err(PlanError::Unlisted { input: name.to_owned(), link: None });
                }
            };
            planned.push(PlannedInput { name: name.to_owned(), feed, supply });
        }
        let drawn = random.map_or(0, |(_, count)| usize::try_from(count).unwrap_or(usize::MAX));
        let samples = files.map_or(drawn, |(_, _, count)| count);
        Ok(Self { inputs: planned, samples, seed })
    }

    /// Plans one sample of one input for each file of a folder.
    ///
    /// # Errors
    /// The folder has no samples.
    pub fn of_folder(input: &str, feed: Feed, listing: Listing) -> Result<Self, PlanError> {
        if listing.files.is_empty() {
            return Err(PlanError::Empty { input: input.to_owned(), folder: listing.shown(&listing.folder) });
        }
        let samples = listing.files.len();
        let supply = Supply::Files(listing);
        Ok(Self { inputs: vec![PlannedInput { name: input.to_owned(), feed, supply }], samples, seed: Seed::default() })
    }

    /// Returns the plan of its first samples alone, at most `most`.
    #[must_use]
    pub fn first(mut self, most: usize) -> Self {
        self.samples = self.samples.min(most);
        for input in &mut self.inputs {
            if let Supply::Files(files) = &mut input.supply {
                files.keep_first(self.samples);
            }
        }
        self
    }

    /// Returns the inputs and where their samples come from.
    pub fn inputs(&self) -> &[PlannedInput] {
        &self.inputs
    }

    /// Returns the number of samples.
    pub const fn samples(&self) -> usize {
        self.samples
    }

    /// Returns where random numbers begin; recorded, so that a conversion can be done again.
    pub const fn seed(&self) -> Seed {
        self.seed
    }
}

/// Returns how many random samples are wanted, and what they are like.
fn drawn(calibration: &Calibration) -> Option<(u64, Distribution)> {
    match calibration {
        Calibration::Random { max_images, min_value, max_value, mean, standard_deviation, data_type } => {
            let (mean, standard_deviation) = (*mean, *standard_deviation);
            let (least, most, element) = (*min_value, *max_value, Element::of(*data_type)?);
            Some((*max_images, Distribution { mean, standard_deviation, least, most, element }))
        }
        Calibration::Images { .. } | Calibration::Link { .. } => None,
    }
}

fn taken(input: &str, calibration: &Calibration, listing: &Listing) -> Result<Listing, PlanError> {
    let most = match calibration {
        Calibration::Images { max_images: Some(0), .. } => return Err(PlanError::None { input: input.to_owned() }),
        Calibration::Images { max_images: Some(most), .. } => usize::try_from(*most).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    if listing.files.is_empty() {
        return Err(PlanError::Empty { input: input.to_owned(), folder: listing.shown(&listing.folder) });
    }
    let mut taken = listing.clone();
    taken.keep_first(most);
    Ok(taken)
}

/// Prints one line for each input and file.
impl fmt::Display for CalibrationPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in &self.inputs {
            match &input.supply {
                Supply::Files(listing) => {
                    for (number, file) in listing.files().iter().enumerate() {
                        writeln!(formatter, "{} {number}: {}", input.name, listing.shown(file).display())?;
                    }
                }
                Supply::Random(_) => {
                    writeln!(formatter, "{}: {} random, seed {}", input.name, self.samples, self.seed.0)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DataType, Encoding, FileReference, FrozenValue, Number, ResizeMethod};

    fn input(name: &str, calibration: Calibration) -> ResolvedInput {
        ResolvedInput {
            name: name.to_owned(),
            shape: vec![1, 3, 4, 4],
            layout: "NCHW".parse().unwrap(),
            data_type: DataType::Uint8,
            encoding: Encoding::RGB_TO_BGR,
            mean_values: None,
            scale_values: None,
            calibration,
            frozen_value: None,
        }
    }

    fn images(max_images: Option<u64>) -> Calibration {
        let path = FileReference::new("somewhere");
        Calibration::Images { path, max_images, resize_method: ResizeMethod::Pad }
    }

    fn random(max_images: u64) -> Calibration {
        Calibration::Random {
            max_images,
            min_value: 0.0,
            max_value: 255.0,
            mean: 127.5,
            standard_deviation: 35.0,
            data_type: DataType::Float32,
        }
    }

    fn listing(folder: &str, names: &[&str]) -> Listing {
        Listing::new(folder.into(), names.iter().map(|name| Path::new(folder).join(name)))
    }

    fn plan(inputs: &[ResolvedInput], listings: &[(&str, Listing)]) -> Result<CalibrationPlan, PlanError> {
        let listings = listings.iter().map(|(name, listing)| ((*name).to_owned(), listing.clone())).collect();
        CalibrationPlan::new(inputs, &listings, Seed::default())
    }

    #[test]
    fn files_are_paired_in_the_order_of_their_names() {
        let left = listing("le ft", &["b.PNG", "ä.jpg", "a.Jpeg", "notes.txt", ".c.png", "d.raw", "none"]);
        let right = listing("right", &["1.npy", "3.npy", "2.npy", "4.npy", "5.npy"]);
        let inputs = [input("x", images(None)), input("noise", random(20)), input("y", images(Some(4)))];
        let plan = plan(&inputs, &[("x", left), ("y", right)]).unwrap();
        assert_eq!(
            plan.to_string(),
            "x 0: le ft/a.Jpeg\nx 1: le ft/b.PNG\nx 2: le ft/d.raw\nx 3: le ft/ä.jpg\nnoise: 4 random, seed 0\n\
             y 0: right/1.npy\ny 1: right/2.npy\ny 2: right/3.npy\ny 3: right/4.npy\n"
        );
        assert_eq!(plan.samples(), 4);
        assert_eq!(plan.clone().first(9), plan);
        let first = plan.first(1);
        assert_eq!(first.to_string(), "x 0: le ft/a.Jpeg\nnoise: 1 random, seed 0\ny 0: right/1.npy\n");
        assert_eq!(first.samples(), 1);
    }

    #[test]
    fn what_makes_no_samples_is_refused() {
        let two = listing("two", &["a.png", "b.png"]);
        let pair = [input("x", images(None)), input("y", images(None))];
        for (inputs, listings, message) in [
            (
                &pair[..],
                vec![("x", two.clone()), ("y", listing("one", &["a.png"]))],
                "1 samples in one, input `x` has 2 in two",
            ),
            (&pair, vec![("x", listing("none", &["a.txt"]))], "none has no calibration data for input `x`"),
            (&pair, vec![("x", two.clone())], "of input `y` has not been made yet"),
            (&[input("x", images(Some(0)))], vec![("x", two)], "`max_images` of input `x` is 0"),
            (&[input("x", random(0))], vec![], "`max_images` of input `x` is 0"),
            (
                &[input("x", random(3)), input("y", random(4))],
                vec![],
                "input `y` has 4 random samples, input `x` has 3",
            ),
        ] {
            let error = plan(inputs, &listings).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn members_of_a_zip_file_go_by_its_name() {
        let zipped =
            |files: &[&str]| listing("/tmp/1/deep", files).unpacked_from(Path::new("a b.zip"), Path::new("/tmp/1"));
        let images = [input("x", images(None))];
        let made = plan(&images, &[("x", zipped(&["b.png", "a.png"]))]).unwrap();
        assert_eq!(made.to_string(), "x 0: a b.zip/deep/a.png\nx 1: a b.zip/deep/b.png\n");
        let error = plan(&images, &[("x", zipped(&[]))]).unwrap_err().to_string();
        assert!(error.starts_with("a b.zip/deep has no calibration data"), "{error}");
        assert_eq!(zipped(&[]).shown(Path::new("/tmp/1")).as_os_str(), "a b.zip");
        assert_eq!(zipped(&[]).shown(Path::new("/tmp/2/a.png")), Path::new("/tmp/2/a.png"));
    }

    #[test]
    fn links_wait_for_their_stage_and_frozen_inputs_are_left_alone() {
        let link =
            Calibration::Link { stage: "first".parse().unwrap(), source: LinkSource::Output("features".to_owned()) };
        let frozen =
            ResolvedInput { frozen_value: Some(FrozenValue::Scalar(Number::Integer(1))), ..input("f", random(3)) };
        let inputs = [input("x", link), frozen];
        assert_eq!(plan(&inputs, &[]).unwrap_err().hints(), ["run stage `first` first"]);
        let made = plan(&inputs, &[("x", listing("made", &["0.npy", "1.npy"]))]).unwrap();
        assert_eq!((made.samples(), made.inputs().len()), (2, 1));
    }
}
