//! The files that a configuration names.
//!
//! The host asks for them to show them to the container, and rewrites the configuration to the places it shows them at.

use super::{
    Calibration, CalibrationKeys, ConversionConfig, EncodingsSource, FileReference, InputSettings, LinkSource,
    ModelSource, ResolvedConfig, Setting, Stage, StageSettings,
};

/// What a file becomes.
type Replace<'a> = dyn FnMut(FileRole, &FileReference) -> FileReference + 'a;

/// What a file is to the configuration that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRole {
    /// `input_model`. An ONNX model may have files with its tensors beside it.
    Model,
    /// `input_bin`, which must stay beside its model.
    Weights,
    /// `calibration.path`: a folder, or a zip file.
    CalibrationData,
    /// `calibration.script`, where it names a file.
    Script,
    /// `rvc4.encodings`, where it names a file.
    Encodings,
    /// A file in the arguments of a vendor's tool.
    ToolArgument,
}

/// Arguments of vendor tools that are followed by a file, or carry one behind `=`.
const FILE_FLAGS: [&str; 2] = ["--transformations_config", "-c"];

impl ConversionConfig {
    /// Returns every file that the configuration names, in its order.
    pub fn files(&self) -> Vec<(FileRole, FileReference)> {
        let mut files = Vec::new();
        let _unchanged = self.with_files(&mut |role, file| {
            files.push((role, file.clone()));
            file.clone()
        });
        files
    }

    /// Returns the configuration with every file it names replaced by what `replace` makes of it.
    #[must_use]
    pub fn with_files(&self, replace: &mut Replace<'_>) -> Self {
        let mut config = self.clone();
        for stage in &mut config.stages {
            replace_in(stage, replace);
        }
        config
    }
}

impl ResolvedConfig {
    /// Returns the configuration with every file it names replaced by what `replace` makes of it.
    #[must_use]
    pub fn with_files(&self, replace: &mut Replace<'_>) -> Self {
        let mut config = self.clone();
        for stage in &mut config.stages {
            model_in(&mut stage.model, replace);
            for input in &mut stage.inputs {
                match &mut input.calibration {
                    Calibration::Images { path, .. } => *path = replace(FileRole::CalibrationData, path),
                    Calibration::Link { source: LinkSource::Script(script), .. } => script_in(script, replace),
                    Calibration::Link { .. } | Calibration::Random { .. } => {}
                }
            }
            settings_in(&mut stage.settings, replace);
        }
        config
    }
}

fn replace_in(stage: &mut Stage, replace: &mut Replace<'_>) {
    model_in(&mut stage.model, replace);
    calibration_in(&mut stage.defaults, replace);
    for entry in &mut stage.inputs {
        calibration_in(&mut entry.settings, replace);
    }
    settings_in(&mut stage.settings, replace);
}

fn model_in(model: &mut ModelSource, replace: &mut Replace<'_>) {
    model.path = replace(FileRole::Model, &model.path);
    if let Some(weights) = &mut model.weights {
        *weights = replace(FileRole::Weights, weights);
    }
}

fn settings_in(settings: &mut StageSettings, replace: &mut Replace<'_>) {
    if let Some(EncodingsSource::File(file)) = &mut settings.rvc4.encodings {
        *file = replace(FileRole::Encodings, file);
    }
    for arguments in [
        &mut settings.rvc2.mo_args,
        &mut settings.rvc2.compile_tool_args,
        &mut settings.rvc3.mo_args,
        &mut settings.rvc3.compile_tool_args,
    ] {
        arguments_in(arguments, replace);
    }
}

fn calibration_in(settings: &mut InputSettings, replace: &mut Replace<'_>) {
    let Setting::Given(CalibrationKeys { path, script, .. }, _) = &mut settings.calibration else { return };
    if let Some(path) = path {
        *path = replace(FileRole::CalibrationData, path);
    }
    if let Some(script) = script {
        script_in(script, replace);
    }
}

fn script_in(script: &mut String, replace: &mut Replace<'_>) {
    if names_script(script) {
        *script = replace(FileRole::Script, &FileReference::new(script.as_str())).as_str().to_owned();
    }
}

/// Returns whether a `script` names a file; otherwise it is Python source itself.
pub fn names_script(script: &str) -> bool {
    script.ends_with(".py") && !script.contains('\n')
}

fn arguments_in(arguments: &mut [String], replace: &mut Replace<'_>) {
    let mut file_follows = false;
    for argument in arguments {
        if file_follows {
            *argument = replace(FileRole::ToolArgument, &FileReference::new(argument.as_str())).as_str().to_owned();
            file_follows = false;
        } else if FILE_FLAGS.contains(&argument.as_str()) {
            file_follows = true;
        } else if let Some((flag, file)) = argument.split_once('=')
            && FILE_FLAGS.contains(&flag)
        {
            *argument = format!("{flag}={}", replace(FileRole::ToolArgument, &FileReference::new(file)).as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_and_replaced_wherever_they_stand() {
        let yaml = "stages:\n  s: {input_model: n.onnx}\n  t:\n\
                    \x20   input_model: m/a b.xml\n\
                    \x20   calibration: {path: pictures}\n\
                    \x20   inputs: [{name: x, calibration: {stage: s, script: run.py}}]\n\
                    \x20   rvc2: {mo_args: [--transformations_config, t.json, --input, x], compile_tool_args: [-c=conf, -c]}\n\
                    \x20   rvc4: {encodings: e.json}\n";
        let tree = crate::config::yaml::parse(yaml, "f.yaml").unwrap();
        let config = crate::config::read::read(&tree).unwrap().config;
        let files: Vec<String> = config.files().iter().map(|(role, file)| format!("{role:?} {file}")).collect();
        let expected = [
            "Model n.onnx",
            "Model m/a b.xml",
            "Weights m/a b.bin",
            "CalibrationData pictures",
            "Script run.py",
            "Encodings e.json",
            "ToolArgument t.json",
            "ToolArgument conf",
        ];
        assert_eq!(files, expected);
        let moved = config.with_files(&mut |_, file| FileReference::new(format!("/inputs/{}", file.file_name())));
        let names: Vec<String> = moved.files().iter().map(|(_, file)| file.to_string()).collect();
        assert_eq!(
            names,
            [
                "/inputs/n.onnx",
                "/inputs/a b.xml",
                "/inputs/a b.bin",
                "/inputs/pictures",
                "/inputs/run.py",
                "/inputs/e.json",
                "/inputs/t.json",
                "/inputs/conf"
            ]
        );
    }
}
