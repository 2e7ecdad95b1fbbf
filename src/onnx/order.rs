//! Which order nodes are computed in. ONNX wants them in order, and some converters write them in another one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::graph::visit_reads;
use super::proto::{GraphProto, NodeProto};

/// Puts the nodes of a graph in an order in which each reads only what was computed before. Where there is a choice, and
/// where there is no such order, they stay as they are.
pub(super) fn sort(graph: &mut GraphProto) {
    let Some(order) = order(&graph.node) else { return };
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|place| nodes.get_mut(place)?.take()).collect();
}

/// Returns the places of all nodes in order, unless they are in order already or cannot be.
fn order(nodes: &[NodeProto]) -> Option<Vec<usize>> {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (place, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            producers.entry(output).or_insert(place);
        }
    }
    let mut is_sorted = true;
    let mut waits: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
    for (place, node) in nodes.iter().enumerate() {
        let mut before: HashSet<usize> = HashSet::new();
        visit_reads(node, &mut |name| before.extend(producers.get(name)));
        is_sorted &= before.iter().all(|producer| *producer < place);
        waits.push(before.len());
        for producer in before {
            readers.entry(producer).or_default().push(place);
        }
    }
    if is_sorted {
        return None;
    }
    let free = waits.iter().enumerate().filter(|(_, waits)| **waits == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = free.map(|(place, _)| Reverse(place)).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(place)) = ready.pop() {
        order.push(place);
        for &reader in readers.get(&place).into_iter().flatten() {
            let waits = waits.get_mut(reader)?;
            *waits = waits.checked_sub(1)?;
            if *waits == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    (order.len() == nodes.len()).then_some(order)
}
