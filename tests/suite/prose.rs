//! Documents, help and messages use plain words, and their links work.
//!
//! The documents are those of [`covered`]; messages and the documentation of public items are searched
//! in the sources of all crates. Other comments are for engineers, who know the terms. Help and man page are searched in `ftp-cli/tests/program/documents`, which runs the
//! program.

use std::fs;
use std::path::{Path, PathBuf};

use ftp_tests::prose::{docs_and_literals, faults};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The documents that are searched.
fn covered() -> Vec<PathBuf> {
    let mut paths =
        ["README.md", "SECURITY.md", "ARCHITECTURE.md", "CHANGELOG.md", "dist/server.toml"]
            .map(|it| root().join(it))
            .to_vec();
    let crates = ["ftp-proto", "ftp-client", "ftp-server", "ftp-cli"];
    paths.extend(crates.map(|name| root().join(name).join("README.md")));
    for (folder, extension) in [("docs", "md"), ("docs/dev", "md"), ("ftp-cli/help", "txt")] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            paths.extend(Some(path).filter(|it| it.extension().is_some_and(|it| it == extension)));
        }
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
        // The names of findings are not prose.
        let is_name = |line: &&str| name == "diagnoses.txt" && !line.starts_with(' ');
        let lines = text.lines().map(|line| if is_name(&line) { "" } else { line });
        let text = lines.collect::<Vec<_>>().join("\n");
        found.extend(faults(&text).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Returns the sources of the crates, without files that contain only tests.
fn sources() -> Vec<PathBuf> {
    let crates = ["ftp-proto", "ftp-client", "ftp-server", "ftp-cli"];
    let mut folders: Vec<PathBuf> = crates
        .iter()
        .flat_map(|name| ["src", "examples"].map(|it| root().join(name).join(it)))
        .collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy();
            match name.as_ref() {
                "tests" | "tests.rs" => {}
                _ if path.is_dir() => folders.push(path),
                name if name.ends_with(".rs") => sources.push(path),
                _ => {}
            }
        }
    }
    sources.sort();
    sources
}

#[test]
fn public_documentation_and_messages_have_plain_words() {
    let mut found = Vec::new();
    let sources = sources();
    assert!(sources.len() > 300, "only {} sources", sources.len());
    for path in sources {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let faults = docs_and_literals(&text).into_iter().flat_map(|text| faults(&text));
        found.extend(faults.map(|fault| format!("{name}: {fault}")));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn docs_and_literals_are_extracted_from_a_source() {
    let source = "/// One.\npub fn a() {\n// Two.\nlet a = '\"';\nlet b = \"three \\\n  four\\\"\";\n\
                  /// Private.\n#[inline]\nfn b() {}\n#[cfg(test)] \"five\"";
    let [docs, literals] = docs_and_literals(source);
    assert_eq!(docs.trim_end(), " One.");
    assert_eq!(literals.trim(), "three \n  four\".");
}

/// Returns the anchors of a document's headings, as GitHub derives them.
fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let slug = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        kept.map(|char| if char == ' ' { '-' } else { char }).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn relative_links_lead_to_existing_files_and_headings() {
    let mut broken = Vec::new();
    for path in covered().into_iter().chain([root().join("CONTRIBUTING.md")]) {
        let text = fs::read_to_string(&path).unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split(')').next().unwrap();
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            if file.contains(':') {
                continue;
            }
            let leads_to =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let is_there = heading.is_empty() && leads_to.exists()
                || fs::read_to_string(leads_to)
                    .is_ok_and(|text| anchors(&text).contains(&heading.to_owned()));
            if !is_there {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The user pages can be read in an hour or two: what is said elsewhere, or in server.toml(5), is cut.
/// Few need the pages about gateways and about other systems than Linux; these are short by themselves.
#[test]
fn user_pages_are_short() {
    let is_page = |path: &PathBuf| path.parent().unwrap().ends_with("docs");
    let pages: Vec<PathBuf> = covered().into_iter().filter(is_page).collect();
    assert!(pages.len() > 12, "{pages:?}");
    let words = |path: &PathBuf| fs::read_to_string(path).unwrap().split_whitespace().count();
    let is_apart = |path: &&PathBuf| path.ends_with("gateway.md") || path.ends_with("systems.md");
    let (apart, pages): (Vec<_>, Vec<_>) = pages.iter().partition(is_apart);
    assert!(apart.len() == 2 && apart.iter().all(|path| words(path) <= 600), "{apart:?}");
    let words: usize = pages.into_iter().map(words).sum();
    assert!(words > 10_000 && words <= 22_000, "{words} words");
}

#[test]
fn forbidden_words_are_found_outside_code_and_exceptions() {
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
