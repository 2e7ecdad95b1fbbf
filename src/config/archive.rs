//! Between configurations and NN Archives: a compiled model described for the device, and an archive taken as a source.

use thiserror::Error;

use super::tree::{Entry, Tree, Value};
use super::{Color, DataType, Encoding, FileReference, Named, Note, Origin, ResolvedInput, ResolvedStage, Shape};
use crate::hint::Hint;
use crate::nn_archive::{
    self, ChannelPlace, ColorOrder, DaiType, Document, Input, InputType, Layout, Metadata, Model, Output, Preprocessing,
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
    /// Its dimensions, outermost first.
    pub shape: Shape,
    /// The type of its elements.
    pub data_type: DataType,
}

/// Where mean, scale and colours are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreprocessingPlace {
    /// In the model.
    #[default]
    Model,
    /// On the device, as the NN Archive says.
    Archive,
}

/// A compiled model that cannot be described.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DescribeError {
    /// An input that the configuration does not know.
    #[error("the compiled model has input `{name}`, which the configuration does not have")]
    Input {
        /// Its name.
        name: String,
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

/// Describes a compiled model. Heads, and what raw inputs go through, are carried over from the archive it came from.
///
/// # Errors
/// The compiled model has an input that the configuration lacks, or a type that archives lack.
pub fn describe(
    stage: &ResolvedStage,
    compiled: &CompiledFacts,
    place: PreprocessingPlace,
    source: Option<&Document>,
) -> Result<Document, DescribeError> {
    let mut inputs = Vec::with_capacity(compiled.inputs.len());
    for tensor in &compiled.inputs {
        let input = stage.inputs.iter().find(|input| input.name == tensor.name);
        let input = input.ok_or_else(|| DescribeError::Input { name: tensor.name.clone() })?;
        let of_source = source.and_then(|source| source.model.inputs.iter().find(|known| known.name == tensor.name));
        inputs.push(described_input(input, tensor, place, of_source)?);
    }
    let mut outputs = Vec::with_capacity(compiled.outputs.len());
    for tensor in &compiled.outputs {
        let output = stage.outputs.iter().find(|output| output.name == tensor.name);
        let known = output.and_then(|output| Some((output.shape.as_ref()?, output.layout.as_ref()?)));
        outputs.push(Output {
            name: tensor.name.clone(),
            dtype: data_type(tensor)?,
            shape: Some(tensor.shape.clone()),
            layout: layout(known, &tensor.shape),
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
    let layout = layout(Some((&input.shape, &input.layout)), &tensor.shape);
    let has_channels = layout.as_ref().is_some_and(|layout| layout.position('C').is_some());
    let raw = input.encoding.is_raw() || !has_channels;
    let input_type = match source {
        Some(source) if source.input_type == InputType::Raw || has_channels => source.input_type,
        _ if raw => InputType::Raw,
        _ => InputType::Image,
    };
    // What is in the model is done; what is left to the device stands in the archive.
    let values = |values: &Option<Vec<f64>>, done: f64| match place {
        PreprocessingPlace::Model => values.as_ref().map(|values| vec![done; values.len()]),
        PreprocessingPlace::Archive => values.clone(),
    };
    let (mean, scale) = (values(&input.mean_values, 0.0), values(&input.scale_values, 1.0));
    let fed = match place {
        PreprocessingPlace::Model => input.encoding.to,
        PreprocessingPlace::Archive => input.encoding.from,
    };
    let preprocessing = if raw {
        match (place, source) {
            (PreprocessingPlace::Model, Some(source)) if source.input_type == InputType::Raw => {
                source.preprocessing.clone()
            }
            (PreprocessingPlace::Model, _) => Preprocessing::default(),
            (PreprocessingPlace::Archive, _) => Preprocessing { mean, scale, ..Preprocessing::default() },
        }
    } else {
        let interleaved = layout.as_ref().is_some_and(Layout::is_interleaved);
        Preprocessing {
            mean,
            scale,
            reverse_channels: Some(fed == Color::Rgb),
            interleaved_to_planar: Some(interleaved),
            dai_type: dai_type(fed, tensor.data_type, interleaved).map(|dai_type| dai_type.to_string()),
        }
    };
    Ok(Input {
        name: tensor.name.clone(),
        dtype: data_type(tensor)?,
        input_type,
        shape: tensor.shape.clone(),
        layout,
        preprocessing,
    })
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
fn layout(source: Option<(&Shape, &Layout)>, shape: &[u64]) -> Option<Layout> {
    source.and_then(|(old, layout)| layout.relabel(old, shape).ok()).or_else(|| Layout::default_for(shape).ok())
}

fn data_type(tensor: &CompiledTensor) -> Result<nn_archive::DataType, DescribeError> {
    let refused = || DescribeError::Type { name: tensor.name.clone(), data_type: tensor.data_type };
    tensor.data_type.archive().ok_or_else(refused)
}

/// Returns the configuration that an NN Archive stands for, whose model lies at `model`, and what was guessed.
///
/// The result has one stage; overrides address it in the flat form.
pub fn from_archive(document: &Document, model: &FileReference) -> (Tree, Vec<Note>) {
    let mut notes = Vec::new();
    let inputs = document.model.inputs.iter().map(|input| source_input(input, &mut notes)).collect();
    let outputs = document.model.outputs.iter().map(|output| {
        let mut keys = vec![entry("name", text(&output.name)), entry("data_type", text(output.dtype.as_str()))];
        if let Some(shape) = &output.shape {
            keys.push(entry("shape", sizes(shape)));
            keys.extend(output.layout.as_ref().map(|layout| entry("layout", text(layout.as_str()))));
        }
        said(Value::Map(keys))
    });
    let keys = vec![
        entry("name", text(&document.model.metadata.name)),
        entry("input_model", text(model.as_str())),
        entry("inputs", Value::List(inputs)),
        entry("outputs", Value::List(outputs.collect())),
    ];
    (said(Value::Map(keys)), notes)
}

fn source_input(input: &Input, notes: &mut Vec<Note>) -> Tree {
    let preprocessing = &input.preprocessing;
    let mut note = |line: String| notes.push(Note { origin: Origin::Archive, text: line });
    let (encoding, interleaved) = match (&preprocessing.dai_type, input.input_type) {
        (_, InputType::Raw) => (Encoding::same(Color::None), None),
        (Some(dai_type), InputType::Image) => {
            let encoding = match dai_type.get(..3) {
                Some("RGB") => Encoding::RGB_TO_BGR,
                Some("BGR") => Encoding::same(Color::Bgr),
                Some("GRA") => Encoding::same(Color::Gray),
                _ => {
                    note(format!("input `{}` has the unknown dai_type `{dai_type}`: it is taken for RGB", input.name));
                    Encoding::RGB_TO_BGR
                }
            };
            let interleaved = match dai_type.chars().last() {
                Some('i') => Some(true),
                Some('p') => Some(false),
                _ => None,
            };
            (encoding, interleaved)
        }
        (None, InputType::Image) => {
            if preprocessing.reverse_channels.or(preprocessing.interleaved_to_planar).is_some() {
                note(format!(
                    "`reverse_channels` and `interleaved_to_planar` of input `{}` are deprecated: say `dai_type`",
                    input.name
                ));
            }
            let encoding = match preprocessing.reverse_channels {
                Some(false) => Encoding::same(Color::Bgr),
                Some(true) | None => Encoding::RGB_TO_BGR,
            };
            (encoding, preprocessing.interleaved_to_planar)
        }
    };
    // A layout that is said and fits the shape is the truth; the frame type only tells where nothing is said.
    let layout = input.layout.clone().or_else(|| match (interleaved, input.shape.len()) {
        (Some(true), 4) => "NHWC".parse().ok(),
        (Some(false), 4) => "NCHW".parse().ok(),
        _ => Layout::default_for(&input.shape).ok(),
    });
    let channels = layout.as_ref().and_then(|layout| input.shape.get(layout.position('C')?));
    let encoding = if channels == Some(&1) && !encoding.is_raw() { Encoding::same(Color::Gray) } else { encoding };
    let colors = vec![entry("from", text(encoding.from.as_str())), entry("to", text(encoding.to.as_str()))];
    let mut keys = vec![
        entry("name", text(&input.name)),
        entry("shape", sizes(&input.shape)),
        entry("data_type", text(input.dtype.as_str())),
        entry("encoding", Value::Map(colors)),
    ];
    keys.extend(layout.map(|layout| entry("layout", text(layout.as_str()))));
    for (key, values) in [("mean_values", &preprocessing.mean), ("scale_values", &preprocessing.scale)] {
        if let Some(values) = values {
            keys.push(entry(key, Value::List(values.iter().map(|value| said(Value::Float(*value))).collect())));
        }
    }
    said(Value::Map(keys))
}

const fn said(value: Value) -> Tree {
    Tree::new(value, Origin::Archive)
}

fn entry(key: &str, value: Value) -> Entry {
    Entry { key: key.to_owned(), origin: Origin::Archive, value: said(value) }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn sizes(shape: &[u64]) -> Value {
    Value::List(shape.iter().map(|size| said(Value::Integer(i64::try_from(*size).unwrap_or(i64::MAX)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Dimension, ModelFacts, TensorFacts, read::read, resolve::resolve, yaml::parse};

    /// Resolves `yaml` for a model whose one input `x` has `shape`, and describes the result.
    fn described(yaml: &str, shape: &[u64], compiled: &[u64], fed: DataType, place: PreprocessingPlace) -> Input {
        let tensor = |name: &str, shape: &[u64]| TensorFacts {
            name: name.to_owned(),
            shape: Some(shape.iter().map(|size| Dimension::Fixed(*size)).collect()),
            data_type: Some(DataType::Float32),
        };
        let facts = ModelFacts {
            inputs: vec![tensor("x", shape)],
            outputs: vec![tensor("y", &[1, 4])],
            ..ModelFacts::default()
        };
        let tree = parse(&format!("input_model: m.onnx\n{yaml}\n"), "f.yaml").unwrap();
        let config = read(&tree).unwrap().config;
        let resolved = resolve(&config, &|_| Some(facts.clone())).unwrap().config;
        let compiled_tensor = |name: &str, shape: &[u64], data_type| CompiledTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            data_type,
        };
        let compiled = CompiledFacts {
            name: "m".to_owned(),
            path: "m.blob".to_owned(),
            precision: nn_archive::DataType::Float16,
            inputs: vec![compiled_tensor("x", compiled, fed)],
            outputs: vec![compiled_tensor("y", &[1, 4], DataType::Float16)],
        };
        let document = describe(&resolved.stages[0], &compiled, place, None).unwrap();
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
    fn an_archive_is_a_configuration() {
        let json = r#"{"config_version": "1.0", "model": {"metadata": {"name": "net", "path": "net.onnx"}, "inputs": [
            {"name": "a", "dtype": "float32", "input_type": "image", "shape": [1, 3, 8, 8], "layout": "NCHW",
             "preprocessing": {"mean": [1, 2, 3], "dai_type": "RGB888p"}},
            {"name": "b", "dtype": "float32", "input_type": "image", "shape": [1, 8, 8, 1],
             "preprocessing": {"interleaved_to_planar": true, "reverse_channels": false}},
            {"name": "c", "dtype": "int64", "input_type": "raw", "shape": [1, 5], "preprocessing": {}}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 4], "layout": "NC"}]}}"#;
        let document = Document::parse(json.as_bytes()).unwrap();
        let (tree, notes) = from_archive(&document, &FileReference::new("/inputs/net.onnx"));
        assert_eq!(notes.len(), 1);
        let config = read(&tree).unwrap().config;
        assert_eq!((config.name.as_str(), config.stages[0].name.as_str()), ("net", "net"));
        let encodings = config.stages[0].inputs.iter().map(|input| *input.settings.encoding.given().unwrap());
        let expected = [Encoding::RGB_TO_BGR, Encoding::same(Color::Gray), Encoding::same(Color::None)];
        assert_eq!(encodings.collect::<Vec<_>>(), expected);
        assert_eq!(config.stages[0].inputs[1].settings.layout.given().unwrap().as_str(), "NHWC");
    }
}
