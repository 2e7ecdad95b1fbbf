//! Which data an input is calibrated with.

use super::{Decision, Draft, Resolver};
use crate::config::{Calibration, CalibrationKeys, DataType, LinkSource, Note, ResizeMethod, Setting, Stage};

impl Resolver {
    pub(super) fn calibration(
        &mut self,
        stage: &Stage,
        draft: &Draft<'_>,
        pictures: bool,
    ) -> Option<(Calibration, Decision)> {
        let (own, mut global) = (&draft.own.calibration, &stage.defaults.calibration);
        // A folder for all inputs has pictures where there are any.
        let is_folder = |keys: &CalibrationKeys| keys.path.is_some();
        if pictures && !draft.is_picture() && own.given().is_none() && global.given().is_some_and(is_folder) {
            let text = format!(
                "`calibration` does not reach input `{0}`, which is no picture: say it for `{0}` under `inputs`",
                draft.name
            );
            let origin = global.origin().unwrap_or(draft.origin).clone();
            self.notes.push(Note { origin, text });
            global = &Setting::Absent;
        }
        let (keys, decision) = match (own.given(), global.given()) {
            // `random` for all inputs is how people say: forget the data.
            (_, Some(global)) if global.random => (global.clone(), Decision::Global),
            (Some(own), _) if own.random => (own.clone(), Decision::Own),
            (Some(own), Some(global)) => (completed(own, global), Decision::Both),
            (Some(keys), None) => (keys.clone(), Decision::Own),
            (None, Some(global)) if matches!(own, Setting::Absent) => (global.clone(), Decision::Global),
            (None, _) => (CalibrationKeys::default(), Decision::of(own)),
        };
        let origin = own.origin().or(global.origin()).unwrap_or(draft.origin);
        if let Some(path) = keys.path {
            let images = Calibration::Images {
                path,
                max_images: keys.max_images.and_then(|count| u64::try_from(count).ok()),
                resize_method: keys.resize_method.unwrap_or(ResizeMethod::Resize),
            };
            return Some((images, decision));
        }
        if let Some(stage) = keys.stage {
            let source = keys.script.map(LinkSource::Script).or(keys.output.map(LinkSource::Output));
            if source.is_none() {
                self.rule(
                    origin,
                    format!(
                        "either `output` or `script` must be provided in the calibration of input `{}`",
                        draft.name
                    ),
                );
            }
            return source.map(|source| (Calibration::Link { stage, source }, decision));
        }
        if keys.resize_method.is_some() || keys.output.is_some() || keys.script.is_some() {
            self.rule(
                origin,
                format!(
                    "the calibration of input `{}` has neither `path` nor `stage`, which its other keys need",
                    draft.name
                ),
            );
            return None;
        }
        let (min_value, max_value) = (keys.min_value.unwrap_or(0.0), keys.max_value.unwrap_or(255.0));
        if min_value > max_value {
            self.rule(
                origin,
                format!(
                    "`min_value` {min_value} of the calibration of input `{}` is above `max_value` {max_value}",
                    draft.name
                ),
            );
            return None;
        }
        let random = Calibration::Random {
            max_images: keys.max_images.map_or(20, |count| u64::try_from(count).unwrap_or(20)),
            min_value,
            max_value,
            mean: keys.mean.unwrap_or(127.5),
            standard_deviation: keys.standard_deviation.unwrap_or(35.0),
            data_type: keys.data_type.unwrap_or(DataType::Float32),
        };
        Some((random, decision))
    }
}

/// Completes what an input says about calibration with what is said for all inputs, as far as it fits.
fn completed(own: &CalibrationKeys, global: &CalibrationKeys) -> CalibrationKeys {
    let images = |keys: &CalibrationKeys| keys.path.is_some() || keys.resize_method.is_some();
    let link = |keys: &CalibrationKeys| keys.stage.is_some() || keys.output.is_some() || keys.script.is_some();
    let random = |keys: &CalibrationKeys| {
        keys.data_type.is_some()
            || keys.min_value.or(keys.max_value).or(keys.mean).or(keys.standard_deviation).is_some()
    };
    let kind = |keys: &CalibrationKeys| match (images(keys), link(keys), random(keys)) {
        (true, ..) => 1,
        (_, true, _) => 2,
        (.., true) => 3,
        _ => 0,
    };
    let (own_kind, global_kind) = (kind(own), kind(global));
    let mut keys = own.clone();
    keys.max_images = own.max_images.or(global.max_images);
    // Keys of another kind of data than the input's own do not mix in.
    if own_kind == 0 || global_kind == 0 || own_kind == global_kind {
        keys.path = own.path.clone().or(global.path.clone());
        keys.resize_method = own.resize_method.or(global.resize_method);
        keys.min_value = own.min_value.or(global.min_value);
        keys.max_value = own.max_value.or(global.max_value);
        keys.mean = own.mean.or(global.mean);
        keys.standard_deviation = own.standard_deviation.or(global.standard_deviation);
        keys.data_type = own.data_type.or(global.data_type);
        keys.stage = own.stage.clone().or(global.stage.clone());
        if own.output.is_none() && own.script.is_none() {
            keys.output = global.output.clone();
            keys.script = global.script.clone();
        }
    }
    keys
}
