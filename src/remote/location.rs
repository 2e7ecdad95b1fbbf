//! Where a file of another machine is: a bucket and a key, or an address of the web.
//!
//! Owns which URLs are understood, and how they are shown: without users, passwords and query strings, which may be
//! secrets. Must not connect to anything.

use std::fmt;

use thiserror::Error;
use url::Url;

use crate::config::FileReference;
use crate::hint::Hint;

/// Kinds of URLs, for people.
const KNOWN: &str = "s3://, gs://, https:// and http://";

/// No file system takes longer names.
const LONGEST_NAME: usize = 255;

/// A service that keeps objects in buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Amazon S3, or what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
}

/// A file or folder of another machine.
///
/// Accepted: `s3://bucket/models/net.onnx`, `gs://bucket/photos/`, `https://host/net.onnx?version=2`. Refused:
/// `mlflow://run/net.onnx`, `s3://key:secret@bucket/net.onnx`, `s3://bucket//net.onnx`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location(Box<Kind>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Bucket { service: Service, bucket: String, key: String },
    Web(Url),
}

/// A URL that names nothing that could be reached.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LocationError {
    /// Nobody knows the scheme.
    #[error("`{reference}` is a URL of an unknown kind")]
    Scheme {
        /// The URL.
        reference: FileReference,
    },
    /// There is no bucket in it.
    #[error("`{reference}` names no bucket")]
    NoBucket {
        /// The URL.
        reference: FileReference,
    },
    /// A bucket that there cannot be.
    #[error("`{reference}` names a bucket that there cannot be: their names have letters, digits, `.`, `-` and `_`")]
    Bucket {
        /// The URL.
        reference: FileReference,
    },
    /// It holds credentials, which would be seen wherever the configuration is seen.
    #[error("a URL of a bucket must not hold credentials")]
    Credentials,
    /// A key that cannot be asked for.
    #[error(
        "`{reference}` has a key that is not supported: it has an empty component, `.`, `..` or a control character"
    )]
    Key {
        /// The URL.
        reference: FileReference,
    },
    /// No URL at all.
    #[error("`{reference}` is no URL")]
    Web {
        /// The text.
        reference: FileReference,
    },
    /// An address as it is shown, without its query.
    #[error("`{reference}` stands for an address with a query, which may be secret and is written down nowhere")]
    Hidden {
        /// The text.
        reference: FileReference,
    },
    /// A place that takes no files.
    #[error("results cannot be brought to `{reference}`: only buckets and folders take them")]
    NoTarget {
        /// The text.
        reference: FileReference,
    },
}

impl Hint for LocationError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Scheme { .. } => vec![format!("give a local path, or a URL that begins with {KNOWN}")],
            Self::NoBucket { .. } => vec!["write it as `s3://BUCKET/KEY` or `gs://BUCKET/KEY`".to_owned()],
            Self::Credentials => vec![
                "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `GOOGLE_APPLICATION_CREDENTIALS`, and write \
                 `s3://BUCKET/KEY` or `gs://BUCKET/KEY`"
                    .to_owned(),
            ],
            Self::Bucket { .. } | Self::Key { .. } | Self::Web { .. } => Vec::new(),
            Self::Hidden { .. } => vec!["write the whole address in its place".to_owned()],
            Self::NoTarget { .. } => {
                vec!["give `s3://BUCKET/KEY`, `gs://BUCKET/KEY`, or a folder of this machine".to_owned()]
            }
        }
    }
}

impl Location {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Nothing can be reached by it.
    pub fn parse(reference: &FileReference) -> Result<Self, LocationError> {
        let (scheme, rest) = reference.as_str().split_once("://").unwrap_or_default();
        let service = match scheme.to_ascii_lowercase().as_str() {
            "s3" => Service::S3,
            "gs" | "gcs" => Service::Gs,
            "http" | "https" => {
                let url = Url::parse(reference.as_str()).ok().filter(Url::has_host);
                let mut url = url.ok_or_else(|| LocationError::Web { reference: reference.clone() })?;
                if reference.as_str().ends_with(FileReference::HIDDEN) {
                    return Err(LocationError::Hidden { reference: reference.clone() });
                }
                url.set_fragment(None);
                return Ok(Self::of(Kind::Web(url)));
            }
            _ => return Err(LocationError::Scheme { reference: reference.clone() }),
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // The reference is not repeated in the error: it holds the secret.
        if bucket.contains('@') {
            return Err(LocationError::Credentials);
        }
        if bucket.is_empty() {
            return Err(LocationError::NoBucket { reference: reference.clone() });
        }
        if !bucket.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) {
            return Err(LocationError::Bucket { reference: reference.clone() });
        }
        let location = Self::of(Kind::Bucket { service, bucket: bucket.to_owned(), key: key.to_owned() });
        location.checked().ok_or_else(|| LocationError::Key { reference: reference.clone() })
    }

    /// Takes a URL apart that results are uploaded to.
    ///
    /// # Errors
    /// Nothing can be uploaded there.
    pub fn parse_target(reference: &FileReference) -> Result<Self, LocationError> {
        let no_target = || LocationError::NoTarget { reference: reference.clone() };
        if !reference.is_remote() {
            return Err(no_target());
        }
        match Self::parse(reference) {
            Ok(location) if location.service().is_some() => Ok(location),
            Ok(_) | Err(LocationError::Scheme { .. } | LocationError::Web { .. }) => Err(no_target()),
            Err(error) => Err(error),
        }
    }

    fn of(kind: Kind) -> Self {
        Self(Box::new(kind))
    }

    /// Returns the location if its key can be asked for.
    fn checked(self) -> Option<Self> {
        if let Kind::Bucket { key, .. } = self.kind()
            && !key.is_empty()
        {
            let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(|c: char| c.is_control());
            let key = key.strip_suffix('/').unwrap_or(key);
            return key.split('/').all(is_plain).then_some(self);
        }
        Some(self)
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }

    /// Returns the service whose buckets it is in; nothing for the web.
    pub(super) fn service(&self) -> Option<Service> {
        match self.kind() {
            Kind::Bucket { service, .. } => Some(*service),
            Kind::Web(_) => None,
        }
    }

    /// Returns whether it can only be a folder.
    pub(super) fn is_folder(&self) -> bool {
        matches!(self.kind(), Kind::Bucket { key, .. } if key.is_empty() || key.ends_with('/'))
    }

    /// Returns the whole URL, secrets included: what tells it from all others. Only digests of it may be kept.
    pub(super) fn identity(&self) -> String {
        match self.kind() {
            Kind::Bucket { service, bucket, key } => format!("{}://{bucket}/{key}", service.scheme()),
            Kind::Web(url) => url.as_str().to_owned(),
        }
    }

    /// Returns the last component as a name for a file on this machine.
    pub fn name(&self) -> String {
        let name = match self.kind() {
            Kind::Bucket { bucket, key, .. } => {
                let key = key.trim_end_matches('/');
                if key.is_empty() { bucket.clone() } else { key.rsplit('/').next().unwrap_or_default().to_owned() }
            }
            Kind::Web(url) => {
                let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                decoded(last)
            }
        };
        let name = name.replace(['/', '\0'], "_");
        let mut start = name.len().saturating_sub(LONGEST_NAME);
        while !name.is_char_boundary(start) {
            start += 1;
        }
        // The end is kept: it says what kind of file it is.
        match name.get(start..).unwrap_or_default() {
            "" | "." | ".." => "file".to_owned(),
            name => name.to_owned(),
        }
    }

    /// Returns the file at `relative`, seen from this file's folder; nothing if there can be none.
    pub fn beside(&self, relative: &str) -> Option<Self> {
        match self.kind() {
            Kind::Bucket { service, bucket, key } => {
                let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
                let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
                for part in relative.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => drop(parts.pop()?),
                        part => parts.push(part),
                    }
                }
                let mut key = parts.join("/");
                if relative.ends_with('/') {
                    key.push('/');
                }
                Self::of(Kind::Bucket { service: *service, bucket: bucket.clone(), key }).checked()
            }
            Kind::Web(url) => {
                let mut url = url.clone();
                url.set_query(None);
                let mut path = url.path_segments_mut().ok()?;
                path.pop();
                for part in relative.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => drop(path.pop()),
                        part => drop(path.push(part)),
                    }
                }
                drop(path);
                Some(Self::of(Kind::Web(url)))
            }
        }
    }

    /// Returns the file at `relative` in this folder; nothing if there can be none.
    pub fn below(&self, relative: &str) -> Option<Self> {
        match self.kind() {
            Kind::Bucket { service, bucket, key } => {
                let mut key = key.trim_end_matches('/').to_owned();
                if !key.is_empty() {
                    key.push('/');
                }
                key.push_str(relative);
                Self::of(Kind::Bucket { service: *service, bucket: bucket.clone(), key }).checked()
            }
            Kind::Web(_) => None,
        }
    }
}

impl Service {
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
        }
    }
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let pair = after.get(..2).filter(|_| first == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Prints the URL without what may be secret.
impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&FileReference::new(self.identity()), formatter)
    }
}

/// As it prints, so that no log shows more.
impl fmt::Debug for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        Location::parse(&FileReference::new(text)).unwrap()
    }

    #[test]
    fn urls_are_taken_apart_or_refused() {
        for (text, name) in [
            ("s3://bucket/a b/é?#.onnx", "é?#.onnx"),
            ("gcs://bucket", "bucket"),
            ("gs://bucket/photos/", "photos"),
            ("https://host/a/net%20one.onnx?token=x", "net one.onnx"),
            ("http://host/", "file"),
            ("http://host/a%2Fb", "a_b"),
        ] {
            assert_eq!(location(text).name(), name, "{text}");
        }
        for (text, error) in [
            ("mlflow://run/a", "`mlflow://run/a` is a URL of an unknown kind"),
            ("s3:///a", "`s3:///a` names no bucket"),
            ("s3://AKIA:secret@bucket/a", "a URL of a bucket must not hold credentials"),
            ("https://", "`https://` is no URL"),
        ] {
            assert_eq!(Location::parse(&FileReference::new(text)).unwrap_err().to_string(), error);
        }
        for text in ["s3://a b/c", "gs://é/c", "s3://a:1/c"] {
            assert!(matches!(Location::parse(&FileReference::new(text)), Err(LocationError::Bucket { .. })), "{text}");
        }
        for text in ["s3://b/a//b", "s3://b/a/../b", "s3://b/a\nb", "s3://b//"] {
            assert!(matches!(Location::parse(&FileReference::new(text)), Err(LocationError::Key { .. })), "{text}");
        }
        let long = location(&format!("s3://b/{}.onnx", "é".repeat(300))).name();
        assert!(long.len() <= LONGEST_NAME && long.ends_with("é.onnx"));
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let text = "https://user:password@host/net.onnx?X-Amz-Signature=secret#part";
        assert_eq!(location(text).to_string(), "https://host/net.onnx?…");
        assert_eq!(format!("{:?}", location(text)), "https://host/net.onnx?…");
        assert!(location(text).identity().contains("secret"));
    }

    #[test]
    fn neighbours_are_found_and_stay_in_their_place() {
        for (from, relative, to) in [
            ("s3://b/c/config.yaml", "models/é.onnx", Some("s3://b/c/models/é.onnx")),
            ("s3://b/c/config.yaml", "../m.onnx", Some("s3://b/m.onnx")),
            ("s3://b/config.yaml", "../m.onnx", None),
            ("s3://b/config.yaml", "photos/", Some("s3://b/photos/")),
            ("https://h/c/config.yaml?q", "m n.onnx", Some("https://h/c/m%20n.onnx")),
            ("https://h/c/d/config.yaml", "../m.onnx", Some("https://h/c/m.onnx")),
        ] {
            let found = location(from).beside(relative).map(|location| location.to_string());
            assert_eq!(found.as_deref(), to, "{from} {relative}");
        }
        assert_eq!(location("gs://b/r/").below("x/m.blob").unwrap().to_string(), "gs://b/r/x/m.blob");
        assert_eq!(location("gs://b").below("m.blob").unwrap().to_string(), "gs://b/m.blob");
    }

    #[test]
    fn results_go_to_buckets_only() {
        let target = |text: &str| Location::parse_target(&FileReference::new(text));
        assert!(target("s3://b/results").is_ok());
        for text in ["https://h/results", "ftp://h/results", "results", "file:///results"] {
            assert!(matches!(target(text), Err(LocationError::NoTarget { .. })), "{text}");
        }
    }
}
