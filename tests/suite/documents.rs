//! The numbered lines of `docs`: an id in the name of a test leads to its rule, and each rule to
//! the tests that prove it.
//!
//! A test claims an id by its name (`_fr_03_hs_11`, `_cm_01_to_09`) or by naming it in its body
//! (`HS-30`). A table of dialogues claims the ids in it. The lists of tests in `docs` are derived
//! from these claims; `FTP_WRITE_DOCS=1` writes them.
//!
//! The rows of `docs/dev/assumptions.md` name their tests themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The prefixes of ids.
const PREFIXES: [&str; 23] = [
    "FR", "RP", "ST", "CM", "DC", "AS", "LS", "FS", "TL", "CL", "FX", "DV", "LI", "CX", "HS", "HD",
    "HP", "HO", "HF", "HT", "HC", "HL", "GO",
];

const DOCUMENTS: [&str; 2] = ["docs/dev/conformance.md", "docs/dev/hostile.md"];

/// The directories of sources and tests, and the tables that tests read.
const SOURCES: [&str; 10] = [
    "ftp-proto/src",
    "ftp-proto/tests",
    "ftp-client/src",
    "ftp-client/tests",
    "ftp-server/src",
    "ftp-cli/src",
    "ftp-cli/tests",
    "tests/src",
    "tests/hostile",
    "tests/suite",
];

#[test]
fn documented_ids_match_the_tests() {
    let sources = sources();
    let claims = Claims::of(&sources);
    if std::env::var_os("FTP_WRITE_DOCS").is_some() {
        for path in DOCUMENTS {
            let path = root().join(path);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, rewritten(&text, &claims)).unwrap();
        }
    }
    let documents: String =
        DOCUMENTS.iter().map(|path| fs::read_to_string(root().join(path)).unwrap()).collect();
    let faults = faults(&documents, &claims);
    assert!(
        faults.is_empty(),
        "{}\n`FTP_WRITE_DOCS=1 cargo test -p ftp-tests --test suite documents` writes the lists of \
         tests again",
        faults.join("\n")
    );
}

/// A line of a document: `- **ID** · status · rule`, and its tests below it.
struct Line<'a> {
    id: &'a str,
    status: &'a str,
    tests: BTreeSet<Proof>,
}

/// A file and a test in it; a table itself is a test.
type Proof = (String, Option<String>);

fn lines(document: &str) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for text in document.lines() {
        if let Some((id, status)) = head(text) {
            lines.push(Line { id, status, tests: BTreeSet::new() });
        } else if let (Some(tests), Some(line)) = (text.strip_prefix("  - "), lines.last_mut()) {
            let (file, names) = tests.split_once(": ").unwrap_or((tests, ""));
            let mut names = names.split(", ").map(|name| name.trim_matches('`')).peekable();
            if names.peek() == Some(&"") {
                line.tests.insert((file.to_owned(), None));
            } else {
                let names = names.map(|name| (file.to_owned(), Some(name.to_owned())));
                line.tests.extend(names);
            }
        }
    }
    lines
}

fn head(text: &str) -> Option<(&str, &str)> {
    let (id, rest) = text.strip_prefix("- **")?.split_once("** · ")?;
    let (status, _) = rest.split_once(" · ")?;
    Some((id, status))
}

/// Returns the faults of the documents, one per line.
fn faults(documents: &str, claims: &Claims) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = lines(documents);
    let mut known = BTreeSet::new();
    for line in &lines {
        let Line { id, status, tests } = line;
        if !known.insert(*id) {
            faults.push(format!("{id} is there twice"));
        }
        let (word, note) = status.split_once(": ").unwrap_or((status, ""));
        match word {
            "implemented" if !note.is_empty() => {
                faults.push(format!("{id}: what is implemented needs no note: {note}"));
            }
            "implemented" | "partly" if tests.is_empty() => {
                faults.push(format!("{id} is marked {word}, and no test proves it"));
            }
            "partly" | "not applicable" if note.is_empty() => {
                faults.push(format!("{id}: {word}, but not why"));
            }
            "implemented" | "partly" | "later" | "not applicable" => {}
            _ => faults.push(format!("{id}: no such status: {status}")),
        }
        for proof @ (file, name) in tests {
            if !claims.tests.contains(proof) {
                let name = name.as_deref().unwrap_or_default();
                faults.push(format!("{id}: there is no test {name} in {file}"));
            }
        }
    }
    for (id, places) in &claims.cited {
        if !known.contains(id.as_str()) {
            let places: Vec<_> = places.iter().map(String::as_str).collect();
            faults.push(format!("{id} stands in no document; see {}", places.join(", ")));
        }
    }
    faults
}

/// Returns the document with new lists of tests. A line that is `later` and now has a test becomes
/// `implemented`; a status with a note is unchanged.
fn rewritten(document: &str, claims: &Claims) -> String {
    let mut out = String::new();
    let mut waiting: Option<&str> = None;
    let list = |out: &mut String, id: Option<&str>| {
        let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (file, name) in id.map(|id| claims.proving(id)).unwrap_or_default() {
            files.entry(file).or_default().extend(name.as_deref());
        }
        for (file, names) in files {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let colon = if names.is_empty() { "" } else { ": " };
            out.push_str(&format!("  - {file}{colon}{}\n", names.join(", ")));
        }
    };
    for text in document.lines() {
        let goes_on = text.starts_with("  ");
        if text.starts_with("  - ") {
            continue;
        }
        if !goes_on {
            list(&mut out, waiting.take());
        }
        match head(text) {
            Some((id, status)) => {
                waiting = Some(id);
                let has_tests = !claims.proving(id).is_empty();
                if status == "later" && has_tests {
                    out.push_str(&text.replacen(" · later · ", " · implemented · ", 1));
                } else {
                    out.push_str(text);
                }
            }
            None => out.push_str(text),
        }
        out.push('\n');
    }
    list(&mut out, waiting);
    out
}

/// The ids in the sources.
#[derive(Default)]
struct Claims {
    /// All tests.
    tests: BTreeSet<Proof>,
    /// The ids that are named, and the files that name them.
    cited: BTreeMap<String, BTreeSet<String>>,
    /// The tests that claim each id.
    proofs: BTreeMap<String, BTreeSet<Proof>>,
}

impl Claims {
    fn of(sources: &[(String, String)]) -> Self {
        let mut claims = Self::default();
        for (file, text) in sources {
            claims.read(file, text);
        }
        claims
    }

    fn read(&mut self, file: &str, text: &str) {
        let is_table = file.ends_with(".txt");
        let mut current = is_table.then(|| (file.to_owned(), None));
        let mut is_test = false;
        self.tests.extend(current.clone());
        for line in text.lines() {
            let code = line.trim_start();
            is_test |= code == "#[test]";
            if let Some(name) = function(code) {
                current = is_test.then(|| (file.to_owned(), Some(name.to_owned())));
                self.tests.extend(current.clone());
                if is_test {
                    for (first, last) in ids_of_name(name) {
                        self.cite(file, &first);
                        self.cite(file, &last);
                        for id in between(&first, &last) {
                            self.prove(&id, current.as_ref());
                        }
                    }
                }
                is_test = false;
            }
            for id in ids_of_text(line) {
                self.cite(file, &id);
                self.prove(&id, current.as_ref());
            }
        }
    }

    fn cite(&mut self, file: &str, id: &str) {
        self.cited.entry(id.to_owned()).or_default().insert(file.to_owned());
    }

    fn prove(&mut self, id: &str, test: Option<&Proof>) {
        if let Some(test) = test {
            self.proofs.entry(id.to_owned()).or_default().insert(test.clone());
        }
    }

    fn proving(&self, id: &str) -> Vec<&Proof> {
        self.proofs.get(id).into_iter().flatten().collect()
    }
}

/// Returns the name after `fn`, if a function begins on this line.
fn function(code: &str) -> Option<&str> {
    let code = ["pub(crate) ", "pub(super) ", "pub ", "const "]
        .iter()
        .fold(code, |code, word| code.strip_prefix(word).unwrap_or(code));
    let name = code.strip_prefix("fn ")?;
    name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
}

/// Returns the ids in the name of a test, each as the first and the last of a range.
fn ids_of_name(name: &str) -> Vec<(String, String)> {
    let words: Vec<_> = name.split('_').collect();
    let number = |at: usize| words.get(at).copied().filter(|word| is_number(word));
    let prefix = |at: usize| {
        let word = words.get(at)?.to_ascii_uppercase();
        PREFIXES.contains(&word.as_str()).then_some(word)
    };
    let mut ids = Vec::new();
    for at in 0..words.len() {
        let (Some(prefix_word), Some(first)) = (prefix(at), number(at + 1)) else { continue };
        let last = match words.get(at + 2) {
            Some(&"to") => number(at + 3).or_else(|| prefix(at + 3).and_then(|_| number(at + 4))),
            _ => None,
        };
        let id = |number: &str| format!("{prefix_word}-{number}");
        ids.push((id(first), id(last.unwrap_or(first))));
    }
    ids
}

fn is_number(word: &str) -> bool {
    let digits = word.strip_suffix('a').unwrap_or(word);
    matches!(digits.len(), 2 | 3) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the ids from `first` to `last`.
fn between(first: &str, last: &str) -> Vec<String> {
    let split = |id: &str| id.split_once('-').map(|(_, number)| number.parse::<u32>());
    match (split(first), split(last)) {
        (Some(Ok(from)), Some(Ok(to))) if from < to => {
            let prefix = &first[..2];
            (from..=to).map(|number| format!("{prefix}-{number:02}")).collect()
        }
        _ => vec![first.to_owned()],
    }
}

/// Returns the ids in a line of text.
fn ids_of_text(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let is_id = |word: &&str| {
        word.split_once('-')
            .is_some_and(|(prefix, number)| PREFIXES.contains(&prefix) && is_number(number))
    };
    words.filter(is_id).map(str::to_owned).collect()
}

#[test]
fn every_assumption_has_its_world() {
    let text = fs::read_to_string(root().join("docs/dev/assumptions.md")).unwrap();
    let mut worlds: BTreeSet<_> =
        Claims::of(&sources()).tests.into_iter().filter_map(|(_, name)| name).collect();
    worlds.extend(promises());
    let is_file = |name: &str| {
        let (krate, name) = name
            .split_once('/')
            .filter(|(first, _)| first.starts_with("ftp-"))
            .unwrap_or(("ftp-server", name));
        let path = root().join(krate).join("src").join(name);
        path.with_extension("rs").is_file() || path.join("mod.rs").is_file()
    };
    let faults = ledger_faults(&text, &worlds, is_file);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Returns the promises of `tests/campaign worlds`.
fn promises() -> Vec<String> {
    let mut promises = Vec::new();
    for entry in fs::read_dir(root().join("tests/campaign")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "py") {
            let text = fs::read_to_string(path).unwrap();
            let names = text.lines().filter_map(|line| line.strip_prefix("def "));
            let names = names.filter_map(|rest| rest.split_once("(scene")).map(|(name, _)| name);
            promises.extend(names.map(str::to_owned));
        }
    }
    promises
}

/// Returns the faults of the ledger of assumptions, one per line. Its text states the number of its
/// rows without a world: each row more or less is a fault.
fn ledger_faults(
    text: &str,
    worlds: &BTreeSet<String>,
    is_file: impl Fn(&str) -> bool,
) -> Vec<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows: Vec<Vec<_>> = rows.map(|row| row.split(" | ").collect()).collect();
    let mut faults = Vec::new();
    let mut debt = 0;
    for row in rows.iter().filter(|row| row.len() > 2 && row.first() != Some(&"assumption")) {
        let [assumption, place, file, answer, world] = row[..] else {
            faults.push(format!("{}: not five columns", row.join(" | ")));
            continue;
        };
        if [assumption, place, answer].contains(&"") {
            faults.push(format!("{assumption}: an empty column"));
        }
        if !is_file(file.trim_matches('`')) {
            faults.push(format!("{assumption}: there is no file {file}"));
        }
        debt += usize::from(matches!(world, "none" | "pending"));
        let names = world.split(", ").map(|name| name.trim_matches('`'));
        for name in names.filter(|name| !matches!(*name, "none" | "pending")) {
            if !worlds.contains(name) {
                faults.push(format!("{assumption}: there is no test {name}"));
            }
        }
    }
    let stated = text.split_once(" rows have no world").map(|(before, _)| before);
    let stated = stated.and_then(|before| before.rsplit("**").next()?.parse::<usize>().ok());
    if stated != Some(debt) {
        faults.push(format!("{debt} rows have no world, and the page states {stated:?}"));
    }
    faults
}

#[test]
fn every_kind_of_ledger_fault_is_found() {
    let page = "**1 rows have no world.**\n\n| assumption | false where | relied on by | then | \
                world |\n|---|---|---|---|---|\n| A | B | `c` | D | `test`, `other` |\n\
                | E | F | `c` | G | none |\n";
    let worlds = ["test", "other"].map(str::to_owned).into();
    let faults = |page: &str| ledger_faults(page, &worlds, |name| name == "c").join("\n");
    assert_eq!(faults(page), "");
    for (from, to, fault) in [
        ("`other`", "`another`", "A: there is no test another"),
        ("`c` | G", "`d` | G", "E: there is no file `d`"),
        ("| B |", "|  |", "A: an empty column"),
        ("| B |", "|", "A | `c` | D | `test`, `other`: not five columns"),
        ("none |", "`test` |", "0 rows have no world, and the page states Some(1)"),
        ("`test`, `other`", "pending", "2 rows have no world, and the page states Some(1)"),
        ("**1 rows", "some rows", "1 rows have no world, and the page states None"),
    ] {
        assert!(faults(&page.replacen(from, to, 1)).contains(fault), "{fault}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns every source file and table by its path from the root, sorted. This file is left out:
/// its examples claim nothing.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut directories: Vec<PathBuf> = SOURCES.iter().map(PathBuf::from).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "rs" || extension == "txt")
                && !path.ends_with("documents.rs")
            {
                let text = fs::read_to_string(root().join(&path)).unwrap();
                sources.push((path.to_str().unwrap().to_owned(), text));
            }
        }
    }
    sources.sort();
    sources
}

#[test]
fn ids_are_parsed_from_test_names_and_texts() {
    let pair = |first: &str, last: &str| (first.to_owned(), last.to_owned());
    for (name, want) in [
        ("a_line_ends_fr_03_hs_11", vec![pair("FR-03", "FR-03"), pair("HS-11", "HS-11")]),
        ("cm_01_to_09_hs_27_x", vec![pair("CM-01", "CM-09"), pair("HS-27", "HS-27")]),
        ("reads_cm_39_to_cm_41", vec![pair("CM-39", "CM-41"), pair("CM-41", "CM-41")]),
        ("a_pin_tl_19a", vec![pair("TL-19a", "TL-19a")]),
        ("an_ascii_restart_cm_101", vec![pair("CM-101", "CM-101")]),
        ("splitmix_64_as_it_is_st_8", vec![]),
    ] {
        assert_eq!(ids_of_name(name), want, "{name}");
    }
    assert_eq!(between("CM-08", "CM-10"), ["CM-08", "CM-09", "CM-10"]);
    assert_eq!(
        ids_of_text("\"CM-38, HD-21\" and UTF-8, SHA-256, (TL-19a)."),
        ["CM-38", "HD-21", "TL-19a"]
    );
}

#[test]
fn every_kind_of_documentation_fault_is_found() {
    let source = "#[test]\nfn one_fr_01() {\n    // FR-02\n}\nfn helper() { /* FR-03 */ }\n";
    let claims = Claims::of(&[("a.rs".to_owned(), source.to_owned())]);
    let document = "- **FR-01** · later · One.\n  More of it.\n- **FR-02** · later: a note · Two.\n\
                    - **FR-03** · later · Three.\n";
    let written = rewritten(document, &claims);
    assert_eq!(
        written,
        "- **FR-01** · implemented · One.\n  More of it.\n  - a.rs: `one_fr_01`\n\
         - **FR-02** · later: a note · Two.\n  - a.rs: `one_fr_01`\n- **FR-03** · later · Three.\n"
    );
    assert_eq!(rewritten(&written, &claims), written);
    assert_eq!(faults(&written, &claims), [""; 0]);
    for (from, to, fault) in [
        ("one_fr_01", "two_fr_01", "FR-01: there is no test two_fr_01 in a.rs"),
        ("FR-03", "FR-04", "FR-03 stands in no document; see a.rs"),
        ("FR-03", "FR-02", "FR-02 is there twice"),
        (
            "later · Three",
            "implemented · Three",
            "FR-03 is marked implemented, and no test proves it",
        ),
        ("later: a note", "soon", "FR-02: no such status: soon"),
        ("later: a note", "not applicable", "FR-02: not applicable, but not why"),
        ("implemented · One", "implemented: half · One", "needs no note: half"),
    ] {
        let faults = faults(&written.replacen(from, to, 1), &claims).join("\n");
        assert!(faults.contains(fault), "{faults}");
    }
}
