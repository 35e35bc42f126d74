//! Servers that read some characters of a name as others, by their greeting and `FEAT`.

use ftp_proto::{Features, Reply};

/// Returns the position of the first control character that a path can have.
fn control_in(sent: &[u8]) -> Option<usize> {
    sent.iter().position(u8::is_ascii_control)
}

/// Returns the position of a blank at the end of a path.
fn final_blank_in(sent: &[u8]) -> Option<usize> {
    sent.len().checked_sub(1).filter(|_| sent.ends_with(b" "))
}

/// Returns the position of the first character of a path that the server may not keep.
pub(super) fn unkept_in(sent: &[u8], server: Option<KnownServer>) -> Option<usize> {
    match server {
        Some(KnownServer::PureFtpd) => control_in(sent).or(final_blank_in(sent)),
        Some(_) => None,
        None => control_in(sent),
    }
}

/// Returns whether some servers change this path.
pub(super) fn may_be_changed(sent: &[u8]) -> bool {
    control_in(sent).is_some() || final_blank_in(sent).is_some()
}

/// A server whose reading of names is known. All but Pure-FTPd keep control characters and final
/// blanks: it replaces each in a command by `_`, which is another name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KnownServer {
    Vsftpd,
    PureFtpd,
    Pyftpdlib,
    Proftpd,
    Ours,
}

impl KnownServer {
    /// Returns whether the server reads each byte 0xFF as itself.
    pub(super) const fn takes_bytes(self) -> bool {
        matches!(self, Self::Vsftpd | Self::PureFtpd | Self::Pyftpdlib)
    }
}

/// Returns the server that a greeting names, if it is known.
pub(super) fn named_in(welcome: &Reply) -> Option<KnownServer> {
    let names: [(&[u8], KnownServer); 4] = [
        (b"vsftpd", KnownServer::Vsftpd),
        (b"pure-ftpd", KnownServer::PureFtpd),
        (b"pyftpdlib", KnownServer::Pyftpdlib),
        (b"proftpd", KnownServer::Proftpd),
    ];
    welcome.lines().find_map(|line| {
        let line = line.to_ascii_lowercase();
        let is_in = |name: &[u8]| line.windows(name.len()).any(|part| part == name);
        names.iter().find(|(name, _)| is_in(name)).map(|(_, server)| *server)
    })
}

/// Returns the server with these features, if it is known. The greeting alone is not enough, since its
/// text is configurable.
pub(super) fn known_by(features: &Features) -> Option<KnownServer> {
    let lists = |names: &[&str]| names.iter().all(|name| features.has(name));
    let holds = |facts: &[u8]| {
        features.iter().any(|(_, words)| words.windows(facts.len()).any(|part| part == facts))
    };
    let is_vsftpd = lists(&["EPRT", "EPSV", "MDTM", "PASV", "REST", "SIZE", "TVFS"])
        && !lists(&["MLST"])
        && !lists(&["MFMT"]);
    // Without a promise about links, as in a gateway, ours is the only one known to list `MODE B`.
    let is_ours = lists(&["X-LINKS"]) || lists(&["CLNT", "HOST"]) && features.has_with("MODE", "B");
    let known = [
        (KnownServer::PureFtpd, lists(&["ESTA", "ESTP"])),
        (KnownServer::Vsftpd, is_vsftpd),
        (KnownServer::Pyftpdlib, holds(b"unix.mode;unix.uid;unix.gid;")),
        (KnownServer::Proftpd, holds(b"UNIX.group;UNIX.mode;")),
        (KnownServer::Ours, is_ours),
    ];
    known.into_iter().find(|(_, is_it)| *is_it).map(|(server, _)| server)
}
