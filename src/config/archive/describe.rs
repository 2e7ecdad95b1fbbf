//! A compiled model described for the device.
//!
//! What the compiler made is the truth about shapes, types and the places of dimensions; the configuration adds what
//! dimensions mean, which colours the model takes, and what is left to the device.

use thiserror::Error;

use super::PreprocessingPlace;
use crate::config::{Color, DataType, Encoding, ResolvedInput, ResolvedStage, Shape};
use crate::hint::Hint;
use crate::nn_archive::{
    self, ChannelPlace, ColorOrder, DaiType, Document, Frames, Input, InputType, Layout, Metadata, Model, Output,
    Preprocessing,
};

/// What is known of a compiled model.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledFacts {
    /// The name of the model in the archive.
    pub name: String,
    /// The name of its file in the archive.
    pub path: String,
    /// The type of weights and arithmetic.
    pub precision: nn_archive::DataType,
    /// What it takes, in its order.
    pub inputs: Vec<CompiledTensor>,
    /// What it gives, in its order.
    pub outputs: Vec<CompiledTensor>,
}

/// What is known of a tensor of a compiled model.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledTensor {
    /// Its name.
    pub name: String,
    /// Its dimensions as they lie in memory, outermost first.
    pub shape: Shape,
    /// For each of them, its place in the shape of the source, where the compiler tells.
    pub axes: Option<Vec<usize>>,
    /// The type of its elements.
    pub data_type: DataType,
}

/// A compiled model that cannot be described.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DescribeError {
    /// The compiled model lacks an input, or has one that was not there before.
    #[error("the compiled model has the inputs {compiled:?}, but {ordered:?} were ordered")]
    Inputs {
        /// Inputs of the compiled model.
        compiled: Vec<String>,
        /// Inputs of the configuration.
        ordered: Vec<String>,
    },
    /// A type that archives have no name for.
    #[error("tensor `{name}` of the compiled model has type `{data_type}`, which NN Archives do not know")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        data_type: DataType,
    },
}

impl Hint for DescribeError {}

/// Describes a compiled model. Heads, keys beyond the schema, and frame types that nothing here understands are carried
/// over from the archive it came from.
///
/// Inputs stand in the configuration's order, without those that were frozen. Outputs too, as far as the compiler kept
/// their names; readers on the device go by names.
///
/// # Errors
/// The compiled model has other inputs than the configuration, or a type that archives lack.
pub fn describe(
    stage: &ResolvedStage,
    compiled: &CompiledFacts,
    place: PreprocessingPlace,
    source: Option<&Document>,
) -> Result<Document, DescribeError> {
    let ordered: Vec<&ResolvedInput> = stage.inputs.iter().filter(|input| input.frozen_value.is_none()).collect();
    let mut inputs = Vec::with_capacity(ordered.len());
    for input in &ordered {
        let Some(tensor) = compiled.inputs.iter().find(|tensor| tensor.name == input.name) else { break };
        let of_source = source.and_then(|source| source.model.inputs.iter().find(|known| known.name == input.name));
        inputs.push(described_input(input, tensor, place, of_source)?);
    }
    if inputs.len() != ordered.len() || inputs.len() != compiled.inputs.len() {
        return Err(DescribeError::Inputs {
            compiled: compiled.inputs.iter().map(|tensor| tensor.name.clone()).collect(),
            ordered: ordered.iter().map(|input| input.name.clone()).collect(),
        });
    }
    let position = |tensor: &&CompiledTensor| stage.outputs.iter().position(|output| output.name == tensor.name);
    let mut tensors: Vec<&CompiledTensor> = compiled.outputs.iter().collect();
    tensors.sort_by_key(|tensor| position(tensor).unwrap_or(usize::MAX));
    let mut outputs = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let output = stage.outputs.iter().find(|output| output.name == tensor.name);
        let known = output.and_then(|output| Some((output.shape.as_ref()?, output.layout.as_ref()?)));
        outputs.push(Output {
            name: tensor.name.clone(),
            dtype: data_type(tensor)?,
            shape: Some(tensor.shape.clone()),
            layout: layout(known, tensor),
        });
    }
    let metadata = Metadata {
        name: compiled.name.clone(),
        path: compiled.path.clone(),
        precision: Some(compiled.precision),
        extra: source.map(|source| source.model.metadata.extra.clone()).unwrap_or_default(),
    };
    let heads = source.map_or_else(|| Some(Vec::new()), |source| source.model.heads.clone());
    let config_version = nn_archive::document::VERSION.to_owned();
    Ok(Document { config_version, model: Model { metadata, inputs, outputs, heads } })
}

fn described_input(
    input: &ResolvedInput,
    tensor: &CompiledTensor,
    place: PreprocessingPlace,
    source: Option<&Input>,
) -> Result<Input, DescribeError> {
    let layout = layout(Some((&input.shape, &input.layout)), tensor);
    let channels = layout.as_ref().and_then(|layout| tensor.shape.get(layout.position('C')?));
    let foreign = foreign_frames(source).filter(|_| channels.is_some() && input.encoding.is_raw());
    let raw = input.encoding.is_raw() || channels.is_none();
    // What is in the model is done; what is left to the device stands in the archive. The archive that the model came
    // from may have said nothing, which stood for nothing to do.
    let neutral = |count: usize, done: f64| vec![done; count];
    let values = |values: &Option<Vec<f64>>, done: f64| match (place, values) {
        (PreprocessingPlace::Model, Some(values)) => Some(neutral(values.len(), done)),
        (_, None) if source.is_some() && !raw => {
            channels.and_then(|count| usize::try_from(*count).ok()).map(|count| neutral(count, done))
        }
        (_, values) => values.clone(),
    };
    let (mean, scale) = (values(&input.mean_values, 0.0), values(&input.scale_values, 1.0));
    let fed = fed(input.encoding, place);
    let interleaved = layout.as_ref().is_some_and(Layout::is_interleaved);
    let said = source.map(|source| source.preprocessing.clone()).unwrap_or_default();
    let was_raw = source.is_some_and(|source| source.input_type == InputType::Raw);
    let preprocessing = match &foreign {
        None if !raw => Preprocessing {
            mean,
            scale,
            reverse_channels: Some(fed == Color::Rgb),
            interleaved_to_planar: Some(interleaved),
            dai_type: dai_type(fed, tensor.data_type, interleaved).map(|dai_type| dai_type.to_string()),
            resize_mode: said.resize_mode,
        },
        None if was_raw => Preprocessing { mean, scale, ..said },
        None => Preprocessing { mean, scale, ..Preprocessing::default() },
        Some(dai_type) => Preprocessing {
            mean,
            scale,
            dai_type: Some(dai_type.clone()),
            resize_mode: said.resize_mode,
            ..Preprocessing::default()
        },
    };
    Ok(Input {
        name: tensor.name.clone(),
        dtype: data_type(tensor)?,
        input_type: if raw && foreign.is_none() { InputType::Raw } else { InputType::Image },
        shape: tensor.shape.clone(),
        layout,
        preprocessing,
    })
}

/// Returns the frame type of an image whose colours nothing here understands.
fn foreign_frames(source: Option<&Input>) -> Option<String> {
    let source = source.filter(|source| source.input_type == InputType::Image)?;
    source.preprocessing.dai_type.clone().filter(|name| Frames::of(name) == Frames::Foreign)
}

/// Returns the colours that frames have: the model's own if the device does the rest, else those that the model was
/// rewritten to take.
const fn fed(encoding: Encoding, place: PreprocessingPlace) -> Color {
    match place {
        PreprocessingPlace::Model => encoding.to,
        PreprocessingPlace::Archive => encoding.from,
    }
}

fn dai_type(fed: Color, data_type: DataType, interleaved: bool) -> Option<DaiType> {
    let half = data_type == DataType::Float16;
    let place = if interleaved { ChannelPlace::Interleaved } else { ChannelPlace::Planar };
    let order = match fed {
        Color::Gray => return Some(if half { DaiType::GrayF16 } else { DaiType::Gray8 }),
        Color::None => return None,
        Color::Rgb => ColorOrder::Rgb,
        Color::Bgr => ColorOrder::Bgr,
    };
    Some(if half { DaiType::ColorF16(order, place) } else { DaiType::Color8(order, place) })
}

/// Returns the letters of a compiled shape: those of the source where it is a permutation, the default where not.
fn layout(source: Option<(&Shape, &Layout)>, tensor: &CompiledTensor) -> Option<Layout> {
    let moved = |(old, layout): (&Shape, &Layout)| {
        let axes = tensor.axes.as_ref().filter(|axes| axes.len() == tensor.shape.len())?;
        let is_kept = std::iter::zip(axes, &tensor.shape).all(|(axis, size)| old.get(*axis) == Some(size));
        layout.permuted(axes).filter(|_| is_kept && old.len() == axes.len())
    };
    let relabelled = |(old, layout): (&Shape, &Layout)| layout.relabel(old, &tensor.shape).ok();
    source
        .and_then(|source| moved(source).or_else(|| relabelled(source)))
        .or_else(|| Layout::default_for(&tensor.shape).ok())
}

fn data_type(tensor: &CompiledTensor) -> Result<nn_archive::DataType, DescribeError> {
    let refused = || DescribeError::Type { name: tensor.name.clone(), data_type: tensor.data_type };
    tensor.data_type.archive().ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        Dimension, ModelFacts, ResolvedConfig, TensorFacts, read::read, resolve::resolve, yaml::parse,
    };

    /// Resolves `yaml` for a model whose one input `x` has `shape`, and describes the result.
    fn described(yaml: &str, shape: &[u64], compiled: &[u64], fed: DataType, place: PreprocessingPlace) -> Input {
        let input = CompiledTensor { name: "x".to_owned(), shape: compiled.to_vec(), axes: None, data_type: fed };
        described_from(yaml, shape, input, place, None)
    }

    fn resolved(yaml: &str, shape: &[u64]) -> ResolvedConfig {
        let tensor = |name: &str, shape: &[u64]| TensorFacts {
            name: name.to_owned(),
            shape: Some(shape.iter().map(|size| Dimension::Fixed(*size)).collect()),
            data_type: Some(DataType::Float32),
            foreign_type: None,
        };
        let facts = ModelFacts {
            inputs: vec![tensor("x", shape)],
            outputs: vec![tensor("y", &[1, 4])],
            ..ModelFacts::default()
        };
        let tree = parse(&format!("input_model: m.onnx\n{yaml}\n"), "f.yaml").unwrap();
        let config = read(&tree).unwrap().config;
        resolve(&config, &|_| Some(facts.clone())).unwrap().config
    }

    fn described_from(
        yaml: &str,
        shape: &[u64],
        input: CompiledTensor,
        place: PreprocessingPlace,
        source: Option<&Document>,
    ) -> Input {
        let output = CompiledTensor {
            name: "y".to_owned(),
            shape: vec![1, 4],
            axes: Some(vec![0, 1]),
            data_type: DataType::Float16,
        };
        let compiled = CompiledFacts {
            name: "m".to_owned(),
            path: "m.blob".to_owned(),
            precision: nn_archive::DataType::Float16,
            inputs: vec![input],
            outputs: vec![output],
        };
        let document = describe(&resolved(yaml, shape).stages[0], &compiled, place, source).unwrap();
        assert_eq!(Document::parse(document.render().as_bytes()).unwrap(), document);
        document.model.inputs[0].clone()
    }

    #[test]
    fn inputs_get_the_frame_type_that_depthai_knows() {
        use PreprocessingPlace::{Archive, Model};
        let (nchw, nhwc, gray) = (&[1, 3, 8, 9][..], &[1, 8, 9, 3][..], &[1, 1, 8, 9][..]);
        let (bytes, half) = (DataType::Uint8, DataType::Float16);
        for (yaml, shape, compiled, fed, place, layout, dai_type, reverse) in [
            ("", nchw, nchw, bytes, Model, "NCHW", Some("BGR888p"), Some(false)),
            ("", nchw, nhwc, bytes, Model, "NHWC", Some("BGR888i"), Some(false)),
            ("encoding: RGB", nhwc, nhwc, bytes, Model, "NHWC", Some("RGB888i"), Some(true)),
            ("encoding: BGR", nchw, nchw, half, Model, "NCHW", Some("BGRF16F16F16p"), Some(false)),
            ("", nchw, nhwc, bytes, Archive, "NHWC", Some("RGB888i"), Some(true)),
            ("", gray, gray, bytes, Model, "NCHW", Some("GRAY8"), Some(false)),
            ("", gray, gray, half, Model, "NCHW", Some("GRAYF16"), Some(false)),
            ("encoding: NONE", nchw, nchw, bytes, Model, "NCHW", None, None),
            ("", &[1, 10], &[1, 10], half, Model, "NC", None, None),
        ] {
            let input = described(yaml, shape, compiled, fed, place);
            assert_eq!(input.layout.as_ref().map(Layout::as_str), Some(layout), "{yaml} {shape:?}");
            assert_eq!(input.preprocessing.dai_type.as_deref(), dai_type, "{yaml} {shape:?}");
            assert_eq!(input.preprocessing.reverse_channels, reverse, "{yaml} {shape:?}");
            assert_eq!(input.input_type == InputType::Image, dai_type.is_some());
        }
    }

    #[test]
    fn mean_and_scale_stand_where_they_are_applied() {
        let yaml = "mean_values: imagenet\nscale_values: 2";
        let values = |place| {
            let Preprocessing { mean, scale, .. } =
                described(yaml, &[1, 3, 8, 9], &[1, 3, 8, 9], DataType::Uint8, place).preprocessing;
            (mean.unwrap(), scale.unwrap())
        };
        assert_eq!(values(PreprocessingPlace::Model), (vec![0.0; 3], vec![1.0; 3]));
        assert_eq!(values(PreprocessingPlace::Archive), (vec![123.675, 116.28, 103.53], vec![2.0; 3]));
    }

    #[test]
    fn equal_dimensions_are_told_apart_by_the_compiler() {
        let input = CompiledTensor {
            name: "x".to_owned(),
            shape: vec![1, 3, 3, 3],
            axes: Some(vec![0, 2, 3, 1]),
            data_type: DataType::Uint8,
        };
        let input = described_from("layout: NCHW", &[1, 3, 3, 3], input, PreprocessingPlace::Model, None);
        assert_eq!(input.layout.unwrap().as_str(), "NHWC");
        assert_eq!(input.preprocessing.dai_type.as_deref(), Some("BGR888i"));
    }

    /// An archive with one input `x` of this kind.
    fn source(input_type: &str, preprocessing: &str) -> Document {
        let json = format!(
            r#"{{"config_version": "1.0", "model": {{"metadata": {{"name": "m", "path": "m.onnx"}}, "inputs": [
            {{"name": "x", "dtype": "float32", "input_type": "{input_type}", "shape": [1, 3, 8, 9],
              "layout": "NCHW", "preprocessing": {preprocessing}}}], "outputs": [], "heads": null}}}}"#
        );
        Document::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn what_the_source_archive_said_goes_on_where_it_still_holds() {
        use PreprocessingPlace::{Archive, Model};
        let shape = &[1, 3, 8, 9];
        let described = |yaml: &str, place, source: &Document| {
            let input = CompiledTensor {
                name: "x".to_owned(),
                shape: shape.to_vec(),
                axes: None,
                data_type: DataType::Float16,
            };
            let input = described_from(yaml, shape, input, place, Some(source));
            let Preprocessing { mean, scale, dai_type, .. } = input.preprocessing;
            (input.input_type, mean, scale, dai_type)
        };
        let three = |value: f64| Some(vec![value; 3]);
        let image = source("image", r#"{"dai_type": "RGB888p"}"#);
        let half = Some("BGRF16F16F16p".to_owned());
        assert_eq!(described("", Model, &image), (InputType::Image, three(0.0), three(1.0), half));
        let yuv = source("image", r#"{"dai_type": "YUV444p"}"#);
        let same = Some("YUV444p".to_owned());
        assert_eq!(described("encoding: NONE", Model, &yuv), (InputType::Image, None, None, same));
        let raw = source("raw", r#"{"mean": [5, 6, 7], "dai_type": null}"#);
        let yaml = "encoding: NONE\nmean_values: [5, 6, 7]";
        // The mean is in the model now, and must not be taken away a second time.
        assert_eq!(described(yaml, Model, &raw), (InputType::Raw, three(0.0), None, None));
        assert_eq!(described(yaml, Archive, &raw), (InputType::Raw, Some(vec![5.0, 6.0, 7.0]), None, None));
        // Whoever says colours for an input that was raw means a picture.
        let input = described("encoding: RGB", Model, &raw);
        assert_eq!((input.0, input.3.as_deref()), (InputType::Image, Some("RGBF16F16F16p")));
    }

    #[test]
    fn other_inputs_than_ordered_are_refused() {
        let compiled = CompiledFacts {
            name: String::new(),
            path: String::new(),
            precision: nn_archive::DataType::Float16,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        let stage = &resolved("", &[1, 3, 8, 9]).stages[0];
        let error = describe(stage, &compiled, PreprocessingPlace::Model, None).unwrap_err();
        assert_eq!(error.to_string(), r#"the compiled model has the inputs [], but ["x"] were ordered"#);
        let frozen = &resolved("inputs: [{name: x, frozen_value: 1}]", &[1, 3, 8, 9]).stages[0];
        assert!(describe(frozen, &compiled, PreprocessingPlace::Model, None).unwrap().model.inputs.is_empty());
    }
}
