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
use super::upstream::{self, Listed, StorageResult, Turn, Upstream, fault, find, metadata};

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
    sets_times: Arc<OnceLock<bool>>,
}

impl Gateway {
    pub(super) fn new(upstream: Arc<Upstream>, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { Vec::new() } else { format!("/{prefix}").into_bytes() };
        Self { upstream, prefix, sets_times: Arc::default() }
    }

    /// Returns the path below the directory of the URL.
    fn below(&self, path: &VirtualPath) -> Vec<u8> {
        match path.is_root() {
            true => self.prefix.clone(),
            false => [&self.prefix, path.as_bytes()].concat(),
        }
    }

    /// Returns what is at a path, or `None` if the server proves that nothing is.
    fn find(&self, path: &VirtualPath) -> StorageResult<Option<Metadata>> {
        check_names(path)?;
        if !path.is_root() && is_hidden(path) {
            return Ok(None);
        }
        let at = self.below(path);
        let times = Arc::clone(&self.sets_times);
        self.upstream.ask(move |client, upstream| {
            let features = client.features()?;
            let _ = times.set(features.has("MFMT") || features.has_with("SITE", "UTIME"));
            find(client, &upstream.path(&at))
        })
    }

    /// Returns what must be there.
    fn existing(&self, path: &VirtualPath) -> StorageResult<Metadata> {
        self.find(path)?.ok_or_else(|| Kind::NotFound.into())
    }

    /// Returns whether a listing shows a link, which all other questions follow.
    fn is_link(&self, path: &VirtualPath) -> bool {
        let (Some(above), Some(name)) = (path.parent(), path.name()) else { return false };
        let at = self.below(&above);
        let listed = self.upstream.ask(|client, upstream| {
            list(client, &upstream.path(&at), Listed::none(Arc::clone(&upstream.target)))
        });
        let is_it = |found: &Found| found.name == name && found.kind == Some(FoundKind::Link);
        listed.is_ok_and(|(all, ..)| all.iter().any(is_it))
    }

    /// Returns why an object cannot be made, if the object or the directory above it tells that, else the
    /// server's reason.
    fn explain(&self, path: &VirtualPath, refused: StorageError) -> StorageError {
        if !matches!(refused.kind, Kind::Refused | Kind::Unsupported) {
            return refused;
        }
        match path.parent().map(|parent| self.find(&parent)) {
            Some(Ok(None)) => Kind::NotFound.into(),
            Some(Ok(Some(above))) if above.kind != EntryKind::Directory => Kind::NotFound.into(),
            _ => refused,
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

/// The entries of a directory, the first line that cannot be read, and the room for all in memory.
type ListedNames = (Vec<Found>, Option<Vec<u8>>, Listed);

fn list(client: &mut Client, path: &[u8], mut listed: Listed) -> Result<ListedNames, Error> {
    let mut all = Vec::new();
    let options = ListOptions::by(ListingForm::Auto).all(true);
    let mut unread = None;
    for item in client.list_directory(path, options)? {
        match item? {
            ListLine::Entry(entry) if !entry.is_safe_name() => {
                log::warn!(
                    "the other server lists a name that cannot be one: {}",
                    entry.name_lossy()
                );
            }
            ListLine::Entry(entry) if is_own_name(&entry.name) => {}
            ListLine::Entry(entry) if listed.add() => all.push(entry),
            ListLine::Entry(_) => return Err(Error::ListingCut(ListingCut::TooLong)),
            ListLine::Unparsed(line) => {
                unread.get_or_insert(line);
            }
        }
    }
    Ok((all, unread, listed))
}

/// Returns the uploads on their way in a directory; `None` if there are other names.
fn only_uploads(client: &mut Client, path: &[u8]) -> Result<Option<Vec<Found>>, Error> {
    let options = ListOptions::by(ListingForm::Auto).all(true);
    let mut uploads = Vec::new();
    let mut has_others = false;
    for item in client.list_directory(path, options)? {
        match item? {
            ListLine::Entry(entry) if is_own_name(&entry.name) => uploads.push(entry),
            _ => has_others = true,
        }
    }
    Ok((!has_others).then_some(uploads))
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
        let listed = self.upstream.ask(|client, upstream| {
            list(client, &upstream.path(&at), Listed::none(Arc::clone(&upstream.target)))
        });
        // Some servers list nothing, or the file itself, in place of a refusal.
        let (all, listed) = match listed {
            // Clients remove what a listing lacks.
            Ok((_, Some(line), _)) => {
                let why = format!(
                    "the other server lists a line that cannot be read: {}",
                    Escaped(&line)
                );
                return Err(StorageError::caused_by(Kind::Io, io::Error::other(why)));
            }
            Ok((all, None, listed)) => {
                if all.len() < 2 {
                    self.stat(path, Ask::Directory)?;
                }
                (all, listed)
            }
            Err(refused) => {
                self.stat(path, Ask::Directory)?;
                return Err(refused);
            }
        };
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
        let found = self.existing(path)?;
        check_file(found)?;
        let at = self.below(path);
        Ok(Box::new(OtherFile::new(Arc::clone(&self.upstream), at, found.size)))
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
        let old = self.find(path)?;
        match (old, mode) {
            (Some(old), _) if old.kind == EntryKind::Directory => check_file(old)?,
            (Some(_), WriteMode::Create) => return Err(Kind::Exists.into()),
            // Only a record could tell the beginning of a cut upload from an older file.
            (Some(_), WriteMode::From(_)) => return Err(Kind::Unsupported.into()),
            (Some(old), _) => check_file(old)?,
            // Nothing is sent yet, so nothing is refused.
            (None, WriteMode::From(_) | WriteMode::Append) => {
                let parent = self.find(&path.parent().unwrap_or_default())?;
                let is_directory = parent.is_some_and(|it| it.kind == EntryKind::Directory);
                let kind = if is_directory { Kind::BadRestart } else { Kind::NotFound };
                if !is_directory || mode != WriteMode::Append {
                    return Err(kind.into());
                }
            }
            (None, _) => {}
        }
        let at = self.below(path);
        let begun = transfer::begin(&self.upstream, at, mode, old);
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
            Some(_) => self
                .upstream
                .ask(|client, upstream| client.is_directory(upstream.path(&at)))?
                .then_some(Kind::IsDirectory),
        };
        if let Some(kind) = wrong
            && !self.is_link(path)
        {
            return Err(kind.into());
        }
        self.upstream.change(&at, |client, place| client.delete(place))
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
            let left =
                self.upstream.ask(|client, upstream| only_uploads(client, &upstream.path(&at)))?;
            let left = left.ok_or(Kind::NotEmpty)?;
            if left.is_empty() {
                // Some servers remove what is stored there from now on.
                let removed =
                    self.upstream.change_tree(&at, true, |client, place| client.rmdir(place));
                match removed {
                    // That server hides an upload on its way, which is about to be given up.
                    Err(error) if error.kind == Kind::Busy && error.source.is_some() => {}
                    removed => return removed,
                }
            }
            for upload in left.iter().filter(|upload| is_forgotten(upload)) {
                let left = [&*at, b"/", &*upload.name].concat();
                self.upstream.change(&left, |client, place| client.delete(place))?;
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
        let made = self.upstream.change(&at, |client, place| client.mkdir(place).map(drop));
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
        let (from_there, to_there) = (self.below(from), self.below(to));
        let mut client = self.upstream.lend()?;
        // What another client stores at one of the two names meanwhile must not be moved or replaced. In
        // one order, so that two renames of files do not wait for each other.
        let mut places = [(&from_there, is_directory(&old)), (&to_there, false)];
        places.sort_unstable();
        let [(one, is_tree), (other, is_other_tree)] = places;
        let first = Turn::wait(&self.upstream, one, is_tree)?;
        let second = Turn::wait(&self.upstream, other, is_other_tree)?;
        let (from_there, to_there) =
            (self.upstream.path(&from_there), self.upstream.path(&to_there));
        match find(&mut client, &to_there).map_err(|error| fault(&error, false))? {
            None => {}
            Some(_) if !replace => return Err(Kind::Exists.into()),
            Some(there) if is_directory(&there) => return Err(Kind::IsDirectory.into()),
            Some(_) if is_directory(&old) => return Err(Kind::NotDirectory.into()),
            Some(_) => {}
        }
        let renamed = upstream::rename(client, &from_there, &to_there).map(drop);
        let renamed = first.ended(second.ended(renamed));
        renamed.map_err(|refused| self.explain(to, refused))
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let found = self.existing(path)?;
        let at = self.below(path);
        match change {
            Change::Modified(time) => {
                check_file(found)?;
                let time = TimeVal::from_unix_seconds(time).ok_or(Kind::NotFile)?;
                self.upstream.change(&at, |client, place| client.set_modified(place, time))?;
            }
            Change::Mode(mode) => {
                let mode = u16::try_from(mode).map_err(|_| Kind::Unsupported)?;
                let mode = Permissions::new(mode);
                self.upstream.change(&at, |client, place| client.chmod(place, mode))?;
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
