//! A scripted HTTP server on loopback: says what a test tells it to say, and remembers what it was asked.

#![allow(dead_code, reason = "each suite uses another part of it")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path with its query.
    pub path: String,
    /// How many requests for the same path came before.
    pub before: usize,
    /// Header fields by their name in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    /// Returns the first byte asked for, if only the rest from there was; its end may be named.
    pub fn offset(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    then: Then,
}

/// What follows the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection is closed.
    Close,
    /// Nothing, and the connection stays open.
    Silence,
}

impl Reply {
    /// A reply with a length that fits.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![("Content-Length".to_owned(), body.len().to_string())];
        Self { status, headers, body, then: Then::Close }
    }

    /// The whole of `content`, or the part asked for, as a well-behaved server gives it.
    pub fn file(request: &Request, content: &[u8], tag: &str) -> Self {
        let fresh = request.headers.get("if-range").is_none_or(|wanted| wanted == tag);
        let reply = match request.offset().filter(|_| fresh) {
            Some(offset) if offset >= content.len() => Self::new(416, ""),
            Some(offset) => Self::new(206, &content[offset..])
                .header("Content-Range", &format!("bytes {offset}-{}/{}", content.len() - 1, content.len())),
            None => Self::new(200, content),
        };
        if tag.is_empty() { reply } else { reply.header("ETag", tag) }
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says nothing about the length; the end of the connection ends the body.
    pub fn without_length(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "Content-Length");
        self
    }

    /// Breaks off after `count` bytes of the body.
    pub fn cut(mut self, count: usize) -> Self {
        self.body.truncate(count);
        self
    }

    /// Falls silent after what there is of the body.
    pub fn silent(mut self) -> Self {
        self.then = Then::Silence;
        self
    }
}

/// A running server. It ends with the test's process.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server that answers as `script` says.
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, seen) = (script.clone(), seen.clone());
                thread::spawn(move || serve(stream, &*script, &seen));
            }
        });
        Self { address, requests }
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Returns `host:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

/// Returns the URL of a port of loopback that nobody listens on.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    format!("http://{}/", listener.local_addr().expect("address"))
}

fn serve(mut stream: TcpStream, script: &dyn Fn(&Request) -> Reply, seen: &Mutex<Vec<Request>>) {
    let Some(mut request) = read(&stream) else { return };
    {
        let mut seen = seen.lock().expect("no panic");
        request.before = seen.iter().filter(|other| other.path == request.path).count();
        seen.push(request.clone());
    }
    let reply = script(&request);
    let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // A client that has heard enough hangs up; that is its right.
    let _ =
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&reply.body)).and_then(|()| stream.flush());
    if reply.then == Then::Silence {
        // Until the client hangs up.
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { path, before: 0, headers })
}
