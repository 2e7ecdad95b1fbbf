//! pip's settings: its configuration files and `PIP_*` variables (pip documentation, "Configuration").
//!
//! A later file wins over an earlier one, the section of the command over `[global]`, a variable over all files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
// A length of time from `core`: this layer knows no clock.
use core::time::Duration;

use url::Url;

use super::{Base, Environment, SourcesError};

/// What pip would use to download.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pip {
    /// `index-url`, then every `extra-index-url`.
    pub indexes: Vec<Base>,
    /// The folders of `find-links`; web pages among them are left out.
    pub find_links: Vec<PathBuf>,
    /// `no-index`: only `find-links` count.
    pub indexes_are_ignored: bool,
    /// `cert`: a file of certificates to trust.
    pub certificates: Option<PathBuf>,
    /// `timeout`: how long a connection may be silent.
    pub timeout: Option<Duration>,
    /// `trusted-host`: hosts, with or without a port, whose certificates are not checked.
    pub trusted_hosts: Vec<String>,
    /// `proxy`: through which indexes are reached.
    pub proxy: Option<Base>,
}

/// Returns the paths of pip's files that may exist, the weakest first.
pub fn files(environment: &Environment) -> Vec<PathBuf> {
    let path = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = path("PIP_CONFIG_FILE");
    // pip's own way of switching all files off.
    if named.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let mut files = Vec::new();
    let system =
        environment.get("XDG_CONFIG_DIRS").filter(|value| !value.is_empty()).map_or("/etc/xdg", String::as_str);
    files.extend(system.split(':').map(|folder| Path::new(folder).join("pip/pip.conf")));
    files.push(PathBuf::from("/etc/pip.conf"));
    if let Some(home) = path("HOME") {
        files.push(home.join(".pip/pip.conf"));
        files.push(path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("pip/pip.conf"));
    }
    files.extend(path("VIRTUAL_ENV").map(|folder| folder.join("pip.conf")));
    files.extend(named);
    files
}

impl Pip {
    /// Settles the texts of pip's files, the weakest first, and the environment.
    ///
    /// # Errors
    /// An index that is no web address, a timeout that is no number.
    pub fn settle<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        environment: &Environment,
    ) -> Result<Self, SourcesError> {
        let mut values = BTreeMap::new();
        for text in texts {
            let sections = sections(text);
            // `install` is what people set; `download` is what we do.
            for section in ["global", "install", "download"] {
                values.extend(
                    sections.get(section).into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())),
                );
            }
        }
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix("PIP_")
                && !value.is_empty()
            {
                values.insert(normal(key), value.clone());
            }
        }
        Self::of(&values)
    }

    fn of(values: &BTreeMap<String, String>) -> Result<Self, SourcesError> {
        let words = |key: &str| values.get(key).into_iter().flat_map(|value| value.split_whitespace());
        let refused = |key: &str| SourcesError::Pip { key: key.to_owned() };
        let base = |key: &'static str| move |text: &str| Base::parse(text).ok_or_else(|| refused(key));
        let mut pip = Self::default();
        pip.indexes.extend(words("index-url").take(1).map(base("index-url")).collect::<Result<Vec<_>, _>>()?);
        pip.indexes.extend(words("extra-index-url").map(base("extra-index-url")).collect::<Result<Vec<_>, _>>()?);
        pip.find_links = words("find-links").filter_map(folder).collect();
        pip.indexes_are_ignored = values.get("no-index").is_some_and(|value| is_true(value));
        pip.certificates = values.get("cert").map(|value| PathBuf::from(value.trim()));
        if let Some(text) = values.get("timeout").or_else(|| values.get("default-timeout")) {
            let seconds = text.trim().parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            pip.timeout = Some(seconds.ok_or_else(|| refused("timeout"))?);
        }
        pip.trusted_hosts = words("trusted-host").map(str::to_ascii_lowercase).collect();
        pip.proxy = values.get("proxy").map(|text| proxy(text).ok_or_else(|| refused("proxy"))).transpose()?;
        Ok(pip)
    }

    /// Returns whether certificates of the host of `url` are not checked.
    pub fn trusts(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let with_port = url.port().map(|port| format!("{host}:{port}"));
        self.trusted_hosts.iter().any(|trusted| *trusted == host || Some(trusted) == with_port.as_ref())
    }
}

/// Reads a proxy: a URL, or `[user:password@]host:port`.
pub(super) fn proxy(text: &str) -> Option<Base> {
    let text = text.trim();
    if text.contains("://") { Base::parse(text) } else { Base::parse(&format!("http://{text}")) }
}

/// Returns the folder that an entry of `find-links` names.
fn folder(entry: &str) -> Option<PathBuf> {
    match entry.split_once("://") {
        None => Some(PathBuf::from(entry)),
        Some(("file", _)) => url::Url::parse(entry).ok()?.to_file_path().ok(),
        Some(_) => None,
    }
}

/// Reads pip's words for true.
fn is_true(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "yes" | "true" | "on" | "y" | "t")
}

/// Returns a key as pip compares it: `--Index_URL` is `index-url`.
fn normal(key: &str) -> String {
    key.trim().to_ascii_lowercase().replace('_', "-").trim_start_matches("--").to_owned()
}

type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Reads a file of sections, keys and values; a value goes on over indented lines.
fn sections(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut section = String::new();
    let mut key: Option<String> = None;
    for line in text.lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = name.0.trim().to_owned();
            key = None;
        } else if line.starts_with([' ', '\t'])
            && let Some(key) = &key
        {
            let value = sections.entry(section.clone()).or_default().entry(key.clone()).or_default();
            value.push('\n');
            value.push_str(content);
        } else if let Some((name, value)) = content.split_once(['=', ':']) {
            let name = normal(name);
            sections.entry(section.clone()).or_default().insert(name.clone(), value.trim().to_owned());
            key = Some(name);
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_stronger_setting_wins() {
        let system = "[global]\nindex-url = https://system/simple\ntimeout = 7\ncert=/etc/ca.pem\n";
        let user = "# mine\n[global]\nindex_url: https://u:p@user/simple\nextra-index-url =\n    https://one/simple\n    # no\n    \
                    https://two/simple\n[download]\nno-index = yes\n[list]\nno-index = no\n";
        let pip = Pip::settle(
            [system, user],
            &environment(&[("PIP_TIMEOUT", "1.5"), ("PIP_FIND_LINKS", "/w file:///v http://x/")]),
        )
        .unwrap();
        let indexes: Vec<_> = pip.indexes.iter().map(Base::to_string).collect();
        assert_eq!(indexes, ["https://user/simple", "https://one/simple", "https://two/simple"]);
        assert!(pip.indexes_are_ignored);
        assert_eq!(pip.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(pip.find_links, [Path::new("/w"), Path::new("/v")]);
        assert_eq!(pip.certificates.as_deref(), Some(Path::new("/etc/ca.pem")));
        let pip = Pip::settle([user], &environment(&[("PIP_INDEX_URL", "https://env/simple"), ("PIP_NO_INDEX", "0")]))
            .unwrap();
        assert_eq!(pip.indexes[0].to_string(), "https://env/simple");
        assert!(!pip.indexes_are_ignored);
        assert_eq!(Pip::settle([], &environment(&[("PIP_INDEX_URL", "")])).unwrap(), Pip::default());
    }

    #[test]
    fn hosts_are_trusted_with_or_without_port() {
        let pip = Pip::settle([], &environment(&[("PIP_TRUSTED_HOST", "a b:8080")])).unwrap();
        for (base, trusted) in
            [("https://a/x", true), ("https://a:1/", true), ("https://b:8080/", true), ("https://b/", false)]
        {
            assert_eq!(pip.trusts(Base::parse(base).unwrap().url()), trusted, "{base}");
        }
    }

    #[test]
    fn bad_settings_are_refused_without_their_secrets() {
        for (name, value) in [
            ("PIP_INDEX_URL", "ftp://u:s3cret@a/"),
            ("PIP_EXTRA_INDEX_URL", "https://a s3cret"),
            ("PIP_TIMEOUT", "soon"),
            ("PIP_TIMEOUT", "-1"),
        ] {
            let error = Pip::settle([], &environment(&[(name, value)])).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(&normal(name.trim_start_matches("PIP_"))) && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn files_are_looked_for_where_pip_does() {
        let found = files(&environment(&[("HOME", "/home/a"), ("VIRTUAL_ENV", "/v"), ("PIP_CONFIG_FILE", "/x.conf")]));
        let expected = [
            "/etc/xdg/pip/pip.conf",
            "/etc/pip.conf",
            "/home/a/.pip/pip.conf",
            "/home/a/.config/pip/pip.conf",
            "/v/pip.conf",
            "/x.conf",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(files(&environment(&[("PIP_CONFIG_FILE", "/dev/null")])).is_empty());
    }
}
