//! What vendor tools mean when they refuse a network.
//!
//! Owns [`Complaint`]: the few messages that name an operator, found in the tools' own words. Messages that are not
//! understood stay as they are.

/// A refusal that names what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The device cannot do a layer.
    Layer {
        /// The layer, by the name of its first output.
        layer: String,
        /// Its operator in the vendor's words.
        operator: String,
    },
    /// A node has an operator that the reader does not know.
    Node {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
    },
    /// The reader does not know these operators, anywhere in the model.
    Operators {
        /// The operators, `domain.name` outside the standard one.
        operators: Vec<String>,
    },
}

impl Complaint {
    /// Finds a complaint in what a tool said.
    pub fn find(text: &str) -> Option<Self> {
        layer(text).or_else(|| operators(text)).or_else(|| node(text))
    }
}

/// The MYRIAD plugin: `Failed to compile layer "NAME": unsupported layer type "TYPE"`.
fn layer(text: &str) -> Option<Complaint> {
    let (_, rest) = text.split_once("Failed to compile layer \"")?;
    let (layer, rest) = rest.split_once("\": unsupported layer type \"")?;
    let (operator, _) = rest.split_once('"')?;
    Some(Complaint::Layer { layer: layer.to_owned(), operator: operator.to_owned() })
}

/// The ONNX importer: `nGraph does not support the following ONNX operations: A, domain.B`.
fn operators(text: &str) -> Option<Complaint> {
    let (_, rest) = text.split_once("does not support the following ONNX operations: ")?;
    let list = rest.lines().next()?;
    let operators: Vec<String> =
        list.split(", ").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    (!operators.is_empty()).then_some(Complaint::Operators { operators })
}

/// The Model Optimizer: `There is no registered "infer" function for node "NAME" with op = "TYPE"`.
fn node(text: &str) -> Option<Complaint> {
    let (_, rest) = text.split_once("There is no registered \"infer\" function for node \"")?;
    let (node, rest) = rest.split_once("\" with op = \"")?;
    let (operator, _) = rest.split_once('"')?;
    Some(Complaint::Node { node: node.to_owned(), operator: operator.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_own_words_are_understood() {
        let plugin = "[ GENERAL_ERROR ] \n/x/frontend.cpp:441 Failed to compile layer \"y\": unsupported layer type \"HardSigmoid\"";
        let expected = Complaint::Layer { layer: "y".into(), operator: "HardSigmoid".into() };
        assert_eq!(Complaint::find(plugin), Some(expected));
        let importer = "Check 'unknown_operators.empty()' failed at graph.cpp:176:\n\
                        nGraph does not support the following ONNX operations: com.example.Frobnicate, IsInf\n";
        let expected = Complaint::Operators { operators: vec!["com.example.Frobnicate".into(), "IsInf".into()] };
        assert_eq!(Complaint::find(importer), Some(expected));
        let optimizer =
            "[ ERROR ]  There is no registered \"infer\" function for node \"celu_1\" with op = \"Celu\". Please";
        let expected = Complaint::Node { node: "celu_1".into(), operator: "Celu".into() };
        assert_eq!(Complaint::find(optimizer), Some(expected));
        for other in ["", "Failed to compile layer \"", "unsupported layer type", "ONNX operations: "] {
            assert_eq!(Complaint::find(other), None, "{other}");
        }
    }
}
