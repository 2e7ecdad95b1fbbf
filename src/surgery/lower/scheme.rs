//! How integers stand for numbers in quantized networks.

use super::super::draft::Site;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::{Attributes, ElementType, Facts, element_count, read_floats};

/// The most elements that are given a scale each: they take 24 bytes each while that is done.
const MOST_SPREAD: usize = 1 << 26;

/// How integers stand for numbers: `(integer - zero point) * scale`, for all elements, for each index of an axis, or for
/// each element, where blocks of them have one scale.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scheme {
    pub(super) scales: Vec<f64>,
    pub(super) zeros: Vec<f64>,
    /// The axis, if there is a scale for each of its indices.
    axis: i64,
    /// The sizes of the value, if there is a scale for each of its elements.
    sizes: Option<Vec<i64>>,
    pub(super) element: ElementType,
}

impl Scheme {
    /// Reads the constants of a node that quantizes or dequantizes, from inputs 1 and 2.
    pub(super) fn of(node: &NodeProto, facts: &Facts<'_>, element: Option<ElementType>) -> Option<Self> {
        let integer = |name: &str| Attributes(node).int(name).filter(|value| *value != 0);
        let scale = facts.constant(node.input.get(1)?)?;
        let scales = read_floats(scale).ok()?;
        let zero = node.input.get(2).filter(|name| !name.is_empty());
        let zeros = match zero {
            Some(name) => integers(facts.constant(name)?)?,
            None => vec![0.0; scales.len()],
        };
        let stated = || ElementType::from_code(i32::try_from(integer("output_dtype")?).ok()?);
        let element = zero.and_then(|name| facts.element(name)).or_else(stated).or(element)?;
        let axis = match scales.len() {
            1 => 0,
            _ => Attributes(node).int("axis").unwrap_or(1),
        };
        if scales.len() != zeros.len() {
            return None;
        }
        let Some(block) = integer("block_size") else {
            return Some(Self { scales, zeros, axis, sizes: None, element });
        };
        let sizes = facts.sizes(node.input.first()?)?;
        let axis = Site::axis(Attributes(node).int("axis").unwrap_or(1), sizes.len())?;
        let places = places_in_blocks(&sizes, &scale.dims, axis, block)?;
        let spread =
            |values: &[f64]| places.iter().map(|place| values.get(*place).copied()).collect::<Option<Vec<f64>>>();
        Some(Self { scales: spread(&scales)?, zeros: spread(&zeros)?, axis: 0, sizes: Some(sizes), element })
    }

    fn limits(&self) -> Option<[f64; 2]> {
        match self.element {
            ElementType::Uint8 => Some([0.0, 255.0]),
            ElementType::Int8 => Some([-128.0, 127.0]),
            ElementType::Uint16 => Some([0.0, 65535.0]),
            ElementType::Int16 => Some([-32768.0, 32767.0]),
            ElementType::Uint4 => Some([0.0, 15.0]),
            ElementType::Int4 => Some([-8.0, 7.0]),
            _ => None,
        }
    }

    /// The least and the greatest number, for each scale.
    pub(super) fn range(&self) -> Option<[Vec<f64>; 2]> {
        let limits = self.limits()?;
        let at = |limit: f64| self.scales.iter().zip(&self.zeros).map(|(scale, zero)| (limit - zero) * scale).collect();
        Some(limits.map(at))
    }

    /// The dimensions with which values for each scale meet a tensor of some rank.
    pub(super) fn dims(&self, rank: Option<usize>) -> Option<Vec<i64>> {
        if let Some(sizes) = &self.sizes {
            return (rank == Some(sizes.len())).then(|| sizes.clone());
        }
        if self.scales.len() == 1 {
            return Some(Vec::new());
        }
        let rank = rank?;
        let mut dims = vec![1; rank];
        *dims.get_mut(Site::axis(self.axis, rank)?)? = i64::try_from(self.scales.len()).ok()?;
        Some(dims)
    }
}

/// Returns, for each element of a value, the place of its scale, where each block of elements along an axis has one.
fn places_in_blocks(sizes: &[i64], scales: &[i64], axis: usize, block: i64) -> Option<Vec<usize>> {
    let fits = |(place, (size, count)): (usize, (&i64, &i64))| {
        // The last block may be incomplete.
        if place == axis { *size > 0 && (size - 1) / block + 1 == *count } else { size == count }
    };
    if block < 1 || sizes.len() != scales.len() || !std::iter::zip(sizes, scales).enumerate().all(fits) {
        return None;
    }
    let count = |sizes: &[i64]| usize::try_from(element_count(sizes)?).ok();
    let (all, inner) = (count(sizes).filter(|all| *all <= MOST_SPREAD)?, count(sizes.get(axis + 1..)?)?);
    let along = usize::try_from(*sizes.get(axis)?).ok()?;
    let (blocks, block) = (usize::try_from(*scales.get(axis)?).ok()?, usize::try_from(block).ok()?);
    Some(
        (0..all)
            .map(|place| (place / inner / along * blocks + place / inner % along / block) * inner + place % inner)
            .collect(),
    )
}

/// Reads integers of up to 32 bits.
pub(super) fn integers(tensor: &TensorProto) -> Option<Vec<f64>> {
    let element = ElementType::from_code(tensor.data_type())?;
    match (element, &tensor.raw_data) {
        (ElementType::Int8, Some(raw)) => Some(raw.iter().map(|&byte| f64::from(byte as i8)).collect()),
        (ElementType::Uint8, Some(raw)) => Some(raw.iter().map(|&byte| f64::from(byte)).collect()),
        (ElementType::Int16, Some(raw)) => {
            Some(raw.as_chunks().0.iter().map(|bytes| f64::from(i16::from_le_bytes(*bytes))).collect())
        }
        (ElementType::Uint16, Some(raw)) => {
            Some(raw.as_chunks().0.iter().map(|bytes| f64::from(u16::from_le_bytes(*bytes))).collect())
        }
        (ElementType::Int4 | ElementType::Uint4, raw) => {
            let packed = tensor.int32_data.iter().map(|&entry| entry as u8);
            let bytes: Vec<u8> = raw.as_ref().map_or_else(|| packed.collect(), |raw| raw.to_vec());
            let count = usize::try_from(element_count(&tensor.dims)?).ok()?;
            let halves = bytes.iter().flat_map(|byte| [byte & 0xf, byte >> 4]);
            let number =
                |half: u8| f64::from(if element == ElementType::Int4 { (half << 4) as i8 >> 4 } else { half as i8 });
            let numbers: Vec<f64> = halves.take(count).map(number).collect();
            (numbers.len() == count).then_some(numbers)
        }
        (ElementType::Int32, Some(raw)) => {
            Some(raw.as_chunks().0.iter().map(|bytes| f64::from(i32::from_le_bytes(*bytes))).collect())
        }
        (
            ElementType::Int8 | ElementType::Uint8 | ElementType::Int16 | ElementType::Uint16 | ElementType::Int32,
            None,
        ) => Some(tensor.int32_data.iter().map(|&value| f64::from(value)).collect()),
        _ => None,
    }
}
