//! The two names of ONNX's own domain.

use super::{Pass, PassError};
use crate::onnx::{Known, Patch, is_onnx_domain};

/// Writes ONNX's own domain as the empty text on nodes that spell it out as `ai.onnx`.
#[derive(Clone, Copy, Debug)]
pub struct PlainDomain;

impl Pass for PlainDomain {
    fn name(&self) -> &'static str {
        "plain-onnx-domain"
    }

    fn reason(&self) -> &'static str {
        "the ONNX importer of OpenVINO knows the domain `ai.onnx` by its empty name only"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let mut patch = Patch::default();
        for (place, node) in model.graph().node.iter().enumerate() {
            if is_onnx_domain(node.domain()) && !node.domain().is_empty() {
                let mut plain = node.clone();
                plain.domain = None;
                patch.replace(place, vec![plain]);
            }
        }
        Ok(Some(patch))
    }
}
