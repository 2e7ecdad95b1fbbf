//! Freezing inputs: constants take their place.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Model;
use super::element::ElementType;
use super::proto::TensorProto;
use super::tensor::{element_count, floats};
use crate::hint::Hint;

/// Whole numbers beyond this are not exact as floating numbers, which is what they come as.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// An input that cannot be a constant.
#[derive(Debug, Error, PartialEq)]
pub enum FreezeError {
    /// Its type or its shape is not known.
    #[error("input `{input}` cannot be frozen: the model does not say its type, or not all of its sizes")]
    Undescribed {
        /// The input.
        input: String,
    },
    /// There are neither one nor as many numbers as elements.
    #[error("input `{input}` has {expected} elements, but its frozen value has {found} numbers")]
    Count {
        /// The input.
        input: String,
        /// How many elements it has.
        expected: u64,
        /// How many numbers were given.
        found: usize,
    },
    /// Its type has no such value, or the input is no tensor of numbers.
    #[error("input `{input}` is of type {element}, which has no value {value}")]
    Value {
        /// The input.
        input: String,
        /// Its type.
        element: ElementType,
        /// The number.
        value: f64,
    },
}

impl Hint for FreezeError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Undescribed { .. } => vec!["say its `shape`".to_owned()],
            Self::Count { .. } => vec!["give one number for all elements, or one for each".to_owned()],
            Self::Value { .. } => Vec::new(),
        }
    }
}

/// Returns the model with constants in the place of inputs: one number for all elements of an input, or one for each,
/// outermost first.
///
/// # Errors
/// An input is not described well enough, or cannot have these numbers. Names of other values are left alone.
pub fn freeze_inputs(model: &Model, values: &BTreeMap<String, Vec<f64>>) -> Result<Model, FreezeError> {
    let mut graph = model.graph().clone();
    for input in model.inputs() {
        let Some(numbers) = values.get(&input.name) else { continue };
        let undescribed = || FreezeError::Undescribed { input: input.name.clone() };
        let element = input.element().ok_or_else(undescribed)?;
        let dims = input.shape().and_then(super::Shape::known).ok_or_else(undescribed)?;
        let expected = element_count(&dims).ok_or_else(undescribed)?;
        let numbers = match numbers.as_slice() {
            [one] => vec![*one; usize::try_from(expected).map_err(|_| undescribed())?],
            all if all.len() as u64 == expected => all.to_vec(),
            all => return Err(FreezeError::Count { input: input.name, expected, found: all.len() }),
        };
        let wrong = |value| FreezeError::Value { input: input.name.clone(), element, value };
        graph.initializer.push(constant(&input.name, element, &dims, &numbers).map_err(wrong)?);
        graph.input.retain(|info| info.name() != input.name);
    }
    Ok(model.with_graph(graph))
}

/// Makes a constant, or returns the first number that its type has not.
fn constant(name: &str, element: ElementType, dims: &[i64], numbers: &[f64]) -> Result<TensorProto, f64> {
    if element.is_float() {
        return floats(name, element, dims, numbers).map_err(|_| numbers.first().copied().unwrap_or_default());
    }
    let mut raw = Vec::new();
    for &number in numbers {
        raw.extend(whole(element, number).ok_or(number)?);
    }
    Ok(TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(element.code()),
        dims: dims.to_vec(),
        raw_data: Some(raw.into()),
        ..TensorProto::default()
    })
}

/// Returns a whole number, or a truth value, in the bytes of its type.
fn whole(element: ElementType, number: f64) -> Option<Vec<u8>> {
    if number.fract() != 0.0 || number.abs() > EXACT {
        return None;
    }
    let number = number as i64;
    match element {
        ElementType::Boolean => Some(vec![u8::from(number != 0)]),
        ElementType::Int8 => i8::try_from(number).ok().map(|number| number.to_le_bytes().to_vec()),
        ElementType::Int16 => i16::try_from(number).ok().map(|number| number.to_le_bytes().to_vec()),
        ElementType::Int32 => i32::try_from(number).ok().map(|number| number.to_le_bytes().to_vec()),
        ElementType::Int64 => Some(number.to_le_bytes().to_vec()),
        ElementType::Uint8 => u8::try_from(number).ok().map(|number| number.to_le_bytes().to_vec()),
        ElementType::Uint16 => u16::try_from(number).ok().map(|number| number.to_le_bytes().to_vec()),
        ElementType::Uint32 => u32::try_from(number).ok().map(|number| number.to_le_bytes().to_vec()),
        ElementType::Uint64 => u64::try_from(number).ok().map(|number| number.to_le_bytes().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::builder::{FLOAT, Graph, INT64, Model as Built, Node, sizes};
    use super::super::{read_floats, read_integers};
    use super::*;

    fn frozen(values: &[(&str, &[f64])]) -> Result<Model, FreezeError> {
        let graph = Graph::new()
            .node(Node::new("Mul", &["x", "factor"], &["scaled"]))
            .node(Node::new("Reshape", &["scaled", "shape"], &["y"]))
            .input("x", FLOAT, &sizes(&[2, 3]))
            .input("factor", FLOAT, &sizes(&[3]))
            .input("shape", INT64, &sizes(&[2]))
            .output("y", FLOAT, &sizes(&[3, 2]));
        let model = Model::parse(Built::new(graph).bytes().into()).unwrap();
        freeze_inputs(&model, &values.iter().map(|(name, numbers)| ((*name).to_owned(), numbers.to_vec())).collect())
    }

    #[test]
    fn constants_take_the_place_of_inputs() {
        let model = frozen(&[("factor", &[0.5]), ("shape", &[3.0, 2.0]), ("other", &[1.0])]).unwrap();
        let names: Vec<String> = model.inputs().into_iter().map(|input| input.name).collect();
        assert_eq!(names, ["x"]);
        let [factor, shape] = &model.graph().initializer[..] else { panic!("{:?}", model.graph().initializer) };
        assert_eq!((factor.name(), factor.dims.as_slice()), ("factor", &[3][..]));
        assert_eq!((read_floats(factor).unwrap(), read_integers(shape).unwrap()), (vec![0.5; 3], vec![3, 2]));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        for (name, numbers, message) in [
            ("factor", &[1.0, 2.0][..], "input `factor` has 3 elements, but its frozen value has 2 numbers"),
            ("shape", &[1.5], "input `shape` is of type int64, which has no value 1.5"),
            ("shape", &[1e300], "which has no value 1000000"),
            ("shape", &[f64::NAN], "no value NaN"),
        ] {
            assert!(frozen(&[(name, numbers)]).unwrap_err().to_string().contains(message), "{message}");
        }
        let bytes = |element, number| whole(element, number);
        assert_eq!(bytes(ElementType::Int8, -128.0), Some(vec![0x80]));
        assert_eq!(bytes(ElementType::Uint16, 258.0), Some(vec![2, 1]));
        assert_eq!(bytes(ElementType::Boolean, 1.0), Some(vec![1]));
        for (element, number) in [
            (ElementType::Int8, 128.0),
            (ElementType::Uint8, -1.0),
            (ElementType::Int16, 40_000.0),
            (ElementType::Uint32, -1.0),
            (ElementType::Uint64, -1.0),
            (ElementType::Int64, 1e16),
            (ElementType::String, 1.0),
        ] {
            assert_eq!(bytes(element, number), None, "{element:?} {number}");
        }
    }
}
