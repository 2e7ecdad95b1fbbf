//! Constants that are listed as inputs.

use super::{Pass, PassError};
use crate::onnx::{Known, Patch};

/// Removes from the inputs what initializers give a value. Files of IR version 3 had to list them.
#[derive(Clone, Copy, Debug)]
pub struct FreeInitializers;

impl Pass for FreeInitializers {
    fn name(&self) -> &'static str {
        "initializers-are-no-inputs"
    }

    fn reason(&self) -> &'static str {
        "a constant that is also an input would be compiled as an input"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let real = model.inputs();
        let is_real = |name: &str| real.iter().any(|input| input.name == name);
        let inputs = model.graph().input.iter().map(|input| input.name());
        let removed_inputs = inputs.filter(|name| !is_real(name)).map(str::to_owned).collect();
        Ok(Some(Patch { removed_inputs, ..Patch::default() }))
    }
}
