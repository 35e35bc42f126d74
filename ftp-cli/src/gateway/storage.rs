//! The files of another server as a [`Storage`]. A refusal is explained by looking at what is there,
//! because servers use one code for many reasons.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ftp_client::error::ListingCut;
use ftp_client::file::HashAlgorithm;
use ftp_client::listing::{Budget, ListOptions, ListingForm};
use ftp_client::{Client, Entry as Found, EntryKind as FoundKind, Error, ListLine, TimeVal};
use ftp_proto::{Escaped, HiddenFile, Permissions};
use ftp_server::{
    Ask, Capabilities, Change, Confine, Entries, Entry, EntryKind, Keep, Metadata, RoomFor, Source,
    Space, Storage, StorageError, StorageErrorKind as Kind, Unfinished, Upload, VirtualPath,
    WriteMode,
};

use super::proof::{Renaming, UNTOLD, bytes_of, check_gone, find, is_other, metadata, whole};
use super::transfer::{self, OtherAppend, OtherFile, Reading};
use super::upstream::{
    Connection, Held, Known as _, ROOM, StorageResult, Turn, Upstream, failed, folded, in_doubt,
    wait_while,
};

/// Maximum number of entries of a listing that are asked for, which takes one to seven round trips for each.
const MOST_ASKED: usize = 1_000;

/// Seconds after which an upload that no client sees was left by a gateway that was killed.
const DAY: i64 = 24 * 60 * 60;

/// The longest wait for the end of uploads to a directory that is to be removed.
const ENDING: Duration = Duration::from_secs(2);

/// The time between two looks whether these uploads have ended.
const CLEANING: Duration = Duration::from_millis(100);

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
    /// is, and the connection; before a transfer, which `uploads` or downloads, or before none.
    fn find_by(
        &self,
        client: Connection,
        at: &[u8],
        uploads: Option<bool>,
    ) -> StorageResult<(Option<Metadata>, Connection)> {
        self.upstream.ask_by(client, |client, upstream| {
            let place = upstream.path(at);
            let found = match uploads {
                Some(true) => client.find_before_upload(&place)?,
                Some(false) => client.find_before_download(&place)?,
                None => client.find(&place)?,
            };
            whole(client, &place, found)
        })
    }

    /// Returns what is at a path, or `None` if the server proves that nothing is.
    fn find(&self, path: &VirtualPath) -> StorageResult<Option<Metadata>> {
        let at = self.below(path)?;
        Ok(self.find_by(self.upstream.lend()?, &at, None)?.0)
    }

    /// Returns what must be there.
    fn existing(&self, path: &VirtualPath) -> StorageResult<Metadata> {
        self.find(path)?.ok_or_else(|| Kind::NotFound.into())
    }

    /// Returns what a link leads to, or what a listing does not tell of an object; `None` if that is gone.
    /// Clients leave out links, and remove what is missing: no file may seem to be either.
    fn asked(&self, at: &[u8], is_link: bool) -> StorageResult<Option<Metadata>> {
        StorageError::check_wanted()?;
        let found = self.find_by(self.upstream.lend()?, at, None).map(|(found, _)| found);
        // Servers tell no time of a device or a FIFO.
        let time = || self.upstream.ask(|client, other| client.modified(other.path(at)));
        let has_no_size = match found {
            Ok(Some(found)) if found.kind != EntryKind::Special => return Ok(Some(found)),
            Err(error) if error.kind != Kind::NameNotAllowed => return Err(error),
            Ok(None) if !is_link => return Ok(None),
            Ok(Some(_)) => !is_link || time()?.0.is_some(),
            Ok(None) | Err(_) => !is_link,
        };
        match has_no_size {
            true => Err(failed(Kind::Io, format!("no question tells the size of {}", Escaped(at)))),
            false => Ok(Some(Metadata::new(EntryKind::Symlink).modified(UNTOLD))),
        }
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
        Ok(self.upstream.ask(|client, other| names_in(client, other, &other.path(at)))?.0)
    }

    /// Removes what gateways that were killed have left in a directory, and checks that there is nothing
    /// else. One listing can lack a name.
    fn empty(&self, client: &mut Client, place: &[u8]) -> StorageResult<()> {
        for _ in 0..2 {
            let (left, _) = names_in(client, &self.upstream, place).known()?;
            if !left.iter().all(|found| is_own_name(&found.name)) {
                return Err(Kind::NotEmpty.into());
            }
            if !left.iter().all(is_forgotten) {
                return Err(Kind::Busy.into());
            }
            for upload in left {
                client.delete([place, b"/", &*upload.name].concat()).known()?;
            }
        }
        Ok(())
    }

    /// Checks the directory above an object.
    fn check_above(&self, path: &VirtualPath) -> StorageResult<()> {
        self.existing(&path.parent().unwrap_or_default())?.check_directory()
    }

    /// Returns the result of making an object; after a refusal, whether the directory above it is missing.
    fn made<T>(&self, path: &VirtualPath, made: StorageResult<T>) -> StorageResult<T> {
        if made.as_ref().is_err_and(|error| error.kind == Kind::Refused)
            && let Err(lost) = self.check_above(path)
            && matches!(lost.kind, Kind::NotFound | Kind::NotDirectory)
        {
            return Err(lost);
        }
        made
    }
}

/// As [`Gateway::names`], of a whole path and over a connection that the caller has.
fn names_in(client: &mut Client, other: &Upstream, at: &[u8]) -> Result<(Vec<Found>, Held), Error> {
    let options = ListOptions::by(ListingForm::Auto).all(true);
    let (mut names, mut held) = (Vec::new(), Held::none(other));
    for item in client.list_directory(at, options)? {
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
        let names = self.names(&at);
        // Some servers list nothing, or the file itself, in place of a refusal. A question to one that does not
        // answer would wait as long again.
        let may_be_none = |error: &StorageError| error.kind != Kind::Unavailable;
        if names.as_ref().map_or_else(may_be_none, |(all, _)| all.len() < 2) {
            self.existing(path)?.check_directory()?;
        }
        let (all, held) = names?;
        let is_shown = |found: &&Found| found.is_safe_name() && !is_own_name(&found.name);
        let untold = all.iter().filter(is_shown).filter(|found| metadata(found).is_none()).count();
        if ask != Ask::Names && untold > MOST_ASKED {
            return Err(failed(Kind::Io, "the listing has over 1,000 links or untold sizes"));
        }
        let mut entries = Vec::with_capacity(all.len());
        let begin = Instant::now();
        for found in all {
            if !found.is_safe_name() {
                let name = found.name_lossy();
                log::warn!("the other server lists a name that cannot be one: {name}");
                continue;
            }
            if is_own_name(&found.name) {
                continue;
            }
            let is_link = found.is_link();
            let shown = match metadata(&found) {
                Some(told) if ask == Ask::Permissions => told,
                // Of `LIST`, clients expect neither seconds nor a zone.
                Some(told) => {
                    told.modified(found.modified.map_or(UNTOLD, |it| it.time.unix_seconds()))
                }
                None if ask == Ask::Names => Metadata::new(EntryKind::Special),
                None if begin.elapsed() > self.upstream.target.timeout => {
                    return Err(failed(
                        Kind::Io,
                        "the questions about links or sizes take too long",
                    ));
                }
                None => match self.asked(&[&*at, b"/", &*found.name].concat(), is_link)? {
                    Some(told) => told,
                    None => continue,
                },
            };
            // Clients that remove trees enter directories. Some servers tell no text of links.
            let link = is_link.then(|| found.target.unwrap_or_default());
            entries.push(Ok(Entry::new(found.name, shown).through(link)));
        }
        Ok(Entries::new(entries.into_iter().inspect(move |_| _ = &held)))
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        let path = self.below(path)?;
        // One connection stays for questions, and one for an upload.
        let (client, transfer) = self.upstream.lend_for_transfer(2)?;
        let (found, client) = self.find_by(client, &path, Some(false))?;
        let found = found.ok_or(Kind::NotFound)?;
        found.kind.check_file()?;
        Ok(Box::new(OtherFile {
            upstream: Arc::clone(&self.upstream),
            path,
            size: found.size,
            offset: 0,
            state: Reading::Found(Box::new(client)),
            piece: Vec::new(),
            unread: 0..0,
            _transfer: transfer,
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
                    None => self.check_above(path)?,
                }
                let (bytes, held) = (Vec::new(), Held::none(&upstream));
                return Ok(Box::new(OtherAppend { upstream, path: at, bytes, held }));
            }
            // Only a record could tell the beginning of a cut upload from an older file.
            _ => return Err(Kind::Unsupported.into()),
        }
        let (client, transfer) = upstream.lend_for_transfer(1)?;
        // Two at once would write into one file. What was found before the turn could have been replaced.
        let turn = upstream.target.in_place.then(|| Turn::begin(&upstream, &[(&at, false)]));
        let turn = turn.transpose()?;
        let (old, client) = self.find_by(client, &at, Some(true))?;
        transfer::check_free(old, mode)?;
        self.made(path, transfer::begin(&upstream, (client, transfer), at, mode, old, turn))
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
        // The facts of another question differ from those that are asked for afterwards.
        let (told, _) =
            self.upstream.ask(|client, other| match client.features()?.has("MLST") {
                true => client.stat(other.path(&at)),
                false => Ok(None),
            })?;
        let old = told.as_ref().and_then(metadata);
        let kind = match told.and_then(|told| told.kind) {
            Some(FoundKind::File) => Some(FoundKind::File),
            _ => self.listed(path)?,
        };
        match kind {
            Some(FoundKind::File | FoundKind::Link) => {
                self.upstream.change(&at, false, |client, place| {
                    client.delete(place)?;
                    Ok(check_gone(client, place, old))
                })?
            }
            Some(FoundKind::Directory) => Err(Kind::IsDirectory.into()),
            Some(FoundKind::Other) | None => {
                self.existing(path)?.kind.check_file()?;
                let why = "neither MLST nor a listing there shows that this is a file";
                Err(failed(Kind::Refused, why))
            }
        }
    }

    /// Waits a moment for what is left of cut uploads: another thread removes it.
    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        if path.is_root() {
            return Err(Kind::Denied.into());
        }
        self.existing(path)?.check_directory()?;
        let at = self.below(path)?;
        let pause = |error: &StorageError| (error.kind == Kind::Busy).then_some(CLEANING);
        wait_while(ENDING, pause, || {
            // Some servers remove what is in the directory too: nothing may get its name there meanwhile.
            self.upstream.change(&at, true, |client, place| match self.empty(client, place) {
                Ok(()) => client.rmdir(place).map(|()| check_gone(client, place, None)),
                kept => Ok(kept),
            })?
        })
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let at = self.below(path)?;
        if path.is_root() || self.find(path)?.is_some() {
            return Err(Kind::Exists.into());
        }
        let made = self.upstream.change(&at, false, |client, place| client.mkdir(place).map(drop));
        self.made(path, made)
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
        // A server that folds case shows the file itself.
        let there = there.filter(|it| *it != old || folded(&old_path) != folded(&new_path));
        let bytes = match there {
            Some(it) if !is_other(it, old) => {
                bytes_of(&mut client, &old_place, HashAlgorithm::Sha256).known()?
            }
            _ => None,
        };
        let renaming = Renaming {
            named: &client.rename_from(&old_place, &new_place).known()?,
            from: &old_place,
            to: &new_place,
            there,
            // Others can have changed the file since it was looked at, but nothing had the new name.
            want: there.map(|_| old),
            is_shown: true,
            bytes: bytes.as_ref(),
        };
        renaming.make(&mut client, &turn)
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let (at, found) = (self.below(path)?, self.existing(path)?);
        match change {
            Change::Modified(want) => {
                found.kind.check_file()?;
                let time = TimeVal::from_unix_seconds(want).ok_or(Kind::NotFile)?;
                let set = |client: &mut Client, at: &_| client.set_modified(at, time);
                let told = self.upstream.change(&at, false, set)?;
                let now = self.existing(path).map_err(in_doubt)?;
                let told = told.map(|told| told.unix_seconds());
                if now.modified == UNTOLD {
                    return Ok(now.modified(told.unwrap_or(UNTOLD)));
                }
                // FAT has even seconds, and a server may round the time to what the file had.
                let is_kept = now.modified == found.modified && now.modified.abs_diff(want) > 1;
                if is_kept && told != Some(now.modified) {
                    let why = "the other server confirms a time, and keeps the old one";
                    return Err(failed(Kind::Io, why));
                }
                Ok(now)
            }
            Change::Mode(mode) => {
                let mode = Permissions::new(u16::try_from(mode).map_err(|_| Kind::Unsupported)?);
                self.upstream.change(&at, false, |client, at| client.chmod(at, mode))?;
                self.existing(path)
            }
            _ => Err(Kind::Unsupported.into()),
        }
    }

    fn space(&self, _: &VirtualPath, _: RoomFor) -> StorageResult<Space> {
        Ok(Space::default())
    }
}
