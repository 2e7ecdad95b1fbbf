//! The functions between the products of recurrent layers, in all forms that ONNX has (operator sets 7 to 22).

use super::super::build::float;
use super::super::draft::{Draft, Site};

/// The names, and the parameters that they have by default.
const KNOWN: &[(&str, Option<f64>, Option<f64>)] = &[
    ("Affine", Some(1.0), Some(0.0)),
    ("Elu", Some(1.0), None),
    ("HardSigmoid", Some(0.2), Some(0.5)),
    ("LeakyRelu", Some(0.01), None),
    ("Relu", None, None),
    ("ScaledTanh", Some(1.0), Some(1.0)),
    ("Sigmoid", None, None),
    ("Softplus", None, None),
    ("Softsign", None, None),
    ("Tanh", None, None),
    ("ThresholdedRelu", Some(1.0), None),
];

/// The place of the function of a cell.
const CELL: usize = 2;

/// A function of one of the gates.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Function {
    name: &'static str,
    alpha: f64,
    beta: f64,
}

/// The functions of a layer of one direction, in the order of ONNX.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Functions {
    functions: Vec<Function>,
    /// What goes into them is limited to this.
    limit: Option<f64>,
    /// Whether what is forgotten is what does not go in.
    pub(super) coupled: bool,
}

impl Functions {
    /// Reads the attributes of a layer; `None` if one is not known.
    pub(super) fn of(site: &Site<'_>) -> Option<Self> {
        let usual: &[&str] = match site.node.op_type() {
            "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
            "GRU" => &["Sigmoid", "Tanh"],
            _ => &["Tanh"],
        };
        let stated = site.attribute("activations").map(|attribute| &attribute.strings).filter(|it| !it.is_empty());
        let names: Vec<&[u8]> = match stated {
            Some(stated) => stated.iter().map(|name| &name[..]).collect(),
            None => usual.iter().map(|name| name.as_bytes()).collect(),
        };
        let numbers = |name: &str| {
            let attribute = site.attribute(name).map(|attribute| attribute.floats.as_slice());
            attribute.unwrap_or(&[]).iter().copied().map(f64::from)
        };
        // Each function that has a parameter takes the next one.
        let (mut alphas, mut betas) = (numbers("activation_alpha"), numbers("activation_beta"));
        let mut functions = Vec::new();
        for found in &names {
            let (name, alpha, beta) = KNOWN.iter().find(|(name, ..)| found.eq_ignore_ascii_case(name.as_bytes()))?;
            functions.push(Function {
                name,
                alpha: alpha.map_or(0.0, |usual| alphas.next().unwrap_or(usual)),
                beta: beta.map_or(0.0, |usual| betas.next().unwrap_or(usual)),
            });
        }
        let limit =
            site.attribute("clip").and_then(|attribute| attribute.f).map(f64::from).filter(|limit| *limit > 0.0);
        let coupled = site.integer("input_forget").is_some_and(|value| value != 0);
        (functions.len() == usual.len()).then_some(Self { functions, limit, coupled })
    }

    /// Whether they are what a layer has that states none.
    pub(super) fn are_usual(&self) -> bool {
        let first = if self.functions.len() == 1 { "Tanh" } else { "Sigmoid" };
        let mut names = self.functions.iter().map(|function| function.name);
        let agrees = names.next() == Some(first) && names.all(|name| name == "Tanh");
        agrees && self.limit.is_none() && !self.coupled
    }

    /// Applies one of them.
    pub(super) fn apply(&self, draft: &mut Draft, place: usize, value: &str) -> Option<String> {
        let &Function { name, alpha, beta } = self.functions.get(place)?;
        // As ONNX Runtime computes it, the state of a cell is not limited.
        let value = match self.limit.filter(|_| place < CELL) {
            Some(limit) => draft.clip(value, [-limit, limit]),
            None => value.to_owned(),
        };
        Some(match name {
            "Affine" | "HardSigmoid" => {
                let scaled = draft.with_number("Mul", &value, alpha);
                let shifted = draft.with_number("Add", &scaled, beta);
                if name == "Affine" { shifted } else { draft.clip(&shifted, [0.0, 1.0]) }
            }
            "ScaledTanh" => {
                let scaled = draft.with_number("Mul", &value, beta);
                let bent = draft.unary("Tanh", &scaled);
                draft.with_number("Mul", &bent, alpha)
            }
            "Elu" | "LeakyRelu" | "ThresholdedRelu" => {
                draft.apply_with(name, &[&value], vec![float("alpha", alpha as f32)])
            }
            _ => draft.unary(name, &value),
        })
    }
}
