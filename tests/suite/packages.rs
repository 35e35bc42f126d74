//! The packages of the crates are whole: each has its licences and its README, and no source
//! includes a file that is outside of its package.

use std::fs;
use std::path::{Component, Path, PathBuf};

const CRATES: [&str; 4] = ["ftp-proto", "ftp-client", "ftp-server", "ftp-cli"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn each_package_has_licences_and_a_readme() {
    for name in CRATES {
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let found = fs::read(root().join(name).join(licence)).unwrap();
            assert_eq!(found, fs::read(root().join(licence)).unwrap(), "{name}/{licence}");
        }
        let readme = fs::read_to_string(root().join(name).join("README.md")).unwrap();
        assert!(readme.starts_with(&format!("# {}\n", package(name))), "{readme}");
        // Relative links lead nowhere in a registry.
        assert!(!readme.contains("]("), "{readme}");
    }
}

/// The package of a crate's directory. Another project has the name `ftp-client` in the registry.
fn package(name: &str) -> &str {
    if name == "ftp-client" { "ftp-toolkit-client" } else { name }
}

#[test]
fn each_package_says_what_it_is_and_where_its_sources_and_documentation_are() {
    for name in CRATES {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let about = manifest.split("\n[").next().unwrap();
        let package = package(name);
        for line in [
            format!("name = \"{package}\""),
            format!("documentation = \"https://docs.rs/{package}\""),
            "repository.workspace = true".to_owned(),
            "rust-version.workspace = true".to_owned(),
            "license.workspace = true".to_owned(),
            "readme = \"README.md\"".to_owned(),
        ] {
            assert!(about.lines().any(|it| it == line), "{name}: {line}");
        }
        for key in ["description", "keywords", "categories"] {
            assert!(about.contains(&format!("\n{key} = ")), "{name}: {key}");
        }
    }
}

/// Returns what the path is inside of its package, or `None` if it leaves it.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => found.pop().then_some(())?,
            other => found.push(other),
        }
    }
    Some(found)
}

#[test]
fn no_source_includes_a_file_outside_of_its_package() {
    let mut includes = 0;
    for name in CRATES {
        let package = root().join(name);
        let mut folders = vec![PathBuf::from("src"), PathBuf::from("examples")];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(package.join(&folder)) else { continue };
            for entry in entries.map(Result::unwrap) {
                let path = folder.join(entry.file_name());
                if entry.path().is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "rs") {
                    let text = fs::read_to_string(entry.path()).unwrap();
                    let parts = ["include_str!", "include_bytes!"].map(|it| text.split(it).skip(1));
                    for file in
                        parts.into_iter().flatten().filter_map(|part| part.split('"').nth(1))
                    {
                        let included = inside(&folder.join(file));
                        let is_there = included.is_some_and(|it| package.join(it).is_file());
                        assert!(is_there, "{name}/{}: {file}", path.display());
                        includes += 1;
                    }
                }
            }
        }
    }
    assert!(includes >= 2, "only {includes} includes were found");
}
