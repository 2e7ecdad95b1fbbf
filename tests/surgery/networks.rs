//! Whole networks, and the node tests whose models can be rewritten.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;
use modelconverter::onnx::proto::TensorProto;

use crate::corpus::cases;
use crate::pairs::{PASSES, Pair, judged, rewritten};

/// What is random differs from run to run.
const RANDOM: [&str; 3] = ["bernoulli", "training", "random"];

/// Every node test with all inputs but the first as constants.
#[test]
fn node_tests_compute_the_same_after_rewriting() {
    let mut pairs = Vec::new();
    for case in cases() {
        if RANDOM.iter().any(|part| case.name.contains(part)) {
            continue;
        }
        let mut proto = case.model.clone();
        let graph = proto.graph.as_mut().unwrap();
        let inputs = graph.input.iter().skip(1).map(|it| it.name().to_owned());
        let constants: Vec<String> = inputs.filter(|it| case.inputs.contains_key(it)).collect();
        graph.input.retain(|input| !constants.contains(&input.name().to_owned()));
        graph.initializer.retain(|it| !constants.contains(&it.name().to_owned()));
        let named = |name: &String| TensorProto { name: Some(name.clone()), ..case.inputs[name].clone() };
        graph.initializer.extend(constants.iter().map(named));
        for output in &mut graph.output {
            output.r#type.clone_from(&case.stated[output.name()].r#type);
        }
        let Ok(before) = Model::from_proto(proto) else { continue };
        let (after, operations) = rewritten(&before, &PASSES);
        if !operations.is_empty() {
            pairs.push(Pair { name: case.name, before, after, sizes: BTreeMap::new(), tolerance: 3e-6 });
        }
    }
    let count = judged(&pairs);
    println!("{count} of {}", pairs.len());
    assert!(count > 300, "{count}");
}
