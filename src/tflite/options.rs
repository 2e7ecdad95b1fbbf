//! What operators say beside their operands: one function for each family, one type for each thing said.
//!
//! Owns the numbers of the fields in the schema's option tables. An absent table means defaults.

use super::flat::{Scalar, Table};
use super::{Budget, MAX_RANK, Operator, TfliteError};

/// The number of the hyperbolic tangent among the activations.
const TANH: i8 = 4;

/// How a window meets the border of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The result has the size of the input, divided by the stride and rounded up.
    Same,
    /// The window stays inside.
    Valid,
}

/// What is applied to each element of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum Activation {
    None,
    Relu,
    /// Between two bounds.
    Clip(f64, f64),
}

/// A convolution; pairs are height, width.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub struct Convolution {
    pub padding: Padding,
    pub strides: [i64; 2],
    pub dilations: [i64; 2],
    pub activation: Activation,
}

/// A pooling; pairs are height, width.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub struct Pool {
    pub padding: Padding,
    pub strides: [i64; 2],
    pub kernel: [i64; 2],
    pub activation: Activation,
}

/// A convolution of volumes; triples are depth, height, width.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub struct VolumeConvolution {
    pub padding: Padding,
    pub strides: [i64; 3],
    pub dilations: [i64; 3],
    pub activation: Activation,
}

/// Which points of two pictures of different sizes are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The upper left corners.
    Asymmetric,
    /// The middles of the corner elements.
    AlignCorners,
    /// The outer edges.
    HalfPixel,
}

/// What the bits of a strided slice say, one bit for each dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StridedSlice {
    /// Where the slice begins at the border.
    pub begin: i32,
    /// Where the slice ends at the border.
    pub end: i32,
    /// Where one index is taken and the dimension goes away.
    pub shrink: i32,
    /// Where the slice stands for all dimensions that no other one stands for.
    pub ellipsis: i32,
    /// Where a dimension of one element comes.
    pub new_axis: i32,
    /// Whether ends are counted from where the slice begins.
    pub has_offsets: bool,
}

/// How sums go along a dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CumulativeSum {
    /// Whether each element leaves itself out.
    pub leaves_own_out: bool,
    /// Whether the last element comes first.
    pub is_from_end: bool,
}

/// Integers that real numbers are rounded to, without becoming them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pretended {
    /// The least and the greatest number that the integers stand for.
    pub range: [f64; 2],
    /// How far apart neighbours are.
    pub step: f64,
}

/// A layer with long short-term memory; a limit of 0 is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lstm {
    /// Whether its activation is the hyperbolic tangent.
    pub is_tanh: bool,
    /// The largest absolute value of a cell.
    pub cell_limit: f32,
    /// The largest absolute value of a projected result.
    pub projection_limit: f32,
    /// Whether sequences have time, batch, features instead of batch, time, features.
    pub is_time_first: bool,
}

/// A layer whose cells are what it shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rnn {
    /// What is applied to each element; `None` is the hyperbolic tangent.
    pub activation: Option<Activation>,
    /// Whether sequences have time, batch, features instead of batch, time, features.
    pub is_time_first: bool,
}

/// Pieces of a tensor, laid out in another one: which dimensions are which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The dimensions inside the pieces, among those of the tensor that they are laid out in.
    pub inner: Vec<i64>,
    /// The dimensions of the whole that pieces do not have.
    pub single: Vec<i64>,
    /// The dimensions of the whole that the parts of a place are along.
    pub along: Vec<i64>,
    /// The dimension of the list of places that the parts of a place are along.
    pub vector: i64,
}

/// A normalization by neighbouring channels: `x / (bias + alpha * sum of squares) ^ beta`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each name stands in the formula")]
pub struct LocalResponse {
    /// How many channels before and after are summed.
    pub radius: i64,
    pub bias: f32,
    pub alpha: f32,
    pub beta: f32,
}

impl Operator {
    fn scalar<T: Scalar>(&self, number: usize, default: T) -> Result<T, TfliteError> {
        self.options.as_ref().map_or(Ok(default), |options| options.scalar(number, default))
    }

    fn flag(&self, number: usize) -> Result<bool, TfliteError> {
        self.options.as_ref().map_or(Ok(false), |options: &Table| options.flag(number))
    }

    /// Reads which graphs of the file `IF` runs, or `WHILE`: first what decides or is run if true, then the other one.
    /// `STABLEHLO_COMPOSITE` runs one, which says in plain operators what it is.
    pub(super) fn graphs(&self) -> Result<Option<[i32; 2]>, TfliteError> {
        match self.name.as_str() {
            "IF" | "WHILE" if !self.is_custom => Ok(Some([self.scalar(0, 0)?, self.scalar(1, 0)?])),
            "STABLEHLO_COMPOSITE" if !self.is_custom => Ok(Some([self.scalar(1, 0)?; 2])),
            _ => Ok(None),
        }
    }

    /// Reads which graph of the file `CALL_ONCE` runs before the first run.
    pub(super) fn first_run(&self) -> Result<Option<i32>, TfliteError> {
        match self.name.as_str() {
            "CALL_ONCE" if !self.is_custom => self.scalar(0, 0).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads the names of the variable of `VAR_HANDLE`: where it belongs, and what it is called there.
    pub(super) fn variable(&self, budget: &mut Budget) -> Result<Option<[String; 2]>, TfliteError> {
        let Some(options) = self.options.as_ref().filter(|_| self.name == "VAR_HANDLE") else { return Ok(None) };
        budget.spend(options.vector::<u8>(0)?.len().saturating_add(options.vector::<u8>(1)?.len()))?;
        Ok(Some([options.text(0)?, options.text(1)?]))
    }

    fn list(&self, number: usize) -> Result<Vec<i64>, TfliteError> {
        let list = self.options.as_ref().map(|options| options.vector::<i32>(number)).transpose()?;
        Ok(list.map(|list| list.iter().take(MAX_RANK + 1).map(i64::from).collect()).unwrap_or_default())
    }

    /// Reads the shape that `RESHAPE` says beside its operands.
    pub(super) fn new_shape(&self) -> Result<Vec<i64>, TfliteError> {
        self.list(0)
    }

    /// Reads the dimensions that `SQUEEZE` takes away; none are all that have one element.
    pub(super) fn squeezed(&self) -> Result<Vec<i64>, TfliteError> {
        self.list(0)
    }

    /// Reads whether the result of `FULLY_CONNECTED` has as many dimensions as what it reads.
    pub(super) fn keeps_rank(&self) -> Result<bool, TfliteError> {
        self.flag(2)
    }

    fn odd(&self, option: &'static str, value: i64) -> TfliteError {
        TfliteError::Option { operator: self.name.clone(), option, value }
    }

    fn padding(&self) -> Result<Padding, TfliteError> {
        match self.scalar::<i8>(0, 0)? {
            0 => Ok(Padding::Same),
            1 => Ok(Padding::Valid),
            value => Err(self.odd("padding", value.into())),
        }
    }

    fn activation(&self, number: usize) -> Result<Activation, TfliteError> {
        match self.scalar::<i8>(number, 0)? {
            0 => Ok(Activation::None),
            1 => Ok(Activation::Relu),
            2 => Ok(Activation::Clip(-1.0, 1.0)),
            3 => Ok(Activation::Clip(0.0, 6.0)),
            // The schema has two more, which the format's own runtime passes over.
            value => Err(self.odd("activation", value.into())),
        }
    }

    fn positive(&self, option: &'static str, number: usize, default: i32) -> Result<i64, TfliteError> {
        match self.scalar::<i32>(number, default)? {
            value @ 1.. => Ok(value.into()),
            value => Err(self.odd(option, value.into())),
        }
    }

    /// Reads two positive numbers, which the schema keeps as width, height.
    fn pair(&self, option: &'static str, [width, height]: [usize; 2], default: i32) -> Result<[i64; 2], TfliteError> {
        Ok([self.positive(option, height, default)?, self.positive(option, width, default)?])
    }

    /// Reads `CONV_2D`.
    ///
    /// # Errors
    /// A value has no meaning.
    pub fn convolution(&self) -> Result<Convolution, TfliteError> {
        Ok(Convolution {
            padding: self.padding()?,
            strides: self.pair("stride", [1, 2], 0)?,
            dilations: self.pair("dilation", [4, 5], 1)?,
            activation: self.activation(3)?,
        })
    }

    /// Reads `DEPTHWISE_CONV_2D`. Its multiplier follows from the shapes.
    ///
    /// # Errors
    /// A value has no meaning.
    pub fn depthwise_convolution(&self) -> Result<Convolution, TfliteError> {
        Ok(Convolution {
            padding: self.padding()?,
            strides: self.pair("stride", [1, 2], 0)?,
            dilations: self.pair("dilation", [5, 6], 1)?,
            activation: self.activation(4)?,
        })
    }

    /// Reads `CONV_3D` or `CONV_3D_TRANSPOSE`, of which the schema keeps depth, width, height.
    ///
    /// # Errors
    /// A value has no meaning.
    pub fn volume_convolution(&self) -> Result<VolumeConvolution, TfliteError> {
        let triple = |option, [depth, width, height]: [usize; 3], default| {
            let read = |number| self.positive(option, number, default);
            Ok::<_, TfliteError>([read(depth)?, read(height)?, read(width)?])
        };
        Ok(VolumeConvolution {
            padding: self.padding()?,
            strides: triple("stride", [1, 2, 3], 0)?,
            dilations: triple("dilation", [5, 6, 7], 1)?,
            activation: self.activation(4)?,
        })
    }

    /// Reads `TRANSPOSE_CONV`.
    ///
    /// # Errors
    /// A value has no meaning.
    pub fn transposed_convolution(&self) -> Result<Convolution, TfliteError> {
        Ok(Convolution {
            padding: self.padding()?,
            strides: self.pair("stride", [1, 2], 0)?,
            dilations: [1, 1],
            activation: self.activation(3)?,
        })
    }

    /// Reads `Convolution2DTransposeBias`, an operator of MediaPipe's. Its options are a structure of the runtime's:
    /// padding, width and height of the stride, each of 32 bits.
    ///
    /// # Errors
    /// A value has no meaning, or is not there.
    pub fn transposed_convolution_with_bias(&self) -> Result<Convolution, TfliteError> {
        let read = |option: &'static str, number: usize| {
            let value = self.own_options.get(number * i32::SIZE..).and_then(i32::decode);
            value.ok_or_else(|| self.odd(option, 0))
        };
        let stride = |number| match read("stride", number)? {
            value @ 1.. => Ok(i64::from(value)),
            value => Err(self.odd("stride", value.into())),
        };
        let padding = match read("padding", 0)? {
            1 => Padding::Same,
            2 => Padding::Valid,
            value => return Err(self.odd("padding", value.into())),
        };
        let strides = [stride(2)?, stride(1)?];
        Ok(Convolution { padding, strides, dilations: [1, 1], activation: Activation::None })
    }

    /// Reads `AVERAGE_POOL_2D`, `L2_POOL_2D` or `MAX_POOL_2D`.
    ///
    /// # Errors
    /// A value has no meaning.
    pub fn pool(&self) -> Result<Pool, TfliteError> {
        Ok(Pool {
            padding: self.padding()?,
            strides: self.pair("stride", [1, 2], 0)?,
            kernel: self.pair("size of the window", [3, 4], 0)?,
            activation: self.activation(5)?,
        })
    }

    /// Reads the activation of arithmetic, `FULLY_CONNECTED`, `L2_NORMALIZATION` or `CONCATENATION`.
    ///
    /// # Errors
    /// The value has no meaning.
    pub fn fused_activation(&self) -> Result<Activation, TfliteError> {
        self.activation(if self.name == "CONCATENATION" { 1 } else { 0 })
    }

    /// Reads the axis of `CONCATENATION`, `GATHER`, `ONE_HOT`, `PACK` or `UNPACK`; negative ones count from the end.
    ///
    /// # Errors
    /// The table is broken.
    pub fn axis(&self) -> Result<i64, TfliteError> {
        let number = if matches!(self.name.as_str(), "PACK" | "UNPACK") { 1 } else { 0 };
        Ok(self.scalar::<i32>(number, 0)?.into())
    }

    /// Reads how many leading dimensions of `GATHER` go together.
    ///
    /// # Errors
    /// The table is broken.
    pub fn batch_dimensions(&self) -> Result<i32, TfliteError> {
        self.scalar(1, 0)
    }

    /// Reads `CUMSUM`.
    ///
    /// # Errors
    /// The table is broken.
    pub fn cumulative_sum(&self) -> Result<CumulativeSum, TfliteError> {
        Ok(CumulativeSum { leaves_own_out: self.flag(0)?, is_from_end: self.flag(1)? })
    }

    /// Reads the bounds of `BUCKETIZE`, in ascending order.
    ///
    /// # Errors
    /// The table is broken.
    pub fn bounds(&self) -> Result<Vec<f32>, TfliteError> {
        self.options.as_ref().map_or(Ok(Vec::new()), |options| Ok(options.vector::<f32>(0)?.iter().collect()))
    }

    /// Reads `REVERSE_SEQUENCE`: the dimension of time, and that in which sequences stand side by side.
    ///
    /// # Errors
    /// The table is broken.
    pub fn sequence_dimensions(&self) -> Result<[i64; 2], TfliteError> {
        Ok([self.scalar::<i32>(0, 0)?.into(), self.scalar::<i32>(1, 0)?.into()])
    }

    /// Reads `FAKE_QUANT`. Zero is always one of the numbers, so the range is moved by up to half a step.
    ///
    /// # Errors
    /// A value has no meaning.
    pub fn pretended(&self) -> Result<Pretended, TfliteError> {
        let [low, high] = [self.scalar::<f32>(0, 0.0)?, self.scalar::<f32>(1, 0.0)?].map(f64::from);
        let bits = match self.scalar::<i32>(2, 0)? {
            bits @ 2..=16 => bits,
            bits => return Err(self.odd("number of bits", bits.into())),
        };
        if !(low <= 0.0 && high >= 0.0 && low < high && (high - low).is_finite()) {
            return Err(self.odd("range, which begins at", low as i64));
        }
        let (first, last) = (f64::from(u8::from(self.flag(3)?)), f64::from((1 << bits) - 1));
        let step = (high - low) / (last - first);
        let zero = (first - low / step).round();
        Ok(Pretended { range: [(first - zero) * step, (last - zero) * step], step })
    }

    /// Reads `LOCAL_RESPONSE_NORMALIZATION`.
    ///
    /// # Errors
    /// A value has no meaning.
    pub fn local_response(&self) -> Result<LocalResponse, TfliteError> {
        let radius = match self.scalar::<i32>(0, 0)? {
            radius @ 0.. => i64::from(radius),
            radius => return Err(self.odd("radius", radius.into())),
        };
        let number = |number| self.scalar::<f32>(number, 0.0);
        Ok(LocalResponse { radius, bias: number(1)?, alpha: number(2)?, beta: number(3)? })
    }

    /// Reads `UNIDIRECTIONAL_SEQUENCE_LSTM` or `BIDIRECTIONAL_SEQUENCE_LSTM`.
    ///
    /// # Errors
    /// The table is broken.
    pub fn lstm(&self) -> Result<Lstm, TfliteError> {
        let is_time_first = match self.name.as_str() {
            // The time is first unless the model says otherwise.
            "BIDIRECTIONAL_SEQUENCE_LSTM" => self.scalar::<u8>(4, 1)? != 0,
            _ => self.flag(3)?,
        };
        Ok(Lstm {
            is_tanh: self.scalar::<i8>(0, 0)? == TANH,
            cell_limit: self.scalar(1, 0.0)?,
            projection_limit: self.scalar(2, 0.0)?,
            is_time_first,
        })
    }

    /// Reads `UNIDIRECTIONAL_SEQUENCE_RNN` or `BIDIRECTIONAL_SEQUENCE_RNN`.
    ///
    /// # Errors
    /// A value has no meaning.
    pub fn rnn(&self) -> Result<Rnn, TfliteError> {
        let is_tanh = self.scalar::<i8>(1, 0)? == TANH;
        let activation = if is_tanh { None } else { Some(self.activation(1)?) };
        Ok(Rnn { activation, is_time_first: self.flag(0)? })
    }

    /// Reads whether the results of both directions of `BIDIRECTIONAL_SEQUENCE_LSTM` or `BIDIRECTIONAL_SEQUENCE_RNN` are
    /// side by side in one.
    ///
    /// # Errors
    /// The table is broken.
    pub fn merges_directions(&self) -> Result<bool, TfliteError> {
        self.flag(if self.name == "BIDIRECTIONAL_SEQUENCE_LSTM" { 3 } else { 2 })
    }

    /// Reads whether `LSTM` gets its states from operands and shows them as results, instead of keeping them.
    ///
    /// # Errors
    /// The table is broken.
    pub fn shows_its_states(&self) -> Result<bool, TfliteError> {
        Ok(self.scalar::<i8>(3, 0)? == 1)
    }

    fn long_list(&self, number: usize) -> Result<Vec<i64>, TfliteError> {
        let list = self.options.as_ref().map(|options| options.vector::<i64>(number)).transpose()?;
        Ok(list.map(|list| list.iter().take(2 * MAX_RANK + 1).collect()).unwrap_or_default())
    }

    /// Reads what `STABLEHLO_PAD` adds to each dimension: before it, behind it, and between its elements.
    ///
    /// # Errors
    /// The table is broken.
    pub fn edges(&self) -> Result<[Vec<i64>; 3], TfliteError> {
        Ok([self.long_list(0)?, self.long_list(1)?, self.long_list(2)?])
    }

    /// Reads what `REDUCE_WINDOW` joins elements with: the name of an operator.
    ///
    /// # Errors
    /// The table is broken.
    pub fn window_function(&self) -> Result<Option<&'static str>, TfliteError> {
        let names = ["ADD", "MUL", "MINIMUM", "MAXIMUM", "LOGICAL_AND", "LOGICAL_OR"];
        let number = self.scalar::<i32>(0, 0)?;
        Ok(usize::try_from(number).ok().and_then(|number| names.get(number.checked_sub(1)?)).copied())
    }

    /// Reads the windows of `STABLEHLO_REDUCE_WINDOW`: their sizes, strides and dilations.
    ///
    /// # Errors
    /// The table is broken.
    pub fn windows(&self) -> Result<[Vec<i64>; 3], TfliteError> {
        Ok([self.long_list(0)?, self.long_list(1)?, self.long_list(3)?])
    }

    /// Reads how far apart `STABLEHLO_REDUCE_WINDOW` moves the elements of each dimension before, and what comes before and
    /// behind each.
    ///
    /// # Errors
    /// The table is broken.
    pub fn surroundings(&self) -> Result<[Vec<i64>; 2], TfliteError> {
        Ok([self.long_list(2)?, self.long_list(4)?])
    }

    /// Reads the pieces that `STABLEHLO_GATHER` takes, and how long they are along each dimension.
    ///
    /// # Errors
    /// The table is broken.
    pub fn taken_pieces(&self) -> Result<(Pieces, Vec<i64>), TfliteError> {
        let [inner, single, along] = [self.long_list(0)?, self.long_list(1)?, self.long_list(2)?];
        Ok((Pieces { inner, single, along, vector: self.scalar(3, 0)? }, self.long_list(4)?))
    }

    /// Reads the pieces that `STABLEHLO_SCATTER` puts somewhere.
    ///
    /// # Errors
    /// The table is broken.
    pub fn put_pieces(&self) -> Result<Pieces, TfliteError> {
        let [inner, single, along] = [self.long_list(1)?, self.long_list(2)?, self.long_list(3)?];
        Ok(Pieces { inner, single, along, vector: self.scalar(4, 0)? })
    }

    /// Reads which graph of the file says how `STABLEHLO_REDUCE_WINDOW` or `STABLEHLO_SCATTER` join two elements.
    pub(super) fn body(&self) -> Result<Option<i32>, TfliteError> {
        match self.name.as_str() {
            "STABLEHLO_REDUCE_WINDOW" if !self.is_custom => self.scalar(5, 0).map(Some),
            "STABLEHLO_SCATTER" if !self.is_custom => self.scalar(6, 0).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads whether a reduction keeps its dimensions.
    ///
    /// # Errors
    /// The table is broken.
    pub fn keeps_dimensions(&self) -> Result<bool, TfliteError> {
        self.flag(0)
    }

    /// Reads whether the weights of `FULLY_CONNECTED` lie in their natural order.
    ///
    /// # Errors
    /// The table is broken.
    pub fn has_plain_weights(&self) -> Result<bool, TfliteError> {
        Ok(self.scalar::<i8>(1, 0)? == 0)
    }

    /// Reads the coordinates of `RESIZE_BILINEAR` or `RESIZE_NEAREST_NEIGHBOR`.
    ///
    /// # Errors
    /// The table is broken.
    pub fn resize(&self) -> Result<Resize, TfliteError> {
        // Two fields of the bilinear table are of the past.
        let first = if self.name == "RESIZE_BILINEAR" { 2 } else { 0 };
        Ok(match (self.flag(first)?, self.flag(first + 1)?) {
            (true, _) => Resize::AlignCorners,
            (false, true) => Resize::HalfPixel,
            (false, false) => Resize::Asymmetric,
        })
    }

    /// Reads the block of `SPACE_TO_DEPTH` or `DEPTH_TO_SPACE`.
    ///
    /// # Errors
    /// The value has no meaning.
    pub fn block_size(&self) -> Result<i64, TfliteError> {
        match self.scalar::<i32>(0, 0)? {
            size @ 1.. => Ok(size.into()),
            size => Err(self.odd("block size", size.into())),
        }
    }

    /// Reads `STRIDED_SLICE`.
    ///
    /// # Errors
    /// The table is broken.
    pub fn strided_slice(&self) -> Result<StridedSlice, TfliteError> {
        Ok(StridedSlice {
            begin: self.scalar(0, 0)?,
            end: self.scalar(1, 0)?,
            ellipsis: self.scalar(2, 0)?,
            new_axis: self.scalar(3, 0)?,
            shrink: self.scalar(4, 0)?,
            has_offsets: self.flag(5)?,
        })
    }

    /// Reads whether `MIRROR_PAD` repeats the border itself.
    ///
    /// # Errors
    /// The table is broken.
    pub fn repeats_border(&self) -> Result<bool, TfliteError> {
        Ok(self.scalar::<i8>(0, 0)? != 0)
    }

    /// Reads what `SOFTMAX` multiplies with, or the slope of `LEAKY_RELU`.
    ///
    /// # Errors
    /// The table is broken.
    pub fn factor(&self) -> Result<f32, TfliteError> {
        self.scalar(0, 0.0)
    }

    /// Reads which operands of `BATCH_MATMUL` are transposed.
    ///
    /// # Errors
    /// The table is broken.
    pub fn adjoints(&self) -> Result<[bool; 2], TfliteError> {
        Ok([self.flag(0)?, self.flag(1)?])
    }

    /// Reads whether `GELU` is computed with a hyperbolic tangent.
    ///
    /// # Errors
    /// The table is broken.
    pub fn is_approximate(&self) -> Result<bool, TfliteError> {
        self.flag(0)
    }
}
