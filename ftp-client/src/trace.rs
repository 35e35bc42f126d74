//! The dialogue as log records: target `ftp_client::wire`, level debug, one record per line.
//!
//! `> ` marks sent lines, `< ` received lines, `= ` explanations. Passwords and accounts appear as
//! `****`, and control characters are escaped.

use std::fmt;

use ftp_proto::{Escaped, Reply, Verb};

const TARGET: &str = "ftp_client::wire";

/// Logs a command line that is sent.
pub(crate) fn sent(verb: Verb, line: &[u8]) {
    match verb {
        Verb::Pass | Verb::Acct => log::debug!(target: TARGET, "> {verb} ****"),
        _ => log::debug!(target: TARGET, "> {}", Escaped(line.trim_ascii_end())),
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
