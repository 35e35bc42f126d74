//! `--compress` (MODE Z): single files, listings, scripts and trees, in plaintext and under TLS.

use std::fs;

use ftp_server::testing::Recorder;
use ftp_server::{Server, ServerConfig, Tls};
use ftp_tests::content::{binary, text};
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::tls::{Authority, Kind, Pair};

use crate::mirror::{fill, tree};
use crate::{ftp, in_directory};

/// A server that compresses, and a local directory.
struct Scene {
    server: OurServer,
    recorder: Recorder,
    here: TempRoot,
    scheme: &'static str,
    pin: String,
}

impl Scene {
    fn new(scheme: &'static str, pair: &Pair) -> Self {
        let config = ServerConfig::new().compression(true);
        let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
        let tls = Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let recorder = Recorder::default();
        let builder = Server::builder().config(config).tls(tls).recorder(&recorder);
        let server = OurServer::built(builder);
        Self { server, recorder, here: TempRoot::new(), scheme, pin: pair.pin() }
    }

    fn url(&self, path: &str) -> String {
        self.server.url(path).replacen("ftp", self.scheme, 1)
    }

    /// Runs a command with `--compress`, which must use MODE Z, and protect data under TLS.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        let before = self.recorder.commands().len();
        let mut command = ftp(arguments);
        command.arg("--compress").current_dir(self.here.path());
        if self.scheme == "ftpes" {
            command.args(["--pin", &self.pin]);
        }
        let ran = run(&mut command);
        ran.exited(0);
        let sent = self.recorder.commands().split_off(before);
        let position = |line: &str| sent.iter().position(|sent| sent == line);
        let (mode, protection) = (position("MODE Z"), position("PROT P"));
        assert!(mode.is_some(), "{sent:?}");
        assert_eq!(protection.is_some(), self.scheme == "ftpes", "{sent:?}");
        ran
    }
}

#[test]
fn compression_works_in_each_command_and_under_tls_cl_70() {
    let pair = Authority::new().issue(Kind::Good);
    for scheme in ["ftp", "ftpes"] {
        let scene = Scene::new(scheme, &pair);
        let (root, here) = (&scene.server.root, &scene.here);
        for content in [Vec::new(), text(300_000, 1), binary(300_000, 2)] {
            here.write("a", &content);
            scene.run(&["put", "a", &scene.url("b")]);
            assert!(root.read("b") == content, "{scheme}");
            scene.run(&["get", &scene.url("b"), "c"]);
            assert!(here.read("c") == content, "{scheme}");
        }
        let content = text(300_000, 3);
        // Offsets are those of the file, not of the compressed data.
        root.write("whole", &content);
        // The server computes digests, so the beginning is proved and resumed.
        here.write("whole", &content[..100_000]);
        scene.run(&["get", "-c", &scene.url("whole")]);
        assert!(here.read("whole") == content, "{scheme}");
        root.write("whole", &content[..200_000]);
        scene.run(&["put", "-c", "whole", &scene.url("whole")]);
        assert!(root.read("whole") == content, "{scheme}");
        let listed = scene.run(&["ls", &scene.url("")]).succeeded();
        assert_eq!(listed, b"b\nwhole\n", "{scheme}");
        here.write("script", b"get whole typed\nput typed there\nls\n");
        scene.run(&["batch", &scene.url(""), "script"]);
        assert!(here.read("typed") == content && root.read("there") == content, "{scheme}");
    }
}

#[test]
fn a_compressed_mirror_copies_the_same_tree_cl_70() {
    let pair = Authority::new().issue(Kind::Good);
    for scheme in ["ftp", "ftpes"] {
        let scene = Scene::new(scheme, &pair);
        fill(&scene.here, "src");
        scene.here.write("src/large", &text(700_000, 4));
        scene.run(&["mirror", "-j", "2", "src", &scene.url("www")]);
        let source = tree(&scene.here.join("src"));
        assert_eq!(tree(&scene.server.root.join("www")), source, "{scheme}");
        scene.run(&["mirror", "-j", "2", &scene.url("www"), "back"]);
        assert_eq!(tree(&scene.here.join("back")), source, "{scheme}");
        fs::write(scene.here.join("src/large"), b"changed").unwrap();
        scene.run(&["mirror", "--delete", "src", &scene.url("www")]);
        assert_eq!(scene.server.root.read("www/large"), b"changed", "{scheme}");
    }
}

#[test]
fn a_server_without_mode_z_is_used_uncompressed_cl_70() {
    let server = OurServer::start();
    let here = TempRoot::new();
    server.root.write("a", b"content");
    let ran = in_directory(&here, &["get", "--compress", &server.url("a")]);
    ran.exited(0);
    assert_eq!(here.read("a"), b"content");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("does not offer MODE Z: data is not compressed"), "{said}");
}
