//! Words that do not occur in what people read: each has a plainer one.
//!
//! `CONTRIBUTING.md` has the rules of style that they come from. What is searched stands in
//! [`covered`]; help, man page, messages, doc comments and the changelog are not in it yet.

use std::fs;
use std::path::{Path, PathBuf};

/// A word or phrase, what to write instead, and what may follow it all the same.
const WORDS: [(&str, &str, &[&str]); 27] = [
    (
        "behind",
        "after, following, fallback",
        &["a nat", "nat", "your own nat", "the same nat", "a firewall", "a router", "a proxy"],
    ),
    ("anew", "again, from the start", &[]),
    ("in clear", "in plaintext, unencrypted", &[]),
    ("vouch", "sign, trust", &[]),
    ("vouches", "signs, trusts", &[]),
    ("mend", "fix", &[]),
    ("mends", "fixes", &[]),
    ("mended", "fixed", &[]),
    ("so many", "N", &[]),
    ("so often", "N times", &[]),
    ("so long", "TIME", &[]),
    ("limit of time", "timeout", &[]),
    ("limits of time", "timeouts", &[]),
    ("of one's own", "custom, own", &[]),
    ("of our own", "custom, own", &[]),
    ("as it stands", "by default", &[]),
    ("as it comes", "by default", &[]),
    ("goes on with", "resumes", &[]),
    ("is told of", "is notified of, is logged", &[]),
    ("are told of", "are notified of, are logged", &[]),
    ("can be had", "is available", &[]),
    ("is no", "is not a", &["longer", "more"]),
    ("what is no", "other", &[]),
    ("nobody but", "only", &[]),
    ("at its start", "at startup", &[]),
    ("beneath", "below, inside", &[]),
    ("thread a connection", "thread per connection", &[]),
];

/// What a rate counts, before `a second`: write `per second`.
const COUNTED: [&str; 9] =
    ["bytes", "kib", "mib", "gib", "lines", "times", "transfers", "handshakes", "requests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The documents that are searched.
fn covered() -> Vec<PathBuf> {
    let mut paths = vec![root().join("README.md"), root().join("SECURITY.md")];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        paths.extend(Some(path).filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    paths.sort();
    paths
}

/// The prose of a document, in lower case, each line with its number: no blocks of code, no words in
/// backticks, no targets of links, no lists of tests.
fn prose(document: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (line, number) in document.lines().zip(1..) {
        let is_list_of_tests = line.starts_with("  - ") && line.contains(".rs");
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code && !is_list_of_tests {
            let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" code ");
            let mut parts = plain.split("](");
            let mut text = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                // Where a link leads is not read.
                text.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
            }
            lines.push((number, text.to_lowercase()));
        }
    }
    lines
}

/// The faults of a document, each with its line.
fn faults(document: &str) -> Vec<String> {
    let lines = prose(document);
    // A phrase may go on in the next line.
    let mut text = String::from(" ");
    let mut starts = Vec::new();
    for (number, line) in &lines {
        starts.push((text.len(), *number));
        for word in line.split_whitespace() {
            text.push_str(word);
            text.push(' ');
        }
    }
    let line_at = |at: usize| {
        starts.iter().take_while(|(start, _)| *start <= at).last().map_or(0, |(_, line)| *line)
    };
    let is_edge =
        |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let mut faults = Vec::new();
    for (phrase, instead, allowed) in WORDS {
        for (at, _) in text.match_indices(phrase) {
            let (before, after) = (&text[..at], &text[at + phrase.len()..]);
            let is_word = is_edge(before.as_bytes().last()) && is_edge(after.as_bytes().first());
            let is_allowed = allowed.iter().any(|next| {
                after
                    .trim_start()
                    .strip_prefix(next)
                    .is_some_and(|rest| is_edge(rest.as_bytes().first()))
            });
            let there_is_no = phrase == "is no" && before.trim_end().ends_with("there");
            if is_word && !is_allowed && !there_is_no {
                faults.push(format!("line {}: {phrase:?}: write {instead}", line_at(at)));
            }
        }
    }
    for counted in COUNTED {
        for (at, _) in text.match_indices(&format!(" {counted} a second")) {
            faults.push(format!("line {}: \"a second\": write per second", line_at(at)));
        }
    }
    faults
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
