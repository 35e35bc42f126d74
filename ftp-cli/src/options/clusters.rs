//! Short options in one argument, `-vq`: getopts does not tell in which order they stand there,
//! and the last has to win. They are taken apart before it sees them.

use getopts::ParsingStyle;

use super::{Row, Value};

/// The arguments with one short option in each, `-v -q`; a value stays with its option.
pub(super) fn spread(texts: &[String], rows: &[&Row], style: ParsingStyle) -> Vec<String> {
    let mut spread = Vec::with_capacity(texts.len());
    let mut texts = texts.iter();
    while let Some(text) = texts.next() {
        let takes_next = match text.strip_prefix('-') {
            // It ends the options, as an operand does where none may follow.
            Some("-") => None,
            None | Some("") if matches!(style, ParsingStyle::StopAtFirstFree) => None,
            None | Some("") => Some(false),
            Some(option) => match option.strip_prefix('-') {
                Some(long) => Some(rows.iter().any(|row| row.long == long && takes_word(row))),
                None => {
                    take_apart(option, rows, &mut spread);
                    Some(spread.last().is_some_and(|last| {
                        rows.iter().any(|row| is_short(row, last) && takes_word(row))
                    }))
                }
            },
        };
        if !text.starts_with('-') || text == "-" || text.starts_with("--") {
            spread.push(text.clone());
        }
        match takes_next {
            None => break,
            Some(true) => spread.extend(texts.next().cloned()),
            Some(false) => {}
        }
    }
    spread.extend(texts.cloned());
    spread
}

/// `vq` to `-v`, `-q`. What follows an option that takes a value is the value; what follows an
/// unknown one is left for getopts to refuse.
fn take_apart(options: &str, rows: &[&Row], spread: &mut Vec<String>) {
    let mut rest = options;
    while let Some(name) = rest.chars().next() {
        let row = rows.iter().find(|row| row.short == Some(name));
        if row.is_some_and(|row| row.value == Value::No) {
            spread.push(format!("-{name}"));
            rest = rest.get(name.len_utf8()..).unwrap_or_default();
        } else {
            spread.push(format!("-{rest}"));
            return;
        }
    }
}

fn is_short(row: &Row, option: &str) -> bool {
    option.strip_prefix('-').is_some_and(|name| row.is_short(name))
}

const fn takes_word(row: &Row) -> bool {
    matches!(row.value, Value::Needed(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Command;

    #[test]
    fn each_option_stands_alone_and_values_are_left_as_they_are() {
        let rows: Vec<&Row> = Command::Get.rows().collect();
        for (line, want) in [
            ("-vq a -qv", "-v -q a -q -v"),
            ("-abu -vq -vq", "-a -b -u -vq -v -q"),
            ("-vu-q a", "-v -u-q a"),
            ("--user -vq -vq", "--user -vq -v -q"),
            ("--user=x -vq", "--user=x -v -q"),
            ("--trace -vq - -ab", "--trace -v -q - -a -b"),
            ("-vZq", "-v -Zq"),
            ("-vq -- -vq", "-v -q -- -vq"),
            ("-u", "-u"),
            ("-v\u{e9}q", "-v -\u{e9}q"),
        ] {
            let texts: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let spread = spread(&texts, &rows, ParsingStyle::FloatingFrees).join(" ");
            assert_eq!(spread, want, "{line}");
        }
        let texts = ["-vq", "get", "-vq"].map(str::to_owned);
        let before = spread(&texts, &rows, ParsingStyle::StopAtFirstFree);
        assert_eq!(before.join(" "), "-v -q get -vq");
    }
}
