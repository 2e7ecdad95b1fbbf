//! Bytes of one remote file, from a beginning on: from a bucket, or from a web server.
//!
//! Owns the requests and the versions by which a file is recognised. A request that fails is sorted into a
//! [`Problem`] and not repeated here.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Client, StatusCode, Url};

use super::problem::Problem;
use crate::fetch;

/// No validator that a server states is longer.
const LONGEST_VALIDATOR: usize = 1024;

/// Where the bytes of one file come from.
pub(super) enum Source {
    Bucket(Arc<dyn ObjectStore>, object_store::path::Path),
    Web(Client, Url),
}

/// Which state of a file it is, in the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// A tag of exactly these bytes.
    Tag(String),
    /// A tag of something that means the same.
    WeakTag(String),
    /// When it was last modified.
    Modified(String),
}

/// What is wanted of a file.
pub(super) enum Wanted<'a> {
    /// All of it, unless it is the version that is here already.
    Whole { known: Option<&'a Version> },
    /// What follows these bytes of that version.
    Rest { offset: u64, version: &'a Version },
}

/// What a server answers.
pub(super) enum Answer {
    /// The version that is known already is still the right one.
    Unchanged,
    /// Bytes.
    Bytes(Body),
}

/// The beginning of a body.
pub(super) struct Body {
    /// The position of its first byte in the file.
    pub(super) start: u64,
    /// The length of the whole file, if the server says so.
    pub(super) size: Option<u64>,
    pub(super) version: Option<Version>,
    pub(super) bytes: BoxStream<'static, Result<Bytes, Problem>>,
}

impl Version {
    /// Writes it on one line.
    pub(super) fn to_line(&self) -> String {
        match self {
            Self::Tag(text) => format!("tag {text}"),
            Self::WeakTag(text) => format!("weak {text}"),
            Self::Modified(text) => format!("modified {text}"),
        }
    }

    /// Reads what [`Version::to_line`] wrote.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let (kind, text) = line.split_once(' ')?;
        let text = text.to_owned();
        match kind {
            "tag" => Some(Self::Tag(text)),
            "weak" => Some(Self::WeakTag(text)),
            "modified" => Some(Self::Modified(text)),
            _ => None,
        }
    }

    /// Reads an entity tag of an object in a bucket; some listings leave the quotes out.
    pub(super) fn of_object(tag: Option<&str>) -> Option<Self> {
        let tag = tag.filter(|tag| !tag.is_empty() && tag.len() < LONGEST_VALIDATOR)?;
        Some(Self::Tag(if tag.starts_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }))
    }

    fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let field = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let field = |name| field(name).filter(|text| text.len() < LONGEST_VALIDATOR).map(str::to_owned);
        match field(ETAG) {
            Some(tag) if tag.starts_with('"') => Some(Self::Tag(tag)),
            Some(tag) if tag.starts_with("W/") => Some(Self::WeakTag(tag)),
            _ => field(LAST_MODIFIED).map(Self::Modified),
        }
    }

    /// Returns whether bytes can go on where others stopped, sure to belong together.
    pub(super) fn can_resume(&self) -> bool {
        !matches!(self, Self::WeakTag(_))
    }
}

impl Source {
    /// Asks once.
    pub(super) async fn open(&self, wanted: Wanted<'_>) -> Result<Answer, Problem> {
        match self {
            Self::Bucket(store, path) => object(store.as_ref(), path, wanted).await,
            Self::Web(client, url) => page(client, url, wanted).await,
        }
    }

    /// Returns whether the file is there.
    pub(super) async fn exists(&self) -> Result<bool, Problem> {
        let result = match self {
            Self::Bucket(store, path) => match store.head(path).await.map_err(Problem::from) {
                // The answer to this kind of request has no body; another kind says the reason.
                Err(Problem::Denied { .. } | Problem::Status { .. } | Problem::Region) => {
                    self.open(Wanted::Whole { known: None }).await.map(drop)
                }
                result => result.map(drop),
            },
            // Many servers refuse HEAD; the body is not read.
            Self::Web(..) => self.open(Wanted::Whole { known: None }).await.map(drop),
        };
        match result {
            Ok(()) => Ok(true),
            Err(Problem::Missing) => Ok(false),
            Err(problem) => Err(problem),
        }
    }
}

async fn object(
    store: &dyn ObjectStore,
    path: &object_store::path::Path,
    wanted: Wanted<'_>,
) -> Result<Answer, Problem> {
    let mut options = GetOptions::default();
    match wanted {
        Wanted::Whole { known: Some(Version::Tag(tag)) } => options.if_none_match = Some(tag.clone()),
        Wanted::Whole { .. } => {}
        Wanted::Rest { offset, version } => {
            options.range = Some(GetRange::Offset(offset));
            if let Version::Tag(tag) = version {
                options.if_match = Some(tag.clone());
            }
        }
    }
    let result = match store.get_opts(path, options).await {
        Ok(result) => result,
        Err(object_store::Error::NotModified { .. }) => return Ok(Answer::Unchanged),
        Err(error) => return Err(error.into()),
    };
    Ok(Answer::Bytes(Body {
        start: result.range.start,
        size: Some(result.meta.size),
        version: Version::of_object(result.meta.e_tag.as_deref()),
        bytes: result.into_stream().map(|bytes| bytes.map_err(Problem::from)).boxed(),
    }))
}

async fn page(client: &Client, url: &Url, wanted: Wanted<'_>) -> Result<Answer, Problem> {
    let mut headers = HeaderMap::new();
    // Lengths and positions are those of the file itself; a server must not compress it on the way.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut set = |name: HeaderName, text: &str| {
        HeaderValue::from_str(text).is_ok_and(|value| {
            headers.insert(name, value);
            true
        })
    };
    let offset = match &wanted {
        Wanted::Whole { known: None } => 0,
        Wanted::Whole { known: Some(Version::Tag(tag) | Version::WeakTag(tag)) } => {
            set(IF_NONE_MATCH, tag);
            0
        }
        Wanted::Whole { known: Some(Version::Modified(date)) } => {
            set(IF_MODIFIED_SINCE, date);
            0
        }
        Wanted::Rest { offset, version: Version::Tag(validator) | Version::Modified(validator) }
            if set(IF_RANGE, validator) && set(RANGE, &format!("bytes={offset}-")) =>
        {
            *offset
        }
        Wanted::Rest { .. } => 0,
    };
    let response = client.get(url.clone()).headers(headers).send().await?;
    let status = response.status();
    let headers = response.headers();
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let (start, size) = match status {
        StatusCode::NOT_MODIFIED => return Ok(Answer::Unchanged),
        StatusCode::OK => (0, length),
        StatusCode::PARTIAL_CONTENT if offset > 0 => {
            let text = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            (offset, range(text, offset).ok_or(Problem::WrongRange)?)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(Problem::WrongRange),
        status if status.is_redirection() => return Err(Problem::Redirect),
        status => return Err(Problem::of_status(status.as_u16(), None).asking(wait(headers))),
    };
    let version = Version::of_headers(headers);
    let bytes = response.bytes_stream().map(|bytes| bytes.map_err(Problem::from)).boxed();
    Ok(Answer::Bytes(Body { start, size, version, bytes }))
}

/// Returns for how many seconds a server asks not to be asked again.
fn wait(headers: &HeaderMap) -> u32 {
    fetch::wait(headers).map_or(0, |wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX))
}

/// Reads `bytes 4-9/10`, which must begin at `offset`, and returns the length of the whole file if it is stated.
fn range(text: &str, offset: u64) -> Option<Option<u64>> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    if first.trim().parse() != Ok(offset) {
        return None;
    }
    if total == "*" {
        return Some(None);
    }
    // A part that ends before the file does would be taken for a cut connection.
    let total: u64 = total.trim().parse().ok()?;
    (last < total).then_some(Some(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        for (text, found) in [
            ("bytes 4-9/10", Some(Some(10))),
            ("bytes 4-9/*", Some(None)),
            ("bytes 3-9/10", None),
            ("bytes 4-10/10", None),
            ("bytes */10", None),
            ("", None),
        ] {
            assert_eq!(range(text, 4), found, "{text}");
        }
    }

    #[test]
    fn versions_read_back_and_say_what_they_are_good_for() {
        let headers = |pairs: &[(HeaderName, &str)]| {
            HeaderMap::from_iter(
                pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())),
            )
        };
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        for (headers, version, resumes) in [
            (headers(&[(ETAG, "\"a b\""), (LAST_MODIFIED, date)]), Some(Version::Tag("\"a b\"".into())), true),
            (headers(&[(ETAG, "W/\"a\"")]), Some(Version::WeakTag("W/\"a\"".into())), false),
            (headers(&[(LAST_MODIFIED, date)]), Some(Version::Modified(date.into())), true),
            (headers(&[]), None, false),
        ] {
            let found = Version::of_headers(&headers);
            assert_eq!(found, version);
            let Some(version) = version else { continue };
            assert_eq!(version.can_resume(), resumes);
            assert_eq!(Version::of_line(&version.to_line()), Some(version));
        }
    }
}
