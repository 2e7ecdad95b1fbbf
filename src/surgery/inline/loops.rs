//! `Loop`, `Scan` and `SequenceMap` that run a known number of times.

use std::collections::{BTreeMap, HashMap};

use super::{MAX_NODES, Transplant, node, prefix};
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{
    Array, Attributes, ElementType, Facts, FreshNames, Known, Patch, integers, is_onnx_domain, kernels, node_label,
};
use crate::surgery::build::{integer, integers_attribute};
use crate::surgery::sequences::Sequences;
use crate::surgery::{Pass, PassError};

/// The first operator set whose `Scan` has no batch axis.
const PLAIN_SCAN: i64 = 9;

/// The first operator set whose `Unsqueeze` takes its axes as an input.
const AXES_AS_INPUT: i64 = 13;

/// The most bytes of a result that is computed to find out when a loop ends.
const MAX_FOLLOWED: u64 = 1 << 16;

/// Writes each round of a loop one after the other, if it is known how many there are.
#[derive(Clone, Copy, Debug)]
pub struct UnrollLoops;

impl Pass for UnrollLoops {
    fn name(&self) -> &'static str {
        "unroll-loops"
    }

    fn reason(&self) -> &'static str {
        "a loop of a known number of rounds is a plain network, and the tools know no loops"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let is_loop = |node: &NodeProto| {
            matches!(node.op_type(), "Loop" | "Scan" | "SequenceMap") && is_onnx_domain(node.domain())
        };
        if !model.graph().node.iter().any(is_loop) {
            return Ok(None);
        }
        let facts = model.facts();
        let sequences = Sequences { model, facts, reads: model.reads() };
        let mut names = FreshNames::of(model);
        let mut patch = Patch::default();
        for (place, node) in model.graph().node.iter().enumerate().filter(|(_, node)| is_loop(node)) {
            // The condition of a loop is an output of its body only.
            let outputs = node.output.len() + usize::from(node.op_type() == "Loop");
            let whole = |body: &&GraphProto| body.sparse_initializer.is_empty() && body.output.len() == outputs;
            let Some(body) = Attributes(node).graph("body").filter(whole) else {
                continue;
            };
            let mut rounds = Rounds {
                node,
                body,
                facts,
                opset: model.opset(),
                transplant: Transplant::new(&mut names),
                shared: BTreeMap::new(),
                known: HashMap::new(),
                prefix: prefix(node),
            };
            let unrolled = match node.op_type() {
                "Loop" => rounds.unroll_loop()?,
                "Scan" => rounds.unroll_scan()?,
                _ => rounds.unroll_map(sequences)?,
            };
            if unrolled.is_some() {
                patch.added_initializers.append(&mut rounds.transplant.constants);
                patch.replace(place, rounds.transplant.nodes);
            }
        }
        Ok(Some(patch))
    }
}

/// One loop as it is unrolled.
struct Rounds<'a, 'model> {
    node: &'model NodeProto,
    body: &'model GraphProto,
    facts: &'a Facts<'model>,
    opset: i64,
    transplant: Transplant<'a, 'model>,
    /// What the constants of the body are called outside.
    shared: BTreeMap<String, String>,
    /// What is known about the new values, to see when a loop ends.
    known: HashMap<String, Array>,
    prefix: String,
}

impl Rounds<'_, '_> {
    fn array(&self, name: &str) -> Option<Array> {
        self.known.get(name).cloned().or_else(|| self.facts.array(name))
    }

    fn begin(&mut self) {
        self.transplant.constants(self.body, &self.prefix, &mut self.shared);
        for tensor in &self.transplant.constants {
            self.known.extend(Array::of(tensor).map(|array| (tensor.name().to_owned(), array)));
        }
        self.follow(0);
    }

    /// Copies the body once; returns what its outputs are called. `inputs` are the names of what it is given.
    fn round(&mut self, number: usize, inputs: &[String]) -> Result<Vec<String>, PassError> {
        let first = self.transplant.nodes.len();
        if first.saturating_add(self.body.node.len()) > MAX_NODES {
            return Err(PassError::TooManyNodes { node: node_label(self.node), limit: MAX_NODES });
        }
        let mut renamed = self.shared.clone();
        renamed.extend(self.body.input.iter().map(|input| input.name().to_owned()).zip(inputs.iter().cloned()));
        self.transplant.nodes(self.body, &format!("{}/{number}", self.prefix), &mut renamed);
        self.follow(first);
        let outputs = self.body.output.iter().map(|output| output.name());
        Ok(outputs.map(|name| renamed.get(name).cloned().unwrap_or_else(|| name.to_owned())).collect())
    }

    /// Computes what is constant among the nodes from place `first` on.
    fn follow(&mut self, first: usize) {
        for node in self.transplant.nodes.iter().skip(first) {
            let array = |name: &String| match name.as_str() {
                "" => Some(None),
                name => self.known.get(name).cloned().or_else(|| self.facts.array(name)).map(Some),
            };
            let small = |array: &Option<Array>| array.as_ref().is_none_or(|it| it.bytes().len() as u64 <= MAX_FOLLOWED);
            let inputs = node.input.iter().map(|name| array(name).filter(small)).collect::<Option<Vec<_>>>();
            let results = inputs.and_then(|inputs| kernels::evaluate(node, self.opset, &inputs, MAX_FOLLOWED));
            self.known.extend(results.into_iter().flat_map(|results| node.output.iter().cloned().zip(results)));
        }
    }

    /// Adds a constant without axes.
    fn scalar(&mut self, what: &str, array: Option<Array>) -> Option<String> {
        let name = self.transplant.names.make(&format!("{}/{what}", self.prefix));
        let array = array?;
        self.transplant.constants.push(array.to_tensor(&name));
        self.known.insert(name.clone(), array);
        Some(name)
    }

    fn unroll_loop(&mut self) -> Result<Option<()>, PassError> {
        let given = |place: usize| self.node.input.get(place).filter(|name| !name.is_empty());
        let single = |name: &String| self.array(name).and_then(|array| array.to_integer());
        let trips = given(0).map_or(Some(i64::MAX), single);
        let condition = given(1).map_or(Some(1), single);
        let (Some(trips), Some(mut goes_on)) = (trips, condition) else {
            return Ok(None);
        };
        let mut states: Vec<String> = self.node.input.iter().skip(2).cloned().collect();
        let mut scans: Vec<Vec<String>> = vec![Vec::new(); self.node.output.len().saturating_sub(states.len())];
        self.begin();
        let truth = Array::new(ElementType::Boolean, Vec::new(), vec![1].into());
        let Some(truth) = self.scalar("condition", truth) else {
            return Ok(None);
        };
        let mut number = 0;
        while (number as i64) < trips && goes_on != 0 {
            let Some(count) =
                self.scalar(&format!("{number}/iteration"), Array::integers(Vec::new(), &[number as i64]))
            else {
                return Ok(None);
            };
            // Every round adds a constant at least, so that even an empty body ends.
            if number >= MAX_NODES {
                return Err(PassError::TooManyNodes { node: node_label(self.node), limit: MAX_NODES });
            }
            let inputs = [vec![count, truth.clone()], states.clone()].concat();
            let outputs = self.round(number, &inputs)?;
            let Some((condition, results)) = outputs.split_first() else {
                return Ok(None);
            };
            let Some((new_states, new_scans)) = results.split_at_checked(states.len()) else {
                return Ok(None);
            };
            let Some(value) = self.array(condition).and_then(|array| array.to_integer()) else {
                return Ok(None);
            };
            goes_on = value;
            states = new_states.to_vec();
            scans.iter_mut().zip(new_scans).for_each(|(all, new)| all.push(new.clone()));
            number += 1;
        }
        let axes = vec![0; scans.len()];
        Ok(self.finish(&states, scans, &axes))
    }

    fn unroll_scan(&mut self) -> Result<Option<()>, PassError> {
        let attributes = Attributes(self.node);
        let scanned = attributes.int("num_scan_inputs").and_then(|count| usize::try_from(count).ok());
        let states = scanned.and_then(|count| self.node.input.len().checked_sub(count));
        let (Some(state_count), true) = (states, self.opset >= PLAIN_SCAN) else {
            return Ok(None);
        };
        let listed =
            |name: &str, place: usize| attributes.ints(name).and_then(|list| list.get(place)).copied().unwrap_or(0);
        let sequences: Vec<&String> = self.node.input.iter().skip(state_count).collect();
        let mut axes = Vec::new();
        let mut length = None;
        for (place, name) in sequences.iter().enumerate() {
            let Some(sizes) = self.facts.sizes(name) else {
                return Ok(None);
            };
            let axis = listed("scan_input_axes", place);
            let counted = if axis < 0 { axis.saturating_add(sizes.len() as i64) } else { axis };
            let size = usize::try_from(counted).ok().and_then(|axis| sizes.get(axis)).copied();
            let (Some(size), true) = (size, length.is_none() || length == size) else {
                return Ok(None);
            };
            length = Some(size);
            axes.push(counted);
        }
        let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
            return Ok(None);
        };
        let mut states: Vec<String> = self.node.input.iter().take(state_count).cloned().collect();
        let mut scans: Vec<Vec<String>> = vec![Vec::new(); self.node.output.len().saturating_sub(state_count)];
        self.begin();
        for number in 0..length {
            let mut inputs = states.clone();
            for (place, (name, axis)) in sequences.iter().zip(&axes).enumerate() {
                let backward = listed("scan_input_directions", place) != 0;
                let index = if backward { length - 1 - number } else { number };
                let Some(part) = self.part(name, *axis, (number, place, index)) else {
                    return Ok(None);
                };
                inputs.push(part);
            }
            let outputs = self.round(number, &inputs)?;
            let Some((new_states, new_scans)) = outputs.split_at_checked(state_count) else {
                return Ok(None);
            };
            states = new_states.to_vec();
            for (place, (all, new)) in scans.iter_mut().zip(new_scans).enumerate() {
                let at = if listed("scan_output_directions", place) != 0 { 0 } else { all.len() };
                all.insert(at, new.clone());
            }
        }
        let mut out_axes = Vec::new();
        for (place, name) in self.node.output.iter().skip(state_count).enumerate() {
            let axis = listed("scan_output_axes", place);
            // Counted in the result, which has one axis more.
            let rank = self.facts.rank(name).and_then(|rank| i64::try_from(rank).ok());
            match (axis, rank) {
                (0.., _) => out_axes.push(axis),
                (_, Some(rank)) => out_axes.push(axis.saturating_add(rank)),
                _ => return Ok(None),
            }
        }
        Ok(self.finish(&states, scans, &out_axes))
    }

    /// Applies the body to the members of sequences; what is no sequence is the same in all rounds.
    fn unroll_map(&mut self, sequences: Sequences<'_>) -> Result<Option<()>, PassError> {
        let given = self.node.input.iter().enumerate();
        let length = |(place, name): (usize, &String)| match sequences.members(name) {
            Some(members) => Some(Some(members.len())),
            None => (place > 0 && self.facts.element(name).is_some()).then_some(None),
        };
        let Some(lengths) = given.map(length).collect::<Option<Vec<Option<usize>>>>() else {
            return Ok(None);
        };
        let mut known = lengths.iter().flatten();
        let Some(&length) = known.next().filter(|first| known.all(|length| length == *first)) else {
            return Ok(None);
        };
        self.begin();
        let mut results: Vec<Vec<String>> = vec![Vec::new(); self.node.output.len()];
        for number in 0..length {
            let Some(at) = self.scalar(&format!("{number}/index"), Array::integers(Vec::new(), &[number as i64]))
            else {
                return Ok(None);
            };
            let mut inputs = self.node.input.clone();
            for (place, (input, _)) in inputs.iter_mut().zip(&lengths).enumerate().filter(|(_, (_, it))| it.is_some()) {
                let member = self.transplant.names.make(&format!("{}/{number}/input_{place}", self.prefix));
                let label = self.transplant.names.make(&format!("{member}/SequenceAt"));
                self.transplant.nodes.push(node("SequenceAt", label, &[input, &at], &[&member]));
                *input = member;
            }
            let outputs = self.round(number, &inputs)?;
            results.iter_mut().zip(outputs).for_each(|(all, new)| all.push(new));
        }
        for (members, output) in results.iter().zip(&self.node.output).filter(|(_, output)| !output.is_empty()) {
            let operator = if members.is_empty() { "SequenceEmpty" } else { "SequenceConstruct" };
            let label = self.transplant.names.make(&format!("{output}/{operator}"));
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            self.transplant.nodes.push(node(operator, label, &members, &[output]));
        }
        Ok(Some(()))
    }

    /// Takes one slice out of a tensor, without its axis.
    fn part(&mut self, name: &str, axis: i64, (number, place, index): (usize, usize, usize)) -> Option<String> {
        let at = self.scalar(&format!("{number}/index"), Array::integers(Vec::new(), &[index as i64]))?;
        let part = self.transplant.names.make(&format!("{}/{number}/input_{place}", self.prefix));
        let label = self.transplant.names.make(&format!("{part}/Gather"));
        let mut gather = node("Gather", label, &[name, &at], &[&part]);
        gather.attribute.push(integer("axis", axis));
        self.transplant.nodes.push(gather);
        Some(part)
    }

    /// Gives the results of the last round, and of all rounds together, the names that the loop's had.
    fn finish(&mut self, states: &[String], scans: Vec<Vec<String>>, axes: &[i64]) -> Option<()> {
        for (state, output) in states.iter().zip(&self.node.output).filter(|(_, output)| !output.is_empty()) {
            self.transplant.alias(state, output);
        }
        let outputs = self.node.output.iter().skip(states.len());
        for ((parts, output), axis) in
            scans.into_iter().zip(outputs).zip(axes).filter(|((_, output), _)| !output.is_empty())
        {
            if parts.is_empty() {
                let sizes = self.facts.sizes(output)?.into_iter().map(|size| usize::try_from(size).ok());
                let none = Array::new(self.facts.element(output)?, sizes.collect::<Option<_>>()?, Vec::new().into())?;
                let name = self.transplant.names.make(&format!("{output}/none"));
                self.transplant.constants.push(none.to_tensor(&name));
                self.transplant.alias(&name, output);
                continue;
            }
            let numbered = parts.iter().enumerate();
            let unsqueezed: Vec<String> =
                numbered.map(|(number, part)| self.unsqueeze(part, &format!("{output}/{number}"), *axis)).collect();
            let label = self.transplant.names.make(&format!("{output}/Concat"));
            let inputs: Vec<&str> = unsqueezed.iter().map(String::as_str).collect();
            let mut concat = node("Concat", label, &inputs, &[output]);
            concat.attribute.push(integer("axis", *axis));
            self.transplant.nodes.push(concat);
        }
        Some(())
    }

    fn unsqueeze(&mut self, part: &str, wanted: &str, axis: i64) -> String {
        let result = self.transplant.names.make(wanted);
        let label = self.transplant.names.make(&format!("{result}/Unsqueeze"));
        let mut unsqueeze = node("Unsqueeze", label, &[part], &[&result]);
        if self.opset < AXES_AS_INPUT {
            unsqueeze.attribute.push(integers_attribute("axes", vec![axis]));
        } else {
            let axes = self.transplant.names.make(&format!("{result}/axes"));
            self.transplant.constants.push(integers(&axes, &[1], &[axis]));
            unsqueeze.input.push(axes);
        }
        self.transplant.nodes.push(unsqueeze);
        result
    }
}
