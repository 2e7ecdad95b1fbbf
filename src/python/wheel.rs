//! Wheels as entries (PEP 427 "Installing a wheel", PEP 376 "One .dist-info directory per installed distribution").

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};

use pep440_rs::Version;
use thiserror::Error;

use super::entry_points;
use super::name::{ProjectName, WheelName};
use super::record::{self, Record};
use crate::digest::Digest;
use crate::entry::{Entry, EntryKind, Sink};
use crate::hint::Hint;
use crate::image_path::{ImagePath, ImagePathError};
use crate::intake::zip::{ZipFile, ZipKind, ZipMember};
use crate::intake::{Guard, IntakeError, Limits, Shape};
use crate::name::FileName;
use crate::units::ByteSize;

/// The longest document that describes a wheel; `RECORD` of ten thousand files has 1 MiB.
const LONGEST_DOCUMENT: ByteSize = ByteSize::new(64 << 20);

/// The name that the `INSTALLER` file of each wheel carries (PEP 376).
const INSTALLER: &[u8] = b"modelconverter\n";

/// Where an interpreter looks for the parts of a wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Modules, pure or compiled.
    pub site_packages: ImagePath,
    /// Commands. The folder above it takes the `data` of wheels.
    pub scripts: ImagePath,
    /// The program that commands are run by.
    pub interpreter: ImagePath,
}

/// Whether the files of a wheel are compared with its `RECORD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordCheck {
    /// Each one, while it is read.
    Contents,
    /// Only that they are listed: for bytes that are checked as a whole in another way.
    Names,
}

/// A wheel that cannot be unpacked.
#[derive(Debug, Error)]
pub enum PythonError {
    /// The file is damaged, or has members that no image may have.
    #[error("wheel cannot be unpacked")]
    Intake(#[from] IntakeError),
    /// Something that the format demands or forbids.
    #[error("wheel is refused: {0}")]
    Format(String),
}

impl From<ImagePathError> for PythonError {
    fn from(error: ImagePathError) -> Self {
        Self::Intake(IntakeError::Path(error))
    }
}

impl Hint for PythonError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Intake(error) => error.hints(),
            Self::Format(_) => Vec::new(),
        }
    }
}

/// Reads the wheel called `name` and hands what an installer would make of it to `sink`.
///
/// Each file is checked against `RECORD` as `check` says while the sink reads it; what the sink does not read costs
/// nothing. `RECORD` itself goes in as it is, so it names the files under their places in the wheel.
///
/// # Errors
/// A damaged wheel, one that breaks the rules of its format or does not fit its own file name, members that no image
/// may have, a limit that is passed, and what the sink fails with.
pub fn unpack(
    name: &FileName,
    wheel: impl Read + Seek,
    place: &Place,
    check: RecordCheck,
    sink: &mut dyn Sink,
) -> Result<(), PythonError> {
    let named: WheelName = name.as_str().parse().map_err(|error| PythonError::Format(format!("{error}")))?;
    let mut zip = ZipFile::open(name.as_str(), wheel, Limits::PACKAGE)?;
    let members = zip.members()?;
    let info = InfoFolder::find(&members, &named)?;
    let documents: BTreeMap<&str, &ZipMember> = members
        .iter()
        .filter_map(|member| {
            Some((member.path.as_str().strip_prefix(info.folder.as_str())?.strip_prefix('/')?, member))
        })
        .collect();
    let mut document = |file: &str| match documents.get(file) {
        Some(member) => zip.text(member, LONGEST_DOCUMENT).map(Some),
        None => Ok(None),
    };
    let missing = |file: &str| PythonError::Format(format!("it has no `{file}`"));
    check_version(&document("WHEEL")?.ok_or_else(|| missing("WHEEL"))?)?;
    let record = record::read(&document("RECORD")?.ok_or_else(|| missing("RECORD"))?).map_err(PythonError::Format)?;
    let entry_points = document("entry_points.txt")?.unwrap_or_default();
    let commands = entry_points::commands(&entry_points).map_err(PythonError::Format)?;

    check_record(&members, &record, &info)?;
    let mut guard = Guard::new(Limits::PACKAGE);
    let mut folded = BTreeSet::new();
    for member in &members {
        guard.count(member.size)?;
        let ZipKind::File { mode } = member.kind else { continue };
        let destination = info.destination(&member.path, place)?;
        guard.admit(&destination.path, Shape::File)?;
        // Two names that a file system without case would make one.
        if !folded.insert(destination.path.as_str().to_lowercase()) {
            return Err(refused(&member.path, "its name differs from another in case alone"));
        }
        let expected = record.get(&member.path).copied().flatten();
        check_empty(member, expected)?;
        let executable = destination.script || mode.is_some_and(|mode| mode & 0o100 != 0);
        let compared = match check {
            RecordCheck::Contents => expected,
            RecordCheck::Names => None,
        };
        let mut content = zip.content(member, compared)?;
        if destination.script {
            let mut text = Vec::new();
            let reading = content.read_to_end(&mut text);
            reading.map_err(|source| IntakeError::Taking { path: member.path.clone(), source })?;
            let text = with_interpreter(text, &place.interpreter);
            give(sink, destination.path, executable, text.len() as u64, &mut &text[..])?;
        } else {
            give(sink, destination.path, executable, member.size.bytes(), &mut content)?;
        }
    }
    let installer = place.site_packages.join(&format!("{}/INSTALLER", info.folder))?;
    if guard.shape(&installer).is_none() {
        give(sink, installer, false, INSTALLER.len() as u64, &mut &INSTALLER[..])?;
    }
    for command in commands {
        let path = place.scripts.join(&command.name)?;
        guard.admit(&path, Shape::File)?;
        let text = command.script(&place.interpreter);
        give(sink, path, true, text.len() as u64, &mut text.as_bytes())?;
    }
    Ok(())
}

fn give(
    sink: &mut dyn Sink,
    path: ImagePath,
    executable: bool,
    size: u64,
    content: &mut dyn Read,
) -> Result<(), PythonError> {
    let kind = EntryKind::File { executable, size: ByteSize::new(size), content };
    let taken = sink.take(Entry { path: path.clone(), kind });
    Ok(taken.map_err(|source| IntakeError::Taking { path, source })?)
}

fn refused(path: &ImagePath, reason: &str) -> PythonError {
    IntakeError::Refused { path: path.to_string(), reason: reason.to_owned() }.into()
}

/// The two folders of a wheel whose names carry its name and version.
struct InfoFolder {
    folder: String,
    data: String,
    project: ProjectName,
}

/// Where a member goes.
struct Destination {
    path: ImagePath,
    /// Whether its first line names the interpreter.
    script: bool,
}

impl InfoFolder {
    fn find(members: &[ZipMember], named: &WheelName) -> Result<Self, PythonError> {
        let tops: BTreeSet<&str> =
            members.iter().filter_map(|member| Some(member.path.as_str().split_once('/')?.0)).collect();
        let mut folders = tops.into_iter().filter_map(|top| top.strip_suffix(".dist-info"));
        let (Some(stem), None) = (folders.next(), folders.next()) else {
            return Err(PythonError::Format("it has no `.dist-info` folder, or several".to_owned()));
        };
        let parsed = stem.rsplit_once('-').and_then(|(project, version)| {
            Some((project.parse::<ProjectName>().ok()?, version.replace('_', "-").parse::<Version>().ok()?))
        });
        match parsed {
            Some((project, version)) if project == named.project && version == named.version => {
                Ok(Self { folder: format!("{stem}.dist-info"), data: format!("{stem}.data"), project })
            }
            _ => Err(PythonError::Format(format!(
                "it is called {} {}, but holds `{stem}.dist-info`",
                named.project, named.version
            ))),
        }
    }

    fn destination(&self, path: &ImagePath, place: &Place) -> Result<Destination, PythonError> {
        let plain = |path| Ok(Destination { path, script: false });
        let text = path.as_str();
        let Some(rest) = text.strip_prefix(&self.data).and_then(|rest| rest.strip_prefix('/')) else {
            return plain(place.site_packages.join(text)?);
        };
        let (category, below) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = |below: &str| match place.scripts.parent() {
            Some(prefix) => prefix.join(below),
            None => below.parse(),
        };
        match category {
            _ if below.is_empty() => Err(refused(path, "it stands where the parts of `.data` are")),
            "purelib" | "platlib" => plain(place.site_packages.join(below)?),
            "data" => plain(prefix(below)?),
            "headers" => {
                let interpreter = place.interpreter.file_name();
                plain(prefix(&format!("include/site/{interpreter}/{}/{below}", self.project))?)
            }
            "scripts" if below.contains('/') || !entry_points::is_free(below) => {
                Err(refused(path, "its name is reserved, or no name of a command"))
            }
            "scripts" => Ok(Destination { path: place.scripts.join(below)?, script: true }),
            _ => Err(refused(path, "it is in an unknown part of `.data`")),
        }
    }

    /// Returns whether a member is one of the files that cannot hold their own digest.
    fn is_record(&self, path: &ImagePath) -> bool {
        let below = path.as_str().strip_prefix(&self.folder).and_then(|rest| rest.strip_prefix('/'));
        matches!(below, Some("RECORD" | "RECORD.jws" | "RECORD.p7s"))
    }
}

fn check_version(wheel: &str) -> Result<(), PythonError> {
    let version = wheel.lines().find_map(|line| line.strip_prefix("Wheel-Version:")).map(str::trim);
    match version.and_then(|version| version.split('.').next()) {
        Some("1") => Ok(()),
        _ => Err(PythonError::Format(format!("its format is {}, not 1", version.unwrap_or("not stated")))),
    }
}

fn check_record(members: &[ZipMember], record: &Record, info: &InfoFolder) -> Result<(), PythonError> {
    let mut files = BTreeSet::new();
    for member in members {
        match member.kind {
            ZipKind::Folder => continue,
            ZipKind::Link => return Err(refused(&member.path, "it is a symbolic link, which wheels cannot have")),
            ZipKind::File { .. } => {}
        }
        files.insert(&member.path);
        if !info.is_record(&member.path) && record.get(&member.path).copied().flatten().is_none() {
            return Err(refused(&member.path, "RECORD has no digest of it"));
        }
    }
    match record.keys().find(|path| !files.contains(path) && !info.is_record(path)) {
        Some(path) => Err(PythonError::Format(format!("RECORD names `{path}`, which it does not have"))),
        None => Ok(()),
    }
}

/// Checks the digest of a member without content, which nobody reads.
fn check_empty(member: &ZipMember, expected: Option<Digest>) -> Result<(), PythonError> {
    if member.size == ByteSize::new(0) && expected.is_some_and(|digest| digest != Digest::of(b"")) {
        return Err(refused(&member.path, "it is empty, but RECORD has the digest of other bytes"));
    }
    Ok(())
}

/// Replaces a first line `#!python` or `#!pythonw` (PEP 427: "rewritten to point to the correct interpreter").
fn with_interpreter(script: Vec<u8>, interpreter: &ImagePath) -> Vec<u8> {
    let Some(rest) = script.strip_prefix(b"#!python") else { return script };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (line, below) = rest.split_at(end);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let options = line.strip_prefix(b"w").unwrap_or(line);
    let mut text = format!("#!/{interpreter}").into_bytes();
    text.extend_from_slice(options);
    text.extend_from_slice(below);
    text
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Write};

    use base64::Engine as _;
    use zip::write::SimpleFileOptions;

    use super::*;

    #[derive(Default)]
    struct Files(BTreeMap<String, (bool, String)>);

    impl Sink for Files {
        fn take(&mut self, entry: Entry<'_>) -> io::Result<()> {
            let EntryKind::File { executable, content, .. } = entry.kind else { return Ok(()) };
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            self.0.insert(entry.path.to_string(), (executable, text));
            Ok(())
        }
    }

    const NAME: &str = "some_thing-1.0-py3-none-any.whl";
    const WHEEL: (&str, &str) = ("some_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n");

    fn line(path: &str, content: &str) -> String {
        let digest = hex::decode(Digest::of(content.as_bytes()).hex()).unwrap();
        let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
        format!("{path},sha256={digest},{}\n", content.len())
    }

    fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, content) in files {
            let mode = if path.ends_with(".sh") { 0o755 } else { 0o644 };
            writer.start_file(*path, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn wheel(files: &[(&str, &str)]) -> Vec<u8> {
        let mut record: String = files.iter().map(|(path, content)| line(path, content)).collect();
        record += "some_thing-1.0.dist-info/RECORD,,\n";
        let mut files = files.to_vec();
        files.push(("some_thing-1.0.dist-info/RECORD", &record));
        zipped(&files)
    }

    fn unpacked(name: &str, bytes: Vec<u8>) -> Result<BTreeMap<String, (bool, String)>, PythonError> {
        let place = Place {
            site_packages: "/usr/lib/python3/dist-packages".parse().unwrap(),
            scripts: "/usr/bin".parse().unwrap(),
            interpreter: "/usr/bin/python3.9".parse().unwrap(),
        };
        let mut files = Files::default();
        unpack(&name.parse().unwrap(), Cursor::new(bytes), &place, RecordCheck::Contents, &mut files).map(|()| files.0)
    }

    #[test]
    fn every_part_of_a_wheel_finds_its_place() {
        let files = unpacked(
            NAME,
            wheel(&[
                WHEEL,
                ("a/b.py", "b"),
                ("a/run.sh", "run"),
                ("some_thing-1.0.data/platlib/c.so", "c"),
                ("some_thing-1.0.data/scripts/tool", "#!python -s\nx"),
                ("some_thing-1.0.data/data/share/d", "d"),
                ("some_thing-1.0.data/headers/h.h", "h"),
                ("some_thing-1.0.dist-info/entry_points.txt", "[console_scripts]\nmo = m:n\n"),
            ]),
        )
        .unwrap();
        let site = "usr/lib/python3/dist-packages";
        for (path, executable, start) in [
            (&*format!("{site}/a/b.py"), false, "b"),
            (&format!("{site}/a/run.sh"), true, "run"),
            (&format!("{site}/c.so"), false, "c"),
            ("usr/bin/tool", true, "#!/usr/bin/python3.9 -s\nx"),
            ("usr/share/d", false, "d"),
            ("usr/include/site/python3.9/some-thing/h.h", false, "h"),
            ("usr/bin/mo", true, "#!/usr/bin/python3.9\nimport sys"),
            (&format!("{site}/some_thing-1.0.dist-info/INSTALLER"), false, "modelconverter\n"),
            (&format!("{site}/some_thing-1.0.dist-info/RECORD"), false, "some_thing-1.0.dist-info/WHEEL,"),
        ] {
            let (found, text) = &files[path];
            assert_eq!((*found, text.starts_with(start)), (executable, true), "{path}: {text}");
        }
    }

    #[test]
    fn wheels_that_break_the_rules_are_refused() {
        let data = "some_thing-1.0.data";
        for (files, part) in [
            (vec![("a", "a")], "dist-info/RECORD"),
            (vec![("some_thing-1.0.dist-info/WHEEL", "Wheel-Version: 2.0\n")], "format is 2.0"),
            (vec![WHEEL, ("a", "1"), ("A", "2")], "case alone"),
            (vec![WHEEL, ("../a", "1")], "cannot be used"),
            (vec![WHEEL, ("/a", "1")], "absolute"),
            (vec![WHEEL, (&*format!("{data}/scripts/python3"), "1")], "reserved"),
            (vec![WHEEL, (&format!("{data}/scripts/a/b"), "1")], "reserved"),
            (vec![WHEEL, (&format!("{data}/odd/b"), "1")], "unknown part"),
            (vec![WHEEL, ("a", "1"), (&format!("{data}/purelib/a"), "1")], "twice"),
            (vec![WHEEL, ("other-2.dist-info/WHEEL", "1")], "or several"),
            (
                vec![WHEEL, ("some_thing-1.0.dist-info/entry_points.txt", "[console_scripts]\npython = a:b\n")],
                "reserved",
            ),
        ] {
            let error = unpacked(NAME, wheel(&files)).unwrap_err();
            let text = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(text.contains(part) || part == "dist-info/RECORD" && text.contains("no `WHEEL`"), "{part}: {text}");
        }
        let error = unpacked("other-1.0-py3-none-any.whl", wheel(&[WHEEL])).unwrap_err().to_string();
        assert!(error.contains("called other 1.0"), "{error}");
        let whole = wheel(&[WHEEL, ("a", "aaaa")]);
        assert!(unpacked(NAME, whole[..whole.len() - 30].to_vec()).is_err());
        assert!(unpacked(NAME, b"no zip".to_vec()).is_err());
    }

    #[test]
    fn files_that_differ_from_the_record_are_refused() {
        let record = |lines: String| format!("{lines}{}some_thing-1.0.dist-info/RECORD,,\n", line(WHEEL.0, WHEEL.1));
        for (content, lines, part) in [
            ("a", line("a", "b"), "digest differs"),
            ("", line("a", "b"), "it is empty"),
            ("a", "a,,\n".to_owned(), "no digest"),
            ("a", String::new(), "no digest"),
            ("a", line("a", "a") + &line("b", "b"), "RECORD names `b`"),
        ] {
            let record = record(lines);
            let files = [WHEEL, ("a", content), ("some_thing-1.0.dist-info/RECORD", &*record)];
            let error = unpacked(NAME, zipped(&files)).unwrap_err();
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                text += &format!(": {error}");
                source = error.source();
            }
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
