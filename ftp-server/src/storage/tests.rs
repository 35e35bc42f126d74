//! One contract for each storage of this crate. A failure names the storage, the promise and the call.
//! [`storage_contract`] compares random calls; here is each promise of [`Storage`], [`Source`] and
//! [`Upload`] that random calls do not meet.

use std::any::Any;
use std::io::{Read as _, Write as _};

use ftp_tests::at_once::at_once;
use ftp_tests::raw::RawSession;
use ftp_tests::wait::wait_until;
use tempfile::TempDir;

use super::StorageErrorKind as Kind;
use super::*;
use crate::auth::Rights;
#[cfg(feature = "s3")]
use crate::ledger::{SharedState, WithoutLedger};
use crate::lock::Lock;
use crate::log::{Event, EventKind, Observer, Settle};
use crate::server::Server;
use crate::testing::{restart_contract, storage_contract};

/// A storage, and what lives as long: files, a store, a ledger.
type Made = (Arc<dyn Storage>, Arc<dyn Any + Send + Sync>);

type Make = Box<dyn Fn() -> Made + Send>;

type Reopen = Box<dyn Fn(&Made) -> Arc<dyn Storage> + Send>;

/// A storage of this crate.
pub(super) struct Shipped {
    pub(super) name: &'static str,
    pub(super) make: Make,
    /// Opens a storage again after a restart of the server; `None` if a restart loses its files.
    pub(super) reopen: Option<Reopen>,
}

/// The part of a tree below one directory.
struct Below<S>(S, &'static str);

impl<S> Below<S> {
    fn path(&self, path: &VirtualPath) -> VirtualPath {
        let names = path.to_string();
        let names = self.1.split('/').chain(names.split('/')).filter(|name| !name.is_empty());
        names.fold(VirtualPath::root(), |path, name| path.join(name.as_bytes()))
    }
}

impl<S: Storage> Storage for Below<S> {
    forward_storage!(self, self.0; capabilities, confine);

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        self.0.stat(&self.path(path), ask)
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        self.0.list(&self.path(path), ask)
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        self.0.read(&self.path(path))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        self.0.write(&self.path(path), mode, keep)
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        self.0.unfinished(&self.path(path), user)
    }

    fn kept(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        self.0.kept(&self.path(path), user)
    }

    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        self.0.forget(&self.path(path), user)
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        self.0.remove(&self.path(path))
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        self.0.rmdir(&self.path(path))
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        self.0.mkdir(&self.path(path))
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        self.0.rename(&self.path(from), &self.path(to), replace)
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        self.0.set(&self.path(path), change)
    }

    fn space(&self, path: &VirtualPath, room: RoomFor) -> StorageResult<Space> {
        self.0.space(&self.path(path), room)
    }
}

fn local_at(kept: &dyn Any) -> LocalStorage {
    let root = kept.downcast_ref::<TempDir>().unwrap();
    let config = LocalConfig::new().sync(SyncPolicy::None);
    LocalStorage::open(root.path()).unwrap().configured(config).unwrap()
}

fn mounted_at(kept: &dyn Any) -> Below<MountedStorage> {
    let tree = MountedStorage::new(MemoryStorage::new());
    Below(tree.mount("/in/it", local_at(kept)).unwrap(), "in/it")
}

impl Shipped {
    /// A storage that a restart loses, with nothing else that must live as long.
    fn lost<S: Storage + 'static>(name: &'static str, make: fn() -> S) -> Self {
        Self { name, make: Box::new(move || (Arc::new(make()), Arc::new(()))), reopen: None }
    }

    /// A storage in a directory.
    fn kept<S: Storage + 'static>(name: &'static str, at: fn(&dyn Any) -> S) -> Self {
        let make: Make = Box::new(move || {
            let kept: Arc<dyn Any + Send + Sync> = Arc::new(tempfile::tempdir().unwrap());
            (Arc::new(at(&*kept)), kept)
        });
        Self { name, make, reopen: Some(Box::new(move |(_, kept)| Arc::new(at(&**kept)))) }
    }
}

/// Returns the storages of this crate, without those of a store that is another program.
fn shipped() -> Vec<Shipped> {
    let mut all = vec![
        Shipped::kept("local", local_at),
        Shipped::lost("memory", MemoryStorage::new),
        Shipped::lost("partials", || Partials::new(MemoryStorage::new())),
        Shipped::lost("root of a mounted tree", || MountedStorage::new(MemoryStorage::new())),
        Shipped::kept("mounted", mounted_at),
    ];
    #[cfg(feature = "s3")]
    all.extend(s3::tests::shipped());
    all
}

/// Returns a quota that shares its ledger with no other server.
#[cfg(feature = "s3")]
pub(super) fn with_quota(
    storage: impl Storage + 'static,
    ledger: impl crate::ledger::Ledger + 'static,
) -> (Arc<dyn Storage>, SharedState) {
    let hour = std::time::Duration::from_secs(3_600);
    let state = SharedState::start(ledger, hour, WithoutLedger::Refuse).unwrap();
    (Arc::new(state.quota(storage, "files").max_bytes(1 << 30).max_files(1_000)), state)
}

type Ended<T = ()> = Result<T, String>;

type Check = fn(&dyn Storage) -> Ended;

const ANN: Option<&[u8]> = Some(b"ann");
const BOB: Option<&[u8]> = Some(b"bob");

fn path(text: &str) -> VirtualPath {
    text.into()
}

fn ok<T>(call: &str, result: StorageResult<T>) -> Ended<T> {
    result.map_err(|error| format!("{call}: {:?}", error.kind))
}

fn fails<T>(call: &str, result: StorageResult<T>, want: Kind) -> Ended {
    match result {
        Err(error) if error.kind == want => Ok(()),
        Err(error) => Err(format!("{call}: {:?} in place of {want:?}", error.kind)),
        Ok(_) => Err(format!("{call}: Ok in place of {want:?}")),
    }
}

fn holds(call: &str, is_true: bool) -> Ended {
    if is_true { Ok(()) } else { Err(call.to_owned()) }
}

fn content_of(storage: &dyn Storage, name: &str) -> Ended<Vec<u8>> {
    let mut bytes = Vec::new();
    let call = format!("read {name}");
    let mut source = ok(&call, storage.read(&path(name)))?;
    source.read_to_end(&mut bytes).map_err(|error| format!("{call}: {error}"))?;
    holds(&format!("{call}: another size"), source.size() == bytes.len() as u64)?;
    Ok(bytes)
}

fn is(storage: &dyn Storage, name: &str, want: &[u8]) -> Ended {
    let found = content_of(storage, name)?;
    holds(&format!("read {name}: {:?}", found.escape_ascii().to_string()), found == want)
}

/// Makes the calls of a session for an upload, up to its end.
fn upload(
    storage: &dyn Storage,
    name: &str,
    mode: WriteMode,
    user: Option<&[u8]>,
    bytes: &[u8],
) -> StorageResult<Box<dyn Upload>> {
    let mut upload = storage.write(&path(name), mode, Keep::new(user, true))?;
    while !upload.prepare()? {}
    for piece in bytes.chunks(7) {
        while !upload.ready()? {}
        upload.write_all(piece)?;
    }
    Ok(upload)
}

/// Makes all calls of a session for an upload. Returns the size that the upload told.
fn put(
    storage: &dyn Storage,
    name: &str,
    mode: WriteMode,
    user: Option<&[u8]>,
    bytes: &[u8],
) -> Ended<Option<u64>> {
    let all = || {
        let mut upload = upload(storage, name, mode, user, bytes)?;
        upload.flush()?;
        while !upload.ready()? {}
        while !upload.prepare_commit()? {}
        let told = upload.published_size();
        upload.commit().map(|()| told)
    };
    ok(&format!("write {name} {mode:?}"), all())
}

fn cut(storage: &dyn Storage, name: &str, bytes: &[u8], end: StreamEnd) -> Ended {
    let begun = upload(storage, name, WriteMode::Replace, ANN, bytes);
    ok(&format!("write {name} Replace, {end:?}"), begun)?.abort(end);
    Ok(())
}

fn record(storage: &dyn Storage, name: &str, user: Option<&[u8]>) -> Ended<Option<Unfinished>> {
    ok(&format!("unfinished {name}"), storage.unfinished(&path(name), user))
}

/// Returns each entry of a directory: its name, kind, size, and for a file its time.
fn entries(storage: &dyn Storage, name: &str) -> Ended<Vec<(String, EntryKind, u64, i64)>> {
    let call = format!("list {name}");
    let mut all = Vec::new();
    for entry in ok(&call, storage.list(&path(name), Ask::Facts))? {
        let Entry { name, metadata, .. } = ok(&call, entry)?;
        let is_file = metadata.kind == EntryKind::File;
        let facts = if is_file { (metadata.size, metadata.modified) } else { (0, 0) };
        all.push((String::from_utf8_lossy(&name).into_owned(), metadata.kind, facts.0, facts.1));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

fn an_upload_is_seen_only_at_its_end(storage: &dyn Storage) -> Ended {
    put(storage, "/f", WriteMode::Create, ANN, b"old")?;
    let replacing = ok("write", upload(storage, "/f", WriteMode::Replace, ANN, b"the new one"))?;
    let creating = ok("write", upload(storage, "/n", WriteMode::Create, ANN, b"new"))?;
    is(storage, "/f", b"old")?;
    fails("stat /n during its upload", storage.stat(&path("/n"), Ask::Facts), Kind::NotFound)?;
    fails("read /n during its upload", storage.read(&path("/n")), Kind::NotFound)?;
    let listed = entries(storage, "/")?;
    holds(&format!("list /: {listed:?} during uploads"), listed.len() == 1 && listed[0].2 == 3)?;
    ok("commit of /f", replacing.commit())?;
    ok("commit of /n", creating.commit())?;
    is(storage, "/f", b"the new one")?;
    is(storage, "/n", b"new")
}

fn an_upload_tells_its_size(storage: &dyn Storage) -> Ended {
    let modes: [(WriteMode, &[u8]); 4] = [
        (WriteMode::Create, b"0123456789"),
        (WriteMode::Append, b"0123456789and more"),
        (WriteMode::From(3), b"012and more"),
        (WriteMode::Replace, b"and more"),
    ];
    for (mode, want) in modes {
        let sent = if mode == WriteMode::Create { want } else { &b"and more"[..] };
        let told = put(storage, "/f", mode, ANN, sent)?;
        is(storage, "/f", want)?;
        let size = ok("stat /f", storage.stat(&path("/f"), Ask::Facts))?.size;
        let call = format!("published_size {mode:?}: {told:?}, stat: {size}");
        holds(&call, size == want.len() as u64 && told.is_none_or(|told| told == size))?;
    }
    Ok(())
}

fn each_end_leaves_its_record(storage: &dyn Storage) -> Ended {
    put(storage, "/f", WriteMode::Create, ANN, b"old")?;
    for (end, leaves) in
        [(StreamEnd::Refused, false), (StreamEnd::Failed, true), (StreamEnd::Cut, true)]
    {
        let bytes: &[u8] = if end == StreamEnd::Refused { b"" } else { b"0123456789" };
        cut(storage, "/f", bytes, end)?;
        let found = record(storage, "/f", ANN)?;
        holds(&format!("unfinished /f after {end:?}: {found:?}"), found.is_some() == leaves)?;
        let most = if end == StreamEnd::Cut { 10 } else { 0 };
        let kept = found.map_or(0, |found| found.kept);
        holds(&format!("unfinished /f after {end:?}: {kept} bytes"), kept <= most)?;
        is(storage, "/f", b"old")?;
    }
    drop(ok("write /g", upload(storage, "/g", WriteMode::Create, ANN, b"0123456789"))?);
    let found = record(storage, "/g", ANN)?;
    holds("unfinished /g: None after an upload was dropped", found.is_some())?;
    fails(
        "stat /g after its upload was dropped",
        storage.stat(&path("/g"), Ask::Facts),
        Kind::NotFound,
    )?;
    let found = record(storage, "/none/f", ANN);
    holds(&format!("unfinished /none/f: {found:?}"), found == Ok(None))
}

fn a_running_upload_is_known(storage: &dyn Storage) -> Ended {
    put(storage, "/f", WriteMode::Create, ANN, b"old")?;
    let running = ok("write /f", upload(storage, "/f", WriteMode::Replace, ANN, b"0123456789"))?;
    let found = record(storage, "/f", ANN)?;
    let call = format!("unfinished /f during an upload: {found:?}");
    holds(&call, found.is_some_and(|found| found.is_running))?;
    for other in [BOB, None] {
        let found = record(storage, "/f", other)?;
        holds(&format!("unfinished /f of another user: {found:?}"), found.is_none())?;
        let found = ok("forget /f", storage.forget(&path("/f"), other))?;
        holds(&format!("forget /f of another user: {found:?}"), found.is_none())?;
    }
    running.abort(StreamEnd::Cut);
    let found = record(storage, "/f", ANN)?;
    holds(&format!("unfinished /f of an upload that ran: {found:?}"), found.is_some())
}

fn a_running_upload_to_a_new_name_can_be_forgotten(storage: &dyn Storage) -> Ended {
    let running = ok("write /n", upload(storage, "/n", WriteMode::Create, ANN, b"0123456789"))?;
    let found = ok("forget /n", storage.forget(&path("/n"), ANN))?;
    holds(&format!("forget /n during an upload: {found:?}"), found.is_some())?;
    running.abort(StreamEnd::Cut);
    let found = record(storage, "/n", ANN)?;
    holds(&format!("unfinished /n of a forgotten upload: {found:?}"), found.is_none())
}

/// `DELE` asks for this first, and may then fail: the old file stays, with which the upload must not be
/// joined.
fn a_running_upload_over_a_file_keeps_its_record(storage: &dyn Storage) -> Ended {
    put(storage, "/f", WriteMode::Create, ANN, b"old")?;
    let running = ok("write /f", upload(storage, "/f", WriteMode::Replace, ANN, b"0123456789"))?;
    ok("forget /f", storage.forget(&path("/f"), ANN))?;
    running.abort(StreamEnd::Cut);
    let found = record(storage, "/f", ANN)?;
    holds("unfinished /f: None after forget during an upload over it", found.is_some())
}

fn a_record_ends_with_its_file(storage: &dyn Storage) -> Ended {
    let ends: [(&str, Check); 4] = [
        ("an upload of another user", |it| {
            put(it, "/f", WriteMode::Replace, BOB, b"his").map(drop)
        }),
        ("remove /f", |it| ok("remove /f", it.remove(&path("/f")))),
        ("rename /f /g", |it| ok("rename /f /g", it.rename(&path("/f"), &path("/g"), true))),
        ("rename /g /f", |it| ok("rename /g /f", it.rename(&path("/g"), &path("/f"), true))),
    ];
    for (call, end) in ends {
        put(storage, "/f", WriteMode::Replace, ANN, b"old")?;
        put(storage, "/g", WriteMode::Replace, ANN, b"other")?;
        cut(storage, "/f", b"0123456789", StreamEnd::Cut)?;
        holds(&format!("before {call}: no record"), record(storage, "/f", ANN)?.is_some())?;
        end(storage)?;
        let found = record(storage, "/f", ANN)?;
        holds(&format!("unfinished /f after {call}: {found:?}"), found.is_none())?;
    }
    Ok(())
}

fn an_upload_after_old_bytes_replaces_no_newer_file(storage: &dyn Storage) -> Ended {
    put(storage, "/f", WriteMode::Create, ANN, b"old content")?;
    let begun = ok("write /f From(4)", upload(storage, "/f", WriteMode::From(4), ANN, b"more"))?;
    put(storage, "/f", WriteMode::Replace, BOB, b"newer")?;
    fails("commit of From(4) over a newer file", begun.commit(), Kind::Busy)?;
    is(storage, "/f", b"newer")?;
    let begun = ok("write /n Create", upload(storage, "/n", WriteMode::Create, ANN, b"one"))?;
    put(storage, "/n", WriteMode::Create, BOB, b"newer")?;
    fails("commit of Create over a newer file", begun.commit(), Kind::Exists)?;
    is(storage, "/n", b"newer")
}

fn listings_and_stat_agree(storage: &dyn Storage) -> Ended {
    ok("mkdir /d", storage.mkdir(&path("/d")))?;
    for name in ["/f", "/d/g"] {
        put(storage, name, WriteMode::Create, ANN, name.as_bytes())?;
    }
    for directory in ["/", "/d"] {
        for (name, kind, size, modified) in entries(storage, directory)? {
            let full = path(directory).join(name.as_bytes());
            let found = ok(&format!("stat {full}"), storage.stat(&full, Ask::Facts))?;
            let is_same = found.kind == kind
                && (kind != EntryKind::File || (found.size, found.modified) == (size, modified));
            holds(
                &format!("list {directory}, {name}: {size} {modified}, stat {found:?}"),
                is_same,
            )?;
        }
    }
    fails("list of a file", storage.list(&path("/f"), Ask::Facts), Kind::NotDirectory)?;
    fails("list of nothing", storage.list(&path("/none"), Ask::Facts), Kind::NotFound)
}

fn attributes_are_told_as_stored(storage: &dyn Storage) -> Ended {
    let set = |name: &str, change| storage.set(&path(name), change);
    let can = |ability| storage.capabilities().contains(ability);
    put(storage, "/f", WriteMode::Create, ANN, b"content")?;
    let time = Change::Modified(938_565_235);
    match can(Capabilities::SET_TIMES) {
        true => {
            let told = ok("set /f Modified", set("/f", time))?.modified;
            let found = ok("stat /f", storage.stat(&path("/f"), Ask::Facts))?.modified;
            let listed = entries(storage, "/")?[0].3;
            let call = format!("set /f Modified: told {told}, stat {found}, list {listed}");
            holds(&call, [told, found, listed] == [938_565_235; 3])?;
            is(storage, "/f", b"content")?;
            fails("set /none Modified", set("/none", time), Kind::NotFound)?;
        }
        false => fails("set /f Modified", set("/f", time), Kind::Unsupported)?,
    }
    match can(Capabilities::CHMOD) {
        true => {
            let told = ok("set /f Mode", set("/f", Change::Mode(0o640)))?.mode;
            let found = ok("stat /f", storage.stat(&path("/f"), Ask::Facts))?.mode;
            holds(&format!("set /f Mode: told {told:o}, stat {found:o}"), told == found)?;
            fails("set /none Mode", set("/none", Change::Mode(0o640)), Kind::NotFound)
        }
        false => fails("set /f Mode", set("/f", Change::Mode(0o640)), Kind::Unsupported),
    }
}

fn space_is_told(storage: &dyn Storage) -> Ended {
    let space = |room| ok(&format!("space / {room:?}"), storage.space(&path("/"), room));
    for room in [RoomFor::New(1), RoomFor::More(0)] {
        space(room)?;
    }
    if storage.capabilities().contains(Capabilities::QUOTA) {
        wait_until("the usage is known", || {
            let asked = storage.space(&path("/"), RoomFor::User);
            asked.err().is_none_or(|error| error.kind != Kind::Busy)
        });
        space(RoomFor::User)?;
    }
    Ok(())
}

fn a_refused_call_changes_nothing(storage: &dyn Storage) -> Ended {
    ok("mkdir /d", storage.mkdir(&path("/d")))?;
    for name in ["/f", "/g", "/d/x"] {
        put(storage, name, WriteMode::Create, ANN, name.as_bytes())?;
    }
    let write = |name: &str, mode| storage.write(&path(name), mode, Keep::Bytes(b"ann"));
    let rename = |from: &str, to: &str, replaces| storage.rename(&path(from), &path(to), replaces);
    let before = (entries(storage, "/")?, entries(storage, "/d")?);
    let fact = Ask::Facts;
    fails("stat /none", storage.stat(&path("/none"), fact), Kind::NotFound)?;
    fails("stat /none/x", storage.stat(&path("/none/x"), fact), Kind::NotFound)?;
    fails("read /none", storage.read(&path("/none")), Kind::NotFound)?;
    fails("read /d", storage.read(&path("/d")), Kind::IsDirectory)?;
    fails("remove /none", storage.remove(&path("/none")), Kind::NotFound)?;
    fails("remove /d", storage.remove(&path("/d")), Kind::IsDirectory)?;
    fails("rmdir /none", storage.rmdir(&path("/none")), Kind::NotFound)?;
    fails("rmdir /f", storage.rmdir(&path("/f")), Kind::NotDirectory)?;
    fails("rmdir /d", storage.rmdir(&path("/d")), Kind::NotEmpty)?;
    fails("mkdir /d", storage.mkdir(&path("/d")), Kind::Exists)?;
    fails("mkdir /f", storage.mkdir(&path("/f")), Kind::Exists)?;
    fails("mkdir /none/d", storage.mkdir(&path("/none/d")), Kind::NotFound)?;
    fails("rename /none /n", rename("/none", "/n", true), Kind::NotFound)?;
    fails("rename /f /g, replace: false", rename("/f", "/g", false), Kind::Exists)?;
    fails("rename /f /d", rename("/f", "/d", true), Kind::IsDirectory)?;
    fails("rename /f /none/f", rename("/f", "/none/f", true), Kind::NotFound)?;
    fails("rename / /n", rename("/", "/n", true), Kind::Denied).or_else(|told| {
        // The directory of a mount point is not its root.
        if told.contains("CrossesMounts") || told.contains("Fixed") { Ok(()) } else { Err(told) }
    })?;
    fails("write /d Replace", write("/d", WriteMode::Replace), Kind::IsDirectory)?;
    fails("write /none/f Create", write("/none/f", WriteMode::Create), Kind::NotFound)?;
    fails("write /f Create", write("/f", WriteMode::Create), Kind::Exists)?;
    fails("write /f From(3)", write("/f", WriteMode::From(3)), Kind::BadRestart)?;
    fails("write /none From(1)", write("/none", WriteMode::From(1)), Kind::BadRestart)?;
    fails("write /f Resume(1)", write("/f", WriteMode::Resume(1)), Kind::BadRestart)?;
    let mut source = ok("read /f", storage.read(&path("/f")))?;
    fails("seek_to 3 in /f", source.seek_to(3), Kind::BadRestart)?;
    ok("seek_to 2 in /f", source.seek_to(2))?;
    let after = (entries(storage, "/")?, entries(storage, "/d")?);
    holds(&format!("list: {after:?} in place of {before:?}"), before == after)?;
    ["/f", "/g", "/d/x"].into_iter().try_for_each(|name| is(storage, name, name.as_bytes()))
}

fn a_rename_moves_all(storage: &dyn Storage) -> Ended {
    put(storage, "/f", WriteMode::Create, ANN, b"one")?;
    put(storage, "/g", WriteMode::Create, ANN, b"other")?;
    ok("rename /f /g", storage.rename(&path("/f"), &path("/g"), true))?;
    is(storage, "/g", b"one")?;
    for name in ["/d", "/d/e"] {
        ok("mkdir", storage.mkdir(&path(name)))?;
    }
    put(storage, "/d/e/x", WriteMode::Create, ANN, b"deep")?;
    match storage.rename(&path("/d"), &path("/n"), false) {
        Err(error) if error.kind == Kind::Unsupported => return is(storage, "/d/e/x", b"deep"),
        moved => ok("rename /d /n", moved)?,
    }
    is(storage, "/n/e/x", b"deep")?;
    fails("stat /d after its rename", storage.stat(&path("/d"), Ask::Facts), Kind::NotFound)?;
    fails("stat /f after its rename", storage.stat(&path("/f"), Ask::Facts), Kind::NotFound)?;
    let names: Vec<_> = entries(storage, "/")?.into_iter().map(|entry| entry.0).collect();
    holds(&format!("list /: {names:?}"), names == ["g", "n"])
}

/// The promises, each with a new storage.
const PROMISES: [(&str, Check); 13] = [
    ("an upload is seen only at its end", an_upload_is_seen_only_at_its_end),
    ("an upload tells its size", an_upload_tells_its_size),
    ("each end leaves its record", each_end_leaves_its_record),
    ("a running upload is known", a_running_upload_is_known),
    ("a running upload is forgotten", a_running_upload_to_a_new_name_can_be_forgotten),
    ("a running upload keeps its record", a_running_upload_over_a_file_keeps_its_record),
    ("a record ends with its file", a_record_ends_with_its_file),
    ("no newer file is replaced", an_upload_after_old_bytes_replaces_no_newer_file),
    ("listings and stat agree", listings_and_stat_agree),
    ("attributes are told as stored", attributes_are_told_as_stored),
    ("space is told", space_is_told),
    ("a refused call changes nothing", a_refused_call_changes_nothing),
    ("a rename moves all", a_rename_moves_all),
];

impl Shipped {
    /// Returns the broken promises of new storages: of each call, of random calls with this number of
    /// seeds, and of a restart.
    pub(super) fn broken(&self, seeds: u64) -> Vec<String> {
        let Self { name, make, reopen } = self;
        let check = |(promise, check): &(&str, Check)| {
            let (storage, _kept) = make();
            check(&*storage).err().map(|call| format!("{promise}: {call}"))
        };
        let mut found: Vec<_> = PROMISES.iter().filter_map(check).collect();
        found.extend(storage_contract(1..=seeds, make).err());
        if let Some(reopen) = reopen {
            let make = || {
                let made = make();
                (Arc::clone(&made.0), made)
            };
            found.extend(restart_contract(make, reopen).err());
        }
        found.into_iter().map(|told| format!("{name}: {told}")).collect()
    }
}

#[test]
fn each_storage_of_this_crate_keeps_each_promise_fs_12_fs_15_fs_16_cm_105_cm_107() {
    let all = at_once(4, shipped(), |storage| storage.broken(10)).concat();
    assert!(all.is_empty(), "{} broken promises:\n{}", all.len(), all.join("\n"));
}

/// What an observer is told of uploads and changes, in order.
#[derive(Clone, Default)]
struct Told(Arc<Lock<Vec<String>>>);

impl Told {
    fn add(&self, word: &str) {
        self.0.lock().push(word.to_owned());
    }
}

impl Observer for Told {
    fn observe(&self, event: &Event<'_>) {
        match event.kind {
            EventKind::Transferred(transfer) => self.add(transfer.end.as_str()),
            EventKind::Deleted { .. } => self.add("deleted"),
            EventKind::DirectoryMade { .. } => self.add("directory made"),
            EventKind::DirectoryRemoved { .. } => self.add("directory removed"),
            EventKind::Renamed { .. } => self.add("renamed"),
            EventKind::CommandRefused { .. } => self.add("refused"),
            _ => {}
        }
    }

    fn before_publication(&self, _: &Event<'_>, _: Option<(u64, u64)>) -> Option<Settle> {
        self.add("announced");
        let told = self.clone();
        Some(Box::new(move |is_made| told.add(if is_made { "made" } else { "withdrawn" })))
    }
}

impl Shipped {
    pub(super) fn tells_each_change_once(&self) {
        let Self { name, make, .. } = self;
        let (storage, _kept) = make();
        let told = Told::default();
        let builder = Server::builder().storage(storage).observer(told.clone());
        let server = builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap();
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        let steps: [(&str, &[u8], &[&str]); 11] = [
            ("STOR f", b"one", &["announced", "made", "fin"]),
            ("STOR f", b"other", &["announced", "made", "fin"]),
            ("APPE f", b"more", &["announced", "made", "fin"]),
            ("STOR none/f", b"none", &["refused"]),
            ("MKD d", b"", &["directory made"]),
            ("MKD d", b"", &["refused"]),
            ("RMD d", b"", &["directory removed"]),
            ("RNFR f", b"", &[]),
            ("RNTO g", b"", &["renamed"]),
            ("DELE g", b"", &["deleted"]),
            ("DELE g", b"", &["refused"]),
        ];
        for (line, sent, want) in steps {
            told.0.lock().clear();
            let code = if sent.is_empty() {
                session.ask(line).code
            } else {
                let data = session.passive();
                session.line(line);
                let _ = data.stream().write_all(sent);
                data.close();
                let first = session.reply().code;
                if first == 150 { session.reply().code } else { first }
            };
            let is_refused = want == ["refused"];
            assert_eq!(code >= 400, is_refused, "{name}: {line}: {}", session.dialogue());
            wait_until(&format!("{name}: {line}"), || told.0.lock().len() >= want.len());
            // Whatever else it is told would come before the reply to the next command.
            session.expect("NOOP", 200);
            assert_eq!(*told.0.lock(), want, "{name}: {line}");
        }
    }
}

#[test]
fn each_change_of_each_storage_is_told_once_st_15() {
    shipped().iter().for_each(Shipped::tells_each_change_once);
}
