//! What carries objects from one side to the other, one after the other: each job has one.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use ftp_client::{Client, Download, Error, FtpUrl, RateLimit, TimeVal, Upload, fxp};

use super::compare::Difference;
use super::entry::Stamp;
use super::local_tree::{Directory, Draft};
use super::names::{Names, is_text};
use super::plan::{PlannedCopy, Removal, Removed};
use super::trees::failed;
use crate::connect::sessions::Sessions;
use crate::console::progress::Meter;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::remote::links::{NO_DIRECTORY, NOT_EMPTY, Proof, says};
use crate::remote::path::join;
use crate::transfer::options::Verify;
use crate::transfer::upload::is_unchanged;
use crate::transfer::verify;

/// What goes along with a file that moves: a limit of its rate, and who shows how far it is.
pub(super) struct Watch<'a> {
    pub(super) meter: Meter<'a>,
    pub(super) rate_limit: Option<&'a RateLimit>,
}

/// Does what a plan says. Paths are from the top, which is the empty one.
pub(super) trait Copier {
    /// Makes a directory at the target.
    ///
    /// # Errors
    ///
    /// What went wrong; fatal if others are not to be tried.
    fn make(&mut self, path: &[u8]) -> Result<(), Failure>;

    /// Copies a file into the directory at `path`, telling `watch` of each piece of it. Gives how
    /// many bytes it had.
    ///
    /// # Errors
    ///
    /// As of [`make`](Self::make).
    fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure>;

    /// Removes an object from the target, or looks at what is to be removed. Whether it is gone.
    ///
    /// # Errors
    ///
    /// As of [`make`](Self::make).
    fn remove(&mut self, removal: &Removal) -> Result<bool, Failure>;

    /// Connects, where that is not done yet.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    fn connect(&mut self) -> Result<(), Failure>;

    /// Forgets connections that may have failed.
    fn disconnect(&mut self);

    /// Says good-bye.
    fn quit(self: Box<Self>, failure: Option<&Failure>);
}

/// A tree on a server, and the connection to it.
pub(super) struct Far<'a> {
    pub(super) sessions: Sessions<'a>,
    pub(super) url: &'a FtpUrl,
    pub(super) top: &'a [u8],
    /// Whether its server takes the times that it is given.
    pub(super) takes_times: bool,
    /// What it makes of names that are not UTF-8.
    pub(super) names: Names,
}

impl Far<'_> {
    /// The connection to it.
    fn client(&mut self) -> Result<&mut Client, Failure> {
        let client = self.sessions.client(self.url)?;
        if let Names::Kept { doubles: Some(doubles) } = self.names {
            client.double_telnet_byte(doubles);
        }
        Ok(client)
    }

    fn connect(&mut self) -> Result<(), Failure> {
        self.client().map(drop)
    }

    /// Refuses a name that the server would change.
    fn check(&self, path: &[u8]) -> Result<(), Failure> {
        if self.names != Names::Changed || is_text(path) {
            return Ok(());
        }
        let why = "the server does not keep names that are not UTF-8";
        Err(Failure::item(Exit::Refused, format!("{}: {why}", shown(path))))
    }

    fn make(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.check(path)?;
        let path = join(self.top, path);
        let made = self.client()?.mkdir(&path);
        made.map(drop).map_err(|error| about(&path, &error))
    }

    fn remove(&mut self, removal: &Removal) -> Result<bool, Failure> {
        let path = join(self.top, &removal.path);
        let client = self.client()?;
        let gone = match removal.what {
            Removed::Directory => client.rmdir(&path),
            Removed::Entry => client.delete(&path),
            Removed::Below { proof } => return self.look_before(&path, proof),
        };
        gone.map(|()| true).map_err(|error| about(&path, &error))
    }

    /// Makes sure that what is shown as a directory is no link to one. Where `DELE` is the system's
    /// unlink it removes a link and no directory; `RMD` removes one that is empty, and says of a
    /// link, on many servers, that it is no directory. Where listings do not prove a directory, the
    /// server has to say that it is not empty. Whether it is gone.
    fn look_before(&mut self, path: &[u8], proof: Proof) -> Result<bool, Failure> {
        let client = self.client()?;
        match client.delete(path) {
            Err(Error::Refused(..)) => {}
            gone => return gone.map(|()| true).map_err(|error| about(path, &error)),
        }
        match client.rmdir(path) {
            Err(error @ Error::Refused(..)) => {
                if says(&error, NO_DIRECTORY)
                    || !(proof == Proof::Directory || says(&error, NOT_EMPTY))
                {
                    let message = format!(
                        "{}: shown as a directory, and maybe a link: left alone",
                        shown(path)
                    );
                    return Err(Failure::item(Exit::Refused, message));
                }
                Ok(false)
            }
            gone => gone.map(|()| true).map_err(|error| about(path, &error)),
        }
    }

    /// Gives a file the time of the one that it was made of.
    fn set_time(&mut self, path: &[u8], seconds: Option<i64>) -> Result<(), Failure> {
        let time = seconds.and_then(TimeVal::from_unix_seconds).filter(|_| self.takes_times);
        let Some(time) = time else { return Ok(()) };
        let set = self.client()?.set_modified(path, time);
        set.map(drop).map_err(|error| {
            let failure = about(path, &error);
            let message = format!("{}; it was copied, but keeps another time", failure.message);
            Failure { message, ..failure }
        })
    }
}

/// What a command about `path` failed with.
fn about(path: &[u8], error: &Error) -> Failure {
    Failure::from(error).about(shown(path))
}

/// A directory that stays open while files in it are copied.
#[derive(Default)]
struct Held(Option<(Vec<u8>, Directory)>);

impl Held {
    fn directory(&mut self, ground: &Directory, path: &[u8]) -> Result<&Directory, Failure> {
        if self.0.as_ref().is_none_or(|(held, _)| held != path) {
            let directory = ground.below(path).map_err(|error| failed(path, &error))?;
            self.0 = Some((path.to_vec(), directory));
        }
        let (_, directory) = self.0.as_ref().expect("it was opened just now");
        Ok(directory)
    }
}

/// From a server to here.
pub(super) struct Down<'a> {
    from: Far<'a>,
    ground: &'a Directory,
    held: Held,
    /// `--continue`.
    resumes: bool,
}

impl<'a> Down<'a> {
    pub(super) fn new(from: Far<'a>, ground: &'a Directory, resumes: bool) -> Self {
        Self { from, ground, held: Held::default(), resumes }
    }
}

impl Copier for Down<'_> {
    fn make(&mut self, path: &[u8]) -> Result<(), Failure> {
        make_here(self.ground, path)
    }

    fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure> {
        let below = join(path, &copy.name);
        let there = join(self.from.top, &below);
        let directory = self.held.directory(self.ground, path)?;
        let client = self.from.client()?;
        // Before the data: what is written there meanwhile is newer than this, and comes next time.
        let modified = match copy.stamp.and_then(Stamp::exact) {
            Some(seconds) => Some(seconds),
            None => modified(client, &there)?,
        };
        let here = |error: io::Error| failed(&below, &error);
        let (mut draft, kept) = match modified.filter(|_| self.resumes) {
            Some(modified) => Draft::part(directory, &copy.name, modified).map_err(here)?,
            None => (Draft::new(directory).map_err(here)?, 0),
        };
        // What is as long as the whole or longer is no part of it.
        let download = match copy.size {
            Some(size) if (1..size).contains(&kept) => client.retrieve_rest(&there, kept, None),
            _ => client.retrieve(&there),
        };
        let download = download.map_err(|error| about(&there, &error))?;
        let offset = download.offset();
        if offset != kept {
            draft.empty().map_err(here)?;
        }
        let is_announced = download.announced().is_some();
        let received = receive(download, &mut draft, watch);
        let here_failed = |error: &io::Error| failed(b"the local file", error);
        let bytes =
            received.map_err(|error| broken(client, error, here_failed).about(shown(&there)))?;
        let all = offset + bytes;
        match copy.size {
            _ if is_announced => {}
            Some(size) if size != all => check_length(client, &there, all, copy.size)?,
            Some(_) => {}
            None => prove(client, &there, all)?,
        }
        draft
            .commit(&copy.name, copy.replaces(), modified)
            .map_err(|error| failed(&below, &error))?;
        Ok(bytes)
    }

    fn remove(&mut self, removal: &Removal) -> Result<bool, Failure> {
        // Nothing is opened through a link here.
        if matches!(removal.what, Removed::Below { .. }) {
            return Ok(false);
        }
        let (path, name) = split(&removal.path);
        let is_directory = removal.what == Removed::Directory;
        let directory = self.ground.below(path);
        let gone = directory.and_then(|directory| directory.remove(name, is_directory));
        match gone {
            // What was kept of a file is the file by now.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            gone => gone.map(|()| true).map_err(|error| failed(&removal.path, &error)),
        }
    }

    fn connect(&mut self) -> Result<(), Failure> {
        self.from.connect()
    }

    fn disconnect(&mut self) {
        self.from.sessions.drop_client(self.from.url);
    }

    fn quit(self: Box<Self>, failure: Option<&Failure>) {
        self.from.sessions.quit(failure);
    }
}

/// Takes a download to its end, which is only the server's word for it.
fn receive(
    download: Download<'_>,
    draft: &mut Draft<'_>,
    watch: &mut Watch<'_>,
) -> Result<u64, Error> {
    let mut meter = |piece: &[u8]| watch.meter.add(piece.len() as u64);
    let mut along =
        ftp_client::Watch::new().rate_limit(watch.rate_limit.cloned()).meter(&mut meter);
    Ok(download.copy_to_watched(draft, &mut along)?.bytes)
}

/// Sends a file: piece by piece if each is looked at, and else at once.
fn send(upload: Upload<'_>, file: &File, watch: Option<&mut Watch<'_>>) -> Result<u64, Error> {
    let Some(watch) = watch else { return Ok(upload.copy_from(file)?.bytes) };
    let mut meter = |piece: &[u8]| watch.meter.add(piece.len() as u64);
    let mut along =
        ftp_client::Watch::new().rate_limit(watch.rate_limit.cloned()).meter(&mut meter);
    Ok(upload.copy_from_watched(file, &mut along)?.bytes)
}

/// What a copy failed with, where `here` says what is wrong with the local file. After that the
/// client may be of no more use.
fn broken(client: &mut Client, error: Error, here: impl FnOnce(&io::Error) -> Failure) -> Failure {
    match error {
        Error::Local(error) => {
            let failure = here(&error);
            let is_fatal = failure.fatal || !client.is_settled();
            Failure { fatal: is_fatal, ..failure }
        }
        error => error.into(),
    }
}

/// Asks how long a file is that was not as long as its listing said: it may have grown since, or
/// what came is not all of it.
fn check_length(
    client: &mut Client,
    path: &[u8],
    bytes: u64,
    listed: Option<u64>,
) -> Result<(), Failure> {
    match client.size(path) {
        Ok(Some(size)) if size == bytes => Ok(()),
        Ok(size) => {
            let size = size.or(listed).unwrap_or_default();
            let message = format!("{}: {bytes} bytes came, the server says {size}", shown(path));
            Err(Failure::item(Exit::Integrity, message))
        }
        Err(error) => Err(about(path, &error)),
    }
}

/// Makes sure that the server's file has all of its bytes, by the rule of `get` and `put`: a 226 is
/// the server's word alone.
fn prove(client: &mut Client, path: &[u8], bytes: u64) -> Result<(), Failure> {
    let proved = verify::check_size(client, path, bytes, Verify::BestEffort);
    proved.map(drop).map_err(|failure| failure.about(shown(path)))
}

/// When a file on a server was modified, in seconds since 1970-01-01T00:00:00Z, if it tells.
fn modified(client: &mut Client, path: &[u8]) -> Result<Option<i64>, Failure> {
    match client.modified(path) {
        Ok(time) => Ok(time.map(|time| time.unix_seconds())),
        Err(Error::Refused(..)) => Ok(None),
        Err(error) => Err(about(path, &error)),
    }
}

/// From here to a server.
pub(super) struct Up<'a> {
    ground: &'a Directory,
    to: Far<'a>,
    held: Held,
    /// Whether each piece is looked at, for progress or for a rate: then files go by way of a buffer.
    is_watched: bool,
    /// `--continue`.
    resumes: bool,
}

impl<'a> Up<'a> {
    pub(super) fn new(ground: &'a Directory, to: Far<'a>, is_watched: bool, resumes: bool) -> Self {
        Self { ground, to, held: Held::default(), is_watched, resumes }
    }
}

impl Copier for Up<'_> {
    fn make(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.to.make(path)
    }

    fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure> {
        let below = join(path, &copy.name);
        self.to.check(&below)?;
        let there = join(self.to.top, &below);
        let here = |error: &io::Error| Failure { fatal: false, ..failed(&below, error) };
        let directory = self.held.directory(self.ground, path)?;
        let mut file = directory.read(&copy.name).map_err(|error| here(&error))?;
        let before = file.metadata().map_err(|error| here(&error))?;
        let client = self.to.client()?;
        let upload = match self.resumes && copy.may_continue {
            true => client.store_rest(&there, before.len()),
            false => client.store(&there),
        };
        let upload = upload.map_err(|error| about(&there, &error))?;
        let offset = upload.offset();
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(|error| here(&error))?;
        }
        let sent = send(upload, &file, self.is_watched.then_some(watch));
        let here_failed = |error: &io::Error| Failure::item(Exit::Local, error.to_string());
        let bytes =
            sent.map_err(|error| broken(client, error, here_failed).about(shown(&there)))?;
        let after = file.metadata().map_err(|error| here(&error))?;
        if offset + bytes != before.len() || !is_unchanged(&before, &after) {
            // Without its time it is another file, and is sent again next time.
            let message = format!("{}: changed while it was sent", shown(&below));
            return Err(Failure::item(Exit::Integrity, message));
        }
        let client = self.to.client()?;
        prove(client, &there, before.len())?;
        self.to.set_time(&there, Some(before.mtime()))?;
        Ok(bytes)
    }

    fn remove(&mut self, removal: &Removal) -> Result<bool, Failure> {
        self.to.remove(removal)
    }

    fn connect(&mut self) -> Result<(), Failure> {
        self.to.connect()
    }

    fn disconnect(&mut self) {
        self.to.sessions.drop_client(self.to.url);
    }

    fn quit(self: Box<Self>, failure: Option<&Failure>) {
        self.to.sessions.quit(failure);
    }
}

/// From server to server.
pub(super) struct Across<'a> {
    pub(super) from: Far<'a>,
    pub(super) to: Far<'a>,
    pub(super) options: fxp::Options,
}

impl Copier for Across<'_> {
    fn make(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.to.make(path)
    }

    fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure> {
        let below = join(path, &copy.name);
        self.to.check(&below)?;
        let source = join(self.from.top, &below);
        let target = join(self.to.top, &below);
        let from = self.from.client()?;
        let time = match copy.stamp.and_then(Stamp::exact) {
            None if self.to.takes_times => modified(from, &source)?,
            time => time,
        };
        let at = self.to.client()?;
        // Of what differs otherwise, the target's may be as large and yet another file.
        let resume = match copy.why {
            Difference::Size => self.options.resume,
            _ => fxp::Resume::No,
        };
        let options = fxp::Options { resume, ..self.options };
        let report = fxp::transfer(from, &source, at, &target, options)
            .map_err(|error| Failure::from(&error).about(shown(&below)))?;
        if let Some(moved) = report.moved {
            // What worked for one works for the next.
            self.options.direction = moved.direction;
        }
        let bytes = report.size.or(copy.size).unwrap_or_default();
        watch.meter.add(bytes);
        self.to.set_time(&target, time)?;
        Ok(bytes)
    }

    fn remove(&mut self, removal: &Removal) -> Result<bool, Failure> {
        self.to.remove(removal)
    }

    fn connect(&mut self) -> Result<(), Failure> {
        self.from.connect().and_then(|()| self.to.connect())
    }

    fn disconnect(&mut self) {
        self.from.sessions.drop_client(self.from.url);
        self.to.sessions.drop_client(self.to.url);
    }

    fn quit(self: Box<Self>, failure: Option<&Failure>) {
        self.from.sessions.quit(failure);
        self.to.sessions.quit(failure);
    }
}

fn make_here(ground: &Directory, path: &[u8]) -> Result<(), Failure> {
    let (above, name) = split(path);
    let made = ground.below(above).and_then(|directory| directory.make(name));
    made.map_err(|error| failed(path, &error))
}

/// The directory of an object, and its name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}
