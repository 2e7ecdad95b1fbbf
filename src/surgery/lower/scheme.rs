//! How integers stand for numbers in quantized networks.

use super::super::draft::Site;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::{ElementType, Facts, read_floats};

/// How integers stand for numbers: `(integer - zero point) * scale`, for all elements or for each index of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scheme {
    pub(super) scales: Vec<f64>,
    pub(super) zeros: Vec<f64>,
    /// The axis, if there is more than one scale.
    axis: i64,
    pub(super) element: ElementType,
}

impl Scheme {
    /// Reads the constants of a node that quantizes or dequantizes, from inputs 1 and 2.
    pub(super) fn of(node: &NodeProto, facts: &Facts<'_>, element: Option<ElementType>) -> Option<Self> {
        let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name() == name);
        if attribute("block_size").and_then(|attribute| attribute.i).is_some_and(|size| size != 0) {
            return None;
        }
        let scales = read_floats(facts.constant(node.input.get(1)?)?).ok()?;
        let zero = node.input.get(2).filter(|name| !name.is_empty());
        let zeros = match zero {
            Some(name) => integers(facts.constant(name)?)?,
            None => vec![0.0; scales.len()],
        };
        let element = zero.and_then(|name| facts.element(name)).or(element)?;
        let axis = match scales.len() {
            1 => 0,
            _ => attribute("axis").and_then(|attribute| attribute.i).unwrap_or(1),
        };
        (scales.len() == zeros.len()).then_some(Self { scales, zeros, axis, element })
    }

    fn limits(&self) -> Option<[f64; 2]> {
        match self.element {
            ElementType::Uint8 => Some([0.0, 255.0]),
            ElementType::Int8 => Some([-128.0, 127.0]),
            ElementType::Uint16 => Some([0.0, 65535.0]),
            ElementType::Int16 => Some([-32768.0, 32767.0]),
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
        if self.scales.len() == 1 {
            return Some(Vec::new());
        }
        let rank = rank?;
        let mut dims = vec![1; rank];
        *dims.get_mut(Site::axis(self.axis, rank)?)? = i64::try_from(self.scales.len()).ok()?;
        Some(dims)
    }
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
