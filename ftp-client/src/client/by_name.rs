//! Servers that find an object only by its name in the current directory: commands other than `CWD`
//! take no path. The client learns that from the first refusal of a path in a tree, and from then on
//! enters the directory before each command (RFC 1738 §3.2.2).

use ftp_proto::{Command, Pathname, Reply, ReplyCode, Severity, Verb};

use super::Client;
use super::directories::Inside;
use crate::control::mdtm;
use crate::error::Error;
use crate::trace;

const fn path_in(command: &mut Command) -> Option<&mut Pathname> {
    match command {
        Command::Retr(path)
        | Command::Stor(path)
        | Command::Appe(path)
        | Command::Dele(path)
        | Command::Rmd(path)
        | Command::Mkd(path)
        | Command::Rnfr(path)
        | Command::Rnto(path)
        | Command::Size(path)
        | Command::Mdtm(path)
        | Command::Mlst(Some(path))
        | Command::Mfmt(_, path) => Some(path),
        _ => None,
    }
}

/// Returns whether a name means the same in its directory as in a path. Some servers take one that begins
/// with a tilde for a home directory.
fn is_plain(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b"~")
}

impl Client {
    /// Returns whether nothing that the server has said of itself excludes that it takes only names.
    pub(super) fn promises_no_paths(&self) -> bool {
        let tells = |word| self.features.as_ref().is_none_or(|features| features.has(word));
        self.names_are_listed && !tells("TVFS") && !tells("MLST")
    }

    /// Returns whether `CWD` may have to precede a command on the object at `path`, because the server
    /// has not shown yet that it takes paths.
    pub(super) fn may_need_cwd(&self, path: &[u8]) -> bool {
        path.contains(&b'/')
            && self.promises_no_paths()
            && !self.config.learned.takes_paths.is_set()
    }

    /// Returns whether the refusal of a path with this code can mean that the server takes only names.
    pub(super) fn may_need_names(&self, code: ReplyCode) -> bool {
        // 501: a `/` in an argument.
        matches!(code.value(), 501 | 550 | 553) && self.promises_no_paths()
    }

    /// Returns whether both paths can be named in one directory, if the server takes only names.
    pub(super) fn can_rename(&self, from: &[u8], to: &[u8]) -> bool {
        let ((directory, from), (other, to)) = (Pathname::split(from), Pathname::split(to));
        let is_named = |name| directory.is_empty() || is_plain(name);
        !self.config.learned.only_names.is_set()
            || directory == other && is_named(from) && is_named(to)
    }

    /// If the server takes only names, enters the directory of the object, and returns the command
    /// with the name. The next call of [`settle`](Self::settle) comes back.
    pub(crate) fn by_name(&mut self, command: &Command) -> Result<Option<Command>, Error> {
        match self.config.learned.only_names.is_set() {
            true => self.inside(command),
            false => Ok(None),
        }
    }

    fn inside(&mut self, command: &Command) -> Result<Option<Command>, Error> {
        let mut named = command.clone();
        let Some(path) = path_in(&mut named) else { return Ok(None) };
        let whole = path.as_bytes().to_vec();
        let (directory, name) = Pathname::split(&whole);
        if directory.is_empty() || !is_plain(name) {
            return Ok(None);
        }
        *path = Pathname::new(name)?;
        if let Command::Mdtm(name) = named {
            named = mdtm(name);
        }
        let changes = !matches!(command.verb(), Verb::Retr | Verb::Size | Verb::Mdtm | Verb::Mlst);
        match self.go_inside(directory)? {
            // A name in a directory that was not entered would be another object.
            Inside::Entered if changes && self.is_still_home()? => Ok(None),
            Inside::Entered => Ok(Some(named)),
            Inside::Refused(Error::Refused { reply, .. }) => {
                Err(Error::Refused { verb: command.verb(), reply })
            }
            Inside::Refused(error) => Err(error),
            Inside::Fixed => Ok(None),
        }
    }

    /// Returns the command to try once more after a reply with this code to the one with the whole
    /// path: with only the name, if a tree may be on a server that takes no paths. The caller then
    /// calls [`note_name`](Self::note_name).
    pub(crate) fn again_by_name(
        &mut self,
        command: &Command,
        code: ReplyCode,
    ) -> Result<Option<Command>, Error> {
        let mut named = command.clone();
        if !path_in(&mut named).is_some_and(|path| path.as_bytes().contains(&b'/')) {
            return Ok(None);
        }
        if !matches!(code.severity(), Severity::Transient | Severity::Permanent) {
            self.config.learned.takes_paths.set();
        }
        if self.config.learned.takes_paths.is_set() || !self.may_need_names(code) {
            return Ok(None);
        }
        self.settle()?;
        match self.inside(command) {
            Err(Error::Refused { .. }) => Ok(None),
            named => named,
        }
    }

    pub(crate) fn note_name(&mut self, is_refused: bool) {
        if !is_refused && !self.config.learned.only_names.is_set() {
            trace::note(format_args!("the server takes no paths: entering each directory"));
            self.config.learned.only_names.set();
            self.go_one_by_one();
        }
    }

    /// Returns `RNTO` with the name alone, if `RNFR` has named its object so: no other command may come
    /// between the two.
    pub(super) fn second_name(&self, to: &Command) -> Result<Option<Command>, Error> {
        let mut named = to.clone();
        match path_in(&mut named) {
            Some(path) if self.config.learned.only_names.is_set() && self.is_inside() => {
                *path = Pathname::new(Pathname::split(path.as_bytes()).1)?;
                Ok(Some(named))
            }
            _ => Ok(None),
        }
    }

    /// Sends a command by `send`, with the path of its object or, if the server takes only names,
    /// with the name. Returns the reply.
    pub(super) fn exchange(
        &mut self,
        command: &Command,
        send: impl Fn(&mut Self, &Command) -> Result<Reply, Error>,
    ) -> Result<Reply, Error> {
        let named = match self.by_name(command) {
            Err(Error::Refused { reply, .. }) => return Ok(reply),
            named => named?,
        };
        if let Some(named) = named {
            return self.stay_inside(|client| send(client, &named));
        }
        let reply = send(self, command)?;
        let Some(named) = self.again_by_name(command, reply.code())? else { return Ok(reply) };
        let again = self.stay_inside(|client| send(client, &named))?;
        let is_refused = again.code().severity() == Severity::Permanent;
        self.note_name(is_refused);
        Ok(if is_refused { reply } else { again })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_source_with_its_path_gets_a_target_with_its_path() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = thread::spawn(move || {
            let (mut control, _) = listener.accept().unwrap();
            control.write_all(b"220 ready\r\n").unwrap();
            control
        });
        let client = Client::builder().connect(&address).unwrap();
        client.config.learned.only_names.set();
        // No directory was entered for RNFR.
        let to = Command::Rnto(Pathname::new("d/b").unwrap());
        assert!(client.second_name(&to).unwrap().is_none());
        for (from, to, is_possible) in [
            ("d/a", "d/b", true),
            ("a", "b", true),
            ("~a", "~b", true),
            ("d/a", "da/b", false),
            ("d/a", "D/b", false),
            ("d/a", "d/b/c", false),
            ("d/a", "b", false),
            // The server would take the name alone for a home directory.
            ("d/a", "d/~b", false),
            ("d/~a", "d/b", false),
        ] {
            assert_eq!(
                client.can_rename(from.as_bytes(), to.as_bytes()),
                is_possible,
                "{from} {to}"
            );
        }
        drop(peer.join().unwrap());
    }
}
