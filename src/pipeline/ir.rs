//! What an IR of OpenVINO says about its inputs and outputs.
//!
//! Reads just the tags `layer`, `data`, `port`, `dim` and `edge` of the `.xml` file (versions 10 and 11), whose writer is
//! a machine; everything else is passed over.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::config::{DataType, Dimension, ModelFacts, TensorFacts};
use crate::hint::Hint;

/// A file that is no IR.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IrError {
    /// The text is not UTF-8.
    #[error("the file is no text")]
    NoText,
    /// The file has no network.
    #[error("the file is no IR of OpenVINO: it has no `<net>`")]
    NoNet,
    /// A tag never ends.
    #[error("the tag at byte {at} never ends")]
    OpenTag {
        /// Where it begins.
        at: usize,
    },
    /// The network is fed by nothing or yields nothing.
    #[error("the network has no {what}")]
    Nothing {
        /// Inputs or outputs.
        what: &'static str,
    },
}

impl Hint for IrError {
    fn hints(&self) -> Vec<String> {
        vec!["give the `.xml` file of an IR of version 10 or 11, or the ONNX model that it was made of".to_owned()]
    }
}

/// A layer, as far as it matters here.
#[derive(Default)]
struct Layer {
    id: String,
    name: String,
    kind: String,
    shape: Option<String>,
    element: Option<String>,
    dimensions: Vec<Dimension>,
    /// The numbers of its ports that give something.
    outputs: Vec<String>,
}

impl Layer {
    /// Returns how the Inference Engine calls what a port gives: after the layer, with a number where there are several.
    fn output(&self, port: &str) -> String {
        match self.outputs.iter().position(|output| output == port) {
            Some(place) if self.outputs.len() > 1 => format!("{}.{place}", self.name),
            Some(_) | None => self.name.clone(),
        }
    }
}

/// Reads what an IR says about its inputs and outputs.
///
/// # Errors
/// The bytes are no IR.
pub fn facts(bytes: &[u8]) -> Result<ModelFacts, IrError> {
    let text = std::str::from_utf8(bytes).map_err(|_| IrError::NoText)?;
    if !text.contains("<net") {
        return Err(IrError::NoNet);
    }
    let mut layers: Vec<Layer> = Vec::new();
    let mut edges: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut is_output = false;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let at = text.len() - rest.len() + start;
        let tag = rest.get(start + 1..).unwrap_or_default();
        let (tag, after) = tag.split_once('>').ok_or(IrError::OpenTag { at })?;
        rest = after;
        let name = tag.split(|letter: char| letter.is_whitespace() || letter == '/').next().unwrap_or_default();
        let value = |key: &str| attribute(tag, key).unwrap_or_default();
        if matches!(tag, "input" | "output") {
            is_output = tag == "output";
        }
        if let ("port", true, Some(layer)) = (name, is_output, layers.last_mut()) {
            layer.outputs.push(value("id"));
        }
        match (name, layers.last_mut()) {
            ("layer", _) => {
                layers.push(Layer { id: value("id"), name: value("name"), kind: value("type"), ..Layer::default() });
            }
            ("data", Some(layer)) => {
                layer.shape = attribute(tag, "shape");
                layer.element = attribute(tag, "element_type");
            }
            ("port", Some(layer)) if layer.element.is_none() => layer.element = attribute(tag, "precision"),
            ("dim", Some(layer)) => {
                let size = rest.split('<').next().unwrap_or_default().trim().parse();
                layer.dimensions.push(size.map_or(Dimension::Dynamic(None), Dimension::Fixed));
            }
            ("edge", _) => {
                edges.insert(value("to-layer"), (value("from-layer"), value("from-port")));
            }
            _ => {}
        }
    }
    let inputs: Vec<TensorFacts> = layers.iter().filter(|layer| layer.kind == "Parameter").map(input).collect();
    let outputs: Vec<TensorFacts> = layers
        .iter()
        .filter(|layer| layer.kind == "Result")
        .filter_map(|result| {
            let (source, port) = edges.get(&result.id)?;
            let source = layers.iter().find(|layer| layer.id == *source)?;
            let shape = Some(result.dimensions.clone()).filter(|dimensions| !dimensions.is_empty());
            Some(TensorFacts {
                name: source.output(port),
                shape,
                data_type: result.element.as_deref().and_then(element),
                foreign_type: None,
            })
        })
        .collect();
    for (what, tensors) in [("inputs", &inputs), ("outputs", &outputs)] {
        if tensors.is_empty() {
            return Err(IrError::Nothing { what });
        }
    }
    Ok(ModelFacts { inputs, outputs, has_fixed_sizes: true, ..ModelFacts::default() })
}

/// Returns the version of the Model Optimizer that wrote an IR, as the IR says it.
pub fn optimizer_version(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, rest) = text.split_once("<MO_version ")?;
    let (tag, _) = rest.split_once('>')?;
    attribute(&format!(" {tag}"), "value").filter(|version| !version.is_empty())
}

fn input(layer: &Layer) -> TensorFacts {
    let sizes = layer.shape.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().map_or(Dimension::Dynamic(None), Dimension::Fixed)).collect();
    TensorFacts {
        name: layer.name.clone(),
        shape: Some(shape),
        data_type: layer.element.as_deref().and_then(element),
        foreign_type: None,
    }
}

fn element(name: &str) -> Option<DataType> {
    // Ports say `FP32`, data says `f32`.
    let older = name.to_ascii_uppercase();
    let older =
        older.strip_prefix('F').filter(|rest| !rest.starts_with('P')).map_or(older.clone(), |rest| format!("FP{rest}"));
    DataType::from_openvino_precision(&older)
}

/// Returns the value of an attribute, with its entities resolved.
fn attribute(tag: &str, key: &str) -> Option<String> {
    let mut rest = tag;
    while let Some(at) = rest.find(key) {
        let before = rest.get(..at)?.chars().next_back();
        let after = rest.get(at + key.len()..)?;
        if before.is_some_and(char::is_whitespace)
            && let Some(value) = after.strip_prefix("=\"")
        {
            let (value, _) = value.split_once('"')?;
            let plain = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
            return Some(plain.replace("&amp;", "&"));
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const IR: &str = r#"<?xml version="1.0" ?>
<net name="m" version="10">
	<layers>
		<layer id="0" name="image" type="Parameter" version="opset1">
			<data element_type="f32" shape="1,3,4,5"/>
			<output><port id="0" names="image" precision="FP32"><dim>1</dim></port></output>
		</layer>
		<layer id="1" name="a&amp;b" type="ReLU" version="opset1"/>
		<layer id="2" name="score/sink" type="Result" version="opset1">
			<input><port id="0" precision="FP16"><dim>1</dim><dim>3</dim></port></input>
		</layer>
	</layers>
	<edges>
		<edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
		<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/>
	</edges>
</net>"#;

    #[test]
    fn inputs_and_outputs_are_found() {
        let facts = facts(IR.as_bytes()).unwrap();
        let fixed = |sizes: &[u64]| Some(sizes.iter().map(|size| Dimension::Fixed(*size)).collect());
        let image = TensorFacts {
            name: "image".into(),
            shape: fixed(&[1, 3, 4, 5]),
            data_type: Some(DataType::Float32),
            foreign_type: None,
        };
        let score = TensorFacts {
            name: "a&b".into(),
            shape: fixed(&[1, 3]),
            data_type: Some(DataType::Float16),
            foreign_type: None,
        };
        assert_eq!((facts.inputs, facts.outputs), (vec![image], vec![score]));
    }

    #[test]
    fn outputs_of_one_layer_are_numbered() {
        let result =
            |id: u32| format!(r#"<layer id="{id}" name="r{id}" type="Result"><input><port id="0"/></input></layer>"#);
        let text = format!(
            r#"<net><layers><layer id="0" name="x" type="Parameter"><output><port id="0"/></output></layer>
            <layer id="1" name="s" type="Split"><input><port id="0"/><port id="1"/></input>
            <output><port id="2"/><port id="3"/></output></layer>{}{}</layers>
            <edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
            <edge from-layer="1" from-port="3" to-layer="2" to-port="0"/>
            <edge from-layer="1" from-port="2" to-layer="3" to-port="0"/></edges></net>"#,
            result(2),
            result(3)
        );
        let outputs = facts(text.as_bytes()).unwrap().outputs.into_iter().map(|output| output.name);
        assert_eq!(outputs.collect::<Vec<_>>(), ["s.1", "s.0"]);
    }

    #[test]
    fn the_version_of_the_writer_is_found() {
        let version = |text: &str| optimizer_version(text.as_bytes());
        assert_eq!(version("<net><MO_version value=\"2021.4-x\"/></net>").as_deref(), Some("2021.4-x"));
        assert_eq!(version("<rt_info>\n<MO_version value=\"2022.3.1\" />").as_deref(), Some("2022.3.1"));
        for nothing in [IR, "", "<MO_version ", "<MO_version value=\"\"/>"] {
            assert_eq!(version(nothing), None);
        }
    }

    #[test]
    fn what_is_no_ir_is_refused() {
        assert_eq!(facts(b"\xff"), Err(IrError::NoText));
        assert_eq!(facts(b"<html></html>"), Err(IrError::NoNet));
        assert!(matches!(facts(b"<net <"), Err(IrError::OpenTag { .. })));
        assert_eq!(facts(b"<net></net>"), Err(IrError::Nothing { what: "inputs" }));
        for length in 0..IR.len() {
            let _ = facts(IR.as_bytes().get(..length).unwrap());
        }
    }
}
