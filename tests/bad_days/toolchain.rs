//! A toolchain of nothing but a shell: a Debian archive on loopback, a recipe, and a "compiler" that does what the name of
//! the model asks. Everything else (lock, download, assembly, container, pipeline) is the product's own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use modelconverter::digest::Digest;
use modelconverter::lock::Lock;

use crate::onnx_builder::{FLOAT, Graph, Model, Node, Tensor, sizes};
use crate::server::{Reply, Request, Server};
use crate::support::{program, succeed};
use crate::tiny_blob::blob;

/// The toolchain that is there at once.
pub const QUICK: &str = "2021.4.2";

/// The toolchain that takes its time to be assembled and to be prepared.
pub const SLOW: &str = "2021.4.1";

/// What the compiler does, by the name of the network.
const DRIVER: &str = r#"
read -r request
value() { printf '%s' "$request" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
network=$(value network)
pattern=$(value blob)
wanted=$(printf '%s' "$request" | sed 's/.*"shaves":\[\([^]]*\)\].*/\1/' | tr , ' ')
place() { printf '%s' "$pattern" | sed "s/{shaves}/$1/"; }
tell() { printf '{"event":"compiled","shaves":%s,"path":"%s","peak_memory":1}\n' "$1" "$(place $1)"; }
echo '{"event":"version","inference_engine":"2021.4.2-made-up"}'
case "$network" in
  *fails*) echo 'the last words of the vendor' >&2; exit 5;;
  *crashes*) kill -SEGV $$;;
  *hangs*) seconds=$(printf '%s' "$network" | sed 's/.*hangs_\([0-9]*\).*/\1/')
    echo "compiling for $seconds s" >&2; sleep "$seconds" & sleep "$seconds";;
  *hungry*) exec dd if=/dev/zero of=/dev/null bs=1500M count=1;;
  *garbage*) for n in $wanted; do echo garbage > "$(place $n)"; tell $n; done; exit 0;;
  *mute*) exit 0;;
  *chatters*) head -c 40000000 /dev/zero | tr '\0' x >&2;;
esac
for n in $wanted; do cp "/usr/share/made-up/blobs/$n.blob" "$(place $n)"; tell $n; done
"#;

/// What the prover finds: all is alike, unless the name of the network asks for a crash.
const PROVER: &str = r#"
read -r request
original=$(printf '%s' "$request" | sed 's/.*"original":"\([^"]*\)".*/\1/')
runtime() { echo "{\"event\":\"runtime\",\"network\":\"$1\",\"name\":\"made up\",\"version\":\"1\"}"; }
alike() {
  echo "{\"event\":\"compared\",\"network\":\"$1\",\"distance\":{\"output\":\"score\",\"set\":0,\"elements\":2,\"differing\":0,\
\"absolute\":0,\"relative\":0,\"cosine\":1,\"largest\":1}}"
}
runtime original
case "$original" in *judge_dies*) kill -SEGV $$;; esac
case "$request" in *'"rewritten":'*) runtime rewritten; alike rewritten;; esac
case "$request" in *'"imported":'*)
  runtime imported
  case "$original" in *device_dies*) kill -ABRT $$;; esac
  alike imported;;
esac
"#;

const OPTIMIZER: &str = "echo 'this toolchain reads ONNX alone' >&2; exit 9\n";

/// A Debian package, as its bytes.
pub struct Package {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// Builds a package with `dpkg-deb`; `files` are paths below its root, scripts below `DEBIAN/` among them.
pub fn package(name: &'static str, files: &[(&str, &[u8])]) -> Package {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let control = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.invalid>\n\
         Description: made up\n"
    );
    for (path, bytes) in [("DEBIAN/control", control.as_bytes())].iter().chain(files) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(root.join("DEBIAN"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("DEBIAN/control"), fs::Permissions::from_mode(0o644)).unwrap();
    let deb = folder.path().join("made.deb");
    succeed(Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).arg(&root).arg(&deb));
    Package { name, bytes: fs::read(deb).unwrap() }
}

/// Returns every document of a Debian archive with these packages, by path.
pub fn archive(packages: &[Package]) -> BTreeMap<String, Vec<u8>> {
    let mut documents = BTreeMap::new();
    let mut index = String::new();
    for package in packages {
        let (name, path) = (package.name, format!("pool/{}_1.0_amd64.deb", package.name));
        index.push_str(&format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: amd64\nFilename: {path}\nSize: {}\nSHA256: {}\n\n",
            package.bytes.len(),
            Digest::of(&package.bytes).hex()
        ));
        documents.insert(format!("/debian/{path}"), package.bytes.clone());
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(index.as_bytes()).unwrap();
    let packages = gzip.finish().unwrap();
    let release = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: made-up\nCodename: made-up\nSHA256:\n {} {} \
         main/binary-amd64/Packages.gz\n-----BEGIN PGP SIGNATURE-----\n\nxx\n-----END PGP SIGNATURE-----\n",
        Digest::of(&packages).hex(),
        packages.len()
    );
    documents.insert("/debian/dists/made-up/main/binary-amd64/Packages.gz".to_owned(), packages);
    documents.insert("/debian/dists/made-up/InRelease".to_owned(), release.into_bytes());
    documents
}

/// Answers with documents as a well-behaved server does.
pub fn serve(documents: &BTreeMap<String, Vec<u8>>, request: &Request) -> Reply {
    match documents.get(&request.path) {
        Some(content) => Reply::file(request, content, "\"1\""),
        None => Reply::new(404, ""),
    }
}

/// The head of every recipe; toolchains follow.
pub const RECIPE_HEAD: &str = r#"
recipe = 1
target = "rvc2"
platform = "linux/amd64"
default-version = "2021.4.2"
[debian]
suite = [{ archive = "debian", suite = "made-up", component = "main" }]
[python]
version = "3.9"
glibc = "2.31"
interpreter = "/usr/bin/python3.9"
site-packages = "/usr/lib/python3/dist-packages"
scripts = "/usr/bin"
"#;

fn toolchain(version: &str, layers: &str) -> String {
    let blobs: String = (1..=16)
        .map(|shaves| {
            format!("  {{ from = \"blobs/{shaves}.blob\", to = \"/usr/share/made-up/blobs/{shaves}.blob\" }},\n")
        })
        .collect();
    let applets = ["cat", "cp", "dd", "head", "sed", "sh", "sleep", "tr"]
        .map(|applet| format!("\"/usr/bin/{applet}\" = \"busybox\""))
        .join(", ");
    format!(
        r#"
[[toolchain]]
version = "{version}"
env = {{ PATH = "/usr/bin" }}
{layers}
[[toolchain.layer]]
name = "base"
debian = ["made-up-shell"]
folders = ["/dev", "/exchange", "/proc", "/root", "/run", "/sys", "/tmp", "/var/cache/made-up"]
links = {{ {applets} }}
file = [
  {{ from = "{version}.toml", to = "/usr/share/modelconverter/toolchain.toml" }},
  {{ from = "driver", to = "/usr/share/made-up/driver" }},
  {{ from = "optimizer", to = "/usr/share/made-up/optimizer" }},
  {{ from = "prover", to = "/usr/share/made-up/prover" }},
{blobs}]
"#
    )
}

/// Writes a project with a recipe and an empty lock, whose packages come from `server`.
pub fn project(folder: &Path, recipe: &str, server: &str) {
    fs::create_dir_all(folder.join("images/rvc2")).unwrap();
    fs::write(folder.join("images/rvc2/recipe.toml"), recipe).unwrap();
    let empty = Lock::new(Vec::new(), []).unwrap().render(None);
    fs::write(folder.join("toolchains.toml"), empty).unwrap();
    mirrors(folder, server);
}

/// Lets the packages of a project come from another server.
pub fn mirrors(folder: &Path, server: &str) {
    let text = format!("[mirrors]\ndebian = [\"{server}debian/\"]\npypi = [\"{server}simple/\"]\n");
    fs::write(folder.join("modelconverter.toml"), text).unwrap();
}

/// The made-up toolchain: a locked project, a store with its image, and the server behind both.
pub struct Toolchain {
    pub project: PathBuf,
    pub store: PathBuf,
    pub documents: Arc<BTreeMap<String, Vec<u8>>>,
}

/// The folder of this test run; it goes with the process.
fn run_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    extern "C" fn remove() {
        if let Some(folder) = FOLDER.get() {
            let _ = fs::remove_dir_all(folder);
        }
    }
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad-days-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // SAFETY: the function takes nothing and may run when the process ends.
        unsafe { libc::atexit(remove) };
        folder
    })
}

/// A folder of one test, below that of this test run.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(run_folder()).unwrap()
}

/// The made-up toolchain, made once.
pub fn made_up() -> &'static Toolchain {
    static MADE: OnceLock<Toolchain> = OnceLock::new();
    MADE.get_or_init(|| {
        let (folder, store) = (run_folder().join("project"), run_folder().join("store"));
        // Too much to be unpacked at once, and nothing that can be left out.
        let ballast: Vec<u8> = (0..32_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let shell = fs::read("/usr/bin/busybox").or_else(|_| fs::read("/bin/busybox")).expect("busybox-static");
        let documents = Arc::new(archive(&[
            package("made-up-shell", &[("usr/bin/busybox", &shell)]),
            package("made-up-ballast", &[("usr/share/ballast", &ballast)]),
        ]));
        let served = documents.clone();
        let server = Server::start(move |request| serve(&served, request));
        let slow = r#"
[toolchain.prepare]
cache = "/var/cache/made-up"
command = ["/usr/bin/sh", "-c", "sleep 2; echo prepared > /var/cache/made-up/done"]
[[toolchain.layer]]
name = "ballast"
debian = ["made-up-ballast"]
"#;
        project(&folder, &format!("{RECIPE_HEAD}{}{}", toolchain(QUICK, ""), toolchain(SLOW, slow)), &server.url(""));
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join("images/rvc2").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        for version in [QUICK, SLOW] {
            let program =
                |name: &str| format!("program = \"/usr/bin/sh\"\narguments = [\"/usr/share/made-up/{name}\"]");
            let text = format!(
                "format = 1\ntarget = \"rvc2\"\nversion = \"{version}\"\ndialect = \"openvino-2021\"\n\
                 [model-optimizer]\n{}\n[compiler]\nkind = \"driver\"\n{}\n[prover]\n{}\n",
                program("optimizer"),
                program("driver"),
                program("prover")
            );
            write(&format!("{version}.toml"), text.as_bytes());
        }
        write("driver", DRIVER.as_bytes());
        write("optimizer", OPTIMIZER.as_bytes());
        write("prover", PROVER.as_bytes());
        for shaves in 1..=16 {
            write(&format!("blobs/{shaves}.blob"), &blob(shaves));
        }
        succeed(program(&folder, &store).arg("lock"));
        Toolchain { project: folder, store, documents }
    })
}

impl Toolchain {
    /// Copies the project to `folder`, with packages from another server.
    pub fn copied(&self, folder: &Path, server: &str) {
        succeed(Command::new("cp").arg("-a").arg(self.project.join(".")).arg(folder));
        mirrors(folder, server);
    }
}

/// The network that the made-up compiler has blobs for.
pub fn network() -> Model {
    Model::new(
        Graph::new()
            .input("image", FLOAT, &sizes(&[1, 3, 4, 5]))
            .node(Node::new("Flatten", &["image"], &["flat"]).named("flatten").int("axis", 1))
            .initializer(Tensor::floats("weights", &[60, 2], &[0.5; 120]))
            .node(Node::new("MatMul", &["flat", "weights"], &["score"]).named("classify"))
            .output("score", FLOAT, &sizes(&[1, 2])),
    )
}
