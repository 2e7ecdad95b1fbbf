//! One stage whose network is run, for a proof or for what other stages are calibrated with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::load::LoadedModel;
use super::operate::{self, OperateError, Original};
use crate::config::{PreprocessingPlace, ResolvedInput, ResolvedStage};
use crate::invocation::proof::{Feed, NEWEST};
use crate::onnx::proto::NodeProto;
use crate::onnx::{self, Attributes, Model};
use crate::surgery::{self, SurgeryError};

/// A stage whose network is run.
pub struct Subject<'run> {
    /// The stage in the terms of its ONNX model.
    pub stage: &'run ResolvedStage,
    /// The same in the terms of the model as the user gave it, as its calibration data is.
    pub given: &'run ResolvedStage,
    /// Its model as the user gave it.
    pub loaded: &'run LoadedModel,
    /// Where mean, scale and colours are applied.
    pub preprocessing: PreprocessingPlace,
    /// The folder with all networks of the stage.
    pub folder: &'run Path,
}

/// The original as ONNX Runtime runs it.
pub(super) struct Measure {
    pub path: PathBuf,
    pub outputs: Vec<String>,
    /// Whether it computes averages by the standard that ONNX Runtime computes otherwise.
    pub averages_by_the_standard: bool,
}

impl Subject<'_> {
    /// Decides what the inputs are fed; an IR, which is no `model`, says nothing of their elements.
    pub(super) fn feeds(&self, model: Option<&Model>) -> Vec<Feed> {
        let feed = |(input, given): (&ResolvedInput, &ResolvedInput)| {
            let element = model.and_then(|model| model.value(&input.name)).and_then(|value| value.element());
            Feed::new(input, element, self.preprocessing).with_samples_in(&given.layout, input)
        };
        std::iter::zip(&self.stage.inputs, &self.given.inputs).map(feed).collect()
    }

    /// Returns the names of the outputs.
    pub(super) fn outputs(&self) -> Vec<String> {
        self.stage.outputs.iter().map(|output| output.name.clone()).collect()
    }

    /// Returns the original's file and outputs. Inputs and outputs inside the model are made its own in a copy, and so are
    /// sizes and versions that it states otherwise, averages that ONNX Runtime computes otherwise than the standard, and
    /// products of integers that it does not compute exactly on every processor.
    ///
    /// # Errors
    /// The model cannot be cut to them, or the copy cannot be written.
    pub(super) fn measure(&self, original: &Original) -> Result<Measure, Box<OperateError>> {
        let (wanted, model) = (self.outputs(), &original.model);
        let of = |path, outputs| Measure { path, outputs, averages_by_the_standard: false };
        let is_resized = onnx::is_resized(model, &self.sizes());
        if is_resized || model.graph().node.iter().any(counts_padding) {
            let (bound, averages_by_the_standard) = self.bound_model(original)?;
            if is_resized || averages_by_the_standard {
                return Ok(Measure { averages_by_the_standard, ..of(self.save(&bound, original)?, wanted) });
            }
        }
        let has = |values: &[onnx::Value], wanted: &[String]| {
            wanted.iter().all(|name| values.iter().any(|value| value.name == *name))
        };
        let is_own = has(&model.inputs(), &self.fed()) && has(&model.outputs(), &wanted);
        let (model, is_newer) = onnx::restate_versions(model.clone(), NEWEST);
        let (model, products) = surgery::exact_products(model).map_err(unwritten)?;
        if is_own && !is_newer && products.is_empty() {
            return Ok(of(original.path.clone(), wanted));
        }
        let cut = if is_own { model } else { self.cut(&model)? };
        let outputs = cut.outputs().into_iter().map(|output| output.name).collect();
        Ok(of(self.save(&cut, original)?, outputs))
    }

    /// Writes a copy of the original in which the sizes of inputs are those of the stage.
    ///
    /// # Errors
    /// The model cannot be cut, an input cannot have its shape, or the copy cannot be written.
    pub(super) fn bound(&self, original: &Original) -> Result<PathBuf, Box<OperateError>> {
        self.save(&self.bound_model(original)?.0, original)
    }

    /// Writes a copy of the original that computes in single precision where the original does in double precision, with
    /// the sizes of [`Self::bound`]; `None` if there is no such place.
    ///
    /// # Errors
    /// The model cannot be cut or rewritten, an input cannot have its shape, or the copy cannot be written.
    pub(super) fn in_single_precision(&self, original: &Original) -> Result<Option<PathBuf>, Box<OperateError>> {
        let (model, operations) = surgery::in_single_precision(self.bound_model(original)?.0).map_err(unwritten)?;
        if operations.is_empty() {
            return Ok(None);
        }
        self.save(&model, original).map(Some)
    }

    /// Returns the original with the sizes of the stage, with exact products and with averages by the standard, and whether
    /// ONNX Runtime computes some of those otherwise.
    fn bound_model(&self, original: &Original) -> Result<(Model, bool), Box<OperateError>> {
        let (model, _) = onnx::restate_versions(original.model.clone(), NEWEST);
        let cut = self.cut(&model)?;
        let mut shapes = self.sizes();
        shapes.retain(|name, _| cut.inputs().iter().any(|input| input.name == *name));
        let bound = onnx::bind_shapes(&cut, &shapes).map_err(|error| Box::new(OperateError::Bind(Box::new(error))))?;
        let (model, _) = surgery::exact_products(onnx::restate_shapes(bound).0).map_err(unwritten)?;
        let (model, operations) = surgery::averages_by_the_standard(model).map_err(unwritten)?;
        Ok((model, !operations.is_empty()))
    }

    fn sizes(&self) -> BTreeMap<String, Vec<i64>> {
        let sizes = |shape: &[u64]| shape.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
        self.stage.inputs.iter().map(|input| (input.name.clone(), sizes(&input.shape))).collect()
    }

    fn fed(&self) -> Vec<String> {
        self.stage.inputs.iter().map(|input| input.name.clone()).collect()
    }

    fn cut(&self, model: &Model) -> Result<Model, Box<OperateError>> {
        let cannot = |error| Box::new(OperateError::Select(Box::new(error)));
        let cut = onnx::select_outputs(model, &self.outputs()).map_err(cannot)?;
        // Outputs that were chosen may leave inputs without a part.
        let mut inner = self.fed();
        inner.retain(|name| model.inputs().iter().all(|input| input.name != *name));
        onnx::select_inputs(&cut, &inner).map_err(cannot)
    }

    /// Writes a copy beside the original, where tensors outside the file are found.
    fn save(&self, model: &Model, original: &Original) -> Result<PathBuf, Box<OperateError>> {
        let path = original.path.with_file_name(format!("{}-original.onnx", self.loaded.name));
        operate::save(model, &path, onnx::MAX_MODEL_BYTES)?;
        Ok(path)
    }
}

fn unwritten(error: SurgeryError) -> Box<OperateError> {
    Box::new(OperateError::Surgery(Box::new(error)))
}

/// Whether a node averages windows of which some may be incomplete, padding included.
fn counts_padding(node: &NodeProto) -> bool {
    let is_set = |name| Attributes(node).int(name) == Some(1);
    node.op_type() == "AveragePool" && is_set("ceil_mode") && is_set("count_include_pad")
}
