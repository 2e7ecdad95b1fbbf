//! The JSON Schema against an independent validator, and the validator against the reader.

use modelconverter::config::schema::schema;
use modelconverter::config::{read, yaml};
use serde_json::{Value, json};

use crate::overrides::ask;
use crate::{cases, keys};

/// Every document is judged alike: what the reader takes the schema takes, what is wrong in its grammar the schema
/// refuses. Rules between keys are the reader's alone.
#[test]
fn the_schema_takes_and_refuses_what_the_reader_does() {
    let files = ["valid", "invalid"].into_iter().flat_map(|folder| cases(folder, "error")).map(|case| case.yaml);
    let texts: Vec<String> = files.chain(keys::documents()).collect();
    let read: Vec<(Value, &String, Result<_, _>)> = texts
        .iter()
        .filter_map(|text| Some((yaml::parse(text, "f.yaml").ok()?, text)))
        .map(|(tree, text)| (tree.to_json(), text, read::read(&tree)))
        .collect();
    let documents: Vec<&Value> = read.iter().map(|(document, ..)| document).collect();
    let answers = ask("schema_reader.py", &json!({"schema": schema(), "documents": documents}));
    let (mut taken, mut refused) = (0, 0);
    for ((_, text, reading), valid) in read.iter().zip(answers.as_array().unwrap()) {
        let valid = valid.as_bool().unwrap();
        match reading {
            Ok(_) => {
                taken += 1;
                assert!(valid, "the schema refuses\n{text}");
            }
            Err(problems) if problems.all().iter().any(|problem| keys::is_grammar(&problem.fault)) => {
                refused += 1;
                assert!(!valid, "the schema takes\n{text}\nalthough {problems}");
            }
            Err(_) => {}
        }
    }
    assert!(taken > 300 && refused > 300, "{taken} taken, {refused} refused");
}

/// Editors show these.
#[test]
fn every_key_has_a_description_and_settings_have_the_defaults_of_the_reader() {
    let schema = schema();
    let stage = &schema["$defs"]["stage"]["properties"];
    let resolved = crate::resolved_json("input_model: m.onnx\n", &[]).unwrap();
    let mut defaults = 0;
    let mut check = |properties: &Value, values: &Value| {
        for (key, property) in properties.as_object().unwrap() {
            assert!(property["description"].as_str().is_some_and(|text| text.ends_with('.')), "{key}: {property}");
            if let Some(default) = property.get("default") {
                defaults += 1;
                assert_eq!(default, &values[key], "{key}");
            }
        }
    };
    check(stage, &resolved);
    for target in ["verification", "rvc2", "rvc3", "rvc4", "hailo"] {
        let block = &stage[target];
        let block = block["anyOf"].get(0).unwrap_or(block);
        check(&block["properties"], &resolved[target]);
    }
    assert!(defaults > 35, "{defaults}");
    // At the top, keys of a stage are those of a stage.
    assert_eq!(schema["properties"]["rvc4"]["$ref"], "#/$defs/stage/properties/rvc4");
}
