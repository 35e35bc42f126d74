//! Goals of `docs/dev/hostile.md` that concern the project's files.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use ftp_tests::check::TARGETS;
use ftp_tests::hostile::behaviours;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the names of the files in a directory.
fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn each_fuzz_target_has_a_corpus_and_runs_each_night_go_01() {
    let targets: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert!(targets.len() >= 16, "{targets:?}");
    assert_eq!(names("tests/fuzz/corpus"), targets);
    assert!(read(".ci/nightly").contains("try bash tests/fuzz/run all "));
}

/// What the fuzzer once found stays fixed, in every run of the tests.
#[test]
fn no_input_of_a_corpus_breaks_an_invariant_go_01() {
    for (target, check) in TARGETS {
        let folder = format!("tests/fuzz/corpus/{target}");
        for name in names(&folder) {
            let input = fs::read(root().join(&folder).join(&name)).unwrap();
            let outcome = catch_unwind(|| check(&input));
            assert!(outcome.is_ok(), "{folder}/{name}");
        }
    }
}

#[test]
fn the_check_runs_a_soak_and_its_longest_duration_is_published_go_14() {
    assert!(read(".ci/run").contains("tests/campaign soak --minutes "));
    assert!(read("docs/dev/testing.md").contains("| soak, seed 20261125 | 60 min |"));
}

#[test]
fn a_thousand_hostile_inputs_are_files_with_their_outcome_go_04() {
    let of_servers = behaviours().len();
    let of_clients: usize = names("tests/suite/server/hostile")
        .iter()
        .map(|name| read(format!("tests/suite/server/hostile/{name}")))
        .map(|text| text.lines().filter(|line| line.starts_with('>')).count())
        .sum();
    let of_configurations = read("ftp-cli/tests/config/broken.txt").matches("\n! ").count();
    assert!(of_servers >= 700, "{of_servers}");
    assert!(of_clients >= 700, "{of_clients}");
    assert!(of_configurations >= 200, "{of_configurations}");
}

#[test]
fn each_crate_has_the_lints_against_unsafe_code_and_panics_go_11() {
    let workspace = read("Cargo.toml");
    for line in
        ["unsafe_code = \"forbid\"", "unwrap_used = \"warn\"", "indexing_slicing = \"warn\""]
    {
        assert!(workspace.contains(line), "{line}");
    }
    for member in ["ftp-proto", "ftp-client", "ftp-server", "ftp-cli", "tests"] {
        let manifest = read(format!("{member}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{member}");
    }
    assert!(read(".ci/run").contains("--all-targets -- -D warnings"));
}
