//! Reads the texts in `ftp-cli/help`, which people write and the program shows.
//!
//! The file of a command, such as `get.txt`, is what `--help` prints, without the options: the
//! summary, a line `Usage: ftp-cli get ...`, paragraphs of at most 80 columns, and `Examples` with
//! two lines each. A line `Used most:` below the usage names the options that `-h` shows. The other
//! files are lists of terms: each term has a line of its own, and its meaning is indented.

pub(crate) const ENVIRONMENT: &str = include_str!("../help/environment.txt");

/// Files that the program uses in addition to the files that options name.
pub(crate) const FILES: &str = include_str!("../help/files.txt");

/// Problems that `doctor` finds: what each means, and after `Do:` the cure, an imperative without a
/// final full stop.
pub(crate) const DIAGNOSES: &str = include_str!("../help/diagnoses.txt");

/// Options of other programs, without dashes, and the option or the command line to use instead. The
/// first one that the command accepts is used. `COMMAND: LETTER` is a letter with a special meaning
/// for that command, which takes precedence. After `none:` is why there is no equivalent. Sources: the
/// manuals of curl, wget, lftp, rclone, rsync and GNU coreutils.
pub(crate) const OTHER_PROGRAMS: &str = include_str!("../help/other-programs.txt");

/// Commands of other programs, and the command or the line to type instead. `batch: COMMAND` is a line
/// of a batch, and `serve: WORD` an operand of `serve`.
pub(crate) const OTHER_COMMANDS: &str = include_str!("../help/other-commands.txt");

/// Formats of operands and options.
pub(crate) const URLS: &str = include_str!("../help/urls.txt");

pub(crate) const PATTERNS: &str = include_str!("../help/patterns.txt");

#[derive(Clone, Debug)]
pub(crate) struct CommandHelp {
    /// An imperative of at most 50 characters, without a full stop.
    pub(crate) summary: &'static str,
    /// Options and operands, without the names of the program and of the command.
    pub(crate) usage: &'static str,
    /// Long names of the options that `-h` shows; if empty, `-h` shows what the command alone has.
    pub(crate) used_most: Vec<&'static str>,
    /// Paragraphs, separated by empty lines.
    pub(crate) about: &'static str,
    /// Command lines, and what each of them achieves.
    pub(crate) examples: Vec<(&'static str, &'static str)>,
}

impl CommandHelp {
    pub(crate) fn read(name: &str, file: &'static str) -> Self {
        let (file, examples) = file.split_once("\nExamples\n").unwrap_or((file, ""));
        let (summary, rest) = file.split_once("\n\nUsage: ftp-cli ").unwrap_or((file, ""));
        let (usage, about) = rest.split_once("\n\n").unwrap_or((rest, ""));
        let (usage, used_most) = usage.split_once("\nUsed most: ").unwrap_or((usage, ""));
        let mut lines = examples.lines();
        let example = || {
            let what = lines.next()?.trim_start_matches([' ', '#']);
            Some((lines.next()?.trim_start(), what))
        };
        Self {
            summary,
            usage: usage.strip_prefix(name).unwrap_or(usage).trim(),
            used_most: used_most.split_whitespace().map(|it| it.trim_start_matches('-')).collect(),
            about: about.trim_end(),
            examples: std::iter::from_fn(example).collect(),
        }
    }
}

/// Returns the terms of a list, each with its meaning in one line.
pub(crate) fn terms(list: &'static str) -> impl Iterator<Item = (&'static str, String)> {
    list.split("\n\n").filter_map(|item| {
        let (term, meaning) = item.trim_start().split_once('\n')?;
        Some((term, meaning.split_whitespace().collect::<Vec<_>>().join(" ")))
    })
}

/// Returns a template in which each name of `parts` is replaced by its text.
pub(crate) fn filled(template: &str, parts: &[(&str, String)]) -> String {
    parts.iter().fold(template.to_owned(), |text, (name, part)| text.replacen(name, part, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Command;

    #[test]
    fn every_line_of_a_help_file_is_read() {
        for command in Command::ALL {
            let name = command.name();
            let CommandHelp { summary, usage, used_most, about, examples } = command.help();
            let mut want: Vec<String> =
                vec![summary.into(), format!("Usage: ftp-cli {name} {usage}")];
            want.extend(used_most.iter().map(|long| format!("--{long}")));
            want.extend(about.lines().map(str::to_owned));
            for (example, what) in &examples {
                want.extend([format!("  # {what}"), format!("  {example}")]);
                assert!(example.starts_with(&format!("ftp-cli {name} ")), "{example}");
            }
            assert!(
                !summary.is_empty() && summary.len() <= 50 && !summary.ends_with('.'),
                "{name}"
            );
            assert!(!usage.is_empty(), "{name}");
            let mut read = Vec::new();
            for line in command.file().lines() {
                let is_most = line.starts_with("Used most: ") || line.starts_with("  --");
                match line.strip_prefix("Used most:").unwrap_or(line) {
                    "Examples" => {}
                    words if is_most => read.extend(words.split_whitespace().map(str::to_owned)),
                    line => read.push(line.to_owned()),
                }
            }
            let is_text = |line: &String| !line.is_empty();
            assert!(
                read.iter()
                    .filter(|line| is_text(line))
                    .eq(want.iter().filter(|line| is_text(line))),
                "{name}.txt: {read:?} {want:?}"
            );
        }
    }

    #[test]
    fn every_term_of_a_list_has_a_meaning() {
        for list in [ENVIRONMENT, FILES, DIAGNOSES, OTHER_PROGRAMS, OTHER_COMMANDS] {
            let items = list.split("\n\n").count();
            assert_eq!(terms(list).filter(|(_, meaning)| !meaning.is_empty()).count(), items);
            assert_eq!(
                list.lines()
                    .filter(|line| line.starts_with(char::is_alphanumeric) || line.starts_with('~'))
                    .count(),
                items
            );
        }
    }
}
