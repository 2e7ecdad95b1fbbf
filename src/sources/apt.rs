//! apt's settings: `sources.list` and `.sources` files (sources.list(5)), and proxies in `apt.conf` (apt.conf(5)).
//!
//! These files belong to the system: what is not understood in them is passed over, never an error.

use std::collections::BTreeMap;

use super::Base;
use super::pip;

/// Returns the folder-independent kinds of apt's source files by their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One source per line: `deb http://... bullseye main`.
    Lines,
    /// Paragraphs of fields (deb822).
    Paragraphs,
}

/// Adds the archives that a file of sources names to `archives`: `debian` and `debian-security`.
pub fn sources(text: &str, form: Form, archives: &mut BTreeMap<String, Vec<Base>>) {
    match form {
        Form::Lines => {
            for line in text.lines() {
                one_line(line, archives);
            }
        }
        Form::Paragraphs => {
            for paragraph in text.split("\n\n") {
                one_paragraph(paragraph, archives);
            }
        }
    }
}

fn one_line(line: &str, archives: &mut BTreeMap<String, Vec<Base>>) {
    let line = line.split('#').next().unwrap_or_default();
    let Some(rest) = line.trim().strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else { return };
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']').map(|(_, rest)| rest).unwrap_or_default(),
        None => rest,
    };
    let mut words = rest.split_whitespace();
    let (Some(uri), Some(_suite)) = (words.next(), words.next()) else { return };
    if words.any(|component| component == "main") {
        archive(uri, archives);
    }
}

fn one_paragraph(paragraph: &str, archives: &mut BTreeMap<String, Vec<Base>>) {
    let mut fields = BTreeMap::<String, String>::new();
    let mut current = None;
    for line in paragraph.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = current.as_ref().and_then(|name| fields.get_mut(name)) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_ascii_lowercase();
            fields.insert(name.clone(), value.trim().to_owned());
            current = Some(name);
        }
    }
    let words = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default().split_whitespace();
    let enabled = !fields.get("enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    if enabled && words("types").any(|kind| kind == "deb") && words("components").any(|component| component == "main") {
        for uri in words("uris") {
            archive(uri, archives);
        }
    }
}

/// Adds one URI if its path ends as the path of a Debian archive does.
fn archive(uri: &str, archives: &mut BTreeMap<String, Vec<Base>>) {
    let Some(base) = Base::parse(uri) else { return };
    let name = match base.path().rsplit('/').next() {
        Some(name @ ("debian" | "debian-security")) => name.to_owned(),
        _ => return,
    };
    let bases = archives.entry(name).or_default();
    if !bases.contains(&base) {
        bases.push(base);
    }
}

/// The proxies that apt uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// By scheme, `http` or `https`.
    schemes: BTreeMap<String, Option<Base>>,
    /// By scheme and host; nothing means a direct connection.
    hosts: BTreeMap<(String, String), Option<Base>>,
}

impl Proxies {
    /// Reads the texts of apt's configuration files, the weakest first.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut proxies = Self::default();
        for text in texts {
            for (key, value) in settings(text) {
                let names: Vec<&str> = key.split("::").collect();
                let [acquire, scheme, proxy, host @ ..] = names.as_slice() else { continue };
                if acquire != &"acquire" || proxy != &"proxy" || !matches!(*scheme, "http" | "https") {
                    continue;
                }
                let direct = value.is_empty() || value.eq_ignore_ascii_case("direct") || value == "false";
                let Some(base) = (if direct { Some(None) } else { pip::proxy(&value).map(Some) }) else { continue };
                match host {
                    [] => proxies.schemes.insert((*scheme).to_owned(), base),
                    [host] => proxies.hosts.insert(((*scheme).to_owned(), (*host).to_owned()), base),
                    _ => continue,
                };
            }
        }
        proxies
    }

    /// Returns the proxy to reach `base` through. For `https` apt falls back to the one for `http`.
    pub fn proxy(&self, base: &Base) -> Option<&Base> {
        let host = base.url().host_str().unwrap_or_default().to_owned();
        let schemes: &[&str] = if base.url().scheme() == "https" { &["https", "http"] } else { &["http"] };
        let by_host = schemes.iter().find_map(|scheme| self.hosts.get(&((*scheme).to_owned(), host.clone())));
        by_host.or_else(|| schemes.iter().find_map(|scheme| self.schemes.get(*scheme)))?.as_ref()
    }
}

/// Flattens a configuration file into keys in lower case, joined by `::`, and values.
fn settings(text: &str) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut path: Vec<usize> = Vec::new();
    let mut prefix = String::new();
    let mut words: Vec<String> = Vec::new();
    let join = |prefix: &str, key: &str| match prefix.is_empty() {
        true => key.to_ascii_lowercase(),
        false => format!("{prefix}::{}", key.to_ascii_lowercase()),
    };
    for token in tokens(text) {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                path.push(prefix.len());
                prefix = join(&prefix, words.first().map(String::as_str).unwrap_or_default());
                words.clear();
            }
            Token::End => {
                if let [key, value] = words.as_slice() {
                    settings.push((join(&prefix, key), value.clone()));
                }
                words.clear();
            }
            Token::Close => {
                prefix.truncate(path.pop().unwrap_or_default());
                words.clear();
            }
        }
    }
    settings
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip_line = |rest: &str| rest.find('\n').unwrap_or(rest.len());
        let length = match first {
            '#' => skip_line(rest),
            '/' if rest.starts_with("//") => skip_line(rest),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => {
                let value = rest.get(1..).unwrap_or_default().split('"').next().unwrap_or_default();
                tokens.push(Token::Word(value.to_owned()));
                (value.len() + 2).min(rest.len())
            }
            '{' | '}' | ';' => {
                tokens.push(match first {
                    '{' => Token::Open,
                    '}' => Token::Close,
                    _ => Token::End,
                });
                1
            }
            letter if letter.is_whitespace() => letter.len_utf8(),
            _ => {
                let end = rest.find(|letter: char| letter.is_whitespace() || "{};\"".contains(letter));
                let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                tokens.push(Token::Word(word.to_owned()));
                word.len()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, form: Form) -> Vec<(String, Vec<String>)> {
        let mut archives = BTreeMap::new();
        sources(text, form, &mut archives);
        archives.into_iter().map(|(name, bases)| (name, bases.iter().map(Base::to_string).collect())).collect()
    }

    #[test]
    fn lines_that_name_debian_archives_count() {
        let text = "# deb http://no/debian bullseye main\n\
                    deb http://a/debian bullseye main contrib # yes\n\
                    deb-src http://src/debian bullseye main\n\
                    deb [arch=amd64 signed-by=/k] https://b/mirror/debian/ bullseye-updates main\n\
                    deb http://a/debian bullseye-updates main\n\
                    deb http://security.example/debian-security bullseye-security main\n\
                    deb https://vendor.example/linux/debian bullseye stable\n\
                    deb http://a/ubuntu focal main\n\
                    deb cdrom:[Debian]/ bullseye main\n\
                    deb file:///srv/debian bullseye main\ndeb\ndeb http://a/debian\n";
        assert_eq!(
            found(text, Form::Lines),
            [
                ("debian".to_owned(), vec!["http://a/debian".to_owned(), "https://b/mirror/debian/".to_owned()]),
                ("debian-security".to_owned(), vec!["http://security.example/debian-security".to_owned()]),
            ]
        );
    }

    #[test]
    fn paragraphs_that_name_debian_archives_count() {
        let text = "Types: deb\n# a comment\nURIs: http://a/debian\n http://b/debian\nSuites: bookworm\nComponents: main\n\n\
                    Types: deb-src\nURIs: http://c/debian\nSuites: x\nComponents: main\n\n\
                    Types: deb\nEnabled: no\nURIs: http://d/debian\nSuites: x\nComponents: main\n\n\
                    Types: deb deb-src\nURIs: http://e/debian-security\nSuites: x\nComponents: non-free main\n";
        assert_eq!(
            found(text, Form::Paragraphs),
            [
                ("debian".to_owned(), vec!["http://a/debian".to_owned(), "http://b/debian".to_owned()]),
                ("debian-security".to_owned(), vec!["http://e/debian-security".to_owned()]),
            ]
        );
    }

    #[test]
    fn proxies_are_found_in_both_spellings() {
        let flat = "Acquire::http::Proxy \"http://u:p@proxy:3128/\"; // here\nAcquire::http::Proxy::local.example \"DIRECT\";\n";
        let nested = "/* x */ Acquire { Retries \"3\"; http { Proxy \"http://inner:8000\"; }; https::Proxy \"secure:1\"; };\n# end\n";
        let base = |text: &str| Base::parse(text).unwrap();
        let proxies = Proxies::parse([flat]);
        assert_eq!(proxies.proxy(&base("http://a/")).unwrap().to_string(), "http://proxy:3128/");
        assert_eq!(proxies.proxy(&base("https://a/")).unwrap().host(), "proxy:3128");
        assert!(proxies.proxy(&base("http://local.example/debian")).is_none());
        let proxies = Proxies::parse([flat, nested]);
        assert_eq!(proxies.proxy(&base("http://a/")).unwrap().host(), "inner:8000");
        assert_eq!(proxies.proxy(&base("https://a/")).unwrap().host(), "secure:1");
        for odd in ["", "}", "{{{", "\"", "Acquire::http::Proxy", "Acquire::http::Proxy \"::\";", "/*", "é \"ü"] {
            assert!(Proxies::parse([odd]).proxy(&base("http://a/")).is_none(), "{odd}");
        }
    }
}
