//! The pictures of the documents: each is what `tests/pictures/run` draws from its tables, is
//! small, and has a title and a description.

use std::fs;
use std::path::{Path, PathBuf};

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;

/// The largest size of a picture, in bytes.
const LARGEST: usize = 12_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn pictures_are_drawn_from_their_tables() {
    let (Some(bash), Some(_)) = (Peer::find("bash"), Peer::find("python3")) else { return };
    let drawn = TempRoot::new();
    let mut command = bash.command();
    command.arg(root().join("tests/pictures/run")).env("PICTURES", drawn.path());
    run(&mut command).succeeded();
    let pictures = root().join("docs/pictures");
    let mut names: Vec<_> = fs::read_dir(&pictures)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut again = drawn.names();
    again.sort();
    assert!(names.iter().map(String::as_bytes).eq(&again), "{names:?}: draw them all");
    for name in names {
        let kept = fs::read(pictures.join(&name)).unwrap();
        assert!(kept == drawn.read(&name), "{name} is old: run `bash tests/pictures/run`");
        let text = String::from_utf8(kept).unwrap();
        assert!(text.len() < LARGEST, "{name} has {} bytes", text.len());
        for part in ["role='img'", "<title id='t'>", "<desc id='d'>"] {
            assert!(text.contains(part), "{name} lacks {part}");
        }
    }
}

/// The arrows between crates in `upload.svg` are the dependencies in the manifests.
#[test]
fn crate_dependencies_match_the_picture() {
    for (name, wanted) in [
        ("ftp-cli", &["ftp-client", "ftp-proto", "ftp-server"][..]),
        ("ftp-client", &["ftp-proto"]),
        ("ftp-server", &["ftp-proto"]),
        ("ftp-proto", &[]),
    ] {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        let names = dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        let ours: Vec<_> = names.filter(|name| name.starts_with("ftp-")).collect();
        assert_eq!(ours, wanted, "{name}");
    }
}
