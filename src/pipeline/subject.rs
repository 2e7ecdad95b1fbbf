//! One stage whose network is run, for a proof or for what other stages are calibrated with.

use std::path::{Path, PathBuf};

use super::load::LoadedModel;
use super::operate::{self, OperateError, Original};
use crate::config::{PreprocessingPlace, ResolvedInput, ResolvedStage};
use crate::invocation::proof::Feed;
use crate::onnx::{self, Model};

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

    /// Returns the original's file and outputs; in a copy, inputs and outputs inside the model are made its own, and sizes
    /// that have names only are those of the stage.
    ///
    /// # Errors
    /// The model cannot be cut to them, or the copy cannot be written.
    pub(super) fn measure(&self, original: &Original) -> Result<(PathBuf, Vec<String>), Box<OperateError>> {
        let Original { model, path: source } = original;
        let wanted = self.outputs();
        let fed: Vec<String> = self.stage.inputs.iter().map(|input| input.name.clone()).collect();
        let has = |values: &[onnx::Value], wanted: &[String]| {
            wanted.iter().all(|name| values.iter().any(|value| value.name == *name))
        };
        let is_static = model.inputs().iter().all(|input| input.shape().is_some_and(|shape| shape.known().is_some()));
        if has(&model.inputs(), &fed) && has(&model.outputs(), &wanted) && is_static {
            return Ok((source.clone(), wanted));
        }
        let cannot = |error| Box::new(OperateError::Select(Box::new(error)));
        let cut = onnx::select_outputs(model, &wanted).map_err(cannot)?;
        let cut = onnx::select_inputs(&cut, &fed).map_err(cannot)?;
        // ONNX Runtime infers less, and sometimes wrongly, where sizes have names only.
        let is_input = |name: &String| cut.inputs().iter().any(|input| input.name == *name);
        let sizes = |shape: &[u64]| shape.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
        let inputs = self.stage.inputs.iter().filter(|input| is_input(&input.name));
        let shapes = inputs.map(|input| (input.name.clone(), sizes(&input.shape))).collect();
        let cut = onnx::bind_shapes(&cut, &shapes).map_err(|error| Box::new(OperateError::Bind(Box::new(error))))?;
        let (cut, _) = onnx::restate_shapes(cut);
        // Beside the source, where tensors outside the file are found.
        let path = source.with_file_name(format!("{}-original.onnx", self.loaded.name));
        operate::save(&cut, &path, onnx::MAX_MODEL_BYTES)?;
        Ok((path, cut.outputs().into_iter().map(|output| output.name).collect()))
    }
}
