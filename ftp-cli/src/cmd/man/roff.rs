//! The parts of a man page in roff (man(7)).

use std::fmt::Write;

/// Returns the first lines of a page.
pub(super) fn title(name: &str, section: u8, manual: &str) -> String {
    let (name, version) = (escaped(name), escaped(env!("CARGO_PKG_VERSION")));
    format!(".TH {name} {section} \"\" \"ftp\\-cli {version}\" \"{manual}\"\n.nh\n.ad l\n")
}

pub(super) fn section(text: &mut String, title: &str) {
    let _ = writeln!(text, ".SH {title}");
}

/// Writes a term and its meaning.
pub(super) fn item(text: &mut String, term: &str, meaning: &str) {
    let _ = write!(text, ".TP\n\\fB{}\\fR\n{}", escaped(term), lines(meaning));
}

pub(super) fn paragraphs(text: &mut String, plain: &str) {
    for paragraph in plain.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        // Indented lines are a table.
        let (begin, end) = if paragraph.starts_with(' ') { (".nf\n", ".fi\n") } else { ("", "") };
        let _ = write!(text, ".PP\n{begin}{}{end}", lines(paragraph));
    }
}

/// Escapes lines of text, so that none of them is a roff request.
pub(super) fn lines(plain: &str) -> String {
    let line = |line: &str| {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{guard}{}\n", escaped(line))
    };
    plain.trim_matches('\n').lines().map(line).collect()
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_parsed_as_a_roff_request() {
        for (plain, want) in
            [(".x", "\\&.x\n"), ("'y\n.z", "\\&'y\n\\&.z\n"), ("a\\b -c", "a\\eb \\-c\n")]
        {
            assert_eq!(lines(plain), want);
        }
    }
}
