//! Loops and branches, written out as operators of the main graph, and the shapes of what they compute.
//!
//! A loop is written out round by round where its condition follows from constants alone. Of a branch, the side that
//! constants choose is taken; if they choose none, both are computed and one is selected. What is named as a whole is its
//! parts. What remains stays an operator.
//! Lists that loops fill element by element are joined from their elements once.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::evaluate::{self, Known};
use super::shapes::{Applied, allows};
use super::{Budget, Graph, Model, Operator, Tensor, TensorId, TfliteError, unique};
use crate::onnx::ElementType;

/// The most rounds of a loop, and the most operators that loops and branches become. A network of more would not fit any
/// device.
const MOST: usize = 1 << 14;
/// How deep loops and branches may stand in each other.
const DEEPEST: usize = 8;
/// How many bytes the names and operands of what is written may take.
const MAX_WRITTEN: usize = 16 << 20;

impl Model {
    /// Returns the model with its loops and branches written out, as far as that is possible, and with the shapes that
    /// follow from those of some tensors. Shapes that the model does not allow are passed over.
    ///
    /// # Errors
    /// The operators' options are broken, or what is written would exhaust memory.
    pub fn written_out(&self, shapes: &[(TensorId, Vec<i64>)]) -> Result<Self, TfliteError> {
        let mut main = Graph { operators: Vec::new(), ..self.main.clone() };
        for (id, shape) in shapes {
            if let Some(tensor) = main.tensors.get_mut(*id).filter(|tensor| allows(&tensor.signature, shape)) {
                tensor.shape.clone_from(shape);
            }
        }
        let names = main.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        let mut writer = Writer {
            model: self,
            graph: &mut main,
            given: shapes.iter().map(|(id, _)| *id).collect(),
            known: Known::new(),
            names,
            shared: HashMap::new(),
            parts: HashMap::new(),
            written: 0,
            followed: 0,
            budget: Budget(MAX_WRITTEN),
        };
        let mut places: Vec<Option<TensorId>> = (0..self.main.tensors.len()).map(Some).collect();
        writer.write(&self.main, None, &mut places, 0)?;
        Ok(Self { main, nested: self.nested.clone() })
    }
}

/// A span of a tensor along an axis, from one element to before another.
#[derive(Clone, Copy, Debug)]
struct Part {
    of: TensorId,
    from: i64,
    to: i64,
}

struct Writer<'a> {
    model: &'a Model,
    graph: &'a mut Graph,
    /// The tensors whose shapes are given.
    given: HashSet<TensorId>,
    known: Known,
    names: HashSet<String>,
    /// Constants of nested graphs: all rounds share them.
    shared: HashMap<(usize, TensorId), TensorId>,
    /// What tensors are joined from, and along which axis.
    parts: HashMap<TensorId, (usize, Vec<Part>)>,
    /// How many operators were written.
    written: usize,
    /// How many rounds of loops were followed to find their end.
    followed: usize,
    budget: Budget,
}

impl Writer<'_> {
    /// Writes the operators of a graph. `places` says which tensor each tensor of that graph is; what is computed is added.
    /// `own` is the place of a nested graph.
    fn write(
        &mut self,
        graph: &Graph,
        own: Option<usize>,
        places: &mut [Option<TensorId>],
        depth: usize,
    ) -> Result<(), TfliteError> {
        for operator in &graph.operators {
            let mut inputs = Vec::new();
            for id in &operator.inputs {
                inputs.push(match id {
                    Some(id) => Some(self.place(graph, own, places, *id)?),
                    None => None,
                });
            }
            let results = match operator.graphs()? {
                Some(nested) if depth < DEEPEST => self.control(operator, nested, &inputs, depth)?,
                _ => None,
            };
            if let Some(results) = results {
                for (id, result) in operator.outputs.iter().zip(results) {
                    self.bind(*id, result, places)?;
                }
                continue;
            }
            let mut outputs = Vec::new();
            for id in &operator.outputs {
                outputs.push(self.place(graph, own, places, *id)?);
            }
            self.apply(operator, inputs, outputs, own.is_some())?;
        }
        Ok(())
    }

    /// Returns which tensor a tensor of a graph is; what a nested graph computes becomes a new one.
    fn place(
        &mut self,
        graph: &Graph,
        own: Option<usize>,
        places: &mut [Option<TensorId>],
        id: TensorId,
    ) -> Result<TensorId, TfliteError> {
        if let Some(place) = places.get(id).copied().flatten() {
            return Ok(place);
        }
        let constant =
            own.map(|own| (own, id)).filter(|_| graph.tensors.get(id).is_some_and(|tensor| tensor.data.is_some()));
        let shared = constant.and_then(|constant| self.shared.get(&constant).copied());
        let place = match (shared, graph.tensors.get(id)) {
            (Some(place), _) => place,
            (None, Some(tensor)) => self.add(tensor.clone())?,
            // Every index was checked when the model was read.
            (None, None) => id,
        };
        if let Some(constant) = constant {
            self.shared.insert(constant, place);
        }
        if let Some(slot) = places.get_mut(id) {
            *slot = Some(place);
        }
        Ok(place)
    }

    /// Adds a tensor under a name that no other one has.
    fn add(&mut self, tensor: Tensor) -> Result<TensorId, TfliteError> {
        self.budget.spend(size_of::<Tensor>() + tensor.name.len())?;
        let place = self.graph.tensors.len();
        let name = unique(tensor.name.clone(), place, &mut self.names);
        self.graph.tensors.push(Tensor { name, ..tensor });
        Ok(place)
    }

    /// Adds a constant list of integers.
    fn list(&mut self, name: &str, values: &[i64]) -> Result<TensorId, TfliteError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = vec![values.len() as i64];
        self.add(Tensor {
            name: name.to_owned(),
            signature: shape.clone(),
            shape,
            element: Some(ElementType::Int64),
            quantization: None,
            is_variable: false,
            has_known_shape: true,
            data: Some(Bytes::from(bytes)),
            sparsity: None,
        })
    }

    /// Lets a result of a loop or a branch be a tensor that was written.
    fn bind(&mut self, id: TensorId, result: TensorId, places: &mut [Option<TensorId>]) -> Result<(), TfliteError> {
        match places.get_mut(id) {
            // The tensors of the main graph keep their names.
            Some(Some(place)) => {
                let place = *place;
                let shape = self.graph.tensors.get(result).map(|tensor| tensor.shape.clone());
                if let (Some(shape), Some(tensor)) = (shape, self.graph.tensors.get_mut(place))
                    && allows(&tensor.signature, &shape)
                {
                    tensor.shape = shape;
                }
                let name = "RESHAPE".to_owned();
                self.push(Operator { inputs: vec![Some(result)], outputs: vec![place], name, ..Operator::default() })?;
                if let Some(values) = evaluate::elements(&self.graph.tensors, &self.known, result) {
                    self.known.insert(place, values);
                }
            }
            Some(slot) => *slot = Some(result),
            None => {}
        }
        Ok(())
    }

    fn push(&mut self, operator: Operator) -> Result<(), TfliteError> {
        let operands = operator.inputs.len() + operator.outputs.len();
        self.budget.spend(size_of::<Operator>() + operator.name.len() + 16 * operands)?;
        self.written += 1;
        self.graph.operators.push(operator);
        Ok(())
    }

    /// Writes out a loop or a branch; returns its results, or nothing if it stays an operator.
    fn control(
        &mut self,
        operator: &Operator,
        nested: [i32; 2],
        inputs: &[Option<TensorId>],
        depth: usize,
    ) -> Result<Option<Vec<TensorId>>, TfliteError> {
        let model = self.model;
        let find = |index: i32| {
            let place = usize::try_from(index).ok()?;
            let graph = model.nested.get(&place)?;
            // A state that lives on from round to round would begin anew in each.
            (!graph.tensors.iter().any(|tensor| tensor.is_variable)).then_some(Nested { place, graph })
        };
        let given: Option<Vec<TensorId>> = inputs.iter().copied().collect();
        let (Some(first), Some(second), Some(given)) = (find(nested[0]), find(nested[1]), given) else {
            return Ok(None);
        };
        match operator.name.as_str() {
            "WHILE" => self.repeat(&first, &second, given, depth),
            "IF" => self.branch(&first, &second, &given, depth),
            _ if first.graph.inputs.len() == given.len() && first.graph.operators.len() + self.written <= MOST => {
                self.run(&first, &given, depth).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn repeat(
        &mut self,
        condition: &Nested<'_>,
        body: &Nested<'_>,
        mut values: Vec<TensorId>,
        depth: usize,
    ) -> Result<Option<Vec<TensorId>>, TfliteError> {
        let takes = |graph: &Graph| graph.inputs.len() == values.len();
        if !takes(condition.graph) || !takes(body.graph) || body.graph.outputs.len() != values.len() {
            return Ok(None);
        }
        let Some(rounds) = self.rounds(condition.graph, body.graph, &values) else { return Ok(None) };
        for _ in 0..rounds {
            values = self.run(body, &values, depth)?;
        }
        Ok(Some(values))
    }

    /// Returns how often a loop goes round, if that follows from constants and what it becomes is not too large.
    fn rounds(&mut self, condition: &Graph, body: &Graph, values: &[TensorId]) -> Option<usize> {
        let mut known: Vec<Option<Vec<i64>>> = values.iter().map(|id| self.elements(*id)).collect();
        for round in 0.. {
            if let [0] = evaluate::results(condition, &known).first()?.as_deref()? {
                return Some(round);
            }
            self.followed += 1;
            if (round + 1) * body.operators.len() + self.written > MOST || self.followed > MOST {
                return None;
            }
            known = evaluate::results(body, &known);
        }
        None
    }

    fn branch(
        &mut self,
        yes: &Nested<'_>,
        no: &Nested<'_>,
        inputs: &[TensorId],
        depth: usize,
    ) -> Result<Option<Vec<TensorId>>, TfliteError> {
        let Some((&condition, given)) = inputs.split_first() else { return Ok(None) };
        let sides = [yes, no].map(|side| side.graph);
        if sides.iter().any(|side| side.inputs.len() != given.len()) {
            return Ok(None);
        }
        if let Some(&[chosen]) = self.elements(condition).as_deref() {
            return self.run(if chosen == 0 { no } else { yes }, given, depth).map(Some);
        }
        let size: usize = sides.iter().map(|side| side.operators.len()).sum();
        let kinds = sides.map(|side| {
            let tensors = side.outputs.iter().filter_map(|id| side.tensors.get(*id));
            tensors.map(|tensor| (tensor.shape.as_slice(), tensor.element)).collect::<Vec<_>>()
        });
        if kinds[0] != kinds[1] || size + self.written > MOST {
            return Ok(None);
        }
        let (yes, no) = (self.run(yes, given, depth)?, self.run(no, given, depth)?);
        let mut results = Vec::new();
        for (yes, no) in yes.into_iter().zip(no) {
            let Some(tensor) = self.graph.tensors.get(yes).filter(|_| yes != no) else {
                results.push(yes);
                continue;
            };
            let name = format!("{}/selected", tensor.name);
            let result = self.add(Tensor { name, data: None, sparsity: None, ..tensor.clone() })?;
            let inputs = [condition, yes, no].map(Some).to_vec();
            let name = "SELECT_V2".to_owned();
            self.push(Operator { name, inputs, outputs: vec![result], ..Operator::default() })?;
            results.push(result);
        }
        Ok(Some(results))
    }

    /// Writes a nested graph once; returns its results.
    fn run(&mut self, nested: &Nested<'_>, given: &[TensorId], depth: usize) -> Result<Vec<TensorId>, TfliteError> {
        let Nested { place, graph } = *nested;
        let mut places = vec![None; graph.tensors.len()];
        for (id, given) in graph.inputs.iter().zip(given) {
            if let Some(slot) = places.get_mut(*id) {
                *slot = Some(*given);
            }
        }
        self.write(graph, Some(place), &mut places, depth + 1)?;
        graph.outputs.iter().map(|id| self.place(graph, Some(place), &mut places, *id)).collect()
    }

    fn elements(&self, id: TensorId) -> Option<Vec<i64>> {
        evaluate::elements(&self.graph.tensors, &self.known, id)
    }

    /// Writes an operator, or makes its result a constant.
    fn apply(
        &mut self,
        operator: &Operator,
        inputs: Vec<Option<TensorId>>,
        outputs: Vec<TensorId>,
        is_nested: bool,
    ) -> Result<(), TfliteError> {
        let mut operator = Operator { inputs, outputs, ..operator.clone() };
        self.state_shapes(&operator);
        let results = operator.outputs.iter().enumerate();
        let known = results.map(|(place, output)| Some((*output, self.evaluated(&operator, place, *output)?)));
        if let Some(known) = known.collect::<Option<Vec<_>>>().filter(|known| !known.is_empty()) {
            self.known.extend(known);
            return Ok(());
        }
        if let &[output] = operator.outputs.as_slice() {
            match operator.name.as_str() {
                "SLICE" if is_nested => self.slice(&operator, output),
                "CONCATENATION" if is_nested => self.join(&mut operator, output)?,
                _ => {}
            }
        }
        self.push(operator)
    }

    /// States the shapes of results of which the model leaves a dimension open.
    fn state_shapes(&mut self, operator: &Operator) {
        let tensor = |id: &TensorId| self.graph.tensors.get(*id);
        let is_other = |(size, said): (&i64, &i64)| *said < 0 && *size != 1;
        let was_changed = |tensor: &Tensor| tensor.shape.iter().zip(&tensor.signature).any(is_other);
        let is_changed = operator.inputs.iter().flatten().filter_map(tensor).any(was_changed);
        let is_open = |tensor: &Tensor| tensor.signature.iter().any(|size| *size < 0);
        if !is_changed && !operator.outputs.iter().filter_map(tensor).any(is_open) {
            return;
        }
        let applied = Applied { operator, tensors: &self.graph.tensors, known: &self.known };
        let shapes = applied.results().unwrap_or_default();
        for (place, id) in operator.outputs.iter().enumerate().filter(|(_, id)| !self.given.contains(id)) {
            let Some(tensor) = self.graph.tensors.get_mut(*id) else { continue };
            match shapes.get(place).filter(|shape| allows(&tensor.signature, shape)) {
                Some(shape) => tensor.shape.clone_from(shape),
                // While nothing has another shape than the model says, what it says of a result may be right.
                None => tensor.has_known_shape = !is_changed,
            }
        }
    }

    /// Makes a result of an operator a constant, if it follows from constants.
    fn evaluated(&mut self, operator: &Operator, place: usize, output: TensorId) -> Option<Vec<i64>> {
        let result = self.graph.tensors.get(output)?;
        let values = evaluate::evaluate(operator, (place, result), &operator.inputs, &self.graph.tensors, &self.known)?;
        let size = usize::try_from(result.element?.bits()?.div_ceil(8)).ok()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(size)).collect();
        self.graph.tensors.get_mut(output)?.data = Some(Bytes::from(bytes));
        Some(values)
    }

    /// Notes what a slice is a part of.
    fn slice(&mut self, operator: &Operator, output: TensorId) {
        let bounds = [1, 2].map(|place| operator.input(place).and_then(|id| self.elements(id)));
        let (Some(from), [Some(begins), Some(sizes)]) = (operator.input(0), bounds) else { return };
        let Some(sliced) = self.graph.tensors.get(from) else { return };
        let mut cut = Vec::new();
        for (axis, ((&begin, &size), &whole)) in begins.iter().zip(&sizes).zip(&sliced.shape).enumerate() {
            let end = if size < 0 { whole } else { begin.saturating_add(size) };
            if !(0..=end).contains(&begin) || end > whole {
                return;
            }
            if end - begin != whole {
                cut.push((axis, Part { of: from, from: begin, to: end }));
            }
        }
        if let &[(axis, part)] = cut.as_slice() {
            self.parts.insert(output, (axis, self.within(axis, part)));
        }
    }

    /// Returns what a part of a tensor is joined from.
    fn within(&self, axis: usize, part: Part) -> Vec<Part> {
        let parts = match self.parts.get(&part.of) {
            Some((along, parts)) if *along == axis => parts.as_slice(),
            _ => return if part.from < part.to { vec![part] } else { Vec::new() },
        };
        let mut found = Vec::new();
        let mut begin = 0;
        for inner in parts {
            let (from, to) = (part.from.max(begin) - begin, part.to.min(begin + inner.to - inner.from) - begin);
            if from < to {
                found.push(Part { of: inner.of, from: inner.from + from, to: inner.from + to });
            }
            begin += inner.to - inner.from;
        }
        found
    }

    /// Lets what joins slices of what was joined before join the parts themselves.
    fn join(&mut self, operator: &mut Operator, output: TensorId) -> Result<(), TfliteError> {
        let Some(result) = self.graph.tensors.get(output) else { return Ok(()) };
        let axis = operator.axis()?;
        let axis = if axis < 0 { axis.saturating_add(result.shape.len() as i64) } else { axis };
        let Ok(axis) = usize::try_from(axis) else { return Ok(()) };
        let is_part = |id: &TensorId| self.parts.contains_key(id);
        if operator.fused_activation()? != super::Activation::None || !operator.inputs.iter().flatten().any(is_part) {
            return Ok(());
        }
        let mut parts = Vec::new();
        for id in operator.inputs.iter().flatten() {
            let Some(&to) = self.graph.tensors.get(*id).and_then(|tensor| tensor.shape.get(axis)) else {
                return Ok(());
            };
            parts.extend(self.within(axis, Part { of: *id, from: 0, to }));
        }
        let length: i64 = parts.iter().map(|part| part.to - part.from).sum();
        if result.shape.get(axis) != Some(&length) {
            return Ok(());
        }
        let inputs = parts.iter().map(|part| self.take(axis, *part).map(Some)).collect::<Result<_, _>>()?;
        operator.inputs = inputs;
        self.parts.insert(output, (axis, parts));
        Ok(())
    }

    /// Returns a tensor that is a part of one.
    fn take(&mut self, axis: usize, part: Part) -> Result<TensorId, TfliteError> {
        let Some(tensor) = self.graph.tensors.get(part.of) else { return Ok(part.of) };
        let mut sizes = tensor.shape.clone();
        let mut begins = vec![0; sizes.len()];
        match (sizes.get_mut(axis), begins.get_mut(axis)) {
            (Some(size), Some(begin)) if part.to - part.from < *size => {
                (*size, *begin) = (part.to - part.from, part.from);
            }
            _ => return Ok(part.of),
        }
        let name = format!("{}/part", tensor.name);
        let part_of = Tensor {
            name,
            shape: sizes.clone(),
            signature: sizes.clone(),
            data: None,
            sparsity: None,
            ..tensor.clone()
        };
        let result = self.add(part_of)?;
        let bounds = [self.list("begins", &begins)?, self.list("sizes", &sizes)?];
        let inputs = [part.of, bounds[0], bounds[1]].map(Some).to_vec();
        self.push(Operator { name: "SLICE".to_owned(), inputs, outputs: vec![result], ..Operator::default() })?;
        Ok(result)
    }
}

/// A nested graph and its place in the file.
struct Nested<'a> {
    place: usize,
    graph: &'a Graph,
}
