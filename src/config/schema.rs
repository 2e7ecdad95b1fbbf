//! The JSON Schema (2020-12) of configurations, for editors.
//!
//! Made of the table in [`keys`](super::keys) and of the defaults as the emitter writes them. It accepts what the reader
//! accepts; rules between keys are the reader's alone.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Kind, Null, Standing};
use super::{Named, Optimization, Simplifier, StageSettings, emit};

/// The dialect, by the name it has.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The words that stand for booleans, in any case.
const BOOLEAN_WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "t", "f", "y", "n"];

/// Returns the schema of a configuration.
pub fn schema() -> Value {
    let defaults = emit::settings(&StageSettings::default()).to_json();
    let stage = properties(keys::STAGE, &defaults);
    let document = json!({"rich_logging": true});
    let mut all = properties(keys::DOCUMENT, &document);
    // What one stage may say, all stages may share.
    all.extend(
        keys::STAGE
            .iter()
            .map(|key| (key.name.to_owned(), json!({"$ref": format!("#/$defs/stage/properties/{}", key.name)}))),
    );
    json!({
        "$schema": DIALECT,
        "title": "Configuration of a conversion by modelconverter",
        "type": ["object", "null"],
        "properties": all,
        "additionalProperties": false,
        "$defs": {
            "stage": {"type": "object", "properties": stage, "additionalProperties": false},
        },
    })
}

/// Returns the schemas of keys, with the defaults that stand under their names.
fn properties(keys: &[Key], defaults: &Value) -> Map<String, Value> {
    keys.iter().map(|key| (key.name.to_owned(), property(key, defaults.get(key.name)))).collect()
}

fn property(key: &Key, default: Option<&Value>) -> Value {
    let mut schema = kind(&key.kind, default.unwrap_or(&Value::Null));
    if key.null == Null::Taken {
        schema = or_null(schema);
    }
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), key.about.into());
        if key.standing == Standing::Deprecated {
            schema.insert("deprecated".to_owned(), true.into());
        }
        if let Some(default) = default
            && !matches!(key.kind, Kind::Mapping(_))
        {
            schema.insert("default".to_owned(), default.clone());
        }
    }
    schema
}

/// Lets null in, in the place that editors show best.
fn or_null(mut schema: Value) -> Value {
    let nothing = json!({"type": "null"});
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    } else if let Some(Value::Array(ways)) = schema.get_mut("anyOf") {
        ways.push(nothing);
    } else {
        schema = json!({"anyOf": [schema, nothing]});
    }
    schema
}

fn kind(kind: &Kind, defaults: &Value) -> Value {
    match kind {
        Kind::Boolean => boolean(),
        Kind::Integer(least, most) => integer(*least, *most),
        Kind::Number => json!({"type": "number"}),
        Kind::Positive => json!({"type": "number", "minimum": 0}),
        Kind::Fraction => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Kind::Text => text(),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Choice(words) => json!({"enum": words()}),
        Kind::Choices(words) => json!({"type": "array", "items": {"enum": words()}, "minItems": 1}),
        Kind::Mapping(keys) => mapping(keys, defaults),
        Kind::Mappings(keys) => {
            let mut item = mapping(keys, &Value::Null);
            if let Value::Object(item) = &mut item {
                item.insert("required".to_owned(), json!(["name"]));
            }
            json!({"type": "array", "items": item})
        }
        Kind::Stages => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": r"^(?!\.{1,2}$)[^/\u0000]+$"},
            "additionalProperties": {"$ref": "#/$defs/stage"},
        }),
        Kind::Other(schema) => schema(),
    }
}

fn mapping(keys: &[Key], defaults: &Value) -> Value {
    json!({"type": "object", "properties": properties(keys, defaults), "additionalProperties": false})
}

fn text() -> Value {
    json!({"type": "string", "minLength": 1})
}

fn boolean() -> Value {
    let any_case = |word: &str| {
        word.chars().map(|letter| format!("[{}{letter}]", letter.to_ascii_uppercase())).collect::<String>()
    };
    let words = BOOLEAN_WORDS.map(any_case).join("|");
    json!({"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}, {"type": "string", "pattern": format!("^({words}|0|1)$")}]})
}

fn integer(least: i64, most: i64) -> Value {
    let mut schema = json!({"type": "integer"});
    if let Value::Object(schema) = &mut schema {
        if least != i64::MIN {
            schema.insert("minimum".to_owned(), least.into());
        }
        if most != i64::MAX {
            schema.insert("maximum".to_owned(), most.into());
        }
    }
    schema
}

/// A list of dimensions; the first may be a batch of any size.
pub(super) fn shape() -> Value {
    json!({"type": "array", "prefixItems": [integer(-1, keys::MOST)], "items": integer(1, keys::MOST)})
}

/// Letters, each once in whatever case.
pub(super) fn layout() -> Value {
    let once: String = ('A'..='Z')
        .map(|letter| {
            let either = format!("[{letter}{}]", letter.to_ascii_lowercase());
            format!("(?!.*{either}.*{either})")
        })
        .collect();
    json!({"type": "string", "pattern": format!("^{once}[A-Za-z]*$")})
}

/// A name; some exporters have numbers for names.
pub(super) fn tensor_name() -> Value {
    json!({"anyOf": [text(), {"type": "integer"}]})
}

/// A word, or a word for each side.
pub(super) fn encoding() -> Value {
    json!({"anyOf": [{"enum": keys::choices::<super::Color>()}, mapping(keys::COLORS, &Value::Null)]})
}

/// A number, numbers, or `imagenet`.
pub(super) fn mean_values() -> Value {
    channel_values(&json!({"type": "number"}))
}

/// The same, without zeros.
pub(super) fn scale_values() -> Value {
    channel_values(&json!({"type": "number", "not": {"const": 0}}))
}

fn channel_values(number: &Value) -> Value {
    json!({"anyOf": [number, {"type": "array", "items": number, "minItems": 1}, {"const": "imagenet"}]})
}

/// `random`, or keys.
pub(super) fn calibration() -> Value {
    json!({"anyOf": [{"const": "random"}, mapping(keys::CALIBRATION_DATA, &Value::Null)]})
}

/// A number or numbers.
pub(super) fn frozen_value() -> Value {
    json!({"anyOf": [
        {"type": ["number", "boolean"]},
        {"type": "array", "items": {"type": ["number", "boolean"]}},
    ]})
}

/// A simplifier, or nobody.
pub(super) fn simplification() -> Value {
    json!({"anyOf": [{"enum": keys::choices::<Simplifier>()}, {"enum": [false, "no", "off"]}]})
}

/// All, none, or each by name.
pub(super) fn optimizations() -> Value {
    let each: Map<String, Value> =
        Optimization::ALL.iter().map(|optimization| (optimization.as_str().to_owned(), boolean())).collect();
    json!({"anyOf": [
        {"type": "boolean"},
        {"enum": ["all", "none", "no", "off"]},
        {"type": "object", "properties": each, "additionalProperties": false},
    ]})
}

/// `[640, 640]`, `640 640`, or `640`.
pub(super) fn yolo_input_shape() -> Value {
    json!({"anyOf": [
        {"type": "array", "items": integer(1, keys::MOST), "minItems": 1, "maxItems": 2},
        integer(1, keys::MOST),
        {"type": "string", "pattern": "^ *[0-9]{1,9}( +[0-9]{1,9})? *$"},
    ]})
}

/// -100, or 0 to 4.
pub(super) fn hailo_level() -> Value {
    json!({"enum": [-100, 0, 1, 2, 3, 4]})
}

/// A file, JSON text, or a mapping.
pub(super) fn encodings() -> Value {
    json!({"anyOf": [text(), mapping(keys::ENCODING_GROUPS, &Value::Null)]})
}

/// Tensors with their encodings: by name, or a list of entries that have names.
pub(super) fn encoding_group() -> Value {
    let one_or_each =
        |item: Value| json!({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}, {"type": "null"}]});
    let bits = json!({"enum": [4, 8, 16, 32, null]});
    let symmetric = or_null(boolean());
    let number = one_or_each(json!({"type": "number"}));
    let entry = json!({
        "type": "object",
        "properties": {
            "bitwidth": bits, "bw": bits,
            "is_symmetric": symmetric, "is_sym": symmetric,
            "dtype": {"anyOf": [{"type": "string", "pattern": "^([Ii][Nn][Tt]|[Ff][Ll][Oo][Aa][Tt])$"}, {"type": "null"}]},
            "min": number, "max": number, "scale": number,
            "offset": one_or_each(json!({"type": "integer"})),
        },
    });
    let named = json!({"allOf": [entry, {"required": ["name"], "properties": {"name": text()}}]});
    json!({"anyOf": [
        {"type": "array", "items": named},
        {"type": "object", "additionalProperties": {"anyOf": [entry, {"type": "array", "items": entry}]}},
    ]})
}

/// Whatever it is.
pub(super) fn anything() -> Value {
    json!({})
}
