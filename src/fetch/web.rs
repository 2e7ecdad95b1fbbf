//! HTTP: the clients for each kind, and one request.

use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER,
};
use reqwest::{Certificate, Client, ClientBuilder, Proxy, StatusCode, Url, redirect};

use super::FetchOptions;
use super::problem::{FetchError, Problem};
use crate::disk;
use crate::sources::{Base, Credentials, Sources};
use crate::units::ByteSize;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(20);

/// No file of certificates is larger.
const CERTIFICATES_LIMIT: ByteSize = ByteSize::new(16 << 20);

/// The clients. They differ in proxies, certificates and patience.
pub(super) struct Clients {
    plain: Client,
    pip: Client,
    pip_trusting: Client,
    /// For the bases that apt reaches through a proxy of its own.
    apt: Vec<(Base, Client)>,
}

/// Which settings a request follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// The environment's proxies.
    Plain,
    /// pip's settings.
    Pip,
    /// apt's settings.
    Apt,
}

/// The beginning of a body.
pub(super) struct Answer {
    /// Whether the body begins at the offset asked for, or at the very beginning.
    pub(super) start: Start,
    /// A strong entity tag.
    pub(super) tag: Option<String>,
    /// The address that answered, after redirects.
    pub(super) address: Url,
    /// The bytes.
    pub(super) body: BoxStream<'static, Result<Bytes, Problem>>,
}

/// Where a body begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At the first byte of the file.
    Beginning,
    /// At the offset asked for.
    Offset,
}

/// One request.
pub(super) struct Request<'a> {
    pub(super) manner: Manner,
    pub(super) base: &'a Base,
    pub(super) url: Url,
    pub(super) accept: Option<&'static str>,
    pub(super) offset: ByteSize,
    pub(super) if_range: Option<&'a str>,
    /// The pinned size of the whole file.
    pub(super) size: Option<ByteSize>,
}

impl Clients {
    pub(super) fn new(sources: &Sources, options: &FetchOptions) -> Result<Self, FetchError> {
        let plain = build(builder(options.silence))?;
        let patience = sources.pip.timeout.unwrap_or(options.silence);
        let pip = |trusting: bool| {
            let mut client = builder(patience).tls_danger_accept_invalid_certs(trusting);
            if let Some(path) = &sources.pip.certificates {
                client = client.tls_certs_merge(certificates(path)?);
            }
            if let Some(proxy) = &sources.pip.proxy {
                client = client.proxy(through(proxy)?);
            }
            build(client)
        };
        let mut apt = Vec::new();
        for base in sources.mirrors.debian.values().flatten() {
            if let Some(proxy) = sources.apt_proxies.proxy(base) {
                apt.push((base.clone(), build(builder(options.silence).proxy(through(proxy)?))?));
            }
        }
        Ok(Self { plain, pip: pip(false)?, pip_trusting: pip(true)?, apt })
    }

    fn client(&self, sources: &Sources, manner: Manner, base: &Base, url: &Url) -> &Client {
        match manner {
            Manner::Plain => &self.plain,
            // An index that is trusted by its name vouches for no other host that its pages lead to.
            Manner::Pip if sources.pip.trusts(url) => &self.pip_trusting,
            Manner::Pip => &self.pip,
            Manner::Apt => {
                self.apt.iter().find(|(proxied, _)| proxied == base).map_or(&self.plain, |(_, client)| client)
            }
        }
    }

    /// Sends a request and checks the head of the answer.
    pub(super) async fn get(&self, sources: &Sources, request: Request<'_>) -> Result<Answer, Problem> {
        let client = self.client(sources, request.manner, request.base, &request.url);
        let mut headers = HeaderMap::new();
        // The pinned bytes are the file's own; a server must not compress them on the way.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(accept) = request.accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        let offset = request.offset.bytes();
        if offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            headers.insert(RANGE, range);
            if let Some(tag) = request.if_range.and_then(|tag| HeaderValue::from_str(tag).ok()) {
                headers.insert(IF_RANGE, tag);
            }
        }
        let credentials = request.base.credentials().filter(|_| request.base.shares_origin_with(&request.url));
        let message = authorised(client.get(request.url.clone()).headers(headers), credentials);
        let response = message.send().await?;
        tracing::debug!(base = %request.base, path = request.url.path(), offset, status = %response.status(), "asked");
        let start = match response.status() {
            StatusCode::OK => Start::Beginning,
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                check_range(response.headers(), request.offset, request.size)?;
                Start::Offset
            }
            status => return Err(Problem::Status { code: status.as_u16(), wait: wait(response.headers()) }),
        };
        if let (Start::Beginning, Some(expected), Some(length)) = (start, request.size, response.content_length())
            && length != expected.bytes()
        {
            let found = ByteSize::new(length);
            return Err(Problem::Content(crate::digest::Mismatch::Size { expected, found }));
        }
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.filter(|tag| tag.starts_with('"') && tag.len() < 1024).map(str::to_owned);
        let address = response.url().clone();
        let body = response.bytes_stream().map(|bytes| bytes.map_err(Problem::from)).boxed();
        Ok(Answer { start, tag, address, body })
    }
}

fn authorised(message: reqwest::RequestBuilder, credentials: Option<&Credentials>) -> reqwest::RequestBuilder {
    match credentials {
        Some(credentials) => message.basic_auth(credentials.user(), credentials.password()),
        None => message,
    }
}

/// Returns what every client of this program has in common; `silence` is how long a connection may say nothing.
pub(crate) fn builder(silence: Duration) -> ClientBuilder {
    let policy = redirect::Policy::custom(|attempt| {
        let before = attempt.previous().last().map(Url::scheme);
        if attempt.previous().len() > 10 || (before == Some("https") && attempt.url().scheme() != "https") {
            attempt.error("not followed")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .user_agent(concat!("modelconverter/", env!("CARGO_PKG_VERSION")))
        .redirect(policy)
        .referer(false)
        .connect_timeout(CONNECT)
        .read_timeout(silence)
}

fn build(builder: ClientBuilder) -> Result<Client, FetchError> {
    builder.build().map_err(|error| FetchError::Setup {
        what: "encrypted connections",
        source: std::io::Error::other(super::problem::innermost(&error)),
    })
}

fn through(proxy: &Base) -> Result<Proxy, FetchError> {
    let refused = |_| FetchError::Setup { what: "a proxy", source: std::io::Error::other(proxy.to_string()) };
    let built = Proxy::all(proxy.url().clone()).map_err(refused)?;
    Ok(match proxy.credentials() {
        Some(credentials) => built.basic_auth(credentials.user(), credentials.password().unwrap_or_default()),
        None => built,
    })
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let refused = || FetchError::Certificates { path: path.to_owned() };
    let bytes = disk::read(path, CERTIFICATES_LIMIT).map_err(|_| refused())?;
    Certificate::from_pem_bundle(&bytes).map_err(|_| refused())
}

/// Checks that an answer of a part begins at the offset asked for and belongs to a file of the pinned size.
fn check_range(headers: &HeaderMap, offset: ByteSize, size: Option<ByteSize>) -> Result<(), Problem> {
    let text = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = || Problem::WrongRange { expected: offset, found: text.chars().take(100).collect() };
    let (range, total) = text.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).ok_or_else(refused)?;
    let (first, last) = range.split_once('-').ok_or_else(refused)?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let ends_well = |last: u64| size.is_none_or(|size| last < size.bytes());
    let fits = number(first) == Some(offset.bytes())
        && number(last).is_some_and(ends_well)
        && (total == "*" || size.is_none_or(|size| number(total) == Some(size.bytes())));
    if fits { Ok(()) } else { Err(refused()) }
}

/// Returns for how long a server asks not to be asked again in `Retry-After`: seconds, or a date, which is compared with
/// the server's own clock where its answer tells that.
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |text| {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        u64::try_from(date.as_second()).ok().map(Duration::from_secs)
    };
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let here = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    let now = text(DATE).and_then(date).or_else(here)?;
    Some(date(asked)?.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: reqwest::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_the_range_asked_for_is_taken() {
        let size = Some(ByteSize::new(10));
        for (text, taken) in [
            ("bytes 4-9/10", true),
            ("bytes 4-9/*", true),
            ("bytes 4-7/10", true),
            ("bytes 3-9/10", false),
            ("bytes 4-10/10", false),
            ("bytes 4-9/11", false),
            ("bytes */10", false),
            ("bytes 4-/10", false),
            ("items 4-9/10", false),
            ("", false),
        ] {
            let checked = check_range(&headers(CONTENT_RANGE, text), ByteSize::new(4), size);
            assert_eq!(checked.is_ok(), taken, "{text}");
        }
        assert!(check_range(&HeaderMap::new(), ByteSize::new(4), size).is_err());
    }

    #[test]
    fn servers_may_say_how_long_to_wait() {
        assert_eq!(wait(&headers(RETRY_AFTER, "7")), Some(Duration::from_secs(7)));
        assert_eq!(wait(&headers(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT")), Some(Duration::ZERO));
        assert_eq!(wait(&headers(RETRY_AFTER, "soon")), None);
        let mut both = headers(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:05 GMT");
        both.insert(DATE, HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT"));
        assert_eq!(wait(&both), Some(Duration::from_secs(5)), "by the server's clock");
    }
}
