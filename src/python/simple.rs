//! Pages of a package index (PEP 503 HTML, PEP 691 JSON, PEP 592 yanked files, PEP 658 metadata files, PEP 700 sizes).

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::digest::Digest;
use crate::hint::Hint;
use crate::name::FileName;
use crate::units::ByteSize;

/// What to ask for: JSON, or HTML from indexes that have nothing better.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// One file that an index offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFile {
    /// Its name.
    pub name: FileName,
    /// Where it is, as written: absolute, or relative to the page.
    pub url: String,
    /// The digest of its bytes, where the index states it.
    pub sha256: Option<Digest>,
    /// Its length, where the index states it.
    pub size: Option<ByteSize>,
    /// Which interpreters it is for (PEP 440 specifiers), where stated.
    pub requires_python: Option<String>,
    /// Why it should no longer be used, if so; the reason may be empty.
    pub yanked: Option<String>,
    /// Whether its `METADATA` can be had alone, at the same place with `.metadata` behind the name.
    pub has_metadata: bool,
}

/// A page that cannot be read.
#[derive(Debug, Error)]
pub enum PageError {
    /// No JSON of the right shape.
    #[error("page of the package index is not well formed")]
    Json(#[from] serde_json::Error),
    /// A version of the API that is not known.
    #[error("package index speaks version {found} of its interface, this program version 1")]
    Version {
        /// The version found.
        found: String,
    },
    /// The page is of a kind that is not known.
    #[error("package index answers with `{found}`, which is no page of files")]
    Kind {
        /// The content type found.
        found: String,
    },
}

impl Hint for PageError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Kind { .. } => vec!["check the index address that pip is configured with".to_owned()],
            _ => Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct PageWire {
    #[serde(default)]
    meta: MetaWire,
    #[serde(default)]
    files: Vec<FileWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MetaWire {
    #[serde(default)]
    api_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileWire {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    requires_python: Option<String>,
    #[serde(default)]
    yanked: serde_json::Value,
    #[serde(default)]
    core_metadata: serde_json::Value,
    #[serde(default)]
    dist_info_metadata: serde_json::Value,
}

/// Reads the page of a project. Files whose names are none are left out, as are files with broken digests.
///
/// # Errors
/// The page is neither JSON nor HTML by its `content_type`, not well formed, or of a later version.
pub fn read(content_type: &str, page: &[u8]) -> Result<Vec<IndexFile>, PageError> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    match kind {
        "application/vnd.pypi.simple.v1+json" | "application/json" => read_json(page),
        "application/vnd.pypi.simple.v1+html" | "text/html" => Ok(read_html(&String::from_utf8_lossy(page))),
        other => Err(PageError::Kind { found: other.to_owned() }),
    }
}

/// Returns the kind of a page whose content type got lost, by its first letter.
pub fn kind_of(page: &[u8]) -> &'static str {
    match page.trim_ascii_start().first() {
        Some(b'{') => "application/vnd.pypi.simple.v1+json",
        _ => "text/html",
    }
}

fn read_json(page: &[u8]) -> Result<Vec<IndexFile>, PageError> {
    let page: PageWire = serde_json::from_slice(page)?;
    if let Some(found) = page.meta.api_version.filter(|version| version.split('.').next() != Some("1")) {
        return Err(PageError::Version { found });
    }
    let stated = |value: &serde_json::Value| match value {
        serde_json::Value::Bool(stated) => *stated,
        serde_json::Value::Object(_) => true,
        _ => false,
    };
    let files = page.files.into_iter().filter_map(|file| {
        let sha256 = match file.hashes.get("sha256") {
            Some(hex) => Some(Digest::from_hex(hex).ok()?),
            None => None,
        };
        Some(IndexFile {
            name: file.filename.parse().ok()?,
            url: file.url,
            sha256,
            size: file.size.map(ByteSize::new),
            requires_python: file.requires_python.filter(|text| !text.trim().is_empty()),
            yanked: match file.yanked {
                serde_json::Value::String(reason) => Some(reason),
                serde_json::Value::Bool(true) => Some(String::new()),
                _ => None,
            },
            has_metadata: stated(&file.core_metadata) || stated(&file.dist_info_metadata),
        })
    });
    Ok(files.collect())
}

fn read_html(page: &str) -> Vec<IndexFile> {
    let mut files = Vec::new();
    let mut rest = page;
    while let Some(at) = find_tag(rest) {
        let Some(tag) = rest.get(at + 2..) else { break };
        let Some(end) = tag_end(tag) else { break };
        let (inside, after) = tag.split_at(end);
        let attributes = attributes(inside);
        let text = after.get(1..).and_then(|after| after.split('<').next()).unwrap_or_default();
        rest = after;
        let Some(href) = attributes.get("href") else { continue };
        let (url, fragment) = href.split_once('#').unwrap_or((href, ""));
        let Ok(name) = unescaped(text.trim()).parse::<FileName>() else { continue };
        let sha256 = match fragment.strip_prefix("sha256=") {
            Some(hex) => match Digest::from_hex(hex) {
                Ok(digest) => Some(digest),
                Err(_) => continue,
            },
            None => None,
        };
        let stated = |name: &str| attributes.get(name).is_some_and(|value| value != "false");
        files.push(IndexFile {
            name,
            url: url.to_owned(),
            sha256,
            size: None,
            requires_python: attributes.get("data-requires-python").filter(|text| !text.is_empty()).cloned(),
            yanked: attributes.get("data-yanked").cloned(),
            has_metadata: stated("data-core-metadata") || stated("data-dist-info-metadata"),
        });
    }
    files
}

/// Returns where the next anchor begins.
fn find_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len())
        .find(|at| matches!(bytes.get(*at..at + 3), Some([b'<', b'a' | b'A', space]) if space.is_ascii_whitespace()))
}

/// Returns where the tag ends, skipping `>` in quotes.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    tag.char_indices().find_map(|(at, letter)| {
        match (quote, letter) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
        None
    })
}

fn attributes(mut inside: &str) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    loop {
        inside = inside.trim_start();
        let end = inside.find(|letter: char| letter == '=' || letter.is_whitespace()).unwrap_or(inside.len());
        let (name, rest) = inside.split_at(end);
        if name.is_empty() {
            return attributes;
        }
        let Some(value) = rest.trim_start().strip_prefix('=') else {
            attributes.insert(name.to_ascii_lowercase(), String::new());
            inside = rest;
            continue;
        };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|letter| matches!(letter, '"' | '\''));
        let (value, after) = match quote {
            Some(quote) => {
                let value = value.get(1..).unwrap_or_default();
                value.split_once(quote).unwrap_or((value, ""))
            }
            None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        attributes.insert(name.to_ascii_lowercase(), unescaped(value));
        inside = after;
    }
}

fn unescaped(text: &str) -> String {
    // `&amp;` last, so that `&amp;lt;` becomes `&lt;`.
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn expected() -> IndexFile {
        IndexFile {
            name: "a-1-py3-none-any.whl".parse().unwrap(),
            url: "../a-1-py3-none-any.whl".to_owned(),
            sha256: Some(Digest::of(b"")),
            size: None,
            requires_python: Some(">=3.6".to_owned()),
            yanked: Some("broken".to_owned()),
            has_metadata: true,
        }
    }

    #[test]
    fn json_and_html_say_the_same() {
        let json = format!(
            r#"{{"meta": {{"api-version": "1.1"}}, "name": "a", "files": [{{"filename": "a-1-py3-none-any.whl",
            "url": "../a-1-py3-none-any.whl", "hashes": {{"sha256": "{HEX}", "md5": "x"}}, "requires-python": ">=3.6",
            "yanked": "broken", "core-metadata": {{"sha256": "{HEX}"}}}}, {{"filename": "a/b", "url": ""}},
            {{"filename": "c", "url": "", "hashes": {{"sha256": "zz"}}}}]}}"#
        );
        assert_eq!(read("application/vnd.pypi.simple.v1+json", json.as_bytes()).unwrap(), [expected()]);
        let html = format!(
            "<!DOCTYPE html><html><head><title>a > b</title></head><body><abbr>x</abbr>\n<A data-yanked='broken'\n \
             data-requires-python=\"&gt;=3.6\" data-core-metadata=true href=\"../a-1-py3-none-any.whl#sha256={HEX}\">\
             a-1-py3-none-any.whl</A><br/><a>no</a><a href"
        );
        assert_eq!(read("text/html; charset=utf-8", html.as_bytes()).unwrap(), [expected()]);
    }

    #[test]
    fn other_answers_are_refused() {
        let json = "application/vnd.pypi.simple.v1+json";
        assert!(matches!(read(json, b"<html>"), Err(PageError::Json(_))));
        assert!(matches!(read(json, b"{\"meta\": {\"api-version\": \"2.0\"}}"), Err(PageError::Version { .. })));
        assert!(matches!(read("image/png", b""), Err(PageError::Kind { .. })));
        assert!(read("text/html", "<a href='ü' <a >\u{fe}/<a ".as_bytes()).unwrap().is_empty());
    }
}
