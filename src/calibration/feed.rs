//! What one input of a network is fed: pictures, arrays, raw bytes and random numbers in its shape, layout and type.

use thiserror::Error;

use super::element::{Element, Tensor};
use super::fit::{FitError, fit};
use super::picture::{Channels, Picture, Size};
use super::random::{Distribution, Generator, sample};
use super::wide::wide;
use crate::config::{Calibration, Color, DataType, Named, ResizeMethod, ResolvedInput, Shape};
use crate::hint::Hint;
use crate::nn_archive::Layout;

/// The largest tensor of one sample: what a small machine holds a few of.
const MOST_BYTES: usize = 1 << 30;

/// What one input of a network wants to be fed.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    shape: Vec<usize>,
    layout: Layout,
    element: Element,
    color: Color,
    resize_method: ResizeMethod,
}

/// What a [`Feed`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedOptions {
    /// The input's dimensions, outermost first.
    pub shape: Shape,
    /// The letters of the dimensions.
    pub layout: Layout,
    /// The type of the elements.
    pub data_type: DataType,
    /// The colours that the network is fed; `NONE` takes what the number of channels says.
    pub color: Color,
    /// How pictures of another size become the input's.
    pub resize_method: ResizeMethod,
}

/// A sample that the input cannot be fed.
#[derive(Debug, Error, PartialEq)]
pub enum FeedError {
    /// Layout and shape do not belong together.
    #[error("layout {layout} has another number of dimensions than shape {shape:?}")]
    Rank {
        /// The layout.
        layout: Layout,
        /// The shape.
        shape: Shape,
    },
    /// The tensor would be larger than anything sensible, or empty.
    #[error("a tensor of shape {shape:?} has no or too many elements")]
    Volume {
        /// The shape.
        shape: Shape,
    },
    /// The input takes texts.
    #[error("inputs of type {data_type} are not calibrated")]
    Type {
        /// The type.
        data_type: DataType,
    },
    /// The input is no picture.
    #[error("layout {layout} has no height and width for a picture")]
    NoPicture {
        /// The layout.
        layout: Layout,
    },
    /// The input has a dimension that pictures lack.
    #[error("dimension {letter} of layout {layout} has size {size}: a picture has no such dimension")]
    Dimension {
        /// The layout.
        layout: Layout,
        /// The dimension.
        letter: char,
        /// Its size.
        size: usize,
    },
    /// The colours have another number of channels than the input.
    #[error("encoding {} does not fit an input with {channels} channel(s)", color.as_str())]
    Channels {
        /// The colours.
        color: Color,
        /// The input's number of channels.
        channels: usize,
    },
    /// The picture cannot become so large.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The array has another shape.
    #[error("the array has shape {found:?}, the input {expected:?}")]
    Shape {
        /// The array's.
        found: Shape,
        /// The input's.
        expected: Shape,
    },
    /// The array has values that the input's type lacks.
    #[error("the array's value {value} ({from}) does not exist in the input's type {to}")]
    Value {
        /// The value.
        value: f64,
        /// The array's type.
        from: Element,
        /// The input's.
        to: Element,
    },
    /// The picture has values that the input's type lacks.
    #[error("the picture's value {value} does not exist in the input's type {to}")]
    Pixel {
        /// The value.
        value: u8,
        /// The input's type.
        to: Element,
    },
    /// There is a value that no number is, of which a network makes nothing.
    #[error("value {place} is not a number (NaN)")]
    NotANumber {
        /// Its place among all values, from 0.
        place: usize,
    },
    /// There are more or fewer raw bytes than the input takes.
    #[error("there are {found} bytes: an input of shape {shape:?} and type {element} takes {expected}")]
    Length {
        /// How many there are.
        found: usize,
        /// How many are wanted.
        expected: usize,
        /// The input's shape.
        shape: Shape,
        /// The input's type.
        element: Element,
    },
}

impl Hint for FeedError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Rank { shape, .. } => vec![match Layout::default_for(shape) {
                Ok(layout) => format!("write one letter for each dimension, for example `{layout}`"),
                Err(_) => "write one letter for each dimension".to_owned(),
            }],
            Self::Channels { channels: 1, .. } => vec!["use the encoding `GRAY`".to_owned()],
            Self::Channels { channels: 3, .. } => vec!["use the encoding `RGB` or `BGR`".to_owned()],
            Self::Channels { channels: 2 | 4, .. } => vec!["use the encoding `NONE`".to_owned()],
            Self::NoPicture { .. } => vec![
                "if it is one, name height and width in the layout: `NCHW`, `NHWC` or `HW`".to_owned(),
                "if not, give the samples as `.npy`, in the input's shape".to_owned(),
            ],
            Self::Dimension { .. } | Self::Channels { .. } => {
                vec!["give the samples as `.npy`, in the input's shape".to_owned()]
            }
            Self::Shape { found, expected } => reformed(found, expected).into_iter().collect(),
            Self::Value { to, .. } => vec![format!("save `array.astype(\"{to}\")` if that is meant")],
            Self::Pixel { .. } => {
                vec![
                    "say what lies between bytes and the network, mostly `mean_values: 128`: it is fed bytes then"
                        .to_owned(),
                ]
            }
            Self::Fit(error) => error.hints(),
            Self::NotANumber { .. } => {
                vec!["look for a division by zero, or an overflow, in what made the samples".to_owned()]
            }
            Self::Volume { .. } | Self::Type { .. } | Self::Length { .. } => Vec::new(),
        }
    }
}

/// Tells how an array of one shape becomes one of another without mixing up its values, if it can.
fn reformed(found: &[u64], expected: &[u64]) -> Option<String> {
    let long = |shape: &[u64]| -> Vec<u64> { shape.iter().copied().filter(|size| *size != 1).collect() };
    if long(found) == long(expected) {
        return Some(format!("save `array.reshape({expected:?})`"));
    }
    // Each axis from where its size stands; sizes that stand twice leave it open.
    let order = expected.iter().map(|size| {
        let mut places = found.iter().enumerate().filter(|(_, found)| *found == size).map(|(place, _)| place);
        places.next().filter(|_| places.next().is_none())
    });
    let order = order.collect::<Option<Vec<usize>>>().filter(|order| order.len() == found.len())?;
    Some(format!("save `array.transpose({order:?})` if that is the order of its dimensions"))
}

impl Feed {
    /// Takes what an input is like.
    ///
    /// # Errors
    /// Layout and shape do not belong together, the tensor is empty or too large, the type is text.
    pub fn new(options: FeedOptions) -> Result<Self, FeedError> {
        let FeedOptions { shape, layout, data_type, color, resize_method } = options;
        let element = Element::of(data_type).ok_or(FeedError::Type { data_type })?;
        if layout.rank() != shape.len() {
            return Err(FeedError::Rank { layout, shape });
        }
        let sizes: Option<Vec<usize>> = shape.iter().map(|size| usize::try_from(*size).ok()).collect();
        let volume = |sizes: &Vec<usize>| {
            sizes.iter().try_fold(element.size(), |volume, size| volume.checked_mul(*size)).unwrap_or(usize::MAX)
        };
        match sizes.filter(|sizes| (1..=MOST_BYTES).contains(&volume(sizes))) {
            Some(shape) => Ok(Self { shape, layout, element, color, resize_method }),
            None => Err(FeedError::Volume { shape }),
        }
    }

    /// Takes what an input of a resolved configuration is like. Pictures whose mean is subtracted first are bytes, also
    /// where the network takes the difference as `int8`.
    ///
    /// # Errors
    /// The same as [`Feed::new`].
    pub fn of(input: &ResolvedInput) -> Result<Self, FeedError> {
        let resize_method = match &input.calibration {
            Calibration::Images { resize_method, .. } => *resize_method,
            Calibration::Random { .. } | Calibration::Link { .. } => ResizeMethod::Resize,
        };
        let is_centred = !input.encoding.is_raw() && input.mean_values.is_some();
        let data_type = match input.data_type {
            DataType::Int8 if is_centred => DataType::Uint8,
            data_type => data_type,
        };
        Self::new(FeedOptions {
            shape: input.shape.clone(),
            layout: input.layout.clone(),
            data_type,
            color: input.encoding.to,
            resize_method,
        })
    }

    /// Returns the dimensions, outermost first.
    pub fn shape(&self) -> Shape {
        self.shape.iter().map(|size| *size as u64).collect()
    }

    /// Returns the letters of the dimensions.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the type of the elements.
    pub const fn element(&self) -> Element {
        self.element
    }

    /// Returns the number of elements of a sample.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    fn tensor(&self, bytes: Vec<u8>) -> Tensor {
        Tensor { shape: self.shape(), element: self.element, bytes }
    }

    /// Makes a sample of a picture. An input that takes several pictures at once is fed the same one several times.
    ///
    /// # Errors
    /// The input is no picture, has other channels than its encoding, or lacks a value of the picture.
    pub fn picture(&self, picture: Picture) -> Result<Tensor, FeedError> {
        let form = self.form()?;
        let picture = fit(picture.with_channels(form.channels), form.size, self.resize_method)?;
        let picture = if self.color == Color::Bgr { picture.with_red_and_blue_swapped() } else { picture };
        let channels = form.channels.count();
        let axes = self.axes(|letter| match letter {
            'H' => form.size.width * channels,
            'W' => channels,
            'C' => 1,
            // The same picture for each place of a batch.
            _ => 0,
        });
        let mut samples = Vec::with_capacity(self.count());
        gather(picture.samples(), &merged(axes), &mut samples);
        let to = self.element;
        Ok(self.tensor(to.pixels(samples).map_err(|value| FeedError::Pixel { value, to })?))
    }

    /// Makes a sample of an array: of the input's shape, but for leading dimensions of one, and of any type that has no
    /// values which the input's type lacks.
    ///
    /// # Errors
    /// Another shape, or values that the input's type lacks or that are no numbers.
    pub fn array(&self, array: Tensor) -> Result<Tensor, FeedError> {
        self.accept(&array.shape)?;
        let (from, to) = (array.element, self.element);
        let bytes = from.convert(array.bytes, to).map_err(|value| FeedError::Value { value, from, to })?;
        self.checked(bytes)
    }

    /// Checks that an array of this shape is one of the input's, but for leading dimensions of one.
    ///
    /// # Errors
    /// It is another shape.
    pub fn accept(&self, shape: &[u64]) -> Result<(), FeedError> {
        fn core(shape: &[u64]) -> &[u64] {
            let ones = shape.iter().take_while(|size| **size == 1).count();
            shape.get(ones..).unwrap_or_default()
        }
        let expected = self.shape();
        if core(shape) == core(&expected) {
            return Ok(());
        }
        Err(FeedError::Shape { found: shape.to_vec(), expected })
    }

    /// Makes a sample of raw bytes, which are taken as they are.
    ///
    /// # Errors
    /// There are more or fewer than the input takes, or values that are no numbers.
    pub fn raw(&self, bytes: &[u8]) -> Result<Tensor, FeedError> {
        let (found, expected) = (bytes.len(), self.count() * self.element.size());
        if found != expected {
            return Err(FeedError::Length { found, expected, shape: self.shape(), element: self.element });
        }
        self.checked(bytes.to_vec())
    }

    /// Returns the tensor of bytes that somebody else made.
    fn checked(&self, bytes: Vec<u8>) -> Result<Tensor, FeedError> {
        match self.element.first_nan(&bytes) {
            Some(place) => Err(FeedError::NotANumber { place }),
            None => Ok(self.tensor(bytes)),
        }
    }

    /// Makes a sample of random numbers.
    pub fn random(&self, distribution: Distribution, generator: Generator) -> Tensor {
        self.tensor(sample(distribution, self.count(), self.element, generator))
    }

    /// Returns what a sample looks like to people: its first picture in true colours.
    ///
    /// # Errors
    /// The input is no picture.
    pub fn to_picture(&self, sample: &Tensor) -> Result<Picture, FeedError> {
        let form = self.form()?;
        // How far apart neighbours stand in the tensor, in elements.
        let stride = |letter| match self.layout.position(letter) {
            Some(at) => self.shape.iter().skip(at + 1).product(),
            None => 0,
        };
        let axes = vec![
            Axis { length: form.size.height, stride: stride('H') },
            Axis { length: form.size.width, stride: stride('W') },
            Axis { length: form.channels.count(), stride: stride('C') },
        ];
        let pixels = self.element.to_pixels(&sample.bytes);
        let mut samples = Vec::with_capacity(form.size.width * form.size.height * form.channels.count());
        gather(&pixels, &merged(axes), &mut samples);
        let picture = Picture::new(form.size, form.channels, samples);
        let picture = picture.ok_or_else(|| FeedError::Volume { shape: sample.shape.clone() })?;
        Ok(if self.color == Color::Bgr { picture.with_red_and_blue_swapped() } else { picture })
    }

    /// Returns what a picture must be like.
    fn form(&self) -> Result<Form, FeedError> {
        let size = |letter| self.layout.position(letter).and_then(|at| self.shape.get(at).copied());
        let (Some(height), Some(width)) = (size('H'), size('W')) else {
            return Err(FeedError::NoPicture { layout: self.layout.clone() });
        };
        for (letter, size) in self.layout.as_str().chars().zip(&self.shape) {
            if !"NCHW".contains(letter) && *size != 1 {
                return Err(FeedError::Dimension { layout: self.layout.clone(), letter, size: *size });
            }
        }
        let count = size('C').unwrap_or(1);
        let channels = Channels::of_count(count as u64).filter(|channels| match self.color {
            Color::Rgb | Color::Bgr => *channels == Channels::Rgb,
            Color::Gray => *channels == Channels::Gray,
            Color::None => true,
        });
        let channels = channels.ok_or(FeedError::Channels { color: self.color, channels: count })?;
        Ok(Form { size: Size { width, height }, channels })
    }

    fn axes(&self, stride: impl Fn(char) -> usize) -> Vec<Axis> {
        let letters = self.layout.as_str().chars();
        letters.zip(&self.shape).map(|(letter, length)| Axis { length: *length, stride: stride(letter) }).collect()
    }
}

/// What a picture must be like to be fed.
struct Form {
    size: Size,
    channels: Channels,
}

/// One dimension of a tensor: how many there are, and how far apart they stand in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    length: usize,
    stride: usize,
}

/// Returns the same walk with fewer axes: those of one step are none, and two that follow each other are one.
fn merged(axes: Vec<Axis>) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::with_capacity(axes.len());
    for axis in axes.into_iter().filter(|axis| axis.length != 1) {
        match merged.last_mut() {
            Some(last) if last.stride == axis.stride * axis.length => {
                *last = Axis { length: last.length * axis.length, stride: axis.stride };
            }
            _ => merged.push(axis),
        }
    }
    merged
}

/// Appends what a walk along `axes`, the last one fastest, finds in `source`.
fn gather(source: &[u8], axes: &[Axis], found: &mut Vec<u8>) {
    match axes {
        [] => found.extend(source.first()),
        [Axis { length, stride: 0 }] => {
            found.extend(source.iter().take(1).cycle().take(*length));
        }
        [Axis { length, stride: 1 }] => found.extend_from_slice(source.get(..*length).unwrap_or_default()),
        [Axis { length, stride: 3 }] => take_thirds(source, *length, found),
        [Axis { length, stride }] => found.extend(source.iter().step_by(*stride).take(*length)),
        [Axis { length, stride }, inner @ ..] => {
            for step in 0..*length {
                gather(source.get(step * stride..).unwrap_or_default(), inner, found);
            }
        }
    }
}

wide! {
    /// Appends every third byte, as the channels of a picture stand: a step that the compiler knows is a fast one.
    fn take_thirds(source: &[u8], length: usize, found: &mut Vec<u8>) = thirds;
}

#[inline(always)]
fn thirds(source: &[u8], length: usize, found: &mut Vec<u8>) {
    let (whole, rest) = source.as_chunks::<3>();
    found.extend(whole.iter().take(length).map(|[first, ..]| *first));
    if whole.len() < length {
        found.extend(rest.first());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Encoding, FileReference};

    fn feed(shape: &[u64], layout: &str, color: Color, data_type: DataType) -> Feed {
        let layout = layout.parse().unwrap();
        Feed::new(FeedOptions { shape: shape.to_vec(), layout, data_type, color, resize_method: ResizeMethod::Crop })
            .unwrap()
    }

    /// Two columns and one row: red 1, green 2, blue 3; red 4, green 5, blue 6.
    fn colours() -> Picture {
        Picture::new(Size { width: 2, height: 1 }, Channels::Rgb, vec![1, 2, 3, 4, 5, 6]).unwrap()
    }

    #[test]
    fn pictures_go_into_every_layout_and_come_back() {
        for (shape, layout, color, expected) in [
            (&[1, 3, 1, 2][..], "NCHW", Color::Rgb, &[1, 4, 2, 5, 3, 6][..]),
            (&[1, 3, 1, 2], "NCHW", Color::Bgr, &[3, 6, 2, 5, 1, 4]),
            (&[1, 1, 2, 3], "NHWC", Color::Rgb, &[1, 2, 3, 4, 5, 6]),
            (&[1, 2, 3], "HWC", Color::Bgr, &[3, 2, 1, 6, 5, 4]),
            (&[3, 1, 2], "CHW", Color::None, &[1, 4, 2, 5, 3, 6]),
            (&[2, 3, 1], "WCH", Color::Rgb, &[1, 2, 3, 4, 5, 6]),
            (&[1, 3, 2, 1], "NCWH", Color::Rgb, &[1, 4, 2, 5, 3, 6]),
            (&[2, 3, 1, 2], "NCHW", Color::Rgb, &[1, 4, 2, 5, 3, 6, 1, 4, 2, 5, 3, 6]),
            (&[1, 2, 3, 2], "HWCN", Color::Rgb, &[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]),
            (&[1, 3, 1, 1, 2], "NCDHW", Color::Rgb, &[1, 4, 2, 5, 3, 6]),
            (&[4, 1, 2], "CHW", Color::None, &[1, 4, 2, 5, 3, 6, 255, 255]),
            (&[1, 2], "HW", Color::Gray, &[2, 5]),
            (&[1, 1, 1, 2], "NCHW", Color::Gray, &[2, 5]),
            (&[2, 1], "WH", Color::None, &[2, 5]),
        ] {
            let feed = feed(shape, layout, color, DataType::Uint8);
            let tensor = feed.picture(colours()).unwrap();
            assert_eq!((tensor.bytes.as_slice(), tensor.shape.as_slice()), (expected, shape), "{layout} {color:?}");
            let shown = feed.to_picture(&tensor).unwrap();
            assert_eq!(shown, colours().with_channels(shown.channels()), "{layout} {color:?}");
        }
    }

    #[test]
    fn types_hold_pixels_as_they_are() {
        let tensor = |data_type| feed(&[1, 1, 2], "CHW", Color::Gray, data_type).picture(colours()).unwrap();
        assert_eq!(tensor(DataType::Float32).bytes, [0, 0, 0, 64, 0, 0, 160, 64]);
        assert_eq!(tensor(DataType::Float16).bytes, [0, 0x40, 0, 0x45]);
        assert_eq!(tensor(DataType::Int8).bytes, [2, 5]);
        assert_eq!(tensor(DataType::Uint16).bytes, [2, 0, 5, 0]);
    }

    #[test]
    fn bright_pixels_are_no_int8_unless_a_mean_is_subtracted() {
        let bright = || Picture::new(Size { width: 1, height: 1 }, Channels::Gray, vec![200]).unwrap();
        let error = feed(&[1, 1, 1], "CHW", Color::Gray, DataType::Int8).picture(bright()).unwrap_err();
        assert_eq!(error.to_string(), "the picture's value 200 does not exist in the input's type int8");
        assert!(error.hints()[0].contains("`mean_values: 128`"), "{:?}", error.hints());
        let input = |encoding, mean_values| ResolvedInput {
            name: "x".to_owned(),
            shape: vec![1, 1, 1],
            layout: "CHW".parse().unwrap(),
            data_type: DataType::Int8,
            encoding: Encoding::same(encoding),
            mean_values,
            scale_values: None,
            calibration: Calibration::Images {
                path: FileReference::new("."),
                max_images: None,
                resize_method: ResizeMethod::Resize,
            },
            frozen_value: None,
        };
        let fed = |input| Feed::of(&input).unwrap();
        assert!(fed(input(Color::Gray, None)).picture(bright()).is_err());
        let centred = fed(input(Color::Gray, Some(vec![128.0]))).picture(bright()).unwrap();
        assert_eq!((centred.element, centred.bytes.as_slice()), (Element::Uint8, &[200][..]));
        assert_eq!(fed(input(Color::None, Some(vec![128.0]))).element(), Element::Int8, "numbers are what they are");
    }

    #[test]
    fn inputs_that_are_no_pictures_say_so() {
        for (shape, layout, color, message, hint) in [
            (&[1, 10][..], "NC", Color::None, "no height and width", ".npy"),
            (&[1, 3, 2, 4, 4], "NCDHW", Color::Rgb, "dimension D of layout NCDHW has size 2", ".npy"),
            (&[1, 1, 4, 4], "NCHW", Color::Rgb, "encoding RGB does not fit an input with 1 channel(s)", "GRAY"),
            (&[1, 3, 4, 4], "NCHW", Color::Gray, "encoding GRAY does not fit", "`RGB` or `BGR`"),
            (&[1, 8, 4, 4], "NCHW", Color::None, "with 8 channel(s)", ".npy"),
            (&[4, 4], "HW", Color::Bgr, "with 1 channel(s)", "GRAY"),
        ] {
            let error = feed(shape, layout, color, DataType::Uint8).picture(colours()).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert!(error.hints().iter().any(|line| line.contains(hint)), "{error}: {:?}", error.hints());
        }
        let options = |shape: &[u64], layout: &str, data_type| FeedOptions {
            shape: shape.to_vec(),
            layout: layout.parse().unwrap(),
            data_type,
            color: Color::None,
            resize_method: ResizeMethod::Resize,
        };
        for refused in [
            options(&[1, 2], "NCH", DataType::Uint8),
            options(&[1, 0], "NC", DataType::Uint8),
            options(&[1 << 40, 1 << 40], "NC", DataType::Uint8),
            options(&[1 << 28, 2], "NC", DataType::Float32),
            options(&[1], "C", DataType::String),
        ] {
            assert!(Feed::new(refused.clone()).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn arrays_fit_by_shape_and_value() {
        let feed = feed(&[1, 2, 2], "NCD", Color::None, DataType::Uint8);
        let array = |shape: &[u64], values: &[f32]| Tensor {
            shape: shape.to_vec(),
            element: Element::Float32,
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let whole = [0.0, 1.0, 2.0, 255.0];
        assert_eq!(feed.array(array(&[2, 2], &whole)).unwrap().bytes, [0, 1, 2, 255]);
        assert_eq!(feed.array(array(&[1, 2, 2], &whole)).unwrap().shape, [1, 2, 2]);
        assert!(matches!(feed.array(array(&[4], &whole)), Err(FeedError::Shape { .. })));
        assert!(matches!(feed.array(array(&[2, 2], &[0.5; 4])), Err(FeedError::Value { .. })));
        assert_eq!(feed.raw(&[1, 2, 3, 4]).unwrap().bytes, [1, 2, 3, 4]);
        assert!(matches!(feed.raw(&[0; 5]), Err(FeedError::Length { found: 5, expected: 4, .. })));
    }

    #[test]
    fn values_that_are_no_numbers_are_refused() {
        for data_type in [DataType::Float16, DataType::Float32, DataType::Float64] {
            let feed = feed(&[1, 3], "NC", Color::None, data_type);
            let values = |second: f64| {
                let mut bytes = Vec::new();
                [1.0, f64::INFINITY, second].iter().for_each(|value| feed.element.push(*value, &mut bytes));
                bytes
            };
            let array = |second: f64| Tensor { shape: vec![1, 3], element: feed.element, bytes: values(second) };
            assert!(feed.array(array(f64::NEG_INFINITY)).is_ok(), "masks have infinities");
            assert_eq!(feed.array(array(f64::NAN)), Err(FeedError::NotANumber { place: 2 }));
            assert_eq!(feed.raw(&values(f64::NAN)), Err(FeedError::NotANumber { place: 2 }));
        }
    }
}
