//! Whole numbers that a network computes with.
//!
//! The compiler takes whole numbers that a network is fed as indices, or converts them to halves, and that is all it does
//! with them; whole numbers inside of a network are halves to it, and some layers refuse their type. So they take the way
//! through floating numbers. Single precision holds whole numbers exactly up to 2^24, the device's halves up to 2^11:
//! beyond, neighbours are no longer told apart there. Indices into tables longer than that are therefore not converted.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use super::super::draft::{Draft, Site};
use super::super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{Attributes, ElementType, Facts, Known, Model, Patch, is_onnx_domain};

/// The whole numbers up to which single precision holds all.
const EXACT: RangeInclusive<i64> = -(1 << 24)..=1 << 24;
/// The greatest whole number up to which half precision holds all.
const GREATEST_HALF: i64 = 1 << 11;

pub(super) const fn is_whole(element: ElementType) -> bool {
    matches!(element, ElementType::Int32 | ElementType::Int64)
}

/// Lets whole numbers and truth values that a network is fed, and that are more than indices, take the way through
/// floating numbers.
#[derive(Clone, Copy, Debug)]
pub struct WholeNumberInputs;

impl Pass for WholeNumberInputs {
    fn name(&self) -> &'static str {
        "whole-number-inputs-through-floats"
    }

    fn reason(&self) -> &'static str {
        "the MYRIAD compiler only converts and looks up whole numbers that a network is fed"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let graph = model.graph();
        let inputs = model.inputs().into_iter();
        let is_converted = |element: &ElementType| is_whole(*element) || *element == ElementType::Boolean;
        let inputs: Vec<_> =
            inputs.filter_map(|input| Some((input.element().filter(is_converted)?, input.name))).collect();
        if inputs.is_empty() {
            return Ok(None);
        }
        let (facts, reads) = (model.facts(), model.reads());
        let long = lead_to_long_tables(model, facts);
        let mut draft = Draft::of(model);
        let mut replaced: BTreeMap<usize, Vec<NodeProto>> = BTreeMap::new();
        for (element, name) in inputs.iter().filter(|(_, name)| !long.contains(name.as_str())) {
            // What nested graphs read of around them is refused with them.
            let refuses = |node: &NodeProto| node.input.contains(name) && !takes_whole(node, name);
            let refuses = |place: &&usize| graph.node.get(**place).is_some_and(refuses);
            let readers: Vec<usize> = reads.readers(name).iter().filter(refuses).copied().collect();
            draft.begin(name, ElementType::Float32);
            let floating = draft.cast(name, ElementType::Float32);
            let whole = draft.cast(&floating, *element);
            let mut made = draft.take();
            for place in readers {
                let Some(node) = graph.node.get(place) else { continue };
                let nodes = replaced.entry(place).or_insert_with(|| vec![node.clone()]);
                let reader = nodes.last_mut().into_iter();
                let read = reader.flat_map(|node| &mut node.input).filter(|input| *input == name);
                read.for_each(|input| whole.clone_into(input));
                nodes.splice(0..0, made.drain(..));
            }
        }
        let mut patch = Patch::default();
        replaced.into_iter().for_each(|(place, nodes)| patch.replace(place, nodes));
        Ok(Some(patch).filter(|patch| !patch.is_empty()))
    }
}

/// Whether the compiler lets a node read whole numbers that the network is fed.
fn takes_whole(node: &NodeProto, input: &str) -> bool {
    let to = || ElementType::from_code(i32::try_from(Attributes(node).int("to")?).ok()?);
    match node.op_type() {
        _ if !is_onnx_domain(node.domain()) => true,
        "Cast" => to().is_some_and(ElementType::is_float),
        "Gather" => node.input.first().is_none_or(|data| data != input),
        _ => false,
    }
}

/// Values that become indices into tables with more entries than halves can tell apart.
fn lead_to_long_tables<'model>(model: &'model Model, facts: &Facts<'_>) -> HashSet<&'model str> {
    let mut indices: HashSet<&str> = HashSet::new();
    let mut sources = HashSet::new();
    for node in model.graph().node.iter().rev() {
        if node.output.iter().any(|output| indices.contains(output.as_str()) || sources.contains(output.as_str())) {
            let is_number = |input: &&String| facts.element(input).is_some_and(is_whole);
            sources.extend(node.input.iter().filter(is_number).map(String::as_str));
        }
        if node.op_type().starts_with("Gather") {
            let sizes = node.input.first().and_then(|data| facts.sizes(data)).unwrap_or_default();
            let axis = Attributes(node).int("axis").filter(|_| node.op_type() != "GatherND");
            let axis = axis.or((node.op_type() != "GatherND").then_some(0));
            let looked_up = match axis.map(|axis| Site::axis(axis, sizes.len())) {
                Some(axis) => axis.and_then(|axis| sizes.get(axis)),
                None => sizes.iter().max(),
            };
            if looked_up.is_none_or(|size| *size > GREATEST_HALF) {
                indices.extend(node.input.get(1).map(String::as_str));
            }
        }
    }
    sources
}

/// Looks up what a network is fed as it is, and gives what was found the form.
pub(super) fn formed_indices(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (data, output) = (site.input(0)?, site.output(0)?);
    let nodes = &site.model.graph().node;
    let mut indices = site.input(1)?;
    let mut is_formed = false;
    while let Some(node) = site.reads.producer(indices).and_then(|place| nodes.get(place)) {
        let source = node.input.first()?;
        let is_form = match node.op_type() {
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => true,
            "Cast" => site.facts.element(source).is_some_and(is_whole),
            _ => false,
        };
        if !is_form || !is_onnx_domain(node.domain()) {
            return None;
        }
        is_formed |= node.op_type() != "Cast";
        indices = source;
    }
    let element = site.facts.element(indices).filter(|element| is_whole(*element));
    if !is_formed || element.is_none() || site.facts.is_constant(indices) {
        return None;
    }
    let sizes = site.facts.sizes(output)?;
    let found = draft.apply_with("Gather", &[data, indices], site.node.attribute.clone());
    let result = draft.reshape(&found, &sizes);
    draft.yields(&result, output);
    Some(())
}

/// The greatest exponent that is written as products: a power of 2 beyond it is not told apart from its neighbours.
const GREATEST_EXPONENT: i64 = 24;

/// Writes constant powers of whole numbers as products (`Pow`, ONNX operator sets 12 to 15).
pub(super) fn power(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let input = site.input(0)?;
    site.facts.element(input).filter(|element| is_whole(*element))?;
    let exponent = match (site.constant_integers(1), site.facts.floats(site.input(1)?)) {
        (Some(whole), _) => <[i64; 1]>::try_from(whole).ok()?[0],
        (None, Some(floats)) => {
            let [exponent] = <[f64; 1]>::try_from(floats).ok()?;
            (1..=GREATEST_EXPONENT).find(|whole| *whole as f64 == exponent)?
        }
        (None, None) => return None,
    };
    // An exponent with more axes would give them to the result.
    if !(1..=GREATEST_EXPONENT).contains(&exponent) || site.rank(1)? > site.rank(0)? {
        return None;
    }
    let mut result = input.to_owned();
    for _ in 1..exponent {
        result = draft.binary("Mul", &result, input);
    }
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// Computes with floating numbers what the compiler does not compute with whole numbers or truth values.
pub(super) fn through_floats(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let element = site.facts.element(site.input(0)?)?;
    let operator = site.node.op_type();
    let is_truth = element == ElementType::Boolean && matches!(operator, "Expand" | "ReduceMax" | "ReduceMin" | "Tile");
    if !(is_whole(element) || is_truth) || site.node.input.iter().all(|input| site.facts.is_constant(input)) {
        return None;
    }
    let (numbers, keeps_type): (&[usize], bool) = match operator {
        "ArgMax" | "ArgMin" => (&[0], false),
        "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => (&[0, 1], false),
        "Clip" => (&[0, 1, 2], true),
        "Pad" => (&[0, 2], true),
        _ => (&[0], true),
    };
    let mut inputs = site.node.input.clone();
    for &place in numbers {
        if site.input(place).is_some() {
            *inputs.get_mut(place)? = floating(site, draft, place)?;
        }
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let results = draft.apply_many(operator, &inputs, site.node.output.len(), site.node.attribute.clone());
    for (place, result) in results.iter().enumerate() {
        let Some(output) = site.output(place) else { continue };
        // Results behind the first are places.
        let result = if keeps_type && place == 0 { draft.cast(result, element) } else { result.clone() };
        draft.yields(&result, output);
    }
    Some(())
}

/// Returns an input of a node as floating numbers.
pub(super) fn floating(site: &Site<'_>, draft: &mut Draft, place: usize) -> Option<String> {
    let input = site.input(place)?;
    if site.facts.element(input)?.is_float() {
        return Some(input.to_owned());
    }
    match site.facts.integers(input) {
        Some(values) if values.iter().all(|value| EXACT.contains(value)) => {
            let values: Vec<f64> = values.into_iter().map(|value| value as f64).collect();
            Some(draft.floats(&site.facts.sizes(input)?, &values))
        }
        Some(_) => None,
        None => Some(draft.cast(input, ElementType::Float32)),
    }
}
