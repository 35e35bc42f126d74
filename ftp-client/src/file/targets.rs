//! The names that one run writes. None of its local targets is another one's partial file, and none
//! replaces another one that the file system takes for the same file. On the server, no upload replaces
//! another one that the server takes for the same file, and sources go only when the server shows each
//! new name.
//!
//! Also whether a local file is the server's own ([`may_be_one`]): the server may be this computer, a
//! container with a directory of it, or a computer whose share is mounted here. A transfer between them
//! would empty or remove the only copy.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use ftp_proto::Pathname;

use super::evidence::Origin;
use super::journal::{ConfirmedFile, LocalFacts};
use super::moving::{MoveJournal, hold};
use super::partial::named;
use super::record::parent;
use super::spellings::{Namesakes, Stay, leads_out, path_in, twin_of};
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::objects::SizeTold;
use crate::error::{Error, JobFault, LocalPath, Phase};
use crate::fxp::answered;
use crate::listing::{ListOptions, ListingForm};
use crate::system::{MetadataExt, OsStrExt, check_path, has_no_short_names, inode};
use crate::tree::local::Directory;
use crate::tree::names::{AGAIN, Relation, ShownNames, fold, lacking, look};
use crate::tree::probe::{with_probe, with_remote_probe};
use crate::url_path::Place;
use crate::{age, lock};

/// The targets of one run, shared by its jobs: local ones of downloads (see
/// [`Get::among`](crate::Get::among)), or those of uploads on a server (see
/// [`Put::among`](crate::Put::among)).
///
/// A file system or server without case, one that normalizes names, or one that cuts them short
/// takes two names for one file. The second download or upload then fails, so that it does not
/// replace the first one. If two targets on a server may be one, they are uploaded in turn. The
/// sources of several [moves](crate::FileOptions::moves) to one directory of a server are removed by
/// [`finish`](Self::finish), when a listing shows all their names.
///
/// ```no_run
/// use ftp_client::file::Targets;
/// use ftp_client::{Client, FileOptions, Place, Put};
///
/// let mut client = Client::builder().connect("ftp.example.org")?;
/// client.login("me", "secret")?;
/// let names = ["README.TXT", "Readme.txt"];
/// let place = |name: &str| Place::at(format!("in/{name}"));
/// let targets = Targets::remote(names.map(place));
/// let options = FileOptions::new().moves(true);
/// for name in names {
///     let mut job = Put::from_path(name, place(name), &options).among(&targets);
///     job.attempt(&mut client, &())?;
/// }
/// targets.finish(&mut client, &mut |source, removed| match removed {
///     Ok(()) => println!("{}: moved", source.display()),
///     Err(error) => println!("{}: {error}", source.display()),
/// })?;
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Targets {
    paths: HashSet<PathBuf>,
    written: Mutex<Written>,
    /// The number of targets in each directory of the server.
    directories: HashMap<Vec<u8>, usize>,
    /// Targets with equal fold, by their directory and this fold.
    twins: HashMap<FoldedPath, Mutex<Namesakes>>,
    /// The targets that were added one by one, by the [`twin_of`] their names alone.
    added: HashMap<Vec<u8>, Mutex<Namesakes>>,
    stay: Mutex<Stay>,
    moved: Mutex<Vec<MovedTarget>>,
}

#[derive(Debug, Default)]
struct Written {
    /// Their paths, by device and inode where the system tells them.
    inodes: HashMap<(u64, u64), PathBuf>,
    /// The last path of each fold.
    folds: HashMap<Vec<u8>, PathBuf>,
}

impl Written {
    /// Returns the path under which the run has written the file at `target`.
    fn other(&self, target: &Path, in_place: bool) -> io::Result<Option<&PathBuf>> {
        // A file with several hard links is several files, unless it is written itself.
        let before = facts(target, in_place).filter(|it| in_place || it.nlink() == 1);
        let Some(before) = before else { return Ok(None) };
        let other = inode(&before).and_then(|inode| self.inodes.get(&inode));
        if let Some(other) = other.filter(|other| *other != target) {
            return Ok(Some(other));
        }
        // On exFAT through FUSE, each spelling has its own inode.
        let Some(other) = self.folds.get(&folded(target)).filter(|other| *other != target) else {
            return Ok(None);
        };
        let (Some(listed), Some(name)) = (other.file_name(), target.file_name()) else {
            return Ok(None);
        };
        let relation =
            Directory::open(parent(target))?.relation(listed.as_bytes(), name.as_bytes())?;
        Ok((relation == Relation::One).then_some(other))
    }
}

/// Returns the facts of the file that is replaced, or of that which is written in place.
fn facts(target: &Path, in_place: bool) -> Option<fs::Metadata> {
    if in_place { fs::metadata(target).ok() } else { fs::symlink_metadata(target).ok() }
}

fn folded(path: &Path) -> Vec<u8> {
    fold(path.as_os_str().as_bytes())
}

/// Checks that a file at `target` has this name, and is not another one: see [`check_path`] and
/// [`Directory::check_listed`].
pub(super) fn check_target(target: &Path) -> io::Result<()> {
    check_path(target)?;
    let name = target.file_name().unwrap_or_default().as_bytes();
    let place = parent(target);
    match is_like_short(name) && !has_no_short_names(place) && target.symlink_metadata().is_ok() {
        true => Directory::open(place)?.check_listed(name),
        false => Ok(()),
    }
}

/// Returns whether a name can be the short name (8.3) of a file of another name: only for such a name,
/// the directory is listed.
fn is_like_short(name: &[u8]) -> bool {
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    name.len() <= 12 && stem.len() <= 8 && stem.contains(&b'~') && !stem.ends_with(b"~")
}

impl Targets {
    /// Returns the local targets with these paths.
    pub fn local(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { paths: paths.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// Calls `publish`, which gives a file the name `target`, or opens or completes it `in_place`, unless
    /// that would replace another local target. Only one file is published at a time.
    ///
    /// # Errors
    ///
    /// Returns the errors of `publish`, and `AlreadyExists` if the file at `target` is another
    /// target that this run has written.
    pub(super) fn publish<T>(
        &self,
        target: &Path,
        in_place: bool,
        publish: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut written = self.written();
        let other = written.other(target, in_place).map_err(|error| named(target, &error))?;
        if let Some(other) = other {
            let other = LocalPath(other);
            let why = format!(
                "the file system takes this name for {other}, which was written before; \
                 choose another directory"
            );
            return Err(named(target, &io::Error::new(io::ErrorKind::AlreadyExists, why)));
        }
        let published = publish()?;
        if let Some(metadata) = facts(target, in_place) {
            if let Some(inode) = inode(&metadata) {
                written.inodes.insert(inode, target.to_owned());
            }
            written.folds.insert(folded(target), target.to_owned());
        }
        Ok(published)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        lock(&self.written)
    }
}

/// A directory, and the [`twin_of`] a name in it.
type FoldedPath = (Vec<u8>, Vec<u8>);

/// A source that is complete on the server.
#[derive(Debug)]
pub(super) struct MovedSource {
    pub(super) local: PathBuf,
    pub(super) facts: LocalFacts,
    pub(super) journal: Option<MoveJournal>,
}

impl MovedSource {
    pub(super) fn new(local: &Path, facts: LocalFacts, journal: Option<MoveJournal>) -> Self {
        Self { local: local.to_owned(), facts, journal }
    }
}

/// A source that waits for its name.
#[derive(Debug)]
struct MovedTarget {
    source: MovedSource,
    place: Place,
    /// What the server told of the file right after its upload.
    confirmed: ConfirmedFile,
}

/// The turn of a target among those that may be the same file.
#[derive(Debug)]
pub(super) struct NameTurn<'a> {
    written: MutexGuard<'a, Namesakes>,
    stay: &'a Mutex<Stay>,
}

impl Targets {
    /// Returns the targets at these places on a server.
    #[must_use]
    pub fn remote(places: impl IntoIterator<Item = Place>) -> Self {
        let mut this = Self::default();
        let mut folds: HashMap<FoldedPath, usize> = HashMap::new();
        for place in places {
            let (directory, name) = whole(&place);
            *this.directories.entry(directory.clone()).or_default() += 1;
            *folds.entry((directory, twin_of(&name))).or_default() += 1;
        }
        let several = folds.into_iter().filter(|(_, count)| *count > 1);
        this.twins = several.map(|(twins, _)| (twins, Mutex::default())).collect();
        this
    }

    /// Adds a target of a run that does not know its targets before: its upload does not replace an
    /// earlier one that the server takes for the same file. Call [`leave`](Self::leave) before the client
    /// changes its current directory, and [`enter`](Self::enter) when it has done so.
    pub fn add(&mut self, place: &Place) {
        let twin = twin_of(&whole(place).1);
        if !place.whole().starts_with(b"/") {
            lock(&self.stay).names.insert(twin.clone());
        }
        self.added.entry(twin).or_default();
    }

    /// Notes that relative paths will begin in another directory. Asks for the current one (`PWD`), if
    /// [added](Self::add) targets are relative to it and it is not known: a later target can be another
    /// spelling of the same path.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::pwd`], except refusals: then a later target with an equal name must
    /// be new.
    pub fn leave(&mut self, client: &mut Client) -> Result<(), Error> {
        let mut stay = lock(&self.stay);
        if !stay.names.is_empty() {
            stay.ask(client)?;
        }
        let directory = stay.directory.take().flatten();
        for name in std::mem::take(&mut stay.names) {
            if let Some(written) = self.added.get(&name) {
                lock(written).leave(directory.as_deref());
            }
        }
        Ok(())
    }

    /// Notes the argument with which the client has changed its current directory. It tells where relative
    /// paths begin if the server does not. If the client may be anywhere, `path` is empty.
    pub fn enter(&mut self, path: &[u8]) {
        let mut stay = lock(&self.stay);
        // Some servers take these for paths that do not begin in the current directory.
        let is_odd = path.is_empty() || path.starts_with(b"~");
        let is_odd = is_odd || path.iter().any(|byte| matches!(byte, b'\\' | b':'));
        stay.entered = match stay.entered.take() {
            _ if path.starts_with(b"/") => Some(path.to_vec()),
            Some(above) if !is_odd => Some(path_in(Some(&above), path)),
            _ => None,
        };
    }

    /// Removes the sources of the completed moves that wait for their names, and calls `each` with
    /// the path of every source and the result.
    ///
    /// A source is removed if a listing of the directory shows all its targets of this run byte for
    /// byte: a file whose name the server changed may have replaced another one. If the server reports
    /// times, each file must still have the time of its upload. If a name is missing, the directory is
    /// listed once more after 2 s. If the server refuses the listing, it must report the size of each
    /// file. Call this after the last upload of the run.
    ///
    /// # Errors
    ///
    /// Returns the errors of the connection. A later call, also with another client, handles the
    /// sources that are left.
    pub fn finish(
        &self,
        client: &mut Client,
        each: &mut dyn FnMut(&Path, Result<(), Error>),
    ) -> Result<(), Error> {
        let mut left = std::mem::take(&mut *lock(&self.moved));
        let done = self.confirm(client, &mut left, each);
        if done.is_err() {
            *lock(&self.moved) = left;
        }
        done
    }

    fn confirm(
        &self,
        client: &mut Client,
        left: &mut Vec<MovedTarget>,
        each: &mut dyn FnMut(&Path, Result<(), Error>),
    ) -> Result<(), Error> {
        let directories: HashSet<_> = left.iter().map(|target| whole(&target.place).0).collect();
        let pause = |client: &mut Client| match client.control.waiter().pause(AGAIN)? {
            true => Ok(()),
            false => Err(Error::Timeout(Phase::Overall)),
        };
        let missing = lacking(client, directories, pause, |client, directory: &Vec<u8>| {
            self.missing(client, directory, left)
        });
        let missing: HashMap<_, _> = missing?.into_iter().collect();
        for MovedTarget { source, place, .. } in left.drain(..) {
            let removed = match missing.get(&whole(&place).0) {
                None => hold(&source.local).and_then(|_lock| source.remove()),
                // The next run sends the file again: nothing proves what the server has.
                Some(name) => source
                    .journal
                    .as_ref()
                    .map_or(Ok(()), MoveJournal::remove)
                    .and_then(|()| Err(Error::Job(JobFault::NotShown(name.clone())))),
            };
            each(&source.local, removed);
        }
        Ok(())
    }

    /// Lists a directory, and returns the path of a target in it that the server does not show as it
    /// was uploaded.
    fn missing(
        &self,
        client: &mut Client,
        directory: &[u8],
        left: &[MovedTarget],
    ) -> Result<Option<Vec<u8>>, Error> {
        let targets = || left.iter().filter(|target| whole(&target.place).0 == directory);
        let Some(first) = targets().next() else { return Ok(None) };
        let mut place = first.place.clone();
        let wanted: Vec<_> = targets().map(|target| whole(&target.place).1).collect();
        let listed = names_of(client, &mut place, &wanted)?;
        let extras = self.folds_in(directory);
        for (target, name) in targets().zip(&wanted) {
            place.set_name(target.place.name());
            let size = Some(target.source.facts.size);
            let is_shown = match &listed {
                // An upload under a name that is cut short may have replaced this file. Some servers
                // list sizes in another form.
                Some(shown) => {
                    let listed = shown.names.get(name).copied().flatten();
                    shown.confirms(name, &extras)
                        && (listed.is_none()
                            || listed == size
                            || client.size(place.path())? == size)
                }
                // A size does not tell two files of one spelling apart.
                None => !extras.contains(&twin_of(name)) && client.size(place.path())? == size,
            };
            if !is_shown || !is_still(client, place.path(), target)? {
                return Ok(Some(target.place.whole()));
            }
        }
        Ok(None)
    }

    /// Returns whether the directory of a target has several targets.
    pub(super) fn are_several(&self, place: &Place) -> bool {
        self.directories.get(&whole(place).0).is_some_and(|count| *count > 1)
    }

    /// Notes a complete move, whose source [`finish`](Self::finish) removes.
    pub(super) fn remove_later(
        &self,
        place: &Place,
        source: MovedSource,
        confirmed: ConfirmedFile,
    ) {
        lock(&self.moved).push(MovedTarget { source, place: place.clone(), confirmed });
    }

    /// Waits for the turn of a target that may be the same file as another one.
    pub(super) fn turn(&self, place: &Place) -> Option<NameTurn<'_>> {
        let (directory, name) = whole(place);
        let twin = twin_of(&name);
        let written = self.added.get(&twin).or_else(|| self.twins.get(&(directory, twin)))?;
        Some(NameTurn { written: lock(written), stay: &self.stay })
    }

    /// Returns the folds that several targets in a directory share.
    fn folds_in(&self, directory: &[u8]) -> HashSet<Vec<u8>> {
        let twins = self.twins.keys().filter(|(of, _)| of == directory);
        twins.map(|(_, fold)| fold.clone()).collect()
    }
}

impl NameTurn<'_> {
    /// Checks that the upload of `place` replaces none of the targets that were written before.
    /// Returns one that may be the same file, if the server's answers leave that open.
    ///
    /// # Errors
    ///
    /// Returns [`JobFault::SameName`] if the server takes both for one file, and the errors of
    /// the client.
    pub(super) fn check(
        &mut self,
        client: &mut Client,
        place: &Place,
        moves: bool,
    ) -> Result<Option<Vec<u8>>, Error> {
        let path = place.whole();
        let mut stay = lock(self.stay);
        let own = path_in(stay.known(), &path);
        if leads_out(&own) || self.written.unknown(&own).is_some() {
            stay.ask(client)?;
        }
        if let Some(directory) = stay.known() {
            self.written.begin_in(directory);
        }
        let own = path_in(stay.known(), &path);
        drop(stay);
        let mut unclear = None;
        for other in self.written.spellings(&own) {
            match related(client, place.path(), [&own, other], moves)? {
                Relation::Two => {}
                Relation::One => return Err(Error::Job(JobFault::SameName(other.clone()))),
                Relation::Unclear => unclear = Some(other.clone()),
            }
        }
        let Some(other) = self.written.unknown(&own) else { return Ok(unclear) };
        match client.is_taken(place.path()) {
            Ok(false) => Ok(unclear),
            Err(error) if !client.is_settled() => Err(error),
            _ => Ok(Some(other.clone())),
        }
    }

    pub(super) fn note(&mut self, place: &Place) {
        let path = path_in(lock(self.stay).known(), &place.whole());
        self.written.note(path);
    }
}

/// Asks the server whether the target at `path` is another one that was written before. `both` are the one
/// and the other, in two spellings that begin at the same place.
fn related(
    client: &mut Client,
    path: &[u8],
    both: [&[u8]; 2],
    moves: bool,
) -> Result<Relation, Error> {
    let [own, other] = both.map(|path| path.split(|byte| *byte == b'/').collect::<Vec<_>>());
    let mut pairs = own.iter().zip(&other);
    let parts = pairs.clone().enumerate().find(|(_, (name, other))| name != other);
    let Some((at, (name, twin))) = parts else { return Ok(Relation::Two) };
    let (above, there) = match (pairs.nth(at + 1), own.split_at(at).0) {
        // The directory may have been entered.
        (None, _) => {
            let above = Pathname::split(path).0;
            (above.to_vec(), Pathname::join(above, twin))
        }
        (_, [b""]) => (b"/".to_vec(), both[1].to_vec()),
        (_, above) => (above.join(&b'/'), both[1].to_vec()),
    };
    let listed = names_in(client, &above, &[name, twin])?.ok();
    let shows = |name: &[u8]| listed.as_ref().is_some_and(|shown| shown.names.contains_key(name));
    // Uploading the other name may have replaced a file that kept its spelling: this one.
    let relation = match (shows(twin), shows(name)) {
        (true, true) => Relation::Two,
        (false, true) => look(client, path, &there)?,
        (_, false) => look(client, &there, path)?,
    };
    // Without a listing, the new name may have been there before.
    let is_sure = relation != Relation::One || listed.is_some() || moves;
    Ok(if is_sure { relation } else { Relation::Unclear })
}

/// Returns whether the server's file at `path` still has the time of its upload, which can be hours ago:
/// another user can have stored a file of the same size since.
fn is_still(client: &mut Client, path: &[u8], target: &MovedTarget) -> Result<bool, Error> {
    Ok(target.confirmed.told.modified.is_none()
        || target.confirmed.is_still(Origin::ask(client, path)?))
}

/// Returns the directory and the name of a target.
fn whole(place: &Place) -> (Vec<u8>, Vec<u8>) {
    let path = place.whole();
    let (directory, name) = Pathname::split(&path);
    (directory.to_vec(), name.to_vec())
}

/// Returns the wanted names in the directory of `place`, entering it if necessary. Returns `None` if
/// the server refuses the listing.
fn names_of(
    client: &mut Client,
    place: &mut Place,
    wanted: &[Vec<u8>],
) -> Result<Option<ShownNames>, Error> {
    loop {
        let error = match names_in(client, Pathname::split(place.path()).0, wanted)? {
            Ok(shown) => return Ok(Some(shown)),
            Err(error) => error,
        };
        if !place.enter(client, &error)? {
            return Ok(None);
        }
    }
}

/// Returns whether the server lists the object at `path` under exactly this name.
///
/// # Errors
///
/// Returns errors of the connection.
pub(super) fn is_shown(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    let (directory, name) = Pathname::split(path);
    let shown = names_in(client, directory, &[name])?;
    Ok(shown.is_ok_and(|shown| shown.names.contains_key(name)))
}

/// Returns the wanted names in a directory, or the server's refusal.
fn names_in(
    client: &mut Client,
    directory: &[u8],
    wanted: &[impl AsRef<[u8]>],
) -> Result<Result<ShownNames, Error>, Error> {
    let options = ListOptions { all: true, ..ListOptions::default() };
    ShownNames::list(client, directory, options, &wanted.iter().map(AsRef::as_ref).collect())
}

/// What is known of the local and of the server's file before they are compared.
pub(super) struct BothFiles<'p> {
    pub(super) here: &'p Path,
    /// Size range of the local file between two looks: it may be growing.
    pub(super) sizes: RangeInclusive<u64>,
    /// In seconds.
    pub(super) modified: i64,
    pub(super) links: u64,
    /// The path on the server, and what `SIZE` told of it.
    pub(super) there: &'p [u8],
    pub(super) told: SizeTold,
}

/// Returns whether the server's file has the last component of the local path, or of what it links to.
pub(super) fn is_named(here: &Path, there: &[u8]) -> bool {
    let (_, name) = Pathname::split(there);
    let has = |path: &Path| path.file_name().is_some_and(|own| own.as_bytes() == name);
    has(here) || has(&real_path(here))
}

/// Returns whether the local file may be the server's. Probes with a new file here, or else a new directory
/// there, and removes it: seen on the other side, it is one directory; unseen, it proves nothing, because
/// of links. Without a probe, or if the server is this computer, equal size and time count as one file
/// unless both have a single name.
///
/// # Errors
///
/// Returns errors that cost the connection. A refusal shows nothing.
pub(super) fn may_be_one(client: &mut Client, both: &BothFiles<'_>) -> Result<bool, Error> {
    let BothFiles { here, sizes, modified, links, there, told } = both;
    let is_sized = told.known().is_none_or(|told| sizes.contains(&told));
    if *told == SizeTold::Refused || !is_sized && !is_named(here, there) {
        return Ok(false);
    }
    let probed = shares_directory(client, &real_path(here), there, told.known().is_some())?;
    if probed == Some(true) || !is_sized || probed.is_some() && !client.is_near() {
        return Ok(probed == Some(true));
    }
    let time = client.modified(there).ok().flatten();
    let is_alike = time.map_or(told.known().is_some(), |time| age::is_about(time, *modified));
    // In one directory, one file has one name, too.
    let is_unknown = probed.is_none() && (time.is_some() || client.is_near());
    if !is_alike || *links > 1 || is_unknown {
        return Ok(is_alike);
    }
    // Without a time, only a listed link speaks for one file.
    Ok(is_single(client, there)?.map_or(time.is_some(), |is_single| !is_single))
}

fn real_path(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Returns whether the server's directory of `there` is that of the local file `real`; `None` if neither
/// directory takes a probe. `tells_sizes` if the server has answered `SIZE`.
fn shares_directory(
    client: &mut Client,
    real: &Path,
    there: &[u8],
    tells_sizes: bool,
) -> Result<Option<bool>, Error> {
    let (directory, _) = Pathname::split(there);
    let probed = Directory::open(parent(real)).and_then(|local| {
        with_probe(&local, |name| {
            let path = Pathname::join(directory, name);
            match client.size(&path) {
                // A listing of the directory may be long.
                Ok(None) if !tells_sizes => Ok(client.existence(&path)? == Existence::Present),
                size => size.map(|size| size == Some(0)),
            }
        })
    });
    match probed {
        Ok(Err(error)) if !client.is_settled() => Err(error),
        // A refused question shows nothing.
        Ok(shown) => Ok(shown.ok()),
        // Only the server may write there.
        Err(_) => with_remote_probe(client, directory, |name| {
            Ok(parent(real).join(OsStr::from_bytes(name)).symlink_metadata().is_ok())
        }),
    }
}

/// Returns whether a listing shows that a file has one name and is not a link; `None` if it shows neither.
fn is_single(client: &mut Client, path: &[u8]) -> Result<Option<bool>, Error> {
    let listed = answered(client.look(path, ListingForm::List))?.flatten();
    Ok(listed.and_then(|entry| match entry.is_link() {
        true => Some(false),
        false => entry.links.map(|links| links == 1),
    }))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use ftp_proto::Escaped;

    use super::*;

    #[test]
    fn only_names_like_short_ones_need_a_listing() {
        for (name, is_like) in [
            ("LONGNA~1.TXT", true),
            ("LONG~5R1.TXT", true),
            ("A~1", true),
            ("TE00~1.A", true),
            ("f~", false),
            ("main.rs~", false),
            ("LONGNAM~1.TXT", false),
            ("a.~1", false),
            ("file.txt", false),
        ] {
            assert_eq!(is_like_short(name.as_bytes()), is_like, "{name}");
        }
    }

    #[test]
    fn a_target_never_replaces_another_one_of_the_run() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (root.path().join("one"), root.path().join("other"));
        fs::create_dir(&one).unwrap();
        // As on a file system that takes two names for one.
        std::os::unix::fs::symlink("one", &other).unwrap();
        let targets = Targets::local([one.join("f"), other.join("f")]);
        let put = |path: &Path, text: &str| targets.publish(path, false, || fs::write(path, text));
        put(&one.join("f"), "first").unwrap();
        put(&one.join("f"), "first again").unwrap();
        let error = put(&other.join("f"), "second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(one.join("f")).unwrap(), b"first again");
        // What is not one file is replaced, and so is a name that differs only in case, if the
        // directory shows both.
        fs::write(one.join("F"), "old").unwrap();
        put(&one.join("F"), "new").unwrap();
        put(&one.join("g"), "third").unwrap();
        fs::hard_link(one.join("f"), one.join("h")).unwrap();
        put(&one.join("h"), "fourth").unwrap();
        // What is written in place is one file under all its names.
        for (name, is_link) in [("i", false), ("j", true)] {
            let (name, twin) = (one.join(name), one.join(format!("{name}2")));
            fs::write(&name, "old").unwrap();
            match is_link {
                true => std::os::unix::fs::symlink(&name, &twin).unwrap(),
                false => fs::hard_link(&name, &twin).unwrap(),
            }
            targets.publish(&name, true, || fs::write(&name, "first")).unwrap();
            targets.publish(&twin, true, || fs::write(&twin, "second")).unwrap_err();
            assert_eq!(fs::read(&name).unwrap(), b"first");
        }
    }

    #[test]
    fn names_that_a_server_may_store_as_one_are_twins() {
        for other in [&b"a"[..], b"A", b"a\xe9", b"\xffa", "a\u{fffd}".as_bytes()] {
            assert_eq!(twin_of(other), twin_of(b"a"), "{}", Escaped(other));
        }
        assert_ne!(twin_of(b"b"), twin_of(b"a"));
    }

    #[test]
    fn only_plain_changes_of_the_directory_tell_where_the_client_is() {
        let mut targets = Targets::default();
        for (path, directory) in [
            ("e", None),
            ("/d", Some("/d")),
            ("./e/../f/", Some("/d/f")),
            ("..", Some("/d")),
            ("~x", None),
            ("g", None),
            ("/h/", Some("/h/")),
            ("i", Some("/h/i")),
            ("C:i", None),
            ("/h", Some("/h")),
            ("\\i", None),
            ("/h", Some("/h")),
            ("", None),
        ] {
            targets.enter(path.as_bytes());
            let entered = lock(&targets.stay).entered.clone();
            assert_eq!(entered.as_deref(), directory.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn only_targets_of_one_directory_share_a_name() {
        let paths = ["in/a", "in/A", "in/b", "other/B", "other/c", "a"];
        let targets = Targets::remote(paths.map(Place::at));
        let folds = |directory: &[u8]| targets.folds_in(directory);
        assert_eq!(folds(b"in"), HashSet::from([fold(b"a")]));
        for directory in [b"other".as_slice(), b"", b"i"] {
            assert!(folds(directory).is_empty(), "{directory:?}");
        }
        // A server that replaces invalid bytes stores both as one file.
        let odd = [Place::at(b"in/\xe9"), Place::at(b"in/\xe8")];
        assert!(Targets::remote(odd.clone()).turn(&odd[0]).is_some());
        let mut targets = targets;
        targets.add(&Place::at("in/d"));
        for (path, is_several, has_turns) in
            [("in/A", true, true), ("in/b", true, false), ("in/D", true, true), ("a", false, false)]
        {
            let place = Place::at(path);
            assert_eq!(targets.are_several(&place), is_several, "{path}");
            assert_eq!(targets.turn(&place).is_some(), has_turns, "{path}");
        }
    }
}
