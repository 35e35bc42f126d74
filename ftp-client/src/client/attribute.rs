//! What is known of one object, and changing it: `SIZE`, `MDTM`, `MLST` (RFC 3659), `MFMT`
//! (draft-somers-ftp-mfxx), `SITE CHMOD`.

use ftp_proto::{Command, Entry, Fact, Facts, OptsArgument, Permissions, Reply, ReplyCode};
use ftp_proto::{RepresentationType, Severity, SiteArgument, TimeVal};

use super::{Client, is_unknown};
use crate::error::Error;

impl Client {
    /// The size of the file at `path` in bytes (`SIZE`), counted as type image sends it; `None`
    /// if the server does not tell, which says nothing about whether the file is there.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for 4yz, for 530, and if type image is refused.
    pub fn size(&mut self, path: impl AsRef<[u8]>) -> Result<Option<u64>, Error> {
        let command = Command::Size(self.pathname(path.as_ref())?);
        self.settle()?;
        self.put_in_force(RepresentationType::Image)?;
        Ok(self.ask(&command)?.and_then(|reply| {
            let digits = reply.text().trim_ascii();
            let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        }))
    }

    /// When the file at `path` was modified (`MDTM`); `None` if the server does not tell.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for 4yz and 530.
    pub fn modified(&mut self, path: impl AsRef<[u8]>) -> Result<Option<TimeVal>, Error> {
        let command = Command::Mdtm(self.pathname(path.as_ref())?);
        self.settle()?;
        Ok(self.ask(&command)?.and_then(|reply| TimeVal::parse(reply.text().trim_ascii()).ok()))
    }

    /// What the server tells of the object at `path`, or of the working directory if it is empty
    /// (`MLST`); `None` if it does not tell, which says nothing about whether the object is there.
    /// The name is what the server sends, as a rule the whole path.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for 4yz and 530; [`Error::Argument`].
    pub fn stat(&mut self, path: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        let command = Command::Mlst(self.pathname_or_none(path.as_ref())?);
        self.settle()?;
        let reply = self.ask(&command)?;
        Ok(reply.and_then(|reply| facts_in(&reply)).map(|facts| Entry::from(&facts)))
    }

    /// Whether the server proves that there is an object at `path`, by `MDTM` or `MLST`. `SIZE`
    /// does not prove it: a server that keeps an interrupted upload under a hidden name tells the
    /// size of what it keeps, so that the client can resume. `false` means that nothing proves it,
    /// not that the object is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for 4yz and 530; [`Error::Argument`].
    pub fn exists(&mut self, path: impl AsRef<[u8]>) -> Result<bool, Error> {
        let path = path.as_ref();
        Ok(self.modified(path)?.is_some() || self.stat(path)?.is_some())
    }

    /// Sets when the object at `path` was modified (`MFMT`, or `SITE UTIME` where the server lists
    /// that and does not know the first). Gives the time that the server says it stored, which may
    /// be coarser; `None` if it does not say.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with 500 or 502 by a server that can do neither; [`Error::Argument`].
    pub fn set_modified(
        &mut self,
        path: impl AsRef<[u8]>,
        time: TimeVal,
    ) -> Result<Option<TimeVal>, Error> {
        let path = self.pathname(path.as_ref())?;
        let command = Command::Mfmt(time, path.clone());
        let reply = self.request(&command)?;
        if is_unknown(&reply) && self.features()?.has_with("SITE", "UTIME") {
            let seconds: String = time.to_string().chars().take(14).collect();
            // Of access, modification and making, in UTC: the form that both servers which have
            // it understand, Pure-FTPd and ProFTPD.
            let times = format!(" {seconds} {seconds} {seconds} UTC");
            let argument = [path.as_bytes(), times.as_bytes()].concat();
            let utime = SiteArgument::Other { word: b"UTIME".to_vec(), argument };
            self.order(&Command::Site(utime))?;
            return Ok(None);
        }
        match reply.code().severity() {
            Severity::Completion => {
                Ok(Facts::parse(reply.text()).ok().and_then(|facts| facts.modify()))
            }
            _ => Err(Error::Refused(command.verb(), reply)),
        }
    }

    /// Sets the permission bits of the object at `path` (`SITE CHMOD`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Argument`].
    pub fn chmod(&mut self, path: impl AsRef<[u8]>, mode: Permissions) -> Result<(), Error> {
        let path = self.pathname(path.as_ref())?;
        let chmod = SiteArgument::Chmod { mode: mode.mode(), path };
        self.order(&Command::Site(chmod)).map(drop)
    }

    /// Chooses which facts the server sends in [`stat`](Self::stat) and in listings by `MLSD`
    /// (`OPTS MLST`), and gives those that it says it will send. Without [`Fact::Type`] nothing
    /// tells files from directories.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] by a server without `MLST`.
    pub fn select_facts(&mut self, facts: &[Fact]) -> Result<Vec<Fact>, Error> {
        let list = facts.iter().map(|fact| format!("{};", fact.as_str())).collect::<String>();
        let reply = self.order(&Command::Opts(OptsArgument::Mlst(list.into_bytes())))?;
        // FEAT marks the facts that are sent, and would now mark others.
        self.features = None;
        let text = reply.text();
        let begin = text.iter().rposition(|&byte| byte == b' ').map_or(0, |at| at + 1);
        let (_, chosen) = text.split_at(begin);
        Ok(chosen.split(|&byte| byte == b';').filter_map(Fact::parse).collect())
    }

    /// A 2yz reply. Any 5yz but 530 means that it is not known.
    fn ask(&mut self, command: &Command) -> Result<Option<Reply>, Error> {
        let reply = self.control.request(command)?;
        match reply.code().severity() {
            Severity::Completion => Ok(Some(reply)),
            Severity::Permanent if reply.code() != ReplyCode::NOT_LOGGED_IN => Ok(None),
            _ => Err(Error::Refused(command.verb(), reply)),
        }
    }
}

/// The entry in a reply to `MLST`: a line between the first and the last, after one SP
/// (RFC 3659 §7.2). Servers also send it without the SP, after the code again, or alone.
fn facts_in(reply: &Reply) -> Option<Facts> {
    let count = reply.lines().count();
    let behind_first = usize::from(count > 1);
    let between =
        reply.lines().skip(behind_first).take((count - behind_first).min(count.max(3) - 2));
    let again = format!("{}-", reply.code());
    between.into_iter().find_map(|line| {
        let line = line.strip_prefix(again.as_bytes()).unwrap_or(line);
        Facts::parse(line.strip_prefix(b" ").unwrap_or(line)).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_mlst_are_found() {
        for (lines, want) in [
            (&["Begin", " type=file;size=5; /a b", "End"][..], Some("/a b")),
            (&["Begin", "type=dir; /d", "End"], Some("/d")),
            (&["Begin", "250- type=dir; /d", "End"], Some("/d")),
            (&["Begin", "", "  /no facts", "End"], Some("/no facts")),
            (&["Begin", " type=file; x"], Some("x")),
            (&["type=file; x"], Some("x")),
            (&["File a=1; b", " type=dir; c", "x=2; d"], Some("c")),
            (&["Begin", "nothing", "End"], None),
            (&["OK"], None),
        ] {
            let mut sent = Vec::new();
            for (at, line) in lines.iter().enumerate() {
                let start = match at {
                    _ if at + 1 == lines.len() => "250 ",
                    0 => "250-",
                    _ => "",
                };
                sent.extend_from_slice(format!("{start}{line}\r\n").as_bytes());
            }
            let mut decoder = ftp_proto::ReplyDecoder::new();
            let _ = decoder.push(&sent);
            let reply = decoder.next().unwrap().unwrap();
            let found = facts_in(&reply).map(|facts| facts.name().to_vec());
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{lines:?}");
        }
    }
}
