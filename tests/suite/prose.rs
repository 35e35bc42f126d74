//! What people read has plain words, and its links lead somewhere.
//!
//! What is searched stands in [`covered`]. Help and man page are searched where the program is run,
//! in `ftp-cli/tests/program/documents`; messages, doc comments and the changelog are not yet.

use std::fs;
use std::path::{Path, PathBuf};

use ftp_tests::prose::faults;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The documents that are searched.
fn covered() -> Vec<PathBuf> {
    let mut paths =
        ["README.md", "SECURITY.md", "dist/server.toml"].map(|it| root().join(it)).to_vec();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        paths.extend(Some(path).filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    paths.sort();
    paths
}

#[test]
fn documents_have_plain_words() {
    let mut found = Vec::new();
    for path in covered() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        found.extend(faults(&text).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for path in covered().into_iter().chain([root().join("CONTRIBUTING.md")]) {
        let text = fs::read_to_string(&path).unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split([')', '#']).next().unwrap();
            let is_here = !target.is_empty() && !target.contains(':');
            if is_here && !path.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn words_are_found_where_they_are_words() {
    assert_eq!(
        faults("It is\nno file.\n```\nbehind\n```\nRecommend `behind`.\n"),
        ["line 1: \"is no\": write is not a"]
    );
    assert_eq!(faults("behind\n"), ["line 1: \"behind\": write after, following, fallback"]);
    assert_eq!(faults("Ten lines a second."), ["line 1: \"a second\": write per second"]);
    for fine in ["behind a NAT", "There is no need.", "it is no longer so", "a second file"] {
        assert_eq!(faults(fine), [""; 0], "{fine}");
    }
}
