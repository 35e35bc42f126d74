//! The files of another server as a [`Storage`]. A refusal is explained by looking at what is there,
//! because servers use one code for many reasons.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ftp_client::error::ListingCut;
use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{Client, Entry as Found, EntryKind as FoundKind, Error, ListLine, TimeVal};
use ftp_proto::{Escaped, HiddenFile, Permissions};
use ftp_server::{
    Ask, Capabilities, Change, Confine, Entries, Entry, EntryKind, Keep, Metadata, RoomFor, Source,
    Space, Storage, StorageError, StorageErrorKind as Kind, Unfinished, Upload, VirtualPath,
    WriteMode,
};

use super::transfer::{self, OtherFile};
use super::upstream::{
    self, Connection, Known as _, Listed, StorageResult, Turn, Upstream, find, metadata,
};

/// Maximum number of links in a listing whose targets are asked for.
const MOST_LINKS: usize = 100;

/// Seconds after which an upload that no client sees was left by a gateway that was killed.
const DAY: i64 = 24 * 60 * 60;

/// How often a directory that has only uploads on their way is looked at before its removal is refused
/// for now, and the pause between two looks.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The directory `prefix` of another server.
pub(super) struct Gateway {
    upstream: Arc<Upstream>,
    /// Empty, or with a slash before it.
    pub(super) prefix: Vec<u8>,
    /// Whether the server can set times, once known.
    sets_times: OnceLock<bool>,
}

impl Gateway {
    pub(super) fn new(upstream: Arc<Upstream>, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { Vec::new() } else { format!("/{prefix}").into_bytes() };
        Self { upstream, prefix, sets_times: OnceLock::new() }
    }

    /// Returns the path below the directory of the URL.
    fn below(&self, path: &VirtualPath) -> Vec<u8> {
        match path.is_root() {
            true => self.prefix.clone(),
            false => [&self.prefix, path.as_bytes()].concat(),
        }
    }

    /// Returns what is at a path, or `None` if the server proves that nothing is, and the connection.
    fn find_by(
        &self,
        path: &VirtualPath,
        mut question: impl FnMut(&mut Client, &[u8]) -> Result<Option<Found>, Error>,
    ) -> StorageResult<(Option<Metadata>, Connection)> {
        check_names(path)?;
        let at = self.below(path);
        self.upstream.ask(|client, upstream| {
            let features = client.features()?;
            let _ = self.sets_times.set(features.has("MFMT") || features.has_with("SITE", "UTIME"));
            let place = upstream.path(&at);
            let found = question(client, &place)?;
            upstream::whole(client, &place, found)
        })
    }

    /// Returns what is at a path, or `None` if the server proves that nothing is.
    fn find(&self, path: &VirtualPath) -> StorageResult<Option<Metadata>> {
        match is_hidden(path) {
            true => Ok(None),
            false => Ok(self.find_by(path, |client, place| client.find(place))?.0),
        }
    }

    /// Returns what must be there.
    fn existing(&self, path: &VirtualPath) -> StorageResult<Metadata> {
        self.find(path)?.ok_or_else(|| Kind::NotFound.into())
    }

    /// Returns whether a listing shows a link, which all other questions follow.
    fn is_link(&self, path: &VirtualPath) -> bool {
        let (Some(above), Some(name)) = (path.parent(), path.name()) else { return false };
        let at = self.below(&above);
        let is_it = |found: &Found| found.name == name && found.kind == Some(FoundKind::Link);
        self.names(&at).is_ok_and(|names| names.all.iter().any(is_it))
    }

    fn names(&self, at: &[u8]) -> StorageResult<ListedNames> {
        let listed = || Listed::none(Arc::clone(&self.upstream.target));
        let asked = self.upstream.ask(|client, other| list(client, &other.path(at), listed()));
        Ok(asked?.0)
    }

    /// Returns whether the directory above an object is missing.
    fn is_lost(&self, path: &VirtualPath) -> StorageResult<bool> {
        let above = self.find(&path.parent().unwrap_or_default())?;
        Ok(above.is_none_or(|above| above.kind != EntryKind::Directory))
    }

    /// Returns why an object cannot be made, if the directory above it is missing, else the server's
    /// reason.
    fn explain(&self, path: &VirtualPath, refused: StorageError) -> StorageError {
        let is_told = matches!(refused.kind, Kind::Refused | Kind::Unsupported);
        match is_told && self.is_lost(path).unwrap_or(false) {
            true => Kind::NotFound.into(),
            false => refused,
        }
    }
}

/// Refuses names that servers on Windows take for others: a `\` separates directories there, and dots
/// and blanks at the end of a name do not count. They would lead out of a user's directory.
pub(super) fn check_names(path: &VirtualPath) -> StorageResult<()> {
    let is_other = |name: &[u8]| name.contains(&b'\\') || matches!(name, [.., b'.' | b' ']);
    match path.relative().split(|byte| *byte == b'/').any(is_other) {
        true => Err(Kind::NameNotAllowed.into()),
        false => Ok(()),
    }
}

/// Returns whether a name is that of an upload on its way, which clients do not see.
fn is_hidden(path: &VirtualPath) -> bool {
    path.name().is_some_and(is_own_name)
}

fn is_own_name(name: &[u8]) -> bool {
    name.starts_with(transfer::PREFIX.as_bytes()) && HiddenFile::of(name).is_some()
}

/// What a directory has.
struct ListedNames {
    /// Uploads on their way included.
    all: Vec<Found>,
    /// The first line that cannot be read.
    unread: Option<Vec<u8>>,
    /// Whether there is a name that cannot be one.
    has_others: bool,
    /// The room for all in memory.
    listed: Listed,
}

fn list(client: &mut Client, path: &[u8], listed: Listed) -> Result<ListedNames, Error> {
    let options = ListOptions::by(ListingForm::Auto).all(true);
    let mut names = ListedNames { all: Vec::new(), unread: None, has_others: false, listed };
    for item in client.list_directory(path, options)? {
        match item? {
            ListLine::Entry(entry) if !entry.is_safe_name() => {
                let name = entry.name_lossy();
                log::warn!("the other server lists a name that cannot be one: {name}");
                names.has_others = true;
            }
            ListLine::Entry(entry) if names.listed.add() => names.all.push(entry),
            ListLine::Entry(_) => return Err(Error::ListingCut(ListingCut::TooLong)),
            ListLine::Unparsed(line) => drop(names.unread.get_or_insert(line)),
        }
    }
    Ok(names)
}

/// Returns whether no process can still write to this upload.
fn is_forgotten(upload: &Found) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let written = upload.modified.map(|modified| modified.time.unix_seconds());
    written.is_some_and(|time| time.saturating_add(DAY) < now.as_secs().cast_signed())
}

impl Storage for Gateway {
    fn capabilities(&self) -> Capabilities {
        let base = Capabilities::REMOTE
            | Capabilities::CHMOD
            | Capabilities::BOUNDED_WAITS
            | Capabilities::DIGEST;
        // Before the first answer, nothing is known.
        match self.sets_times.get() {
            Some(false) => base,
            _ => base | Capabilities::SET_TIMES,
        }
    }

    /// Sessions need no files: other threads connect.
    fn confine(&self) -> Confine<'_> {
        Confine::Neutral
    }

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        let found = self.existing(path)?;
        if ask == Ask::Directory {
            found.check_directory()?;
        }
        Ok(found)
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        check_names(path)?;
        let at = self.below(path);
        // Some servers list nothing, or the file itself, in place of a refusal.
        let names = self.names(&at);
        if names.as_ref().map_or(0, |names| names.all.len()) < 2 {
            self.stat(path, Ask::Directory)?;
        }
        let ListedNames { mut all, unread, listed, .. } = names?;
        if let Some(line) = unread {
            // Clients remove what a listing lacks.
            let line = Escaped(&line);
            let why = format!("the other server lists a line that cannot be read: {line}");
            return Err(StorageError::caused_by(Kind::Io, io::Error::other(why)));
        }
        all.retain(|found| !is_own_name(&found.name));
        let mut links = 0;
        let mut entries = Vec::with_capacity(all.len());
        for found in all {
            let (metadata, link) = match (metadata(&found), ask) {
                (Some(metadata), _) => (metadata, None),
                (None, Ask::Names) => (Metadata::new(EntryKind::Symlink), None),
                (None, _) if links < MOST_LINKS => {
                    links += 1;
                    match self.find(&path.join(&found.name)) {
                        Ok(Some(metadata)) => (metadata, found.target),
                        _ => (Metadata::new(EntryKind::Symlink), None),
                    }
                }
                (None, _) => (Metadata::new(EntryKind::Symlink), None),
            };
            entries.push(Ok(Entry::new(found.name, metadata).through(link)));
        }
        Ok(Entries::new(entries.into_iter().inspect(move |_| _ = &listed)))
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        if is_hidden(path) {
            return Err(Kind::NotFound.into());
        }
        let retrieve =
            |client: &mut Client, place: &[u8]| client.find_before_transfer(place, false);
        let (found, client) = self.find_by(path, retrieve)?;
        let found = found.ok_or(Kind::NotFound)?;
        check_file(found)?;
        Ok(Box::new(OtherFile::new(&self.upstream, client, self.below(path), found.size)))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        if path.is_root() {
            return Err(Kind::IsDirectory.into());
        }
        if is_hidden(path) {
            return Err(Kind::NameNotAllowed.into());
        }
        let at = self.below(path);
        if let WriteMode::From(_) | WriteMode::Append = mode {
            let old = self.find(path)?;
            old.map_or(Ok(()), check_file)?;
            return match mode {
                // Only a record could tell the beginning of a cut upload from an older file.
                WriteMode::From(_) if old.is_some() => Err(Kind::Unsupported.into()),
                _ if old.is_none() && self.is_lost(path)? => Err(Kind::NotFound.into()),
                WriteMode::Append => Ok(transfer::append(&self.upstream, at)),
                _ => Err(Kind::BadRestart.into()),
            };
        }
        let store = |client: &mut Client, place: &[u8]| client.find_before_transfer(place, true);
        let (old, client) = self.find_by(path, store)?;
        old.map_or(Ok(()), check_file)?;
        if old.is_some() && mode == WriteMode::Create {
            return Err(Kind::Exists.into());
        }
        let begun = transfer::begin(&self.upstream, client, at, mode, old);
        begun.map_err(|refused| self.explain(path, refused))
    }

    /// [`ftp_server::Partials`] around this storage has the records of this process.
    fn unfinished(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        Ok(Some(Unfinished::UNKNOWN))
    }

    fn kept(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        Err(Kind::NotFound.into())
    }

    fn forget(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        Ok(None)
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        let found = self.find(path)?;
        let at = self.below(path);
        // Some servers remove a directory by DELE, and some tell a size of one.
        let wrong = match found {
            None => Some(Kind::NotFound),
            Some(found) if found.kind == EntryKind::Directory => Some(Kind::IsDirectory),
            Some(_) => {
                let asked = self.upstream.ask(|client, other| client.is_directory(other.path(&at)));
                asked?.0.then_some(Kind::IsDirectory)
            }
        };
        if let Some(kind) = wrong
            && !self.is_link(path)
        {
            return Err(kind.into());
        }
        self.upstream.change(&at, false, |client, place| client.delete(place))
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        if path.is_root() {
            return Err(Kind::Denied.into());
        }
        self.stat(path, Ask::Directory)?;
        let at = self.below(path);
        // Some servers remove what is in the directory too, uploads on their way included. What a cut
        // upload has left is removed in another thread, unless the gateway was killed.
        for _ in 0..LOOKS {
            let ListedNames { all: left, unread, has_others, .. } = self.names(&at)?;
            let is_upload = |found: &Found| is_own_name(&found.name);
            if has_others || unread.is_some() || !left.iter().all(is_upload) {
                return Err(Kind::NotEmpty.into());
            }
            if left.is_empty() {
                // Some servers remove what is stored there from now on.
                let removed = self.upstream.change(&at, true, |client, place| client.rmdir(place));
                match removed {
                    // That server hides an upload on its way, which is about to be given up.
                    Err(error) if error.kind == Kind::Busy && error.source.is_some() => {}
                    removed => return removed,
                }
            }
            for upload in left.iter().filter(|upload| is_forgotten(upload)) {
                let left = [&*at, b"/", &*upload.name].concat();
                self.upstream.change(&left, false, |client, place| client.delete(place))?;
            }
            thread::sleep(PAUSE);
        }
        Err(Kind::Busy.into())
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        if path.is_root() || self.find(path)?.is_some() {
            return Err(Kind::Exists.into());
        }
        if is_hidden(path) {
            return Err(Kind::NameNotAllowed.into());
        }
        let at = self.below(path);
        let made = self.upstream.change(&at, false, |client, place| client.mkdir(place).map(drop));
        made.map_err(|refused| self.explain(path, refused))
    }

    /// Looks at both names, and then renames. FTP has no rename that keeps what another client stores in
    /// between.
    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        if from.is_root() {
            return Err(Kind::Denied.into());
        }
        if to.is_root() {
            return Err(Kind::IsDirectory.into());
        }
        let old = self.existing(from)?;
        if is_hidden(to) {
            return Err(Kind::NameNotAllowed.into());
        }
        if from == to {
            return Ok(());
        }
        let is_directory = |metadata: &Metadata| metadata.kind == EntryKind::Directory;
        check_names(to)?;
        if is_directory(&old) && to.is_at_or_below(from) {
            return Err(Kind::Denied.into());
        }
        let (old_place, new_place) = (self.below(from), self.below(to));
        let mut client = self.upstream.lend()?;
        // What another client stores at one of the two names meanwhile must not be moved or replaced.
        let places = [(&*old_place, is_directory(&old)), (&*new_place, false)];
        let turn = Turn::wait(&self.upstream, &places)?;
        let [old_place, new_place] = places.map(|(place, _)| self.upstream.path(place));
        match find(&mut client, &new_place).known()? {
            None => {}
            Some(_) if !replace => return Err(Kind::Exists.into()),
            Some(there) if is_directory(&there) => return Err(Kind::IsDirectory.into()),
            Some(_) if is_directory(&old) => return Err(Kind::NotDirectory.into()),
            Some(_) => {}
        }
        let named = client.rename_from(&old_place, &new_place).known();
        let renamed = named.and_then(|named| {
            StorageError::check_wanted()?;
            turn.settle(client.rename_to(&named))
        });
        drop((client, turn));
        renamed.map_err(|refused| self.explain(to, refused))
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let found = self.existing(path)?;
        let at = self.below(path);
        match change {
            Change::Modified(time) => {
                check_file(found)?;
                let time = TimeVal::from_unix_seconds(time).ok_or(Kind::NotFile)?;
                let set = self
                    .upstream
                    .change(&at, false, |client, place| client.set_modified(place, time));
                if let Some(told) = set? {
                    return Ok(found.modified(told.unix_seconds()));
                }
            }
            Change::Mode(mode) => {
                let mode = u16::try_from(mode).map_err(|_| Kind::Unsupported)?;
                let mode = Permissions::new(mode);
                self.upstream.change(&at, false, |client, place| client.chmod(place, mode))?;
            }
            _ => return Err(Kind::Unsupported.into()),
        }
        self.existing(path)
    }

    fn space(&self, _: &VirtualPath, _: RoomFor) -> StorageResult<Space> {
        Ok(Space::default())
    }
}

fn check_file(found: Metadata) -> StorageResult<()> {
    match found.kind {
        EntryKind::File => Ok(()),
        EntryKind::Directory => Err(Kind::IsDirectory.into()),
        _ => Err(Kind::NotFile.into()),
    }
}
