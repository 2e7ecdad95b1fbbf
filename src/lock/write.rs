//! The canonical text of `toolchains.toml`: order, spacing, nothing implicit, and the comments people wrote.
//!
//! A comment belongs to the line of keys or the table header that follows it, and comes back before the same line as
//! long as that table is still there. Values are TOML basic strings and integers only, so that old readers of TOML (in
//! Nix) can read the file too.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Artifact, FORMAT, LAYER_FORMAT, Lock, Source, Toolchain, Verdict};
use crate::digest::Digest;

/// What the head of every lock says to people.
const HEAD: &str = "\
# The lock of the toolchains: every byte that an image is made of. Written by `modelconverter lock`, checked against
# `images/*/recipe.toml` by `modelconverter lock --check`. Comments of yours stay.
";

/// Returns the digest that the lock states of its own content: of the canonical text without comments and checksum.
pub(super) fn checksum(lock: &Lock) -> Digest {
    Digest::of(body(lock).as_bytes())
}

/// Returns the canonical text; see [`Lock::render`].
pub(super) fn render(lock: &Lock, previous: Option<&str>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "version = {FORMAT}");
    let _ = writeln!(text, "layer-format = {LAYER_FORMAT}");
    let _ = writeln!(text, "checksum = {}", quoted(&checksum(lock).to_string()));
    text.push_str(&body(lock));
    let comments = previous.map(comments).unwrap_or_default();
    if comments.is_empty() { format!("{HEAD}{text}") } else { with_comments(&text, &comments) }
}

fn body(lock: &Lock) -> String {
    let mut text = String::new();
    for toolchain in &lock.toolchains {
        write_toolchain(&mut text, toolchain);
    }
    for artifact in lock.artifacts.values() {
        write_artifact(&mut text, artifact);
    }
    text
}

fn write_toolchain(text: &mut String, toolchain: &Toolchain) {
    text.push_str("\n[[toolchain]]\n");
    key(text, "target", toolchain.name.target.as_str());
    key(text, "version", toolchain.name.version.as_str());
    key(text, "platform", &toolchain.platform.to_string());
    key(text, "recipe", &toolchain.recipe.to_string());
    for layer in &toolchain.layers {
        text.push_str("\n[[toolchain.layer]]\n");
        key(text, "name", layer.name.as_str());
        if let Some(bytes) = layer.bytes {
            key(text, "diff-id", &bytes.diff_id.to_string());
            let _ = writeln!(text, "size = {}", bytes.size.bytes());
            key(text, "compressed", &bytes.compressed.to_string());
            let _ = writeln!(text, "compressed-size = {}", bytes.compressed_size.bytes());
        }
        if !layer.artifacts.is_empty() {
            text.push_str("artifacts = [\n");
            for id in &layer.artifacts {
                let _ = writeln!(text, "  {},", quoted(id.as_str()));
            }
            text.push_str("]\n");
        }
    }
}

fn write_artifact(text: &mut String, artifact: &Artifact) {
    text.push_str("\n[[artifact]]\n");
    key(text, "id", artifact.id.as_str());
    key(text, "kind", artifact.source.kind());
    key(text, "file", artifact.file.as_str());
    if let Some(pin) = artifact.pin {
        let _ = writeln!(text, "size = {}", pin.size.bytes());
        key(text, "sha256", &pin.sha256.hex());
    }
    if let Some(licence) = &artifact.licence {
        key(text, "licence", licence);
    }
    if !artifact.redistributable {
        text.push_str("redistributable = false\n");
    }
    match &artifact.source {
        Source::Debian(source) => {
            key(text, "archive", &source.archive);
            key(text, "package", &source.package);
            key(text, "version", &source.version);
            key(text, "architecture", &source.architecture);
            key(text, "path", &source.path);
            let mut scripts: Vec<_> = source.scripts.iter().collect();
            scripts.sort_by(|left, right| left.script.cmp(&right.script));
            for script in scripts {
                let (verdict, words) = match &script.verdict {
                    Verdict::Noop { reason } => ("noop", reason),
                    Verdict::Handled { by } => ("handled", by),
                };
                let (digest, words) = (quoted(&script.sha256.hex()), quoted(words));
                let _ = writeln!(text, "scripts.{} = {{ sha256 = {digest}, {verdict} = {words} }}", script.script);
            }
        }
        Source::Pypi { project, version } => {
            key(text, "project", project);
            key(text, "version", version);
        }
        Source::Https { origin, path } => {
            key(text, "origin", origin);
            key(text, "path", path);
        }
        Source::Oci { repository } => key(text, "repository", repository),
        Source::File { obtain } => key(text, "obtain", obtain),
    }
}

fn key(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name} = {}", quoted(value));
}

/// Returns a TOML basic string (TOML 1.0, "String").
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// A line that a comment can belong to: the table it is in, and its key.
type Anchor = (String, String);

/// Returns, for each line that is no comment, the table it belongs to and its key; tables are named by their own keys.
fn anchors(text: &str) -> Vec<Option<Anchor>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut table = String::new();
    let mut toolchain = String::new();
    let mut anchors = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            let values: Vec<&str> = lines
                .iter()
                .skip(index + 1)
                .map(|next| next.trim())
                .take_while(|next| !next.starts_with('['))
                .collect();
            let value = |name: &str| {
                values.iter().find(|next| next.starts_with(&format!("{name} = "))).map_or("", |next| next).to_owned()
            };
            table = match line {
                "[[toolchain]]" => {
                    toolchain = format!("{} {}", value("target"), value("version"));
                    format!("{line} {toolchain}")
                }
                "[[toolchain.layer]]" => format!("{line} {toolchain} {}", value("name")),
                _ => format!("{line} {}", value("id")),
            };
            anchors.push(Some((table.clone(), String::new())));
        } else if line.is_empty() || line.starts_with('#') {
            anchors.push(None);
        } else {
            let name = line.split(" = ").next().unwrap_or(line);
            anchors.push(Some((table.clone(), name.to_owned())));
        }
    }
    anchors
}

/// Returns the comment lines above each line, and those at the end of the text under an anchor of their own.
fn comments(text: &str) -> BTreeMap<Anchor, Vec<String>> {
    let mut found: BTreeMap<Anchor, Vec<String>> = BTreeMap::new();
    let mut pending = Vec::new();
    for (line, anchor) in text.lines().zip(anchors(text)) {
        match anchor {
            None if line.trim().starts_with('#') => pending.push(line.to_owned()),
            None => {}
            Some(anchor) if !pending.is_empty() => {
                found.entry(anchor).or_default().append(&mut pending);
            }
            Some(_) => {}
        }
    }
    if !pending.is_empty() {
        found.insert((String::from("end"), String::new()), pending);
    }
    found
}

fn with_comments(text: &str, comments: &BTreeMap<Anchor, Vec<String>>) -> String {
    let mut out = String::with_capacity(text.len());
    for (line, anchor) in text.lines().zip(anchors(text)) {
        for comment in anchor.and_then(|anchor| comments.get(&anchor)).into_iter().flatten() {
            out.push_str(comment);
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
    }
    if let Some(end) = comments.get(&(String::from("end"), String::new())) {
        out.push('\n');
        for comment in end {
            out.push_str(comment);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::name::{Target, ToolchainName};

    fn artifact(id: &str, source: Source) -> Artifact {
        Artifact {
            id: id.parse().unwrap(),
            file: format!("{id}.bin").parse().unwrap(),
            source,
            pin: Some(Pin { size: ByteSize::new(3), sha256: Digest::of(id.as_bytes()) }),
            licence: None,
            redistributable: true,
        }
    }

    fn toolchain(version: &str, ids: &[&str]) -> Toolchain {
        Toolchain {
            name: ToolchainName { target: Target::Rvc2, version: version.parse().unwrap() },
            platform: Platform::LinuxAmd64,
            recipe: Digest::of(b"recipe"),
            layers: vec![LockedLayer {
                name: "base".parse().unwrap(),
                artifacts: ids.iter().map(|id| id.parse().unwrap()).collect(),
                bytes: Some(LayerBytes {
                    diff_id: DiffId(Digest::of(b"tar")),
                    size: ByteSize::new(1024),
                    compressed: Digest::of(b"gz"),
                    compressed_size: ByteSize::new(99),
                }),
            }],
        }
    }

    fn example() -> Lock {
        let script = ScriptVerdict {
            script: "postinst".to_owned(),
            sha256: Digest::of(b"script"),
            verdict: Verdict::Noop { reason: "says \"hello\" only".to_owned() },
        };
        let debian = Source::Debian(DebianSource {
            archive: "debian".to_owned(),
            package: "zlib1g".to_owned(),
            version: "1:1.2".to_owned(),
            architecture: "amd64".to_owned(),
            path: "pool/main/z/zlib/zlib1g.deb".to_owned(),
            scripts: vec![script],
        });
        let wheel = Source::Pypi { project: "numpy".to_owned(), version: "1.19.5".to_owned() };
        let mut unpinned = artifact("vendor", Source::File { obtain: "ask the vendor".to_owned() });
        unpinned.pin = None;
        unpinned.redistributable = false;
        Lock::new(
            vec![toolchain("2.0", &["b", "vendor"]), toolchain("1.0", &["a", "b"])],
            [unpinned, artifact("b", wheel), artifact("a", debian)],
        )
        .unwrap()
    }

    #[test]
    fn rendering_and_reading_is_the_identity() {
        let lock = example();
        let text = lock.render(None);
        let read = Lock::parse(&text).unwrap();
        assert_eq!(read, lock);
        assert_eq!(read.render(Some(&text)), text);
        assert_eq!(read.render(None), text);
    }

    #[test]
    fn shuffled_input_renders_alike() {
        let lock = example();
        let mut toolchains = lock.toolchains().to_vec();
        toolchains.reverse();
        let artifacts: Vec<_> = lock.artifacts().cloned().rev().collect();
        assert_eq!(Lock::new(toolchains, artifacts).unwrap().render(None), lock.render(None));
    }

    #[test]
    fn comments_stay_where_they_were() {
        let lock = example();
        let text = lock
            .render(None)
            .replace("[[artifact]]\nid = \"b\"", "# why b\n[[artifact]]\n# the id\nid = \"b\"")
            .replace("version = \"2.0\"", "# second\nversion = \"2.0\"")
            + "# the end\n";
        let text = Lock::parse(&text).unwrap().render(Some(&text));
        for part in ["# why b\n[[artifact]]\n# the id\nid = \"b\"", "# second\nversion = \"2.0\"", "\n# the end\n"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(Lock::parse(&text).unwrap().render(Some(&text)), text);
    }

    #[test]
    fn a_lock_edited_by_hand_is_refused() {
        let text = example().render(None);
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Lock::parse(&text.replacen(from, to, 1)).unwrap_err().to_string()
        };
        assert!(refused("size = 3", "size = 4").contains("checksum"));
        assert!(refused("\"zlib1g\"", "\"zlib2g\"").contains("checksum"));
        assert!(refused("\nversion = 1\n", "\nversion = 2\n").contains("format 2"));
        assert!(refused("layer-format = 1", "layer-format = 7").contains("layer format 7"));
        assert!(refused("kind = \"pypi\"", "kind = \"conda\"").contains("not well formed"));
        assert!(refused("id = \"b\"", "id = \"c\"").contains("missing"));
        assert!(refused("file = \"b.bin\"", "file = \"b.bin\"\nfiel = 1").contains("not well formed"));
    }
}
