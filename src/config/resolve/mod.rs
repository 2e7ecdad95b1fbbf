//! A configuration and the facts of its models become a [`ResolvedConfig`], or all the reasons why not.
//!
//! What an input says itself wins over what its stage says for all inputs; an explicit null turns the latter off. Where
//! nobody says anything, the model decides, and then the kind of input: pictures of three channels are taken from RGB to
//! BGR, pictures of one channel are gray, everything else is raw. Colours, means and scales said for all inputs reach
//! the pictures; only if a model has no pictures do means and scales reach the rest.

mod calibration;

use std::collections::{BTreeMap, BTreeSet};

use super::links;
use super::problem::closest;
use super::{
    ChannelValues, Color, ConversionConfig, DataType, Dimension, Encoding, FrozenValue, InputEntry, InputSettings,
    ModelFacts, ModelKind, Named, Note, Origin, OutputEntry, Problem, Problems, ResolvedConfig, ResolvedInput,
    ResolvedOutput, ResolvedStage, Setting, Shape, Stage, StageName, TensorFacts,
};
use crate::nn_archive::Layout;

/// The mean of ImageNet's pictures, in the order RGB.
const IMAGENET_MEAN: [f64; 3] = [123.675, 116.28, 103.53];

/// The spread of ImageNet's pictures, in the order RGB.
const IMAGENET_SCALE: [f64; 3] = [58.395, 57.12, 57.375];

/// A resolved configuration, and what people should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// The configuration.
    pub config: ResolvedConfig,
    /// Decisions that nobody asked for, one note each.
    pub notes: Vec<Note>,
    /// Who decided, for each stage.
    pub decisions: Vec<StageDecisions>,
}

/// Who decided about the inputs and outputs of a stage, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub struct StageDecisions {
    pub inputs: Vec<InputDecisions>,
    pub outputs: Vec<OutputDecisions>,
}

/// Who decided each value of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub struct InputDecisions {
    pub shape: Decision,
    pub layout: Decision,
    pub data_type: Decision,
    pub encoding: Decision,
    pub mean_values: Decision,
    pub scale_values: Decision,
    pub calibration: Decision,
}

/// Who decided each value of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub struct OutputDecisions {
    pub shape: Decision,
    pub layout: Decision,
    pub data_type: Decision,
}

/// Who decided a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The entry of the input or output.
    Own,
    /// What is said for all inputs.
    Global,
    /// The entry, completed with what is said for all inputs.
    Both,
    /// The model.
    Model,
    /// Nobody: a default.
    Default,
}

impl Decision {
    /// Returns who said what stands after [`Setting::or`].
    const fn of<T>(own: &Setting<T>) -> Self {
        match own {
            Setting::Absent => Self::Global,
            Setting::Null(_) | Setting::Given(..) => Self::Own,
        }
    }
}

/// Resolves a configuration against the facts of its models.
///
/// # Errors
/// Everything in which configuration and models do not fit together.
pub fn resolve(
    config: &ConversionConfig,
    facts: &dyn Fn(&StageName) -> Option<ModelFacts>,
) -> Result<Resolution, Problems> {
    let mut resolver = Resolver { has_stages: config.stages.len() > 1, ..Resolver::default() };
    let mut stages = Vec::with_capacity(config.stages.len());
    for stage in &config.stages {
        match facts(&stage.name) {
            Some(facts) => stages.push(resolver.stage(stage, &facts)),
            None => {
                resolver.rule(&stage.model.origin, format!("nothing is known of the model of stage `{}`", stage.name))
            }
        }
    }
    resolver.problems.extend(links::wrong_outputs(config, &stages));
    match Problems::of(resolver.problems) {
        Some(problems) => Err(problems),
        None => {
            let config = ResolvedConfig { name: config.name.clone(), rich_logging: config.rich_logging, stages };
            Ok(Resolution { config, notes: resolver.notes, decisions: resolver.decisions })
        }
    }
}

#[derive(Default)]
struct Resolver {
    problems: Vec<Problem>,
    notes: Vec<Note>,
    decisions: Vec<StageDecisions>,
    /// What sizes with names are, as far as some input of the stage at hand tells, and all that do agree.
    named_sizes: BTreeMap<String, u64>,
    /// Whether the model of the stage at hand has several inputs.
    has_several: bool,
    /// Whether there are several stages.
    has_stages: bool,
    /// Whether that model can have the sizes only that it states.
    has_fixed_sizes: bool,
    /// Whether some input of that model gets other sizes than the model states.
    is_resized: bool,
}

/// One input on its way, before means and colours.
struct Draft<'a> {
    name: &'a str,
    /// Where to point when something about this input is wrong.
    origin: &'a Origin,
    own: &'a InputSettings,
    entry: Option<&'a InputEntry>,
    shape: Shape,
    layout: Layout,
    data_type: DataType,
    decisions: InputDecisions,
}

impl Draft<'_> {
    /// Returns the number of channels: the dimension `C`, or one value for everything.
    fn channels(&self) -> usize {
        let position = self.layout.position('C');
        position.and_then(|position| self.shape.get(position)).map_or(1, |size| usize::try_from(*size).unwrap_or(1))
    }

    /// Returns whether the input looks like a picture.
    fn is_picture(&self) -> bool {
        self.layout.is_picture() && matches!(self.channels(), 1 | 3)
    }
}

/// Returns the sizes of dimensions with names: those of inputs whose shape is given, and batches, which are 1. Names that
/// inputs disagree about are left out.
fn named_sizes(stage: &Stage, facts: &ModelFacts) -> BTreeMap<String, u64> {
    let mut sizes: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for tensor in &facts.inputs {
        let Some(dimensions) = &tensor.shape else { continue };
        let own = stage.inputs.iter().find(|entry| entry.name == tensor.name).map(|entry| &entry.settings.shape);
        let given = own.map_or(&stage.defaults.shape, |own| own.or(&stage.defaults.shape)).given();
        let given = given.filter(|given| given.len() == dimensions.len());
        for (index, dimension) in dimensions.iter().enumerate() {
            let Dimension::Dynamic(Some(name)) = dimension else { continue };
            let size = match given {
                Some(given) => given.get(index).copied(),
                None => (index == 0).then_some(1),
            };
            sizes.entry(name.clone()).or_default().extend(size.filter(|size| *size > 0));
        }
    }
    let only = |(name, sizes): (String, BTreeSet<u64>)| {
        let size = sizes.first().copied().filter(|_| sizes.len() == 1)?;
        Some((name, size))
    };
    sizes.into_iter().filter_map(only).collect()
}

impl Resolver {
    fn rule(&mut self, origin: &Origin, rule: impl Into<String>) {
        self.problems.push(Problem::rule(origin, rule));
    }

    fn stage(&mut self, stage: &Stage, facts: &ModelFacts) -> ResolvedStage {
        let stage = &self.with_tensors(stage, facts);
        let nothing = InputSettings::default();
        let mut drafts = Vec::new();
        let inner = |name: &str| {
            let of_model = facts.inputs.iter().any(|tensor| tensor.name == name);
            facts.intermediates.iter().find(|tensor| !of_model && tensor.name == name)
        };
        // Naming a tensor inside the model cuts it there, and then only what is named is an input.
        let cut = stage.inputs.iter().any(|entry| inner(&entry.name).is_some());
        let named = |tensor: &&TensorFacts| !cut || stage.inputs.iter().any(|entry| entry.name == tensor.name);
        self.named_sizes = named_sizes(stage, facts);
        self.has_several = facts.inputs.len() > 1;
        (self.has_fixed_sizes, self.is_resized) = (facts.has_fixed_sizes, false);
        for tensor in facts.inputs.iter().filter(named) {
            let entry = stage.inputs.iter().find(|entry| entry.name == tensor.name);
            drafts.extend(self.draft(stage, tensor, entry, &nothing));
        }
        for entry in &stage.inputs {
            if facts.inputs.iter().any(|tensor| tensor.name == entry.name) {
                continue;
            }
            match inner(&entry.name) {
                Some(tensor) => drafts.extend(self.draft(stage, tensor, Some(entry), &nothing)),
                None => self.unknown(stage, ("input", &entry.name), &entry.origin, facts),
            }
        }
        self.for_all(stage, facts);
        let pictures = drafts.iter().any(Draft::is_picture);
        let inputs = drafts.iter().filter_map(|draft| self.input(stage, draft, pictures));
        let (inputs, input_decisions): (Vec<_>, Vec<_>) = inputs.unzip();
        self.encoding_for_all(stage, &drafts, &input_decisions);
        let (outputs, output_decisions) = self.outputs(stage, facts).into_iter().unzip();
        self.decisions.push(StageDecisions { inputs: input_decisions, outputs: output_decisions });
        ResolvedStage {
            name: stage.name.clone(),
            model: stage.model.clone(),
            settings: stage.settings.clone(),
            inputs,
            outputs,
        }
    }

    /// Returns the stage with the names of tensors where it has names of nodes.
    fn with_tensors(&mut self, stage: &Stage, facts: &ModelFacts) -> Stage {
        let mut stage = stage.clone();
        let tensors = facts.inputs.iter().chain(&facts.outputs).chain(&facts.intermediates);
        let tensors: BTreeSet<&str> = tensors.map(|tensor| tensor.name.as_str()).collect();
        let inputs = stage.inputs.iter_mut().map(|entry| (&mut entry.name, &entry.origin));
        let outputs = stage.outputs.iter_mut().map(|entry| (&mut entry.name, &entry.origin));
        for (name, origin) in inputs.chain(outputs).filter(|(name, _)| !tensors.contains(name.as_str())) {
            let Some(tensor) = facts.nodes.get(name).filter(|tensor| tensors.contains(tensor.as_str())) else {
                continue;
            };
            let text = format!("`{name}` is the name of a node: its output is the tensor `{tensor}`");
            self.notes.push(Note { origin: origin.clone(), text });
            name.clone_from(tensor);
        }
        stage
    }

    /// A shape or layout for all inputs that has the rank of none of them is a mistake.
    fn for_all(&mut self, stage: &Stage, facts: &ModelFacts) {
        if stage.inputs.iter().any(|entry| facts.intermediates.iter().any(|tensor| tensor.name == entry.name)) {
            // The model is cut, and fed where its ranks need not be known.
            return;
        }
        let known: Option<Vec<_>> = facts.inputs.iter().map(|tensor| tensor.shape.as_deref()).collect();
        // Where a rank is not known, what is said for all may be meant for that tensor.
        let Some(known) = known.filter(|known| !known.is_empty()) else { return };
        let shape = match &stage.defaults.shape {
            Setting::Given(shape, origin) => Some((format!("shape {shape:?}"), shape.len(), origin)),
            Setting::Absent | Setting::Null(_) => None,
        };
        let layout = match &stage.defaults.layout {
            Setting::Given(layout, origin) => Some((format!("layout `{layout}`"), layout.rank(), origin)),
            Setting::Absent | Setting::Null(_) => None,
        };
        for (what, rank, origin) in [shape, layout].into_iter().flatten() {
            let Some((tensor, first)) = facts.inputs.first().zip(known.first()) else { continue };
            if known.iter().all(|known| known.len() != rank) {
                let (name, shape) = (&tensor.name, printed(first));
                self.rule(
                    origin,
                    format!("{what} has the number of dimensions of no input; input `{name}` has {shape}"),
                );
            }
        }
    }

    /// Colours for all inputs that reach none of them are a mistake, or at least not what somebody thinks.
    fn encoding_for_all(&mut self, stage: &Stage, drafts: &[Draft<'_>], decisions: &[InputDecisions]) {
        let Setting::Given(encoding, origin) = &stage.defaults.encoding else { return };
        let is_gray = encoding.from == Color::Gray;
        let is_reached = |decision: &InputDecisions| decision.encoding != Decision::Default;
        if encoding.is_raw() || decisions.iter().any(is_reached) {
            return;
        }
        let from = encoding.from.as_str();
        match drafts.iter().find(|draft| draft.is_picture()) {
            Some(draft) if is_gray => {
                let (name, shape, layout) = (draft.name, &draft.shape, &draft.layout);
                let rule = format!(
                    "encoding `{from}` is for 1 channel, and input `{name}` with layout {layout} and shape {shape:?} has {}",
                    draft.channels()
                );
                self.rule(origin, rule);
            }
            // Pictures of one channel are gray, whatever is said of colours.
            Some(_) => {}
            None => {
                let text =
                    format!("encoding `{from}` reaches no input: none is a picture; say it of an input under `inputs`");
                self.notes.push(Note { origin: origin.clone(), text });
            }
        }
    }

    fn unknown(&mut self, stage: &Stage, (what, entry): (&str, &str), origin: &Origin, facts: &ModelFacts) {
        let known = if what == "input" { &facts.inputs } else { &facts.outputs };
        let names: Vec<&str> = known.iter().map(|tensor| tensor.name.as_str()).collect();
        let inner = || facts.intermediates.iter().map(|tensor| &tensor.name).chain(facts.nodes.keys());
        let nearest =
            closest(entry, &names).or_else(|| closest(entry, &inner().map(String::as_str).collect::<Vec<_>>()));
        let near = nearest.map(|near| format!(", the nearest is `{near}`")).unwrap_or_default();
        let shown: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
        self.problems.push(Problem::advised(
            origin,
            format!("{what} `{entry}` not found in `{}`{near}", stage.model.path),
            format!("the {what}s of `{}` are {}", stage.model.path, shown.join(", ")),
        ));
    }

    fn draft<'a>(
        &mut self,
        stage: &'a Stage,
        tensor: &'a TensorFacts,
        entry: Option<&'a InputEntry>,
        nothing: &'a InputSettings,
    ) -> Option<Draft<'a>> {
        let own = entry.map_or(nothing, |entry| &entry.settings);
        let origin = entry.map_or(&stage.model.origin, |entry| &entry.origin);
        self.outvoted(stage, &tensor.name, own);
        let (shape, shape_decision) = self.input_shape(stage, tensor, own, origin)?;
        let (layout, layout_decision) = match own.layout.or(&stage.defaults.layout) {
            Setting::Given(layout, origin) if layout.rank() != shape.len() => {
                // A layout for all inputs says nothing about inputs of another rank.
                if entry.is_some() && own.layout.given().is_some() {
                    self.rule(
                        origin,
                        format!(
                            "the length of layout `{layout}` of input `{}` must match its shape {shape:?}",
                            tensor.name
                        ),
                    );
                    return None;
                }
                (self.default_layout(&tensor.name, &shape, origin)?, Decision::Default)
            }
            Setting::Given(layout, _) => (layout.clone(), Decision::of(&own.layout)),
            Setting::Absent | Setting::Null(_) => {
                (self.default_layout(&tensor.name, &shape, origin)?, Decision::Default)
            }
        };
        if let Some(foreign) = &tensor.foreign_type {
            self.problems.push(Problem::advised(
                origin,
                format!("input `{}` has elements of type {foreign}, which no target takes", tensor.name),
                match foreign.starts_with("complex") {
                    true => "export the model with the real and the imaginary parts as real numbers",
                    false => "export the model with an input of float32",
                },
            ));
            return None;
        }
        let (data_type, type_decision) = match (own.data_type.or(&stage.defaults.data_type), tensor.data_type) {
            (Setting::Given(data_type, _), _) => (*data_type, Decision::of(&own.data_type)),
            (_, Some(data_type)) => (data_type, Decision::Model),
            (_, None) => {
                self.rule(
                    origin,
                    format!("the model does not say the data type of input `{0}`: give `data_type` for `{0}` under `inputs`", tensor.name),
                );
                return None;
            }
        };
        let decisions = InputDecisions {
            shape: shape_decision,
            layout: layout_decision,
            data_type: type_decision,
            encoding: Decision::Default,
            mean_values: Decision::Default,
            scale_values: Decision::Default,
            calibration: Decision::Default,
        };
        Some(Draft { name: &tensor.name, origin, own, entry, shape, layout, data_type, decisions })
    }

    /// Notes the overrides for all inputs that what is said of this one outvotes.
    fn outvoted(&mut self, stage: &Stage, name: &str, own: &InputSettings) {
        let Some(place) = stage.inputs.iter().position(|entry| entry.name == name) else { return };
        let all = &stage.defaults;
        for (own, all) in [
            (own.shape.origin(), all.shape.origin()),
            (own.layout.origin(), all.layout.origin()),
            (own.data_type.origin(), all.data_type.origin()),
            (own.encoding.origin(), all.encoding.origin()),
            (own.mean_values.origin(), all.mean_values.origin()),
            (own.scale_values.origin(), all.scale_values.origin()),
        ] {
            let (Some(own), Some(origin @ Origin::Override { key })) = (own, all) else { continue };
            if matches!(own, Origin::Override { .. }) {
                continue;
            }
            let key = key.rsplit('.').next().unwrap_or(key);
            let way = if self.has_stages { format!("stages.{}.", stage.name) } else { String::new() };
            let text = format!(
                "`{key}` does not reach input `{name}`, of which {own} says it: write `{way}inputs.{place}.{key}`"
            );
            self.notes.push(Note { origin: origin.clone(), text });
        }
    }

    fn default_layout(&mut self, name: &str, shape: &[u64], origin: &Origin) -> Option<Layout> {
        match Layout::default_for(shape) {
            Ok(layout) => Some(layout),
            Err(error) => {
                self.rule(origin, format!("input `{name}`: {error}"));
                None
            }
        }
    }

    fn input_shape(
        &mut self,
        stage: &Stage,
        tensor: &TensorFacts,
        own: &InputSettings,
        origin: &Origin,
    ) -> Option<(Shape, Decision)> {
        let own_shape = own.shape.given().is_some();
        let known = tensor.shape.as_deref();
        match own.shape.or(&stage.defaults.shape) {
            Setting::Given(shape, origin) => match known {
                Some(dimensions) if dimensions.len() != shape.len() && own_shape => {
                    self.rule(
                        origin,
                        format!(
                            "shape {shape:?} of input `{}` must match the model's {} in the number of dimensions",
                            tensor.name,
                            printed(dimensions),
                        ),
                    );
                    return None;
                }
                // A shape for all inputs says nothing about inputs of another rank.
                Some(dimensions) if dimensions.len() != shape.len() => {}
                _ => {
                    self.look_at_sizes(&tensor.name, known.unwrap_or_default(), shape, origin)?;
                    return Some((shape.clone(), Decision::of(&own.shape)));
                }
            },
            Setting::Absent | Setting::Null(_) => {}
        }
        let name = &tensor.name;
        // An override without a name is for all inputs.
        let has_several = self.has_several;
        let advice = move |shape: &str| match has_several {
            true => format!("give it: `{{name: {name}, shape: {shape}}}` under `inputs`"),
            false => {
                format!("give it: `inputs: [{{name: {name}, shape: {shape}}}]`, or `shape {shape}` as an override")
            }
        };
        let Some(dimensions) = known else {
            self.problems.push(Problem::advised(
                origin,
                format!("input `{name}` of `{}` does not have shape information", stage.model.path),
                advice("[1, 3, 224, 224]"),
            ));
            return None;
        };
        let mut shape = Vec::with_capacity(dimensions.len());
        let mut open = false;
        for (index, dimension) in dimensions.iter().enumerate() {
            let named = match dimension {
                Dimension::Dynamic(Some(name)) => self.named_sizes.get(name).map(|size| (name, *size)),
                _ => None,
            };
            match (dimension, named) {
                (Dimension::Fixed(size), _) if *size > 0 => shape.push(*size),
                // The first dimension is the batch, and conversions are for a batch of one.
                _ if index == 0 => shape.push(1),
                (_, Some((symbol, size))) => {
                    let text = format!(
                        "input `{name}` has the shape {}: {symbol} is {size}, as in other inputs",
                        printed(dimensions)
                    );
                    self.notes.push(Note { origin: Origin::Made, text });
                    shape.push(size);
                }
                _ => open = true,
            }
        }
        if open {
            let example: Vec<String> = dimensions
                .iter()
                .enumerate()
                .map(|(index, dimension)| match dimension {
                    Dimension::Fixed(size) if *size > 0 => size.to_string(),
                    _ if index == 0 => "1".to_owned(),
                    _ => "SIZE".to_owned(),
                })
                .collect();
            let rule = format!(
                "dynamic shapes are not supported: input `{name}` of `{}` has shape {}",
                stage.model.path,
                printed(dimensions),
            );
            self.problems.push(Problem::advised(origin, rule, advice(&format!("[{}]", example.join(", ")))));
            return None;
        }
        if !matches!(dimensions.first(), None | Some(Dimension::Fixed(1..))) {
            let text = format!(
                "input `{name}` has a dynamic batch, {}: it is converted for a batch of 1",
                printed(dimensions)
            );
            self.notes.push(Note { origin: Origin::Made, text });
        }
        Some((shape, Decision::Model))
    }

    /// Notes that an input gets other sizes than the model states, or refuses that.
    fn look_at_sizes(&mut self, name: &str, stated: &[Dimension], wanted: &Shape, origin: &Origin) -> Option<()> {
        let is_other = |(stated, wanted): (&Dimension, &u64)| match stated {
            Dimension::Fixed(size) => *size > 0 && size != wanted,
            Dimension::Dynamic(_) => false,
        };
        if !std::iter::zip(stated, wanted).any(is_other) {
            return Some(());
        }
        let shown = printed(stated);
        if self.has_fixed_sizes {
            self.rule(
                origin,
                format!("input `{name}` has the shape {shown}, and not {wanted:?}: only ONNX models can have other sizes than they state"),
            );
            return None;
        }
        let text = format!(
            "input `{name}` has the shape {shown} in the model, and gets {wanted:?}: constants of the model, such as anchors, stay what they are"
        );
        self.notes.push(Note { origin: origin.clone(), text });
        self.is_resized = true;
        Some(())
    }

    fn input(&mut self, stage: &Stage, draft: &Draft<'_>, pictures: bool) -> Option<(ResolvedInput, InputDecisions)> {
        let encoding = self.encoding(stage, draft);
        let mut values = |key: Key, own: &Setting<ChannelValues>, global: &Setting<ChannelValues>| {
            let setting = match own.or(global) {
                // Said for all inputs, and so for the pictures among them.
                Setting::Given(_, origin) if own.origin().is_none() && pictures && !draft.is_picture() => {
                    let key = key.name();
                    let text = format!(
                        "`{key}` does not reach input `{0}`, which is no picture: say it for `{0}` under `inputs`",
                        draft.name
                    );
                    self.notes.push(Note { origin: origin.clone(), text });
                    return Some((None, Decision::Default));
                }
                setting => setting,
            };
            let values = match setting {
                Setting::Given(values, origin) => Some(self.channel_values(draft, key, values, origin)?),
                Setting::Absent | Setting::Null(_) => None,
            };
            Some((values, Decision::of(own)))
        };
        let mean_values = values(Key::Mean, &draft.own.mean_values, &stage.defaults.mean_values);
        let scale_values = values(Key::Scale, &draft.own.scale_values, &stage.defaults.scale_values);
        let calibration = self.calibration(stage, draft, pictures);
        let frozen_value = self.frozen_value(draft);
        // Everything has been looked at by now, so that all problems are told at once.
        let ((encoding, encoding_decision), (calibration, calibration_decision)) = (encoding?, calibration?);
        let ((mean_values, mean_decision), (scale_values, scale_decision)) = (mean_values?, scale_values?);
        let decisions = InputDecisions {
            encoding: encoding_decision,
            mean_values: mean_decision,
            scale_values: scale_decision,
            calibration: calibration_decision,
            ..draft.decisions
        };
        let input = ResolvedInput {
            name: draft.name.to_owned(),
            shape: draft.shape.clone(),
            layout: draft.layout.clone(),
            data_type: draft.data_type,
            encoding,
            mean_values,
            scale_values,
            calibration,
            frozen_value: frozen_value?,
        };
        Some((input, decisions))
    }

    fn frozen_value(&mut self, draft: &Draft<'_>) -> Option<Option<FrozenValue>> {
        let Some(value) = draft.entry.and_then(|entry| entry.frozen_value.clone()) else { return Some(None) };
        let elements = draft.shape.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
        let count = match &value {
            FrozenValue::Scalar(_) => 1,
            FrozenValue::List(values) => values.len(),
        };
        if count != 1 && elements != u64::try_from(count).ok() {
            let (name, shape) = (draft.name, &draft.shape);
            self.rule(
                draft.origin,
                format!("`frozen_value` of input `{name}` has {count} numbers: one is for all elements, or as many as in its shape {shape:?}"),
            );
            return None;
        }
        Some(Some(value))
    }

    fn encoding(&mut self, stage: &Stage, draft: &Draft<'_>) -> Option<(Encoding, Decision)> {
        let channels = draft.channels();
        let default = match (draft.is_picture(), channels) {
            (true, 1) => Encoding::same(Color::Gray),
            // Its channels stay in their order.
            (true, _) if stage.model.kind == ModelKind::Ir => Encoding::same(Color::Bgr),
            (true, _) => Encoding::RGB_TO_BGR,
            (false, _) => Encoding::same(Color::None),
        };
        let default = (default, Decision::Default);
        let (encoding, origin) = match (&draft.own.encoding, &stage.defaults.encoding) {
            (Setting::Given(encoding, origin), _) => (*encoding, origin),
            (Setting::Null(_), _) => return Some(default),
            // What is said for all inputs is said for the pictures among them.
            (Setting::Absent, Setting::Given(encoding, origin)) if draft.is_picture() => (*encoding, origin),
            (Setting::Absent, _) => return Some(default),
        };
        let colored = !matches!(encoding.from, Color::Gray | Color::None);
        if colored && draft.is_picture() && channels == 1 {
            return Some((Encoding::same(Color::Gray), Decision::Default));
        }
        let wanted = if encoding.from == Color::Gray { 1 } else { 3 };
        let (from, to) = (encoding.from.as_str(), encoding.to.as_str());
        if encoding.from != Color::None && draft.layout.position('C').is_some() && channels != wanted {
            // A shape that is no picture may have been taken for one by habit; the layout tells.
            if draft.own.encoding.given().is_none() {
                return Some(default);
            }
            self.rule(
                origin,
                format!(
                    "encoding `{from}` to `{to}` of input `{}` is for {wanted} channels, its layout {} and shape {:?} have {channels}",
                    draft.name, draft.layout, draft.shape,
                ),
            );
            return None;
        }
        if encoding.reverses_channels() && draft.layout.position('C').is_none() {
            self.rule(
                origin,
                format!(
                    "input `{}` with layout {} has no channels to take from `{from}` to `{to}`",
                    draft.name, draft.layout
                ),
            );
            return None;
        }
        Some((encoding, Decision::of(&draft.own.encoding)))
    }

    fn channel_values(
        &mut self,
        draft: &Draft<'_>,
        key: Key,
        values: &ChannelValues,
        origin: &Origin,
    ) -> Option<Vec<f64>> {
        // More channels than any network has would only be a way to fill memory.
        const MOST: usize = 1 << 20;
        let channels = draft.channels();
        let values = match values {
            ChannelValues::Same(value) if channels <= MOST => vec![*value; channels],
            ChannelValues::Same(_) => Vec::new(),
            ChannelValues::Each(values) => values.clone(),
            ChannelValues::Imagenet => match key {
                Key::Mean => IMAGENET_MEAN.to_vec(),
                Key::Scale => IMAGENET_SCALE.to_vec(),
            },
        };
        if values.len() != channels {
            self.rule(
                origin,
                format!(
                    "the length of `{}` of input `{}` must match its channels: {} values, {channels} channels by layout {} and shape {:?}",
                    key.name(),
                    draft.name,
                    values.len(),
                    draft.layout,
                    draft.shape,
                ),
            );
            return None;
        }
        Some(values)
    }

    fn outputs(&mut self, stage: &Stage, facts: &ModelFacts) -> Vec<(ResolvedOutput, OutputDecisions)> {
        if stage.outputs.is_empty() {
            return facts.outputs.iter().map(|tensor| self.output(tensor, None)).collect();
        }
        let mut outputs = Vec::with_capacity(stage.outputs.len());
        for entry in &stage.outputs {
            let known = facts.outputs.iter().chain(&facts.intermediates).find(|tensor| tensor.name == entry.name);
            match known {
                Some(tensor) => outputs.push(self.output(tensor, Some(entry))),
                None => self.unknown(stage, ("output", &entry.name), &entry.origin, facts),
            }
        }
        outputs
    }

    fn output(&self, tensor: &TensorFacts, entry: Option<&OutputEntry>) -> (ResolvedOutput, OutputDecisions) {
        // What an output is follows from the sizes of the inputs.
        let stated = tensor.shape.as_ref().filter(|_| !self.is_resized);
        resolved_output(tensor, stated, entry)
    }
}

/// The two keys with a value for each channel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Mean,
    Scale,
}

impl Key {
    const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean_values",
            Self::Scale => "scale_values",
        }
    }
}

fn resolved_output(
    tensor: &TensorFacts,
    stated: Option<&Vec<Dimension>>,
    entry: Option<&OutputEntry>,
) -> (ResolvedOutput, OutputDecisions) {
    let fixed = stated.and_then(|dimensions| {
        let sizes = dimensions.iter().enumerate().map(|(index, dimension)| match dimension {
            Dimension::Fixed(size) if *size > 0 => Some(*size),
            _ if index == 0 => Some(1),
            _ => None,
        });
        sizes.collect::<Option<Shape>>()
    });
    let (shape, shape_decision) = match entry.and_then(|entry| entry.shape.clone()) {
        Some(shape) => (Some(shape), Decision::Own),
        None => (fixed, Decision::Model),
    };
    let fits = |layout: &Layout| shape.as_ref().is_none_or(|shape| shape.len() == layout.rank());
    let (layout, layout_decision) = match entry.and_then(|entry| entry.layout.clone()).filter(fits) {
        Some(layout) => (Some(layout), Decision::Own),
        None => (shape.as_ref().and_then(|shape| Layout::default_for(shape).ok()), Decision::Default),
    };
    let (data_type, type_decision) = match (entry.and_then(|entry| entry.data_type), tensor.data_type) {
        (Some(data_type), _) => (data_type, Decision::Own),
        (None, Some(data_type)) => (data_type, Decision::Model),
        (None, None) => (DataType::Float32, Decision::Default),
    };
    let decisions = OutputDecisions { shape: shape_decision, layout: layout_decision, data_type: type_decision };
    (ResolvedOutput { name: tensor.name.clone(), shape, layout, data_type }, decisions)
}

fn printed(dimensions: &[Dimension]) -> String {
    let dimensions: Vec<String> = dimensions.iter().map(Dimension::to_string).collect();
    format!("[{}]", dimensions.join(", "))
}
