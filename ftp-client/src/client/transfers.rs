//! The transfers of files: `RETR`, `STOR`, `APPE`, `STOU`, whole, from an offset on, and in part.

use ftp_proto::{Command, Pathname, RepresentationType, Severity};
use ftp_proto::{TimeVal, Verb};

use super::Client;
use crate::error::Error;
use crate::transfer::{self, Begun, Download, Range, Transfer, Upload};

impl Client {
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
        let path = self.pathname(path.as_ref())?;
        let length = self.length_to_check(&path)?;
        let begun = self.begin(&Command::Retr(path), Range::from_offset(offset)?)?;
        Ok(self.download(begun, offset, length.map(|length| length.saturating_sub(offset))))
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
    /// is written is the rest of the file, not the whole. Beyond the end of the file there most
    /// servers leave a hole; [`store_rest`](Self::store_rest) looks first.
    ///
    /// # Errors
    ///
    /// Those of [`store`](Self::store), and [`Error::Refused`] by a server that cannot restart.
    pub fn store_from(&mut self, path: impl AsRef<[u8]>, offset: u64) -> Result<Upload<'_>, Error> {
        let path = self.pathname(path.as_ref())?;
        let begun = self.begin(&Command::Stor(path.clone()), Range::from_offset(offset)?)?;
        Ok(self.upload(begun, offset, Some(path)))
    }

    /// Begins to append to the file at `path`, or to make it (`APPE`).
    ///
    /// # Errors
    ///
    /// Those of [`store`](Self::store).
    pub fn append(&mut self, path: impl AsRef<[u8]>) -> Result<Upload<'_>, Error> {
        let command = Command::Appe(self.pathname(path.as_ref())?);
        let begun = self.begin(&command, Range::default())?;
        Ok(self.upload(begun, 0, None))
    }

    /// Begins to add to the first `offset` bytes of the file at `path` (`APPE`), or to upload all
    /// of it with a server that lets no file be continued: [`Upload::offset`] tells.
    pub(crate) fn append_rest(&mut self, path: &[u8], offset: u64) -> Result<Upload<'_>, Error> {
        let path = self.pathname(path)?;
        match self.begin(&Command::Appe(path.clone()), Range::default()) {
            Err(error) if error.refuses_restart() => {
                let begun = self.begin(&Command::Stor(path.clone()), Range::default())?;
                Ok(self.upload(begun, 0, Some(path)))
            }
            begun => Ok(self.upload(begun?, offset, Some(path))),
        }
    }

    /// Begins to upload to a new file whose name the server chooses (`STOU`). Some servers take
    /// `wish` as the beginning of the name, some refuse it; empty, it is not sent.
    /// [`Upload::unique_name`] and [`Report::unique_name`](crate::Report::unique_name) tell the
    /// name.
    ///
    /// # Errors
    ///
    /// Those of [`store`](Self::store).
    pub fn store_unique(&mut self, wish: impl AsRef<[u8]>) -> Result<Upload<'_>, Error> {
        let command = Command::Stou(self.pathname_or_none(wish.as_ref())?);
        let begun = self.begin(&command, Range::default())?;
        Ok(self.upload(begun, 0, None))
    }

    /// Begins to download `length` bytes of the file at `path` from byte `offset` on, in type
    /// image whatever is set. The end of the part is the end of what can be read.
    ///
    /// The server is told by `RANG` where it lists that (draft-bryan-ftp-range-08). Others are
    /// asked for all from `offset` on (`REST`), and [`finish`](Download::finish) aborts the
    /// transfer after the last byte of the part, unless the file ends there:
    /// [`Report::ended`](crate::Report::ended) tells which it was.
    ///
    /// # Errors
    ///
    /// Those of [`retrieve_from`](Self::retrieve_from); [`Error::Argument`] for a part without a
    /// byte, or that ends beyond 2^63 - 1. A file that ends before the part does is
    /// [`Error::Incomplete`] when the download is finished, and so is a server that took `RANG` and
    /// sends more: where what came began is not known then. It is not told by `RANG` again.
    pub fn retrieve_range(
        &mut self,
        path: impl AsRef<[u8]>,
        offset: u64,
        length: u64,
    ) -> Result<Download<'_>, Error> {
        let path = self.pathname(path.as_ref())?;
        let range = Range::between(offset, length)?;
        let command = Command::Retr(path);
        let mut begun = None;
        if self.features()?.has_with("RANG", "STREAM") && !self.no_range {
            begun = match self.begin_as(&command, range, RepresentationType::Image) {
                Err(Error::Refused(Verb::Rang, reply))
                    if reply.code().severity() == Severity::Permanent =>
                {
                    // Listed, and not there after all.
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
                let rest = Range::from_offset(offset)?;
                self.begin_as(&command, rest, RepresentationType::Image)?
            }
        };
        let transfer = Transfer::new(self, begun);
        Ok(Download::new(transfer, RepresentationType::Image, offset)
            .with_range(length, is_bounded))
    }

    /// Begins to download what is missing of the file at `path`, of which the first `there` bytes
    /// are here from an earlier download. It goes on after them only if nothing says that they
    /// are of another file: `SIZE` is not smaller, and `MDTM`, if the server has it, not after
    /// `unchanged_since`, the time that it gave then, or that of the last byte that came.
    /// Otherwise it begins anew, as it does if the server cannot restart or the type is not
    /// image: [`Download::offset`] tells where, and what is here beyond that is to be cut off.
    ///
    /// ```no_run
    /// use std::fs::OpenOptions;
    /// use std::io::{Seek, SeekFrom};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// let mut part = OpenOptions::new().write(true).create(true).truncate(false).open("a.part")?;
    /// let mut file = client.retrieve_rest("a", part.metadata()?.len(), None)?;
    /// part.set_len(file.offset())?;
    /// part.seek(SeekFrom::End(0))?;
    /// std::io::copy(&mut file, &mut part)?;
    /// file.finish()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve).
    pub fn retrieve_rest(
        &mut self,
        path: impl AsRef<[u8]>,
        there: u64,
        unchanged_since: Option<TimeVal>,
    ) -> Result<Download<'_>, Error> {
        let path = self.pathname(path.as_ref())?;
        let is_image = self.wanted == RepresentationType::Image;
        let size = if is_image { self.size(path.as_bytes())? } else { None };
        let mut offset = if size.is_some_and(|size| there <= size) { there } else { 0 };
        if offset > 0
            && let Some(since) = unchanged_since
            && self.modified(path.as_bytes())?.is_some_and(|modified| modified > since)
        {
            offset = 0;
        }
        let command = Command::Retr(path);
        let (begun, offset) = self.begin_from(&command, offset)?;
        Ok(self.download(begun, offset, size.map(|size| size - offset)))
    }

    /// Begins to upload what the server lacks of a file of `length` bytes, of which it may have
    /// the beginning from an earlier upload to `path`. It goes on where the server's file ends
    /// (`SIZE`, `REST`), and begins anew if that is longer or not told, if the server cannot
    /// restart, or if the type is not image: [`Upload::offset`] tells where. That the server's
    /// file is the beginning of this one is for the caller to know.
    ///
    /// Where it went on, [`Upload::finish`] asks for the size once more: some servers take `REST`
    /// and then cut the file off at its beginning all the same.
    ///
    /// # Errors
    ///
    /// Those of [`store`](Self::store).
    pub fn store_rest(&mut self, path: impl AsRef<[u8]>, length: u64) -> Result<Upload<'_>, Error> {
        let path = self.pathname(path.as_ref())?;
        let is_image = self.wanted == RepresentationType::Image;
        let size = if is_image { self.size(path.as_bytes())? } else { None };
        let offset = size.filter(|size| *size <= length).unwrap_or_default();
        let (begun, offset) = self.begin_from(&Command::Stor(path.clone()), offset)?;
        let is_checked = is_image && (self.length_check || offset > 0);
        let wanted = self.wanted;
        Ok(Upload::new(Transfer::new(self, begun), wanted, offset, is_checked.then_some(path)))
    }

    /// Whether the length of files is checked beyond what the server says of itself; not, by
    /// default. With it, a download asks for the length before (`SIZE`, else `MLST` where the
    /// server lists it) and fails as [`Error::Incomplete`] if another comes, and an upload by
    /// [`store`](Self::store), [`store_from`](Self::store_from) and
    /// [`store_rest`](Self::store_rest) asks afterwards. Only in type image; a length that the
    /// server does not tell is no error.
    ///
    /// Each costs a command and a reply. [`Download::expect_length`] costs none.
    pub const fn set_length_check(&mut self, on: bool) {
        self.length_check = on;
    }

    /// The length of a file that is to be downloaded, if lengths are checked and it is told.
    fn length_to_check(&mut self, path: &Pathname) -> Result<Option<u64>, Error> {
        if !self.length_check || self.wanted != RepresentationType::Image {
            return Ok(None);
        }
        self.length(path.as_bytes())
    }

    /// The length of a file by `SIZE`, else by `MLST` where the server lists it.
    pub(crate) fn length(&mut self, path: &[u8]) -> Result<Option<u64>, Error> {
        let size = self.size(path)?;
        if size.is_some() || !self.features()?.has("MLST") {
            return Ok(size);
        }
        Ok(self.stat(path)?.and_then(|entry| entry.size))
    }

    /// The size that the server tells of a file whose transfer it has confirmed. Whatever goes
    /// wrong with asking takes nothing from that.
    pub(crate) fn size_afterwards(&mut self, path: &[u8]) -> Option<u64> {
        self.size(path).ok().flatten()
    }

    fn begin(&mut self, command: &Command, range: Range) -> Result<Begun, Error> {
        self.begin_as(command, range, self.wanted)
    }

    fn begin_as(
        &mut self,
        command: &Command,
        range: Range,
        representation: RepresentationType,
    ) -> Result<Begun, Error> {
        transfer::begin(self, command, range, Some(representation))
    }

    /// Begins at `offset`, or at 0 with a server that cannot begin elsewhere.
    fn begin_from(&mut self, command: &Command, offset: u64) -> Result<(Begun, u64), Error> {
        match self.begin(command, Range::from_offset(offset)?) {
            Err(error) if offset > 0 && error.refuses_restart() => {
                Ok((self.begin(command, Range::default())?, 0))
            }
            begun => Ok((begun?, offset)),
        }
    }

    fn download(&mut self, begun: Begun, offset: u64, length: Option<u64>) -> Download<'_> {
        let wanted = self.wanted;
        let mut download = Download::new(Transfer::new(self, begun), wanted, offset);
        if let Some(length) = length {
            download.expect_length(length);
        }
        download
    }

    /// `path` is where the length can be asked for afterwards.
    fn upload(&mut self, begun: Begun, offset: u64, path: Option<Pathname>) -> Upload<'_> {
        let wanted = self.wanted;
        let is_checked = self.length_check && wanted == RepresentationType::Image;
        let path = path.filter(|_| is_checked);
        Upload::new(Transfer::new(self, begun), wanted, offset, path)
    }
}
