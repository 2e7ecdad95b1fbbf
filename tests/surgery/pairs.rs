//! Networks before and after rewriting, run by ONNX Runtime.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use modelconverter::onnx::Model;
use modelconverter::surgery::{
    ChooseBranches, DeadCode, FoldConstants, InlineBranches, InlineFunctions, Operation, Pass, RemoveNoOps,
    UnrollLoops, UnusedDomains, operate,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Every pass of this part, in the order of a conversion.
pub const PASSES: [&dyn Pass; 8] = [
    &InlineFunctions,
    &InlineBranches,
    &ChooseBranches,
    &UnrollLoops,
    &FoldConstants,
    &RemoveNoOps,
    &DeadCode,
    &UnusedDomains,
];

/// A network that is rewritten, and how far its outputs may be from what they were.
pub struct Pair {
    pub name: String,
    pub before: Model,
    pub after: Model,
    /// The sizes that named dimensions of inputs have.
    pub sizes: BTreeMap<String, i64>,
    /// Relative to the largest output; 0 for equality to the bit.
    pub tolerance: f64,
}

/// Rewrites with some passes.
pub fn rewritten(model: &Model, passes: &[&dyn Pass]) -> (Model, Vec<Operation>) {
    let (after, operations) = operate(model.clone(), passes).unwrap();
    (Model::parse(after.save().into()).unwrap(), operations)
}

/// Runs pairs and complains about those that differ, or that are not run.
pub fn assert_same(pairs: &[Pair]) {
    assert_eq!(judged(pairs), pairs.len());
}

/// Runs pairs and complains about those that differ; returns how many ONNX Runtime could judge.
pub fn judged(pairs: &[Pair]) -> usize {
    let folder = TempDir::new().unwrap();
    let mut wanted = Vec::new();
    for (place, pair) in pairs.iter().enumerate() {
        let path = |what: &str| folder.path().join(format!("{place}-{what}.onnx"));
        fs::write(path("before"), pair.before.save()).unwrap();
        fs::write(path("after"), pair.after.save()).unwrap();
        wanted.push(json!({"before": path("before"), "after": path("after"), "sizes": pair.sizes}));
    }
    let list = folder.path().join("pairs.json");
    fs::write(&list, Value::from(wanted).to_string()).unwrap();
    // `tests/run` sets it.
    let python = std::env::var_os("MODELCONVERTER_TEST_PYTHON").unwrap();
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/pairs_reader.py");
    let output = Command::new(python).arg(reader).arg(&list).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found.len(), pairs.len());
    let (mut wrong, mut unjudged) = (Vec::new(), 0);
    for (pair, found) in pairs.iter().zip(&found) {
        if found.get("unjudged").is_some() {
            unjudged += 1;
            continue;
        }
        let number = |key: &str| found[key].as_f64().unwrap_or(f64::INFINITY);
        let close = number("error") <= pair.tolerance * number("size").max(1.0);
        if found.get("failure").is_some() || found["same_shapes"] != true || !close {
            wrong.push(format!("{}: {found}", pair.name));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    pairs.len() - unjudged
}
