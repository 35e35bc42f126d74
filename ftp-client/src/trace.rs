//! The dialogue as log records: target `ftp_client::wire`, level debug, one record per line.
//!
//! `> ` marks sent lines, `< ` received lines, `= ` explanations. Passwords and accounts appear as
//! `****`, and control characters are escaped.

use std::fmt;

use ftp_proto::{Escaped, Reply, Verb};

const TARGET: &str = "ftp_client::wire";

/// Logs a command line that is sent.
pub(crate) fn sent(verb: Verb, line: &[u8]) {
    let shown = |line: &[u8]| Escaped(line.trim_ascii_end()).to_string();
    match secret_at(verb, line) {
        Some(_) if verb != Verb::Site => log::debug!(target: TARGET, "> {verb} ****"),
        Some(at) => {
            let open = line.get(..at).unwrap_or_default();
            log::debug!(target: TARGET, "> {} ****", shown(open));
        }
        None => log::debug!(target: TARGET, "> {}", shown(line)),
    }
}

/// Returns where the secrets in a command line begin, if it has any: the argument of `PASS` and
/// `ACCT`, and the arguments of a `SITE` command that changes a password, which is called `PSWD`,
/// `PASSWD` or similarly.
pub(crate) fn secret_at(verb: Verb, line: &[u8]) -> Option<usize> {
    let after_blank = |from: usize| {
        let rest = line.get(from..).unwrap_or_default();
        rest.iter().position(|byte| *byte == b' ').map_or(line.len(), |at| from + at + 1)
    };
    let argument = after_blank(0);
    match verb {
        Verb::Pass | Verb::Acct => Some(argument),
        Verb::Site => {
            let end = after_blank(argument);
            let name = line.get(argument..end).unwrap_or_default().to_ascii_uppercase();
            let is_of = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
            (is_of(b"PSWD") || is_of(b"PASS") || is_of(b"PWD")).then_some(end)
        }
        _ => None,
    }
}

/// Logs a received reply.
pub(crate) fn received(reply: &Reply) {
    if !log::log_enabled!(target: TARGET, log::Level::Debug) {
        return;
    }
    let code = reply.code();
    let last = reply.lines().count() - 1;
    for (index, line) in reply.lines().enumerate() {
        let line = Escaped(line);
        match index {
            _ if index == last => log::debug!(target: TARGET, "< {code} {line}"),
            0 => log::debug!(target: TARGET, "< {code}-{line}"),
            _ => log::debug!(target: TARGET, "< {line}"),
        }
    }
}

/// Logs an explanation.
pub(crate) fn note(text: fmt::Arguments<'_>) {
    log::debug!(target: TARGET, "= {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_begin_after_the_name_of_the_command_li_12() {
        for (verb, line, want) in [
            (Verb::Pass, "PASS a b\r\n", Some("PASS ")),
            (Verb::Pass, "PASS\r\n", Some("PASS\r\n")),
            (Verb::Acct, "ACCT a\r\n", Some("ACCT ")),
            (Verb::Site, "SITE PSWD old new\r\n", Some("SITE PSWD ")),
            (Verb::Site, "site chpasswd u new\r\n", Some("site chpasswd ")),
            (Verb::Site, "SITE CHMOD 600 PASS\r\n", None),
            (Verb::Site, "SITE\r\n", None),
            (Verb::User, "USER PASS\r\n", None),
        ] {
            let found = secret_at(verb, line.as_bytes()).map(|at| &line[..at]);
            assert_eq!(found, want, "{line}");
        }
    }
}
