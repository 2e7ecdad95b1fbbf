//! Double precision inside of a network.
//!
//! The importer reads it, and the compiler refuses it. The device computes with halves, so single precision loses nothing
//! there. What is computed of constants alone has been computed before, in double precision.

use std::collections::BTreeMap;

use super::super::build::integer;
use super::super::{Pass, PassError};
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::{
    ElementType, Facts, FreshNames, Known, Model, Patch, Reads, floats, is_onnx_domain, read_floats, subgraphs,
};

/// Computes in single precision what a network computes in double precision. What it is fed and what it gives out keep
/// their types.
#[derive(Clone, Copy, Debug)]
pub struct SinglePrecision;

impl Pass for SinglePrecision {
    fn name(&self) -> &'static str {
        "double-precision-as-single"
    }

    fn reason(&self) -> &'static str {
        "the MYRIAD compiler refuses double precision, and the device computes with halves"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let nodes = &model.graph().node;
        // Nested graphs, and operators that are not ONNX's own, may want the precision that they are given.
        if nodes.iter().any(|node| subgraphs(node).next().is_some()) {
            return Ok(None);
        }
        let (facts, reads) = (model.facts(), model.reads());
        let mut restating = Restating { model, facts, reads, names: FreshNames::of(model), singles: BTreeMap::new() };
        let mut patch = Patch::default();
        for (place, node) in nodes.iter().enumerate() {
            if !restating.is_double(node) {
                continue;
            }
            let is_own = is_onnx_domain(node.domain());
            let Some(written) = is_own.then(|| restating.restated(node, &mut patch)).flatten() else {
                return Ok(None);
            };
            patch.replace(place, written);
        }
        Ok(Some(patch).filter(|patch| !patch.is_empty()))
    }
}

struct Restating<'model> {
    model: &'model Model,
    facts: &'model Facts<'model>,
    reads: &'model Reads<'model>,
    names: FreshNames<'model>,
    /// Values of double precision, and what they are in single precision.
    singles: BTreeMap<&'model str, String>,
}

impl<'model> Restating<'model> {
    fn has_double(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.facts.element(name) == Some(ElementType::Float64))
    }

    /// Whether a node computes in double precision: not if it only converts what the network is fed or gives out.
    fn is_double(&self, node: &NodeProto) -> bool {
        let (reads, writes) = (self.has_double(&node.input), self.has_double(&node.output));
        let is_first = || !writes && node.input.iter().all(|name| self.model.is_fed(name));
        let is_last = || !reads && node.output.iter().all(|name| self.reads.readers(name).is_empty());
        let is_edge = node.op_type() == "Cast" && (is_first() || is_last());
        (reads || writes) && !is_edge && node.op_type() != "Constant"
    }

    /// Writes a node in single precision, with what it needs before and behind it; `None` if a constant would be lost.
    fn restated(&mut self, node: &'model NodeProto, patch: &mut Patch) -> Option<Vec<NodeProto>> {
        let mut single = node.clone();
        let mut written = Vec::new();
        for (input, name) in single.input.iter_mut().zip(&node.input) {
            if self.facts.element(name) != Some(ElementType::Float64) {
                continue;
            }
            if !self.singles.contains_key(name.as_str()) {
                let made = self.names.make(&format!("{name}/single"));
                match self.facts.constant(name) {
                    Some(tensor) => patch.added_initializers.push(in_single(&made, tensor)?),
                    // Only what the network is fed is not computed by a node before this one.
                    None => written.push(cast(name, &made, ElementType::Float32)),
                }
                self.singles.insert(name, made);
            }
            self.singles.get(name.as_str())?.clone_into(input);
        }
        let mut behind = Vec::new();
        for (output, name) in single.output.iter_mut().zip(&node.output) {
            if self.facts.element(name) != Some(ElementType::Float64) {
                continue;
            }
            let made = self.names.make(&format!("{name}/single"));
            if self.reads.is_output(name) {
                behind.push(cast(&made, name, ElementType::Float64));
            }
            made.clone_into(output);
            self.singles.insert(name, made);
        }
        for attribute in &mut single.attribute {
            match attribute.name() {
                "dtype" | "output_datatype" | "to" if attribute.i == Some(ElementType::Float64.code().into()) => {
                    attribute.i = Some(ElementType::Float32.code().into());
                }
                "value" => {
                    if let Some(tensor) = attribute.t.as_deref().filter(|tensor| is_double_tensor(tensor)) {
                        attribute.t = Some(Box::new(in_single(tensor.name(), tensor)?));
                    }
                }
                _ => {}
            }
        }
        written.push(single);
        written.append(&mut behind);
        Some(written)
    }
}

fn is_double_tensor(tensor: &TensorProto) -> bool {
    tensor.data_type() == ElementType::Float64.code()
}

fn cast(input: &str, output: &str, element: ElementType) -> NodeProto {
    NodeProto {
        op_type: Some("Cast".to_owned()),
        name: Some(output.to_owned()),
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        attribute: vec![integer("to", element.code().into())],
        ..NodeProto::default()
    }
}

/// Returns a constant in single precision, unless one of its numbers is too large for that.
fn in_single(name: &str, tensor: &TensorProto) -> Option<TensorProto> {
    let values = read_floats(tensor).ok()?;
    let is_lost = |value: &f64| value.is_finite() && !(*value as f32).is_finite();
    if values.iter().any(is_lost) {
        return None;
    }
    floats(name, ElementType::Float32, &tensor.dims, &values).ok()
}
