//! `KEY VALUE` pairs become part of a document.
//!
//! A key is a path of segments joined by dots. Digits index a list, and an index behind its end appends; `+` appends;
//! other text is a key of a mapping. What is missing on the way is made as the following segment needs it.

use super::literal;
use super::tree::{Entry, Tree, Value};
use super::{Fault, Origin, Problem, Problems};

/// How many segments a key may have. The schema itself needs seven.
const DEEPEST: usize = 24;

/// One `KEY VALUE` pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The key as typed.
    pub key: String,
    /// The value.
    pub value: Tree,
}

impl Override {
    /// Reads the words of a command line in pairs.
    ///
    /// # Errors
    /// The number of words is odd.
    pub fn pairs(words: &[String]) -> Result<Vec<Self>, Problems> {
        let pairs = words.chunks(2).map(|pair| match pair {
            [key, value] => Ok(Self { key: key.clone(), value: literal::value(value, key) }),
            _ => Err(Problems::one(Problem::advised(
                &Origin::Made,
                format!("invalid number of overrides: `{}` has no value", pair.first().map_or("", String::as_str)),
                "write overrides in pairs, `KEY VALUE`, and quote a value that has spaces",
            ))),
        });
        pairs.collect()
    }
}

/// Puts overrides into a document, in order; later ones win.
///
/// # Errors
/// Every key that does not fit what is there.
pub fn merge(mut document: Tree, overrides: &[Override]) -> Result<Tree, Problems> {
    let mut problems = Vec::new();
    if document.value == Value::Null && !overrides.is_empty() {
        // What an empty file lacks is still told of the file.
        document.value = Value::Map(Vec::new());
    }
    for change in overrides {
        let segments: Vec<&str> = change.key.split('.').take(DEEPEST + 1).collect();
        let result = if segments.len() > DEEPEST {
            Err(format!("it has more than {DEEPEST} segments"))
        } else {
            put(&mut document, &segments, &change.value)
        };
        if let Err(rule) = result {
            let origin = change.value.origin.clone();
            // The fault names the key itself.
            let origin = if matches!(origin, Origin::Override { .. }) { Origin::Made } else { origin };
            problems.push(Problem { origin, fault: Fault::Override { key: change.key.clone(), rule } });
        }
    }
    Problems::of(problems).map_or(Ok(document), Err)
}

fn put(tree: &mut Tree, segments: &[&str], value: &Tree) -> Result<(), String> {
    let Some((segment, rest)) = segments.split_first() else {
        *tree = value.clone();
        return Ok(());
    };
    if segment.is_empty() {
        return Err("a segment between dots is empty".to_owned());
    }
    let place = if *segment == "+" {
        Place::Append
    } else if segment.bytes().all(|byte| byte.is_ascii_digit()) {
        Place::Index(segment.parse().unwrap_or(usize::MAX))
    } else {
        Place::Key
    };
    // What is missing, or null, is made.
    if tree.value == Value::Null {
        let made = if matches!(place, Place::Key) { Value::Map(Vec::new()) } else { Value::List(Vec::new()) };
        *tree = Tree::new(made, value.origin.clone());
    }
    match (&mut tree.value, place) {
        (Value::Map(entries), Place::Key) => {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *segment) {
                return put(&mut entry.value, rest, value);
            }
            let mut inner = Tree::new(Value::Null, value.origin.clone());
            put(&mut inner, rest, value)?;
            entries.push(Entry { key: (*segment).to_owned(), origin: value.origin.clone(), value: inner });
            Ok(())
        }
        (Value::List(items), Place::Index(index)) if index < items.len() => match items.get_mut(index) {
            Some(item) => put(item, rest, value),
            None => Ok(()),
        },
        (Value::List(items), Place::Index(_) | Place::Append) => {
            let mut inner = Tree::new(Value::Null, value.origin.clone());
            put(&mut inner, rest, value)?;
            items.push(inner);
            Ok(())
        }
        (Value::List(_), Place::Key) => Err(format!("`{segment}`: only int keys and `+` are allowed for list values")),
        (Value::Map(_), Place::Index(_) | Place::Append) => {
            Err(format!("`{segment}`: int keys and `+` are not allowed for non-list values"))
        }
        (other, Place::Key) => {
            Err(format!("`{segment}`: only dict values can be accessed with string keys, found {}", other.describe()))
        }
        (other, Place::Index(_) | Place::Append) => Err(format!(
            "`{segment}`: int keys and `+` are not allowed for non-list values, found {}",
            other.describe()
        )),
    }
}

/// What a segment of a key points at.
#[derive(Clone, Copy)]
enum Place {
    /// The end of a list.
    Append,
    /// An item of a list.
    Index(usize),
    /// A key of a mapping.
    Key,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn merged(yaml: &str, words: &[&str]) -> Result<serde_json::Value, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let overrides = Override::pairs(&words).map_err(|problems| problems.to_string())?;
        let document = crate::config::yaml::parse(yaml, "f.yaml").unwrap();
        merge(document, &overrides).map(|tree| tree.to_json()).map_err(|problems| problems.to_string())
    }

    #[test]
    fn an_empty_file_stays_the_origin_of_what_it_lacks() {
        let document = crate::config::yaml::parse("", "f.yaml").unwrap();
        let overrides = Override::pairs(&["rvc2.superblob".to_owned(), "false".to_owned()]).unwrap();
        assert_eq!(merge(document, &overrides).unwrap().origin.to_string(), "f.yaml:1:1");
    }

    #[test]
    fn pairs_change_the_document() {
        for (yaml, words, expected) in [
            ("", &["a.b", "1"][..], json!({"a": {"b": 1}})),
            ("a: {b: 1}", &["a.b", "2", "a.c", "x"], json!({"a": {"b": 2, "c": "x"}})),
            ("", &["inputs.5.name", "x", "inputs.0.shape", "[1]"], json!({"inputs": [{"name": "x", "shape": [1]}]})),
            ("", &["outputs.+.name", "x", "outputs.+.name", "y"], json!({"outputs": [{"name": "x"}, {"name": "y"}]})),
            ("l: [1, 2]", &["l.+", "3", "l.0", "0"], json!({"l": [0, 2, 3]})),
            ("a:", &["a.b", "1"], json!({"a": {"b": 1}})),
            ("a: 1", &["a", "None"], json!({"a": null})),
            ("a: 1", &["a", "1", "a", "2"], json!({"a": 2})),
            ("", &["a.0.1", "x"], json!({"a": [["x"]]})),
        ] {
            assert_eq!(merged(yaml, words).unwrap(), expected, "{yaml} {words:?}");
        }
    }

    #[test]
    fn keys_that_do_not_fit_are_refused_all_at_once() {
        for (yaml, words, expected) in [
            (
                "a: 1",
                &["a.b", "1"][..],
                "invalid option `a.b`: `b`: only dict values can be accessed with string keys, found `1`",
            ),
            ("a: [1]", &["a.b", "1"], "invalid option `a.b`: `b`: only int keys and `+` are allowed for list values"),
            (
                "a: {b: 1}",
                &["a.0", "1"],
                "invalid option `a.0`: `0`: int keys and `+` are not allowed for non-list values",
            ),
            (
                "a: x",
                &["a.+", "1"],
                "invalid option `a.+`: `+`: int keys and `+` are not allowed for non-list values, found the text `x`",
            ),
            ("", &["a..b", "1"], "invalid option `a..b`: a segment between dots is empty"),
            ("", &["a"], "invalid number of overrides: `a` has no value"),
            (
                "a: 1",
                &["a.b", "1", "", "2"],
                "the configuration has 2 problems\n  invalid option `a.b`: `b`: only dict values can be accessed with \
                 string keys, found `1`\n  invalid option ``: a segment between dots is empty",
            ),
        ] {
            assert_eq!(merged(yaml, words).unwrap_err(), expected, "{yaml} {words:?}");
        }
    }

    #[test]
    fn endless_keys_are_refused() {
        let key = "a.".repeat(50_000);
        assert!(merged("", &[&key, "1"]).unwrap_err().ends_with("it has more than 24 segments"));
    }

    proptest! {
        #[test]
        fn any_override_is_taken_or_refused(key in "\\PC{0,20}", dotted in "[a0+.]{0,12}", value in "\\PC{0,20}") {
            let _ = merged("a: {a: [0, {a: 1}]}", &[&key, &value, &dotted, &value]);
        }
    }
}
