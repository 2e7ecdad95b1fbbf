//! Remote files against servers that share no code with us: S3 by moto, which checks signatures and rights and is filled
//! and read by boto3; Google Cloud Storage and web servers at the wire.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/onnx_builder.rs"]
mod onnx_builder;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/server.rs"]
mod server;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use modelconverter::config::FileReference;
use modelconverter::fetch::Network;
use modelconverter::hint::Hint;
use modelconverter::progress::Silent;
use modelconverter::remote::{Found, Location, Remote, RemoteError, RemoteOptions, Variables};
use onnx_builder::{FLOAT, Graph, Model, Node, Tensor, sizes};
use proxy::Proxy;
use serde_json::{Value, json};
use server::{Reply, Request, Server};
use support::{fail, folder, peer, program, root, said, shared_store, succeed};

/// A server of buckets, and boto3 beside it.
struct Buckets {
    endpoint: String,
    accounts: Value,
    boto: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _child: Child,
}

impl Buckets {
    /// The one of this process that checks who asks; each test has keys of its own.
    fn get() -> &'static Self {
        static BUCKETS: OnceLock<Buckets> = OnceLock::new();
        BUCKETS.get_or_init(|| Self::start(&[]))
    }

    fn start(words: &[&str]) -> Self {
        let mut child = Command::new(peer("MODELCONVERTER_TEST_PYTHON"))
            .arg(root().join("tests/support/buckets.py"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let facts: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let endpoint = facts["endpoint"].as_str().unwrap().to_owned();
        let boto = Mutex::new((input, output));
        Self { endpoint, accounts: facts["accounts"].clone(), boto, _child: child }
    }

    fn ask(&self, command: Value) -> Value {
        let mut boto = self.boto.lock().unwrap();
        writeln!(boto.0, "{command}").unwrap();
        let mut line = String::new();
        boto.1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command}: {error}: {line}"))
    }

    fn put(&self, key: &str, content: &[u8]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        self.ask(json!(["put", "models", key, file.path()]));
    }

    fn read(&self, bucket: &str, key: &str) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        self.ask(json!(["get", bucket, key, file.path()]));
        fs::read(file.path()).unwrap()
    }

    fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        serde_json::from_value(self.ask(json!(["list", bucket, prefix]))["keys"].clone()).unwrap()
    }

    fn variables(&self, account: &str, endpoint: &str) -> Vec<(String, String)> {
        let key = |index: usize| self.accounts[account][index].as_str().unwrap().to_owned();
        [
            ("AWS_ACCESS_KEY_ID", key(0)),
            ("AWS_SECRET_ACCESS_KEY", key(1)),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

fn options(cache: &Path, variables: Vec<(String, String)>) -> RemoteOptions {
    RemoteOptions {
        folder: Some(cache.join("remote")),
        variables: Variables::new(variables),
        first_wait: Duration::from_millis(1),
        ..RemoteOptions::default()
    }
}

fn remote(cache: &Path, variables: Vec<(String, String)>) -> Remote<'static> {
    Remote::new(options(cache, variables), &Silent)
}

/// Does not try again.
fn impatient(cache: &Path, variables: Vec<(String, String)>) -> Remote<'static> {
    Remote::new(RemoteOptions { retries: 0, ..options(cache, variables) }, &Silent)
}

fn offline(cache: &Path) -> Remote<'static> {
    Remote::new(RemoteOptions { network: Network::Offline, ..options(cache, Vec::new()) }, &Silent)
}

fn at(url: &str) -> Location {
    Location::parse(&FileReference::new(url)).unwrap()
}

/// Bytes that do not repeat, so that a part in the wrong place shows.
fn content(length: u32, seed: u32) -> Vec<u8> {
    (0..length)
        .flat_map(|index| (index.wrapping_mul(2_654_435_761) ^ seed).to_le_bytes())
        .take(length as usize)
        .collect()
}

/// The error, its causes and its hints as people see them.
fn told(error: &RemoteError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}; {}", error.hints().join("; "))
}

#[test]
fn objects_of_any_name_come_whole_and_once() {
    let (buckets, cache) = (Buckets::get(), folder());
    let proxy = Proxy::start(&buckets.endpoint);
    let remote = remote(cache.path(), buckets.variables("reader", &proxy.endpoint()));
    for name in ["net.onnx", "a b+c/é ü/net.onnx", "q?x=1#y%20&z.onnx", "empty.onnx"] {
        let key = format!("names/{name}");
        let bytes = content(if name.starts_with("empty") { 0 } else { 5000 }, key.len() as u32);
        buckets.put(&key, &bytes);
        let location = at(&format!("s3://models/{key}"));
        assert_eq!(remote.look(&location).unwrap(), Some(Found::File), "{key}");
        let path = remote.fetch(&location).unwrap();
        assert!(fs::read(&path).unwrap() == bytes, "{key}");
        assert_eq!(path.file_name().unwrap().to_str(), key.rsplit('/').next());
        proxy.answered();
        assert_eq!(remote.fetch(&location).unwrap(), path);
        assert!(proxy.answered() < 1500, "{key}: it did not come again");
    }
}

#[test]
fn a_cut_connection_goes_on_where_it_stopped() {
    let (buckets, cache) = (Buckets::get(), folder());
    let bytes = content(3_000_000, 1);
    buckets.put("cut/net.onnx", &bytes);
    let location = at("s3://models/cut/net.onnx");
    let proxy = Proxy::start(&buckets.endpoint);
    let variables = buckets.variables("reader", &proxy.endpoint());

    // A process that gives up, and another one that goes on.
    proxy.cut(&[1_000_000]);
    let error = impatient(cache.path(), variables.clone()).fetch(&location).unwrap_err();
    assert!(matches!(error, RemoteError::Read { .. }) && error.is_about_the_machine(), "{}", told(&error));
    proxy.cut(&[800_000, 700_000]);
    let path = remote(cache.path(), variables).fetch(&location).unwrap();
    assert!(fs::read(path).unwrap() == bytes);

    assert!(proxy.answered() < 3_200_000, "no byte came twice");
    let asked = proxy.asked();
    let ranges = asked.iter().filter(|line| line.to_ascii_lowercase().starts_with("range: bytes=")).count();
    assert_eq!(ranges, 3, "{asked:?}");
    assert!(asked.iter().any(|line| line.to_ascii_lowercase().starts_with("if-match: ")), "{asked:?}");
    assert!(fs::read_dir(cache.path().join("remote/partial")).unwrap().next().is_none());
}

#[test]
fn the_rest_of_another_file_is_not_taken_for_the_rest() {
    let (buckets, cache) = (Buckets::get(), folder());
    let (old, new) = (content(600_000, 1), content(600_000, 2));
    buckets.put("changed/net.onnx", &old);
    let location = at("s3://models/changed/net.onnx");
    let proxy = Proxy::start(&buckets.endpoint);
    let variables = buckets.variables("reader", &proxy.endpoint());
    proxy.cut(&[300_000]);
    impatient(cache.path(), variables.clone()).fetch(&location).unwrap_err();
    buckets.put("changed/net.onnx", &new);
    let remote = impatient(cache.path(), variables);
    let path = remote.fetch(&location).unwrap();
    assert!(fs::read(&path).unwrap() == new);
    // And a file that changed after it came comes again, while the old one stays for whoever has it.
    buckets.put("changed/net.onnx", &old);
    assert!(fs::read(remote.fetch(&location).unwrap()).unwrap() == old);
    assert!(fs::read(path).unwrap() == new);
}

#[test]
fn many_who_want_the_same_download_it_once() {
    let (buckets, cache) = (Buckets::get(), folder());
    let bytes = content(2_000_000, 3);
    buckets.put("many/net.onnx", &bytes);
    let proxy = Proxy::start(&buckets.endpoint);
    let variables = buckets.variables("reader", &proxy.endpoint());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let path = remote(cache.path(), variables.clone()).fetch(&at("s3://models/many/net.onnx")).unwrap();
                assert!(fs::read(path).unwrap() == bytes);
            });
        }
    });
    assert!(proxy.answered() < 2_100_000);
}

#[test]
fn refusals_say_what_is_wrong_and_which_variable_helps() {
    let (buckets, cache) = (Buckets::get(), folder());
    buckets.put("refused/net.onnx", b"x");
    let with = |pairs: &[(&str, &str)]| {
        let mut variables = buckets.variables("writer", &buckets.endpoint);
        variables.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        variables
    };
    let there = "s3://models/refused/net.onnx";
    let owner = buckets.variables("owner", &buckets.endpoint);
    let nobody = vec![("AWS_ENDPOINT_URL_S3".to_owned(), server::nobody())];
    for (variables, url, parts, machine) in [
        (with(&[("AWS_SECRET_ACCESS_KEY", "wrong")]), there, ["SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"], true),
        (with(&[("AWS_ACCESS_KEY_ID", "AKIAWRONG")]), there, ["InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"], true),
        (with(&[]), there, ["AccessDenied", "AWS_ACCESS_KEY_ID"], true),
        (owner.clone(), "s3://no-such-bucket/net.onnx", ["no such bucket", "correct the name"], false),
        (owner.clone(), "s3://models/refused/none.onnx", ["there is no such file", "correct the URL"], false),
        (nobody, there, ["no connection", "AWS_ENDPOINT_URL_S3"], true),
    ] {
        let error = impatient(cache.path(), variables).fetch(&at(url)).unwrap_err();
        for part in [url, parts[0], parts[1]] {
            assert!(told(&error).contains(part), "{part} in {}", told(&error));
        }
        assert_eq!(error.is_about_the_machine(), machine, "{}", told(&error));
    }
    let asks = |url: &str| remote(cache.path(), owner.clone()).look(&at(url)).unwrap();
    assert_eq!(asks("s3://models/refused/none.onnx"), None);
    assert_eq!(asks("s3://models/refused"), Some(Found::Folder));
    let error = impatient(cache.path(), with(&[])).look(&at(there)).unwrap_err();
    assert!(told(&error).contains("AccessDenied"), "{}", told(&error));
}

#[test]
fn folders_come_in_order_up_to_the_number_asked_for() {
    let (buckets, cache) = (Buckets::get(), folder());
    for name in ["b.JPG", "a é.png", "c.npy", "notes.txt", "deep/d.png"] {
        buckets.put(&format!("photos/{name}"), name.as_bytes());
    }
    buckets.put("photos/", b"");
    let proxy = Proxy::start(&buckets.endpoint);
    let remote = remote(cache.path(), buckets.variables("reader", &proxy.endpoint()));
    let names = |folder: &Path| {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let location = at("s3://models/photos");
    assert_eq!(remote.look(&location).unwrap(), Some(Found::Folder));
    let two = remote.fetch_folder(&location, Some(2)).unwrap();
    assert_eq!(names(&two), ["a é.png", "b.JPG"]);
    assert_eq!(two.file_name().unwrap(), "photos");
    assert_eq!(fs::read(two.join("a é.png")).unwrap(), "a é.png".as_bytes());
    let all = remote.fetch_folder(&at("s3://models/photos/"), None).unwrap();
    assert_eq!(names(&all), ["a é.png", "b.JPG", "c.npy", "notes.txt"]);
    // A listing tells that nothing changed.
    proxy.asked();
    assert_eq!(remote.fetch_folder(&location, Some(2)).unwrap(), two);
    let requests = proxy.asked().iter().filter(|line| line.starts_with("GET ")).count();
    assert_eq!(requests, 1);
    // Where there are only folders, what is in them is meant.
    buckets.put("only/deep/er/x.png", b"x");
    let deep = remote.fetch_folder(&at("s3://models/only"), None).unwrap();
    assert_eq!(fs::read(deep.join("deep/er/x.png")).unwrap(), b"x");
    let error = remote.fetch_folder(&at("s3://models/none/"), None).unwrap_err();
    assert!(told(&error).contains("there is no such file"), "{}", told(&error));

    let offline = offline(cache.path());
    assert_eq!(offline.look(&location).unwrap(), Some(Found::Folder));
    assert_eq!(offline.fetch_folder(&location, Some(2)).unwrap(), two);
    assert!(matches!(offline.fetch_folder(&location, Some(1)), Err(RemoteError::Offline { .. })));
}

#[test]
fn offline_what_came_before_is_used_and_the_rest_is_named() {
    let (buckets, cache) = (Buckets::get(), folder());
    buckets.put("offline/net.onnx", b"net");
    let location = at("s3://models/offline/net.onnx");
    let online = remote(cache.path(), buckets.variables("reader", &buckets.endpoint));
    let path = online.fetch(&location).unwrap();
    let offline = offline(cache.path());
    assert_eq!(offline.look(&location).unwrap(), Some(Found::File));
    assert_eq!(offline.fetch(&location).unwrap(), path);
    for error in [
        offline.fetch(&at("s3://models/other/net.onnx")).unwrap_err(),
        offline.look(&at("https://host/net.onnx?token=secret")).unwrap_err(),
        offline.check_target(&at("s3://results/r")).unwrap_err(),
    ] {
        let text = told(&error);
        assert!(text.starts_with("offline") && text.contains("--offline") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn results_are_written_whole_and_targets_are_checked_without_a_trace() {
    let (buckets, cache) = (Buckets::get(), folder());
    let remote = remote(cache.path(), buckets.variables("owner", &buckets.endpoint));
    for (name, length) in [("é small.blob", 1000), ("empty.blob", 0), ("large.blob", (9 << 20) + 1)] {
        let (file, bytes) = (cache.path().join(name), content(length, 7));
        fs::write(&file, &bytes).unwrap();
        let size = remote.upload(&file, &at(&format!("s3://results/written/{name}"))).unwrap();
        assert_eq!(size.bytes(), u64::from(length));
        assert!(buckets.read("results", &format!("written/{name}")) == bytes, "{name}");
    }
    let target = at("s3://results/checked");
    remote.check_target(&target).unwrap();
    let writer = impatient(cache.path(), buckets.variables("writer", &buckets.endpoint));
    writer.check_target(&target).unwrap();
    let file = cache.path().join("empty.blob");
    writer.upload(&file, &at("s3://results/by-writer/x.blob")).unwrap();
    let reader = impatient(cache.path(), buckets.variables("reader", &buckets.endpoint));
    for error in [
        reader.check_target(&target).unwrap_err(),
        reader.upload(&file, &at("s3://results/checked/x.blob")).unwrap_err(),
        remote.check_target(&at("s3://no-such-bucket/r")).unwrap_err(),
    ] {
        let text = told(&error);
        assert!(text.starts_with("cannot write to `s3://"), "{text}");
        assert!(text.contains("AccessDenied") || text.contains("no such bucket"), "{text}");
    }
    assert_eq!(buckets.ask(json!(["list", "results", "checked"])), json!({ "keys": [], "uploads": 0 }));
}

#[test]
fn public_buckets_are_read_without_a_signature() {
    let server = Server::start(|request: &Request| match request.headers.get("authorization") {
        Some(_) => Reply::new(400, ""),
        None => Reply::file(request, b"public", "\"1\"").header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
    });
    let cache = folder();
    let variables = vec![("AWS_S3_ENDPOINT_URL".to_owned(), server.url(""))];
    let path = remote(cache.path(), variables).fetch(&at("s3://public/net.onnx")).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"public");
    assert_eq!(server.requests()[0].path, "/public/net.onnx");
}

#[test]
fn google_cloud_storage_speaks_the_same_language() {
    let bytes = content(400_000, 9);
    let served = bytes.clone();
    let server = Server::start(move |request: &Request| {
        let date = ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT");
        if request.path.contains("list-type=2") {
            let object = |key: &str| {
                format!(
                    "<Contents><Key>photos/{key}</Key><LastModified>2015-10-21T07:28:00Z</LastModified>\
                     <ETag>\"{key}\"</ETag><Size>1</Size></Contents>"
                )
            };
            let list = format!("<ListBucketResult>{}{}</ListBucketResult>", object("b.png"), object("a.png"));
            return Reply::new(200, list).header("Content-Type", "application/xml");
        }
        // Its client encodes more than it must.
        let path = request.path.replace("%2F", "/").replace("%2E", ".");
        match path.as_str() {
            "/bucket/big%20net.onnx" => {
                let reply = Reply::file(request, &served, "\"g1\"").header(date.0, date.1);
                if request.before == 1 { reply.cut(150_000) } else { reply }
            }
            "/bucket/photos/a.png" | "/bucket/photos/b.png" => {
                Reply::new(200, "x").header("ETag", "\"p\"").header(date.0, date.1)
            }
            "/secret/net.onnx" => Reply::new(403, "<Error><Code>AccessDenied</Code></Error>"),
            _ => Reply::new(404, "<Error><Code>NoSuchKey</Code></Error>"),
        }
    });
    let cache = folder();
    let remote = remote(cache.path(), vec![("STORAGE_EMULATOR_HOST".to_owned(), server.host())]);
    let location = at("gs://bucket/big net.onnx");
    assert_eq!(remote.look(&location).unwrap(), Some(Found::File));
    assert!(fs::read(remote.fetch(&location).unwrap()).unwrap() == bytes);
    let requests = server.requests();
    let resumed = requests.iter().find(|request| request.headers.contains_key("range")).unwrap();
    assert_eq!(resumed.headers["range"].split('-').next(), Some("bytes=150000"));
    let folder = remote.fetch_folder(&at("gcs://bucket/photos"), None).unwrap();
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
    let error = remote.fetch(&at("gs://secret/net.onnx")).unwrap_err();
    assert!(told(&error).contains("GOOGLE_APPLICATION_CREDENTIALS"), "{}", told(&error));
    assert!(server.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn credentials_of_google_that_cannot_be_read_are_named() {
    let cache = folder();
    let file = cache.path().join("key.json");
    for text in [None, Some("{\"type\": \"service_account\", \"private_key\": \"hush\"}")] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let variables = vec![("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), file.display().to_string())];
        let error = remote(cache.path(), variables).fetch(&at("gs://bucket/net.onnx")).unwrap_err();
        let text = told(&error);
        assert!(text.contains("credentials on this machine") && !text.contains("hush"), "{text}");
    }
}

/// Downloads `net.onnx?key=secret` from a web server of which the first body is cut, and returns the requests.
fn over_the_web(bytes: &[u8], reply: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static) -> Vec<Request> {
    let served = bytes.to_vec();
    let server = Server::start(move |request: &Request| {
        let reply = reply(request, &served);
        if request.before == 0 { reply.cut(100_000) } else { reply }
    });
    let cache = folder();
    let remote = remote(cache.path(), Vec::new());
    let location = at(&server.url("net.onnx?key=secret"));
    for _ in 0..2 {
        let path = remote.fetch(&location).unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
        assert_eq!(path.file_name().unwrap(), "net.onnx");
    }
    let mut files = vec![cache.path().to_owned()];
    while let Some(path) = files.pop() {
        assert!(!path.to_str().unwrap().contains("secret"));
        match fs::read_dir(&path) {
            Ok(entries) => files.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => assert!(!String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("secret"), "{path:?}"),
        }
    }
    server.requests()
}

fn unless_known(request: &Request, field: &str, value: &str, reply: Reply) -> Reply {
    if request.headers.get(field).is_some_and(|known| known == value) { Reply::new(304, "") } else { reply }
}

#[test]
fn web_servers_of_all_kinds_serve() {
    let bytes = content(250_000, 4);
    // Ranges and tags.
    let requests = over_the_web(&bytes, |request, bytes| {
        unless_known(request, "if-none-match", "\"1\"", Reply::file(request, bytes, "\"1\""))
    });
    assert_eq!(requests.len(), 3);
    assert_eq!((requests[1].offset(), requests[1].headers["if-range"].as_str()), (Some(100_000), "\"1\""));
    assert_eq!(requests[2].headers["if-none-match"], "\"1\"");
    // Ranges and dates.
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    let requests = over_the_web(&bytes, move |request, bytes| {
        let fresh = request.headers.get("if-range").is_none_or(|known| known == date);
        let reply = match request.offset().filter(|_| fresh) {
            Some(offset) => Reply::new(206, &bytes[offset..])
                .header("Content-Range", &format!("bytes {offset}-{}/{}", bytes.len() - 1, bytes.len())),
            None => Reply::new(200, bytes),
        };
        unless_known(request, "if-modified-since", date, reply.header("Last-Modified", date))
    });
    assert_eq!((requests[1].offset(), requests.len()), (Some(100_000), 3));
    // No ranges: it begins again.
    let requests = over_the_web(&bytes, |request, bytes| {
        let reply = Reply::new(200, bytes).header("ETag", "\"1\"");
        unless_known(request, "if-none-match", "\"1\"", reply)
    });
    assert_eq!(requests.len(), 3);
    // Weak tags tell that nothing changed, and not that bytes fit together.
    let requests = over_the_web(&bytes, |request, bytes| {
        let reply = Reply::new(200, bytes).header("ETag", "W/\"1\"");
        unless_known(request, "if-none-match", "W/\"1\"", reply)
    });
    assert_eq!((requests[1].offset(), requests.len()), (None, 3));
    // Nothing at all: it comes again each time.
    let requests = over_the_web(&bytes, |_, bytes| Reply::new(200, bytes));
    assert_eq!((requests[1].offset(), requests.len()), (None, 3));
}

#[test]
fn answers_of_web_servers_are_told_without_secrets() {
    let server = Server::start(|request: &Request| match request.path.split('?').next() {
        Some("/denied") => Reply::new(403, "secret"),
        Some("/busy") => Reply::new(503, ""),
        Some("/loop") => Reply::new(302, "").header("Location", "/loop?key=secret"),
        Some("/moved") => Reply::new(302, "").header("Location", "/there"),
        Some("/there") => Reply::new(200, "moved"),
        _ => Reply::new(404, ""),
    });
    let cache = folder();
    let remote = impatient(cache.path(), Vec::new());
    let url = |path: &str| server.url(&format!("{path}?key=secret")).replace("http://", "http://user:secret@");
    for (path, part) in [
        ("denied", "the server refuses; ask the server's owner"),
        ("busy", "the server answered 503"),
        ("loop", "a redirect that is not followed"),
        ("none", "there is no such file; correct the URL"),
    ] {
        let text = told(&remote.fetch(&at(&url(path))).unwrap_err());
        assert!(text.contains(part) && text.contains("?…") && !text.contains("secret"), "{text}");
    }
    assert_eq!(fs::read(remote.fetch(&at(&url("moved"))).unwrap()).unwrap(), b"moved");
    assert_eq!(remote.look(&at(&url("none"))).unwrap(), None);
    assert!(server.requests()[0].headers["authorization"].starts_with("Basic "));
}

#[test]
fn web_servers_that_are_busy_are_asked_again() {
    let server = Server::start(|request: &Request| match (request.path.as_str(), request.before) {
        ("/busy" | "/late", 0) | ("/busy", 1) => Reply::new(503, ""),
        ("/slow", 0) => Reply::new(429, "").header("Retry-After", "1"),
        ("/dated", 0) => Reply::new(503, "")
            .header("Date", "Wed, 21 Oct 2015 07:28:00 GMT")
            .header("Retry-After", "Wed, 21 Oct 2015 07:28:01 GMT"),
        ("/tomorrow", _) => Reply::new(503, "").header("Retry-After", "86400"),
        ("/broken", _) => Reply::new(500, ""),
        ("/timed", 0) => Reply::new(408, ""),
        ("/none", _) => Reply::new(404, ""),
        _ => Reply::new(200, "net"),
    });
    let cache = folder();
    let remote = remote(cache.path(), Vec::new());
    for path in ["busy", "slow", "dated", "timed"] {
        let begun = std::time::Instant::now();
        assert_eq!(remote.look(&at(&server.url(path))).unwrap(), Some(Found::File), "{path}");
        assert!(
            !["slow", "dated"].contains(&path) || begun.elapsed() >= Duration::from_secs(1),
            "it was asked too early"
        );
    }
    assert_eq!(fs::read(remote.fetch(&at(&server.url("late"))).unwrap()).unwrap(), b"net");
    for (path, part, count) in [
        ("broken", "the server answered 500; the server is busy or out of order", 5),
        ("tomorrow", "the server answered 503; the server asks to wait 86400 seconds", 1),
        ("none", "there is no such file", 1),
    ] {
        for asked in [1, 2] {
            let location = at(&server.url(path));
            let error = if asked == 1 { remote.look(&location).err() } else { remote.fetch(&location).err() };
            let text = error.map_or_else(|| "there is no such file".to_owned(), |error| told(&error));
            assert!(text.contains(part), "{path}: {text}");
            let requests = server.requests().iter().filter(|request| request.path.ends_with(path)).count();
            assert_eq!(requests, count * asked, "{path}");
        }
    }
}

#[test]
fn results_reach_google_cloud_storage() {
    // Google's XML interface is that of S3 but for the signature.
    let (buckets, cache) = (Buckets::start(&["--open"]), folder());
    let remote = remote(cache.path(), vec![("STORAGE_EMULATOR_HOST".to_owned(), buckets.endpoint.clone())]);
    remote.check_target(&at("gs://results/google")).unwrap();
    for (name, length) in [("small.blob", 1000), ("large.blob", 9 << 20)] {
        let (file, bytes) = (cache.path().join(name), content(length, 11));
        fs::write(&file, &bytes).unwrap();
        let location = at(&format!("gs://results/google/{name}"));
        remote.upload(&file, &location).unwrap();
        assert!(buckets.read("results", &format!("google/{name}")) == bytes, "{name}");
        assert!(fs::read(remote.fetch(&location).unwrap()).unwrap() == bytes, "{name}");
    }
    assert_eq!(buckets.ask(json!(["list", "results", ""]))["uploads"], 0);
}

/// A network with its weights in `weights/w.bin`, as two files.
fn network() -> (Vec<u8>, Vec<u8>) {
    let weights: Vec<u8> = (0..4 * 3 * 9).flat_map(|index| (index as f32 / 64.0 - 0.8).to_le_bytes()).collect();
    let convolution =
        Node::new("Conv", &["img", "w"], &["out"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1]);
    let graph = Graph::new()
        .node(convolution.named("convolution"))
        .initializer(Tensor::external("w", FLOAT, &[4, 3, 3, 3], &[("location", "weights/w.bin")]))
        .input("img", FLOAT, &sizes(&[1, 3, 16, 16]))
        .output("out", FLOAT, &sizes(&[1, 4, 16, 16]));
    (Model::new(graph).opset(12).bytes(), weights)
}

/// The program in `folder`, with a cache of its own there.
fn in_folder(folder: &Path, variables: &[(String, String)]) -> Command {
    let mut command = program(folder, &folder.join("cache"));
    command.envs(variables.iter().map(|(name, value)| (name, value))).env("NO_PROXY", "127.0.0.1");
    command.args(["--json", "convert", "rvc2"]);
    command
}

/// Fails if one of `secrets` is in a file below `folder` or in the name of one.
fn search(folder: &Path, secrets: &[&str]) {
    let mut paths = vec![folder.to_owned()];
    while let Some(path) = paths.pop() {
        let content = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap_or_default() };
        for secret in secrets {
            assert!(!path.to_str().unwrap().contains(secret), "{secret} in the name {path:?}");
            let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {path:?}");
        }
        if path.is_dir() && !path.is_symlink() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn a_configuration_in_a_bucket_names_files_beside_it() {
    let (buckets, folder) = (Buckets::get(), folder());
    let (model, weights) = network();
    buckets.put("conf/nets/net é.onnx", &model);
    buckets.put("conf/nets/weights/w.bin", &weights);
    buckets.put("conf/photos/1.png", b"x");
    buckets.put("conf/photos/2.png", b"x");
    let text = "input_model: nets/net é.onnx\ncalibration: {path: photos, max_images: 1}\n\
                rvc2: {mo_args: [--transformations_config=t.json]}\n";
    buckets.put("conf/conf.yaml", text.as_bytes());
    // What is not there may be here.
    fs::write(folder.path().join("t.json"), "[]").unwrap();
    let variables = buckets.variables("reader", &buckets.endpoint);
    let plan = || {
        let mut command = in_folder(folder.path(), &variables);
        succeed(command.args(["--dry-run", "--output-dir", "r", "--path", "s3://models/conf/conf.yaml"]))
    };
    let text = plan();
    let plan_of: Value = serde_json::from_str(&text).unwrap();
    let mounts: Vec<(String, &str)> = plan_of["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| (mount["source"].as_str().unwrap().to_owned(), mount["target"].as_str().unwrap()))
        .collect();
    let source =
        |target: &str| &mounts.iter().find(|mount| mount.1 == target).unwrap_or_else(|| panic!("{mounts:?}")).0;
    assert_eq!(fs::read(source("/inputs/0/net é.onnx")).unwrap(), model);
    assert_eq!(fs::read(source("/inputs/0/weights/w.bin")).unwrap(), weights);
    assert_eq!(fs::read_dir(source("/inputs/1/photos")).unwrap().count(), 1);
    assert!(source("/inputs/2/t.json").starts_with(folder.path().to_str().unwrap()));
    assert_eq!(plan(), text, "a second time it is the same");
    // And without network.
    let mut command = in_folder(folder.path(), &[]);
    let offline =
        succeed(command.args(["--offline", "--dry-run", "--output-dir", "r", "--path", "s3://models/conf/conf.yaml"]));
    assert_eq!(offline, text);
    let mut command = in_folder(folder.path(), &[]);
    let error = said(&command.args(["--offline", "--dry-run", "--path", "s3://models/else.yaml"]).output().unwrap());
    assert!(error.contains("offline, and `s3://models/else.yaml` was not downloaded before"), "{error}");
}

#[test]
fn urls_stay_urls_in_what_is_kept_and_said() {
    let (buckets, folder) = (Buckets::get(), folder());
    let (model, weights) = network();
    for (key, bytes) in [
        ("stay/conf/net.onnx", model.as_slice()),
        ("stay/conf/weights/w.bin", &weights),
        ("stay/conf/page.onnx", b"<html>"),
        ("stay/cal/1.png", b"x"),
        ("stay/conf/conf.yaml", b"input_model: net.onnx\ncalibration: {path: ../cal}\n"),
    ] {
        buckets.put(key, bytes);
    }
    let empty_zip = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    let server = Server::start(move |_: &Request| Reply::new(200, empty_zip.clone()).header("ETag", "\"1\""));
    let zip = server.url("cal.zip?sig=hush");
    let variables = buckets.variables("reader", &buckets.endpoint);
    let begin = |words: &[&str]| {
        let mut command = program(folder.path(), &folder.path().join("cache"));
        command.envs(variables.iter().map(|(name, value)| (name, value))).env("NO_PROXY", "127.0.0.1");
        command.arg("--json").args(words).args(["--path", "s3://models/stay/conf/conf.yaml"]);
        command
    };
    let read = |text: String| {
        let cache = folder.path().join("cache").display().to_string();
        (serde_json::from_str::<Value>(&text).unwrap(), text.contains(&cache) || text.contains("hush"))
    };

    let (resolved, is_dead) = read(succeed(&mut begin(&["config", "resolve", "rvc2"])));
    assert_eq!(resolved["config"]["input_model"], "s3://models/stay/conf/net.onnx");
    assert_eq!(resolved["config"]["inputs"][0]["calibration"]["path"], "s3://models/stay/cal");
    assert!(!is_dead, "{resolved}");
    let (resolved, is_dead) = read(succeed(begin(&["config", "resolve", "rvc2"]).args(["calibration.path", &zip])));
    let shown = zip.replace("sig=hush", "…");
    assert_eq!(resolved["config"]["inputs"][0]["calibration"]["path"], shown.as_str());
    assert!(!is_dead, "{resolved}");

    // What the container writes into `config.yaml`.
    let (plan, _) = read(succeed(&mut begin(&["convert", "rvc2", "--dry-run"])));
    assert_eq!(plan["order"]["host-paths"]["/inputs/1/cal"], "s3://models/stay/cal");
    let (plan, _) = read(succeed(begin(&["convert", "rvc2", "--dry-run"]).args(["calibration.path", &zip])));
    assert_eq!(plan["order"]["host-paths"]["/inputs/1/cal.zip"], shown.as_str());
    let text = fail(begin(&["config", "resolve", "rvc2"]).args(["calibration.path", &shown]), 1);
    assert!(text.contains("with a query, which may be secret") && text.contains("the whole address"), "{text}");

    let page = "s3://models/stay/conf/page.onnx";
    let text = fail(begin(&["config", "resolve", "rvc2"]).args(["input_model", page]), 1);
    assert!(text.contains(page) && !text.contains("/cache/"), "{text}");
}

#[test]
fn archives_and_samples_come_from_buckets_and_archives_go_there() {
    let (buckets, folder) = (Buckets::get(), folder());
    let (model, weights) = network();
    buckets.put("wrap/net.onnx", &model);
    buckets.put("wrap/weights/w.bin", &weights);
    buckets.put("wrap/page.onnx", b"<html>");
    buckets.put("wrap/photos/1.raw", &[7; 12]);
    buckets.put("wrap/photos/2.raw", &[9; 12]);
    let run = |account: &str, words: &[&str]| {
        let mut command = program(folder.path(), &folder.path().join("cache"));
        command.envs(buckets.variables(account, &buckets.endpoint)).env("NO_PROXY", "127.0.0.1").args(words);
        command
    };
    let url = "s3://models/wrap/net.onnx";
    succeed(&mut run("reader", &["archive", url]));
    let local = fs::read(folder.path().join("net.tar.xz")).unwrap();
    for (place, key) in
        [("s3://results/wrap/x.tar.xz", "wrap/x.tar.xz"), ("s3://results/wrap/v1", "wrap/v1/net.tar.xz")]
    {
        let text = succeed(&mut run("owner", &["archive", url, "--save-path", place]));
        assert!(text.contains(&format!("s3://results/{key}")), "{text}");
        assert!(buckets.read("results", key) == local, "{key}");
    }
    // With its weights.
    let listing = Command::new("tar").args(["-tf", "net.tar.xz"]).current_dir(folder.path()).output().unwrap();
    assert!(said(&listing).contains("weights/w.bin"), "{}", said(&listing));
    for (account, words, code, parts) in [
        ("reader", vec!["archive", "s3://models/wrap/none.onnx"], 1, ["wrap/none.onnx`", "there is no such file"]),
        ("reader", vec!["archive", "s3://models/wrap/page.onnx"], 1, ["s3://models/wrap/page.onnx", "an HTML page"]),
        ("reader", vec!["archive", url, "--save-path", "s3://results/r"], 3, ["s3://results/r", "AccessDenied"]),
        ("reader", vec!["archive", url, "--save-path", "https://h/r"], 1, ["https://h/r", "only buckets"]),
    ] {
        let text = fail(&mut run(account, &words), code);
        assert!(parts.iter().all(|part| text.contains(part)) && !text.contains("/cache/"), "{text}");
    }

    let prepare = |from: &str, out: &str| {
        let words = ["calibration", "prepare", from, "--shape", "1,3,2,2", "--out", out];
        run("reader", &words).output().unwrap()
    };
    let output = prepare("s3://models/wrap/photos/1.raw", "1.raw");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read(folder.path().join("1.raw")).unwrap(), [7; 12]);
    let output = prepare("s3://models/wrap/photos", "all");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read_dir(folder.path().join("all")).unwrap().count(), 2);
    for (from, part) in [("none.raw", "there is no such file"), ("net.onnx", "s3://models/wrap/net.onnx")] {
        let output = prepare(&format!("s3://models/wrap/{from}"), "x.raw");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(part) && !said(&output).contains("/cache/"), "{}", said(&output));
    }
}

#[test]
fn both_halves_of_a_remote_ir_are_fetched() {
    let server = Server::start(|_: &Request| Reply::new(200, "<net/>").header("ETag", "\"1\""));
    let folder = folder();
    let mut command = in_folder(folder.path(), &[]);
    let text = fail(command.args(["--dry-run", "--path", &server.url("m/net.xml?token=hush")]), 1);
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert!(paths.contains(&"/m/net.bin?token=hush".to_owned()), "{paths:?}\n{text}");
    let mut command = program(folder.path(), &folder.path().join("cache"));
    command.env("NO_PROXY", "127.0.0.1").args(["archive", &server.url("a/net.xml?token=hush")]);
    let text = fail(&mut command, 1);
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert!(paths.contains(&"/a/net.bin?token=hush".to_owned()), "{paths:?}\n{text}");
    assert!(text.contains("/a/net.xml?…") && !text.contains("/cache/"), "{text}");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_made() {
    let (buckets, folder) = (Buckets::get(), folder());
    let (model, weights) = network();
    fs::create_dir(folder.path().join("weights")).unwrap();
    fs::write(folder.path().join("weights/w.bin"), weights).unwrap();
    fs::write(folder.path().join("net.onnx"), model).unwrap();
    let (reader, owner) = ("reader", "owner");
    for (account, words, code, parts) in [
        (reader, vec!["--path", "s3://models/none.yaml"], 1, ["`s3://models/none.yaml` does not exist", ""]),
        (reader, vec!["--path", "s3://none/conf.yaml"], 1, ["no such bucket", "correct the name of the bucket"]),
        (reader, vec!["--path", "mlflow://run/net.onnx"], 1, ["a URL of an unknown kind", "s3://"]),
        (
            reader,
            vec!["--path", "s3://id:hush@models/net.onnx"],
            1,
            ["must not hold credentials", "AWS_SECRET_ACCESS_KEY"],
        ),
        (
            reader,
            vec!["--path", "net.onnx", "output_remote_url", "ftp://host/r"],
            1,
            ["impossible `output_remote_url`", "only buckets and folders take them"],
        ),
        (
            reader,
            vec!["--path", "net.onnx", "output_remote_url", "net.onnx/r"],
            3,
            ["could not be copied to", "Not a directory"],
        ),
        (
            reader,
            vec!["--path", "net.onnx", "output_remote_url", "s3://results/r"],
            3,
            ["AccessDenied", "AWS_ACCESS_KEY_ID"],
        ),
        (owner, vec!["--path", "net.onnx", "output_remote_url", "s3://none/r"], 3, ["no such bucket", ""]),
        (reader, vec!["--path", "net.onnx", "--offline", "output_remote_url", "s3://results/r"], 3, ["offline", ""]),
    ] {
        let mut command = in_folder(folder.path(), &buckets.variables(account, &buckets.endpoint));
        let output = command.args(&words).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{text}");
        assert!(parts.iter().all(|part| text.contains(part)) && !text.contains("hush"), "{words:?}\n{text}");
        assert!(
            !folder.path().join("output").exists() && !folder.path().join("cache/blobs/sha256").exists(),
            "{words:?}"
        );
    }
}

#[test]
fn secrets_end_where_they_come_in() {
    let (model, weights) = network();
    let server = Server::start(move |request: &Request| {
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let file = |bytes: &[u8]| Reply::file(request, bytes, "\"1\"").header("Last-Modified", date);
        match request.path.split('?').next() {
            Some("/models/net.onnx") => file(&model),
            Some("/models/weights/w.bin") => file(&weights),
            Some("/conf.yaml") => file(b"input_model: s3://models/net.onnx\noutput_remote_url: s3://results/r\n"),
            Some("/broken.yaml") => file(b"input_model: [\n"),
            _ => Reply::new(403, "<Error><Code>AccessDenied</Code><Secret>hush-body</Secret></Error>"),
        }
    });
    let folder = folder();
    let secrets = ["hush-key", "hush-secret", "hush-token", "hush-query", "hush-user", "hush-body"];
    let lines =
        "AWS_ACCESS_KEY_ID=hush-key\nAWS_SECRET_ACCESS_KEY='hush-secret'\nexport AWS_SESSION_TOKEN=hush-token\n";
    fs::write(folder.path().join(".env"), lines).unwrap();
    let url =
        |path: &str| server.url(&format!("{path}?sig=hush-query")).replace("http://", "http://hush-user:hush-user@");
    let variables = [("AWS_ENDPOINT_URL", server.url("")), ("MODELCONVERTER_LOG", "trace".to_owned())];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    for (path, code) in
        [(url("conf.yaml"), 0), (url("broken.yaml"), 1), (url("none.yaml"), 3), ("s3://models/x.onnx".to_owned(), 3)]
    {
        let mut command = in_folder(folder.path(), &variables);
        let output = command.args(["--dry-run", "--path", &path]).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{path}\n{text}");
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in\n{text}");
        }
    }
    fs::remove_file(folder.path().join(".env")).unwrap();
    search(folder.path(), &secrets);
    let signed: Vec<Request> =
        server.requests().into_iter().filter(|request| request.path.starts_with("/models")).collect();
    assert!(signed.iter().all(|request| request.headers["x-amz-security-token"] == "hush-token"), "the file was read");
}

#[test]
fn a_conversion_begins_and_ends_in_buckets() {
    let (buckets, folder) = (Buckets::get(), folder());
    let sample = root().join("shared_with_container/models/text_direction");
    for entry in fs::read_dir(&sample).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        buckets.put(&format!("sample/{name}"), &fs::read(&path).unwrap());
    }
    image::RgbImage::from_pixel(40, 20, image::Rgb([200, 100, 7])).save(folder.path().join("1.png")).unwrap();
    buckets.put("calibration/1.png", &fs::read(folder.path().join("1.png")).unwrap());
    let variables = buckets.variables("owner", &buckets.endpoint);
    let mut command = program(folder.path(), &shared_store());
    command.envs(variables.iter().map(|(name, value)| (name, value))).env("NO_PROXY", "127.0.0.1");
    command.env("MODELCONVERTER_LOG", "debug");
    command.args(["convert", "rvc2", "--output-dir", "r", "--path", "s3://models/sample/text_direction.yaml"]);
    command.args(["calibration.path", "s3://models/calibration", "output_remote_url", "s3://results/sample"]);
    command.args(["intermediate_outputs_remote_url", "between/a b/"]);
    let output = command.output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let keys = buckets.keys("results", "sample/");
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in &keys {
        let name = key.strip_prefix("sample/").unwrap();
        let here = fs::read(folder.path().join("output/r").join(name)).unwrap();
        assert!(buckets.read("results", key) == here && !here.is_empty(), "{key}");
        assert!(text.contains(&format!("s3://results/{key}")), "{text}");
    }
    // Whoever has this file can do the same elsewhere.
    let record = fs::read_to_string(folder.path().join("output/r/config.yaml")).unwrap();
    assert!(record.contains("s3://models/calibration") && !record.contains("/remote/"), "{record}");
    // A folder of this machine takes them as a bucket does.
    let (there, here) = (folder.path().join("between/a b"), folder.path().join("output/r/intermediate_outputs"));
    let names = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<String>>()
    };
    assert_eq!(names(&there), names(&here), "also without leftovers");
    let network = names(&there).into_iter().find(|name| name.ends_with(".onnx")).unwrap();
    assert_eq!(fs::read(there.join(&network)).unwrap(), fs::read(here.join(&network)).unwrap());
    let secrets = [buckets.accounts["owner"][0].as_str().unwrap(), buckets.accounts["owner"][1].as_str().unwrap()];
    assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    search(&folder.path().join("output"), &secrets);
}

#[test]
fn an_image_fetches_and_uploads_by_itself() {
    let (buckets, folder) = (Buckets::get(), folder());
    let sample = root().join("shared_with_container/models/text_direction");
    for entry in fs::read_dir(&sample).unwrap() {
        let path = entry.unwrap().path();
        buckets.put(&format!("inside/{}", path.file_name().unwrap().to_str().unwrap()), &fs::read(&path).unwrap());
    }
    let docker = || {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", peer("MODELCONVERTER_TEST_DOCKER"))).current_dir(folder.path());
        command
    };
    succeed(program(folder.path(), &shared_store()).args(["image", "export", "rvc2", "--output", "rvc2.tar"]));
    succeed(docker().args(["load", "--input", "rvc2.tar"]));
    let mut command = docker();
    // The network of the host, where the server is.
    command.args(["run", "--rm", "--network", "host", "--volume", &format!("{}:/work", folder.path().display())]);
    for (name, value) in buckets.variables("owner", &buckets.endpoint) {
        command.env(&name, value).args(["--env", &name]);
    }
    command.args(["--workdir", "/work", "modelconverter/rvc2:2021.4.2", "convert", "rvc2", "--to", "native"]);
    command.args(["--output-dir", "r", "--path", "s3://models/inside/text_direction.yaml"]);
    succeed(command.args(["output_remote_url", "s3://results/inside/final.superblob"]));
    let superblob = buckets.read("results", "inside/final.superblob");
    let here = fs::read_dir(folder.path().join("output/r")).unwrap().map(|entry| entry.unwrap().path());
    let here = here.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "superblob")).unwrap();
    assert!(superblob == fs::read(here).unwrap());
}
