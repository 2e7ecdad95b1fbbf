//! Constant tensors: making small ones, reading small ones.
//!
//! Large weights are never converted; these functions are for the constants that rewriting looks at or adds.

use std::borrow::Cow;

use bytes::Bytes;
use half::{bf16, f16};
use thiserror::Error;

use super::element::ElementType;
use super::proto::{DataLocation, TensorProto};

/// A constant that cannot be made or read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TensorError {
    /// The function does not know this element type.
    #[error("a constant of {element} is not a constant of {wanted}")]
    ElementType {
        /// The type.
        element: ElementType,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The elements are in another file.
    #[error("the elements of constant `{name}` are in another file")]
    External {
        /// The tensor's name.
        name: String,
    },
    /// The element type has no meaning.
    #[error("constant `{name}` has the unknown element type {code}")]
    Unknown {
        /// The tensor's name.
        name: String,
        /// The number of the type.
        code: i32,
    },
}

/// Returns the number of elements, or `None` if a dimension is negative or the product overflows.
pub fn element_count(dimensions: &[i64]) -> Option<u64> {
    let sizes = dimensions.iter().map(|&size| u64::try_from(size).ok()).collect::<Option<Vec<u64>>>()?;
    if sizes.contains(&0) {
        return Some(0);
    }
    let count = sizes.iter().try_fold(1_u64, |count, size| count.checked_mul(*size))?;
    i64::try_from(count).is_ok().then_some(count)
}

/// Makes a tensor of a floating type; the values are rounded to it.
///
/// # Errors
/// `element` is no floating type.
pub fn floats(name: &str, element: ElementType, dims: &[i64], values: &[f64]) -> Result<TensorProto, TensorError> {
    let raw: Vec<u8> = match element {
        ElementType::Float16 => values.iter().flat_map(|&value| f16::from_f64(value).to_le_bytes()).collect(),
        ElementType::Bfloat16 => values.iter().flat_map(|&value| bf16::from_f64(value).to_le_bytes()).collect(),
        ElementType::Float32 => values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect(),
        ElementType::Float64 => values.iter().flat_map(|&value| value.to_le_bytes()).collect(),
        _ => return Err(TensorError::ElementType { element, wanted: "floating numbers" }),
    };
    Ok(raw_tensor(name, element, dims, raw))
}

/// Makes a tensor like one of a floating type, with what `change` makes of its elements, `length` of them at a time. The
/// values are rounded to the type.
///
/// # Errors
/// The tensor has another type, or its elements are in another file.
pub fn changed_floats(
    name: &str,
    tensor: &TensorProto,
    length: usize,
    mut change: impl FnMut(&mut [f64]),
) -> Result<TensorProto, TensorError> {
    let element = readable(tensor)?;
    if let (ElementType::Float32, Some(raw)) = (element, &tensor.raw_data) {
        // Without all of them in double precision at once.
        let mut made = Vec::with_capacity(raw.len());
        let mut values = Vec::with_capacity(length);
        for part in raw.chunks(length.saturating_mul(4).max(4)) {
            values.clear();
            values.extend(chunks(part).map(|bytes| f64::from(f32::from_le_bytes(bytes))));
            change(&mut values);
            made.extend(values.iter().flat_map(|&value| (value as f32).to_le_bytes()));
        }
        return Ok(raw_tensor(name, element, &tensor.dims, made));
    }
    let mut values = read_floats(tensor)?;
    values.chunks_mut(length.max(1)).for_each(change);
    floats(name, element, &tensor.dims, &values)
}

/// Makes a tensor of sizes `dims` of a matrix of a floating type, with its rows as columns.
///
/// # Errors
/// It is no matrix of a floating type, or its elements are in another file.
pub fn transposed(name: &str, dims: &[i64], matrix: &TensorProto) -> Result<TensorProto, TensorError> {
    let element = readable(matrix)?;
    let wrong = TensorError::ElementType { element, wanted: "a matrix of floating numbers" };
    let &[_, width] = matrix.dims.as_slice() else { return Err(wrong) };
    let width = usize::try_from(width).unwrap_or_default();
    let raw = match &matrix.raw_data {
        Some(raw) => raw.clone(),
        None => floats("", element, &matrix.dims, &read_floats(matrix)?)?.raw_data.unwrap_or_default(),
    };
    let turned = match element {
        ElementType::Float16 | ElementType::Bfloat16 => turned::<2>(&raw, width),
        ElementType::Float32 => turned::<4>(&raw, width),
        ElementType::Float64 => turned::<8>(&raw, width),
        _ => return Err(wrong),
    };
    Ok(raw_tensor(name, element, dims, turned))
}

/// Returns rows of so many elements as columns.
fn turned<const LENGTH: usize>(raw: &[u8], width: usize) -> Vec<u8> {
    /// Rows that are read at once: they fill a line of the processor's cache where they are written.
    const LINE: usize = 16;
    let (elements, _) = raw.as_chunks::<LENGTH>();
    let rows: Vec<&[[u8; LENGTH]]> = elements.chunks(width.max(1)).collect();
    let mut turned = vec![0; elements.len() * LENGTH];
    let (places, _) = turned.as_chunks_mut::<LENGTH>();
    for (block, lines) in rows.chunks(LINE).enumerate() {
        for (column, places) in places.chunks_mut(rows.len().max(1)).enumerate() {
            let places = places.iter_mut().skip(block * LINE);
            places.zip(lines).for_each(|(place, row)| *place = row.get(column).copied().unwrap_or([0; LENGTH]));
        }
    }
    turned
}

/// Makes a tensor of 64-bit integers, the type of shapes, axes and indices.
pub fn integers(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    raw_tensor(name, ElementType::Int64, dims, raw)
}

fn raw_tensor(name: &str, element: ElementType, dims: &[i64], raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(element.code()),
        dims: dims.to_vec(),
        raw_data: Some(Bytes::from(raw)),
        ..TensorProto::default()
    }
}

/// Reads the elements of a tensor of a floating type.
///
/// # Errors
/// The tensor has another type, or its elements are in another file.
pub fn read_floats(tensor: &TensorProto) -> Result<Vec<f64>, TensorError> {
    let element = readable(tensor)?;
    let wanted = "floating numbers";
    if let Some(raw) = &tensor.raw_data {
        return match element {
            ElementType::Float16 => Ok(chunks(raw).map(|bytes| f16::from_le_bytes(bytes).to_f64()).collect()),
            ElementType::Bfloat16 => Ok(chunks(raw).map(|bytes| bf16::from_le_bytes(bytes).to_f64()).collect()),
            ElementType::Float32 => Ok(chunks(raw).map(|bytes| f64::from(f32::from_le_bytes(bytes))).collect()),
            ElementType::Float64 => Ok(chunks(raw).map(f64::from_le_bytes).collect()),
            _ => Err(TensorError::ElementType { element, wanted }),
        };
    }
    // Half types are the low 16 bits of each entry.
    let halves = tensor.int32_data.iter().map(|&entry| entry as u16);
    match element {
        ElementType::Float16 => Ok(halves.map(|bits| f16::from_bits(bits).to_f64()).collect()),
        ElementType::Bfloat16 => Ok(halves.map(|bits| bf16::from_bits(bits).to_f64()).collect()),
        ElementType::Float32 => Ok(tensor.float_data.iter().copied().map(f64::from).collect()),
        ElementType::Float64 => Ok(tensor.double_data.clone()),
        _ => Err(TensorError::ElementType { element, wanted }),
    }
}

/// Reads the elements of a tensor of 32-bit or 64-bit signed integers.
///
/// # Errors
/// The tensor has another type, or its elements are in another file.
pub fn read_integers(tensor: &TensorProto) -> Result<Vec<i64>, TensorError> {
    let element = readable(tensor)?;
    match (element, &tensor.raw_data) {
        (ElementType::Int64, Some(raw)) => Ok(chunks(raw).map(i64::from_le_bytes).collect()),
        (ElementType::Int64, None) => Ok(tensor.int64_data.clone()),
        (ElementType::Int32, Some(raw)) => Ok(chunks(raw).map(|bytes| i64::from(i32::from_le_bytes(bytes))).collect()),
        (ElementType::Int32, None) => Ok(tensor.int32_data.iter().copied().map(i64::from).collect()),
        _ => Err(TensorError::ElementType { element, wanted: "signed integers" }),
    }
}

fn readable(tensor: &TensorProto) -> Result<ElementType, TensorError> {
    if tensor.data_location() == DataLocation::External {
        return Err(TensorError::External { name: tensor.name().to_owned() });
    }
    let unknown = || TensorError::Unknown { name: tensor.name().to_owned(), code: tensor.data_type() };
    ElementType::from_code(tensor.data_type()).ok_or_else(unknown)
}

fn chunks<const SIZE: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; SIZE]> {
    raw.as_chunks::<SIZE>().0.iter().copied()
}

/// Names a tensor in an error message.
pub(super) fn describe(tensor: &TensorProto, place: &str) -> String {
    let name: Cow<'_, str> = match tensor.name() {
        "" => Cow::Borrowed("(unnamed)"),
        name => Cow::Owned(format!("`{name}`")),
    };
    format!("{place} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_counted_without_overflow() {
        let cases: [(&[i64], Option<u64>); 8] = [
            (&[], Some(1)),
            (&[2, 3], Some(6)),
            (&[0], Some(0)),
            (&[i64::MAX, 0, i64::MAX], Some(0)),
            (&[i64::MAX, 1], Some(i64::MAX as u64)),
            (&[i64::MAX, 2], None),
            (&[1 << 40, 1 << 40], None),
            (&[-1], None),
        ];
        for (dimensions, expected) in cases {
            assert_eq!(element_count(dimensions), expected, "{dimensions:?}");
        }
    }

    #[test]
    fn floats_survive_in_every_type() {
        for element in [ElementType::Float16, ElementType::Bfloat16, ElementType::Float32, ElementType::Float64] {
            let tensor = floats("a", element, &[3], &[0.5, -2.0, 0.0]).unwrap();
            assert_eq!(read_floats(&tensor).unwrap(), [0.5, -2.0, 0.0], "{element}");
        }
        assert!(floats("a", ElementType::Int8, &[1], &[1.0]).is_err());
        let half = floats("a", ElementType::Float16, &[], &[1.0 / 6.0]).unwrap();
        assert_eq!(half.raw_data.as_deref(), Some(&[0x55, 0x31][..]));
    }

    #[test]
    fn typed_fields_are_read_too() {
        let typed = |element: ElementType| TensorProto { data_type: Some(element.code()), ..TensorProto::default() };
        let half = TensorProto { int32_data: vec![0x3c00], ..typed(ElementType::Float16) };
        assert_eq!(read_floats(&half).unwrap(), [1.0]);
        let single = TensorProto { float_data: vec![1.5], ..typed(ElementType::Float32) };
        assert_eq!(read_floats(&single).unwrap(), [1.5]);
        let long = TensorProto { int64_data: vec![-1, 7], ..typed(ElementType::Int64) };
        assert_eq!(read_integers(&long).unwrap(), [-1, 7]);
        assert_eq!(read_integers(&integers("a", &[2], &[3, -4])).unwrap(), [3, -4]);
        let outside = TensorProto { data_location: Some(1), ..typed(ElementType::Int64) };
        assert!(matches!(read_integers(&outside), Err(TensorError::External { .. })));
        assert!(matches!(read_integers(&TensorProto::default()), Err(TensorError::Unknown { code: 0, .. })));
    }
}
