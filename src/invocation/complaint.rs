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

/// Returns a message of a vendor's library without its kind's number, and without the places and functions in the
/// library's sources, which say nothing to people.
pub fn without_sources(message: &str) -> String {
    let numbered = message.strip_prefix("[ONNXRuntimeError] : ");
    let mut rest = numbered.and_then(|rest| rest.splitn(3, " : ").nth(2)).unwrap_or(message).trim_start();
    let mut kept: Vec<&str> = Vec::new();
    while !rest.is_empty() {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        let Some(glued) = before_place(word) else {
            kept.push(word);
            continue;
        };
        kept.pop_if(|word| glued.is_empty() && *word == "at");
        kept.extend(Some(glued).filter(|glued| !glued.is_empty()));
        if word.contains("onnxruntime") {
            rest = after_signature(rest);
        }
    }
    kept.join(" ")
}

/// Returns what stands in a word before the place in a source that ends it: `failed:` of `failed:/src/graph.cc:12`.
fn before_place(word: &str) -> Option<&str> {
    let (file, line) = word.trim_end_matches(':').rsplit_once(':')?;
    let is_line = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    let is_source = [".cc", ".cpp", ".h", ".hpp"].iter().any(|suffix| file.ends_with(suffix));
    (is_line && is_source).then(|| file.find(":/").and_then(|at| word.get(..=at)).unwrap_or_default())
}

/// Returns what follows the signature of the function that a text begins with.
fn after_signature(text: &str) -> &str {
    let closing = |text: &str, open: char, close: char| {
        let mut depth = 0_usize;
        text.char_indices().find_map(|(at, letter)| {
            depth += usize::from(letter == open);
            // One that closes nothing is an operator in a name.
            let is_last = letter == close && depth == 1;
            depth = depth.saturating_sub(usize::from(letter == close));
            is_last.then_some(at + close.len_utf8())
        })
    };
    let Some(end) = closing(text, '(', ')') else { return text };
    let rest = text.get(end..).unwrap_or_default().trim_start();
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    match closing(rest, '[', ']').filter(|_| rest.starts_with("[with ")) {
        Some(end) => rest.get(end..).unwrap_or_default().trim_start(),
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_sources_are_left_out_of_messages() {
        for (message, kept) in [
            (
                "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Foo(1) node with name 'n'",
                "Could not find an implementation for Foo(1) node with name 'n'",
            ),
            (
                "[ONNXRuntimeError] : 1 : FAIL : Load model from /exchange/output/a.onnx failed:\
                 /onnxruntime_src/onnxruntime/core/graph/model_load_utils.h:46 void \
                 onnxruntime::model_load_utils::ValidateOpsetForDomain(const std::unordered_map<std::string, int>&, \
                 bool, int) ONNX Runtime only *guarantees* support for models (opset 21).",
                "Load model from /exchange/output/a.onnx failed: ONNX Runtime only *guarantees* support for models (opset \
                 21).",
            ),
            (
                "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : while running X node. Status Message: \
                 /onnxruntime_src/onnxruntime/core/framework/op_kernel.h:83 onnxruntime::Status \
                 onnxruntime::Y<T>::Run(onnxruntime::OpKernelContext*) const [with T = float; A = int[]] a % b == 0 was false.",
                "while running X node. Status Message: a % b == 0 was false.",
            ),
            (
                "Check 'a' failed at ngraph/core/src/op/add.cpp:12: While validating",
                "Check 'a' failed While validating",
            ),
            (
                "[ GENERAL_ERROR ] /home/x/frontend.cpp:441 Failed (to compile) a",
                "[ GENERAL_ERROR ] Failed (to compile) a",
            ),
            ("the time is 12:30, in a.h:b", "the time is 12:30, in a.h:b"),
            ("/onnxruntime_src/a.cc:1", ""),
            ("x /onnxruntime_src/a.cc:1 without end(", "x without end("),
            ("", ""),
        ] {
            assert_eq!(without_sources(message), kept, "{message}");
        }
    }

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
