//! Rewriting models into what the vendor tools of one version can read, without changing what they compute.
//!
//! Owns the decision what to change and why. A [`Pass`] looks at a model and returns a [`Patch`]; it never changes the
//! model itself. [`operate`] applies passes in order until none has anything left to do, and reports what each did.
//! Whether the vendor tools can take the result is asked in [`support`].

mod build;
mod copied_views;
mod dead_code;
mod draft;
#[cfg(test)]
mod evaluate;
mod fold;
mod hard_sigmoid;
mod initializer_inputs;
mod inline;
mod no_ops;
mod lower;
mod named_outputs;
mod onnx_domain;
pub mod optimize;
mod preprocessing;
mod sequences;
pub mod support;
mod unsigned_weights;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::copied_views::CopiedViews;
pub use self::dead_code::DeadCode;
pub use self::fold::FoldConstants;
pub use self::hard_sigmoid::LowerHardSigmoid;
pub use self::initializer_inputs::FreeInitializers;
pub use self::inline::{ChooseBranches, InlineBranches, InlineFunctions, UnrollLoops, UnusedDomains};
pub use self::lower::{
    Lowering, OldForms, Quantization, RuntimeLowering, SinglePrecision, TruthOutputs, Unquantize,
    UnquantizeDynamically, WholeNumberInputs, quantized_outputs,
};
pub use self::named_outputs::NamedOutputs;
pub use self::no_ops::RemoveNoOps;
pub use self::onnx_domain::PlainDomain;
pub use self::preprocessing::{InputPreprocessing, Preprocess, PreprocessingError};
pub use self::unsigned_weights::UnsignedWeights;

use crate::hint::Hint;
use crate::onnx::{Known, Model, NodeLabel, Patch, PatchError, TensorError};

/// How often the list of passes is gone through before it is an error that there is still something to do. Passes that
/// enable each other need a round per link; no chain of ours is nearly as long.
const MAX_ROUNDS: usize = 32;

/// One kind of rewriting.
pub trait Pass {
    /// Returns the name of the pass, for reports.
    fn name(&self) -> &'static str;

    /// Returns why the rewriting is done, as one sentence without final period.
    fn reason(&self) -> &'static str;

    /// Returns whether the pass runs again after it has changed something.
    fn repetition(&self) -> Repetition {
        Repetition::UntilStable
    }

    /// Returns what to change, or `None` if there is nothing to do.
    ///
    /// # Errors
    /// Something would have to be changed, but cannot.
    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError>;
}

/// How often a pass runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// In every round; its own result leaves it nothing to do.
    UntilStable,
    /// In the first round only; it adds something that it would add again.
    Once,
}

/// A pass that met something it cannot rewrite.
#[derive(Debug, Error)]
pub enum PassError {
    /// The element type of a value does not follow from the model.
    #[error("the element type of `{value}`, which {node} reads, is not known")]
    UnknownElementType {
        /// The reader.
        node: NodeLabel,
        /// The value's name.
        value: String,
    },
    /// A constant cannot be made.
    #[error("a constant for {node} cannot be made")]
    Constant {
        /// The node that needs it.
        node: NodeLabel,
        /// Why not.
        #[source]
        source: TensorError,
    },
    /// A function calls itself, directly or by way of others.
    #[error("the function `{function}` of the model calls itself, so it never ends")]
    RecursiveFunction {
        /// The function, with its domain.
        function: String,
    },
    /// Functions call functions too deeply.
    #[error("calls of functions of the model nest more than {limit} levels deep, down to `{function}`")]
    DeepFunctions {
        /// The function at which it became too much, with its domain.
        function: String,
        /// The most levels.
        limit: usize,
    },
    /// A loop or function is too long to be written out.
    #[error("{node} would become more than {limit} nodes")]
    TooManyNodes {
        /// The node.
        node: NodeLabel,
        /// The most nodes.
        limit: usize,
    },
    /// What should be done to an input cannot be done.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
}

/// A model that could not be rewritten.
#[derive(Debug, Error)]
pub enum SurgeryError {
    /// A pass failed.
    #[error("the model cannot be rewritten by `{pass}`")]
    Pass {
        /// The pass.
        pass: &'static str,
        /// Why not.
        #[source]
        source: PassError,
    },
    /// A pass made a patch that does not fit: a defect of the pass.
    #[error("`{pass}` made an invalid change")]
    Patch {
        /// The pass.
        pass: &'static str,
        /// What is wrong.
        #[source]
        source: PatchError,
    },
    /// The passes keep undoing each other: a defect of the passes.
    #[error("the passes do not come to an end; after {rounds} rounds `{pass}` still changes the model")]
    NoFixedPoint {
        /// A pass that still changes something.
        pass: &'static str,
        /// How many rounds were made.
        rounds: usize,
    },
}

impl Hint for SurgeryError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Pass { source: PassError::Preprocessing(source), .. } => source.hints(),
            Self::Pass { source: PassError::UnknownElementType { .. }, .. } => {
                vec!["run ONNX shape inference on the model, so that it states the types of its values".into()]
            }
            _ => Vec::new(),
        }
    }
}

/// The rewritings that every ONNX model gets first, in order, because what they are rid of hides the network from all others:
/// functions, branches, loops, constants that are computed.
pub fn plain_passes() -> [&'static dyn Pass; 7] {
    [&FreeInitializers, &PlainDomain, &InlineFunctions, &InlineBranches, &ChooseBranches, &UnrollLoops, &FoldConstants]
}

/// The rewritings that an ONNX model for MyriadX gets after its control flow is written out, in order.
pub fn myriad_passes<'passes>() -> Vec<&'passes dyn Pass> {
    let mut passes: Vec<&dyn Pass> = vec![&SinglePrecision];
    passes.extend(lower::RUNTIME.iter().map(|lowering| lowering as &dyn Pass));
    passes.push(&UnquantizeDynamically);
    passes.extend(lower::QUANTIZED.iter().map(|lowering| lowering as &dyn Pass));
    passes.push(&Unquantize);
    passes.extend(lower::SMALL.iter().map(|lowering| lowering as &dyn Pass));
    passes.extend(lower::MYRIAD.iter().map(|lowering| lowering as &dyn Pass));
    passes.extend([
        &LowerHardSigmoid as &dyn Pass,
        &CopiedViews,
        &WholeNumberInputs,
        &TruthOutputs,
        &NamedOutputs,
        &OldForms::Importer,
    ]);
    passes
}

/// Writes a model that the importer reads in the forms that the Model Optimizer reads, as far as that can be.
///
/// # Errors
/// A constant cannot be made.
pub fn for_optimizer(model: Model) -> Result<(Model, Vec<Operation>), SurgeryError> {
    operate(model, &[&OldForms::Optimizer])
}

/// Writes a model so that it computes in single precision where it does in double precision.
///
/// # Errors
/// A constant cannot be made.
pub fn in_single_precision(model: Model) -> Result<(Model, Vec<Operation>), SurgeryError> {
    operate(model, &[&SinglePrecision])
}

/// Writes the averages of a model by the standard that ONNX Runtime 1.19 computes otherwise (ONNX `AveragePool`: what lies
/// behind the padding does not count).
///
/// # Errors
/// A constant cannot be made.
pub fn averages_by_the_standard(model: Model) -> Result<(Model, Vec<Operation>), SurgeryError> {
    operate(model, &[&lower::AVERAGES])
}

/// Writes a model so that ONNX Runtime multiplies its integers exactly on every processor.
///
/// # Errors
/// A constant cannot be made.
pub fn exact_products(model: Model) -> Result<(Model, Vec<Operation>), SurgeryError> {
    operate(model, &[&UnsignedWeights])
}

/// Returns whether a pass leaves out that values are rounded to integers, so that results differ by steps of that.
pub fn leaves_rounding_out(pass: &str) -> bool {
    [Unquantize.name(), UnquantizeDynamically.name(), lower::UNROUNDED].contains(&pass)
}

/// What one application of a pass changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The name of the pass.
    pub pass: String,
    /// Why it was done.
    pub reason: String,
    /// The nodes that are gone, as people see them.
    pub removed_nodes: Vec<String>,
    /// The nodes that are new, as people see them.
    pub added_nodes: Vec<String>,
    /// The inputs that are gone: constants that were listed as inputs.
    pub removed_inputs: Vec<String>,
    /// How many constants are gone.
    pub removed_constants: usize,
    /// What outputs and readers take instead of what they took: old name, new name.
    pub rewired: Vec<(String, String)>,
}

/// Applies passes in order, again and again, until none has anything to do.
///
/// # Errors
/// A pass fails, or the passes do not come to an end.
pub fn operate(mut model: Model, passes: &[&dyn Pass]) -> Result<(Model, Vec<Operation>), SurgeryError> {
    let mut operations = Vec::new();
    // For each pass, how many changes the model had when the pass found nothing to do: it would find nothing again.
    let mut idle_at = vec![None; passes.len()];
    for round in 0..=MAX_ROUNDS {
        let mut changed = None;
        let mut due = passes.iter().zip(&mut idle_at);
        let mut due = due.by_ref().filter(|(pass, _)| round == 0 || pass.repetition() == Repetition::UntilStable);
        while let Some((pass, patch)) = next_change(&mut due, &Known::of(&model), operations.len())? {
            operations.push(describe(pass, &patch, &model));
            model = patch.apply(model).map_err(|source| SurgeryError::Patch { pass: pass.name(), source })?;
            changed = Some(pass.name());
        }
        match changed {
            None => break,
            Some(pass) if round == MAX_ROUNDS => return Err(SurgeryError::NoFixedPoint { pass, rounds: MAX_ROUNDS }),
            Some(_) => {}
        }
    }
    Ok((model, operations))
}

/// Goes through passes, each with the number of changes at which it found nothing to do, until one finds something after
/// so many `changes`.
fn next_change<'passes, 'model>(
    due: &mut dyn Iterator<Item = (&&'passes dyn Pass, &mut Option<usize>)>,
    model: &'model Known<'model>,
    changes: usize,
) -> Result<Option<(&'passes dyn Pass, Patch)>, SurgeryError> {
    for (pass, idle_at) in due.filter(|(_, idle_at)| **idle_at != Some(changes)) {
        let patch = pass.apply(model).map_err(|source| SurgeryError::Pass { pass: pass.name(), source })?;
        *idle_at = Some(changes);
        if let Some(patch) = patch.filter(|patch| !patch.is_empty()) {
            return Ok(Some((*pass, patch)));
        }
    }
    Ok(None)
}

fn describe(pass: &dyn Pass, patch: &Patch, model: &Model) -> Operation {
    let texts = |labels: Vec<NodeLabel>| labels.iter().map(NodeLabel::to_string).collect();
    Operation {
        pass: pass.name().to_owned(),
        reason: pass.reason().to_owned(),
        removed_nodes: texts(patch.removed_labels(model)),
        added_nodes: texts(patch.inserted_labels()),
        removed_inputs: patch.removed_inputs.iter().cloned().collect(),
        removed_constants: patch.removed_initializers.len(),
        rewired: patch.rewired.iter().map(|(old, new)| (old.clone(), new.clone())).collect(),
    }
}

#[cfg(test)]
mod tests;
