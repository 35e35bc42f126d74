//! Commands and options as data: the parser, `--help`, the man page and completions are generated
//! from them. A command is a row of [`commands!`] and a file in `ftp-cli/help`; an option is a line of
//! `ftp-cli/help/options.txt`, which also lists the options that exclude each other or need another.

use std::ffi::OsStr;
use std::fmt;
use std::sync::LazyLock;

use Command::{Ctl, Fxp, Get, Ls, Mirror, Mv, Put, Rm};
use Completes::{Directory, File, Nothing, Words};

use crate::texts::CommandHelp;

pub(crate) const SHELLS: &str = "bash|zsh|fish";

pub(crate) const MAN_PAGES: &str =
    if cfg!(feature = "server") { "ftp-cli|server.toml" } else { "ftp-cli" };

/// Kind of value of an option or operand, for completions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Completes {
    /// No value, or one that completions cannot know, such as a URL.
    Nothing,
    /// A local file or directory.
    File,
    Directory,
    /// One of these words, separated by `|`.
    Words(&'static str),
    /// The name of a command of this program.
    Command,
}

/// Defines the enum, the names, the operands and the help files together, so that no command lacks one.
/// Each group begins with the features that its commands need.
macro_rules! commands {
    ($($built:meta { $($variant:ident $name:literal [$($operand:expr),*] $file:expr;)* })*) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Command { $($($variant),*),* }

        impl Command {
            /// All commands of this build, in the order of `--help`.
            pub(crate) const ALL: &[Self] = &[$($(#[cfg($built)] Self::$variant,)*)*];

            pub(super) const OF_ALL_BUILDS: &[Self] = &[$($(Self::$variant),*),*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $($(Self::$variant => $name),*),* }
            }

            /// Returns the kind of each operand; the last one applies to all that follow.
            pub(crate) const fn operands(self) -> &'static [Completes] {
                match self { $($(Self::$variant => &[$($operand),*]),*),* }
            }

            /// Returns the text of the help file, which is empty for a command that this build lacks.
            pub(crate) const fn file(self) -> &'static str {
                match self {
                    $($(#[cfg($built)] Self::$variant => $file,)*)*
                    #[allow(unreachable_patterns, reason = "some builds lack no command")]
                    _ => "",
                }
            }
        }
    };
}

commands! {
    feature = "client" {
        Get "get" [Nothing, File] include_str!("../../help/get.txt");
        Put "put" [File] include_str!("../../help/put.txt");
        Ls "ls" [Nothing] include_str!("../../help/ls.txt");
        Stat "stat" [Nothing] include_str!("../../help/stat.txt");
        Du "du" [Nothing] include_str!("../../help/du.txt");
        Rm "rm" [Nothing] include_str!("../../help/rm.txt");
        Mkdir "mkdir" [Nothing] include_str!("../../help/mkdir.txt");
        Rmdir "rmdir" [Nothing] include_str!("../../help/rmdir.txt");
        Mv "mv" [Nothing] include_str!("../../help/mv.txt");
        Chmod "chmod" [Words("644|755|600|700|u+w|go-rwx"), Nothing]
            include_str!("../../help/chmod.txt");
        Quote "quote" [Nothing] include_str!("../../help/quote.txt");
        Batch "batch" [Nothing, File] include_str!("../../help/batch.txt");
        Mirror "mirror" [Directory] include_str!("../../help/mirror.txt");
        Fxp "fxp" [Nothing] include_str!("../../help/fxp.txt");
        Doctor "doctor" [Nothing] include_str!("../../help/doctor.txt");
    }
    feature = "server" {
        Serve "serve" [Directory] include_str!("../../help/serve.txt");
        User "user" [Words("add|passwd|lock|unlock|remove|list"), Nothing]
            include_str!("../../help/user.txt");
        Ctl "ctl" [Words("who|users|status|drain|reload|kick|unban")]
            include_str!("../../help/ctl.txt");
        Passwd "passwd" [] include_str!("../../help/passwd.txt");
    }
    all(feature = "client", feature = "server") {
        Demo "demo" [] include_str!("../../help/demo.txt");
    }
    all() {
        Help "help" [Completes::Command] include_str!("../../help/help.txt");
        Man "man" [Words(MAN_PAGES)] include_str!("../../help/man.txt");
        Completions "completions" [Words(SHELLS)]
            include_str!("../../help/completions.txt");
    }
}

impl Command {
    pub(crate) fn help(self) -> CommandHelp {
        CommandHelp::read(self.name(), self.file())
    }

    pub(crate) fn is_built(self) -> bool {
        Self::ALL.contains(&self)
    }
}

/// Another name of a command, and what it implies.
#[derive(Debug)]
pub(crate) struct Synonym {
    pub(crate) name: &'static str,
    /// The meaning: a command with options.
    pub(crate) means: &'static str,
    pub(crate) command: Command,
    /// Long names of the implied options, with their values.
    pub(super) implies: &'static [(&'static str, Option<&'static str>)],
    pub(super) operand: Option<&'static str>,
}

const fn synonym(
    name: &'static str,
    means: &'static str,
    command: Command,
    implies: &'static [(&'static str, Option<&'static str>)],
) -> Synonym {
    Synonym { name, means, command, implies, operand: None }
}

/// Returns the name that a request to a running server has without `ctl`.
const fn request(name: &'static str, means: &'static str) -> Synonym {
    Synonym { name, means, command: Ctl, implies: &[], operand: Some(name) }
}

/// The name of the synonym whose command depends on its operands.
pub(super) const COPY: &str = "cp";

const SYNONYMS: &[Synonym] = &[
    synonym("cat", "get -o -", Get, &[("output", Some("-"))]),
    synonym(COPY, "get, put or fxp, depending on the operands", Get, &[]),
    synonym("del", "rm", Rm, &[]),
    synonym("dir", "ls -l", Ls, &[("long", None)]),
    request("drain", "ctl drain"),
    request("kick", "ctl kick"),
    synonym("mget", "get -g", Get, &[("glob", None)]),
    synonym("mput", "put", Put, &[]),
    request("reload", "ctl reload"),
    synonym("ren", "mv", Mv, &[]),
    request("status", "ctl status"),
    synonym("sync", "mirror", Mirror, &[]),
    request("unban", "ctl unban"),
    request("who", "ctl who"),
];

impl Synonym {
    /// Returns the other names of the commands of this build.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        SYNONYMS.iter().filter(|synonym| synonym.command.is_built())
    }

    pub(super) fn find(name: &OsStr) -> Option<&'static Self> {
        SYNONYMS.iter().find(|synonym| name == synonym.name)
    }

    pub(crate) fn of(command: Command) -> impl Iterator<Item = &'static str> {
        let of = move |synonym: &&Self| synonym.command == command;
        SYNONYMS.iter().filter(of).map(|synonym| synonym.name)
    }
}

/// Other spellings of options, with the long name and the commands that accept the spelling.
const SPELLINGS: &[(&str, &str, &[Command])] =
    &[("R", "recursive", &[Rm]), ("parallel", "jobs", &[Get, Put, Mirror, Fxp])];

/// Returns the long name of the option that `command` also accepts as `spelling`, a letter or a
/// long name without dashes.
pub(super) fn meant(spelling: &str, command: Option<Command>) -> Option<&'static str> {
    let is_it = |(other, _, commands): &&(&str, &str, &[Command])| {
        *other == spelling && command.is_some_and(|command| commands.contains(&command))
    };
    SPELLINGS.iter().find(is_it).map(|(_, long, _)| *long)
}

/// Defines the enum and its columns together: the word in `options.txt`, whether options of the group
/// can also stand before the command, and the title.
macro_rules! groups {
    ($($variant:ident $name:literal $is_global:literal $title:literal;)*) => {
        /// The topic of an option. Options of a global group can also stand before the command.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Group { $($variant),* }

        impl Group {
            /// All groups, in the order of `--help`.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the word that begins the lines of the group's options.
            const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            pub(crate) const fn is_global(self) -> bool {
                match self { $(Self::$variant => $is_global),* }
            }

            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

groups! {
    Transfer "transfer" false "Transfer";
    Trees "mirror" false "Mirror";
    Listing "listing" false "Listing";
    Server "server" false "Server";
    Login "login" true "Login";
    Data "data" true "Data connection";
    Tls "tls" true "TLS";
    Robust "timeouts" true "Timeouts and retries (TIME: seconds, or 250ms, 30s, 5min, 2h)";
    Output "output" true "Output";
    Program "program" true "Program";
}

/// Whether an option takes a value, and the name of that value in `--help`. `FILE` and `DIR` are
/// local paths, which completions offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    No,
    Needed(&'static str),
    /// One of a few words: the name in `--help`, and the words, separated by `|`.
    OneOf(&'static str, &'static str),
    /// An optional value, written after `=`: `--trace` or `--trace=FILE`.
    WithEqualSign(&'static str),
}

/// Formats the value as `--help` shows it after the name of the option.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => Ok(()),
            Self::Needed(name) | Self::OneOf(name, _) => write!(f, " {name}"),
            Self::WithEqualSign(name) => write!(f, "[={name}]"),
        }
    }
}

impl Value {
    fn read(text: &'static str) -> Self {
        let words = text.strip_suffix(')').and_then(|text| text.split_once('('));
        match (text, words) {
            ("-", _) => Self::No,
            (_, Some((name, words))) => Self::OneOf(name, words),
            _ => text.strip_prefix('=').map_or(Self::Needed(text), Self::WithEqualSign),
        }
    }

    pub(crate) fn is_needed(self) -> bool {
        matches!(self, Self::Needed(_) | Self::OneOf(..))
    }

    /// Returns whether the value is a local path.
    pub(crate) fn is_path(self) -> bool {
        matches!(self.completes(), File | Directory)
    }

    pub(crate) fn completes(self) -> Completes {
        match self {
            Self::Needed("FILE") | Self::WithEqualSign("FILE") => File,
            Self::Needed("DIR") => Directory,
            Self::OneOf(_, words) => Words(words),
            _ => Nothing,
        }
    }
}

/// One option of one or several commands.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) group: Group,
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) value: Value,
    /// The commands that take the option. A command accepts no option that it would ignore.
    pub(crate) commands: Vec<Command>,
    pub(crate) help: &'static str,
}

impl Row {
    /// Reads a line of [`OPTIONS`]; the line of an option begins with its group.
    fn read(line: &'static str) -> Option<Self> {
        let (group, rest) = cut(line);
        let (letter, rest) = cut(rest);
        let (long, rest) = cut(rest);
        let (value, rest) = cut(rest);
        let (list, help) = cut(rest);
        let group = Group::ALL.iter().copied().find(|known| known.name() == group)?;
        let short = letter.chars().next().filter(|letter| *letter != '-');
        Some(Self { group, short, long, value: Value::read(value), commands: commands(list), help })
    }

    /// Returns whether `name` is the option's long or short name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.long == name || self.short.is_some_and(|short| name.chars().eq([short]))
    }
}

/// The options, which options exclude each other, and which need another one.
const OPTIONS: &str = include_str!("../../help/options.txt");

/// Returns the lines of [`OPTIONS`] that begin with a word, without it.
fn lines(first: &str) -> impl Iterator<Item = &'static str> {
    OPTIONS
        .lines()
        .filter_map(move |line| Some(line.strip_prefix(first)?.strip_prefix(' ')?.trim_start()))
}

/// Returns the first word, and the rest.
fn cut(line: &'static str) -> (&'static str, &'static str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    (word, rest.trim_start())
}

/// Returns the commands whose names are separated by commas. A list may have a name, such as `@all`.
fn commands(list: &'static str) -> Vec<Command> {
    if list == "@all" {
        return Command::ALL.to_vec();
    }
    let find = |name| Command::OF_ALL_BUILDS.iter().find(|it| it.name() == name).copied();
    let named = lines(list).next().filter(|_| list.starts_with('@'));
    let names = named.unwrap_or(list).split(',');
    names.map(|name| find(name).expect("each command has a row")).collect()
}

pub(crate) static TABLE: LazyLock<Vec<Row>> =
    LazyLock::new(|| OPTIONS.lines().filter_map(Row::read).collect());

impl Command {
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static Row> {
        TABLE.iter().filter(move |row| row.commands.contains(&self))
    }
}

/// Returns the options of this build.
pub(crate) fn all_rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| row.commands.iter().any(|command| command.is_built()))
}

/// Returns the options that can precede the command, each once: if commands explain an option
/// differently, the first row is used.
pub(crate) fn global_rows() -> impl Iterator<Item = &'static Row> {
    let is_first = |(at, row): &(usize, &Row)| {
        !all_rows().take(*at).any(|other| other.long == row.long && other.group.is_global())
    };
    let global = |(_, row): &(usize, &Row)| row.group.is_global();
    all_rows().enumerate().filter(global).filter(is_first).map(|(_, row)| row)
}

/// Options, and the options that some commands do not accept beside them, or need for them; and why or
/// what to do, if the names do not tell.
pub(super) struct Relation {
    pub(super) commands: Vec<Command>,
    pub(super) options: Vec<&'static str>,
    pub(super) others: Vec<&'static str>,
    pub(super) hint: &'static str,
}

impl Relation {
    fn read(line: &'static str) -> Self {
        let (list, rest) = cut(line);
        let (options, rest) = rest.split_once(": ").unwrap_or((rest, ""));
        let (others, hint) = rest.split_once("; ").unwrap_or((rest, ""));
        let [options, others] = [options, others].map(|names| names.split(' ').collect());
        Self { commands: commands(list), options, others, hint }
    }
}

pub(super) static EXCLUSIONS: LazyLock<Vec<Relation>> =
    LazyLock::new(|| lines("exclude").map(Relation::read).collect());

pub(super) static NEEDS: LazyLock<Vec<Relation>> =
    LazyLock::new(|| lines("need").map(Relation::read).collect());

pub(crate) fn exclude(command: Command, one: &str, other: &str) -> bool {
    EXCLUSIONS.iter().filter(|it| it.commands.contains(&command)).any(|it| {
        let is_pair = |one, other| it.options.contains(&one) && it.others.contains(&other);
        is_pair(one, other) || is_pair(other, one)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synonyms_hide_no_command_and_imply_existing_options() {
        for synonym in SYNONYMS {
            assert!(Command::ALL.iter().all(|command| command.name() != synonym.name));
            for (long, value) in synonym.implies {
                let row = synonym.command.rows().find(|row| row.long == *long).unwrap();
                assert_eq!(row.value.is_needed(), value.is_some(), "{long}");
            }
            assert_eq!(Synonym::find(OsStr::new(synonym.name)).unwrap().name, synonym.name);
        }
    }

    #[test]
    fn alternative_spellings_name_existing_options_and_hide_none() {
        for (spelling, long, commands) in SPELLINGS {
            for command in *commands {
                assert!(command.rows().any(|row| row.long == *long), "{spelling}");
                assert!(!command.rows().any(|row| row.is_called(spelling)), "{spelling}");
                assert_eq!(meant(spelling, Some(*command)), Some(*long));
            }
            assert_eq!(meant(spelling, None), None);
        }
    }

    #[test]
    fn relations_name_options_of_their_commands() {
        let has = |command: &Command, long: &str| command.rows().any(|row| row.long == long);
        for Relation { commands, options, others, .. } in EXCLUSIONS.iter() {
            let [option] = options.as_slice() else { panic!("{options:?}") };
            for other in others {
                let both = |command: &Command| has(command, option) && has(command, other);
                let fitting = commands.iter().filter(|command| both(command)).count();
                let is_any = commands.len() == Command::ALL.len();
                assert!(fitting == commands.len() || is_any && fitting > 0, "{option} {other}");
            }
        }
        for Relation { commands, options, others, .. } in NEEDS.iter() {
            let [needed] = others.as_slice() else { panic!("{others:?}") };
            for option in options {
                let known: Vec<_> = commands.iter().filter(|it| has(it, option)).collect();
                assert!(!known.is_empty() && known.iter().all(|it| has(it, needed)), "{option}");
            }
        }
    }

    #[test]
    fn every_line_of_the_options_is_read() {
        let is_of_commands = |line: &&str| line.starts_with('@');
        let all = || OPTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let relations = EXCLUSIONS.len() + NEEDS.len();
        let lists = all().filter(is_of_commands);
        assert_eq!(all().count(), TABLE.len() + relations + lists.clone().count());
        for list in lists.filter_map(|line| line.split(' ').next()) {
            assert!(all().any(|line| line.contains(&format!(" {list} "))), "{list}");
        }
        assert!(TABLE.iter().all(|row| !row.help.is_empty()));
    }

    #[test]
    fn options_of_trees_need_a_tree_in_fxp() {
        let is_of_trees = |row: &&Row| row.group == Group::Trees || row.commands == [Mirror, Fxp];
        let of_trees = |option: &str| {
            NEEDS.iter().any(|need| need.commands.contains(&Fxp) && need.options.contains(&option))
        };
        for row in Fxp.rows().filter(is_of_trees) {
            assert!(of_trees(row.long), "--{}", row.long);
        }
    }
}
