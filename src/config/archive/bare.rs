//! A model described from itself alone.
//!
//! What the model does not say is left open: nobody knows its colours, so frame types are not guessed. Pictures are told
//! by their shape as everywhere; everything else is raw.

use thiserror::Error;

use super::describe::CompiledTensor;
use crate::config::{DataType, Dimension, TensorFacts};
use crate::hint::Hint;
use crate::nn_archive::{
    self, Document, Input, InputType, Layout, LayoutError, Metadata, Model, Output, Preprocessing,
};

/// One input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct BareTensor {
    /// Its name.
    pub name: String,
    /// Its dimensions, outermost first; 0 where the model does not say the size. Nothing where it does not say how many.
    pub shape: Option<Vec<u64>>,
    /// The letters of its dimensions, where they are known.
    pub layout: Option<Layout>,
    /// The type of its elements.
    pub data_type: Option<DataType>,
    /// The type of its elements as the model says it, where configurations have no name for it.
    pub foreign_type: Option<String>,
}

/// What a model says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct BareModel {
    /// Its name.
    pub name: String,
    /// Its path in the archive.
    pub path: String,
    /// The type of weights and arithmetic, if it is known.
    pub precision: Option<nn_archive::DataType>,
    /// What it takes.
    pub inputs: Vec<BareTensor>,
    /// What it gives.
    pub outputs: Vec<BareTensor>,
}

/// A model that cannot be described.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BareError {
    /// An input whose number of dimensions is not known.
    #[error("the model does not say the shape of input `{name}`")]
    NoShape {
        /// The input.
        name: String,
    },
    /// An input without dimensions, for which the schema has no shape.
    #[error("input `{name}` is a single number without dimensions, which NN Archives do not know")]
    Scalar {
        /// The input.
        name: String,
    },
    /// A tensor whose type is not known.
    #[error("the model does not say the type of `{name}`")]
    NoType {
        /// The tensor.
        name: String,
    },
    /// A type that archives have no name for.
    #[error("`{name}` has type `{data_type}`, which NN Archives do not know")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        data_type: String,
    },
    /// More dimensions than letters.
    #[error("`{name}` cannot be described")]
    Layout {
        /// The tensor.
        name: String,
        /// Why not.
        #[source]
        source: LayoutError,
    },
}

impl Hint for BareError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoShape { .. } | Self::NoType { .. } => {
                vec!["export the model with the shapes and types of its inputs and outputs".to_owned()]
            }
            Self::Scalar { .. } => vec!["give the input one dimension of size 1 in the model".to_owned()],
            Self::Type { .. } | Self::Layout { .. } => Vec::new(),
        }
    }
}

impl BareTensor {
    /// Takes what a model says. A batch of any size is one of 1.
    pub fn of_model(facts: &TensorFacts) -> Self {
        let size = |(index, dimension): (usize, &Dimension)| match dimension {
            Dimension::Fixed(size) if *size > 0 => *size,
            _ if index == 0 => 1,
            _ => 0,
        };
        Self {
            name: facts.name.clone(),
            shape: facts.shape.as_ref().map(|shape| shape.iter().enumerate().map(size).collect()),
            layout: None,
            data_type: facts.data_type,
            foreign_type: facts.foreign_type.clone(),
        }
    }

    /// Takes what a compiled model says; where its dimensions were moved, they are named by where they were before.
    pub fn of_compiled(tensor: &CompiledTensor) -> Self {
        let layout = tensor.axes.as_ref().and_then(|axes| {
            let mut before = vec![0; tensor.shape.len()];
            for (axis, size) in std::iter::zip(axes, &tensor.shape) {
                *before.get_mut(*axis)? = *size;
            }
            Layout::default_for(&before).ok()?.permuted(axes)
        });
        Self {
            name: tensor.name.clone(),
            shape: Some(tensor.shape.clone()),
            layout,
            data_type: Some(tensor.data_type),
            foreign_type: None,
        }
    }

    /// Returns whether a size is left open.
    pub fn is_open(&self) -> bool {
        self.shape.as_ref().is_some_and(|shape| shape.contains(&0))
    }

    fn element(&self) -> Result<nn_archive::DataType, BareError> {
        let name = || self.name.clone();
        let refused = |data_type: String| BareError::Type { name: name(), data_type };
        match (self.data_type, &self.foreign_type) {
            (Some(data_type), _) => data_type.archive().ok_or_else(|| refused(data_type.to_string())),
            (None, Some(foreign)) => Err(refused(foreign.clone())),
            (None, None) => Err(BareError::NoType { name: name() }),
        }
    }

    fn letters(&self, shape: &[u64]) -> Result<Layout, BareError> {
        let refused = |source| BareError::Layout { name: self.name.clone(), source };
        self.layout.clone().map_or_else(|| Layout::default_for(shape).map_err(refused), Ok)
    }

    fn input(&self) -> Result<Input, BareError> {
        let shape = self.shape.clone().ok_or_else(|| BareError::NoShape { name: self.name.clone() })?;
        if shape.is_empty() {
            return Err(BareError::Scalar { name: self.name.clone() });
        }
        let layout = self.letters(&shape)?;
        let channels = layout.position('C').and_then(|position| shape.get(position));
        let is_picture = layout.is_picture() && matches!(channels, Some(1 | 3));
        Ok(Input {
            name: self.name.clone(),
            dtype: self.element()?,
            input_type: if is_picture { InputType::Image } else { InputType::Raw },
            shape,
            layout: Some(layout),
            preprocessing: Preprocessing::default(),
        })
    }

    fn output(&self) -> Result<Output, BareError> {
        // An output may leave its shape open as a whole, but not in part.
        let shape = self.shape.clone().filter(|_| !self.is_open());
        let layout = shape.as_deref().map(|shape| self.letters(shape)).transpose()?;
        Ok(Output { name: self.name.clone(), dtype: self.element()?, shape, layout })
    }
}

/// Describes a model from itself.
///
/// # Errors
/// An input whose rank is not known, or a type that is not known or that archives lack.
pub fn describe_bare(model: &BareModel) -> Result<Document, BareError> {
    Ok(Document {
        config_version: nn_archive::document::VERSION.to_owned(),
        model: Model {
            metadata: Metadata {
                name: model.name.clone(),
                path: model.path.clone(),
                precision: model.precision,
                extra: nn_archive::Carried::default(),
            },
            inputs: model.inputs.iter().map(BareTensor::input).collect::<Result<_, _>>()?,
            outputs: model.outputs.iter().map(BareTensor::output).collect::<Result<_, _>>()?,
            heads: Some(Vec::new()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[Option<u64>], data_type: Option<DataType>) -> BareTensor {
        let dimension = |size: &Option<u64>| size.map_or(Dimension::Dynamic(None), Dimension::Fixed);
        let shape = Some(shape.iter().map(dimension).collect());
        BareTensor::of_model(&TensorFacts { name: name.to_owned(), shape, data_type, foreign_type: None })
    }

    fn model(inputs: Vec<BareTensor>, outputs: Vec<BareTensor>) -> BareModel {
        BareModel { name: "m".to_owned(), path: "m.onnx".to_owned(), precision: None, inputs, outputs }
    }

    #[test]
    fn pictures_are_told_by_their_shape_and_colours_are_not_guessed() {
        let float = Some(DataType::Float32);
        for (shape, layout, input_type) in [
            (&[Some(1), Some(3), Some(8), Some(9)][..], "NCHW", InputType::Image),
            (&[None, Some(1), Some(8), Some(9)], "NCHW", InputType::Image),
            (&[Some(1), Some(8), Some(16), Some(16)], "NCHW", InputType::Raw),
            (&[Some(1)], "N", InputType::Raw),
            (&[Some(1), Some(10)], "NC", InputType::Raw),
        ] {
            let document = describe_bare(&model(vec![tensor("x", shape, float)], Vec::new())).unwrap();
            let input = &document.model.inputs[0];
            assert_eq!(input.layout.as_ref().unwrap().as_str(), layout, "{shape:?}");
            assert_eq!((input.input_type, &input.preprocessing), (input_type, &Preprocessing::default()));
            assert_eq!(Document::parse(document.render().as_bytes()).unwrap(), document);
        }
    }

    #[test]
    fn open_sizes_are_zeros_of_inputs_and_no_shape_of_outputs() {
        let open = &[None, Some(3), None, None];
        let float = Some(DataType::Float32);
        let document = describe_bare(&model(vec![tensor("x", open, float)], vec![tensor("y", open, float)])).unwrap();
        assert_eq!(document.model.inputs[0].shape, [1, 3, 0, 0]);
        assert_eq!(document.model.outputs[0].shape, None);
    }

    #[test]
    fn compiled_dimensions_are_named_by_where_they_were() {
        let compiled = CompiledTensor {
            name: "x".to_owned(),
            shape: vec![1, 8, 9, 3],
            axes: Some(vec![0, 2, 3, 1]),
            data_type: DataType::Uint8,
        };
        assert_eq!(BareTensor::of_compiled(&compiled).layout.unwrap().as_str(), "NHWC");
    }

    #[test]
    fn what_cannot_be_described_is_named() {
        let refused = |input| describe_bare(&model(vec![input], Vec::new())).unwrap_err();
        assert_eq!(refused(tensor("x", &[Some(1)], None)), BareError::NoType { name: "x".to_owned() });
        let bfloat = DataType::Bfloat16;
        assert!(matches!(refused(tensor("x", &[Some(1)], Some(bfloat))), BareError::Type { .. }));
        let foreign = BareTensor { foreign_type: Some("complex64".to_owned()), ..tensor("x", &[Some(1)], None) };
        assert_eq!(refused(foreign).to_string(), "`x` has type `complex64`, which NN Archives do not know");
        let float = Some(DataType::Float32);
        assert_eq!(refused(tensor("x", &[], float)), BareError::Scalar { name: "x".to_owned() });
        let unknown = BareTensor { shape: None, ..tensor("x", &[], float) };
        assert_eq!(refused(unknown), BareError::NoShape { name: "x".to_owned() });
        assert!(matches!(refused(tensor("x", &[Some(2); 27], float)), BareError::Layout { .. }));
    }
}
