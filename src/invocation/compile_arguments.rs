//! What users write in `rvc2.compile_tool_args`, understood.
//!
//! Owns [`CompileArguments`]. The vendor's `compile_tool` takes these words itself; for wheels, where there is none, our
//! driver does what they say. Flags are those of gflags: one or two dashes, the value behind a space or a `=`.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::config::{DataType, ResolvedInput};
use crate::hint::{Hint, nearest};

/// Element types that the Inference Engine knows by these names.
const PRECISIONS: [&str; 12] = ["FP32", "FP16", "BF16", "U64", "I64", "U32", "I32", "U16", "I16", "U8", "I8", "BOOL"];
/// Layouts that can be asked for by name.
const LAYOUTS: [&str; 8] = ["NCDHW", "NDHWC", "NCHW", "NHWC", "CHW", "HWC", "NC", "C"];
const FLAGS: [&str; 13] = [
    "ip",
    "op",
    "iop",
    "il",
    "ol",
    "iol",
    "c",
    "d",
    "m",
    "o",
    "VPU_NUMBER_OF_SHAVES",
    "VPU_NUMBER_OF_CMX_SLICES",
    "VPU_TILING_CMX_LIMIT_KB",
];

/// What the arguments ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompileArguments {
    /// `-ip`: the type of all inputs.
    pub input_precision: Option<String>,
    /// `-op`: the type of all outputs.
    pub output_precision: Option<String>,
    /// `-iop`: types by name.
    pub precisions: BTreeMap<String, String>,
    /// `-il`: the layout of all inputs that have as many dimensions.
    pub input_layout: Option<String>,
    /// `-ol`: the layout of all outputs that have as many dimensions.
    pub output_layout: Option<String>,
    /// `-iol`: layouts by name.
    pub layouts: BTreeMap<String, String>,
    /// `-c`: a file of plugin options.
    pub config_file: Option<String>,
    /// `-VPU_...`: plugin options, by their own names.
    pub plugin_options: BTreeMap<String, String>,
}

/// An argument that cannot be done.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompileArgumentError {
    /// No such flag.
    #[error("`{argument}` in `rvc2.compile_tool_args` is no argument of the compile step")]
    Unknown {
        /// The argument.
        argument: String,
    },
    /// The flag needs a value.
    #[error("`{flag}` in `rvc2.compile_tool_args` has no value")]
    NoValue {
        /// The flag.
        flag: String,
    },
    /// The flag is ours.
    #[error("`-{flag}` in `rvc2.compile_tool_args` is set by the converter")]
    Ours {
        /// The flag, without its dash.
        flag: String,
    },
    /// No input or output has the name.
    #[error("`{name}` in `rvc2.compile_tool_args` is neither an input nor an output of the network")]
    Name {
        /// The name.
        name: String,
        /// The one that looks most like it.
        near: Option<String>,
    },
    /// The file of plugin options sets what is ours.
    #[error("the file after `-c` in `rvc2.compile_tool_args` sets `{key}`, which the converter does")]
    Option {
        /// The plugin's option.
        key: String,
    },
    /// The value is none of those allowed.
    #[error("`{value}` after `-{flag}` in `rvc2.compile_tool_args` is no {what}")]
    Value {
        /// The flag, without its dash.
        flag: String,
        /// The value.
        value: String,
        /// What was expected.
        what: &'static str,
    },
}

impl Hint for CompileArgumentError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { argument } => match nearest(argument.trim_start_matches('-'), FLAGS) {
                Some(flag) => vec![format!("did you mean `-{flag}`?")],
                None => vec!["known are -ip, -op, -iop, -il, -ol, -iol, -c and -VPU_TILING_CMX_LIMIT_KB".to_owned()],
            },
            Self::Ours { .. } => {
                vec!["use `rvc2.number_of_shaves` and `rvc2.superblob`, and leave this argument out".to_owned()]
            }
            Self::Option { .. } => {
                vec!["use `rvc2.number_of_shaves` and `rvc2.superblob`, and leave it out of the file".to_owned()]
            }
            Self::Name { near, .. } => near.iter().map(|near| format!("did you mean `{near}`?")).collect(),
            Self::Value { what: "device of rvc2", .. } => {
                vec!["leave it out: rvc2 is the device MYRIAD".to_owned()]
            }
            Self::Value { what: "element type", .. } => vec![format!("known are {}", PRECISIONS.join(", "))],
            Self::Value { what: "layout", .. } => vec![format!("known are {}", LAYOUTS.join(", "))],
            Self::Value { .. } => vec!["write `name:VALUE,name:VALUE`".to_owned()],
            Self::NoValue { .. } => Vec::new(),
        }
    }
}

impl CompileArguments {
    /// Understands `arguments`; without `-ip` and `-iop` all inputs become U8.
    ///
    /// # Errors
    /// An argument that is unknown, ours, or has a value that is not allowed.
    pub fn parse(arguments: &[String]) -> Result<Self, CompileArgumentError> {
        let mut result = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let unknown = || CompileArgumentError::Unknown { argument: word.clone() };
            let (flag, attached) = flag(word).ok_or_else(unknown)?;
            if !FLAGS.contains(&flag) {
                return Err(unknown());
            }
            let no_value = || CompileArgumentError::NoValue { flag: word.clone() };
            let value = attached.map(str::to_owned).or_else(|| words.next().cloned()).ok_or_else(no_value)?;
            result.take(flag, value)?;
        }
        if result.input_precision.is_none() && result.precisions.is_empty() {
            result.input_precision = Some("U8".to_owned());
        }
        Ok(result)
    }

    /// Checks that the inputs and outputs that are named are among `ends`.
    ///
    /// # Errors
    /// One is not.
    pub fn check_names(&self, ends: &[&str]) -> Result<(), CompileArgumentError> {
        match self.precisions.keys().chain(self.layouts.keys()).find(|name| !ends.contains(&name.as_str())) {
            Some(name) => {
                let near = nearest(name, ends.iter().copied()).map(str::to_owned);
                Err(CompileArgumentError::Name { name: name.clone(), near })
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, flag: &str, value: String) -> Result<(), CompileArgumentError> {
        match flag {
            "ip" => self.input_precision = Some(one_of(&PRECISIONS, "element type", flag, &value)?),
            "op" => self.output_precision = Some(one_of(&PRECISIONS, "element type", flag, &value)?),
            "iop" => self.precisions = by_name(&PRECISIONS, "element type", flag, &value)?,
            "il" => self.input_layout = Some(one_of(&LAYOUTS, "layout", flag, &value)?),
            "ol" => self.output_layout = Some(one_of(&LAYOUTS, "layout", flag, &value)?),
            "iol" => self.layouts = by_name(&LAYOUTS, "layout", flag, &value)?,
            "c" => self.config_file = Some(value),
            "d" if value == "MYRIAD" => {}
            "d" => return Err(CompileArgumentError::Value { flag: "d".to_owned(), value, what: "device of rvc2" }),
            "VPU_TILING_CMX_LIMIT_KB" => {
                self.plugin_options.insert("MYRIAD_TILING_CMX_LIMIT_KB".to_owned(), value);
            }
            _ => return Err(CompileArgumentError::Ours { flag: flag.to_owned() }),
        }
        Ok(())
    }
}

/// Returns the arguments of a user with what we say of the inputs: pictures are bytes, as cameras make them, and all else
/// is numbers of its own kind. A user who says of any input what it is has said it of all. The list by name cannot have
/// a name with a comma, so the first such input decides what is said of all that the list does not name.
pub fn with_precisions(user: &[String], inputs: &[ResolvedInput]) -> Vec<String> {
    const PICTURE: &str = "U8";
    let is_said = user.iter().filter_map(|word| flag(word)).any(|(name, _)| matches!(name, "ip" | "iop"));
    let precision = |input: &ResolvedInput| own_precision(input).unwrap_or(PICTURE);
    let all = inputs.iter().find(|input| input.name.contains(',')).map_or(PICTURE, precision);
    let nameable = inputs.iter().filter(|input| input.frozen_value.is_none() && !input.name.contains(','));
    let others = nameable.filter(|input| precision(input) != all);
    let named = others.map(|input| format!("{}:{}", input.name, precision(input))).collect::<Vec<_>>().join(",");
    let mut arguments = user.to_vec();
    if !is_said && (all != PICTURE || !named.is_empty()) {
        arguments.extend(["-ip".to_owned(), all.to_owned()]);
        if !named.is_empty() {
            arguments.extend(["-iop".to_owned(), named]);
        }
    }
    arguments
}

/// Returns what an input is that is no picture, unless bytes are right for it too.
fn own_precision(input: &ResolvedInput) -> Option<&'static str> {
    let has_sides = ['H', 'W'].iter().all(|side| input.layout.position(*side).is_some());
    // Several pictures at once have no layout of their own.
    let has_colors = matches!(input.shape.as_slice(), [_, 1 | 3, _, _] | [_, _, _, 1 | 3]);
    match input.data_type {
        _ if !input.encoding.is_raw() || has_sides || has_colors || input.frozen_value.is_some() => None,
        DataType::Bfloat16 | DataType::Float16 | DataType::Float32 | DataType::Float64 => Some("FP16"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some("I32"),
        DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => Some("I32"),
        _ => None,
    }
}

/// Takes a word apart that is a flag, with one dash or two: into its name and the value attached to it with `=`.
pub fn flag(word: &str) -> Option<(&str, Option<&str>)> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    Some(name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value))))
}

/// Returns the file of plugin options that the arguments name, for the vendor's own tool, which may know flags that we do
/// not.
///
/// # Errors
/// A flag that is ours, or the file's flag without a file.
pub fn config_file(arguments: &[String]) -> Result<Option<&str>, CompileArgumentError> {
    let mut file = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match flag(word) {
            Some((name @ ("m" | "o"), _)) => return Err(CompileArgumentError::Ours { flag: name.to_owned() }),
            Some(("c", Some(value))) => file = Some(value),
            Some(("c", None)) => {
                let no_value = || CompileArgumentError::NoValue { flag: word.clone() };
                file = Some(words.next().ok_or_else(no_value)?.as_str());
            }
            _ => {}
        }
    }
    Ok(file)
}

/// Reads a file of plugin options: a key, a space and a value on each line; `#` begins a comment line.
pub fn plugin_options(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(key, value)| (key.to_owned(), value.trim_end().to_owned()))
        .collect()
}

/// Refuses options in a file of the user that the converter sets.
///
/// # Errors
/// There is one.
pub fn accept_options(options: &BTreeMap<String, String>) -> Result<(), CompileArgumentError> {
    let is_ours =
        |key: &&String| key.ends_with("MYRIAD_NUMBER_OF_SHAVES") || key.ends_with("MYRIAD_NUMBER_OF_CMX_SLICES");
    match options.keys().find(is_ours) {
        Some(key) => Err(CompileArgumentError::Option { key: key.clone() }),
        None => Ok(()),
    }
}

fn one_of(known: &[&str], what: &'static str, flag: &str, value: &str) -> Result<String, CompileArgumentError> {
    let upper = value.to_ascii_uppercase();
    if known.contains(&upper.as_str()) {
        Ok(upper)
    } else {
        Err(CompileArgumentError::Value { flag: flag.to_owned(), value: value.to_owned(), what })
    }
}

fn by_name(
    known: &[&str],
    what: &'static str,
    flag: &str,
    value: &str,
) -> Result<BTreeMap<String, String>, CompileArgumentError> {
    let wrong = || CompileArgumentError::Value { flag: flag.to_owned(), value: value.to_owned(), what: "list by name" };
    let dense: String = value.chars().filter(|character| !character.is_whitespace()).collect();
    dense
        .split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            // Names may contain colons themselves; types and layouts do not.
            let (name, value) = pair.rsplit_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
            Ok((name.to_owned(), one_of(known, what, flag, value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Calibration, Color, Encoding};

    fn parse(words: &[&str]) -> Result<CompileArguments, CompileArgumentError> {
        CompileArguments::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>())
    }

    #[test]
    fn inputs_are_bytes_unless_said_otherwise() {
        assert_eq!(parse(&[]).unwrap().input_precision.as_deref(), Some("U8"));
        assert_eq!(parse(&["-ip", "fp16"]).unwrap().input_precision.as_deref(), Some("FP16"));
        assert_eq!(parse(&["--ip=FP16", "-op", "FP32"]).unwrap().output_precision.as_deref(), Some("FP32"));
        let by_name = parse(&["-iop", "image:U8, a:b:FP16"]).unwrap();
        assert_eq!(by_name.input_precision, None);
        let expected = [("image".to_owned(), "U8".to_owned()), ("a:b".to_owned(), "FP16".to_owned())];
        assert_eq!(by_name.precisions, BTreeMap::from(expected));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_a_hint() {
        for words in [&["-ip"][..], &["-ip", "U9"], &["-iop", "U8"], &["-m", "x.xml"], &["-o=x"], &["-x", "1"], &["ip"]]
        {
            let error = parse(words).unwrap_err();
            assert!(!error.hints().is_empty() || matches!(error, CompileArgumentError::NoValue { .. }), "{words:?}");
        }
        assert!(matches!(parse(&["-d", "CPU"]), Err(CompileArgumentError::Value { .. })));
        assert!(parse(&["-d", "MYRIAD"]).is_ok());
    }

    #[test]
    fn names_and_options_are_looked_at() {
        let arguments = parse(&["-iop", "image:U8,scores:FP16", "-iol", "image:NHWC"]).unwrap();
        assert_eq!(arguments.check_names(&["image", "scores"]), Ok(()));
        let error = arguments.check_names(&["image", "score"]).unwrap_err();
        assert_eq!(error.hints(), ["did you mean `score`?"]);
        assert_eq!(accept_options(&plugin_options("MYRIAD_THROUGHPUT_STREAMS 2\n")), Ok(()));
        for key in ["MYRIAD_NUMBER_OF_SHAVES", "MYRIAD_NUMBER_OF_CMX_SLICES", "VPU_MYRIAD_NUMBER_OF_SHAVES"] {
            let error = accept_options(&plugin_options(&format!("{key} 4\n"))).unwrap_err();
            assert!(error.hints()[0].contains("rvc2.number_of_shaves"), "{key}");
        }
    }

    #[test]
    fn the_file_of_plugin_options_is_found_in_every_spelling() {
        let find = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            config_file(&words).map(|file| file.map(str::to_owned))
        };
        for words in ["-c a.conf", "--c a.conf", "-c=a.conf", "--c=a.conf", "-new_flag 1 -ip U8 -c a.conf"] {
            assert_eq!(find(words).unwrap().as_deref(), Some("a.conf"), "{words}");
        }
        assert_eq!(find("-ip U8").unwrap(), None);
        assert!(matches!(find("-c"), Err(CompileArgumentError::NoValue { .. })));
        for ours in ["-o x.blob", "--m=x.xml"] {
            assert!(matches!(find(ours), Err(CompileArgumentError::Ours { .. })), "{ours}");
        }
    }

    #[test]
    fn plugin_options_are_read_as_the_vendor_reads_them() {
        let options = plugin_options("# comment\nMYRIAD_THROUGHPUT_STREAMS 2\n\nbroken\nA b c\n");
        assert_eq!(options.len(), 2);
        assert_eq!(options["MYRIAD_THROUGHPUT_STREAMS"], "2");
        assert_eq!(options["A"], "b c");
    }

    #[test]
    fn what_is_no_picture_is_no_bytes() {
        let input = |name: &str, layout: &str, shape: &[u64], data_type: DataType, color: Color| ResolvedInput {
            name: name.to_owned(),
            shape: shape.to_vec(),
            layout: layout.parse().unwrap(),
            data_type,
            encoding: Encoding::same(color),
            mean_values: None,
            scale_values: None,
            calibration: Calibration::Random {
                max_images: 1,
                min_value: 0.0,
                max_value: 1.0,
                mean: 0.0,
                standard_deviation: 1.0,
                data_type,
            },
            frozen_value: None,
        };
        let pictures = [
            input("picture", "NCHW", &[1, 3, 8, 8], DataType::Float32, Color::Bgr),
            input("plain", "NCHW", &[1, 4, 8, 8], DataType::Float32, Color::None),
            input("pictures", "CDEF", &[2, 3, 8, 8], DataType::Float32, Color::None),
            input("mask", "NC", &[1, 8], DataType::Boolean, Color::None),
        ];
        assert_eq!(with_precisions(&[], &pictures), [""; 0]);
        let table = input("a:table", "NC", &[1, 8], DataType::Float32, Color::None);
        let tokens = input("tokens", "NC", &[1, 8], DataType::Int64, Color::None);
        let all = [pictures[0].clone(), table, tokens];
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let with_own = with_precisions(&words("-op FP32"), &all);
        assert_eq!(with_own, words("-op FP32 -ip U8 -iop a:table:FP16,tokens:I32"));
        let parsed = CompileArguments::parse(&with_own).unwrap();
        assert_eq!((parsed.input_precision.as_deref(), parsed.precisions["a:table"].as_str()), (Some("U8"), "FP16"));
        let unnameable = input("a,b", "NC", &[1, 8], DataType::Float32, Color::None);
        assert_eq!(with_precisions(&[], std::slice::from_ref(&unnameable)), words("-ip FP16"));
        let with_unnameable = [pictures[0].clone(), unnameable, all[2].clone()];
        assert_eq!(with_precisions(&[], &with_unnameable), words("-ip FP16 -iop picture:U8,tokens:I32"));
        for user in ["--ip=FP16", "-iop tokens:U8"] {
            assert_eq!(with_precisions(&words(user), &all), words(user));
        }
    }
}
