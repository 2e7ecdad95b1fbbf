//! YAML text to a tree. JSON is YAML.
//!
//! Positions come from the YAML crate's spans. Sizes, depths and aliases are limited, so hostile text is refused before
//! it grows.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::tree::{Entry, Tree, Value};
use super::{Fault, Origin, Problem, Problems};

/// The longest text that is read. Real configurations have a few kilobytes; inline encodings a few megabytes.
const LONGEST: usize = 64 << 20;

/// How deep mappings and lists may nest. The schema itself needs nine levels; each takes some stack, up to 50 kB without
/// optimisation, and a thread has 2 MB.
const DEEPEST: usize = 24;

/// Reads YAML.
///
/// `file` is the name that people know the text by.
///
/// # Errors
/// The text is no YAML, is too large or nests too deep, has a key twice, or has more than one document.
pub fn parse(text: &str, file: &str) -> Result<Tree, Problems> {
    read(text, &|line, column| Origin::File { file: file.to_owned(), line, column })
}

/// Reads YAML that stands in the value of an override.
pub(super) fn parse_override(text: &str, key: &str) -> Result<Tree, Problems> {
    read(text, &|_, _| Origin::Override { key: key.to_owned() })
}

fn read(text: &str, origin: &dyn Fn(u64, u64) -> Origin) -> Result<Tree, Problems> {
    let refused =
        |line, column, message| Problems::one(Problem { origin: origin(line, column), fault: Fault::Yaml { message } });
    if text.len() > LONGEST {
        return Err(refused(1, 1, format!("the text has more than {} MiB", LONGEST >> 20)));
    }
    let mut options = serde_saphyr::Options::default();
    if let Some(budget) = &mut options.budget {
        budget.max_depth = DEEPEST;
        budget.flow_nesting_limit = DEEPEST;
        budget.max_nodes = 4_000_000;
        budget.max_events = 4_000_000;
    }
    options.with_snippet = false;
    // `y`, `no` and `on` are names of tensors here, as they are to the reference's reader.
    options.strict_booleans = true;
    let node: Option<Spanned<Node>> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
        refused(line.max(1), column.max(1), plain(&error))
    })?;
    Ok(match node {
        Some(node) => located(node, origin),
        None => Tree::new(Value::Null, origin(1, 1)),
    })
}

/// Returns the crate's message on one line, without the position that stands elsewhere.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.split_once(", set ").map_or(line, |(line, _)| line);
    let line = line.split_once("; use ").map_or(line, |(line, _)| line);
    let line = match line.split_once(": ") {
        Some((position, rest)) if position.starts_with("error: line ") || position.starts_with("line ") => rest,
        _ => line,
    };
    match line.rfind(" at line ") {
        Some(end) => line.get(..end).unwrap_or(line).to_owned(),
        None => line.to_owned(),
    }
}

/// A value with positions, as the crate hands it over.
enum Node {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<Key>, Spanned<Self>)>),
}

/// A key of a mapping: a text, or a scalar taken as one.
struct Key(String);

fn located(node: Spanned<Node>, origin: &dyn Fn(u64, u64) -> Origin) -> Tree {
    let place = origin(node.referenced.line(), node.referenced.column());
    let value = match node.value {
        Node::Null => Value::Null,
        Node::Boolean(value) => Value::Boolean(value),
        Node::Integer(value) => Value::Integer(value),
        Node::Float(value) => Value::Float(value),
        Node::Text(text) => Value::Text(text),
        Node::List(items) => Value::List(items.into_iter().map(|item| located(item, origin)).collect()),
        Node::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    origin: origin(key.referenced.line(), key.referenced.column()),
                    key: key.value.0,
                    value: located(value, origin),
                })
                .collect(),
        ),
    };
    Tree::new(value, place)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Float(value as f64), Node::Integer))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Float(value as f64), Node::Integer))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Float(value as f64), Node::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let tree = parse("a: 1\nb:\n  - x\n  - {c: null, d: 1.5}\n", "f.yaml").unwrap();
        let place = |tree: &Tree| tree.origin.to_string();
        assert_eq!(place(tree.get("a").unwrap()), "f.yaml:1:4");
        let Value::List(items) = &tree.get("b").unwrap().value else { panic!("{tree:?}") };
        assert_eq!(place(&items[0]), "f.yaml:3:5");
        assert_eq!(items[1].get("c").unwrap().value, Value::Null);
        assert_eq!(items[1].get("d").unwrap().value, Value::Float(1.5));
        assert_eq!(place(items[1].get("d").unwrap()), "f.yaml:4:18");
        assert_eq!(parse("", "f").unwrap().value, Value::Null);
        assert_eq!(parse("# nothing\n", "f").unwrap().value, Value::Null);
    }

    #[test]
    fn json_is_yaml() {
        let tree = parse("{\"a\": [1, -2, 1e3, true, null, \"x\"]}", "f.json").unwrap();
        assert_eq!(tree.to_json(), serde_json::json!({"a": [1, -2, 1000.0, true, null, "x"]}));
    }

    #[test]
    fn text_that_is_no_yaml_is_refused_where_it_goes_wrong() {
        for (text, message) in [
            ("a: [1, 2", "f.yaml:1:4: "),
            ("a: 1\na: 2\n", "f.yaml:2:1: "),
            ("a: 1\n b: 2\n", "f.yaml:2:3: "),
            ("--- 1\n--- 2\n", "f.yaml:2:5: no valid YAML: multiple YAML documents"),
            (&"[".repeat(500), "f.yaml:1:"),
            ("a: &a [*a]", "f.yaml:1:"),
        ] {
            let problems = parse(text, "f.yaml").unwrap_err().to_string();
            assert!(problems.contains(message), "{text}: {problems}");
        }
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned()
            + &(0..12)
                .map(|level| {
                    let (name, before) = (char::from(b'b' + level), char::from(b'a' + level));
                    format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(","))
                })
                .collect::<String>();
        assert!(parse(&bomb, "f.yaml").is_err());
    }
}
