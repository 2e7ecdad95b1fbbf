//! Constants as numbers: stored integers become the real numbers they stand for.

use half::{bf16, f16};

use super::{Model, Quantization, Tensor, TensorId, TfliteError};
use crate::onnx::{ElementType, element_count};

/// A constant tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// The dimensions, outermost first.
    pub shape: Vec<i64>,
    /// The elements.
    pub values: Values,
}

/// The elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Real numbers, however they are stored.
    Real(Vec<f32>),
    /// Integers or truth values that stand for themselves.
    Integer(Vec<i64>, ElementType),
}

impl Constant {
    /// Returns the elements if they are integers.
    pub fn integers(&self) -> Option<&[i64]> {
        if let Values::Integer(values, _) = &self.values { Some(values) } else { None }
    }

    /// Returns the constant with its dimensions in another order: dimension `i` of the result is dimension `order[i]`.
    /// `None` if `order` does not name each dimension once.
    #[must_use]
    pub fn transposed(&self, order: &[usize]) -> Option<Self> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..self.shape.len()) {
            return None;
        }
        let shape: Vec<i64> = order.iter().filter_map(|axis| self.shape.get(*axis)).copied().collect();
        if self.values.len() == 0 {
            return Some(Self { shape, values: self.values.clone() });
        }
        // There are as many elements as the sizes say, so no partial product is too large.
        let sizes: Vec<usize> = self.shape.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<_>>()?;
        let strides: Vec<usize> = order.iter().map(|axis| sizes.iter().skip(axis + 1).product()).collect();
        let mut places = vec![0_usize];
        for (axis, stride) in order.iter().zip(&strides) {
            let size = sizes.get(*axis).copied().unwrap_or(1);
            places = places.iter().flat_map(|start| (0..size).map(move |index| start + index * stride)).collect();
        }
        let values = match &self.values {
            Values::Real(values) => {
                Values::Real(places.iter().filter_map(|place| values.get(*place)).copied().collect())
            }
            Values::Integer(values, element) => {
                Values::Integer(places.iter().filter_map(|place| values.get(*place)).copied().collect(), *element)
            }
        };
        Some(Self { shape, values })
    }

    /// Returns the constant with other dimensions for the same elements; `None` if their number differs.
    #[must_use]
    pub fn reshaped(self, shape: &[i64]) -> Option<Self> {
        (element_count(shape)? == element_count(&self.shape)?).then(|| Self { shape: shape.to_vec(), ..self })
    }
}

impl Model {
    /// Returns the numbers of a constant; `None` if the tensor is none, or not made of numbers.
    ///
    /// # Errors
    /// A sparse constant contradicts itself.
    pub fn constant(&self, id: TensorId) -> Result<Option<Constant>, TfliteError> {
        let Some(tensor) = self.tensor(id) else { return Ok(None) };
        let Some(stored) = stored(tensor) else { return Ok(None) };
        let stored = match &tensor.sparsity {
            None => stored,
            Some(sparsity) => {
                let broken = || TfliteError::Sparsity { tensor: tensor.name.clone() };
                let places = sparsity.places(stored.len()).ok_or_else(broken)?;
                let count = element_count(&tensor.shape).and_then(|count| usize::try_from(count).ok());
                stored.spread(&places, count.ok_or_else(broken)?)
            }
        };
        let values = match (stored, &tensor.quantization) {
            (Values::Integer(values, _), Some(quantization)) => {
                Values::Real(real(&values, quantization, &tensor.shape))
            }
            (values, _) => values,
        };
        Ok(Some(Constant { shape: tensor.shape.clone(), values }))
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Real(values) => values.len(),
            Self::Integer(values, _) => values.len(),
        }
    }

    /// Returns elements of these and of `others`, which are counted on behind these; `None` if their types differ or a place
    /// is behind all.
    #[must_use]
    pub fn picked(&self, others: &Self, places: &[i64]) -> Option<Self> {
        fn pick<T: Copy>(values: &[T], others: &[T], places: &[i64]) -> Option<Vec<T>> {
            let all = [values, others].concat();
            places.iter().map(|place| all.get(usize::try_from(*place).ok()?).copied()).collect()
        }
        match (self, others) {
            (Self::Real(values), Self::Real(others)) => Some(Self::Real(pick(values, others, places)?)),
            (Self::Integer(values, element), Self::Integer(others, other)) if element == other => {
                Some(Self::Integer(pick(values, others, places)?, *element))
            }
            _ => None,
        }
    }

    /// Returns `count` elements, zero but for those at `places`.
    fn spread(self, places: &[usize], count: usize) -> Self {
        fn lay<T: Copy + Default>(values: &[T], places: &[usize], count: usize) -> Vec<T> {
            let mut all = vec![T::default(); count];
            for (value, place) in values.iter().zip(places) {
                if let Some(slot) = all.get_mut(*place) {
                    *slot = *value;
                }
            }
            all
        }
        match self {
            Self::Real(values) => Self::Real(lay(&values, places, count)),
            Self::Integer(values, element) => Self::Integer(lay(&values, places, count), element),
        }
    }
}

/// Decodes the elements that the file has, as they are.
pub(super) fn stored(tensor: &Tensor) -> Option<Values> {
    fn decode<const SIZE: usize, T>(data: &[u8], number: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
        data.as_chunks::<SIZE>().0.iter().map(|bytes| number(*bytes)).collect()
    }
    let data = tensor.data.as_ref()?;
    let element = tensor.element?;
    let count = usize::try_from(element_count(&tensor.shape)?).ok()?;
    Some(match element {
        ElementType::Float32 => Values::Real(decode(data, f32::from_le_bytes)),
        ElementType::Float16 => Values::Real(decode(data, |bytes| f16::from_le_bytes(bytes).to_f32())),
        ElementType::Bfloat16 => Values::Real(decode(data, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        ElementType::Float64 => Values::Real(decode(data, |bytes| f64::from_le_bytes(bytes) as f32)),
        ElementType::Int4 => {
            // The lower half of a byte comes first; shifting to the top and back spreads the sign.
            let halves = data.iter().flat_map(|&byte| [byte << 4, byte]).map(|byte| i64::from(byte as i8 >> 4));
            Values::Integer(halves.take(count).collect(), element)
        }
        ElementType::Int8 => Values::Integer(decode(data, |bytes| i8::from_le_bytes(bytes).into()), element),
        ElementType::Uint8 | ElementType::Boolean => {
            Values::Integer(decode(data, |bytes| u8::from_le_bytes(bytes).into()), element)
        }
        ElementType::Int16 => Values::Integer(decode(data, |bytes| i16::from_le_bytes(bytes).into()), element),
        ElementType::Uint16 => Values::Integer(decode(data, |bytes| u16::from_le_bytes(bytes).into()), element),
        ElementType::Int32 => Values::Integer(decode(data, |bytes| i32::from_le_bytes(bytes).into()), element),
        ElementType::Uint32 => Values::Integer(decode(data, |bytes| u32::from_le_bytes(bytes).into()), element),
        ElementType::Int64 => Values::Integer(decode(data, i64::from_le_bytes), element),
        _ => return None,
    })
}

/// Returns the real numbers that stored integers stand for.
fn real(values: &[i64], quantization: &Quantization, shape: &[i64]) -> Vec<f32> {
    if values.is_empty() {
        return Vec::new();
    }
    let Quantization { scales, zero_points, axis } = quantization;
    let dimension = |axis: usize| shape.get(axis).and_then(|size| usize::try_from(*size).ok()).unwrap_or(1).max(1);
    // With one scale, every element is in the first and only run.
    let run = if scales.len() > 1 { (axis + 1..shape.len()).map(dimension).product::<usize>() } else { values.len() };
    let pairs = scales.iter().zip(zero_points).cycle();
    let runs = values.chunks(run.max(1)).zip(pairs);
    let dequantize = |(run, (scale, zero)): (&[i64], (&f32, &i64))| {
        let (scale, zero) = (f64::from(*scale), *zero);
        run.iter().map(|value| (scale * (i128::from(*value) - i128::from(zero)) as f64) as f32).collect::<Vec<f32>>()
    };
    runs.flat_map(dequantize).collect()
}
