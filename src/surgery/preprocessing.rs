//! What is done to an input before the network sees it: channel order, mean, scale.
//!
//! The order is fixed: channels are reversed, then the mean is subtracted, then the result is divided by the scale.
//! Mean and scale therefore stand in the network's own channel order, and are never reversed themselves.

use std::collections::BTreeMap;

use thiserror::Error;

use super::build::{Along, Builder};
use super::{Pass, PassError, Repetition};
use crate::hint::{Hint, nearest};
use crate::onnx::proto::{NodeProto, ValueInfoProto};
use crate::onnx::{Dimension, ElementType, FreshNames, Known, Patch, Shape, TensorError, Value, read_floats};

/// What is done to one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputPreprocessing {
    /// Whether the channels come in the opposite order.
    pub reverse_channels: bool,
    /// What is subtracted: nothing, one value for all channels, or one for each.
    pub mean: Vec<f64>,
    /// What is divided by: nothing, one value for all channels, or one for each.
    pub scale: Vec<f64>,
    /// A letter for each dimension, `C` for channels; empty if not known.
    pub layout: String,
}

/// Preprocessing that cannot be done.
#[derive(Debug, Error, PartialEq)]
pub enum PreprocessingError {
    /// There is no such input.
    #[error("the model has no input `{input}` to preprocess")]
    NoSuchInput {
        /// What was asked for.
        input: String,
        /// The inputs there are.
        inputs: Vec<String>,
    },
    /// Layout and shape have different ranks.
    #[error("layout {layout} of input `{input}` has {} letters, but its shape {shape} has {} dimensions", .layout.len(), .shape.rank())]
    WrongLayout {
        /// The input.
        input: String,
        /// The layout.
        layout: String,
        /// The shape.
        shape: Shape,
    },
    /// Channels are needed, and there are none.
    #[error("{what} of input `{input}` needs a dimension of channels, but its layout is `{layout}`")]
    NoChannels {
        /// The input.
        input: String,
        /// The layout.
        layout: String,
        /// What needs them.
        what: &'static str,
    },
    /// The number of channels is needed, and not known.
    #[error("the channels of input `{input}` cannot be reversed: how many there are is not known")]
    UnknownChannels {
        /// The input.
        input: String,
    },
    /// There are more or fewer values than channels.
    #[error("input `{input}` has {channels} channels, but {what} has {values} values")]
    WrongCount {
        /// The input.
        input: String,
        /// Mean or scale.
        what: &'static str,
        /// How many channels there are.
        channels: i64,
        /// How many values there are.
        values: usize,
    },
    /// A value that cannot be computed with.
    #[error("{what} of input `{input}` holds {value}, which {element} cannot be computed with")]
    BadValue {
        /// The input.
        input: String,
        /// Mean or scale.
        what: &'static str,
        /// The value.
        value: f64,
        /// The input's element type.
        element: ElementType,
    },
    /// The input does not hold floating numbers.
    #[error("mean and scale need an input of floating numbers, but `{input}` is {}", .element.map_or("of unknown type", ElementType::as_str))]
    NotFloat {
        /// The input.
        input: String,
        /// Its element type, if the model says it.
        element: Option<ElementType>,
    },
}

impl Hint for PreprocessingError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoSuchInput { input, inputs } => {
                let near = nearest(input, inputs.iter().map(String::as_str));
                near.map(|near| format!("did you mean `{near}`?")).into_iter().collect()
            }
            Self::WrongLayout { .. } | Self::NoChannels { .. } => {
                vec!["give `layout` with one letter for each dimension, for instance NCHW".into()]
            }
            Self::UnknownChannels { .. } => vec!["give `shape`".into()],
            Self::WrongCount { channels, .. } => vec![format!("give one value, or {channels}")],
            Self::NotFloat { element: Some(_), .. } => vec![
                "leave `mean_values` and `scale_values` away if the network converts its integers itself, or export it \
                 with an input of floating numbers"
                    .into(),
            ],
            _ => Vec::new(),
        }
    }
}

/// Inserts preprocessing behind inputs.
#[derive(Clone, Debug)]
pub struct Preprocess {
    inputs: BTreeMap<String, InputPreprocessing>,
}

impl Preprocess {
    /// Takes what is done to each input, by its name.
    pub fn new(inputs: BTreeMap<String, InputPreprocessing>) -> Self {
        Self { inputs }
    }
}

impl Pass for Preprocess {
    fn name(&self) -> &'static str {
        "input-preprocessing"
    }

    fn reason(&self) -> &'static str {
        "the configuration asks for channel order, mean or scale"
    }

    fn repetition(&self) -> Repetition {
        Repetition::Once
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let values = model.inputs();
        let mut builder = Builder::new(model.opset(), FreshNames::of(model));
        let mut patch = Patch::default();
        for (name, wanted) in &self.inputs {
            let value = values.iter().find(|value| value.name == *name).ok_or_else(|| {
                let inputs = values.iter().map(|value| value.name.clone()).collect();
                PreprocessingError::NoSuchInput { input: name.clone(), inputs }
            })?;
            let described = model.graph().input.iter().find(|input| input.name() == name);
            Input { name, value, described, wanted }.preprocess(&mut builder, &mut patch)?;
        }
        patch.added_initializers = builder.constants;
        Ok(Some(patch))
    }
}

/// One input and what is wanted of it.
struct Input<'a> {
    name: &'a str,
    value: &'a Value,
    described: Option<&'a ValueInfoProto>,
    wanted: &'a InputPreprocessing,
}

impl Input<'_> {
    fn preprocess(&self, builder: &mut Builder, patch: &mut Patch) -> Result<(), PreprocessingError> {
        self.agrees_with_layout()?;
        let mut current = self.name.to_owned();
        let mut nodes = Vec::new();
        let mut made = Vec::new();
        if let Some(channels) = self.reversal()? {
            let reversed = builder.name(&format!("{}/reversed", self.name));
            nodes.extend(self.reversed(channels, &reversed, builder));
            made.push(reversed.clone());
            current = reversed;
        }
        let mean = ("mean", "Sub", "centred", self.wanted.mean.clone(), 0.0);
        let reciprocals = self.wanted.scale.iter().map(|scale| scale.recip()).collect();
        let scale = ("scale", "Mul", "scaled", reciprocals, 1.0);
        for (what, operator, suffix, values, neutral) in [mean, scale] {
            if values.iter().all(|value| *value == neutral) {
                continue;
            }
            let along = self.along(what, values.len())?;
            let element = self.element()?;
            let next = builder.name(&format!("{}/{suffix}", self.name));
            let node = builder.arithmetic(operator, [&current, &next], (element, &values, along)).map_err(
                |_: TensorError| PreprocessingError::NotFloat { input: self.name.into(), element: Some(element) },
            )?;
            self.computable(what, element, builder)?;
            nodes.push(node);
            made.push(next.clone());
            current = next;
        }
        if current != self.name {
            patch.inserted_nodes.entry(0).or_default().extend(nodes);
            patch.rewired.insert(self.name.to_owned(), current);
            let described = |name| self.described.map(|input| ValueInfoProto { name: Some(name), ..input.clone() });
            patch.added_values.extend(made.into_iter().filter_map(described));
        }
        Ok(())
    }

    /// Reverses so many channels along an axis. The MYRIAD compiler splits floating numbers and bytes only, so other
    /// integers are converted meanwhile.
    fn reversed(&self, (axis, channels): (usize, i64), reversed: &str, builder: &mut Builder) -> Vec<NodeProto> {
        let element = self.value.element();
        let converted = element.filter(|element| !element.is_float() && *element != ElementType::Uint8);
        let mut name = |suffix: &str| builder.name(&format!("{}/{suffix}", self.name));
        let slices: Vec<String> = (0..channels).map(|index| name(&format!("channel_{index}"))).collect();
        let backwards: Vec<&str> = slices.iter().rev().map(String::as_str).collect();
        let Some(element) = converted else {
            return vec![builder.split_singly(self.name, &slices, axis), builder.concat(&backwards, reversed, axis)];
        };
        let (numbers, turned) = (name("numbers"), name("turned"));
        vec![
            builder.cast(self.name, &numbers, ElementType::Float32),
            builder.split_singly(&numbers, &slices, axis),
            builder.concat(&backwards, &turned, axis),
            builder.cast(&turned, reversed, element),
        ]
    }

    fn agrees_with_layout(&self) -> Result<(), PreprocessingError> {
        let layout = &self.wanted.layout;
        match self.value.shape() {
            Some(shape) if !layout.is_empty() && shape.rank() != layout.chars().count() => {
                Err(PreprocessingError::WrongLayout {
                    input: self.name.into(),
                    layout: layout.clone(),
                    shape: shape.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Returns the axis of channels and how many there are, if they have to be reversed.
    fn reversal(&self) -> Result<Option<(usize, i64)>, PreprocessingError> {
        if !self.wanted.reverse_channels {
            return Ok(None);
        }
        let axis = self.channel_axis("the reversal of channels")?;
        match self.channels(axis) {
            None => Err(PreprocessingError::UnknownChannels { input: self.name.into() }),
            Some(channels) => Ok((channels > 1).then_some((axis, channels))),
        }
    }

    fn channel_axis(&self, what: &'static str) -> Result<usize, PreprocessingError> {
        let axis = self.wanted.layout.chars().position(|letter| letter.eq_ignore_ascii_case(&'C'));
        axis.ok_or_else(|| PreprocessingError::NoChannels {
            input: self.name.into(),
            layout: self.wanted.layout.clone(),
            what,
        })
    }

    fn channels(&self, axis: usize) -> Option<i64> {
        match self.value.shape().and_then(|shape| shape.0.get(axis)) {
            Some(Dimension::Known(channels)) if *channels > 0 => Some(*channels),
            _ => None,
        }
    }

    fn along(&self, what: &'static str, values: usize) -> Result<Along, PreprocessingError> {
        if values == 1 {
            return Ok(Along::Everything);
        }
        let axis = self.channel_axis(what)?;
        match self.channels(axis) {
            Some(channels) if channels != values as i64 => {
                Err(PreprocessingError::WrongCount { input: self.name.into(), what, channels, values })
            }
            _ => Ok(Along::Axis { axis, rank: self.wanted.layout.chars().count() }),
        }
    }

    fn element(&self) -> Result<ElementType, PreprocessingError> {
        let element = self.value.element();
        let not_float = || PreprocessingError::NotFloat { input: self.name.into(), element };
        element.filter(|element| element.is_float()).ok_or_else(not_float)
    }

    /// Checks that the constant just made survived its rounding.
    fn computable(
        &self,
        what: &'static str,
        element: ElementType,
        builder: &Builder,
    ) -> Result<(), PreprocessingError> {
        let rounded = builder.constants.last().and_then(|constant| read_floats(constant).ok()).unwrap_or_default();
        // A reciprocal that is zero stands for a scale that was infinite.
        match rounded.iter().position(|value| !value.is_finite() || (what == "scale" && *value == 0.0)) {
            None => Ok(()),
            Some(index) => {
                let given = if what == "scale" { &self.wanted.scale } else { &self.wanted.mean };
                let value = given.get(index).copied().unwrap_or(f64::NAN);
                Err(PreprocessingError::BadValue { input: self.name.into(), what, value, element })
            }
        }
    }
}
