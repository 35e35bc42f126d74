//! Splits clusters of short options, such as `-vq` into `-v -q`. The last of several exclusive
//! options wins, but getopts does not report the order of options within one argument. Also
//! replaces the synonyms of options.

use super::{Command, Row, Value, synonyms};

/// Returns the arguments with one short option each; a value stays with its option. Without a
/// command, the first operand ends the options.
pub(super) fn spread(texts: &[String], rows: &[&Row], command: Option<Command>) -> Vec<String> {
    let mut spread = Vec::with_capacity(texts.len());
    let mut texts = texts.iter();
    while let Some(text) = texts.next() {
        let is_operand = !text.starts_with('-') || text == "-";
        let takes_next = match text.strip_prefix('-') {
            Some(cluster) if !is_operand && !cluster.starts_with('-') => {
                take_apart(cluster, rows, command, &mut spread)
            }
            _ => {
                let text = respelled(text, command);
                spread.push(text.clone());
                if text == "--" || is_operand && command.is_none() {
                    break;
                }
                let is_this = |row: &&&Row| text.strip_prefix("--") == Some(row.long);
                rows.iter().find(is_this).is_some_and(|row| row.value.is_needed())
            }
        };
        if takes_next {
            spread.extend(texts.next().cloned());
        }
    }
    spread.extend(texts.cloned());
    spread
}

/// Replaces a synonym of a long option with the option's name in the table.
fn respelled(text: &str, command: Option<Command>) -> String {
    let Some(option) = text.strip_prefix("--") else { return text.to_owned() };
    let name = option.split('=').next().unwrap_or_default();
    match synonyms::meant(name, command) {
        Some(long) => format!("--{long}{}", option.get(name.len()..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Splits `vq` into `-v`, `-q`, and returns whether the next argument is the value of the last
/// option. If an option takes a value, the rest of `cluster` is that value; getopts rejects the
/// rest after an unknown option.
fn take_apart(
    cluster: &str,
    rows: &[&Row],
    command: Option<Command>,
    spread: &mut Vec<String>,
) -> bool {
    let mut rest = cluster.chars();
    loop {
        let option = rest.as_str();
        let Some(name) = rest.next() else { return false };
        let meant = synonyms::meant(name.encode_utf8(&mut [0; 4]), command);
        let is_it = |row: &&&Row| row.short == Some(name) || meant == Some(row.long);
        let row = rows.iter().find(is_it);
        if let Some(row) = row.filter(|_| meant.is_some()) {
            // A synonym of one letter always stands for an option without a value.
            spread.push(format!("--{}", row.long));
        } else if row.is_some_and(|row| row.value == Value::No) {
            spread.push(format!("-{name}"));
        } else {
            spread.push(format!("-{option}"));
            return rest.as_str().is_empty() && row.is_some_and(|row| row.value.is_needed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_clusters_are_split_and_values_are_unchanged() {
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
            let spread = spread(&texts, &rows, Some(Command::Get)).join(" ");
            assert_eq!(spread, want, "{line}");
        }
        let texts = ["-vq", "get", "-vq"].map(str::to_owned);
        let before = spread(&texts, &rows, None);
        assert_eq!(before.join(" "), "-v -q get -vq");
    }
}
