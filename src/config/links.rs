//! Calibration on the results of other stages: whether each link leads somewhere.
//!
//! Stages are converted in the order in which they are written, so a link may only lead to an earlier one.

use super::problem::closest;
use super::{
    Calibration, CalibrationKeys, ConversionConfig, LinkSource, Origin, Problem, ResolvedStage, Setting, Stage,
    StageName,
};

/// Returns everything that is wrong with the stages that links name.
pub(super) fn wrong_stages(stages: &[Stage]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        for (keys, origin) in calibrations(stage) {
            let Some(wanted) = &keys.stage else { continue };
            let Some(position) = stages.iter().position(|other| other.name == *wanted) else {
                problems.push(unknown_stage(stages, stage, wanted, origin));
                continue;
            };
            if position < index {
                continue;
            }
            let name = &stage.name;
            problems.push(match way(stages, wanted, name) {
                Some(way) => {
                    let way: Vec<&str> = way.iter().map(|name| name.as_str()).collect();
                    let by_way = if way.len() > 1 { format!(": {name}, {}", way.join(", ")) } else { String::new() };
                    Problem::rule(origin, format!("stage `{name}` is calibrated on its own results{by_way}"))
                }
                None => Problem::advised(
                    origin,
                    format!("stage `{name}` is calibrated on results of `{wanted}`, which is converted after it"),
                    format!("write `{wanted}` before `{name}`"),
                ),
            });
        }
    }
    problems
}

/// Returns everything that is wrong with the outputs that links name.
pub(super) fn wrong_outputs(config: &ConversionConfig, resolved: &[ResolvedStage]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for stage in resolved {
        for input in &stage.inputs {
            let Calibration::Link { stage: wanted, source: LinkSource::Output(output) } = &input.calibration else {
                continue;
            };
            let Some(other) = resolved.iter().find(|other| other.name == *wanted) else { continue };
            let names: Vec<&str> = other.outputs.iter().map(|output| output.name.as_str()).collect();
            if names.contains(&output.as_str()) {
                continue;
            }
            let near = closest(output, &names).map(|near| format!(", the nearest is `{near}`")).unwrap_or_default();
            problems.push(Problem::advised(
                &origin(config, &stage.name, &input.name),
                format!(
                    "input `{}` is calibrated on output `{output}` of `{wanted}`, which has none such{near}",
                    input.name
                ),
                format!("the outputs of `{wanted}` are {}", names.join(", ")),
            ));
        }
    }
    problems
}

/// Returns all that a stage says about calibration, and where.
fn calibrations(stage: &Stage) -> impl Iterator<Item = (&CalibrationKeys, &Origin)> {
    let settings = stage.inputs.iter().map(|entry| &entry.settings).chain([&stage.defaults]);
    settings.filter_map(|settings| match &settings.calibration {
        Setting::Given(keys, origin) => Some((keys, origin)),
        Setting::Absent | Setting::Null(_) => None,
    })
}

fn unknown_stage(stages: &[Stage], stage: &Stage, wanted: &StageName, origin: &Origin) -> Problem {
    let others: Vec<&str> =
        stages.iter().filter(|other| other.name != stage.name).map(|other| other.name.as_str()).collect();
    let near = closest(wanted.as_str(), &others).map(|near| format!(", the nearest is `{near}`")).unwrap_or_default();
    let rule = format!("stage `{}` is calibrated on results of `{wanted}`, which is no stage{near}", stage.name);
    let advice = match others.as_slice() {
        [] => "calibration on results of another stage needs `stages`".to_owned(),
        others => format!("the other stages are {}", others.join(", ")),
    };
    Problem::advised(origin, rule, advice)
}

/// Returns the stages from `start` to `end`, each calibrated on results of the next one; nothing where there is no way.
fn way<'a>(stages: &'a [Stage], start: &'a StageName, end: &StageName) -> Option<Vec<&'a StageName>> {
    let mut ways = vec![vec![start]];
    let mut seen = vec![start];
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        if last == end {
            return Some(way);
        }
        let stage = stages.iter().find(|stage| stage.name == *last);
        for next in stage.into_iter().flat_map(calibrations).filter_map(|(keys, _)| keys.stage.as_ref()) {
            if !seen.contains(&next) {
                seen.push(next);
                ways.push(way.iter().copied().chain([next]).collect());
            }
        }
    }
    None
}

/// Returns where the calibration of an input is said.
fn origin(config: &ConversionConfig, stage: &StageName, input: &str) -> Origin {
    let Some(stage) = config.stages.iter().find(|known| known.name == *stage) else { return Origin::Made };
    let own =
        stage.inputs.iter().find(|entry| entry.name == input).and_then(|entry| entry.settings.calibration.origin());
    own.or(stage.defaults.calibration.origin()).unwrap_or(&stage.model.origin).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Dimension, ModelFacts, TensorFacts, read::read, resolve::resolve, yaml::parse};

    fn refused(yaml: &str) -> String {
        let config = match read(&parse(yaml, "f.yaml").unwrap()) {
            Ok(reading) => reading.config,
            Err(problems) => return problems.to_string(),
        };
        let tensor = |name: &str| TensorFacts {
            name: name.to_owned(),
            shape: Some(vec![Dimension::Fixed(1), Dimension::Fixed(4)]),
            data_type: Some(crate::config::DataType::Float32),
            foreign_type: None,
        };
        let facts = |name: &StageName| {
            let (input, output) = (tensor("x"), tensor(&format!("out_{name}")));
            Some(ModelFacts { inputs: vec![input], outputs: vec![output], ..ModelFacts::default() })
        };
        resolve(&config, &facts).map(|_| String::new()).unwrap_or_else(|problems| problems.to_string())
    }

    fn staged(stages: &[(&str, &str)]) -> String {
        let stage = |(name, calibration): &(&str, &str)| {
            format!("  {name}: {{input_model: {name}.onnx, calibration: {calibration}}}\n")
        };
        format!("stages:\n{}", stages.iter().map(stage).collect::<String>())
    }

    #[test]
    fn links_lead_to_earlier_stages_and_their_outputs() {
        let on = |stage: &str, output: &str| format!("{{stage: {stage}, output: {output}}}");
        assert_eq!(refused(&staged(&[("a", "random"), ("b", &on("a", "out_a"))])), "");
        assert_eq!(refused(&staged(&[("a", "random"), ("b", "{stage: a, script: s.py}")])), "");
        for (stages, part) in [
            (
                &[("first", "random"), ("b", "{stage: frist, output: o}")][..],
                "`b` is calibrated on results of `frist`, which is no stage, the nearest is `first`",
            ),
            (
                &[("a", "{stage: b, output: o}"), ("b", "random")],
                "`a` is calibrated on results of `b`, which is converted after it",
            ),
            (&[("a", "{stage: a, output: o}")], "stage `a` is calibrated on its own results"),
            (
                &[("a", "{stage: c, output: o}"), ("b", "{stage: a, output: o}"), ("c", "{stage: b, output: o}")],
                "stage `a` is calibrated on its own results: a, c, b, a",
            ),
            (
                &[("a", "random"), ("b", "{stage: a, output: out_b}")],
                "input `x` is calibrated on output `out_b` of `a`, which has none such, the nearest is `out_a`",
            ),
        ] {
            let text = refused(&staged(stages));
            assert!(text.contains(part), "{part}\n{text}");
        }
        let flat = refused("input_model: a.onnx\ncalibration: {stage: b, output: o}\n");
        assert!(flat.contains("f.yaml:2:14") && flat.contains("which is no stage"), "{flat}");
    }
}
