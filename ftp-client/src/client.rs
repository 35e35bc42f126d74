//! `Client`: one method a service, each a few lines over the control connection.

use std::net::SocketAddr;

use ftp_proto::{Command, Features, OptsArgument, ParseError, ParseErrorKind, Pathname};
use ftp_proto::{RawCommand, Reply, ReplyCode, RepresentationType, RestartMarker, Severity};
use ftp_proto::{TimeVal, Verb};

use crate::config::{ClientBuilder, Config};
use crate::connect::Server;
use crate::control::ControlConnection;
use crate::data::Ways;
use crate::error::Error;
use crate::listing::{Entries, Listing};
use crate::stream::Stream;
use crate::transfer::{self, Download, Transfer, Upload};
use crate::wait::Waiter;
use crate::{connect, login, trace};

/// A session with a server: the user-FTP process of RFC 959 §2.3.
///
/// Paths are bytes, since servers give them in any encoding. Where one holds other than ASCII and
/// is valid UTF-8, the server is asked once for `FEAT`, and told `OPTS UTF8 ON` if it lists that.
///
/// It may go from thread to thread, but is used by one at a time: whoever has several puts it
/// behind a lock, which keeps each dialogue together.
///
/// ```no_run
/// # fn main() -> Result<(), ftp_client::Error> {
/// let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let shared = std::sync::Mutex::new(&mut client);
/// std::thread::scope(|threads| {
///     threads.spawn(|| shared.lock().unwrap().noop());
///     threads.spawn(|| shared.lock().unwrap().noop());
/// });
/// # Ok(())
/// # }
/// ```
///
/// The same without the lock in the last of these lines is refused:
///
/// ```compile_fail,E0499
/// # fn main() -> Result<(), ftp_client::Error> {
/// let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let shared = std::sync::Mutex::new(&mut client);
/// std::thread::scope(|threads| {
///     threads.spawn(|| shared.lock().unwrap().noop());
///     threads.spawn(|| client.noop());
/// });
/// # Ok(())
/// # }
/// ```
///
/// Every call may end with the errors of the control connection: [`Error::Closed`],
/// [`Error::ServiceClosing`], [`Error::Timeout`], [`Error::Io`], [`Error::Protocol`],
/// [`Error::Unexpected`] and [`Error::Desynchronised`]. The methods name only what comes on top of
/// these, and of [`Error::Cancelled`]. Dropping a client closes its connections without a word;
/// [`quit`](Self::quit) says good-bye.
#[derive(Debug)]
pub struct Client {
    pub(crate) control: ControlConnection,
    pub(crate) config: Config,
    pub(crate) ways: Ways,
    /// The data connection of a transfer that was dropped before its end.
    pub(crate) abandoned: Option<Stream>,
    /// The restart marker that is in force at the server.
    pub(crate) restart: RestartMarker,
    welcome: Reply,
    /// The type of the transfers to come, and the type in force; `None` if that is not known.
    wanted: RepresentationType,
    pub(crate) in_force: Option<RepresentationType>,
    features: Option<Features>,
    utf8_asked: bool,
}

impl Client {
    /// Settings for a new client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn connect(config: Config, server: Server) -> Result<Self, Error> {
        let waiter = Waiter::new(config.overall, config.canceller.clone());
        let stream = connect::connect(&server, &config, &waiter)?;
        let addresses = match config.connector {
            // What it connected to is its own matter: a proxy, or nothing with an address.
            Some(_) => None,
            None => Some(stream.addresses().map_err(Error::Io)?),
        };
        let reply_limit = config.timeouts.reply;
        let mut control = ControlConnection::new(stream, server, addresses, reply_limit, waiter);
        let welcome = control.greeting(config.timeouts.greeting)?;
        Ok(Self {
            control,
            config,
            ways: Ways::default(),
            abandoned: None,
            restart: RestartMarker::default(),
            welcome,
            wanted: RepresentationType::Image,
            in_force: None,
            features: None,
            utf8_asked: false,
        })
    }

    /// Logs in with `USER` and, if the server asks for them, `PASS` and `ACCT`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the server's reason: 530 for a wrong name or password, 332 if it
    /// wants an account and none was given to the builder. [`Error::Argument`] for an empty name,
    /// and for CR, LF or NUL in any of them.
    pub fn login(
        &mut self,
        user: impl AsRef<[u8]>,
        password: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.settle()?;
        let account = self.config.account.as_ref();
        login::login(&mut self.control, user.as_ref(), password.as_ref(), account)?;
        // Servers may list more once they know who asks.
        self.features = None;
        Ok(())
    }

    /// The server's greeting.
    #[must_use]
    pub const fn welcome(&self) -> &Reply {
        &self.welcome
    }

    /// The server's address, the one of those of its name that answered; `None` if a
    /// [`Connector`](crate::Connector) made the connection.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.control.addresses().map(|(_, peer)| peer)
    }

    /// Sets the type of the transfers that follow; [`Image`](RepresentationType::Image) at first.
    /// `TYPE` is sent with the next transfer that needs it. Listings need none.
    pub const fn set_representation(&mut self, representation: RepresentationType) {
        self.wanted = representation;
    }

    /// Begins to download the file at `path` (`RETR`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the server's reason: 550 for a file that is not there or not to be
    /// read, 425 if the data connection failed on its side. [`Error::DataConnection`] if it
    /// failed on ours. [`Error::Argument`] for a path that is empty, too long, or has CR, LF or
    /// NUL in it.
    pub fn retrieve(&mut self, path: impl AsRef<[u8]>) -> Result<Download<'_>, Error> {
        self.retrieve_from(path, 0)
    }

    /// Begins to download the file at `path` from byte `offset` on (`REST`, `RETR`), counted in
    /// the type of the transfer.
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve), and [`Error::Refused`] by a server that cannot
    /// restart.
    pub fn retrieve_from(
        &mut self,
        path: impl AsRef<[u8]>,
        offset: u64,
    ) -> Result<Download<'_>, Error> {
        let command = Command::Retr(self.pathname(path.as_ref())?);
        let wanted = self.wanted;
        let transfer = transfer::begin(self, &command, offset, Some(wanted))?;
        Ok(Download::new(transfer, wanted, offset))
    }

    /// Begins to upload a file to `path`, in place of one that is there (`STOR`).
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve), with 553 for a name that is not allowed and 452 or
    /// 552 for want of space.
    pub fn store(&mut self, path: impl AsRef<[u8]>) -> Result<Upload<'_>, Error> {
        self.store_from(path, 0)
    }

    /// Begins to upload to the file at `path` from byte `offset` of it on (`REST`, `STOR`). What
    /// is written is the rest of the file, not the whole.
    ///
    /// # Errors
    ///
    /// Those of [`store`](Self::store), and [`Error::Refused`] by a server that cannot restart.
    pub fn store_from(&mut self, path: impl AsRef<[u8]>, offset: u64) -> Result<Upload<'_>, Error> {
        let command = Command::Stor(self.pathname(path.as_ref())?);
        self.upload(&command, offset)
    }

    /// Begins to append to the file at `path`, or to make it (`APPE`).
    ///
    /// # Errors
    ///
    /// Those of [`store`](Self::store).
    pub fn append(&mut self, path: impl AsRef<[u8]>) -> Result<Upload<'_>, Error> {
        let command = Command::Appe(self.pathname(path.as_ref())?);
        self.upload(&command, 0)
    }

    fn upload(&mut self, command: &Command, offset: u64) -> Result<Upload<'_>, Error> {
        let wanted = self.wanted;
        let transfer = transfer::begin(self, command, offset, Some(wanted))?;
        Ok(Upload::new(transfer, wanted))
    }

    /// The names in a directory, the working directory if `None` (`NLST`). Some servers give them
    /// with the directory in front, and some refuse with 550 if there are none.
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve).
    pub fn names(&mut self, directory: Option<&[u8]>) -> Result<Listing<'_>, Error> {
        let command = Command::Nlst(self.shielded(directory)?);
        Ok(Listing::new(self.listing(&command)?, false))
    }

    /// The lines of a listing of a directory, the working directory if `None`, as the server
    /// formats it for people (`LIST`).
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve).
    pub fn list(&mut self, directory: Option<&[u8]>) -> Result<Listing<'_>, Error> {
        let command = Command::List(self.shielded(directory)?);
        Ok(Listing::new(self.listing(&command)?, true))
    }

    /// The entries of a directory, the working directory if `None`, with their facts (`MLSD`).
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve); a server without `MLSD` refuses with 500 or 502.
    pub fn entries(&mut self, directory: Option<&[u8]>) -> Result<Entries<'_>, Error> {
        let directory = directory.map(|path| self.pathname(path)).transpose()?;
        Ok(Entries(Listing::new(self.listing(&Command::Mlsd(directory))?, false)))
    }

    fn listing(&mut self, command: &Command) -> Result<Transfer<'_>, Error> {
        transfer::begin(self, command, 0, None)
    }

    /// A pathname for `LIST` or `NLST`, where servers take a `-` in front for an option (CL-45).
    fn shielded(&mut self, directory: Option<&[u8]>) -> Result<Option<Pathname>, Error> {
        directory
            .map(|path| match path {
                [b'-', ..] => self.pathname(&[b"./", path].concat()),
                _ => self.pathname(path),
            })
            .transpose()
    }

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
        let text = self.ask(&command)?;
        Ok(text.and_then(|text| {
            let digits = text.trim_ascii();
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
        let text = self.ask(&command)?;
        Ok(text.and_then(|text| TimeVal::parse(text.trim_ascii()).ok()))
    }

    /// The text of a 2yz reply. Any 5yz but 530 means that it is not known (CL-17).
    fn ask(&mut self, command: &Command) -> Result<Option<Vec<u8>>, Error> {
        let reply = self.control.request(command)?;
        match reply.code().severity() {
            Severity::Completion => Ok(Some(reply.text().to_vec())),
            Severity::Permanent if reply.code() != ReplyCode::NOT_LOGGED_IN => Ok(None),
            _ => Err(Error::Refused(command.verb(), reply)),
        }
    }

    /// What the server says that it can do (`FEAT`), asked once. Empty if it does not tell: then
    /// a command is simply to be tried.
    ///
    /// # Errors
    ///
    /// Only those of the control connection.
    pub fn features(&mut self) -> Result<Features, Error> {
        if let Some(features) = &self.features {
            return Ok(features.clone());
        }
        let reply = self.request(&Command::Feat)?;
        let features = match reply.code().severity() {
            Severity::Completion => Features::read(&reply),
            _ => Features::default(),
        };
        Ok(self.features.insert(features).clone())
    }

    /// The working directory (`PWD`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Protocol`] for a reply without a readable pathname.
    pub fn pwd(&mut self) -> Result<Pathname, Error> {
        let reply = self.order(&Command::Pwd)?;
        Pathname::parse_quoted(reply.text()).map_err(|error| self.control.protocol_error(error))
    }

    /// Changes the working directory (`CWD`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Argument`].
    pub fn cwd(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let command = Command::Cwd(self.pathname(path.as_ref())?);
        self.order(&command).map(drop)
    }

    /// Changes to the parent of the working directory (`CDUP`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn cdup(&mut self) -> Result<(), Error> {
        self.order(&Command::Cdup).map(drop)
    }

    /// Makes a directory (`MKD`). Gives its absolute pathname if the server tells it readably.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Argument`].
    pub fn mkdir(&mut self, path: impl AsRef<[u8]>) -> Result<Option<Pathname>, Error> {
        let command = Command::Mkd(self.pathname(path.as_ref())?);
        let reply = self.order(&command)?;
        Ok(Pathname::parse_quoted(reply.text()).ok())
    }

    /// Removes an empty directory (`RMD`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Argument`].
    pub fn rmdir(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let command = Command::Rmd(self.pathname(path.as_ref())?);
        self.order(&command).map(drop)
    }

    /// Removes a file (`DELE`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Argument`].
    pub fn delete(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let command = Command::Dele(self.pathname(path.as_ref())?);
        self.order(&command).map(drop)
    }

    /// Renames a file or directory (`RNFR`, `RNTO`). Most servers replace a file that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], whose verb tells which name it was about; [`Error::Argument`].
    pub fn rename(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        let to = Pathname::new(to.as_ref()).map_err(Error::Argument)?;
        let from = Command::Rnfr(self.pathname(from.as_ref())?);
        let to = Command::Rnto(self.pathname(to.as_bytes())?);
        to.encode().map_err(Error::Argument)?;
        let reply = self.request(&from)?;
        if reply.code().severity() != Severity::Intermediate {
            return Err(Error::Refused(Verb::Rnfr, reply));
        }
        self.order(&to).map(drop)
    }

    /// Does nothing but find out whether the server is there (`NOOP`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn noop(&mut self) -> Result<(), Error> {
        self.order(&Command::Noop).map(drop)
    }

    /// The kind of system that the server says it is (`SYST`), such as `UNIX Type: L8`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn system(&mut self) -> Result<Vec<u8>, Error> {
        Ok(self.order(&Command::Syst)?.text().to_vec())
    }

    /// Sends a command as somebody typed it, and gives its last reply, whatever it says.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// let command = ftp_client::RawCommand::new("SITE CHMOD 644 a.txt")
    ///     .map_err(ftp_client::Error::Argument)?;
    /// let reply = client.quote(&command)?;
    /// assert_eq!(reply.code().value(), 200);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a verb that uses a data connection, or that changes the meaning of
    /// what follows on either connection: `AUTH`, `CCC`, `MODE`, `STRU`. Nothing is sent then.
    pub fn quote(&mut self, command: &RawCommand) -> Result<Reply, Error> {
        let verb = command.verb();
        let refuse = |what| {
            let error = ParseError::new(what, 0, ParseErrorKind::Unsupported);
            Err(Error::Argument(error))
        };
        match verb {
            _ if transfer::uses_data(verb) => {
                return refuse("a raw command that uses a data connection");
            }
            Verb::Auth | Verb::Adat | Verb::Ccc | Verb::Mode | Verb::Stru => {
                return refuse("a raw command that changes how the connections are read");
            }
            _ => {}
        }
        let line = command.encode().map_err(Error::Argument)?;
        self.settle()?;
        match verb {
            Verb::Type => self.in_force = None,
            Verb::Rein => {
                (self.in_force, self.features, self.utf8_asked) = (None, None, false);
                self.ways.all_said = false;
            }
            _ => {}
        }
        let reply = self.control.request_line(verb, &line)?;
        if verb == Verb::Rest && reply.code().severity() == Severity::Intermediate {
            // Whatever it was, it is not what the next transfer wants.
            self.restart = RestartMarker::new(u64::MAX >> 1).unwrap_or_default();
        }
        Ok(reply)
    }

    /// Ends the session (`QUIT`), behind aborting a transfer that was left before its end. A cancel
    /// leaves it a second for that. A server that closes the connection without a 221 has ended it
    /// as well.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], and those of the control connection but [`Error::Closed`].
    pub fn quit(mut self) -> Result<(), Error> {
        self.control.leave(true);
        match self.settle().and_then(|()| self.control.order(&Command::Quit)) {
            Ok(_) | Err(Error::Closed | Error::ServiceClosing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends a transfer that was dropped before its end.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.control.check()?;
        let data = self.abandoned.take();
        match self.control.outstanding() {
            Some(verb) if transfer::uses_data(verb) => {
                transfer::abort::resync(&mut self.control, data)
            }
            // It was cancelled while it waited for its reply, and what can be told to stop is not
            // that.
            Some(_) => {
                self.control.close();
                Err(Error::Closed)
            }
            None => Ok(()),
        }
    }

    fn request(&mut self, command: &Command) -> Result<Reply, Error> {
        self.settle()?;
        self.control.request(command)
    }

    fn order(&mut self, command: &Command) -> Result<Reply, Error> {
        self.settle()?;
        self.control.order(command)
    }

    /// Checks a path, and sees to it that the server reads it as UTF-8 where that matters.
    pub(crate) fn pathname(&mut self, path: &[u8]) -> Result<Pathname, Error> {
        let pathname = Pathname::new(path).map_err(Error::Argument)?;
        if !path.is_ascii() && !self.utf8_asked && std::str::from_utf8(path).is_ok() {
            if self.features()?.has("UTF8") {
                // Many servers do UTF-8 without it and refuse the option: no harm (RFC 2640).
                let reply = self.request(&Command::Opts(OptsArgument::Utf8))?;
                if reply.code().severity() != Severity::Completion {
                    trace::note(format_args!("names are sent as UTF-8 all the same"));
                }
            }
            self.utf8_asked = true;
        }
        Ok(pathname)
    }

    /// Sends `TYPE` if another type is in force.
    pub(crate) fn put_in_force(&mut self, wanted: RepresentationType) -> Result<(), Error> {
        if self.in_force != Some(wanted) {
            self.control.order(&Command::Type(wanted))?;
            self.in_force = Some(wanted);
        }
        Ok(())
    }

    /// Sends `REST` if the next transfer would begin elsewhere.
    pub(crate) fn restart_at(&mut self, marker: RestartMarker) -> Result<(), Error> {
        if self.restart == marker {
            return Ok(());
        }
        let command = Command::Rest(marker);
        let reply = self.control.request(&command)?;
        if reply.code().severity() != Severity::Intermediate {
            return Err(Error::Refused(Verb::Rest, reply));
        }
        self.restart = marker;
        Ok(())
    }
}
