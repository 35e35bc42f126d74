//! Whether a server refuses a session only because it is busy. Many servers answer a client beyond
//! a limit with 530, like a wrong password, and only the text tells the difference.

use ftp_proto::{Reply, ReplyCode, Severity};

/// Phrases, in lower case, of servers that have too many clients.
const BUSY: [&[u8]; 11] = [
    // ProFTPD, MaxClients and its relatives: "Sorry, the maximum number of clients (2) from your
    // host are already connected."
    b"already connected",
    // vsftpd: "There are too many connected users, please try later." FileZilla Server: "Too many
    // users are connected, please try again later." IIS: "Too many users."
    b"too many",
    b"try later",
    b"try again later",
    b"try back later",
    // Pure-FTPd: "50 users (the maximum) are already logged in, sorry", "I can't accept more than
    // 2 connections as the same user".
    b"the maximum) are",
    b"accept more than",
    // IIS: "Maximum session limit reached", "Connection limit exceeded"; others: "User limit
    // reached".
    b"limit reached",
    b"limit exceeded",
    b"simultaneous",
    b"overloaded",
];

/// What servers count, in lower case. With "maximum", or with "max" as a word, one of these says
/// that there are too many: "maximum clients reached", "Max connections per user exceeded". Some of
/// these texts come from administrators, who can set their own.
const COUNTED: [&[u8]; 6] = [b"client", b"connection", b"user", b"session", b"login", b"host"];

/// Phrases of refusals that further attempts make worse: too many wrong passwords.
const WRONG: [&[u8]; 6] = [b"fail", b"attempt", b"incorrect", b"invalid", b"wrong", b"banned"];

/// Returns whether a permanent reply to the connection or to a login says that the server has too
/// many clients at the moment.
pub(super) fn is_busy(reply: &Reply) -> bool {
    let code = reply.code();
    let is_refusal = code.severity() == Severity::Permanent && !is_about_syntax(code);
    if !is_refusal {
        return false;
    }
    let lines: Vec<_> = reply.lines().map(<[u8]>::to_ascii_lowercase).collect();
    let says = |phrases: &[&[u8]]| lines.iter().any(|line| has(line, phrases));
    let counts = || lines.iter().any(|line| names_maximum(line) && has(line, &COUNTED));
    (says(&BUSY) || counts()) && !says(&WRONG)
}

/// Returns whether a line in lower case has one of the phrases.
fn has(line: &[u8], phrases: &[&[u8]]) -> bool {
    phrases.iter().any(|words| line.windows(words.len()).any(|part| part == *words))
}

/// Returns whether a line in lower case speaks of a maximum.
fn names_maximum(line: &[u8]) -> bool {
    line.split(|byte| !byte.is_ascii_alphanumeric())
        .any(|word| matches!(word, b"maximum" | b"max" | b"maximal"))
}

fn is_about_syntax(code: ReplyCode) -> bool {
    matches!(code.value(), 500..=504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_servers_with_too_many_clients_are_known() {
        for (code, text, want) in [
            // vsftpd 3.0.5 sends 421; a wrapper may turn it into 530.
            (530, "There are too many connected users, please try later.", true),
            (530, "There are too many connections from your internet address.", true),
            // ProFTPD 1.3.8: MaxClients, MaxClientsPerHost, MaxClientsPerUser, MaxHostsPerUser,
            // MaxConnectionsPerHost.
            (530, "Sorry, the maximum number of allowed clients (2) are already connected.", true),
            (
                530,
                "Sorry, the maximum number of clients (2) from your host are already connected.",
                true,
            ),
            (
                530,
                "Sorry, the maximum number of clients (2) for this user are already connected.",
                true,
            ),
            (
                530,
                "Sorry, the maximum number of hosts (1) for this user are already connected.",
                true,
            ),
            (
                530,
                "Sorry, the maximum number of connections (3) for your host are already connected.",
                true,
            ),
            // Pure-FTPd 1.0.50.
            (530, "50 users (the maximum) are already logged in, sorry", true),
            (530, "Too many connections (8) from this IP", true),
            (530, "I can't accept more than 2 connections as the same user", true),
            // FileZilla Server 0.9 and 1.x.
            (530, "Too many users are connected, please try again later.", true),
            (530, "Too many users logged in for this account. Try again later.", true),
            (500, "Too many users are connected", false),
            // IIS 10.
            (530, "Connection limit exceeded.", true),
            (534, "Maximum session limit reached.", true),
            // Serv-U.
            (530, "Sorry, maximum number of sessions per IP exceeded.", true),
            (530, "Too many users logged in for this account. Try again later.", true),
            // zFTPServer, appliances, and texts that administrators set.
            (530, "maximum clients reached", true),
            (530, "Maximum connections per user exceeded", true),
            (530, "Max. sessions reached", true),
            (530, "Too many connections", true),
            (530, "Sorry, there are already 5 clients, which is the maximum.", true),
            (530, "The maximum number of hosts for this user is reached.", true),
            (530, "Maximum login attempts exceeded", false),
            (530, "Maximum password age exceeded", false),
            (530, "User maxine cannot log in.", false),
            (530, "User cannot log in.", false),
            (530, "Login incorrect.", false),
            (530, "Login authentication failed", false),
            (530, "Too many failed logins, try again later", false),
            (530, "Too many login attempts.", false),
            (530, "You are banned for too many connections", false),
            (430, "Too many users", false),
            (550, "No such file", false),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            assert_eq!(is_busy(&reply), want, "{code} {text}");
        }
    }
}
