//! An NN Archive as a configuration.
//!
//! One stage, which overrides address in the flat form; two where a head feeds another model of the archive. Files are
//! named by their paths in the archive, so whoever unpacks it looks there first.

use crate::config::tree::{Entry, Tree, Value};
use crate::config::{Color, Encoding, FileReference, Named, Note, Origin, Problem, Problems, StageName};
use crate::image_path::ImagePath;
use crate::nn_archive::{ChannelPlace, ColorOrder, Document, Frames, Input, InputType, Layout};

/// Returns the configuration that an NN Archive stands for, and what was guessed. `encodings` are those for SNPE, where
/// the archive has some and the target knows them.
///
/// # Errors
/// The archive has more than two models.
pub fn from_archive(document: &Document, encodings: Option<&FileReference>) -> Result<(Tree, Vec<Note>), Problems> {
    let mut notes = Vec::new();
    let metadata = &document.model.metadata;
    let inputs = document.model.inputs.iter().map(|input| source_input(input, &mut notes)).collect();
    let outputs = document.model.outputs.iter().map(|output| {
        let mut keys = vec![entry("name", text(&output.name)), entry("data_type", text(output.dtype.as_str()))];
        if let Some(shape) = output.shape.as_ref().filter(|shape| !shape.contains(&0)) {
            keys.push(entry("shape", sizes(shape)));
            keys.extend(output.layout.as_ref().map(|layout| entry("layout", text(layout.as_str()))));
        }
        said(Value::Map(keys))
    });
    let mut main = vec![
        entry("input_model", file(&metadata.path)),
        entry("inputs", Value::List(inputs)),
        entry("outputs", Value::List(outputs.collect())),
    ];
    if let Some(encodings) = encodings {
        let keys = vec![entry("encodings", text(encodings.as_str()))];
        main.push(entry("rvc4", Value::Map(keys)));
    }
    let name = entry("name", text(&main_stage_of(document)));
    let tree = match document.postprocessors().as_slice() {
        [] => {
            main.insert(0, name);
            Value::Map(main)
        }
        [path] => {
            let none = || text(Color::None.as_str());
            let encoding = Value::Map(vec![entry("from", none()), entry("to", none())]);
            let second = vec![entry("input_model", file(path)), entry("encoding", encoding)];
            let stages = vec![
                entry(&main_stage_of(document), Value::Map(main)),
                entry(&second_stage_of(document, path), Value::Map(second)),
            ];
            Value::Map(vec![name, entry("stages", Value::Map(stages))])
        }
        paths => {
            return Err(Problems::one(Problem::advised(
                &Origin::Archive,
                format!(
                    "the heads feed {} other models ({}), and an NN Archive of more than two stages cannot be converted",
                    paths.len(),
                    paths.join(", ")
                ),
                "split it into archives of one or two models",
            )));
        }
    };
    Ok((said(tree), notes))
}

/// Returns the name of the stage that an archive's main model becomes: its own name, made one of a folder.
pub fn main_stage_of(document: &Document) -> String {
    stage_name(&document.model.metadata.name)
}

/// Returns the name of the stage that the model at `path` becomes.
fn second_stage_of(document: &Document, path: &str) -> String {
    let name = stage_name(FileReference::new(path).stem());
    if name == main_stage_of(document) { format!("{name}_postprocessor") } else { name }
}

fn stage_name(text: &str) -> String {
    if text.parse::<StageName>().is_ok() {
        return text.to_owned();
    }
    let name = text.replace(['/', '\0'], "_");
    if name.parse::<StageName>().is_ok() { name } else { "model".to_owned() }
}

fn source_input(input: &Input, notes: &mut Vec<Note>) -> Tree {
    let mut note = |line: String| notes.push(Note { origin: Origin::Archive, text: line });
    let (encoding, place) = colours(input, &mut note);
    let layout = layout(input, place, &mut note);
    let channels = layout.as_ref().and_then(|layout| input.shape.get(layout.position('C')?));
    let older = &input.preprocessing;
    let is_colored = older.dai_type.is_some() || older.reverse_channels.is_some() || encoding.is_raw();
    let encoding = match channels {
        Some(1) if !encoding.is_raw() => Some(Encoding::same(Color::Gray)),
        // Nobody said a colour: the kind of the model decides.
        Some(3) if !is_colored => None,
        // Some makers of archives call every input a picture.
        _ if !is_colored => Some(Encoding::same(Color::None)),
        _ => Some(encoding),
    };
    let mut keys = vec![entry("name", text(&input.name))];
    // A size of 0 is one that the archive's maker did not know: the model says it.
    if !input.shape.contains(&0) {
        keys.push(entry("shape", sizes(&input.shape)));
    }
    keys.push(entry("data_type", text(input.dtype.as_str())));
    if let Some(encoding) = encoding {
        let colors = vec![entry("from", text(encoding.from.as_str())), entry("to", text(encoding.to.as_str()))];
        keys.push(entry("encoding", Value::Map(colors)));
    }
    keys.extend(layout.map(|layout| entry("layout", text(layout.as_str()))));
    let preprocessing = &input.preprocessing;
    for (key, values) in [("mean_values", &preprocessing.mean), ("scale_values", &preprocessing.scale)] {
        if let Some(values) = values {
            keys.push(entry(key, Value::List(values.iter().map(|value| said(Value::Float(*value))).collect())));
        }
    }
    said(Value::Map(keys))
}

/// Returns the colours of an input's frames and of its model, and where channels stand as far as the archive says it
/// beside the layout. The frame type wins over the two older keys.
fn colours(input: &Input, note: &mut dyn FnMut(String)) -> (Encoding, Option<ChannelPlace>) {
    let preprocessing = &input.preprocessing;
    let of_order = |order| match order {
        ColorOrder::Rgb => Encoding::RGB_TO_BGR,
        ColorOrder::Bgr => Encoding::same(Color::Bgr),
    };
    let older_order = preprocessing.reverse_channels.map(|rgb| if rgb { ColorOrder::Rgb } else { ColorOrder::Bgr });
    let older_place = preprocessing
        .interleaved_to_planar
        .map(|interleaved| if interleaved { ChannelPlace::Interleaved } else { ChannelPlace::Planar });
    if input.input_type == InputType::Raw {
        return (Encoding::same(Color::None), None);
    }
    let name = &input.name;
    let Some(dai_type) = &preprocessing.dai_type else {
        if older_order.is_some() || older_place.is_some() {
            note(format!(
                "`reverse_channels` and `interleaved_to_planar` of input `{name}` are deprecated: say `dai_type`"
            ));
        }
        return (of_order(older_order.unwrap_or(ColorOrder::Rgb)), older_place);
    };
    let frames = Frames::of(dai_type);
    let encoding = match frames {
        Frames::Color(order, _) => of_order(order),
        Frames::Gray => Encoding::same(Color::Gray),
        Frames::Foreign => {
            note(format!("input `{name}` takes `{dai_type}` frames, whose colours are left as they are"));
            Encoding::same(Color::None)
        }
        Frames::Unknown => {
            note(format!("input `{name}` has the unknown dai_type `{dai_type}`: it is taken for RGB"));
            Encoding::RGB_TO_BGR
        }
    };
    let differs = |older: Option<bool>, wins: bool| older.is_some_and(|older| older != wins);
    if let Frames::Color(order, _) = frames
        && differs(preprocessing.reverse_channels, order == ColorOrder::Rgb)
    {
        note(format!("`reverse_channels` of input `{name}` is passed over: its dai_type `{dai_type}` says otherwise"));
    }
    if let Some(place) = frames.place()
        && differs(preprocessing.interleaved_to_planar, place == ChannelPlace::Interleaved)
    {
        note(format!(
            "`interleaved_to_planar` of input `{name}` is passed over: its dai_type `{dai_type}` says otherwise"
        ));
    }
    (encoding, frames.place().or(older_place))
}

/// Returns the layout of an input. One that is said and fits the shape is the truth: the frame type is what the device
/// sends, and tells of the model only where nothing is said, or nonsense.
fn layout(input: &Input, place: Option<ChannelPlace>, note: &mut dyn FnMut(String)) -> Option<Layout> {
    let of_place = || match (place?, input.shape.len()) {
        (ChannelPlace::Interleaved, 4) => "NHWC".parse().ok(),
        (ChannelPlace::Planar, 4) => "NCHW".parse().ok(),
        (ChannelPlace::Interleaved, 3) => "HWC".parse().ok(),
        (ChannelPlace::Planar, 3) => "CHW".parse().ok(),
        _ => None,
    };
    let has_colours = |layout: &Layout| {
        let channels = layout.position('C').and_then(|position| input.shape.get(position));
        matches!(channels, Some(1 | 3))
    };
    match (&input.layout, of_place()) {
        (Some(layout), Some(other)) if !has_colours(layout) && has_colours(&other) => {
            note(format!(
                "layout {layout} of input `{}` does not fit its shape {:?}: {other} is taken, as its frame type says",
                input.name, input.shape
            ));
            Some(other)
        }
        (Some(layout), _) => Some(layout.clone()),
        (None, other) => other.filter(has_colours).or_else(|| Layout::default_for(&input.shape).ok()),
    }
}

/// Returns a member as a file. Its path is normal and relative, and must not become a URL or a path of the user's.
fn file(path: &str) -> Value {
    let normal = path.parse::<ImagePath>().map_or_else(|_| path.to_owned(), |path| path.as_str().to_owned());
    Value::Text(if normal.starts_with('~') { format!("./{normal}") } else { normal })
}

const fn said(value: Value) -> Tree {
    Tree::new(value, Origin::Archive)
}

fn entry(key: &str, value: Value) -> Entry {
    Entry { key: key.to_owned(), origin: Origin::Archive, value: said(value) }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn sizes(shape: &[u64]) -> Value {
    Value::List(shape.iter().map(|size| said(Value::Integer(i64::try_from(*size).unwrap_or(i64::MAX)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConversionConfig;
    use crate::config::read::read;

    fn document(model: &str) -> Document {
        Document::parse(format!(r#"{{"config_version": "1.0", "model": {model}}}"#).as_bytes()).unwrap()
    }

    fn config(document: &Document) -> (ConversionConfig, Vec<String>) {
        let (tree, notes) = from_archive(document, None).unwrap();
        (read(&tree).unwrap().config, notes.into_iter().map(|note| note.text).collect())
    }

    /// Takes an archive with one input of `shape` and these further keys.
    fn taken(shape: &str, keys: &str) -> (Encoding, String, Vec<String>) {
        let document = document(&format!(
            r#"{{"metadata": {{"name": "n", "path": "n.onnx"}}, "outputs": [], "inputs": [
                {{"name": "x", "dtype": "float32", "shape": {shape}, {keys}}}]}}"#
        ));
        let (config, notes) = config(&document);
        let settings = &config.stages[0].inputs[0].settings;
        // What is left open is taken from RGB to BGR where the model is ONNX.
        let encoding = settings.encoding.given().copied().unwrap_or(Encoding::RGB_TO_BGR);
        (encoding, settings.layout.given().unwrap().to_string(), notes)
    }

    #[test]
    fn an_archive_is_a_configuration() {
        let document = document(
            r#"{"metadata": {"name": "net", "path": "net.onnx"}, "inputs": [
            {"name": "a", "dtype": "float32", "input_type": "image", "shape": [1, 3, 8, 8], "layout": "NCHW",
             "preprocessing": {"mean": [1, 2, 3], "dai_type": "RGB888p"}},
            {"name": "b", "dtype": "float32", "input_type": "image", "shape": [1, 8, 8, 1],
             "preprocessing": {"interleaved_to_planar": true, "reverse_channels": false}},
            {"name": "c", "dtype": "int64", "input_type": "raw", "shape": [1, 5], "preprocessing": {}}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 4], "layout": "NC"}]}"#,
        );
        let (config, notes) = config(&document);
        assert_eq!(notes.len(), 1);
        assert_eq!((config.name.as_str(), config.stages[0].name.as_str()), ("net", "net"));
        let encodings = config.stages[0].inputs.iter().map(|input| *input.settings.encoding.given().unwrap());
        let expected = [Encoding::RGB_TO_BGR, Encoding::same(Color::Gray), Encoding::same(Color::None)];
        assert_eq!(encodings.collect::<Vec<_>>(), expected);
        assert_eq!(config.stages[0].inputs[1].settings.layout.given().unwrap().as_str(), "NHWC");
    }

    #[test]
    fn frame_types_say_colours_and_the_older_keys_give_way() {
        let (bgr, gray, none) = (Encoding::same(Color::Bgr), Encoding::same(Color::Gray), Encoding::same(Color::None));
        let (planar, interleaved, single) = ("[1, 3, 8, 9]", "[1, 8, 9, 3]", "[1, 1, 8, 9]");
        for (shape, preprocessing, encoding, layout, notes) in [
            (planar, r#"{"dai_type": "RGB888p"}"#, Encoding::RGB_TO_BGR, "NCHW", 0),
            (interleaved, r#"{"dai_type": "BGR888i"}"#, bgr, "NHWC", 0),
            (planar, r#"{"dai_type": "BGRF16F16F16p"}"#, bgr, "NCHW", 0),
            (single, r#"{"dai_type": "GRAY8"}"#, gray, "NCHW", 0),
            (single, r#"{"dai_type": "GRAYF16"}"#, gray, "NCHW", 0),
            (single, r#"{"dai_type": "RAW8"}"#, gray, "NCHW", 0),
            (single, r#"{"dai_type": "RGB888p"}"#, gray, "NCHW", 0),
            (planar, r#"{"dai_type": "NV12"}"#, none, "NCHW", 1),
            (planar, r#"{"dai_type": "XYZ"}"#, Encoding::RGB_TO_BGR, "NCHW", 1),
            (planar, "{}", Encoding::RGB_TO_BGR, "NCHW", 0),
            ("[1, 10]", "{}", none, "NC", 0),
            ("[1, 10]", r#"{"dai_type": "RGB888p"}"#, Encoding::RGB_TO_BGR, "NC", 0),
            (planar, r#"{"reverse_channels": true}"#, Encoding::RGB_TO_BGR, "NCHW", 1),
            (planar, r#"{"reverse_channels": false}"#, bgr, "NCHW", 1),
            ("[1, 3, 3, 3]", r#"{"interleaved_to_planar": true}"#, Encoding::RGB_TO_BGR, "NHWC", 1),
            // As written by this program: both agree.
            (
                planar,
                r#"{"dai_type": "BGR888p", "reverse_channels": false, "interleaved_to_planar": false}"#,
                bgr,
                "NCHW",
                0,
            ),
            (
                planar,
                r#"{"dai_type": "BGR888p", "reverse_channels": true, "interleaved_to_planar": true}"#,
                bgr,
                "NCHW",
                2,
            ),
            // The shape tells where the channels are, whatever the device sends.
            (planar, r#"{"dai_type": "RGB888i"}"#, Encoding::RGB_TO_BGR, "NCHW", 0),
        ] {
            let keys = format!(r#""input_type": "image", "preprocessing": {preprocessing}"#);
            let (found, letters, lines) = taken(shape, &keys);
            assert_eq!((found, letters.as_str(), lines.len()), (encoding, layout, notes), "{preprocessing}: {lines:?}");
        }
        let keys = r#""input_type": "image", "layout": "NCHW", "preprocessing": {"dai_type": "RGB888i"}"#;
        assert_eq!(taken(planar, keys).1, "NCHW");
        let (_, letters, notes) = taken(interleaved, keys);
        assert_eq!((letters.as_str(), notes.len()), ("NHWC", 1));
    }

    #[test]
    fn raw_inputs_keep_their_mean_and_unknown_sizes_are_the_models() {
        let document = document(
            r#"{"metadata": {"name": "n", "path": "n.onnx"}, "outputs": [{"name": "y", "dtype": "int8", "shape": [0]}],
            "inputs": [{"name": "x", "dtype": "float32", "input_type": "raw", "shape": [1, 0, 4], "layout": "NCD",
             "preprocessing": {"mean": [1.5], "scale": [2]}}]}"#,
        );
        let (config, _) = config(&document);
        let settings = &config.stages[0].inputs[0].settings;
        assert!(settings.shape.given().is_none() && settings.mean_values.given().is_some());
        assert_eq!(config.stages[0].outputs[0].shape, None);
    }

    #[test]
    fn a_head_that_feeds_a_model_makes_a_second_stage() {
        let model = |paths: &[&str]| {
            let heads: Vec<String> = paths
                .iter()
                .map(|path| format!(r#"{{"parser": "P", "metadata": {{"postprocessor_path": "{path}"}}}}"#))
                .collect();
            document(&format!(
                r#"{{"metadata": {{"name": "a/b", "path": "m/det.onnx"}}, "inputs": [], "outputs": [], "heads": [{}]}}"#,
                heads.join(",")
            ))
        };
        let names = |document: &Document| {
            let (config, _) = config(document);
            let stage = |stage: &crate::config::Stage| format!("{} {}", stage.name, stage.model.path);
            (config.name.clone(), config.stages.iter().map(stage).collect::<Vec<_>>())
        };
        let two = model(&["m/post.onnx", "m/post.onnx"]);
        assert_eq!(names(&two), ("a_b".to_owned(), vec!["a_b m/det.onnx".to_owned(), "post m/post.onnx".to_owned()]));
        let alike = model(&["a_b.onnx"]);
        assert_eq!(names(&alike).1[1], "a_b_postprocessor a_b.onnx");
        let error = from_archive(&model(&["x.onnx", "y.onnx"]), None).unwrap_err();
        assert!(error.to_string().contains("more than two stages"), "{error}");
    }

    #[test]
    fn members_are_neither_urls_nor_below_the_users_home() {
        for (path, expected) in
            [("a/./b.onnx", "a/b.onnx"), ("s3://b/x.onnx", "s3:/b/x.onnx"), ("~/x.onnx", "./~/x.onnx")]
        {
            assert_eq!(file(path), Value::Text(expected.to_owned()));
        }
    }

    #[test]
    fn encodings_are_for_snpe() {
        let document = document(r#"{"metadata": {"name": "n", "path": "n.onnx"}, "outputs": [], "inputs": []}"#);
        let (tree, _) = from_archive(&document, Some(&FileReference::new("encodings.json"))).unwrap();
        let config = read(&tree).unwrap().config;
        let files: Vec<String> = config.files().iter().map(|(_, file)| file.to_string()).collect();
        assert_eq!(files, ["n.onnx", "encodings.json"]);
    }
}
