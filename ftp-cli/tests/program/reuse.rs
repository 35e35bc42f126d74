//! `--reuse-data` (MODE B): many files over one data connection, in plaintext and under TLS.

use std::fs;

use ftp_server::testing::{ProtocolFault, Recorder};
use ftp_server::{Server, ServerBuilder, ServerConfig, Tls, Verb};
use ftp_tests::content::binary;
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::tls::{Authority, Kind, Pair};

use crate::mirror::{fill, tree};
use crate::{ftp, in_directory};

/// The number of files in a tree.
const FILES: usize = 300;

/// A server, and a local directory.
struct Scene {
    server: OurServer,
    recorder: Recorder,
    here: TempRoot,
    scheme: &'static str,
    pin: String,
}

impl Scene {
    fn new(scheme: &'static str, pair: &Pair, faults: &[(Verb, u64, ProtocolFault)]) -> Self {
        let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
        let tls = Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let recorder = Recorder::default();
        let builder = Server::builder().tls(tls).recorder(&recorder);
        let with =
            |builder: ServerBuilder, &(verb, nth, fault): &_| builder.fault(verb, nth, fault);
        let server = OurServer::built(faults.iter().fold(builder, with));
        Self { server, recorder, here: TempRoot::new(), scheme, pin: pair.pin() }
    }

    fn url(&self, path: &str) -> String {
        self.server.url(path).replacen("ftp", self.scheme, 1)
    }

    /// Runs a command with `--reuse-data`, over one connection unless it names a number, and returns the
    /// number of data connections too.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> (Ran, usize) {
        let before = self.recorder.commands().len();
        let mut command = ftp(arguments);
        command.arg("--reuse-data").current_dir(self.here.path());
        if ["get", "put", "mirror"].contains(&arguments[0]) && !arguments.contains(&"-j") {
            let is_single = arguments.contains(&"-c");
            command.args(["-j", "1"].iter().filter(|_| !is_single));
        }
        if self.scheme == "ftpes" {
            command.args(["--pin", &self.pin]);
        }
        let ran = run(&mut command);
        ran.exited(0);
        let sent = self.recorder.commands().split_off(before);
        let count = |line: &str| sent.iter().filter(|sent| *sent == line).count();
        let sessions = count("MODE B");
        assert_eq!(count("EPSV"), sessions, "{sent:?}");
        // Another session may find no work.
        let is_protected = count("PROT P") >= sessions;
        assert_eq!(is_protected, self.scheme == "ftpes", "{sent:?}");
        assert!(sessions > 0, "{sent:?}");
        (ran, sessions)
    }

    /// Writes a tree of many small files, some of other sizes, and all kinds of names.
    fn fill(&self) {
        fill(&self.here, "src");
        for number in 0..FILES {
            let size = [1_024, 0, 1, 70_000][number % 97 % 4];
            self.here.write(format!("src/many/{number}"), &binary(size, number as u64));
        }
    }
}

#[test]
fn a_mirror_uses_one_data_connection_each_way_cl_73_cl_75() {
    let pair = Authority::new().issue(Kind::Good);
    for scheme in ["ftp", "ftpes"] {
        let scene = Scene::new(scheme, &pair, &[]);
        scene.fill();
        // The listing of a missing directory asks for a data connection that is never opened.
        scene.server.root.mkdir("www");
        let source = tree(&scene.here.join("src"));
        assert_eq!(scene.run(&["mirror", "src", &scene.url("www")]).1, 1, "{scheme}");
        assert_eq!(tree(&scene.server.root.join("www")), source, "{scheme}");
        assert_eq!(scene.run(&["mirror", &scene.url("www"), "back"]).1, 1, "{scheme}");
        assert_eq!(tree(&scene.here.join("back")), source, "{scheme}");
        let connections = scene.run(&["mirror", "-j", "2", &scene.url("www"), "two"]).1;
        assert!((1..=2).contains(&connections), "{scheme}");
        assert_eq!(tree(&scene.here.join("two")), source, "{scheme}");
        fs::write(scene.here.join("src/many/0"), b"changed").unwrap();
        assert_eq!(scene.run(&["mirror", "--delete", "src", &scene.url("www")]).1, 1);
        assert_eq!(scene.server.root.read("www/many/0"), b"changed", "{scheme}");
    }
}

#[test]
fn files_and_scripts_use_one_data_connection_cl_73_cl_75() {
    let pair = Authority::new().issue(Kind::Good);
    for scheme in ["ftp", "ftpes"] {
        let scene = Scene::new(scheme, &pair, &[]);
        let (root, here) = (&scene.server.root, &scene.here);
        let names = ["a", "b", "c", "d"];
        for (size, name) in names.iter().enumerate() {
            here.write(name, &binary(100_000 * size, 7));
        }
        let put: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut arguments = vec!["put"];
        arguments.extend(put.iter().map(String::as_str));
        let target = scene.url("");
        arguments.push(&target);
        assert_eq!(scene.run(&arguments).1, 1, "{scheme}");
        let urls = names.map(|name| scene.url(name));
        let got = here.mkdir("got");
        let mut arguments = vec!["get", "--directory", got.to_str().unwrap()];
        arguments.extend(urls.iter().map(String::as_str));
        assert_eq!(scene.run(&arguments).1, 1, "{scheme}");
        for name in names {
            assert!(root.read(name) == here.read(name), "{scheme} {name}");
            assert!(here.read(format!("got/{name}")) == here.read(name), "{scheme} {name}");
        }
        // Offsets are those of the file.
        let content = here.read("d");
        here.write("d.part", &content[..100_000]);
        fs::remove_file(here.join("d")).unwrap();
        assert_eq!(scene.run(&["get", "-c", &scene.url("d")]).1, 1);
        assert!(here.read("d") == content, "{scheme}");
        root.write("d", &content[..200_000]);
        assert_eq!(scene.run(&["put", "-c", "d", &scene.url("d")]).1, 1);
        assert!(root.read("d") == content, "{scheme}");
        here.write("script", b"get b typed\nput typed there\nls\nget there back\n");
        let (ran, connections) = scene.run(&["batch", &scene.url(""), "script"]);
        let mut listed: Vec<_> = ran.stdout.split(|byte| *byte == b'\n').collect();
        listed.sort_unstable();
        assert_eq!((connections, listed.concat()), (1, b"abcdthere".to_vec()), "{scheme}");
        assert!(here.read("back") == here.read("b"), "{scheme}");
    }
}

#[test]
fn a_mirror_resumes_after_each_interruption_cl_74_cl_75() {
    let pair = Authority::new().issue(Kind::Good);
    for scheme in ["ftp", "ftpes"] {
        let after = ProtocolFault::Abort { after: 500 };
        let faults = [
            (Verb::Retr, 7, after),
            (Verb::Retr, 100, ProtocolFault::Close),
            (Verb::Retr, 200, after),
            (Verb::Stor, 50, after),
            (Verb::Stor, 150, ProtocolFault::Close),
        ];
        let scene = Scene::new(scheme, &pair, &faults);
        scene.fill();
        let source = tree(&scene.here.join("src"));
        let retry = ["--retry", "3", "--retry-delay", "0"];
        let mirror = |from: &str, to: &str| {
            let mut command = ftp(&["mirror", "--reuse-data", from, to]);
            command.args(retry).args(["--pin", &scene.pin]).current_dir(scene.here.path());
            if scheme == "ftp" {
                command = ftp(&["mirror", "--reuse-data", from, to]);
                command.args(retry).current_dir(scene.here.path());
            }
            run(&mut command).exited(0);
        };
        mirror("src", &scene.url("www"));
        assert_eq!(tree(&scene.server.root.join("www")), source, "{scheme}");
        mirror(&scene.url("www"), "back");
        assert_eq!(tree(&scene.here.join("back")), source, "{scheme}");
    }
}

#[test]
fn reuse_data_falls_back_without_mode_b_cl_73() {
    let server = OurServer::with(ServerConfig::new().block_mode(false));
    let here = TempRoot::new();
    server.root.write("a", b"content");
    let ran = in_directory(&here, &["get", "--reuse-data", &server.url("a")]);
    ran.exited(0);
    assert_eq!(here.read("a"), b"content");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("does not offer MODE B: each file uses its own data"), "{said}");
    let ran = in_directory(&here, &["get", "--reuse-data", "--compress", &server.url("a")]);
    ran.exited(2);
}
