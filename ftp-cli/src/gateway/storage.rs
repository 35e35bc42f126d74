//! The files of another server as a [`Storage`]. A refusal is explained by looking at what is there,
//! because servers use one code for many reasons.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ftp_client::error::ListingCut;
use ftp_client::listing::{Budget, ListOptions, ListingForm};
use ftp_client::{Client, Entry as Found, EntryKind as FoundKind, Error, ListLine, TimeVal};
use ftp_proto::{Escaped, HiddenFile, Permissions};
use ftp_server::{
    Ask, Capabilities, Change, Confine, Entries, Entry, EntryKind, Keep, Metadata, RoomFor, Source,
    Space, Storage, StorageError, StorageErrorKind as Kind, Unfinished, Upload, VirtualPath,
    WriteMode,
};

use super::transfer::{self, OtherAppend, OtherFile};
use super::upstream::{
    self, Connection, Held, Known as _, ROOM, StorageResult, Turn, Upstream, find, metadata,
};

/// Maximum number of links in a listing whose targets are asked for.
const MOST_LINKS: usize = 100;

/// Seconds after which an upload that no client sees was left by a gateway that was killed.
const DAY: i64 = 24 * 60 * 60;

/// The longest wait for the end of uploads to a directory that is to be removed, and the pause between two
/// looks.
const ENDING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// The directory `prefix` of another server.
pub(super) struct Gateway {
    upstream: Arc<Upstream>,
    /// Empty, or with a slash before it.
    pub(super) prefix: Vec<u8>,
}

impl Gateway {
    pub(super) fn new(upstream: Arc<Upstream>, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { Vec::new() } else { format!("/{prefix}").into_bytes() };
        Self { upstream, prefix }
    }

    /// Returns the path below the directory of the URL, if its names are allowed.
    fn below(&self, path: &VirtualPath) -> StorageResult<Vec<u8>> {
        check_names(path)?;
        Ok(match path.is_root() {
            true => self.prefix.clone(),
            false => [&self.prefix, path.as_bytes()].concat(),
        })
    }

    /// Returns what is at a path below the directory of the URL, or `None` if the server proves that nothing
    /// is, and the connection.
    fn find_by(
        &self,
        client: Connection,
        at: &[u8],
        mut question: impl FnMut(&mut Client, &[u8]) -> Result<Option<Found>, Error>,
    ) -> StorageResult<(Option<Metadata>, Connection)> {
        self.upstream.ask_by(client, |client, upstream| {
            let place = upstream.path(at);
            let found = question(client, &place)?;
            upstream::whole(client, &place, found)
        })
    }

    /// Returns what is at a path, or `None` if the server proves that nothing is.
    fn find(&self, path: &VirtualPath) -> StorageResult<Option<Metadata>> {
        let at = self.below(path)?;
        Ok(self.find_by(self.upstream.lend()?, &at, |client, place| client.find(place))?.0)
    }

    /// Returns what must be there.
    fn existing(&self, path: &VirtualPath) -> StorageResult<Metadata> {
        self.find(path)?.ok_or_else(|| Kind::NotFound.into())
    }

    /// Returns what a listing shows: only that tells links, which all other questions follow.
    fn listed(&self, path: &VirtualPath) -> StorageResult<Option<FoundKind>> {
        let (Some(above), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
        match self.names(&self.below(&above)?) {
            Err(error) if error.kind == Kind::Refused => Ok(None),
            names => Ok(names?.0.iter().find(|found| found.name == name).and_then(|it| it.kind)),
        }
    }

    /// Returns what a directory has, uploads on their way included, and the memory for it.
    fn names(&self, at: &[u8]) -> StorageResult<(Vec<Found>, Held)> {
        let options = ListOptions::by(ListingForm::Auto).all(true);
        let listed = self.upstream.ask(|client, other| {
            let (mut names, mut held) = (Vec::new(), Held::none(other));
            for item in client.list_directory(other.path(at), options)? {
                match item? {
                    ListLine::Entry(found) if held.add(Budget::weight_of(&found), ROOM) => {
                        names.push(found);
                    }
                    ListLine::Entry(_) => return Err(Error::ListingCut(ListingCut::TooLong)),
                    // Clients remove what a listing lacks.
                    ListLine::Unparsed(line) => {
                        let why = format!("the other server lists {}: unreadable", Escaped(&line));
                        return Err(Error::local(io::Error::other(why)));
                    }
                }
            }
            Ok((names, held))
        });
        Ok(listed?.0)
    }

    /// Returns whether the directory above an object is missing.
    fn is_lost(&self, path: &VirtualPath) -> StorageResult<bool> {
        let above = self.find(&path.parent().unwrap_or_default())?;
        Ok(above.is_none_or(|above| above.kind != EntryKind::Directory))
    }

    /// Removes a directory in which there is nothing but what gateways that were killed have left.
    fn remove_directory(&self, path: &VirtualPath) -> StorageResult<()> {
        if path.is_root() {
            return Err(Kind::Denied.into());
        }
        self.existing(path)?.check_directory()?;
        let at = self.below(path)?;
        // Some servers remove what is in the directory too, uploads on their way included, and one listing
        // can lack a name.
        for _ in 0..2 {
            let (left, _) = self.names(&at)?;
            if !left.iter().all(|found| is_own_name(&found.name)) {
                return Err(Kind::NotEmpty.into());
            }
            if !left.iter().all(is_forgotten) {
                return Err(Kind::Busy.into());
            }
            for upload in left {
                let left = [&*at, b"/", &*upload.name].concat();
                self.upstream.change(&left, false, |client, place| client.delete(place))?;
            }
        }
        // Those servers also remove what is stored there from now on.
        self.upstream.change(&at, true, |client, place| client.rmdir(place))
    }

    /// Returns why an object cannot be made, if the directory above it is missing, else the server's
    /// reason.
    fn explain(&self, path: &VirtualPath, refused: StorageError) -> StorageError {
        match refused.kind == Kind::Refused && self.is_lost(path).unwrap_or(false) {
            true => Kind::NotFound.into(),
            false => refused,
        }
    }
}

/// Refuses the names of uploads on their way, and names that servers on Windows take for others: a `\`
/// separates directories there, and dots and blanks at the end of a name do not count. They would lead out
/// of a user's directory.
pub(super) fn check_names(path: &VirtualPath) -> StorageResult<()> {
    let is_other = |name: &[u8]| {
        name.contains(&b'\\') || matches!(name, [.., b'.' | b' ']) || is_own_name(name)
    };
    match path.relative().split(|byte| *byte == b'/').any(is_other) {
        true => Err(Kind::NameNotAllowed.into()),
        false => Ok(()),
    }
}

/// Returns whether a name is that of an upload on its way, which clients do not see.
fn is_own_name(name: &[u8]) -> bool {
    name.starts_with(transfer::PREFIX.as_bytes()) && HiddenFile::of(name).is_some()
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
        // Before the first connection, nothing is known.
        match self.upstream.target.sets_times.get() {
            Some(false) => base,
            _ => base | Capabilities::SET_TIMES,
        }
    }

    /// Sessions need no files: other threads connect.
    fn confine(&self) -> Confine<'_> {
        Confine::Neutral
    }

    fn stat(&self, path: &VirtualPath, _: Ask) -> StorageResult<Metadata> {
        self.existing(path)
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        let at = self.below(path)?;
        // Some servers list nothing, or the file itself, in place of a refusal.
        let names = self.names(&at);
        if names.as_ref().map_or(0, |(all, _)| all.len()) < 2 {
            self.existing(path)?.check_directory()?;
        }
        let (all, held) = names?;
        let mut links = 0;
        let mut entries = Vec::with_capacity(all.len());
        for mut found in all {
            if !found.is_safe_name() {
                let name = found.name_lossy();
                log::warn!("the other server lists a name that cannot be one: {name}");
                continue;
            }
            if is_own_name(&found.name) {
                continue;
            }
            let (mut shown, mut link) = (metadata(&found), None);
            if shown.is_none() && ask != Ask::Names && links < MOST_LINKS {
                links += 1;
                shown = self.find(&path.join(&found.name)).ok().flatten();
                link = found.target.take().filter(|_| shown.is_some());
            }
            let shown = shown.unwrap_or(Metadata::new(EntryKind::Symlink));
            entries.push(Ok(Entry::new(found.name, shown).through(link)));
        }
        Ok(Entries::new(entries.into_iter().inspect(move |_| _ = &held)))
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        let retrieve =
            |client: &mut Client, place: &[u8]| client.find_before_transfer(place, false);
        let path = self.below(path)?;
        let (found, client) = self.find_by(self.upstream.lend()?, &path, retrieve)?;
        let found = found.ok_or(Kind::NotFound)?;
        found.kind.check_file()?;
        Ok(Box::new(OtherFile {
            upstream: Arc::clone(&self.upstream),
            client: Some(client),
            path,
            size: found.size,
            offset: 0,
            pieces: None,
            piece: Cursor::default(),
        }))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        let (upstream, at) = (Arc::clone(&self.upstream), self.below(path)?);
        match mode {
            WriteMode::Create | WriteMode::Replace => {}
            WriteMode::Append => {
                match self.find(path)? {
                    Some(old) => old.kind.check_file()?,
                    None if self.is_lost(path)? => return Err(Kind::NotFound.into()),
                    None => {}
                }
                let (bytes, held) = (Vec::new(), Held::none(&upstream));
                return Ok(Box::new(OtherAppend { upstream, path: at, bytes, held }));
            }
            // Only a record could tell the beginning of a cut upload from an older file.
            _ => return Err(Kind::Unsupported.into()),
        }
        let client = upstream.lend()?;
        // Two at once would write into one file. What was found before the turn could have been replaced.
        let turn = upstream.target.in_place.then(|| Turn::begin(&upstream, &[(&at, false)]));
        let turn = turn.transpose()?;
        let store = |client: &mut Client, place: &[u8]| client.find_before_transfer(place, true);
        let (old, client) = self.find_by(client, &at, store)?;
        old.map_or(Ok(()), |old| old.kind.check_file())?;
        if old.is_some() && mode == WriteMode::Create {
            return Err(Kind::Exists.into());
        }
        let begun = transfer::begin(&upstream, client, at, mode, old, turn);
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
        let at = self.below(path)?;
        // Some servers remove a directory by DELE, and some tell a size of one.
        let told = self.upstream.ask(|client, other| match client.features()?.has("MLST") {
            true => client.stat(other.path(&at)),
            false => Ok(None),
        });
        let kind = match told?.0.and_then(|told| told.kind) {
            Some(FoundKind::File) => Some(FoundKind::File),
            _ => self.listed(path)?,
        };
        match kind {
            Some(FoundKind::File | FoundKind::Link) => {
                self.upstream.change(&at, false, |client, place| client.delete(place))
            }
            Some(FoundKind::Directory) => Err(Kind::IsDirectory.into()),
            Some(FoundKind::Other) | None => {
                self.existing(path)?.kind.check_file()?;
                let why = "the other server does not list it, so it may be a directory";
                Err(StorageError::caused_by(Kind::Refused, io::Error::other(why)))
            }
        }
    }

    /// Waits a moment for what is left of cut uploads: another thread removes it.
    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let begun = Instant::now();
        loop {
            match self.remove_directory(path) {
                Err(error) if error.kind == Kind::Busy && begun.elapsed() < ENDING => {
                    thread::sleep(PAUSE);
                }
                removed => return removed,
            }
        }
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let at = self.below(path)?;
        if path.is_root() || self.find(path)?.is_some() {
            return Err(Kind::Exists.into());
        }
        let made = self.upstream.change(&at, false, |client, place| client.mkdir(place).map(drop));
        made.map_err(|refused| self.explain(path, refused))
    }

    /// Looks at both names, and then renames. FTP has no rename that keeps what another client stores in
    /// between.
    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        if from.is_root() || to.is_root() {
            return Err(Kind::Denied.into());
        }
        let (old_path, new_path) = (self.below(from)?, self.below(to)?);
        let old = self.existing(from)?;
        if from == to {
            return Ok(());
        }
        let is_directory = |metadata: &Metadata| metadata.kind == EntryKind::Directory;
        if is_directory(&old) && to.is_at_or_below(from) {
            return Err(Kind::Denied.into());
        }
        let mut client = self.upstream.lend()?;
        // What another client stores at one of the two names meanwhile must not be moved or replaced.
        let paths = [(&*old_path, is_directory(&old)), (&*new_path, false)];
        let turn = Turn::wait(&self.upstream, &paths)?;
        let [old_place, new_place] = paths.map(|(path, _)| self.upstream.path(path));
        let there = find(&mut client, &new_place).known()?;
        if there.is_some_and(|it| !replace || is_directory(&it) || is_directory(&old)) {
            return Err(Kind::Exists.into());
        }
        let named = client.rename_from(&old_place, &new_place).known();
        let renamed = named.and_then(|named| {
            self.upstream.rename(&mut client, &named, &new_path, old, there, &turn)
        });
        drop((client, turn));
        renamed.map_err(|refused| self.explain(to, refused))
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let (at, found) = (self.below(path)?, self.existing(path)?);
        match change {
            Change::Modified(time) => {
                found.kind.check_file()?;
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
