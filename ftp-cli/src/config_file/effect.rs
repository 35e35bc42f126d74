//! Finds the options of the configuration file that can have an effect on a run. Ignores the
//! others: an option without effect is a mistake only if it is typed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_proto::{FtpUrl, RepresentationType};

use super::reader::Choice;
use crate::options::urls::is_remote;
use crate::options::{Command, Options};
use crate::remote::pattern;

/// The options that set how certificates are checked. A run can have only one of them.
const CHECKS: [&str; 3] = ["insecure", "pin", "ca-file"];

/// Returns whether an option replaces an earlier one.
pub(super) fn replaces(choice: &Choice, earlier: &Choice) -> bool {
    let is_check = |choice: &Choice| CHECKS.contains(&choice.long) && !choice.given.is_empty();
    // Two such options in the same table contradict each other, which is an error.
    let is_other_table = choice.of_host != earlier.of_host;
    choice.long == earlier.long || is_other_table && is_check(choice) && is_check(earlier)
}

/// Returns whether an option of the file can have an effect in addition to the typed options.
pub(super) fn is_possible(choice: &Choice, command: Command, options: &Options) -> bool {
    match choice.long {
        long if CHECKS.contains(&long) => options.last_typed(&CHECKS).is_none(),
        "client-key" => options.last_typed(&["client-cert"]).is_none(),
        "jobs" => has_several(command, options),
        "verify" => can_verify(choice, options),
        _ => true,
    }
}

/// Returns whether a command can transfer several files, other than to standard output.
fn has_several(command: Command, options: &Options) -> bool {
    let operands = options.operands.as_slice();
    let is_pattern = |operand: &OsStr| {
        FtpUrl::parse(operand.as_bytes()).is_ok_and(|url| pattern::is_pattern(&url))
    };
    match command {
        _ if options.has("recursive") => true,
        Command::Fxp => false,
        Command::Get => {
            let ends_in_output = operands.last().is_some_and(|last| last == "-");
            let is_output = ends_in_output || options.value("output").is_some_and(|to| to == "-");
            let takes_several =
                ["directory", "input-file", "glob"].into_iter().any(|long| options.has(long));
            let urls = || operands.iter().filter(|operand| is_remote(operand));
            !is_output && (takes_several || urls().count() > 1 || urls().any(|url| is_pattern(url)))
        }
        _ => true,
    }
}

/// Returns whether `--verify` can apply and contradicts no other option. ASCII allows only `none`;
/// `--append` excludes `hash`, `--remove-source` excludes `none`, and `--recursive` excludes every
/// `--verify`.
fn can_verify(choice: &Choice, options: &Options) -> bool {
    let is_ascii = |operand: &OsStr| {
        let url = FtpUrl::parse(operand.as_bytes()).ok();
        url.and_then(|url| url.representation()) == Some(RepresentationType::Ascii)
    };
    let in_ascii = match options.last_of(&["ascii", "binary"]) {
        Some(last) => last == "ascii",
        None => options.operands.iter().any(|operand| is_ascii(operand)),
    };
    let is = |word: &str| {
        choice
            .given
            .last()
            .and_then(|given| given.value.as_deref())
            .is_some_and(|mode| mode == word)
    };
    let is_excluded = in_ascii && !is("none")
        || options.has("append") && is("hash")
        || options.has("remove-source") && is("none")
        || options.has("recursive");
    !is_excluded
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::reader;
    use crate::options;

    /// Returns the options that a command line gets from a file.
    fn found(file: &str, line: &str) -> String {
        let (command, mut options) =
            options::parse(line.split(' ').map(OsString::from)).ok().unwrap();
        let longs: Vec<_> = options.names().collect();
        let file = reader::read("f".to_owned(), file).ok().unwrap();
        file.apply(command.unwrap(), &mut options).ok().unwrap();
        let found: Vec<_> = options.names().take(options.names().count() - longs.len()).collect();
        found.join(" ")
    }

    #[test]
    fn configured_options_without_effect_are_left_out() {
        for (file, line, want) in [
            ("jobs = 2", "get ftp://h/a", ""),
            ("jobs = 2", "get -o x ftp://h/a", ""),
            ("jobs = 2", "get ftp://h/a b", ""),
            ("jobs = 2", "get ftp://h/a ftp://h/b", "jobs"),
            ("jobs = 2", "get -o - ftp://h/a ftp://h/b", ""),
            ("jobs = 2", "get ftp://h/*.iso", "jobs"),
            ("jobs = 2", "get ftp://h/*.iso -", ""),
            ("jobs = 2", "get -i f", "jobs"),
            ("jobs = 2", "get -r ftp://h/", "jobs"),
            ("jobs = 2", "put a b ftp://h/", "jobs"),
            ("jobs = 2", "fxp ftp://h/a ftp://g/a", ""),
            ("jobs = 2", "fxp -r ftp://h/a ftp://g/a", "jobs"),
            ("jobs = 2", "mirror a ftp://h/", "jobs"),
            ("verify = \"hash\"", "get ftp://h/a", "verify"),
            ("verify = \"hash\"", "get -a ftp://h/a", ""),
            ("verify = \"hash\"", "get -ab ftp://h/a", "verify"),
            ("verify = \"hash\"", "get ftp://h/a;type=a", ""),
            ("verify = \"none\"", "get -a ftp://h/a", "verify"),
            ("verify = \"hash\"", "put --append a ftp://h/a", ""),
            ("verify = \"size\"", "put --append a ftp://h/a", "verify"),
            ("verify = \"hash\"", "put -r a ftp://h/a", ""),
            ("verify = \"none\"", "put --remove-source a ftp://h/a", ""),
            ("insecure = true", "ls --pin p ftpes://h/", ""),
            ("pin = \"p\"", "ls -k ftpes://h/", ""),
            ("insecure = true\n[hosts.h]\npin = \"p\"", "ls ftpes://h/", "pin"),
            ("pin = \"p\"\n[hosts.h]\ninsecure = false", "ls ftpes://h/", "pin"),
            ("pin = \"p\"\ninsecure = true", "ls ftpes://h/", "pin insecure"),
            ("client-cert = \"c\"\nclient-key = \"k\"", "ls --client-cert d ftpes://h/", ""),
        ] {
            assert_eq!(found(&format!("[defaults]\n{file}\n"), line), want, "{file}: {line}");
        }
    }
}
