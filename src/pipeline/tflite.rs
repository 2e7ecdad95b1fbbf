//! A TFLite model on its way: what it says of itself, and the ONNX model and stage that stand for it from then on.
//!
//! Configurations speak of the TFLite model: its shapes, its layouts. After [`translated`], the stage speaks of the ONNX
//! model, whose pictures have channels first.

use super::load::data_type;
use super::operate::OperateError;
use crate::config::{DataType, Dimension, ModelFacts, ResolvedInput, ResolvedStage, TensorFacts};
use crate::exchange::Rewriting;
use crate::nn_archive::Layout;
use crate::onnx;
use crate::tflite::{Model, Tensor, TensorId};
use crate::translation::{self, Order, Wanted, WantedInput};

/// A stage whose model was TFLite.
#[derive(Debug)]
pub struct Translated {
    /// The model in ONNX.
    pub model: onnx::Model,
    /// The stage in the terms of that model.
    pub stage: ResolvedStage,
    /// What was done.
    pub rewritings: Vec<Rewriting>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// Returns what a TFLite model says about its tensors.
pub fn facts(model: &Model) -> ModelFacts {
    let size = |size: &i64| u64::try_from(*size).map_or(Dimension::Dynamic(None), Dimension::Fixed);
    let tensor = |tensor: &Tensor| {
        let (data_type, foreign_type) = data_type(tensor.element);
        let shape = Some(tensor.signature.iter().map(size).collect());
        TensorFacts { name: tensor.name.clone(), shape, data_type, foreign_type }
    };
    let list = |ids: &mut dyn Iterator<Item = &TensorId>| ids.filter_map(|id| model.tensor(*id)).map(tensor).collect();
    let (inputs, outputs) = (model.inputs(), model.outputs());
    let mut inner = model.operators().iter().flat_map(|operator| &operator.outputs).filter(|id| !outputs.contains(id));
    ModelFacts {
        inputs: list(&mut inputs.iter()),
        outputs: list(&mut outputs.iter()),
        intermediates: list(&mut inner),
        has_fixed_sizes: true,
        ..ModelFacts::default()
    }
}

/// Translates what a stage wants of a TFLite model.
///
/// # Errors
/// The model has no translation.
pub fn translated(model: &Model, stage: &ResolvedStage) -> Result<Translated, OperateError> {
    let order = |input: &ResolvedInput| if has_channels_last(input) { Order::ChannelsFirst } else { Order::AsStored };
    let wanted_input = |input: &ResolvedInput| WantedInput {
        name: input.name.clone(),
        shape: input.shape.clone(),
        order: order(input),
    };
    let wanted = Wanted {
        inputs: stage.inputs.iter().map(wanted_input).collect(),
        outputs: stage.outputs.iter().map(|output| output.name.clone()).collect(),
    };
    let translation = translation::translate(model, &wanted).map_err(Box::new)?;

    let mut stage = stage.clone();
    let mut warnings = Vec::new();
    for input in &mut stage.inputs {
        let quantized = translation.quantized_inputs.iter().find(|quantized| quantized.name == input.name);
        if let Some(quantized) = quantized {
            if quantized.element == onnx::ElementType::Int8 && !input.encoding.is_raw() && input.mean_values.is_none() {
                warnings.push(format!(
                    "input `{0}` takes the integers of int8, -128 to 127; if it is fed bytes, 0 to 255, it needs \
                     `mean_values: 128`",
                    input.name
                ));
            }
            input.data_type = DataType::Float32;
        }
        if has_channels_last(input) {
            with_channels_first(input);
        }
    }
    for output in stage.outputs.iter_mut().filter(|output| translation.real_outputs.contains(&output.name)) {
        output.data_type = DataType::Float32;
    }
    let rewriting = |pass: &str, reason: &str, nodes: Vec<String>| Rewriting {
        pass: pass.to_owned(),
        reason: reason.to_owned(),
        nodes,
    };
    let file = stage.model.path.file_name().to_owned();
    let mut rewritings = vec![rewriting("tflite-to-onnx", "the vendor's tools do not read TFLite", vec![file])];
    if !translation.unrounded.is_empty() {
        let reason = "MyriadX computes with real numbers, so results are not rounded to the integers of the model";
        rewritings.push(rewriting("quantized-to-real", reason, translation.unrounded));
    }
    Ok(Translated { model: translation.model, stage, rewritings, warnings })
}

/// Returns whether an input is a picture whose last dimension is its channels.
fn has_channels_last(input: &ResolvedInput) -> bool {
    let is_picture = input.layout.is_picture() && !input.encoding.is_raw();
    is_picture && input.shape.len() == 4 && input.layout.is_interleaved()
}

fn with_channels_first(input: &mut ResolvedInput) {
    let mut letters: Vec<char> = input.layout.as_str().chars().collect();
    // Both have four, the last of which are the channels.
    letters.get_mut(1..).unwrap_or_default().rotate_right(1);
    input.shape.get_mut(1..).unwrap_or_default().rotate_right(1);
    if let Ok(layout) = letters.iter().collect::<String>().parse::<Layout>() {
        input.layout = layout;
    }
}
