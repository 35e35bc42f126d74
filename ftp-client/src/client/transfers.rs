//! Transfers of whole files, of files from an offset, and of parts of files: `RETR`, `STOR`,
//! `APPE`, `STOU`.
//! Before them, the client sets the mode (RFC 959 §3.4) and finds out how the server reads the byte 0xFF
//! in a name: RFC 854 requires clients to double it, but some servers then read two bytes.

use ftp_proto::{
    Command, Features, FileRange, Pathname, RepresentationType, Severity, TransferMode, Verb,
};

use super::Client;
use super::known::{KnownServer, known_by, may_be_changed, named_in};
use crate::charset::sent_in;
use crate::data::DownloadPlan;
use crate::error::{Error, Phase, Unsupported};
use crate::trace;
use crate::transfer::{self, Begun, Download, Transfer, Upload, UploadMode};

impl Client {
    /// Begins to download the file at `path` (`RETR`).
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`] with the server's reply, such as 550 for a missing or unreadable file,
    ///   or 425 if the server could not open the data connection.
    /// - [`Error::DataConnection`] if the client could not open the data connection.
    /// - [`Error::Tls`] if TLS fails on the data connection.
    /// - [`Error::Unsupported`] for active mode with a
    ///   [connector](crate::ClientBuilder::connector).
    /// - [`Error::Argument`] for a path that is empty, too long, or contains CR, LF or NUL.
    pub fn retrieve(&mut self, path: impl AsRef<[u8]>) -> Result<Download<&mut Self>, Error> {
        self.retrieve_from(path, 0)
    }

    /// Begins to download the file at `path` from byte `offset` (`REST`, `RETR`). `offset` counts
    /// bytes as the server sends them in the type of the transfer.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`retrieve`](Self::retrieve), [`Error::Refused`] if the server cannot
    /// restart, and [`Error::Argument`] for an offset beyond 2^63 - 1.
    pub fn retrieve_from(
        &mut self,
        path: impl AsRef<[u8]>,
        offset: u64,
    ) -> Result<Download<&mut Self>, Error> {
        Download::begin(self, path, offset)
    }

    /// Begins to download the file at `path` after asking for its modification time (`MDTM`,
    /// `RETR`).
    ///
    /// [`Download::modified`] returns the time; `None` if the server refuses `MDTM` for any reason.
    /// With [pipelining](crate::ClientBuilder::pipeline) both commands are sent together.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`retrieve`](Self::retrieve).
    pub fn retrieve_with_time(
        &mut self,
        path: impl AsRef<[u8]>,
    ) -> Result<Download<&mut Self>, Error> {
        let path = self.pathname(path.as_ref())?;
        let wanted = self.wanted;
        let begun = transfer::begin_with_time(self, &Command::Retr(path.clone()), wanted)?;
        let modified = begun.modified;
        Ok(Download::new(Transfer::new(self, begun), wanted, 0, path).with_time(modified))
    }

    /// Announces the files that you [`retrieve`](Self::retrieve) next, in this order. A further call repeats
    /// the files that have not begun, and adds others after them.
    ///
    /// If transfers [reuse](crate::ClientBuilder::reuse_data) the data connection, the client
    /// requests several of the files in one write, and the server sends one after the other.
    /// Otherwise the call has no effect. Once the client has requested files, any other command
    /// discards the rest of the plan, and closes the data connection.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// let names = ["a.txt", "b.txt", "c.txt"];
    /// client.plan_downloads(names);
    /// for name in names {
    ///     client.retrieve(name)?.copy_to(&mut std::fs::File::create(name)?)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plan_downloads<P: AsRef<[u8]>>(&mut self, paths: impl IntoIterator<Item = P>) {
        self.plan_each(paths.into_iter().map(|path| (path, false)));
    }

    /// Announces files as [`plan_downloads`](Self::plan_downloads) does, which you download with
    /// [`retrieve_with_time`](Self::retrieve_with_time).
    pub fn plan_downloads_with_time<P: AsRef<[u8]>>(&mut self, paths: impl IntoIterator<Item = P>) {
        self.plan_each(paths.into_iter().map(|path| (path, true)));
    }

    /// Announces files, each with whether its time is asked for.
    pub(crate) fn plan_each<P: AsRef<[u8]>>(&mut self, files: impl IntoIterator<Item = (P, bool)>) {
        if !self.goes_ahead() {
            return;
        }
        // An earlier call has announced the first ones already.
        for (path, with_time) in files.into_iter().skip(self.plan.len()) {
            // The download itself reports a path that cannot be sent.
            let Ok(path) = self.sendable(path.as_ref()) else { return };
            self.plan.add(path, with_time);
        }
    }

    /// Returns whether the client has sent the command of an upload that has not begun
    /// ([`Upload::plan_next`]).
    pub(crate) fn has_planned_upload(&self) -> bool {
        self.plan.is_upload_requested()
    }

    /// Begins to upload a file to `path`, replacing an existing file (`STOR`).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`retrieve`](Self::retrieve). [`Error::Refused`] has reply code 553
    /// for a name that is not allowed, and 452 or 552 if space runs out.
    pub fn store(&mut self, path: impl AsRef<[u8]>) -> Result<Upload<&mut Self>, Error> {
        self.store_from(path, 0)
    }

    /// Begins to upload to the file at `path` from byte `offset` (`REST`, `STOR`).
    ///
    /// Write only the rest of the file. If `offset` is beyond the end of the server's file, most
    /// servers leave a hole.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`store`](Self::store), [`Error::Refused`] if the server cannot
    /// restart, and [`Error::Argument`] for an offset beyond 2^63 - 1.
    pub fn store_from(
        &mut self,
        path: impl AsRef<[u8]>,
        offset: u64,
    ) -> Result<Upload<&mut Self>, Error> {
        Upload::begin(self, path, UploadMode::From(offset))
    }

    /// Begins to append to the file at `path`, creating it if it is missing (`APPE`).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`store`](Self::store).
    pub fn append(&mut self, path: impl AsRef<[u8]>) -> Result<Upload<&mut Self>, Error> {
        Upload::begin(self, path, UploadMode::Append)
    }

    /// Begins to upload to a new file whose name the server chooses (`STOU`).
    ///
    /// Some servers use `wish` as the beginning of the name; others refuse it. An empty `wish` is
    /// not sent. [`Upload::unique_name`] and [`Report::unique_name`](crate::Report::unique_name)
    /// return the chosen name.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`store`](Self::store).
    pub fn store_unique(&mut self, wish: impl AsRef<[u8]>) -> Result<Upload<&mut Self>, Error> {
        Upload::begin(self, wish, UploadMode::Unique)
    }

    /// Begins to download `length` bytes of the file at `path` from byte `offset`, always in type
    /// image.
    ///
    /// Reading ends after the part. If the server lists `RANG` (draft-bryan-ftp-range-08), the
    /// client uses it. Otherwise it asks for everything from `offset` (`REST`), and
    /// [`finish`](Download::finish) aborts the transfer after the last byte of the part, unless the
    /// file ends there. [`Report::is_stopped`](crate::Report::is_stopped) shows which of these happened.
    ///
    /// # Errors
    ///
    /// - The errors of [`retrieve_from`](Self::retrieve_from).
    /// - [`Error::Argument`] for an empty part, or one that ends beyond 2^63 - 1.
    /// - [`Error::Incomplete`] when the download is finished, if the file ends before the part
    ///   does, or if a server that accepted `RANG` sends more. If the server sends more, it is
    ///   unknown where the data began, and this client does not use `RANG` again.
    pub fn retrieve_range(
        &mut self,
        path: impl AsRef<[u8]>,
        offset: u64,
        length: u64,
    ) -> Result<Download<&mut Self>, Error> {
        let path = self.pathname(path.as_ref())?;
        let range = FileRange::between(offset, length)?;
        let command = Command::Retr(path.clone());
        let mut begun = None;
        if self.features()?.has_with("RANG", "STREAM") && !self.no_range {
            begun = match self.begin_as(&command, range, RepresentationType::Image) {
                Err(Error::Refused { verb: Verb::Rang, reply })
                    if reply.code().severity() == Severity::Permanent =>
                {
                    // FEAT lists the command, but the server does not know it.
                    self.no_range = true;
                    None
                }
                begun => Some(begun?),
            };
        }
        let is_bounded = begun.is_some();
        let begun = match begun {
            Some(begun) => begun,
            None => {
                let rest = FileRange::from_offset(offset)?;
                self.begin_as(&command, rest, RepresentationType::Image)?
            }
        };
        let transfer = Transfer::new(self, begun);
        Ok(Download::new(transfer, RepresentationType::Image, offset, path)
            .with_range(length, is_bounded))
    }

    /// Returns the server's size of a file after a confirmed transfer. Returns `None` if the server
    /// does not report the size, or if the request fails, since a failure does not undo the
    /// confirmation. Only replies out of step do: they are an error.
    pub(crate) fn size_afterwards(&mut self, path: &[u8]) -> Result<Option<u64>, Error> {
        match self.size(path) {
            Err(error) if error.is_out_of_step() => Err(error),
            size => Ok(size.ok().flatten()),
        }
    }

    pub(crate) fn begin(&mut self, command: &Command, range: FileRange) -> Result<Begun, Error> {
        self.begin_as(command, range, self.wanted)
    }

    fn begin_as(
        &mut self,
        command: &Command,
        range: FileRange,
        representation: RepresentationType,
    ) -> Result<Begun, Error> {
        transfer::begin(self, command, range, Some(representation))
    }

    /// Begins `STOR`, `APPE` or `STOU`. Also returns the path of a file that is replaced or continued.
    pub(crate) fn begin_upload(
        &mut self,
        path: &[u8],
        mode: UploadMode,
    ) -> Result<(Begun, Option<Pathname>), Error> {
        let (command, offset) = match mode {
            UploadMode::Replace => (Command::Stor(self.pathname_to_change(path)?), 0),
            UploadMode::From(offset) => (Command::Stor(self.pathname_to_change(path)?), offset),
            UploadMode::Append => (Command::Appe(self.pathname_to_change(path)?), 0),
            UploadMode::Unique if path.is_empty() => (Command::Stou(None), 0),
            UploadMode::Unique => (Command::Stou(Some(self.pathname_to_change(path)?)), 0),
        };
        let begun = self.begin(&command, FileRange::from_offset(offset)?)?;
        let path = if let Command::Stor(path) = command { Some(path) } else { None };
        Ok((begun, path))
    }
}

impl Client {
    /// Returns whether the data of transfers is compressed, as requested with
    /// [`ClientBuilder::compress`](crate::ClientBuilder::compress). A server that lists the feature
    /// may still refuse it at the first transfer.
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub fn compresses(&mut self) -> Result<bool, Error> {
        Ok(self.mode()? == TransferMode::Deflate)
    }

    /// Returns whether several transfers use one data connection, as requested with
    /// [`ClientBuilder::reuse_data`](crate::ClientBuilder::reuse_data). A server that lists the
    /// feature may still refuse it at the first transfer.
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub fn reuses_data(&mut self) -> Result<bool, Error> {
        Ok(self.mode()? == TransferMode::Block)
    }

    /// Makes transfers use one data connection if the server lists mode B, unless the caller wants them
    /// compressed or pipelined. Returns whether they do.
    pub(crate) fn reuse_data(&mut self, features: &Features) -> bool {
        let is_free = !self.config.compress && !self.config.rules.pipeline;
        let may_work = !self.config.learned.blocks.has_failed();
        self.reuses |= is_free && may_work && features.has_with("MODE", "B");
        self.goes_ahead()
    }

    /// Returns how many downloads to [plan](Self::plan_downloads): 0 if none is requested ahead, as far
    /// as known.
    pub(crate) fn downloads_ahead(&self) -> usize {
        if self.goes_ahead() { DownloadPlan::DOWNLOADS } else { 0 }
    }

    /// Returns whether planned transfers are requested ahead, as far as known.
    pub(crate) fn goes_ahead(&self) -> bool {
        self.reuses && !self.state.no_blocks && !self.config.learned.only_names.is_set()
    }

    /// Returns whether mode B is used, without having been asked for, and no file has gone over it yet.
    pub(crate) fn tries_blocks(&self) -> bool {
        let is_own_choice = self.goes_ahead() && !self.config.reuse_data;
        is_own_choice && !self.config.learned.blocks.is_proved()
    }

    /// Returns the error of a transfer. If it failed while mode B was tried, no client of this run uses
    /// that mode any more, and a new connection repeats the transfer.
    pub(crate) fn blame_blocks(&mut self, error: Error) -> Error {
        if !self.tries_blocks()
            || matches!(
                error,
                Error::Cancelled | Error::Timeout(Phase::Overall) | Error::Argument(_)
            )
        {
            return error;
        }
        trace::note(format_args!("mode B fails: {error}; using mode S"));
        self.config.learned.blocks.fail();
        self.state.no_blocks = true;
        self.kept = None;
        self.control.close();
        Error::Desynchronised
    }

    pub(crate) fn mode(&mut self) -> Result<TransferMode, Error> {
        if self.config.compress && !self.state.no_deflate {
            if self.features()?.has_with("MODE", "Z") {
                return Ok(TransferMode::Deflate);
            }
            trace::note(format_args!("the server does not list MODE Z: data is not compressed"));
            self.state.no_deflate = true;
        }
        if self.reuses && !self.state.no_blocks {
            if self.features()?.has_with("MODE", "B") {
                return Ok(TransferMode::Block);
            }
            trace::note(format_args!(
                "the server does not list MODE B: each transfer opens its own data connection"
            ));
            self.state.no_blocks = true;
        }
        Ok(TransferMode::Stream)
    }

    /// Sends `MODE` if another mode is in force.
    pub(crate) fn put_mode_in_force(&mut self, wanted: TransferMode) -> Result<(), Error> {
        if self.state.mode != wanted {
            self.close_kept();
            self.control.order(&Command::Mode(wanted))?;
            self.state.mode = wanted;
        }
        Ok(())
    }
}

impl Client {
    /// Sets whether the client sends 0xFF in commands twice, as RFC 854 says.
    ///
    /// By default, the client decides from the greeting and `FEAT`. It sends 0xFF once to vsftpd,
    /// Pure-FTPd and pyftpdlib, which read each byte as itself, and twice to other servers. If these
    /// are not known, no name with it is made, changed or removed.
    pub(crate) const fn double_telnet_byte(&mut self, doubles: bool) {
        (self.knows_iac, self.guesses_iac) = (true, false);
        self.control.takes_bytes = !doubles;
    }

    /// Makes the client decide again how the server reads 0xFF.
    pub(crate) const fn forget_telnet_byte(&mut self) {
        self.knows_iac = false;
    }

    /// Returns whether the client sends 0xFF twice.
    pub(crate) const fn doubles_telnet_byte(&self) -> bool {
        !self.control.takes_bytes
    }

    /// Returns whether other commands must be sent before a command with this path.
    pub(crate) fn needs_agreement(&self, path: &[u8]) -> bool {
        let Ok(sent) = sent_in(self.config.charset, path) else { return true };
        self.must_ask_for_utf8(path)
            || (!self.knows_iac || self.guesses_iac) && sent.contains(&0xff)
            || self.known.is_none() && may_be_changed(&sent)
    }

    /// Before the client first sends 0xFF, finds out how the server reads that byte.
    pub(super) fn learn_iac(&mut self, text: &[u8]) -> Result<(), Error> {
        if self.knows_iac || !text.contains(&0xff) {
            return Ok(());
        }
        let takes_bytes = self.known_server()?.map(KnownServer::takes_bytes);
        if takes_bytes == Some(true) {
            trace::note(format_args!("this server reads each 0xFF as itself: sending it once"));
        }
        self.double_telnet_byte(takes_bytes != Some(true));
        self.guesses_iac = takes_bytes.is_none();
        Ok(())
    }

    /// Before the client first sends a path that some servers change, finds out which server it is.
    pub(super) fn learn_server(&mut self, sent: &[u8]) -> Result<(), Error> {
        if self.known.is_none() && may_be_changed(sent) {
            self.known = Some(self.known_server()?);
        }
        Ok(())
    }

    fn known_server(&mut self) -> Result<Option<KnownServer>, Error> {
        match named_in(&self.welcome) {
            None => Ok(known_by(&self.features()?)),
            named => Ok(named),
        }
    }

    /// Checks a path as [`pathname`](Self::pathname) does, for a command that makes, changes or removes
    /// an object: another reading of 0xFF would name another object.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if it is not known how the server reads 0xFF. Nothing was sent.
    pub(crate) fn pathname_to_change(&mut self, path: &[u8]) -> Result<Pathname, Error> {
        let pathname = self.pathname(path)?;
        match self.guesses_iac && self.needs_agreement(path) {
            true => Err(Error::Unsupported(Unsupported::UnknownIac)),
            false => Ok(pathname),
        }
    }
}
