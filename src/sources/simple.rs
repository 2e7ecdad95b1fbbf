//! One project's page of a Python package index (Simple repository API: PEP 503 for HTML, PEP 691 for JSON).
//!
//! Owns finding a file on the page. Hostile pages cost no more than their size.

use serde::Deserialize;
use url::Url;

use crate::digest::Digest;

/// What to ask an index for: JSON where it can, HTML where it cannot.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// One file of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it lies.
    pub url: Url,
    /// The digest that the index states.
    pub sha256: Option<Digest>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: Hashes,
}

#[derive(Default, Deserialize)]
struct Hashes {
    #[serde(default)]
    sha256: Option<String>,
}

/// Finds `file` on the page at `address`; nothing if it is not listed.
///
/// # Errors
/// The bytes are no page of a project.
pub fn find(page: &[u8], address: &Url, file: &str) -> Result<Option<Listed>, NoPage> {
    let text = std::str::from_utf8(page).map_err(|_| NoPage)?;
    if text.trim_start().starts_with('{') { find_json(text, address, file) } else { find_html(text, address, file) }
}

/// Bytes that are no page of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPage;

fn find_json(text: &str, address: &Url, file: &str) -> Result<Option<Listed>, NoPage> {
    let page: Page = serde_json::from_str(text).map_err(|_| NoPage)?;
    let Some(found) = page.files.into_iter().find(|listed| listed.filename == file) else { return Ok(None) };
    let url = web(address.join(&found.url).map_err(|_| NoPage)?)?;
    Ok(Some(Listed { url, sha256: found.hashes.sha256.and_then(|hex| Digest::from_hex(&hex).ok()) }))
}

fn find_html(text: &str, address: &Url, file: &str) -> Result<Option<Listed>, NoPage> {
    if !text.contains("<a") && !text.contains("<html") && !text.contains("<!DOCTYPE") {
        return Err(NoPage);
    }
    for anchor in text.split("<a ").skip(1) {
        let tag = anchor.split('>').next().unwrap_or_default();
        let Some(href) = attribute(tag, "href") else { continue };
        let Ok(url) = address.join(&href.replace("&amp;", "&")) else { continue };
        let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
        // Local versions (`1.0+cpu`) may be escaped in the address.
        if last.replace("%2B", "+").replace("%2b", "+") != file {
            continue;
        }
        let sha256 = url.fragment().and_then(|fragment| fragment.strip_prefix("sha256="));
        let sha256 = sha256.and_then(|hex| Digest::from_hex(hex).ok());
        let mut url = web(url)?;
        url.set_fragment(None);
        return Ok(Some(Listed { url, sha256 }));
    }
    Ok(None)
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let rest = tag.get(tag.find(&format!("{name}="))? + name.len() + 1..)?;
    let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    rest.get(1..)?.split(quote).next()
}

fn web(url: Url) -> Result<Url, NoPage> {
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(NoPage) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_on_both_kinds_of_pages() {
        let address = Url::parse("https://index.example/simple/x/").unwrap();
        let digest = Digest::of(b"x");
        let json = format!(
            r#"{{"meta":{{"api-version":"1.1"}},"name":"x","files":[{{"filename":"x-1.tar.gz","url":"x"}},
            {{"filename":"x-1.whl","url":"../../files/x-1.whl","hashes":{{"sha256":"{}"}},"yanked":false}}]}}"#,
            digest.hex()
        );
        let html = format!(
            "<!DOCTYPE html><html><body><a href=\"x-2.whl\">x-2</a>\n<a data-x='1' href='/files/x-1.whl#sha256={}'>x-1.whl</a>",
            digest.hex()
        );
        for page in [json, html] {
            let listed = find(page.as_bytes(), &address, "x-1.whl").unwrap().unwrap();
            assert_eq!(listed.url.as_str(), "https://index.example/files/x-1.whl");
            assert_eq!(listed.sha256, Some(digest));
            assert_eq!(find(page.as_bytes(), &address, "y.whl").unwrap(), None);
        }
    }

    #[test]
    fn other_bytes_are_no_page() {
        let address = Url::parse("https://index.example/simple/x/").unwrap();
        let local = br#"{"files":[{"filename":"x","url":"file:///etc/passwd"}]}"#;
        for page in [&b""[..], b"{", b"\xff", b"[]", b"not found", local] {
            assert_eq!(find(page, &address, "x"), Err(NoPage));
        }
    }
}
