//! Words to avoid in text that people read: each has a plainer one.
//!
//! They follow from the rules of style in `CONTRIBUTING.md`.

/// A word or phrase, its replacement, and the words before which it is allowed.
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

/// Nouns in rates, before `a second`: write `per second`.
const COUNTED: [&str; 9] =
    ["bytes", "kib", "mib", "gib", "lines", "times", "transfers", "handshakes", "requests"];

/// Returns the prose of a document in lower case, each line with its number, without blocks of
/// code, words in backticks, targets of links, and lists of tests.
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
                // The target of a link is skipped.
                text.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
            }
            lines.push((number, text.to_lowercase()));
        }
    }
    lines
}

/// Returns the words of a document that have a plainer replacement, each with its line and that
/// replacement.
#[must_use]
pub fn faults(document: &str) -> Vec<String> {
    let lines = prose(document);
    // A phrase can continue on the next line.
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
    // A hyphen makes another word, such as the name of a diagnosis.
    let is_edge = |byte: Option<&u8>| {
        byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"_-".contains(byte))
    };
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

/// Returns whether a line of code begins an item that its crate keeps to itself.
fn is_private(item: &str) -> bool {
    let starts =
        ["fn ", "const ", "static ", "struct ", "enum ", "type ", "trait ", "mod ", "pub("];
    starts.iter().any(|start| item.starts_with(start))
}

/// Returns the code without the comments that only engineers of the project read, who know the terms
/// of the field: those inside code, and the documentation of private items.
fn without_notes(code: &str) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let is_read = |at: usize| {
        let mut after = lines.iter().skip(at).map(|line| line.trim_start());
        !after
            .find(|line| !line.starts_with("///") && !line.starts_with("#["))
            .is_some_and(is_private)
    };
    let kept = lines.iter().enumerate().map(|(at, line)| {
        let is_note = match line.trim_start() {
            line if line.starts_with("///") => !is_read(at),
            line => line.starts_with("//") && !line.starts_with("//!"),
        };
        if is_note { "" } else { line }
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// Returns the text that users of a source see, as two documents with the line numbers of the
/// source: its public documentation, and its string literals. Tests at its end are left out.
pub fn docs_and_literals(source: &str) -> [String; 2] {
    let code = without_notes(source.split("#[cfg(test)]").next().unwrap_or_default());
    let mut comments = String::new();
    let mut literals = String::new();
    let mut rest = code.chars().peekable();
    while let Some(char) = rest.next() {
        match (char, rest.peek()) {
            ('\n', _) => {
                comments.push('\n');
                literals.push('\n');
            }
            ('/', Some('/')) => {
                let line: String =
                    std::iter::from_fn(|| rest.next_if(|char| *char != '\n')).collect();
                comments.push_str(line.trim_start_matches(['/', '!']));
            }
            // `'"'` and `'\''` do not begin a string literal.
            ('\'', Some('"' | '\\')) => {
                let is_escape = rest.next() == Some('\\');
                rest.by_ref().take(usize::from(is_escape) + 1).for_each(drop);
            }
            ('"', _) => literal(&mut rest, &mut comments, &mut literals),
            _ => {}
        }
    }
    [comments, literals]
}

/// Reads a literal to its end. A literal that continues after a `\` at the end of a line is one
/// sentence.
fn literal(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    comments: &mut String,
    literals: &mut String,
) {
    literals.push(' ');
    while let Some(char) = rest.next().filter(|char| *char != '"') {
        let char = if char == '\\' { rest.next().unwrap_or(' ') } else { char };
        literals.push(char);
        if char == '\n' {
            comments.push('\n');
        }
    }
    // Two literals are separate sentences.
    literals.push_str(". ");
}
