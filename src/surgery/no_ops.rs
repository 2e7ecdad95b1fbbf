//! Nodes that change nothing, and pairs of nodes that are one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::build::Builder;
use super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{
    Attributes, Dimension, ElementType, Facts, FreshNames, Known, Model, Patch, Reads, is_onnx_domain, subgraphs,
};

/// The first operator set whose `Reshape` takes its target as an input.
const RESHAPE_TARGET_AS_INPUT: i64 = 5;

/// The first operator set whose `Dropout` is about inference only, unless told otherwise.
const INFERENCE_DROPOUT: i64 = 7;

/// Removes nodes whose result is their input, to the bit, and joins transpositions and reshapes of each other.
#[derive(Clone, Copy, Debug)]
pub struct RemoveNoOps;

impl Pass for RemoveNoOps {
    fn name(&self) -> &'static str {
        "remove-no-ops"
    }

    fn reason(&self) -> &'static str {
        "nodes that change nothing cost time on the device"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let graph = model.graph();
        let mut work = Work {
            facts: model.facts(),
            reads: model.reads(),
            model,
            builder: Builder::new(model.opset(), FreshNames::of(model)),
            patch: Patch::default(),
            touched: HashSet::new(),
            transposes: HashMap::new(),
            reshapes: HashMap::new(),
        };
        for (place, node) in graph.node.iter().enumerate() {
            if is_onnx_domain(node.domain()) && !node.output.is_empty() && !work.touched.contains(&place) {
                work.look_at(place, node);
            }
        }
        Ok(Some(work.finish()))
    }
}

struct Work<'model> {
    facts: &'model Facts<'model>,
    reads: &'model Reads<'model>,
    model: &'model Model,
    builder: Builder<'model>,
    patch: Patch,
    /// Nodes that the patch changes already.
    touched: HashSet<usize>,
    /// What a value is a transposition of, and by which order of axes.
    transposes: HashMap<&'model str, (String, Vec<i64>)>,
    /// What a value is a reshape of.
    reshapes: HashMap<&'model str, String>,
}

impl<'model> Work<'model> {
    fn look_at(&mut self, place: usize, node: &'model NodeProto) {
        let Some(first) = node.input.first().filter(|name| !name.is_empty()).map(|name| self.source(name)) else {
            return;
        };
        let Some(output) = node.output.first() else {
            return;
        };
        if self.is_no_op(node) {
            self.remove(place, first, output);
            return;
        }
        match node.op_type() {
            "Transpose" => self.transpose(place, node, first),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(place, node, first),
            _ => {}
        }
    }

    /// What a value is read as, after everything that was removed so far.
    fn source(&self, name: &str) -> String {
        self.patch.rewired.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn is_no_op(&self, node: &NodeProto) -> bool {
        let attributes = Attributes(node);
        let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
            return false;
        };
        let unread = |name: &String| name.is_empty() || self.is_unread(name);
        if !node.output.iter().skip(1).all(unread) {
            return false;
        }
        let integers = |place: usize| node.input.get(place).and_then(|name| self.facts.integers(name));
        match node.op_type() {
            "Identity" => true,
            "Concat" | "Sum" | "Max" | "Min" | "Mean" => node.input.len() == 1,
            "Split" => node.output.len() == 1,
            "Dropout" => match node.input.get(2).filter(|name| !name.is_empty()) {
                Some(training) => self.facts.array(training).and_then(|it| it.to_integer()) == Some(0),
                None => self.model.opset() >= INFERENCE_DROPOUT || attributes.flag("is_test"),
            },
            "Cast" => {
                let wanted = attributes.int("to").and_then(|code| i32::try_from(code).ok());
                wanted.is_some() && self.facts.element(input).map(ElementType::code) == wanted
            }
            "CastLike" => {
                let like = node.input.get(1).and_then(|like| self.facts.element(like));
                like.is_some() && self.facts.element(input) == like
            }
            "Clip" => node.input.len() == 1 && node.attribute.is_empty() && self.model.opset() >= 11,
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Expand" => self.same_shape(input, output),
            "Tile" => integers(1).is_some_and(|repeats| repeats.iter().all(|times| *times == 1)),
            "Pad" => match node.input.get(1) {
                Some(_) => integers(1).is_some_and(|pads| pads.iter().all(|pad| *pad == 0)),
                None => attributes.ints("pads").is_some_and(|pads| pads.iter().all(|pad| *pad == 0)),
            },
            "Slice" => {
                let steps = node.input.get(4).filter(|name| !name.is_empty());
                let forward = steps.is_none() || integers(4).is_some_and(|steps| steps.iter().all(|step| *step == 1));
                forward && self.same_shape(input, output)
            }
            "Transpose" => attributes.ints("perm").is_some_and(|order| order.iter().copied().eq(0..order.len() as i64)),
            // Adding 0 is none of these: it turns -0 into 0.
            "Mul" | "Div" => self.is_neutral(node, 1.0),
            "Sub" => self.is_neutral(node, 0.0),
            _ => false,
        }
    }

    fn is_unread(&self, name: &str) -> bool {
        self.reads.readers(name).is_empty() && !self.reads.is_output(name)
    }

    /// Returns whether two values surely have the same shape.
    fn same_shape(&self, one: &str, other: &str) -> bool {
        let told = |name| self.facts.shape(name).filter(|shape| !shape.0.contains(&Dimension::Unknown));
        told(one).is_some_and(|shape| Some(shape) == told(other))
    }

    /// Returns whether the second operand consists of one number, to the bit, and does not make the result larger.
    fn is_neutral(&self, node: &NodeProto, number: f64) -> bool {
        let ([input, operand], [output]) = (node.input.as_slice(), node.output.as_slice()) else {
            return false;
        };
        let few = self.facts.sizes(operand).is_some_and(|sizes| sizes.iter().all(|size| *size <= 4096));
        let Some(array) = self.facts.array(operand).filter(|_| few && self.same_shape(input, output)) else {
            return false;
        };
        let is_number = |value: &f64| value.to_bits() == number.to_bits();
        let floats = array.to_floats().is_some_and(|values| values.iter().all(is_number));
        floats || array.to_integers().is_some_and(|values| values.iter().all(|value| *value as f64 == number))
    }

    /// Takes out a node whose result is the value `source`.
    fn remove(&mut self, place: usize, source: String, output: &'model str) {
        if !self.reads.is_output(output) {
            self.touched.insert(place);
            self.patch.removed_nodes.insert(place);
            self.patch.rewired.insert(output.to_owned(), source);
            return;
        }
        // The output keeps its name, so whatever computes it has to give it that name, unless it has one to keep itself.
        let producer = self.reads.producer(&source);
        if producer.is_some_and(|producer| self.touched.contains(&producer)) {
            return;
        }
        let Some((producer, node)) = producer.and_then(|place| self.renameable(place, &source)) else {
            let is_plain = self.model.graph().node.get(place).is_none_or(|node| node.op_type() == "Identity");
            if !is_plain {
                self.touched.insert(place);
                self.patch.replace(place, vec![self.builder.node("Identity", &[&source], &[output])]);
            }
            return;
        };
        let mut renamed = node.clone();
        for name in renamed.output.iter_mut().filter(|name| **name == source) {
            output.clone_into(name);
        }
        self.touched.extend([place, producer]);
        self.patch.removed_nodes.insert(place);
        self.patch.replace(producer, vec![renamed]);
        self.patch.rewired.insert(source, output.to_owned());
    }

    /// Returns the node that computes `value`, if that may have another name: the importer names outputs of the network
    /// well where their node has no other output.
    fn renameable(&self, producer: usize, value: &str) -> Option<(usize, &'model NodeProto)> {
        let node = self.model.graph().node.get(producer)?;
        let is_alone = node.output.len() == 1 && !self.reads.is_output(value) && subgraphs(node).next().is_none();
        is_alone.then_some((producer, node))
    }

    fn transpose(&mut self, place: usize, node: &'model NodeProto, source: String) {
        let rank = node.input.first().and_then(|name| self.facts.rank(name));
        let reversed = || Some((0..i64::try_from(rank?).ok()?).rev().collect());
        let Some(order) = Attributes(node).ints("perm").map(<[i64]>::to_vec).or_else(reversed) else {
            return;
        };
        let Some(output) = node.output.first() else {
            return;
        };
        let Some((inner_source, inner)) = self.transposes.get(source.as_str()).cloned() else {
            self.transposes.insert(output, (source, order));
            return;
        };
        let at = |axis: &i64| usize::try_from(*axis).ok().and_then(|axis| inner.get(axis)).copied();
        let Some(joined) = order.iter().map(at).collect::<Option<Vec<_>>>() else {
            return;
        };
        if joined.iter().copied().eq(0..joined.len() as i64) {
            self.remove(place, inner_source, output);
            return;
        }
        let mut changed = node.clone();
        changed.input = vec![inner_source.clone()];
        changed.attribute = vec![super::build::integers_attribute("perm", joined.clone())];
        self.transposes.insert(output, (inner_source, joined));
        self.replace(place, changed);
    }

    /// Makes one of two reshapes, and a constant of a target that is known although it is computed.
    fn reshape(&mut self, place: usize, node: &'model NodeProto, source: String) {
        let Some(output) = node.output.first() else {
            return;
        };
        let inner = self.reshapes.get(source.as_str()).filter(|_| self.reads.readers(&source).len() == 1).cloned();
        self.reshapes.insert(output, inner.clone().unwrap_or_else(|| source.clone()));
        let computed =
            node.op_type() == "Reshape" && node.input.get(1).is_some_and(|name| self.facts.array(name).is_none());
        if (inner.is_none() && !computed) || self.model.opset() < RESHAPE_TARGET_AS_INPUT {
            return;
        }
        // A size of 0 would mean another one.
        let Some(sizes) = self.facts.sizes(output).filter(|sizes| !sizes.contains(&0)) else {
            return;
        };
        let origin = inner.unwrap_or(source);
        if self.facts.sizes(&origin).as_ref() == Some(&sizes) {
            self.remove(place, origin, output);
            return;
        }
        let target = self.builder.name(&format!("{output}/shape"));
        self.builder.constants.push(crate::onnx::integers(&target, &[sizes.len() as i64], &sizes));
        let mut changed = node.clone();
        changed.op_type = Some("Reshape".to_owned());
        changed.input = vec![origin, target];
        changed.attribute.clear();
        self.replace(place, changed);
    }

    fn replace(&mut self, place: usize, node: NodeProto) {
        self.touched.insert(place);
        self.patch.replace(place, vec![node]);
    }

    /// Follows chains of values that were replaced by values that were replaced.
    fn finish(mut self) -> Patch {
        let rewired = self.patch.rewired.clone();
        let last = |name: &String| {
            let mut name = name;
            // A chain visits no value twice.
            for _ in 0..rewired.len() {
                match rewired.get(name) {
                    Some(next) => name = next,
                    None => break,
                }
            }
            name.clone()
        };
        let followed: BTreeMap<String, String> = rewired.iter().map(|(old, new)| (old.clone(), last(new))).collect();
        for input in self.patch.inserted_nodes.values_mut().flatten().flat_map(|node| &mut node.input) {
            *input = last(input);
        }
        self.patch.rewired = followed;
        self.patch.added_initializers = self.builder.constants;
        self.patch
    }
}
