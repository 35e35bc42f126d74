//! The pictures of the documents: each is what `tests/pictures/run` draws from its tables, is
//! small, and has a title and a description.

use std::fs;
use std::path::{Path, PathBuf};

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;

/// The largest size of a picture, in bytes.
const LARGEST: usize = 16_000;

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
        for part in ["role='img'", "<title id='t'>", "<desc id='d'>", "(prefers-color-scheme:dark)"]
        {
            assert!(text.contains(part), "{name} lacks {part}");
        }
    }
}

/// Our figures in the picture are those in the table of its page.
#[test]
fn figures_of_the_picture_and_the_page_agree() {
    let page = fs::read_to_string(root().join("docs/figures.md")).unwrap();
    for (table, beginning) in [
        ("tls", "| processor time of the server under TLS, download and upload, s/GiB | "),
        ("idle", "| an idle session, KiB, with the kernel's share | "),
        ("mirror", "| `mirror` of 10,000 small files up, down, nothing to do, s | "),
    ] {
        let path = root().join("tests/pictures").join(table).with_extension("tsv");
        let text = fs::read_to_string(path).unwrap();
        let ours = text.lines().find_map(|line| line.strip_prefix("ftp-cli")).unwrap();
        let ours: Vec<_> = ours.split('\t').skip(1).collect();
        let row = page.lines().find_map(|line| line.strip_prefix(beginning)).unwrap();
        let stated = row.split([' ', ',', ';']).filter(|word| !word.is_empty());
        assert!(stated.take(ours.len()).eq(ours.iter().copied()), "{table}: {ours:?} and {row}");
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
