//! What a pass sees of the node it rewrites, and the nodes it writes in its place.
//!
//! Owns the forms that operators have in each operator set, so that passes say what to compute and not how it is
//! spelled. Passes that do not know enough return `None` and leave the node as it is.

use std::borrow::Cow;
use std::collections::HashSet;

use super::PassError;
use super::build::{float, integer, integers_attribute};
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto};
use crate::onnx::{
    ElementType, Facts, FreshNames, Known, Model, Patch, Reads, TensorError, changed_floats, element_count, floats,
    integers, is_onnx_domain, node_label, subgraphs, transposed,
};

/// The first operator set whose arithmetic broadcasts like NumPy. Before it, broadcasting has to be asked for.
const NUMPY_BROADCASTING: i64 = 7;
/// The first operator set whose `Clip` takes its bounds as inputs.
const CLIP_BOUNDS_AS_INPUTS: i64 = 11;
/// The first operator set whose `Slice` takes its places as inputs.
const SLICE_PLACES_AS_INPUTS: i64 = 10;
/// The first operator set whose `ReduceSum`, `Squeeze`, `Unsqueeze` and `Split` take axes or lengths as inputs.
const AXES_AS_INPUT: i64 = 13;
/// The first operator set whose other reductions take axes as an input.
const ALL_AXES_AS_INPUT: i64 = 18;

/// A node and what is known around it.
pub(super) struct Site<'model> {
    pub(super) node: &'model NodeProto,
    pub(super) facts: &'model Facts<'model>,
    pub(super) reads: &'model Reads<'model>,
    pub(super) model: &'model Model,
}

impl<'model> Site<'model> {
    /// The version of ONNX's own operators.
    pub(super) fn opset(&self) -> i64 {
        self.model.opset()
    }

    /// The name of an input; `None` if the node does not have it.
    pub(super) fn input(&self, place: usize) -> Option<&'model str> {
        self.node.input.get(place).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The name of an output; `None` if the node does not have it.
    pub(super) fn output(&self, place: usize) -> Option<&'model str> {
        self.node.output.get(place).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether anything reads an output of the node.
    pub(super) fn is_read(&self, place: usize) -> bool {
        self.output(place).is_some_and(|name| !self.reads.readers(name).is_empty() || self.reads.is_output(name))
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'model AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name() == name)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.i
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f64 {
        f64::from(self.attribute(name).and_then(|attribute| attribute.f).unwrap_or(default))
    }

    pub(super) fn integers(&self, name: &str) -> Option<&'model [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn text<'a>(&'a self, name: &str, default: &'a str) -> Cow<'a, str> {
        let bytes = self.attribute(name).and_then(|attribute| attribute.s.as_deref());
        bytes.map_or(Cow::Borrowed(default), |bytes| String::from_utf8_lossy(bytes))
    }

    /// The sizes of an input, all of them known.
    pub(super) fn sizes(&self, place: usize) -> Option<Vec<i64>> {
        self.facts.sizes(self.input(place)?)
    }

    /// The number of dimensions of an input.
    pub(super) fn rank(&self, place: usize) -> Option<usize> {
        self.facts.rank(self.input(place)?)
    }

    /// The tensor of an input that is a constant.
    pub(super) fn constant(&self, place: usize) -> Option<&'model TensorProto> {
        self.facts.constant(self.input(place)?)
    }

    /// Whether what the network is fed has a part in a value, and not only constants that nobody has computed yet.
    pub(super) fn varies(&self, value: &str) -> bool {
        let nodes = &self.model.graph().node;
        let mut seen = HashSet::new();
        let mut waiting = vec![value];
        while let Some(name) = waiting.pop() {
            if !seen.insert(name) {
                continue;
            }
            match self.reads.producer(name).and_then(|place| nodes.get(place)) {
                // Nested graphs read what they like.
                Some(node) if subgraphs(node).next().is_some() => return true,
                Some(node) => waiting.extend(node.input.iter().filter(|input| !input.is_empty()).map(String::as_str)),
                None if self.model.is_fed(name) => return true,
                None => {}
            }
        }
        false
    }

    /// The elements of an input that is a constant of integers.
    pub(super) fn constant_integers(&self, place: usize) -> Option<Vec<i64>> {
        self.facts.integers(self.input(place)?)
    }

    /// An axis counted from 0.
    pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
        let rank = i64::try_from(rank).ok()?;
        let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
        usize::try_from(axis).ok().filter(|_| axis < rank)
    }

    /// The axes of a reduction, counted from 0 and sorted; all of them where none is given.
    pub(super) fn axes(&self, rank: usize) -> Option<Vec<usize>> {
        let given = match (self.integers("axes"), self.input(1)) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(name)) => self.facts.integers(name)?,
            (None, None) => Vec::new(),
        };
        if given.is_empty() {
            return Some(if self.integer("noop_with_empty_axes") == Some(1) {
                Vec::new()
            } else {
                (0..rank).collect()
            });
        }
        let mut axes = given.into_iter().map(|axis| Self::axis(axis, rank)).collect::<Option<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        Some(axes)
    }
}

/// The nodes that take the place of others, as they are being written.
pub(super) struct Draft<'model> {
    opset: i64,
    names: FreshNames<'model>,
    constants: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
    /// What new names begin with.
    stem: String,
    /// The type of constants.
    element: ElementType,
    failure: Option<TensorError>,
}

impl<'model> Draft<'model> {
    pub(super) fn of(model: &'model Model) -> Self {
        Self::for_opset(model, model.opset())
    }

    /// As [`Self::of`], for a model that is about to be of another operator set.
    pub(super) fn for_opset(model: &'model Model, opset: i64) -> Self {
        Self {
            opset,
            names: FreshNames::of(model),
            constants: Vec::new(),
            nodes: Vec::new(),
            stem: String::new(),
            element: ElementType::Float32,
            failure: None,
        }
    }

    /// Begins with the nodes for one place; names begin with `stem`, constants are of type `element`.
    pub(super) fn begin(&mut self, stem: &str, element: ElementType) {
        stem.clone_into(&mut self.stem);
        self.element = element;
        self.nodes.clear();
    }

    /// Goes on for the same place with other names and constants.
    pub(super) fn begin_more(&mut self, stem: &str, element: ElementType) {
        stem.clone_into(&mut self.stem);
        self.element = element;
    }

    /// Hands out the nodes written since [`Self::begin`].
    pub(super) fn take(&mut self) -> Vec<NodeProto> {
        std::mem::take(&mut self.nodes)
    }

    /// Hands out all constants.
    pub(super) fn finish(self) -> Result<Vec<TensorProto>, TensorError> {
        self.failure.map_or(Ok(self.constants), Err)
    }

    fn failure(&mut self) -> Option<TensorError> {
        self.failure.take()
    }

    /// Applies an operator with one result; returns the result's name.
    pub(super) fn apply(&mut self, operator: &str, inputs: &[&str]) -> String {
        self.apply_with(operator, inputs, Vec::new())
    }

    /// As [`Self::apply`], with attributes.
    pub(super) fn apply_with(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.names.make(&format!("{}/{operator}", self.stem));
        self.push(operator, inputs, vec![output.clone()], attributes);
        output
    }

    /// As [`Self::apply_with`], for an operator with several results.
    pub(super) fn apply_many(
        &mut self,
        operator: &str,
        inputs: &[&str],
        results: usize,
        attributes: Vec<AttributeProto>,
    ) -> Vec<String> {
        let wanted = format!("{}/{operator}", self.stem);
        let outputs: Vec<String> = (0..results).map(|_| self.names.make(&wanted)).collect();
        self.push(operator, inputs, outputs.clone(), attributes);
        outputs
    }

    fn push(&mut self, operator: &str, inputs: &[&str], output: Vec<String>, attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            op_type: Some(operator.to_owned()),
            // Vendor tools name layers after nodes, so a node needs a name of its own.
            name: output.first().cloned(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output,
            attribute,
            ..NodeProto::default()
        });
    }

    /// Makes a name of the site that nothing in the model has.
    pub(super) fn name(&mut self, what: &str) -> String {
        self.names.make(&format!("{}/{what}", self.stem))
    }

    /// Writes a node of the model anew.
    pub(super) fn keep(&mut self, node: NodeProto) {
        self.nodes.push(node);
    }

    /// Applies a unary operator.
    pub(super) fn unary(&mut self, operator: &str, input: &str) -> String {
        self.apply(operator, &[input])
    }

    /// Applies an arithmetic operator with broadcasting.
    pub(super) fn binary(&mut self, operator: &str, left: &str, right: &str) -> String {
        let legacy = self.opset < NUMPY_BROADCASTING && matches!(operator, "Add" | "Sub" | "Mul" | "Div" | "Pow");
        let attributes = if legacy { vec![integer("broadcast", 1)] } else { Vec::new() };
        self.apply_with(operator, &[left, right], attributes)
    }

    /// Applies an arithmetic operator to a value and a number.
    pub(super) fn with_number(&mut self, operator: &str, left: &str, right: f64) -> String {
        let right = self.number(right);
        self.binary(operator, left, &right)
    }

    /// Adds up powers of a value, from the lowest on.
    pub(super) fn series(&mut self, value: &str, factors: &[f64]) -> String {
        let mut factors = factors.iter().rev();
        let mut sum = self.number(factors.next().copied().unwrap_or_default());
        for factor in factors {
            let product = self.binary("Mul", value, &sum);
            sum = if *factor == 0.0 { product } else { self.with_number("Add", &product, *factor) };
        }
        sum
    }

    /// Makes a constant of no dimensions.
    pub(super) fn number(&mut self, value: f64) -> String {
        self.floats(&[], &[value])
    }

    /// Makes a constant of the type of the site.
    pub(super) fn floats(&mut self, dims: &[i64], values: &[f64]) -> String {
        let name = self.names.make(&format!("{}/constant", self.stem));
        match floats(&name, self.element, dims, values) {
            Ok(tensor) => self.constants.push(tensor),
            Err(error) => self.failure = self.failure.take().or(Some(error)),
        }
        name
    }

    /// Makes a constant like another one of floating numbers, with what `change` makes of `length` elements at a time.
    pub(super) fn changed(
        &mut self,
        tensor: &TensorProto,
        length: usize,
        change: impl FnMut(&mut [f64]),
    ) -> Option<String> {
        let name = self.names.make(&format!("{}/constant", self.stem));
        self.constants.push(changed_floats(&name, tensor, length, change).ok()?);
        Some(name)
    }

    /// Makes a constant of sizes `dims` of a matrix of floating numbers, with its rows as columns.
    pub(super) fn transposed(&mut self, dims: &[i64], matrix: &TensorProto) -> Option<String> {
        let name = self.names.make(&format!("{}/constant", self.stem));
        self.constants.push(transposed(&name, dims, matrix).ok()?);
        Some(name)
    }

    /// Makes a vector of 64-bit integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        self.shaped_integers(&[values.len() as i64], values)
    }

    /// Makes a constant of 64-bit integers.
    pub(super) fn shaped_integers(&mut self, dims: &[i64], values: &[i64]) -> String {
        let name = self.names.make(&format!("{}/integers", self.stem));
        self.constants.push(integers(&name, dims, values));
        name
    }

    /// Makes a whole number of a type of 32 or 64 bits.
    pub(super) fn whole(&mut self, element: ElementType, value: i64) -> String {
        let bytes = match element {
            ElementType::Int32 => i32::try_from(value).map(|value| value.to_le_bytes().to_vec()),
            _ => Ok(value.to_le_bytes().to_vec()),
        };
        let raw = bytes.unwrap_or_else(|_| i32::MAX.to_le_bytes().to_vec());
        self.constant(TensorProto {
            data_type: Some(element.code()),
            raw_data: Some(raw.into()),
            ..TensorProto::default()
        })
    }

    /// Makes a constant of any kind; the tensor gets a new name.
    pub(super) fn constant(&mut self, mut tensor: TensorProto) -> String {
        let name = self.names.make(&format!("{}/constant", self.stem));
        tensor.name = Some(name.clone());
        self.constants.push(tensor);
        name
    }

    /// Limits a value to a range.
    pub(super) fn clip(&mut self, input: &str, [minimum, maximum]: [f64; 2]) -> String {
        if self.opset < CLIP_BOUNDS_AS_INPUTS {
            let bounds = vec![float("min", minimum as f32), float("max", maximum as f32)];
            return self.apply_with("Clip", &[input], bounds);
        }
        let (minimum, maximum) = (self.number(minimum), self.number(maximum));
        self.apply("Clip", &[input, &minimum, &maximum])
    }

    /// Makes a constant of the type of the site that is what the rest of the model knows as `output`.
    pub(super) fn floats_as(&mut self, output: &str, dims: &[i64], values: &[f64]) {
        match floats(output, self.element, dims, values) {
            Ok(tensor) => self.constants.push(tensor),
            Err(error) => self.failure = self.failure.take().or(Some(error)),
        }
    }

    /// Reduces over axes, which stay with size 1 if `keep`.
    pub(super) fn reduce(&mut self, operator: &str, input: &str, axes: &[usize], keep: bool) -> String {
        let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let keep = integer("keepdims", keep.into());
        let as_input = if operator == "ReduceSum" { AXES_AS_INPUT } else { ALL_AXES_AS_INPUT };
        if self.opset < as_input {
            return self.apply_with(operator, &[input], vec![integers_attribute("axes", axes), keep]);
        }
        let axes = self.integers(&axes);
        self.apply_with(operator, &[input, &axes], vec![keep])
    }

    /// Gives a value other sizes; 0 keeps a size and -1 means what is left.
    pub(super) fn reshape(&mut self, input: &str, sizes: &[i64]) -> String {
        let sizes = self.integers(sizes);
        self.apply("Reshape", &[input, &sizes])
    }

    /// Reorders the axes of a value.
    pub(super) fn transpose(&mut self, input: &str, order: &[usize]) -> String {
        let order = order.iter().map(|&axis| axis as i64).collect();
        self.apply_with("Transpose", &[input], vec![integers_attribute("perm", order)])
    }

    /// Adds axes of size 1, or removes them.
    pub(super) fn squeezing(&mut self, operator: &str, input: &str, axes: &[i64]) -> String {
        if self.opset < AXES_AS_INPUT {
            return self.apply_with(operator, &[input], vec![integers_attribute("axes", axes.to_vec())]);
        }
        let axes = self.integers(axes);
        self.apply(operator, &[input, &axes])
    }

    /// Cuts a range out of each of some axes.
    pub(super) fn slice(&mut self, input: &str, axes: &[i64], starts: &[i64], ends: &[i64]) -> String {
        if self.opset < SLICE_PLACES_AS_INPUTS {
            let places = [("axes", axes), ("starts", starts), ("ends", ends)];
            let attributes = places.map(|(name, values)| integers_attribute(name, values.to_vec()));
            return self.apply_with("Slice", &[input], attributes.to_vec());
        }
        let [starts, ends, axes] = [starts, ends, axes].map(|values| self.integers(values));
        self.apply("Slice", &[input, &starts, &ends, &axes])
    }

    /// Applies `Softmax` along one axis, in a form that is the same in all operator sets.
    pub(super) fn softmax(&mut self, input: &str, axis: usize, rank: usize) -> Option<String> {
        let last = rank.checked_sub(1)?;
        let along_last = vec![integer("axis", last as i64)];
        if axis == last {
            return Some(self.apply_with("Softmax", &[input], along_last));
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(axis, last);
        let turned = self.transpose(input, &order);
        let result = self.apply_with("Softmax", &[&turned], along_last);
        Some(self.transpose(&result, &order))
    }

    /// Applies an operator of the kind of `Softmax` along an axis and all behind it as one.
    pub(super) fn coerced_softmax(
        &mut self,
        operator: &str,
        input: &str,
        axis: usize,
        sizes: &[i64],
    ) -> Option<String> {
        let (before, within) = sizes.split_at_checked(axis)?;
        let count = |sizes: &[i64]| element_count(sizes).and_then(|count| i64::try_from(count).ok());
        let flat = self.reshape(input, &[count(before)?, count(within)?]);
        let result = self.apply_with(operator, &[&flat], vec![integer("axis", 1)]);
        Some(self.reshape(&result, sizes))
    }

    /// Chooses slices along an axis.
    pub(super) fn gather(&mut self, input: &str, axis: usize, indices: &[i64]) -> String {
        let indices = self.integers(indices);
        self.apply_with("Gather", &[input, &indices], vec![integer("axis", axis as i64)])
    }

    /// Joins values along an axis.
    pub(super) fn concat(&mut self, inputs: &[&str], axis: usize) -> String {
        self.apply_with("Concat", inputs, vec![integer("axis", axis as i64)])
    }

    /// Cuts a value into slices along an axis.
    pub(super) fn split(&mut self, input: &str, axis: usize, lengths: &[i64]) -> Vec<String> {
        let axis = integer("axis", axis as i64);
        if self.opset < AXES_AS_INPUT {
            let attributes = vec![integers_attribute("split", lengths.to_vec()), axis];
            return self.apply_many("Split", &[input], lengths.len(), attributes);
        }
        let parts = self.integers(lengths);
        self.apply_many("Split", &[input, &parts], lengths.len(), vec![axis])
    }

    /// Converts the elements.
    pub(super) fn cast(&mut self, input: &str, element: ElementType) -> String {
        self.apply_with("Cast", &[input], vec![integer("to", element.code().into())])
    }

    /// Says that `value` is what the rest of the model knows as `output`.
    pub(super) fn yields(&mut self, value: &str, output: &str) {
        let is_made_here = self.nodes.iter().any(|node| node.output.iter().any(|name| name == value));
        if !is_made_here {
            self.push("Identity", &[value], vec![output.to_owned()], Vec::new());
            return;
        }
        for node in &mut self.nodes {
            for name in node.input.iter_mut().chain(&mut node.output).filter(|name| *name == value) {
                output.clone_into(name);
            }
        }
    }
}

/// Rewrites every node of the main graph that `rewrite` returns `Some` for, after it wrote the nodes that take its
/// place. Constants are of the type of the node's first input, or of 32-bit floating numbers.
pub(super) fn rewrite_nodes<'model>(
    model: &'model Known<'model>,
    is_wanted: impl Fn(&NodeProto) -> bool,
    rewrite: impl FnMut(&Site<'_>, &mut Draft) -> Option<()>,
) -> Result<Option<Patch>, PassError> {
    rewrite_nodes_of(model, is_onnx_domain, is_wanted, rewrite)
}

/// As [`rewrite_nodes`], for the operators of another domain.
pub(super) fn rewrite_nodes_of<'model>(
    model: &'model Known<'model>,
    is_domain: fn(&str) -> bool,
    is_wanted: impl Fn(&NodeProto) -> bool,
    mut rewrite: impl FnMut(&Site<'_>, &mut Draft) -> Option<()>,
) -> Result<Option<Patch>, PassError> {
    let is_wanted = |node: &NodeProto| is_domain(node.domain()) && is_wanted(node);
    if !model.graph().node.iter().any(is_wanted) {
        return Ok(None);
    }
    let (facts, reads) = (model.facts(), model.reads());
    let mut draft = Draft::of(model);
    let mut patch = Patch::default();
    for (place, node) in model.graph().node.iter().enumerate().filter(|(_, node)| is_wanted(node)) {
        let Some(stem) = node.output.iter().find(|output| !output.is_empty()) else { continue };
        let site = Site { node, facts, reads, model };
        let element = site.input(0).and_then(|input| facts.element(input)).filter(|element| element.is_float());
        draft.begin(stem, element.unwrap_or(ElementType::Float32));
        let constants = draft.constants.len();
        let rewritten = rewrite(&site, &mut draft);
        if let Some(source) = draft.failure() {
            return Err(PassError::Constant { node: node_label(node), source });
        }
        match rewritten {
            Some(()) => patch.replace(place, draft.take()),
            None => draft.constants.truncate(constants),
        }
    }
    patch.added_initializers = draft.constants;
    Ok(Some(patch).filter(|patch| !patch.is_empty()))
}
