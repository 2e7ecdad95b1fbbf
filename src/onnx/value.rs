//! What a model says about a value: name, element type, shape.

use std::fmt;

use super::element::ElementType;
use super::proto::{DimensionProto, DimensionValue, TensorProto, TensorShapeProto, TypeValue, ValueInfoProto};

/// One dimension of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// A number of elements, not negative.
    Known(i64),
    /// A size that has a name; the same name means the same size throughout the model.
    Symbolic(String),
    /// Nothing is said. Exporters that write -1 mean this too.
    Unknown,
}

impl Dimension {
    pub(super) fn from_proto(dimension: &DimensionProto) -> Self {
        match &dimension.value {
            Some(DimensionValue::Size(size)) if *size >= 0 => Self::Known(*size),
            Some(DimensionValue::Symbol(symbol)) if !symbol.is_empty() => Self::Symbolic(symbol.clone()),
            Some(DimensionValue::Size(_) | DimensionValue::Symbol(_)) | None => Self::Unknown,
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(size) => write!(formatter, "{size}"),
            Self::Symbolic(symbol) => formatter.write_str(symbol),
            Self::Unknown => formatter.write_str("?"),
        }
    }
}

/// The dimensions of a tensor, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape(pub Vec<Dimension>);

impl Shape {
    pub(super) fn from_proto(shape: &TensorShapeProto) -> Self {
        Self(shape.dim.iter().map(Dimension::from_proto).collect())
    }

    /// Returns the number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Returns the sizes, if all are known.
    pub fn known(&self) -> Option<Vec<i64>> {
        let known = |dimension: &Dimension| if let Dimension::Known(size) = dimension { Some(*size) } else { None };
        self.0.iter().map(known).collect()
    }
}

/// Prints `[1, 3, height, ?]`.
impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[")?;
        for (index, dimension) in self.0.iter().enumerate() {
            write!(formatter, "{}{dimension}", if index > 0 { ", " } else { "" })?;
        }
        formatter.write_str("]")
    }
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A tensor. What the model does not say is `None`.
    Tensor {
        /// The type of the elements.
        element: Option<ElementType>,
        /// The dimensions.
        shape: Option<Shape>,
    },
    /// Anything else, by the name of its kind: a sequence, a map, an optional, a sparse tensor, an opaque type.
    Other(&'static str),
}

/// A named value of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: ValueKind,
}

impl Value {
    pub(super) fn from_proto(info: &ValueInfoProto) -> Self {
        let value = info.r#type.as_ref().and_then(|typed| typed.value.as_ref());
        let kind = match value {
            None => ValueKind::Tensor { element: None, shape: None },
            Some(TypeValue::Tensor(tensor)) => ValueKind::Tensor {
                element: ElementType::from_code(tensor.elem_type()),
                shape: tensor.shape.as_ref().map(Shape::from_proto),
            },
            Some(TypeValue::Sequence(_)) => ValueKind::Other("sequence"),
            Some(TypeValue::Map(_)) => ValueKind::Other("map"),
            Some(TypeValue::Optional(_)) => ValueKind::Other("optional"),
            Some(TypeValue::SparseTensor(_)) => ValueKind::Other("sparse tensor"),
            Some(TypeValue::Opaque(_)) => ValueKind::Other("opaque type"),
        };
        Self { name: info.name().to_owned(), kind }
    }

    pub(super) fn from_tensor(tensor: &TensorProto) -> Self {
        let shape = Shape(tensor.dims.iter().map(|&size| Dimension::Known(size)).collect());
        let kind = ValueKind::Tensor { element: ElementType::from_code(tensor.data_type()), shape: Some(shape) };
        Self { name: tensor.name().to_owned(), kind }
    }

    /// Returns the element type, if the value is a tensor and the model says it.
    pub fn element(&self) -> Option<ElementType> {
        if let ValueKind::Tensor { element, .. } = &self.kind { *element } else { None }
    }

    /// Returns the shape, if the value is a tensor and the model says it.
    pub fn shape(&self) -> Option<&Shape> {
        if let ValueKind::Tensor { shape, .. } = &self.kind { shape.as_ref() } else { None }
    }

    /// Returns whether the value is a tensor with all sizes known and positive. A size of 0 is how some exporters write
    /// a size they do not know.
    pub fn is_static(&self) -> bool {
        self.shape().and_then(Shape::known).is_some_and(|sizes| sizes.iter().all(|size| *size > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_read_as_exporters_mean_them() {
        let cases = [
            (Some(DimensionValue::Size(3)), Dimension::Known(3), "3"),
            (Some(DimensionValue::Size(0)), Dimension::Known(0), "0"),
            (Some(DimensionValue::Size(-1)), Dimension::Unknown, "?"),
            (Some(DimensionValue::Symbol("batch".into())), Dimension::Symbolic("batch".into()), "batch"),
            (Some(DimensionValue::Symbol(String::new())), Dimension::Unknown, "?"),
            (None, Dimension::Unknown, "?"),
        ];
        for (value, expected, text) in cases {
            let dimension = Dimension::from_proto(&DimensionProto { value, denotation: None });
            assert_eq!(dimension, expected);
            assert_eq!(dimension.to_string(), text);
        }
    }
}
