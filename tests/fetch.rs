//! Bad days of a download, against a scripted server and a real registry.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use modelconverter::digest::{Digest, Mismatch};
use modelconverter::fetch::{Cause, Document, FetchError, FetchOptions, Fetcher, Network, Problem, Wanted};
use modelconverter::hint::Hint;
use modelconverter::lock::{Artifact, DebianSource, Lock, Pin, Source};
use modelconverter::ops::obtain::{self, ObtainError, OtherNames};
use modelconverter::progress::{Event, Moment, Progress, Silent};
use modelconverter::sources::{Base, Mirrors, Sources};
use modelconverter::store::{Kept, Store};
use modelconverter::units::ByteSize;
use server::{Reply, Request, Server, nobody};
use tempfile::TempDir;

/// A store of its own and what a test fetches into it.
struct Bench {
    folder: TempDir,
    store: Store,
    sources: Sources,
    options: FetchOptions,
}

impl Bench {
    /// A bench whose vendor has these bases.
    fn new(bases: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let mut sources = Sources::default();
        let bases = bases.iter().map(|text| Base::parse(text).unwrap()).collect();
        sources.mirrors.https.insert("vendor".to_owned(), bases);
        let options = FetchOptions {
            first_wait: Duration::from_millis(1),
            silence: Duration::from_secs(20),
            ..FetchOptions::default()
        };
        Self { folder, store, sources, options }
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher::new(self.sources.clone(), self.options.clone())
    }

    fn fetch(&self, artifact: &Artifact) -> Result<PathBuf, FetchError> {
        self.fetch_telling(artifact, &Silent)
    }

    fn fetch_telling(&self, artifact: &Artifact, progress: &dyn Progress) -> Result<PathBuf, FetchError> {
        let wanted = Wanted { artifact, also_known_as: BTreeSet::new() };
        let paths = self.fetcher().fetch(&[wanted], &self.store, progress)?;
        Ok(paths[&artifact.id].clone())
    }

    /// Fetches what must come, and checks that it is the right thing and that nothing else is left.
    fn fetched(&self, artifact: &Artifact, content: &[u8]) {
        let path = self.fetch(artifact).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), content);
        assert_eq!(self.partials(), Vec::<PathBuf>::new());
    }

    /// Fetches what must not come, and returns what the bases said.
    fn refused(&self, artifact: &Artifact) -> Vec<Problem> {
        let error = self.fetch(artifact).unwrap_err();
        assert_eq!(self.store.blob(&artifact.pin.unwrap().sha256).unwrap(), None);
        problems(error)
    }

    fn partials(&self) -> Vec<PathBuf> {
        let folder = self.store.root().join("partial");
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn partial_of(&self, content: &[u8]) -> PathBuf {
        self.store.root().join("partial").join(Digest::of(content).hex())
    }
}

fn problems(error: FetchError) -> Vec<Problem> {
    let FetchError::Failed { failures, .. } = error else { panic!("{error}") };
    let [failure] = <[_; 1]>::try_from(failures).unwrap();
    let Cause::Bases(reasons) = failure.cause else { panic!("{failure}") };
    reasons.into_iter().map(|reason| reason.problem).collect()
}

fn pin(content: &[u8]) -> Pin {
    Pin { size: ByteSize::new(content.len() as u64), sha256: Digest::of(content) }
}

fn artifact(name: &str, content: &[u8], source: Source) -> Artifact {
    Artifact {
        id: name.parse().unwrap(),
        file: name.parse().unwrap(),
        source,
        pin: Some(pin(content)),
        licence: None,
        redistributable: true,
    }
}

fn vendor(content: &[u8]) -> Artifact {
    artifact("a.bin", content, Source::Https { origin: "vendor".to_owned(), path: "x/a.bin".to_owned() })
}

/// More than one buffer of anything, and not a multiple of one.
fn content() -> Vec<u8> {
    (0..300_001_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn serving(content: &[u8]) -> Server {
    let content = content.to_vec();
    Server::start(move |request| Reply::file(request, &content, "\"1\""))
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Progress for Recorder {
    fn tell(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    fn text(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }
}

#[test]
fn an_artifact_is_fetched_once() {
    let content = content();
    let server = serving(&content);
    let bench = Bench::new(&[&server.url("base")]);
    let recorder = Recorder::default();
    bench.fetch_telling(&vendor(&content), &recorder).unwrap();
    bench.fetched(&vendor(&content), &content);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].path, "/base/x/a.bin");
    let events = recorder.0.into_inner().unwrap();
    assert_eq!(events.first().unwrap().moment, Moment::Started { total: Some(pin(&content).size) });
    assert_eq!(events.last().unwrap().moment, Moment::Finished);
    let bytes = |event: &Event| match event.moment {
        Moment::Advanced { by } => by,
        _ => ByteSize::default(),
    };
    assert_eq!(events.iter().map(bytes).sum::<ByteSize>(), pin(&content).size);
}

#[test]
fn many_artifacts_come_at_once() {
    // Nobody is answered until eight are waiting.
    let together = std::sync::Barrier::new(8);
    let server = Server::start(move |request| {
        together.wait();
        Reply::new(200, request.path.clone())
    });
    let bench = Bench::new(&[&server.url("")]);
    let artifacts: Vec<Artifact> = (0..40)
        .map(|index| {
            let path = format!("f{index}");
            let source = Source::Https { origin: "vendor".to_owned(), path: path.clone() };
            artifact(&path, format!("/{path}").as_bytes(), source)
        })
        .collect();
    let wanted: Vec<Wanted<'_>> =
        artifacts.iter().map(|artifact| Wanted { artifact, also_known_as: BTreeSet::new() }).collect();
    let artifacts_there = obtain::obtain(&wanted, &bench.store, &bench.fetcher(), &Silent).unwrap();
    assert_eq!(artifacts_there.count(), 40);
    for artifact in &artifacts {
        let bytes = std::fs::read(artifacts_there.path(&artifact.id).unwrap()).unwrap();
        assert_eq!(Digest::of(&bytes), artifact.pin.unwrap().sha256);
    }
}

#[test]
fn wrong_bytes_are_refused_and_the_next_base_is_asked() {
    let content = content();
    let mut wrong = content.clone();
    wrong[200_000] ^= 1;
    let bad = serving(&wrong);
    let bench = Bench::new(&[&bad.url("")]);
    let problems = bench.refused(&vendor(&content));
    assert!(matches!(problems[..], [Problem::Content(Mismatch::Digest { .. })]), "{problems:?}");
    assert_eq!(bad.requests().len(), 1, "wrong bytes are not asked for again");

    let good = serving(&content);
    let bench = Bench::new(&[&bad.url(""), &good.url("")]);
    bench.fetched(&vendor(&content), &content);
}

#[test]
fn a_file_of_another_size_is_refused_before_it_comes() {
    let content = content();
    for other in [&content[..100], &[&content[..], b"x"].concat()] {
        let server = serving(other);
        let bench = Bench::new(&[&server.url("")]);
        let problems = bench.refused(&vendor(&content));
        let size = ByteSize::new(other.len() as u64);
        assert!(
            matches!(problems[..], [Problem::Content(Mismatch::Size { found, .. })] if found == size),
            "{problems:?}"
        );
    }
}

#[test]
fn too_many_bytes_are_cut_off() {
    let content = content();
    let long = [&content[..], b"x"].concat();
    let server = Server::start(move |_| Reply::new(200, &long[..]).without_length());
    let bench = Bench::new(&[&server.url("")]);
    let problems = bench.refused(&vendor(&content));
    assert!(matches!(problems[..], [Problem::Content(Mismatch::Size { .. })]), "{problems:?}");
    assert!(!bench.partial_of(&content).exists());
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let content = content();
    let served = content.clone();
    let server = Server::start(move |request| match request.before {
        0 => Reply::file(request, &served, "\"1\"").cut(100_000),
        1 => Reply::file(request, &served, "\"1\"").cut(50_000),
        _ => Reply::file(request, &served, "\"1\""),
    });
    let bench = Bench::new(&[&server.url("")]);
    bench.fetched(&vendor(&content), &content);
    let asked: Vec<_> = server.requests().iter().map(Request::offset).collect();
    assert_eq!(asked, [None, Some(100_000), Some(150_000)]);
    assert!(server.requests()[1..].iter().all(|request| request.headers["if-range"] == "\"1\""));
}

#[test]
fn a_download_without_a_length_that_ends_early_goes_on() {
    let content = content();
    let served = content.clone();
    let server = Server::start(move |request| match request.before {
        0 => Reply::file(request, &served, "").without_length().cut(1000),
        _ => Reply::file(request, &served, ""),
    });
    Bench::new(&[&server.url("")]).fetched(&vendor(&content), &content);
    assert_eq!(server.requests()[1].offset(), Some(1000));
}

#[test]
fn a_download_that_always_ends_early_is_given_up() {
    let content = content();
    let served = content.clone();
    let server = Server::start(move |_| Reply::new(200, &served[..1000]).without_length());
    let bench = Bench::new(&[&server.url("")]);
    let problems = bench.refused(&vendor(&content));
    let size = ByteSize::new(1000);
    assert!(matches!(problems[..], [Problem::Truncated { found, .. }] if found == size), "{problems:?}");
    assert_eq!(server.requests().len(), 1 + bench.options.retries);
}

#[test]
fn a_server_that_ignores_ranges_begins_again() {
    let content = content();
    let served = content.clone();
    let server = Server::start(move |request| match request.before {
        0 => Reply::new(200, &served[..]).cut(100_000),
        _ => Reply::new(200, &served[..]),
    });
    let bench = Bench::new(&[&server.url("")]);
    bench.fetched(&vendor(&content), &content);
    assert_eq!(server.requests()[1].offset(), Some(100_000));
}

#[test]
fn a_file_that_changed_between_attempts_begins_again() {
    let content = content();
    let served = content.clone();
    let server = Server::start(move |request| match request.before {
        0 => Reply::file(request, &vec![7; served.len()], "\"old\"").cut(100_000),
        _ => Reply::file(request, &served, "\"new\""),
    });
    let bench = Bench::new(&[&server.url("")]);
    bench.fetched(&vendor(&content), &content);
    assert_eq!(server.requests()[1].headers["if-range"], "\"old\"");
}

#[test]
fn a_wrong_part_is_refused_and_the_whole_file_is_asked_for() {
    let content = content();
    for range in ["bytes 0-300000/300001", "bytes 99999-300000/300001", "bytes 100000-300000/400000", "nonsense"] {
        let served = content.clone();
        let server = Server::start(move |request| match request.offset() {
            None if request.before == 0 => Reply::new(200, &served[..]).cut(100_000),
            None => Reply::new(200, &served[..]),
            Some(offset) => Reply::new(206, &served[offset..]).header("Content-Range", range),
        });
        Bench::new(&[&server.url("")]).fetched(&vendor(&content), &content);
        let asked: Vec<_> = server.requests().iter().map(Request::offset).collect();
        assert_eq!(asked, [None, Some(100_000), None], "{range}");
    }
}

#[test]
fn wrong_bytes_of_an_earlier_run_do_not_stand_in_the_way() {
    let content = content();
    let server = serving(&content);
    for wrong in [vec![7; 1000], vec![7; content.len()], vec![7; content.len() + 1]] {
        let bench = Bench::new(&[&server.url("")]);
        std::fs::write(bench.partial_of(&content), wrong).unwrap();
        bench.fetched(&vendor(&content), &content);
    }
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let content = content();
    for status in [408, 429, 500, 502, 503, 504] {
        let served = content.clone();
        let server = Server::start(move |request| match request.before {
            0 | 1 => Reply::new(status, "later").header("Retry-After", "0"),
            _ => Reply::file(request, &served, ""),
        });
        Bench::new(&[&server.url("")]).fetched(&vendor(&content), &content);
        assert_eq!(server.requests().len(), 3, "{status}");
    }
    let server = Server::start(|_| Reply::new(503, ""));
    let bench = Bench::new(&[&server.url("")]);
    let problems = bench.refused(&vendor(&content));
    assert!(matches!(problems[..], [Problem::Status { code: 503, .. }]), "{problems:?}");
    assert_eq!(server.requests().len(), 1 + bench.options.retries);
}

#[test]
fn a_server_that_asks_for_too_much_patience_is_left() {
    let content = content();
    let busy = Server::start(|_| Reply::new(429, "").header("Retry-After", "86400"));
    let good = serving(&content);
    Bench::new(&[&busy.url(""), &good.url("")]).fetched(&vendor(&content), &content);
    assert_eq!(busy.requests().len(), 1);
}

#[test]
fn a_server_that_refuses_is_not_asked_again() {
    let content = content();
    for status in [400, 401, 403, 404, 410] {
        let bad = Server::start(move |_| Reply::new(status, ""));
        let good = serving(&content);
        Bench::new(&[&bad.url(""), &good.url("")]).fetched(&vendor(&content), &content);
        assert_eq!(bad.requests().len(), 1, "{status}");
        let problems = Bench::new(&[&bad.url("")]).refused(&vendor(&content));
        assert!(matches!(problems[..], [Problem::Status { code, .. }] if code == status), "{problems:?}");
    }
}

#[test]
fn a_server_that_falls_silent_is_asked_for_the_rest() {
    let content = content();
    let served = content.clone();
    let server = Server::start(move |request| match request.before {
        0 => Reply::file(request, &served, "\"1\"").cut(100_000).silent(),
        _ => Reply::file(request, &served, "\"1\""),
    });
    let mut bench = Bench::new(&[&server.url("")]);
    bench.options.silence = Duration::from_millis(300);
    bench.fetched(&vendor(&content), &content);
    assert_eq!(server.requests()[1].offset(), Some(100_000));

    let server = Server::start(|_| Reply::new(200, "").without_length().silent());
    let mut bench = Bench::new(&[&server.url("")]);
    bench.options.silence = Duration::from_millis(300);
    bench.options.retries = 1;
    let problems = bench.refused(&vendor(&content));
    assert!(matches!(problems[..], [Problem::Silent]), "{problems:?}");
}

#[test]
fn no_network_is_said_for_every_base() {
    let bases = [nobody(), nobody()];
    let bench = Bench::new(&[&bases[0], &bases[1]]);
    let content = content();
    let error = bench.fetch(&vendor(&content)).unwrap_err();
    let text = error.to_string();
    assert!(bases.iter().all(|base| text.contains(base.as_str())), "{text}");
    assert!(text.contains("a.bin") && text.contains("no connection"), "{text}");
    assert!(!error.hints().is_empty());
    assert!(matches!(problems(error)[..], [Problem::Unreachable { .. }, Problem::Unreachable { .. }]));
}

#[test]
fn offline_lists_everything_that_is_missing() {
    let content = content();
    let server = serving(&content);
    let mut bench = Bench::new(&[&server.url("")]);
    bench.fetch(&vendor(&content)).unwrap();
    bench.options.network = Network::Offline;
    bench.fetch(&vendor(&content)).unwrap();

    let mut unpinned = artifact("c.tgz", b"", Source::File { obtain: "ask the vendor".to_owned() });
    unpinned.pin = None;
    let artifacts =
        [vendor(&content), artifact("b.deb", b"12345", Source::Oci { repository: "r".to_owned() }), unpinned];
    let wanted: Vec<Wanted<'_>> =
        artifacts.iter().map(|artifact| Wanted { artifact, also_known_as: BTreeSet::new() }).collect();
    let error = bench.fetcher().fetch(&wanted, &bench.store, &Silent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "offline, and 2 artifacts are missing\n  b.deb (oci, 5 B)\n  c.tgz (file, size unknown)"
    );
    assert!(error.hints().iter().any(|hint| hint.contains("toolchain import")));
    let document = Document::Https { origin: "vendor".to_owned(), path: "x".to_owned() };
    let error = bench.fetcher().fetch_bytes(&document, ByteSize::new(10)).unwrap_err();
    assert!(matches!(error, FetchError::DocumentOffline { .. }));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn files_placed_by_hand_are_taken_and_verified() {
    let content = content();
    let mut bench = Bench::new(&[]);
    bench.options.network = Network::Offline;
    let folder = bench.folder.path().join("extra");
    std::fs::create_dir(&folder).unwrap();
    bench.sources.extra_packages = vec![bench.folder.path().join("none"), folder.clone()];
    let artifact = artifact("a.tgz", &content, Source::File { obtain: "ask".to_owned() });
    let wanted = || Wanted { artifact: &artifact, also_known_as: ["vendor-1.tgz".parse().unwrap()].into() };
    let fetch = |bench: &Bench| bench.fetcher().fetch(&[wanted()], &bench.store, &Silent);

    for wrong in [&content[1..], &[b"x", &content[1..]].concat(), &[&content[..], b"x"].concat()] {
        std::fs::write(folder.join("vendor-1.tgz"), wrong).unwrap();
        let error = fetch(&bench).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(folder.join("vendor-1.tgz").to_str().unwrap()), "{text}");
        let (expected, found) = match wrong.len() == content.len() {
            true => (Digest::of(&content).to_string(), Digest::of(wrong).to_string()),
            false => (content.len().to_string(), wrong.len().to_string()),
        };
        assert!(text.contains(&expected) && text.contains(&found), "{text}");
        assert!(error.hints()[0].starts_with("replace or remove"));
    }
    std::fs::write(folder.join("vendor-1.tgz"), &content).unwrap();
    let paths = fetch(&bench).unwrap();
    assert_eq!(std::fs::read(&paths[&artifact.id]).unwrap(), content);
    assert!(folder.join("vendor-1.tgz").exists(), "the user's file stays");
}

#[test]
fn a_wheel_is_found_through_each_kind_of_index() {
    let content = content();
    let file = "x_y-1.0-py3-none-any.whl";
    let digest = Digest::of(&content).hex();
    let json =
        format!(r#"{{"files":[{{"filename":"{file}","url":"/files/{file}","hashes":{{"sha256":"{digest}"}}}}]}}"#);
    let other = json.replace(&digest, &Digest::of(b"").hex());
    let html = format!("<html><a href=\"../../files/{file}#sha256={digest}\">{file}</a></html>");
    let wheel = artifact(file, &content, Source::Pypi { project: "x-y".to_owned(), version: "1.0".to_owned() });
    for page in [json, html] {
        let (served, other) = (content.clone(), other.clone());
        let server = Server::start(move |request| match request.path.as_str() {
            "/simple/x-y/" if request.headers.contains_key("authorization") => Reply::new(200, page.clone()),
            "/other/x-y/" => Reply::new(200, other.clone()),
            "/empty/x-y/" => Reply::new(200, "{\"files\":[]}"),
            "/odd/x-y/" => Reply::new(200, "welcome"),
            path if path.starts_with("/files/") => Reply::file(request, &served, ""),
            _ => Reply::new(404, ""),
        });
        let with_secret = server.url("simple").replace("http://", "http://me:s3cret@");
        let mut bench = Bench::new(&[]);
        let bases = ["none", "other", "empty", "odd"].map(|path| server.url(path));
        bench.sources.mirrors.pypi = bases.iter().map(|text| Base::parse(text).unwrap()).collect();
        let problems = bench.refused(&wheel);
        assert!(
            matches!(
                problems[..],
                [
                    Problem::Status { code: 404, .. },
                    Problem::ListedOtherwise { .. },
                    Problem::NotListed,
                    Problem::NoPage
                ]
            ),
            "{problems:?}"
        );
        bench.sources.mirrors.pypi.push(Base::parse(&with_secret).unwrap());
        bench.fetched(&wheel, &content);
        let document = Document::Pypi { project: "x-y".to_owned() };
        let bytes = bench.fetcher().fetch_bytes(&document, ByteSize::new(1 << 20)).unwrap();
        assert_eq!(bytes, other_page(&server), "the first index that answers");
    }
}

fn other_page(server: &Server) -> Vec<u8> {
    let bench = Bench::new(&[&server.url("other")]);
    let document = Document::Https { origin: "vendor".to_owned(), path: "x-y/".to_owned() };
    bench.fetcher().fetch_bytes(&document, ByteSize::new(1 << 20)).unwrap()
}

#[test]
fn a_wheel_in_a_folder_of_links_needs_no_network() {
    let content = content();
    let wheel = artifact("x-1.whl", &content, Source::Pypi { project: "x".to_owned(), version: "1".to_owned() });
    let mut bench = Bench::new(&[]);
    bench.options.network = Network::Offline;
    let (one, two) = (bench.folder.path().join("one"), bench.folder.path().join("two"));
    for (folder, bytes) in [(&one, &b"another build"[..]), (&two, &content)] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("x-1.whl"), bytes).unwrap();
    }
    bench.sources.pip.find_links = vec![bench.folder.path().join("none"), one, two];
    bench.fetched(&wheel, &content);
}

#[test]
fn debian_packages_and_documents_come_from_their_archive() {
    let content = content();
    let served = content.clone();
    let server = Server::start(move |request| match request.path.as_str() {
        "/debian/pool/main/z/z_1.2+b1~x_amd64.deb" => Reply::file(request, &served, ""),
        "/debian/dists/x/InRelease" if request.before == 0 => Reply::new(500, ""),
        "/debian/dists/x/InRelease" => Reply::new(200, "Origin: Debian"),
        _ => Reply::new(404, ""),
    });
    let mut bench = Bench::new(&[]);
    let bases = ["gone", "debian/"].map(|path| Base::parse(&server.url(path)).unwrap());
    bench.sources.mirrors.debian.insert("debian".to_owned(), bases.to_vec());
    let deb = Source::Debian(DebianSource {
        archive: "debian".to_owned(),
        package: "z".to_owned(),
        version: "1.2+b1~x".to_owned(),
        architecture: "amd64".to_owned(),
        path: "pool/main/z/z_1.2+b1~x_amd64.deb".to_owned(),
        scripts: Vec::new(),
    });
    bench.fetched(&artifact("z.deb", &content, deb), &content);
    let document = |path: &str| Document::Debian { archive: "debian".to_owned(), path: path.to_owned() };
    let fetcher = bench.fetcher();
    let release = fetcher.fetch_bytes(&document("dists/x/InRelease"), ByteSize::new(14)).unwrap();
    assert_eq!(release, b"Origin: Debian");
    let error = fetcher.fetch_bytes(&document("dists/x/InRelease"), ByteSize::new(13)).unwrap_err();
    assert!(error.to_string().contains("the document is larger than 13 B"), "{error}");
    let error = fetcher.fetch_bytes(&document("dists/y/InRelease"), ByteSize::new(13)).unwrap_err();
    assert!(error.to_string().contains("dists/y/InRelease of the archive `debian`"), "{error}");
}

#[test]
fn apt_and_pip_proxies_are_used() {
    let content = content();
    let served = content.clone();
    // A proxy sees the whole address.
    let proxy = Server::start(move |request| match request.path.as_str() {
        "http://mirror.invalid/debian/z.deb" => Reply::file(request, &served, ""),
        "http://index.invalid/simple/x/" => Reply::new(200, "{\"files\":[]}"),
        _ => Reply::new(404, ""),
    });
    let mut bench = Bench::new(&[]);
    let project = Mirrors::parse(
        "[mirrors]\ndebian = [\"http://mirror.invalid/debian\"]\npypi = [\"http://index.invalid/simple\"]\n",
    )
    .unwrap();
    let with_secret = proxy.host().replace("127", "me:s3cret@127");
    let machine = modelconverter::sources::Machine {
        apt_files: vec![format!("Acquire::http::Proxy \"http://{with_secret}/\";")],
        environment: [("PIP_PROXY".to_owned(), with_secret.clone())].into(),
        ..Default::default()
    };
    bench.sources = Sources::settle(&project, &machine, &Mirrors::default()).unwrap();
    let document = Document::Debian { archive: "debian".to_owned(), path: "z.deb".to_owned() };
    assert_eq!(bench.fetcher().fetch_bytes(&document, ByteSize::new(1 << 20)).unwrap(), content);
    let document = Document::Pypi { project: "x".to_owned() };
    assert_eq!(bench.fetcher().fetch_bytes(&document, ByteSize::new(1 << 20)).unwrap(), b"{\"files\":[]}");
    assert!(proxy.requests().iter().all(|request| request.headers.contains_key("proxy-authorization")));
    let document = Document::Pypi { project: "y".to_owned() };
    let error = bench.fetcher().fetch_bytes(&document, ByteSize::new(1 << 20)).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[test]
fn no_secret_is_in_an_error_or_an_event() {
    let content = content();
    let elsewhere = Server::start(|_| Reply::new(403, ""));
    let target = elsewhere.url("signed?signature=s3cret-signature");
    let server = Server::start(move |request| match request.path.split('?').next().unwrap() {
        "/redirect/x/a.bin" => Reply::new(302, "").header("Location", &target),
        "/cut/x/a.bin" => Reply::new(200, vec![0; 300_001]).cut(10),
        "/loop/x/a.bin" => Reply::new(302, "").header("Location", &request.path),
        "/wrong/x/a.bin" => Reply::new(200, vec![0; 300_001]),
        "/busy/x/a.bin" => Reply::new(500, "s3cret-body"),
        _ => Reply::new(404, "s3cret-body"),
    });
    let secret =
        |url: String| format!("{}?token=s3cret-token", url.replace("http://", "http://s3cret-user:s3cret-password@"));
    let mut bases: Vec<String> =
        ["redirect", "cut", "loop", "wrong", "busy", "none"].iter().map(|path| secret(server.url(path))).collect();
    bases.push(secret(nobody()));
    let bases: Vec<&str> = bases.iter().map(String::as_str).collect();
    let bench = Bench::new(&bases);
    let recorder = Recorder::default();
    let error = bench.fetch_telling(&vendor(&content), &recorder).unwrap_err();
    let mut text = format!("{error}\n{error:?}\n{:?}\n{}\n{:?}", error.hints(), recorder.text(), bench.sources);
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        write!(text, "{cause} {cause:?}").unwrap();
        source = cause.source();
    }
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(problems(error).len(), bases.len());
    // The secrets were used where they belong, and nowhere else.
    assert!(server.requests().iter().all(|request| request.headers.contains_key("authorization")));
    assert!(server.requests().iter().all(|request| request.path.contains("token=s3cret-token")));
    assert!(elsewhere.requests().iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(!elsewhere.requests().is_empty());
    for path in bench.partials() {
        assert!(!String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains("s3cret"));
    }
}

#[test]
fn a_file_is_imported_as_what_it_is() {
    let bench = Bench::new(&[]);
    let lock = Lock::parse(&lock_text()).unwrap();
    let names = OtherNames::from([("new.tgz".parse().unwrap(), ["vendor-new.tgz".parse().unwrap()].into())]);
    let import = |name: &str, bytes: &[u8]| {
        let path = bench.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        obtain::import(&path, &lock, &names, &bench.store)
    };
    let imported = import("whatever.bin", b"known").unwrap();
    assert!(imported.was_pinned && imported.artifact.as_str() == "known", "{imported:?}");
    assert!(bench.store.blob(&Digest::of(b"known")).unwrap().is_some());
    for name in ["new.tgz", "vendor-new.tgz"] {
        let imported = import(name, b"fresh").unwrap();
        assert!(!imported.was_pinned, "{imported:?}");
        assert_eq!((imported.artifact.as_str(), imported.pin), ("new", pin(b"fresh")));
        assert_eq!(std::fs::read(imported.path).unwrap(), b"fresh");
    }
    let error = import("known.tgz", b"other").unwrap_err();
    assert!(matches!(error, ObtainError::Differs { source: Mismatch::Digest { .. }, .. }), "{error}");
    let error = import("strange.tgz", b"other").unwrap_err();
    assert!(matches!(error, ObtainError::Unknown { .. }), "{error}");
    assert!(error.hints()[0].contains("new.tgz"));
    assert_eq!(bench.store.blob(&Digest::of(b"other")).unwrap(), None);
    let error = obtain::import(Path::new("/none/at/all"), &lock, &names, &bench.store).unwrap_err();
    assert!(error.to_string().contains("/none/at/all"));

    // What the lock names stays; what was measured only now is not in the lock yet.
    let collecting = |keep: Kept| {
        let store = Store::open(&bench.folder.path().join("copy")).unwrap();
        for bytes in [&b"known"[..], b"fresh"] {
            store.insert(&mut &bytes[..], pin(bytes)).unwrap();
        }
        let root = store.root().to_owned();
        drop(store);
        let store = Store::open(&root).unwrap();
        modelconverter::ops::store::gc(&store, &[&lock], keep).unwrap();
        [&b"known"[..], b"fresh"].map(|bytes| store.blob(&Digest::of(bytes)).unwrap().is_some())
    };
    assert_eq!(collecting(Kept::default()), [true, false]);
    assert_eq!(collecting(Kept { blobs: [Digest::of(b"fresh")].into(), ..Kept::default() }), [true, true]);
}

/// A lock with a pinned and an unpinned file, as the canonical writer writes it.
fn lock_text() -> String {
    use modelconverter::lock::{LockedLayer, Platform, Toolchain};
    use modelconverter::name::{Target, ToolchainName};

    let file = |name: &str, pin: Option<Pin>| Artifact {
        id: name.parse().unwrap(),
        file: format!("{name}.tgz").parse().unwrap(),
        source: Source::File { obtain: "ask the vendor".to_owned() },
        pin,
        licence: None,
        redistributable: false,
    };
    let artifacts = [file("known", Some(pin(b"known"))), file("new", None)];
    let layer = LockedLayer {
        name: "vendor".parse().unwrap(),
        artifacts: artifacts.iter().map(|artifact| artifact.id.clone()).collect(),
        bytes: None,
    };
    let toolchain = Toolchain {
        name: ToolchainName { target: Target::Rvc2, version: "1".parse().unwrap() },
        platform: Platform::LinuxAmd64,
        recipe: Digest::of(b""),
        layers: vec![layer],
    };
    Lock::new(vec![toolchain], artifacts).unwrap().render(None)
}

/// Debian's registry, with one user, serving one blob.
struct Registry {
    process: Child,
    host: String,
    _folder: TempDir,
}

impl Registry {
    fn start(repository: &str, blob: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hex = Digest::of(blob).hex();
        let root = folder.path().join("docker/registry/v2");
        let data = root.join("blobs/sha256").join(&hex[..2]).join(&hex);
        let link = root.join("repositories").join(repository).join("_layers/sha256").join(&hex);
        for folder in [&data, &link] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(data.join("data"), blob).unwrap();
        std::fs::write(link.join("link"), format!("sha256:{hex}")).unwrap();
        // bcrypt of `s3cret`.
        std::fs::write(
            folder.path().join("users"),
            "me:$2b$05$73s6iqujGaniAf6KVdl5W.rTGVw5FuwRCwjIiAZADq/3U69s3rJLa\n",
        )
        .unwrap();
        let host = nobody().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{root}'}}}}\nhttp: {{addr: '{host}'}}\n\
             auth: {{htpasswd: {{realm: test, path: '{root}/users'}}}}\n",
            root = folder.path().display()
        );
        std::fs::write(folder.path().join("config.yml"), text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the package docker-registry is installed");
        while std::net::TcpStream::connect(&host).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "the registry ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, host, _folder: folder }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_blob_comes_from_a_real_registry() {
    let content = content();
    let registry = Registry::start("mirror/tools/x", &content);
    let blob = artifact("x.bin", &content, Source::Oci { repository: "tools/x".to_owned() });
    let mut bench = Bench::new(&[]);
    let base = |text: String| Base::parse_registry(&text).unwrap();
    bench.sources.mirrors.oci =
        vec![base(format!("http://{}/none", registry.host)), base(format!("http://{}/mirror", registry.host))];
    let problems = bench.refused(&blob);
    assert!(
        matches!(problems[..], [Problem::Status { code: 401, .. }, Problem::Status { code: 401, .. }]),
        "{problems:?}"
    );

    // `me:s3cret` in base 64, as `docker login` writes it.
    let config = bench.folder.path().join("config.json");
    std::fs::write(&config, format!("{{\"auths\":{{\"{}\":{{\"auth\":\"bWU6czNjcmV0\"}}}}}}", registry.host)).unwrap();
    bench.sources.registry_files = vec![bench.folder.path().join("none.json"), config];
    bench.fetched(&blob, &content);

    // Credentials in the base itself, and half of the bytes there already.
    let mut bench = Bench::new(&[]);
    std::fs::write(bench.partial_of(&content), &content[..100_000]).unwrap();
    bench.sources.mirrors.oci = vec![base(format!("http://me:s3cret@{}/mirror", registry.host))];
    bench.fetched(&blob, &content);

    let bench = Bench { sources: bench.sources.clone(), ..Bench::new(&[]) };
    let other = artifact("y.bin", b"y", Source::Oci { repository: "tools/x".to_owned() });
    let error = bench.fetch(&other).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    assert!(error.to_string().contains("/mirror"), "{error}");
}
