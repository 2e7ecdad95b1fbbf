//! A TFLite model becomes an ONNX model that the vendor's tools can read.
//!
//! Owns what each TFLite operator means in ONNX, of the operator set that all tools here know. Pictures are computed with
//! channels before height and width, as ONNX wants them: a value remembers in which order it is held, operators that do
//! not care work in that order, and a transposition is written only where an operator needs the other one. Outputs have
//! the order of the TFLite model; inputs that are pictures have channels first if that is asked for.
//!
//! Quantized networks are computed with real numbers: constants become what they stand for, the rounding between layers
//! goes away, and the limits of the integers stay. An input of integers keeps its integers, an output of integers becomes the real numbers they stand for.

mod batches;
mod bits;
mod dilations;
mod elementwise;
mod indices;
mod layers;
mod network;
mod operators;
mod places;
mod quantized;
mod recurrent;
mod reductions;
mod scattered;
mod segments;
mod shapes;
mod slices;
mod spectra;
#[cfg(test)]
mod tests;
mod volumes;
mod windows;

use std::collections::HashSet;
use std::fmt;

use thiserror::Error;

use self::dilations::Dilations;
use self::elementwise::OF_TENSORFLOW;
use self::network::Network;
use crate::hint::Hint;
use crate::onnx::{ElementType, Model, OnnxError};
use crate::tflite::{self, Operator, TensorId, TfliteError};

/// How many operators an error names before it only counts them.
const NAMED: usize = 5;

/// What is wanted of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is fed.
    pub inputs: Vec<WantedInput>,
    /// What it computes.
    pub outputs: Vec<String>,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedInput {
    /// The tensor's name.
    pub name: String,
    /// Its shape, in the order of the TFLite model.
    pub shape: Vec<u64>,
    /// The order in which it is fed.
    pub order: Order,
}

/// The order of a value's dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// That of the TFLite model: a picture is batch, height, width, channels.
    AsStored,
    /// For values of four dimensions: batch, channels, height, width.
    ChannelsFirst,
}

/// A model in ONNX.
#[derive(Clone, Debug)]
pub struct Translation {
    /// The model.
    pub model: Model,
    /// The inputs that are fed integers which the model turns into the real numbers they stand for.
    pub quantized_inputs: Vec<QuantizedInput>,
    /// The operators whose results were rounded to integers and no longer are, as people see them.
    pub unrounded: Vec<String>,
    /// The outputs that had integers and now have the real numbers they stand for.
    pub real_outputs: Vec<String>,
}

/// An input of integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantizedInput {
    /// Its name.
    pub name: String,
    /// The type of its integers.
    pub element: ElementType,
}

/// An operator that has no translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the model.
    pub place: usize,
    /// Its name.
    pub operator: String,
    /// The first tensor that it computes.
    pub tensor: String,
    /// Why not.
    pub reason: String,
    /// What it reads that others compute.
    pub reads: Vec<String>,
    /// Whether the model brings the operator itself.
    pub is_custom: bool,
}

/// Prints ``operator 3, SVDF (`scores`): keeps a state between runs``.
impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "operator {}, {} (`{}`): {}", self.place, self.operator, self.tensor, self.reason)
    }
}

/// A model that has no translation.
#[derive(Debug, Error)]
pub enum TranslationError {
    /// Operators that have none.
    #[error("the TFLite model cannot be translated: {}", listed(.0))]
    Operators(Vec<Refusal>),
    /// A name that no tensor has.
    #[error("the TFLite model has no tensor `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A shape that the model does not have.
    #[error("input `{name}` of the TFLite model has the shape {shape:?}, not {wanted:?}")]
    Shape {
        /// The input.
        name: String,
        /// Its shape.
        shape: Vec<i64>,
        /// What was asked for.
        wanted: Vec<u64>,
    },
    /// An output that depends on an input which is not there.
    #[error("output `{output}` needs `{tensor}`, which is neither among the inputs nor computed from them")]
    Unreached {
        /// The output.
        output: String,
        /// What is missing.
        tensor: String,
    },
    /// The model is broken.
    #[error(transparent)]
    Model(#[from] TfliteError),
    /// The result contradicts itself: a defect of the translation.
    #[error("the translation of the TFLite model is not valid")]
    Result(#[source] OnnxError),
}

fn listed(refusals: &[Refusal]) -> String {
    let mut text: Vec<String> = refusals.iter().take(NAMED).map(Refusal::to_string).collect();
    if refusals.len() > NAMED {
        text.push(format!("and {} more", refusals.len() - NAMED));
    }
    text.join("; ")
}

impl Hint for TranslationError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Operators(refusals) => advice(refusals),
            Self::Shape { .. } => vec!["convert the model to TFLite again with this shape".to_owned()],
            Self::Model(error) => error.hints(),
            Self::Unknown { .. } | Self::Unreached { .. } | Self::Result(_) => Vec::new(),
        }
    }
}

fn advice(refusals: &[Refusal]) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(first) = refusals.first().filter(|refusal| !refusal.reads.is_empty()) {
        let entries: Vec<String> = first.reads.iter().map(|name| format!("{{name: \"{name}\"}}")).collect();
        let outputs = entries.join(", ");
        advice.push(format!("end the network before {}: `outputs: [{outputs}]`", first.operator));
    }
    let is_of_tensorflow = |refusal: &Refusal| refusal.is_custom && refusal.operator.starts_with(OF_TENSORFLOW);
    if refusals.iter().any(is_of_tensorflow) {
        advice.push("convert the model to TFLite without `SELECT_TF_OPS`, with layers that TFLite has".to_owned());
    }
    if refusals.iter().any(|refusal| refusal.is_custom && !is_of_tensorflow(refusal)) {
        advice.push("leave post-processing out when the model is converted to TFLite".to_owned());
    }
    advice.push("or export the model to ONNX from where it was trained".to_owned());
    advice
}

/// Translates what is wanted of a model.
///
/// # Errors
/// Something that is wanted does not exist, or needs an operator that has no translation.
pub fn translate(model: &tflite::Model, wanted: &Wanted) -> Result<Translation, TranslationError> {
    let shapes = wanted.inputs.iter().filter_map(|input| {
        let shape = input.shape.iter().map(|size| i64::try_from(*size).ok()).collect::<Option<Vec<i64>>>();
        Some((model.find(&input.name)?, shape?))
    });
    let model = &model.written_out(&shapes.collect::<Vec<_>>())?;
    let find = |name: &String| model.find(name).ok_or_else(|| TranslationError::Unknown { name: name.clone() });
    let outputs = wanted.outputs.iter().map(find).collect::<Result<Vec<TensorId>, _>>()?;
    let mut network = Network::new(model, &outputs);
    let mut quantized_inputs = Vec::new();
    for input in &wanted.inputs {
        let id = find(&input.name)?;
        let Some(tensor) = model.tensor(id) else { continue };
        if !tensor.shape.iter().map(|size| u64::try_from(*size)).eq(input.shape.iter().map(|size| Ok(*size))) {
            let (shape, wanted) = (tensor.shape.clone(), input.shape.clone());
            return Err(TranslationError::Shape { name: input.name.clone(), shape, wanted });
        }
        let order = if tensor.shape.len() == 4 { input.order } else { Order::AsStored };
        network.feed(id, order);
        if let (Some(_), Some(element)) = (&tensor.quantization, tensor.element) {
            quantized_inputs.push(QuantizedInput { name: input.name.clone(), element });
        }
    }
    let is_quantized = |id: &TensorId| model.tensor(*id).is_some_and(|tensor| tensor.quantization.is_some());
    let needed = needed(model, &network, &outputs)?;
    let dilations = Dilations::find(model, &network);
    let mut refusals = Vec::new();
    let mut unrounded = Vec::new();
    let is_written = |(place, _): &(usize, &Operator)| needed.contains(place) && !dilations.absorb(*place);
    for (place, operator) in model.operators().iter().enumerate().filter(is_written) {
        if operator.name == "FAKE_QUANT" || operator.outputs.iter().any(is_quantized) {
            unrounded.extend(label(model, operator).map(|tensor| format!("{} `{tensor}`", operator.name)));
        }
        let (dilated, before) = (dilations.at(place), network.written());
        let written = match dilated {
            Some(_) => layers::convolution(&mut network, operator, dilated),
            None => operators::translate(&mut network, operator),
        };
        match written {
            // The limits of a convolution in batches are those of what its surroundings make of it.
            Ok(()) => operator
                .outputs
                .iter()
                .copied()
                .chain(dilated.map(|dilated| dilated.to))
                .for_each(|id| network.limit(id, before)),
            Err(Trouble::Model(error)) => return Err(error.into()),
            Err(Trouble::Refused(reason)) => {
                refusals.push(refusal(model, place, operator, reason));
                let lost = operator.outputs.iter().copied().chain(dilated.map(|dilated| dilated.to));
                lost.for_each(|id| network.give_up(id));
            }
        }
    }
    if !refusals.is_empty() {
        return Err(TranslationError::Operators(refusals));
    }
    let real_outputs = outputs.iter().filter(|id| is_quantized(id));
    let real_outputs = real_outputs.filter_map(|id| Some(model.tensor(*id)?.name.clone())).collect();
    let model = network.finish(&outputs)?;
    Ok(Translation { model, quantized_inputs, unrounded, real_outputs })
}

/// Why an operator was not translated.
enum Trouble {
    /// There is no translation.
    Refused(String),
    /// The model is broken.
    Model(TfliteError),
}

impl From<TfliteError> for Trouble {
    fn from(error: TfliteError) -> Self {
        Self::Model(error)
    }
}

fn refused(reason: impl Into<String>) -> Trouble {
    Trouble::Refused(reason.into())
}

fn label<'model>(model: &'model tflite::Model, operator: &Operator) -> Option<&'model str> {
    operator.outputs.first().and_then(|id| model.tensor(*id)).map(|tensor| tensor.name.as_str())
}

fn refusal(model: &tflite::Model, place: usize, operator: &Operator, reason: String) -> Refusal {
    // What is computed from constants alone is no place to end a network.
    let mut varying: HashSet<TensorId> = model.inputs().iter().copied().collect();
    for operator in model.operators() {
        if operator.inputs.iter().flatten().any(|id| varying.contains(id)) {
            varying.extend(&operator.outputs);
        }
    }
    let reads = operator.inputs.iter().flatten().filter(|id| varying.contains(id) && !model.inputs().contains(id));
    let reads = reads.filter_map(|id| model.tensor(*id)).map(|tensor| tensor.name.clone()).collect();
    let tensor = label(model, operator).unwrap_or_default().to_owned();
    Refusal { place, operator: operator.name.clone(), tensor, reason, reads, is_custom: operator.is_custom }
}

/// Returns the places of the operators that the outputs need, with the inputs that are fed.
fn needed(
    model: &tflite::Model,
    network: &Network<'_>,
    outputs: &[TensorId],
) -> Result<HashSet<usize>, TranslationError> {
    let mut makers = vec![None; model.tensors().count()];
    for (place, operator) in model.operators().iter().enumerate() {
        for id in &operator.outputs {
            if let Some(maker) = makers.get_mut(*id) {
                *maker = Some(place);
            }
        }
    }
    let mut needed = HashSet::new();
    for output in outputs {
        let mut waiting = vec![*output];
        while let Some(id) = waiting.pop() {
            let Some(tensor) = model.tensor(id).filter(|_| !network.is_fed(id)) else { continue };
            match makers.get(id).copied().flatten() {
                Some(place) if needed.insert(place) => {
                    waiting.extend(model.operators().get(place).into_iter().flat_map(operators::reads));
                }
                Some(_) => {}
                None if model.inputs().contains(&id) => {
                    let output = model.tensor(*output).map_or_else(String::new, |output| output.name.clone());
                    return Err(TranslationError::Unreached { output, tensor: tensor.name.clone() });
                }
                None => {}
            }
        }
    }
    Ok(needed)
}
