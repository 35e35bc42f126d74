//! Colours of the words that people look for: ok, warnings and errors.

use std::env;

/// The meaning of a coloured word, and the code of its colour (ECMA-48, SGR).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    Good = 32,
    Warning = 33,
    Error = 31,
}

impl Colour {
    pub(crate) fn paint(self, text: &str) -> String {
        format!("\x1b[{}m{text}\x1b[0m", self as u8)
    }
}

/// The words at the beginning of the lines of a report.
const GRADES: [(&str, Colour); 3] =
    [("ok", Colour::Good), ("warn", Colour::Warning), ("fail", Colour::Error)];

/// Returns whether a stream shows colours: it is a terminal that has them, and `NO_COLOR` is unset or
/// empty (no-color.org).
pub(crate) fn are_shown(is_terminal: bool) -> bool {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    is_terminal && set("NO_COLOR").is_none() && set("TERM").is_some_and(|name| name != "dumb")
}

/// Returns a report with the first word of each line in its colour, if it is a grade.
pub(crate) fn graded(report: &str) -> String {
    let painted = report.split_inclusive('\n').map(|line| {
        let grade = GRADES.iter().find_map(|(word, colour)| {
            let rest = line.strip_prefix(word)?;
            rest.starts_with(' ').then(|| format!("{}{rest}", colour.paint(word)))
        });
        grade.unwrap_or_else(|| line.to_owned())
    });
    painted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grades_at_the_beginning_of_a_line_have_a_colour() {
        let report = "ok    a\nokay  ok b\n      ok c\nfail  d\nwarn  e";
        let want = "\x1b[32mok\x1b[0m    a\nokay  ok b\n      ok c\n\
                    \x1b[31mfail\x1b[0m  d\n\x1b[33mwarn\x1b[0m  e";
        assert_eq!(graded(report), want);
    }
}
