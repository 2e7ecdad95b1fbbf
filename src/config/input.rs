//! What a configuration says about the inputs and outputs of a model.

use super::{DataType, FileReference, Origin, StageName};
use crate::nn_archive::Layout;

use super::targets::named;

/// What was said about one key, and where.
///
/// An explicit null is not the same as silence: it turns a global key off for one input.
#[derive(Clone, Debug, Default)]
pub enum Setting<T> {
    /// Nothing was said.
    #[default]
    Absent,
    /// Null was said.
    Null(Origin),
    /// This was said.
    Given(T, Origin),
}

impl<T> Setting<T> {
    /// Returns what was given.
    pub const fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value, _) => Some(value),
            Self::Absent | Self::Null(_) => None,
        }
    }

    /// Returns where something was said.
    pub const fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Absent => None,
            Self::Null(origin) | Self::Given(_, origin) => Some(origin),
        }
    }

    /// Returns this, or `global` where nothing was said here.
    pub const fn or<'a>(&'a self, global: &'a Self) -> &'a Self {
        match self {
            Self::Absent => global,
            Self::Null(_) | Self::Given(..) => self,
        }
    }
}

/// Equal when the same was said, wherever.
impl<T: PartialEq> PartialEq for Setting<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) | (Self::Null(_), Self::Null(_)) => true,
            (Self::Given(left, _), Self::Given(right, _)) => left == right,
            _ => false,
        }
    }
}

/// Dimensions of a tensor, outermost first, all known and positive. Empty for a scalar.
pub type Shape = Vec<u64>;

/// The keys that may stand globally in a stage as well as with one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputSettings {
    /// `shape`.
    pub shape: Setting<Shape>,
    /// `layout`.
    pub layout: Setting<Layout>,
    /// `data_type`.
    pub data_type: Setting<DataType>,
    /// `encoding`.
    pub encoding: Setting<Encoding>,
    /// `mean_values`: subtracted from each channel, in the order of the model's own channels.
    pub mean_values: Setting<ChannelValues>,
    /// `scale_values`: divided through for each channel, in the order of the model's own channels.
    pub scale_values: Setting<ChannelValues>,
    /// `calibration`.
    pub calibration: Setting<CalibrationKeys>,
}

/// One entry of `inputs`.
#[derive(Clone, Debug, PartialEq)]
pub struct InputEntry {
    /// The tensor's name.
    pub name: String,
    /// Where the entry stands.
    pub origin: Origin,
    /// What it says.
    pub settings: InputSettings,
    /// The constant that takes the input's place (RVC2 and RVC3).
    pub frozen_value: Option<FrozenValue>,
}

/// One entry of `outputs`.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputEntry {
    /// The tensor's name.
    pub name: String,
    /// Where the entry stands.
    pub origin: Origin,
    /// `shape`.
    pub shape: Option<Shape>,
    /// `layout`.
    pub layout: Option<Layout>,
    /// `data_type`.
    pub data_type: Option<DataType>,
}

/// The colours of a picture before and after the model's input: what the model was trained on, and what it will be fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// What the model was trained on.
    pub from: Color,
    /// What the compiled model will be fed.
    pub to: Color,
}

impl Encoding {
    /// The default of colour pictures: trained on RGB, fed BGR.
    pub const RGB_TO_BGR: Self = Self { from: Color::Rgb, to: Color::Bgr };

    /// Returns the encoding with `color` on both sides.
    pub const fn same(color: Color) -> Self {
        Self { from: color, to: color }
    }

    /// Returns whether the compiled model must swap red and blue.
    pub const fn reverses_channels(self) -> bool {
        matches!((self.from, self.to), (Color::Rgb, Color::Bgr) | (Color::Bgr, Color::Rgb))
    }

    /// Returns whether the input is no picture.
    pub const fn is_raw(self) -> bool {
        matches!((self.from, self.to), (Color::None, Color::None))
    }
}

named!(
    /// The colours of a picture.
    Color {
        Rgb "RGB",
        Bgr "BGR",
        Gray "GRAY",
        None "NONE",
    }
);

/// A value for each channel.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelValues {
    /// The same for all channels, however many there are.
    Same(f64),
    /// One for each channel.
    Each(Vec<f64>),
    /// The figures of ImageNet.
    Imagenet,
}

/// A constant in the place of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum FrozenValue {
    /// One number.
    Scalar(Number),
    /// A list of numbers.
    List(Vec<Number>),
}

impl FrozenValue {
    /// Returns the numbers; truth values are 0 and 1.
    pub fn numbers(&self) -> Vec<f64> {
        let number = |number: &Number| match *number {
            Number::Integer(value) => value as f64,
            Number::Float(value) => value,
            Number::Boolean(value) => f64::from(u8::from(value)),
        };
        match self {
            Self::Scalar(value) => vec![number(value)],
            Self::List(values) => values.iter().map(number).collect(),
        }
    }
}

/// A number as it was written.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum Number {
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

/// What was said about calibration: keys that may be completed by global ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalibrationKeys {
    /// Whether the text `random` stood in the place of a mapping.
    pub random: bool,
    /// `path`.
    pub path: Option<FileReference>,
    /// `max_images`; negative means all.
    pub max_images: Option<i64>,
    /// `resize_method`.
    pub resize_method: Option<ResizeMethod>,
    /// `min_value`.
    pub min_value: Option<f64>,
    /// `max_value`.
    pub max_value: Option<f64>,
    /// `mean`.
    pub mean: Option<f64>,
    /// `std`.
    pub standard_deviation: Option<f64>,
    /// `data_type`.
    pub data_type: Option<DataType>,
    /// `stage`.
    pub stage: Option<StageName>,
    /// `output`.
    pub output: Option<String>,
    /// `script`.
    pub script: Option<String>,
}

/// The data that an input is calibrated with.
#[derive(Clone, Debug, PartialEq)]
pub enum Calibration {
    /// Files of a folder.
    Images {
        /// The folder.
        path: FileReference,
        /// How many, or all.
        max_images: Option<u64>,
        /// How pictures of another size become the input's.
        resize_method: ResizeMethod,
    },
    /// Drawn from a normal distribution.
    Random {
        /// How many samples.
        max_images: u64,
        /// What is smaller is cut to this.
        min_value: f64,
        /// What is larger is cut to this.
        max_value: f64,
        /// The middle.
        mean: f64,
        /// The spread.
        standard_deviation: f64,
        /// The type of elements.
        data_type: DataType,
    },
    /// What another stage makes of its own calibration data.
    Link {
        /// The stage.
        stage: StageName,
        /// What is taken of its results.
        source: LinkSource,
    },
}

/// What is taken of another stage's results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSource {
    /// This output, as it is.
    Output(String),
    /// What this Python source, or the file it names, makes of the outputs.
    Script(String),
}

named!(
    /// How pictures of another size become the input's.
    ResizeMethod {
        Resize "RESIZE",
        Crop "CROP",
        Pad "PAD",
    }
);
