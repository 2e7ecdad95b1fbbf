//! The words of a person become a configuration whose every file is found on this machine.
//!
//! All problems are found before anything expensive begins: every file is found ([`find`](super::find)) before the first
//! one is downloaded, and read before an image is made. Must not convert.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::find::{FindError, Places, Spot};
use super::linked;
use crate::config::archive::from_archive;
use crate::config::files::FileRole;
use crate::config::merge::{self, Override};
use crate::config::read::{self, Said};
use crate::config::resolve::Resolution;
use crate::config::source::Source;
use crate::config::tree::{Tree, Value};
use crate::config::{
    CalibrationKeys, ConversionConfig, FileReference, InputSettings, Note, Origin, Problem, Problems, ResolvedConfig,
    ResolvedStage, Setting, StageName, yaml,
};
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::exchange::PreprocessingPlace;
use crate::hint::{Hint, nearest};
use crate::intake::{foreign, foreign_hint};
use crate::name::{Target, ToolchainName};
use crate::onnx::Model;
use crate::ops::source_archive::{self, Opened, SourceArchiveError};
use crate::pipeline::load::{self, Content, LoadedModel};
use crate::pipeline::operate::{self, OperateError, Rewritten};
use crate::pipeline::samples::{self, SampleError};
use crate::pipeline::supported::{self, Unsupported};
use crate::pipeline::tflite;
use crate::plan::convert::FoundFile;
use crate::units::ByteSize;

pub use super::find::Folders;

/// The keys that name a model, for configurations that cannot be read.
const MODEL_KEYS: [&str; 2] = ["input_model", "input_bin"];

/// No configuration is longer; whatever is longer is something else.
const CONFIGURATION_LIMIT: ByteSize = ByteSize::new(16 << 20);

/// The encodings of a network with a million channels fit.
const ENCODINGS_LIMIT: ByteSize = ByteSize::new(64 << 20);

/// What a person typed.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    /// What is converted for.
    pub target: Target,
    /// `--path`.
    pub path: Option<&'a str>,
    /// The `KEY VALUE` pairs, one word each.
    pub overrides: &'a [String],
}

/// A configuration and its files.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The configuration, with references as people wrote them.
    pub configuration: ConversionConfig,
    /// Every file that it names, in its order.
    pub files: Vec<FoundFile>,
    /// What people should know.
    pub notes: Vec<Note>,
    /// The configuration with everything decided, and the files where they were found.
    pub resolution: Resolution,
    /// Where its values were said.
    pub said: Said,
    /// The NN Archive that the configuration came from; files in it are there as long as this is.
    pub archive: Option<Arc<Opened>>,
    /// Folders of samples whose links were followed; the same holds for them.
    pub followed: Vec<Arc<TemporaryFolder>>,
    /// The models, by stage.
    models: Arc<BTreeMap<StageName, LoadedModel>>,
}

impl Gathered {
    /// Returns the configuration with everything decided, and the files as people know them.
    pub fn shown(&self) -> ResolvedConfig {
        let config = &self.resolution.config;
        config.with_files(&mut |_, found| {
            let file = self.files.iter().find(|file| file.path.to_string_lossy() == found.as_str());
            file.map_or_else(|| found.clone(), |file| file.shown.clone())
        })
    }

    /// Rewrites the models as the conversion will, and refuses what the tools of this toolchain surely refuse.
    ///
    /// # Errors
    /// There is such a model, or one that cannot be cut, bound or rewritten as the configuration wants.
    pub fn check_operators(&self, toolchain: &ToolchainName, place: PreprocessingPlace) -> Result<(), GatherError> {
        if toolchain.target != Target::Rvc2 {
            return Ok(());
        }
        let is_single = self.resolution.config.stages.len() == 1;
        for (stage, written) in self.resolution.config.stages.iter().zip(&self.configuration.stages) {
            let Some(loaded) = self.models.get(&stage.name) else { continue };
            let name = written.model.path.file_name();
            let rewritten = rewritten(&loaded.content, stage, place).map_err(|source| {
                let stage = if is_single { String::new() } else { format!(" of stage `{}`", stage.name) };
                GatherError::Operate { model: name.to_owned(), stage, source: Box::new(source) }
            })?;
            if let Some((original, rewritten)) = rewritten {
                supported::check(name, (&original, &rewritten), &stage.settings.rvc2, toolchain)?;
            }
        }
        Ok(())
    }
}

/// Returns a model in ONNX, and as the conversion will rewrite it; an IR stays as it is.
fn rewritten(
    content: &Content,
    stage: &ResolvedStage,
    place: PreprocessingPlace,
) -> Result<Option<(Model, Rewritten)>, OperateError> {
    match content {
        Content::Onnx(model) => Ok(Some(((**model).clone(), operate::rewrite(model, stage, place)?))),
        Content::Tflite(model) => {
            let translated = tflite::translated(model, stage)?;
            let rewritten = operate::rewrite(&translated.model, &translated.stage, place)?;
            Ok(Some((translated.model, rewritten)))
        }
        Content::Ir => operate::accept_ir(stage, place).map(|()| None),
    }
}

/// Words that do not make a configuration.
#[derive(Debug, Error)]
pub enum GatherError {
    /// The configuration is wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The words do not come in pairs.
    #[error(transparent)]
    Words(Problems),
    /// A file cannot be found or brought.
    #[error(transparent)]
    Find(#[from] FindError),
    /// An NN Archive that is none, or lacks something.
    #[error("failed to read the NN Archive `{path}`")]
    Archive {
        /// The path as it was written.
        path: String,
        /// What is wrong.
        #[source]
        source: SourceArchiveError,
    },
    /// The configuration is no text.
    #[error("`{path}` is no configuration: it is no UTF-8 text")]
    NoText {
        /// The path as it was written.
        path: String,
    },
    /// The configuration is another kind of file.
    #[error("`{path}` is no configuration but {what}")]
    Foreign {
        /// The path as it was written.
        path: String,
        /// The other kind, with its article.
        what: &'static str,
    },
    /// A file cannot be read.
    #[error("failed to read the inputs of the conversion")]
    Disk(#[from] DiskError),
    /// Samples cannot be unpacked.
    #[error(transparent)]
    Samples(#[from] Box<SampleError>),
    /// A model cannot be read.
    #[error(transparent)]
    Model(#[from] load::LoadError),
    /// A model cannot be cut, bound or rewritten as the configuration wants.
    #[error("the model `{model}`{stage} cannot be converted")]
    Operate {
        /// The model's file name.
        model: String,
        /// Which stage it is, in words, if there are several.
        stage: String,
        /// Why not.
        #[source]
        source: Box<OperateError>,
    },
    /// The tools surely refuse a model.
    #[error(transparent)]
    Unsupported(#[from] Box<Unsupported>),
}

/// What `--path` may be.
const NAMEABLE: &str = "name a YAML configuration, a model (.onnx, .tflite, .xml) or an NN Archive (.tar, .tar.xz ...)";

impl Hint for GatherError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Problems(problems) | Self::Words(problems) => problems.hints(),
            Self::Find(error) => error.hints(),
            Self::Archive { source, .. } => source.hints(),
            Self::NoText { .. } => vec![NAMEABLE.to_owned()],
            Self::Foreign { what, .. } => vec![foreign_hint(what).unwrap_or_else(|| NAMEABLE.to_owned())],
            Self::Disk(error) => error.hints(),
            Self::Samples(error) => error.hints(),
            Self::Model(error) => error.hints(),
            Self::Operate { source, .. } => source.hints(),
            Self::Unsupported(error) => error.hints(),
        }
    }
}

/// Reads the configuration that `words` name, merges the overrides, and finds every file.
///
/// # Errors
/// The configuration is wrong in any way, or a file is not there.
pub fn gather(words: &Words<'_>, folders: &Folders<'_>) -> Result<Gathered, GatherError> {
    let overrides = Override::pairs(words.overrides).map_err(GatherError::Words)?;
    let mut places = Places::new(folders);
    let mut archive = None;
    let mut notes = Vec::new();
    let (document, all) = match words.path {
        None => (empty(), overrides),
        Some(path) => {
            let reference = FileReference::new(path);
            match Source::of(&reference, words.target)? {
                Source::Model(pairs) => (empty(), pairs.into_iter().chain(overrides).collect()),
                source => {
                    let spot = places.find(&reference)?;
                    let file = places.bring_file(&spot)?;
                    let is_archive = match source {
                        Source::Document => file.is_dir(),
                        Source::Unclear => source_archive::is_archive(&file)?,
                        Source::Archive | Source::Model(_) => true,
                    };
                    if is_archive {
                        let failed = |source| GatherError::Archive { path: reference.to_string(), source };
                        let opened = source_archive::open(&file, folders.temporary).map_err(failed)?;
                        places.begin_in(&opened.folder);
                        let encodings = opened.encodings.as_ref().filter(|_| words.target == Target::Rvc4);
                        let (document, guesses) = from_archive(&opened.source.document, encodings)?;
                        notes = guesses;
                        archive = Some(Arc::new(opened));
                        (document, overrides)
                    } else {
                        let bytes = disk::read(&file, CONFIGURATION_LIMIT)?;
                        if let Some(what) = foreign(&bytes) {
                            return Err(GatherError::Foreign { path: reference.to_string(), what });
                        }
                        let text = String::from_utf8(bytes)
                            .map_err(|_| GatherError::NoText { path: reference.to_string() })?;
                        places.begin_beside(&spot);
                        let document = yaml::parse(&text, &reference.to_string())?;
                        if document.get("config_version").is_some() {
                            return Err(Problems::one(Problem::advised(
                                &document.origin,
                                "this is the description of an NN Archive, and no configuration",
                                "give the folder in which it is",
                            ))
                            .into());
                        }
                        (document, overrides)
                    }
                }
            }
        }
    };
    // One that is no mapping takes no overrides, and is refused with its place when it is read.
    let takes = matches!(document.value, Value::Map(_) | Value::Null);
    let document = if takes { merge::merge(document, &all)? } else { document };
    let reading = match read::read(&document) {
        Ok(reading) => reading,
        Err(problems) => {
            let mut all = problems.all().to_vec();
            for model in MODEL_KEYS.iter().filter_map(|key| document.get(key)) {
                if let Value::Text(text) = &model.value
                    && let reference = FileReference::new(text.as_str())
                    && !reference.is_remote()
                    && let Err(error) = places.find(&reference)
                {
                    all.push(Problem::advised(&model.origin, error.to_string(), error.hints().join("; ")));
                }
            }
            return Err(Problems::of(all).unwrap_or(problems).into());
        }
    };
    let configuration = reading.config;
    let spots = find_all(&configuration, &document, &places)?;
    let mut files = bring_all(&configuration, spots, &places)?;
    let mut followed = Vec::new();
    for file in files.iter_mut().filter(|file| file.role == FileRole::CalibrationData && file.path.is_dir()) {
        let Some(made) = linked::followed(&file.path, folders.temporary)? else { continue };
        file.path = made.path().join(file.path.file_name().unwrap_or_default());
        followed.push(Arc::new(made));
    }
    notes.extend(reading.notes);
    check_encodings(&files)?;
    for file in files.iter().filter(|file| file.role == FileRole::CalibrationData) {
        samples::check(&file.path).map_err(Box::new)?;
    }
    let mut gathered = check(configuration, files, notes, reading.said)?;
    if let Some(archive) = &archive {
        gathered.notes.extend(heads_without_outputs(archive, &gathered.resolution));
    }
    Ok(Gathered { archive, followed, ..gathered })
}

/// Tells of heads that take outputs which the network does not have, or no longer.
fn heads_without_outputs(archive: &Opened, resolution: &Resolution) -> Vec<Note> {
    let outputs: Vec<&str> = resolution
        .config
        .stages
        .first()
        .map(|stage| stage.outputs.iter().map(|output| output.name.as_str()).collect())
        .unwrap_or_default();
    let heads = archive.source.document.model.heads.iter().flatten();
    let missing = heads.flat_map(|head| {
        let missing = head.outputs().into_iter().filter(|output| !outputs.contains(&output.as_str()));
        missing.map(move |output| (head.parser(), output)).collect::<Vec<_>>()
    });
    let told = |(parser, output): (String, String)| {
        let near = nearest(&output, outputs.iter().copied()).map(|near| format!(", the nearest is `{near}`"));
        let near = near.unwrap_or_default();
        let text = format!("the head `{parser}` takes output `{output}`, which the network does not have{near}");
        Note { origin: Origin::Made, text }
    };
    missing.map(told).collect()
}

/// Finds every file of a configuration, or tells of all that cannot be found, each with the place that names it.
fn find_all(
    configuration: &ConversionConfig,
    document: &Tree,
    places: &Places<'_>,
) -> Result<Vec<(FileRole, FileReference, Spot)>, GatherError> {
    let (mut spots, mut failures) = (Vec::new(), Vec::new());
    for (role, reference) in configuration.files() {
        match places.find_for(role, &reference) {
            Ok(spot) => spots.push((role, reference, spot)),
            // Nothing is known then about the other files.
            Err(error) if error.is_about_the_machine() => return Err(error.into()),
            Err(error) => failures.push((origin(document, reference.as_str()), GatherError::from(error))),
        }
    }
    if failures.iter().all(|(origin, _)| !matches!(origin, Some(Origin::File { .. })))
        && let Some((_, error)) = failures.pop()
    {
        return Err(error);
    }
    let problem = |(origin, error): (Option<Origin>, GatherError)| {
        Problem::advised(&origin.unwrap_or(Origin::Made), error.to_string(), error.hints().join("; "))
    };
    Problems::of(failures.into_iter().map(problem).collect()).map_or(Ok(spots), |problems| Err(problems.into()))
}

/// Brings every file that was found to this machine.
fn bring_all(
    configuration: &ConversionConfig,
    spots: Vec<(FileRole, FileReference, Spot)>,
    places: &Places<'_>,
) -> Result<Vec<FoundFile>, GatherError> {
    let mut files = Vec::with_capacity(spots.len());
    for (role, reference, spot) in spots {
        let path = places.bring(&spot, role, &reference, sample_limit(configuration, &reference))?;
        let shown = spot.shown(&path);
        files.push(FoundFile { role, reference, shown, path, companions: BTreeMap::new() });
    }
    Ok(files)
}

/// Returns how many samples of a folder are wanted at most, if that is sure.
fn sample_limit(configuration: &ConversionConfig, folder: &FileReference) -> Option<usize> {
    let mut limit = 0;
    for stage in &configuration.stages {
        let keys = |settings: &'_ InputSettings| match &settings.calibration {
            Setting::Given(keys, _) => Some(keys.clone()),
            _ => None,
        };
        let own = keys(&stage.defaults);
        let inputs = stage.inputs.iter().filter_map(|entry| keys(&entry.settings));
        let all: Vec<CalibrationKeys> = own.iter().cloned().chain(inputs).collect();
        let general = own.as_ref().and_then(|keys| keys.max_images);
        let names = |keys: &&CalibrationKeys| keys.path.as_ref() == Some(folder);
        for keys in all.iter().filter(names) {
            // An input may say its own number and take the folder over, so all numbers of the stage count.
            let own = keys.max_images.or(general)?;
            for number in all.iter().filter_map(|keys| keys.max_images).chain([own]) {
                limit = limit.max(usize::try_from(number).ok()?);
            }
        }
    }
    (limit > 0).then_some(limit)
}

/// Returns where a document says `text`.
fn origin(document: &Tree, text: &str) -> Option<Origin> {
    match &document.value {
        Value::Text(said) if said == text || said.ends_with(&format!("={text}")) => Some(document.origin.clone()),
        Value::List(items) => items.iter().find_map(|item| origin(item, text)),
        Value::Map(entries) => entries.iter().find_map(|entry| origin(&entry.value, text)),
        _ => None,
    }
}

/// Reads the quantisation encodings that the configuration names.
fn check_encodings(files: &[FoundFile]) -> Result<(), GatherError> {
    for file in files.iter().filter(|file| file.role == FileRole::Encodings) {
        let no_text = |_| GatherError::NoText { path: file.reference.to_string() };
        let text = String::from_utf8(disk::read(&file.path, ENCODINGS_LIMIT)?).map_err(no_text)?;
        read::encodings(&yaml::parse(&text, file.reference.as_str())?)?;
    }
    Ok(())
}

/// Reads the models and resolves the configuration as the container will, so that whatever is wrong is said before an
/// image is made; and adds to each model the files that must stand beside it.
fn check(
    configuration: ConversionConfig,
    mut files: Vec<FoundFile>,
    mut notes: Vec<Note>,
    said: Said,
) -> Result<Gathered, GatherError> {
    let mut paths = files.iter().map(|file| FileReference::new(file.path.to_string_lossy()));
    let found = configuration.with_files(&mut |_, file| paths.next().unwrap_or_else(|| file.clone()));
    let mut models = BTreeMap::new();
    for stage in &found.stages {
        models.insert(stage.name.clone(), load::load(stage)?);
    }
    for file in files.iter_mut().filter(|file| file.role == FileRole::Model) {
        let stage = found.stages.iter().find(|stage| Path::new(stage.model.path.as_str()) == file.path);
        let model = stage.and_then(|stage| models.get(&stage.name));
        let Some(model) = model.filter(|model| matches!(model.content, Content::Onnx(_))) else { continue };
        let folder = file.path.parent().unwrap_or(Path::new("/"));
        let beside = model.beside.iter().map(|(path, _)| (path.to_string_lossy().into_owned(), folder.join(path)));
        file.companions = beside.collect();
    }
    let resolution = load::resolved(&found, &models)?;
    notes.extend(resolution.notes.iter().cloned());
    let models = Arc::new(models);
    Ok(Gathered { configuration, files, notes, resolution, said, archive: None, followed: Vec::new(), models })
}

fn empty() -> Tree {
    Tree::made(Value::Null)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::find::SHARED;
    use super::*;
    use crate::progress::Silent;
    use crate::remote::{Remote, RemoteOptions};

    fn words<'a>(path: Option<&'a str>, overrides: &'a [String]) -> Words<'a> {
        Words { target: Target::Rvc2, path, overrides }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn paths_are_tried_beside_the_configuration_then_here_then_in_the_shared_folder() {
        let folder = tempfile::tempdir().unwrap();
        let remote = Remote::new(RemoteOptions::default(), &Silent);
        let folders = Folders { working: folder.path(), home: None, temporary: folder.path(), remote: &remote };
        fs::create_dir_all(folder.path().join("configs dir")).unwrap();
        fs::create_dir_all(folder.path().join(SHARED)).unwrap();
        let config = folder.path().join("configs dir/é.yaml");
        fs::write(&config, "input_model: net.xml\ninput_bin: net.bin\n").unwrap();
        let path = config.to_str().unwrap();
        let root = folder.path().canonicalize().unwrap();

        let error = gather(&words(Some(path), &[]), &folders).unwrap_err();
        // Both at once, each with its place.
        for problem in ["1:14: `net.xml` does not exist", "2:12: `net.bin` does not exist"] {
            assert!(error.to_string().contains(problem), "{error}");
        }
        for place in [SHARED, ".", "configs dir"] {
            for name in ["net.xml", "net.bin"] {
                fs::write(folder.path().join(place).join(name), "").unwrap();
            }
            let error = gather(&words(Some(path), &[]), &folders).unwrap_err();
            let place = root.join(place).canonicalize().unwrap();
            // The file is found, and is no model.
            assert!(error.to_string().contains(&place.join("net.xml").display().to_string()), "{error}");
        }
    }

    #[test]
    fn other_files_in_place_of_a_configuration_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let remote = Remote::new(RemoteOptions::default(), &Silent);
        let folders = Folders { working: folder.path(), home: None, temporary: folder.path(), remote: &remote };
        for (text, what, hint) in [
            ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer", "git lfs pull"),
            ("<!DOCTYPE html>\n", "an HTML page", "NN Archive"),
        ] {
            fs::write(folder.path().join("a.yaml"), text).unwrap();
            let error = gather(&words(Some("a.yaml"), &[]), &folders).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`a.yaml` is no configuration but {what}")), "{error}");
            assert!(error.hints()[0].contains(hint), "{:?}", error.hints());
        }
    }

    #[test]
    fn what_cannot_be_found_is_named_with_a_guess() {
        let folder = tempfile::tempdir().unwrap();
        let remote = Remote::new(RemoteOptions::default(), &Silent);
        let folders = Folders { working: folder.path(), home: None, temporary: folder.path(), remote: &remote };
        fs::write(folder.path().join("model.onnx"), "").unwrap();
        let error = gather(&words(Some("modle.onnx"), &[]), &folders).unwrap_err();
        assert_eq!(error.to_string(), "`modle.onnx` does not exist");
        assert_eq!(error.hints()[0], "did you mean `model.onnx`?");
        let error = gather(&words(Some("mlflow://run/model.onnx"), &[]), &folders).unwrap_err();
        assert!(matches!(error, GatherError::Find(FindError::Remote(_))), "{error}");
        fs::write(folder.path().join("page.yaml"), "no configuration").unwrap();
        let words_of = strings(&["rvc2.superblob", "False"]);
        let path = folder.path().join("page.yaml").display().to_string();
        let error = gather(&words(Some(&path), &words_of), &folders).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{path}:1:1: the configuration must be a mapping, found the text")),
            "{error}"
        );
        let odd = strings(&["rvc2.superblob"]);
        assert!(matches!(gather(&words(None, &odd), &folders).unwrap_err(), GatherError::Words(_)));
    }
}
