//! Quantized networks, computed with floating numbers.
//!
//! MyriadX computes with halves, so what was quantized is taken back: constants are dequantized, and a value that is
//! quantized and dequantized again is only limited to the range that the integers could express. The limits stay because
//! exporters leave out activations (`Relu`) that they imply; the rounding to integers does not stay.

use std::collections::{BTreeMap, BTreeSet};

use super::super::build::integer;
use super::super::draft::{Draft, Site, rewrite_nodes};
use super::super::{Pass, PassError};
use super::integers::Shifted;
use super::scheme::{Scheme, integers};
use crate::onnx::proto::NodeProto;
use crate::onnx::{ElementType, Known, Patch, Reads, element_count, is_onnx_domain, node_label, read_floats};

/// Dequantizes constants.
pub(super) fn constant(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let tensor = site.constant(0)?;
    let scheme = Scheme::of(site.node, site.facts, ElementType::from_code(tensor.data_type()))?;
    let values = integers(tensor)?;
    let dims = scheme.dims(Some(tensor.dims.len()))?;
    let axis = dims.iter().position(|size| *size != 1).filter(|_| dims != tensor.dims);
    let behind = axis.and_then(|axis| tensor.dims.get(axis + 1..)).unwrap_or(&[]);
    let stride = usize::try_from(element_count(behind)?).ok()?.max(1);
    let count = scheme.scales.len();
    let numbers = values.iter().enumerate().map(|(place, value)| {
        let index = place / stride % count;
        Some((value - scheme.zeros.get(index)?) * scheme.scales.get(index)?)
    });
    let numbers = numbers.collect::<Option<Vec<f64>>>()?;
    if let Some(element) = site.facts.element(site.input(1)?).filter(|element| element.is_float()) {
        draft.begin(site.output(0)?, element);
    }
    draft.floats_as(site.output(0)?, &tensor.dims, &numbers);
    Some(())
}

/// Writes the dequantization of rows that are looked up in a table as rows of a table of numbers: embeddings.
pub(super) fn looked_up(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let maker = site.model.graph().node.get(site.reads.producer(site.input(0)?)?)?;
    if maker.op_type() != "Gather" || !is_onnx_domain(maker.domain()) {
        return None;
    }
    let [table, indices] = maker.input.as_slice() else { return None };
    let table = site.facts.constant(table)?;
    let scheme = Scheme::of(site.node, site.facts, ElementType::from_code(table.data_type()))?;
    // One scale for all: which axis others would be of is another question behind the lookup.
    let (&[scale], &[zero]) = (scheme.scales.as_slice(), scheme.zeros.as_slice()) else { return None };
    let numbers: Vec<f64> = integers(table)?.into_iter().map(|value| (value - zero) * scale).collect();
    let element = site.facts.element(site.input(1)?).filter(|element| element.is_float())?;
    draft.begin(site.output(0)?, element);
    let table = draft.floats(&table.dims, &numbers);
    let result = draft.apply_with("Gather", &[&table, indices], maker.attribute.clone());
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// Writes the dequantization of what varies as arithmetic.
pub(super) fn variable(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let input = site.input(0)?;
    let by_node = site.reads.producer(input).and_then(|place| site.model.graph().node.get(place));
    // Where integers come from a node, they are rid of otherwise; but what is converted to them is numbers already.
    let by_node = by_node.filter(|node| node.op_type() != "Cast" || !is_onnx_domain(node.domain()));
    if site.constant(0).is_some() || by_node.is_some() {
        return None;
    }
    let scheme = Scheme::of(site.node, site.facts, site.facts.element(input))?;
    let element = site.facts.element(site.input(1)?).filter(|element| element.is_float())?;
    draft.begin(site.output(0)?, element);
    let dims = scheme.dims(site.rank(0))?;
    let mut result = draft.cast(input, element);
    if scheme.zeros.iter().any(|zero| *zero != 0.0) {
        let zeros = draft.floats(&dims, &scheme.zeros);
        result = draft.binary("Sub", &result, &zeros);
    }
    let scales = draft.floats(&dims, &scheme.scales);
    let result = draft.binary("Mul", &result, &scales);
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// Writes operators on integers as operators on numbers between dequantization and quantization.
pub(super) fn operator(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let scale_element = |place: usize| site.facts.element(site.input(place)?).filter(|element| element.is_float());
    let dequantized = |draft: &mut Draft, at: usize, axis: i64| {
        let inputs = [site.input(at)?, site.input(at + 1)?, site.input(at + 2)?];
        Some(draft.apply_with("DequantizeLinear", &inputs, vec![integer("axis", axis)]))
    };
    let result = match site.node.op_type() {
        "QLinearConv" => {
            draft.begin(output, scale_element(1)?);
            let input = dequantized(draft, 0, 1)?;
            let weights = dequantized(draft, 3, 0)?;
            let mut inputs = vec![input, weights];
            if site.input(8).is_some() {
                let sums = integers(site.constant(8)?)?;
                let left = read_floats(site.constant(1)?).ok()?;
                let right = read_floats(site.constant(4)?).ok()?;
                let scales = right.iter().map(|right| Some(right * left.first()?)).collect::<Option<Vec<f64>>>()?;
                let scale = |place: usize| scales.get(if scales.len() == 1 { 0 } else { place });
                let shift = sums.iter().enumerate().map(|(place, sum)| Some(sum * scale(place)?));
                let shift = shift.collect::<Option<Vec<f64>>>()?;
                inputs.push(draft.floats(&[i64::try_from(shift.len()).ok()?], &shift));
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            draft.apply_with("Conv", &inputs, site.node.attribute.clone())
        }
        "QLinearMatMul" => {
            draft.begin(output, scale_element(1)?);
            let left = dequantized(draft, 0, -2)?;
            let right = dequantized(draft, 3, -1)?;
            draft.apply("MatMul", &[&left, &right])
        }
        _ => return None,
    };
    let quantized = draft.apply("QuantizeLinear", &[&result, site.input(6)?, site.input(7)?]);
    draft.yields(&quantized, output);
    Some(())
}

/// Operators that only move elements, mix neighbours, or choose among them in a way that quantization keeps.
pub(super) const MOVING: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "Identity",
    "MaxPool",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Lets operators that move integers move the numbers that these stand for.
pub(super) fn movement(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let operator = site.node.op_type();
    let places = if operator == "Where" { 1..3 } else { 0..1 };
    let quantizer = |place: usize| {
        let node = site.model.graph().node.get(site.reads.producer(site.input(place)?)?)?;
        (node.op_type() == "QuantizeLinear" && is_onnx_domain(node.domain())).then_some(node)
    };
    let producer = quantizer(places.start)?;
    let scheme = Scheme::of(producer, site.facts, None)?;
    let (scale, zero) = (producer.input.get(1)?, producer.input.get(2)?);
    let (&[factor], &[nothing]) = (scheme.scales.as_slice(), scheme.zeros.as_slice()) else { return None };
    let mut inputs = site.node.input.clone();
    for place in places {
        if Scheme::of(quantizer(place)?, site.facts, None)? != scheme {
            return None;
        }
        *inputs.get_mut(place)? = draft.apply("DequantizeLinear", &[site.input(place)?, scale, zero]);
    }
    if operator == "Pad" && site.text("mode", "constant") == "constant" {
        // Older operator sets have attributes, and pad no integers.
        site.input(1)?;
        let around = match site.input(2) {
            Some(_) => *integers(site.constant(2)?)?.first()?,
            None => 0.0,
        };
        inputs.resize(inputs.len().max(3), String::new());
        *inputs.get_mut(2)? = draft.number((around - nothing) * factor);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let results = draft.apply_many(operator, &inputs, site.node.output.len(), site.node.attribute.clone());
    for (place, result) in results.iter().enumerate() {
        let Some(output) = site.output(place).filter(|_| site.is_read(place)) else { continue };
        // The others give places.
        let is_moved = match operator {
            "ArgMax" | "ArgMin" => false,
            "Split" => true,
            _ => place == 0,
        };
        let result = if is_moved { draft.apply("QuantizeLinear", &[result, scale, zero]) } else { result.clone() };
        draft.yields(&result, output);
    }
    Some(())
}

/// Replaces quantization that is followed by dequantization alone with the limits of the integers.
#[derive(Clone, Copy, Debug)]
pub struct Unquantize;

impl Pass for Unquantize {
    fn name(&self) -> &'static str {
        "quantization-to-clip"
    }

    fn reason(&self) -> &'static str {
        "MyriadX computes with halves: values keep the limits of the quantization and are not rounded"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let nodes = &model.graph().node;
        let is = |node: &NodeProto, operator: &str| node.op_type() == operator && is_onnx_domain(node.domain());
        if !nodes.iter().any(|node| is(node, "QuantizeLinear")) {
            return Ok(None);
        }
        let (facts, reads) = (model.facts(), model.reads());
        let mut removed: BTreeMap<usize, String> = BTreeMap::new();
        let patch = rewrite_nodes(
            model,
            |node| node.op_type() == "QuantizeLinear",
            |site, draft| {
                let output = site.output(0)?;
                let scheme = Scheme::of(site.node, facts, Some(ElementType::Uint8))?;
                let readers = reads.readers(output);
                let undoes = |place: &usize| {
                    nodes.get(*place).is_some_and(|node| {
                        is(node, "DequantizeLinear")
                            && node.input.first().is_some_and(|name| name == output)
                            && Scheme::of(node, facts, Some(scheme.element)).as_ref() == Some(&scheme)
                    })
                };
                if readers.is_empty() || !readers.iter().all(undoes) {
                    return None;
                }
                let result = limited(site, draft, &scheme)?;
                if reads.is_output(output) {
                    draft.keep(site.node.clone());
                }
                removed.extend(readers.iter().map(|place| (*place, result.clone())));
                Some(())
            },
        )?;
        let Some(mut patch) = patch else { return Ok(None) };
        for (place, value) in removed {
            let Some(output) = nodes.get(place).and_then(|node| node.output.first()) else { continue };
            if reads.is_output(output) {
                let mut node = NodeProto { op_type: Some("Identity".to_owned()), ..NodeProto::default() };
                node.name = nodes.get(place).map(|node| node_label(node).name);
                node.input = vec![value];
                node.output = vec![output.clone()];
                patch.replace(place, vec![node]);
            } else {
                patch.removed_nodes.insert(place);
                patch.rewired.insert(output.clone(), value);
            }
        }
        // What was inserted is not rewired by the patch, but may read what another insertion replaces.
        let rewired = patch.rewired.clone();
        for input in patch.inserted_nodes.values_mut().flatten().flat_map(|node| &mut node.input) {
            if let Some(new) = rewired.get(input) {
                input.clone_from(new);
            }
        }
        Ok(Some(patch))
    }
}

/// Limits what a node quantizes to what the integers can express.
pub(super) fn limited(site: &Site<'_>, draft: &mut Draft, scheme: &Scheme) -> Option<String> {
    let input = site.input(0)?;
    let [least, greatest] = scheme.range()?;
    if let (&[least], &[greatest]) = (least.as_slice(), greatest.as_slice()) {
        return Some(draft.clip(input, [least, greatest]));
    }
    let dims = scheme.dims(site.rank(0))?;
    let (least, greatest) = (draft.floats(&dims, &least), draft.floats(&dims, &greatest));
    let raised = draft.apply("Max", &[input, &least]);
    Some(draft.apply("Min", &[&raised, &greatest]))
}

/// Replaces dynamic quantization before products with constants: the product is computed with the numbers themselves.
#[derive(Clone, Copy, Debug)]
pub struct UnquantizeDynamically;

impl Pass for UnquantizeDynamically {
    fn name(&self) -> &'static str {
        "dynamic-quantization-to-numbers"
    }

    fn reason(&self) -> &'static str {
        "MyriadX computes with halves: values are not rounded to integers first"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let nodes = &model.graph().node;
        let is_product = |node: &NodeProto| {
            matches!(node.op_type(), "ConvInteger" | "MatMulInteger") && is_onnx_domain(node.domain())
        };
        let is_quantizer =
            |node: &NodeProto| node.op_type() == "DynamicQuantizeLinear" && is_onnx_domain(node.domain());
        if !nodes.iter().any(|node| is_product(node) || is_quantizer(node)) {
            return Ok(None);
        }
        let (facts, reads) = (model.facts(), model.reads());
        let dynamic = |value: &str| {
            let node = nodes.get(reads.producer(value)?)?;
            Some(node).filter(|node| is_quantizer(node) && node.output.first().is_some_and(|output| output == value))
        };
        let rounding = Rounding { nodes, reads };
        // The scale becomes 1 for all readers, so all products of a quantized value are rewritten, or none.
        let fits = |place: &usize| {
            nodes.get(*place).is_some_and(|node| {
                is_product(node)
                    && Shifted::of(node, facts, 1).is_some()
                    && node.input.first().and_then(|name| dynamic(name)).is_some_and(|quantizer| {
                        node.input.get(2).is_none_or(|zero| zero.is_empty() || Some(zero) == quantizer.output.get(2))
                    })
                    && node.output.first().is_some_and(|output| rounding.after(output).is_some())
            })
        };
        let is_free = |quantizer: &NodeProto| {
            let outputs = [0, 2].map(|place| quantizer.output.get(place));
            outputs
                .into_iter()
                .flatten()
                .all(|output| !reads.is_output(output) && reads.readers(output).iter().all(&fits))
        };
        let mut idle = BTreeSet::new();
        let patch = rewrite_nodes(
            model,
            |node| is_product(node) || node.op_type() == "DynamicQuantizeLinear",
            |site, draft| {
                if !is_product(site.node) {
                    if !is_free(site.node) {
                        return None;
                    }
                    draft.floats_as(site.output(1)?, &[], &[1.0]);
                    return Some(());
                }
                let quantizer = dynamic(site.input(0)?).filter(|quantizer| is_free(quantizer))?;
                draft.begin(site.output(0)?, ElementType::Float32);
                let weights = Shifted::of(site.node, facts, 1)?.written(draft);
                let operator = if site.node.op_type() == "ConvInteger" { "Conv" } else { "MatMul" };
                let inputs = [quantizer.input.first()?, weights.as_str()];
                let result = draft.apply_with(operator, &inputs, site.node.attribute.clone());
                draft.yields(&result, site.output(0)?);
                idle.extend(rounding.after(site.output(0)?)?);
                Some(())
            },
        )?;
        let Some(mut patch) = patch else { return Ok(None) };
        for place in idle {
            let Some(node) = nodes.get(place) else { continue };
            let mut node = node.clone();
            node.op_type = Some("Identity".to_owned());
            node.attribute.clear();
            patch.replace(place, vec![node]);
        }
        Ok(Some(patch))
    }
}

/// Finds the nodes that make whole numbers around a product, and numbers of its result.
struct Rounding<'graph> {
    nodes: &'graph [NodeProto],
    reads: &'graph Reads<'graph>,
}

impl Rounding<'_> {
    /// Returns the places of nodes that do nothing once the product `value` is of numbers, if that is all that happens to
    /// it: it becomes numbers, perhaps after a bias was added that had been rounded for that.
    fn after(&self, value: &str) -> Option<Vec<usize>> {
        let mut idle = Vec::new();
        for place in self.readers(value)? {
            let node = self.nodes.get(*place)?;
            if is_cast(Some(node)) {
                idle.push(*place);
                continue;
            }
            if node.op_type() != "Add" || !is_onnx_domain(node.domain()) {
                return None;
            }
            idle.extend(self.bias(node.input.iter().find(|input| *input != value)?)?);
            let readers = self.readers(node.output.first()?)?;
            if !readers.iter().all(|place| is_cast(self.nodes.get(*place))) {
                return None;
            }
            idle.extend_from_slice(readers);
        }
        Some(idle)
    }

    /// Returns who reads a value, unless it is a result of the network.
    fn readers(&self, value: &str) -> Option<&[usize]> {
        (!self.reads.is_output(value)).then(|| self.reads.readers(value))
    }

    /// Returns the nodes that round a bias, and make it a whole number.
    fn bias(&self, value: &str) -> Option<[usize; 2]> {
        let producer = |value: &str| {
            let place = self.reads.producer(value).filter(|_| self.readers(value).is_some_and(|all| all.len() == 1))?;
            Some((place, self.nodes.get(place).filter(|node| is_onnx_domain(node.domain()))?))
        };
        let before = |node: &NodeProto| producer(node.input.first()?);
        let mut cast = producer(value)?;
        if matches!(cast.1.op_type(), "Reshape" | "Unsqueeze") {
            cast = before(cast.1)?;
        }
        let round = before(cast.1).filter(|_| cast.1.op_type() == "Cast")?;
        matches!(round.1.op_type(), "Floor" | "Round").then_some([cast.0, round.0])
    }
}

fn is_cast(node: Option<&NodeProto>) -> bool {
    let to = |node: &NodeProto| node.attribute.iter().find(|attribute| attribute.name() == "to").and_then(|to| to.i);
    node.is_some_and(|node| {
        node.op_type() == "Cast"
            && is_onnx_domain(node.domain())
            && to(node) == Some(ElementType::Float32.code().into())
    })
}
