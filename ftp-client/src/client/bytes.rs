//! Names with the byte 0xFF, which begins a Telnet command on the control connection. RFC 854
//! requires clients to double the byte, but some servers then read two bytes.

use ftp_proto::{Features, Reply};

use super::Client;
use crate::error::Error;
use crate::trace;

impl Client {
    /// Sets whether the client sends 0xFF in commands twice, as RFC 854 says.
    ///
    /// By default, the client decides from the greeting and `FEAT`. It sends 0xFF once to vsftpd,
    /// Pure-FTPd and pyftpdlib, which read each byte as itself, and twice to other servers.
    pub const fn double_telnet_byte(&mut self, doubles: bool) {
        self.knows_iac = true;
        self.control.take_bytes(!doubles);
    }

    /// Returns whether other commands must be sent before a command with this path.
    pub(crate) fn needs_agreement(&self, path: &[u8]) -> bool {
        let is_utf8 = !path.is_ascii() && std::str::from_utf8(path).is_ok();
        (is_utf8 && !self.utf8_asked) || (!self.knows_iac && path.contains(&0xff))
    }

    /// Before the client first sends 0xFF, finds out how the server reads that byte.
    pub(super) fn learn_iac(&mut self, text: &[u8]) -> Result<(), Error> {
        if self.knows_iac || !text.contains(&0xff) {
            return Ok(());
        }
        let takes_bytes = names_itself(&self.welcome) || is_known(&self.features()?);
        if takes_bytes {
            trace::note(format_args!("this server reads each 0xFF as itself: sending it once"));
        }
        self.double_telnet_byte(!takes_bytes);
        Ok(())
    }
}

/// Returns whether a greeting names a server that reads each byte as itself.
fn names_itself(welcome: &Reply) -> bool {
    let names: [&[u8]; 3] = [b"vsftpd", b"pure-ftpd", b"pyftpdlib"];
    welcome.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        names.iter().any(|name| line.windows(name.len()).any(|part| part == *name))
    })
}

/// Returns whether the features are those of a server that reads each byte as itself. The greeting
/// alone is not enough, since its text is configurable.
fn is_known(features: &Features) -> bool {
    let lists = |names: &[&str]| names.iter().all(|name| features.has(name));
    let is_pure = lists(&["ESTA", "ESTP"]);
    let is_vsftpd = lists(&["EPRT", "EPSV", "MDTM", "PASV", "REST", "SIZE", "TVFS"])
        && !lists(&["MLST"])
        && !lists(&["MFMT"]);
    let facts = b"unix.mode;unix.uid;unix.gid;";
    let holds_facts = |words: &[u8]| words.windows(facts.len()).any(|part| part == facts);
    let is_pyftpdlib = features.iter().any(|(_, words)| holds_facts(words));
    is_pure || is_vsftpd || is_pyftpdlib
}
