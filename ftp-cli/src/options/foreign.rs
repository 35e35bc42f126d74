//! Options of other programs, and their equivalents here.

use super::{Command, Group};

/// Names without dashes, and the option or the command line to use instead. The first entry whose
/// option the command takes is the answer. Sources: the manuals of curl, wget, lftp, rclone, rsync
/// and GNU coreutils.
const NAMES: &[(&[&str], &str)] = &[
    (&["C", "continue-at", "partial", "reget"], "--continue"),
    (&["m", "max-time", "T"], "--timeout"),
    (&["timeout-connect", "contimeout"], "--connect-timeout"),
    (&["read-timeout"], "--stall-timeout"),
    (&["t", "tries", "retries"], "--retry"),
    (&["waitretry"], "--retry-delay"),
    (&["k", "no-check-certificate", "no-check-cert"], "--insecure"),
    (&["cacert", "ca-certificate", "ca-cert"], "--ca-file"),
    (&["E", "cert", "certificate"], "--client-cert"),
    (&["key", "private-key"], "--client-key"),
    (&["pinnedpubkey"], "--pin"),
    (&["ssl", "ssl-reqd", "ftp-ssl", "ftp-ssl-reqd"], "--tls explicit"),
    (&["ftps-implicit"], "--tls implicit"),
    (&["interface", "bind-address", "ftp-port"], "--bind"),
    (&["ftp-pasv", "passive-ftp"], "--passive"),
    (&["no-passive-ftp"], "--active"),
    (&["disable-epsv"], "--epsv never"),
    (&["disable-eprt"], "--eprt never"),
    (&["ftp-skip-pasv-ip"], "--passive-address peer"),
    (&["ftp-create-dirs", "mkpath", "force-directories"], "--create-dirs"),
    (&["use-ascii"], "--ascii"),
    (&["bwlimit"], "--limit-rate"),
    (&["s", "silent", "no-verbose", "nv"], "--quiet"),
    (&["progress-bar", "show-progress"], "--progress always"),
    (&["no-progress", "no-progress-meter"], "--progress never"),
    (&["trace-ascii", "trace-time", "d", "debug", "vv"], "--trace"),
    (&["n", "nc", "ignore-existing"], "--no-clobber"),
    (&["directory-prefix", "output-dir"], "--directory"),
    (&["parallel", "transfers", "P", "parallel-max"], "--jobs"),
    (&["ftp-user", "username"], "--user"),
    (&["accept", "A", "include-glob"], "--include"),
    (&["reject", "R", "exclude-glob", "X", "x"], "--exclude"),
    (&["ignore-time"], "--size-only"),
    (&["e", "del", "delete-after"], "--delete"),
    (&["n"], "--dry-run"),
    (&["o", "O", "output", "output-document"], "ftp-cli get URL LOCAL"),
    (&["upload-file"], "ftp-cli put LOCAL URL"),
    (&["Q"], "ftp-cli quote URL COMMAND"),
    (&["list-only"], "ftp-cli ls URL"),
    (&["I", "head", "spider"], "ftp-cli stat URL"),
    (&["r", "recursive", "N", "timestamping", "mirror"], "ftp-cli mirror SRC DST"),
    (&["reverse"], "ftp-cli mirror DIR URL"),
];

/// Returns the replacement for the option `name` of another program.
pub(super) fn instead(name: &str, command: Command) -> Option<&'static str> {
    let is_taken = |instead: &str| match instead.strip_prefix("--") {
        Some(option) => {
            let long = option.split(' ').next();
            command.rows().any(|row| Some(row.long) == long)
        }
        // Only for commands that reach a server.
        None => command.rows().any(|row| row.group == Group::Data),
    };
    let mut fitting = NAMES.iter().filter(|(names, _)| names.contains(&name));
    fitting.find(|(_, instead)| is_taken(instead)).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TABLE;

    #[test]
    fn each_answer_is_an_option_or_a_command() {
        for (names, instead) in NAMES {
            let first = instead.split(' ').nth(usize::from(!instead.starts_with("--")));
            let word = first.unwrap().trim_start_matches('-');
            let is_option = TABLE.iter().any(|row| row.long == word);
            assert!(is_option || Command::find(word.as_ref()).is_ok(), "{instead}");
            assert!(!names.is_empty(), "{instead}");
        }
    }

    #[test]
    fn options_of_other_programs_are_answered_with_ours() {
        for (command, name, want) in [
            (Command::Get, "max-time", Some("--timeout")),
            (Command::Get, "no-check-certificate", Some("--insecure")),
            (Command::Get, "O", Some("ftp-cli get URL LOCAL")),
            (Command::Mirror, "parallel", Some("--jobs")),
            (Command::Mirror, "R", Some("--exclude")),
            (Command::Get, "R", None),
            (Command::Get, "r", Some("ftp-cli mirror SRC DST")),
            (Command::Mirror, "n", Some("--dry-run")),
            (Command::Passwd, "O", None),
            (Command::Get, "frobnicate", None),
        ] {
            assert_eq!(instead(name, command), want, "{} {name}", command.name());
        }
    }
}
