//! Where a file of a project lies, by the project's page in a Python package index.
//!
//! Owns finding the file and its address; what a page says is read by [`python::simple`](crate::python::simple).

use url::Url;

use crate::digest::Digest;
use crate::python::simple;

/// One file of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it lies.
    pub url: Url,
    /// The digest that the index states.
    pub sha256: Option<Digest>,
}

/// Finds `file` on the page at `address`; nothing if it is not listed.
///
/// # Errors
/// The bytes are no page of a project.
pub fn find(page: &[u8], address: &Url, file: &str) -> Result<Option<Listed>, NoPage> {
    let kind = simple::kind_of(page);
    let files = simple::read(kind, page).map_err(|_| NoPage)?;
    if files.is_empty() && kind == "text/html" && !is_html(page) {
        return Err(NoPage);
    }
    let Some(found) = files.into_iter().find(|listed| listed.name.as_str() == file) else { return Ok(None) };
    let url = web(address.join(&found.url).map_err(|_| NoPage)?)?;
    Ok(Some(Listed { url, sha256: found.sha256 }))
}

/// Bytes that are no page of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPage;

/// Returns whether a page without files is one at all: any text can be read as HTML.
fn is_html(page: &[u8]) -> bool {
    let start = page.trim_ascii_start();
    [b"<html".as_slice(), b"<!DOCTYPE"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)))
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
