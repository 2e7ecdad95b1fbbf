//! Variables that are set once and then only read: constants under another name.
//!
//! A variable is known by two names. The graph that `CALL_ONCE` runs before the first run sets it; what sets it elsewhere
//! makes a state of it, which stays what it is.

use std::collections::{BTreeMap, HashSet};

use super::{Budget, Graph, Tensor, TensorId, TfliteError};

/// The names of a variable: where it belongs, and what it is called there.
type Name = [String; 2];

/// Makes constants of the variables that the main graph only reads.
pub(super) fn settle(
    main: &mut Graph,
    nested: &BTreeMap<usize, Graph>,
    budget: &mut Budget,
) -> Result<(), TfliteError> {
    let once: HashSet<usize> = main.first_runs()?.into_iter().filter_map(|index| usize::try_from(index).ok()).collect();
    if once.is_empty() {
        return Ok(());
    }
    let mut settled: BTreeMap<Name, Option<Tensor>> = BTreeMap::new();
    let sides = nested.iter().map(|(place, graph)| (graph, once.contains(place)));
    for (graph, is_first) in sides.chain([(&*main, false)]) {
        let handles = handles(graph, budget)?;
        for operator in graph.operators.iter().filter(|operator| operator.name == "ASSIGN_VARIABLE") {
            let (handle, value) = (operator.input(0), operator.input(1));
            // A variable that came in from outside could be any.
            let Some(name) = handle.and_then(|id| handles.get(&id)) else { return Ok(()) };
            let value = value.and_then(|id| graph.tensors.get(id)).filter(|tensor| is_first && tensor.data.is_some());
            let is_new = !settled.contains_key(name);
            settled.insert(name.clone(), value.filter(|_| is_new).cloned());
        }
    }
    let handles = handles(main, budget)?;
    let mut read = Vec::new();
    for operator in main.operators.iter_mut().filter(|operator| operator.name == "READ_VARIABLE") {
        let name = operator.input(0).and_then(|id| handles.get(&id));
        if let Some(constant) = name.and_then(|name| settled.get(name)).and_then(Option::as_ref) {
            // It stays where it is, so that all operators keep their places, but computes nothing.
            read.extend(std::mem::take(&mut operator.outputs).into_iter().map(|output| (output, constant)));
        }
    }
    for (output, constant) in read {
        if let Some(tensor) = main.tensors.get_mut(output) {
            let name = tensor.name.clone();
            *tensor = Tensor { name, ..constant.clone() };
        }
    }
    Ok(())
}

/// Returns which variables the handles of a graph stand for.
fn handles(graph: &Graph, budget: &mut Budget) -> Result<BTreeMap<TensorId, Name>, TfliteError> {
    let mut handles = BTreeMap::new();
    for operator in &graph.operators {
        if let (Some(name), Some(id)) = (operator.variable(budget)?, operator.outputs.first()) {
            handles.insert(*id, name);
        }
    }
    Ok(handles)
}
