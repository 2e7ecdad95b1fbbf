//! The node tests of the onnx package: models of one operator each, their inputs, and the outputs that its reference
//! implementation computes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelconverter::onnx::proto::{ModelProto, TensorProto, TypeValue, ValueInfoProto};
use modelconverter::onnx::{Array, Dimension, Facts, Model, kernels};
use prost::Message;

/// What a result may take.
const LIMIT: u64 = 1 << 24;

const UINT16: i32 = 4;
const BFLOAT16: i32 = 16;

pub fn folder() -> PathBuf {
    // `tests/run` sets it.
    let python = std::env::var_os("MODELCONVERTER_TEST_PYTHON").unwrap();
    let script = "import onnx, os; print(os.path.join(os.path.dirname(onnx.__file__), 'backend/test/data'))";
    let output = Command::new(python).args(["-c", script]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// One test: a model with its tensors, without what it states about results.
pub struct Case {
    pub name: String,
    pub model: ModelProto,
    pub inputs: BTreeMap<String, TensorProto>,
    pub outputs: BTreeMap<String, TensorProto>,
    /// What the model states about its outputs.
    pub stated: BTreeMap<String, ValueInfoProto>,
}

impl Case {
    /// The model with all inputs after the first `fed` as constants.
    pub fn with_constants(&self, fed: usize) -> Option<Model> {
        let mut proto = self.model.clone();
        // Older files list their constants among the inputs.
        proto.ir_version = proto.ir_version.max(Some(4));
        let graph = proto.graph.as_mut().unwrap();
        let inputs = graph.input.iter().skip(fed).map(|it| it.name().to_owned());
        let constants: Vec<String> = inputs.filter(|it| self.inputs.contains_key(it)).collect();
        graph.input.retain(|input| !constants.contains(&input.name().to_owned()));
        graph.initializer.retain(|it| !constants.contains(&it.name().to_owned()));
        let named = |name: &String| TensorProto { name: Some(name.clone()), ..self.inputs[name].clone() };
        graph.initializer.extend(constants.iter().map(named));
        for output in &mut graph.output {
            output.r#type.clone_from(&self.stated[output.name()].r#type);
        }
        Model::from_proto(proto).ok()
    }
}

fn tensors(folder: &Path, what: &str, infos: &[ValueInfoProto]) -> BTreeMap<String, TensorProto> {
    let mut found = BTreeMap::new();
    for (place, info) in infos.iter().enumerate() {
        let path = folder.join(format!("test_data_set_0/{what}_{place}.pb"));
        let stated = info.r#type.as_ref().and_then(|it| it.value.as_ref());
        if let (Some(TypeValue::Tensor(stated)), Ok(bytes)) = (stated, fs::read(path)) {
            let mut tensor = TensorProto::decode(bytes.as_slice()).unwrap();
            // NumPy has no bfloat16: the bits are recorded as integers.
            if stated.elem_type() == BFLOAT16 && tensor.data_type() == UINT16 {
                tensor.data_type = Some(BFLOAT16);
            }
            found.insert(info.name().to_owned(), tensor);
        }
    }
    found
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for part in ["node", "simple", "pytorch-operator", "pytorch-converted"] {
        let mut folders: Vec<_> = fs::read_dir(folder().join(part)).unwrap().map(|it| it.unwrap().path()).collect();
        folders.sort();
        for folder in folders {
            let mut model = ModelProto::decode(fs::read(folder.join("model.onnx")).unwrap().as_slice()).unwrap();
            let graph = model.graph.as_mut().unwrap();
            let inputs = tensors(&folder, "input", &graph.input);
            let outputs = tensors(&folder, "output", &graph.output);
            let stated = graph.output.iter().map(|output| (output.name().to_owned(), output.clone())).collect();
            graph.value_info.clear();
            graph.output.iter_mut().for_each(|output| output.r#type = None);
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            cases.push(Case { name, model, inputs, outputs, stated });
        }
    }
    assert!(cases.len() > 1400, "{}", cases.len());
    cases
}

/// Compares what is inferred about outputs with what was recorded; returns whether everything is inferred.
fn inferred(case: &Case, model: &Model) -> Result<bool, String> {
    let facts = Facts::of(model);
    let mut complete = !case.outputs.is_empty();
    for (name, recorded) in &case.outputs {
        match facts.element(name) {
            Some(element) if element.code() != recorded.data_type() => {
                return Err(format!("{}: `{name}` is {}, not {element}", case.name, recorded.data_type()));
            }
            Some(_) => {}
            None => complete = false,
        }
        let Some(shape) = facts.shape(name) else {
            complete = false;
            continue;
        };
        let fits = |(found, size): (&Dimension, &i64)| match found {
            Dimension::Known(found) => found == size,
            _ => true,
        };
        if shape.rank() != recorded.dims.len() || !shape.0.iter().zip(&recorded.dims).all(fits) {
            return Err(format!("{}: `{name}` is {:?}, not {shape}", case.name, recorded.dims));
        }
        complete &= shape.known().is_some();
    }
    Ok(complete)
}

/// The operators whose shape depends on nothing but shapes and constants of the model, of which inference is complete.
fn operators(case: &Case) -> BTreeSet<String> {
    case.model.graph.iter().flat_map(|graph| &graph.node).map(|node| node.op_type().to_owned()).collect()
}

#[test]
fn inference_never_contradicts_the_recorded_outputs() {
    let (mut complete, mut wrong, mut open) = (0, Vec::new(), BTreeSet::new());
    for case in cases() {
        let Ok(model) = Model::from_proto(case.model.clone()) else { continue };
        match inferred(&case, &model) {
            Ok(true) => complete += 1,
            Ok(false) => open.extend(operators(&case)),
            Err(text) => wrong.push(text),
        }
    }
    println!("{complete} complete; open: {open:?}");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(complete > 1000, "{complete}");
}

/// The case with its inputs as constants.
fn constant(case: &Case) -> Option<Model> {
    let mut proto = case.model.clone();
    let graph = proto.graph.as_mut()?;
    if !graph.input.iter().all(|input| case.inputs.contains_key(input.name())) {
        return None;
    }
    graph.input.clear();
    for (name, tensor) in &case.inputs {
        graph.initializer.retain(|it| it.name() != name);
        graph.initializer.push(TensorProto { name: Some(name.clone()), ..tensor.clone() });
    }
    Model::from_proto(proto).ok()
}

#[test]
fn inference_with_constant_inputs_never_contradicts_the_recorded_outputs() {
    let (mut complete, mut wrong) = (0, Vec::new());
    for case in cases() {
        let Some(model) = constant(&case) else { continue };
        match inferred(&case, &model) {
            Ok(found) => complete += usize::from(found),
            Err(text) => wrong.push(text),
        }
    }
    println!("{complete} complete");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(complete > 1000, "{complete}");
}

/// Computes a model of constants as far as there are kernels.
fn computed(model: &Model) -> HashMap<String, Array> {
    let graph = model.graph();
    let mut known: HashMap<String, Array> = HashMap::new();
    known.extend(graph.initializer.iter().filter_map(|it| Some((it.name().to_owned(), Array::of(it)?))));
    for node in &graph.node {
        let inputs =
            node.input.iter().map(|name| if name.is_empty() { Some(None) } else { known.get(name).cloned().map(Some) });
        let Some(inputs) = inputs.collect::<Option<Vec<_>>>() else { continue };
        if let Some(results) = kernels::evaluate(node, model.opset(), &inputs, LIMIT) {
            known.extend(node.output.iter().cloned().zip(results));
        }
    }
    known
}

#[test]
fn kernels_compute_the_recorded_outputs() {
    let (mut right, mut wrong) = (BTreeMap::new(), Vec::new());
    let mut lacking = BTreeSet::new();
    for case in cases() {
        let Some(model) = constant(&case) else { continue };
        // What is random has no expected value; bfloat16 was recorded cut off, where ONNX Runtime and we round.
        if ["bernoulli", "training_dropout", "FLOAT_to_BFLOAT16"].iter().any(|part| case.name.contains(part)) {
            continue;
        }
        let known = computed(&model);
        for (name, recorded) in &case.outputs {
            let (Some(found), Some(expected)) = (known.get(name), Array::of(recorded)) else {
                lacking.extend(operators(&case));
                continue;
            };
            if found.element() != expected.element() || found.sizes() != expected.sizes() || !close(found, &expected) {
                wrong.push(format!("{}: `{name}`", case.name));
            } else {
                for operator in operators(&case) {
                    *right.entry(operator).or_insert(0) += 1;
                }
            }
        }
    }
    println!("{} operators, {} outputs: {right:?}", right.len(), right.values().sum::<usize>());
    lacking.retain(|operator| !right.contains_key(operator));
    println!("no kernel: {lacking:?}");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(right.len() > 100, "{}", right.len());
}

/// Integers and truth values agree to the bit; floating numbers as well as the recorded type can tell.
fn close(found: &Array, expected: &Array) -> bool {
    let (Some(one), Some(other)) = (found.to_floats(), expected.to_floats()) else {
        return found.bytes() == expected.bytes();
    };
    let tolerance = match found.width() {
        2 => 2e-3,
        4 => 2e-6,
        _ => 1e-7,
    };
    one.iter().zip(&other).all(|(one, other)| {
        one.to_bits() == other.to_bits()
            || (one.is_nan() && other.is_nan())
            || one == other
            || (one - other).abs() <= tolerance * other.abs().max(1.0)
    })
}
