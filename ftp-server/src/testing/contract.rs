//! What sessions expect of a storage, as tests for anyone who implements [`Storage`].

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::storage::{
    Ask, EntryKind, Keep, MemoryStorage, Metadata, Storage, StorageErrorKind as Kind,
    StorageResult, StreamEnd, Unfinished, VirtualPath, WriteMode, check_directory,
};

/// Paths of the random calls. They are few, so that calls often concern the same object.
const PATHS: [&str; 10] = ["/", "/a", "/b", "/d", "/d/a", "/d/b", "/d/e", "/d/e/a", "/e", "/a/b"];

/// Number of random calls with one seed.
const CALLS: usize = 60;

/// Number of writers in [`racing`], number of uploads of each, and their length in bytes.
const WRITERS: u8 = 4;
const UPLOADS: usize = 20;
const LENGTH: usize = 10_000;

/// Time after which the writers in [`racing`] begin no further upload. Uploads of one name take turns
/// in a store, a fifth of a second each.
const RACE: Duration = Duration::from_secs(2);

/// The longest pause between two looks of a reader in [`racing`].
const LOOK: Duration = Duration::from_millis(20);

/// Pseudorandom numbers, the same in each run.
#[derive(Clone)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    #[expect(clippy::indexing_slicing, reason = "the remainder is less than the length")]
    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        of[usize::try_from(self.0 >> 33).unwrap_or_default() % of.len()]
    }
}

/// Cuts an upload over an existing file, and checks that the storage remembers this, and that its
/// user resumes only the new file. Then makes the same random calls to a storage and to a
/// [`MemoryStorage`], and compares the results: uploads that end in every way, resumed uploads,
/// listings, removals and renames. `make` returns a new, empty storage for each of the `seeds`, and
/// a value that must live as long as the storage, such as its temporary directory; otherwise `()`.
///
/// Then lets several sessions use one name of another new storage at the same time: four threads
/// replace a file, others read it, list its directory, and create another name. Each reader must see
/// one whole upload, the name must never be missing, one of the creators must win, and no other file
/// may be left.
///
/// An optional call that the storage does not support is made to neither. A storage that keeps no
/// bytes of unfinished uploads, but a record of each, is tested without bytes. Times, modes and the
/// order of listings are not compared, nor which of several errors a rename reports.
///
/// # Errors
///
/// Returns the first difference, with its seed and call, or the first broken expectation.
///
/// ```
/// use ftp_server::{MemoryStorage, testing};
///
/// testing::storage_contract(1..=20, || (MemoryStorage::new(), ()))?;
/// # Ok::<(), String>(())
/// ```
pub fn storage_contract<S: Storage, K>(
    seeds: impl IntoIterator<Item = u64>,
    make: impl Fn() -> (S, K),
) -> Result<(), String> {
    let (storage, _kept) = make();
    cut(&storage)?;
    let keeps_bytes = resume(&storage)?;
    for seed in seeds {
        let (storage, _kept) = make();
        let memory = MemoryStorage::new();
        let mut numbers = Numbers(seed);
        for call in 0..CALLS {
            let mut same = numbers.clone();
            let (name, got) = act(&storage, keeps_bytes, &mut numbers);
            if got == Err(Kind::Unsupported) {
                continue;
            }
            let (_, want) = act(&memory, keeps_bytes, &mut same);
            if got != want {
                return Err(format!(
                    "seed {seed}, call {call}, {name}: {got:?} in place of {want:?}"
                ));
            }
        }
    }
    let (storage, _kept) = make();
    racing(&storage)
}

/// Cuts an upload over an existing file, and checks that the storage remembers this after a restart
/// of the server. `make` is the argument of [`storage_contract`]; `reopen` returns the storage again,
/// after the first one was dropped.
///
/// A storage that forgets its records lets a client join two files after a restart. This applies to
/// [`Partials`](crate::Partials), unless the files are lost in a restart too.
///
/// # Errors
///
/// Returns the first broken expectation.
///
/// ```
/// use ftp_server::{LocalStorage, testing};
///
/// let open = |root: &tempfile::TempDir| LocalStorage::open(root.path()).expect("a storage");
/// let make = || {
///     let root = tempfile::tempdir().expect("a directory");
///     (open(&root), root)
/// };
/// testing::restart_contract(make, open)?;
/// # Ok::<(), String>(())
/// ```
pub fn restart_contract<S: Storage, K>(
    make: impl Fn() -> (S, K),
    reopen: impl Fn(&K) -> S,
) -> Result<(), String> {
    let (storage, kept) = make();
    cut(&storage)?;
    drop(storage);
    resume(&reopen(&kept)).map(drop).map_err(|broken| format!("after a restart, {broken}"))
}

/// The user of interrupted uploads.
const ANN: Option<&[u8]> = Some(b"ann");

/// The file of [`cut`], its content, and that of the upload.
const FILE: &str = "/f";
const OLD: &[u8] = b"the old content";
const NEW: &[u8] = b"THE NEW CONTENT, which is longer than the old one";

/// Number of bytes that arrive before the upload is cut.
const CUT: usize = 10;

/// Stores a file, and begins an upload over it that is cut.
fn cut(storage: &dyn Storage) -> Result<(), String> {
    let first = NEW.get(..CUT).unwrap_or_default();
    put(storage, WriteMode::Create, OLD, None)?;
    put(storage, WriteMode::Replace, first, Some(StreamEnd::Cut))?;
    check(storage, OLD)
}

/// Checks that the upload of [`cut`] is remembered, and resumes it as a client does that appends.
/// Returns whether its bytes were kept.
fn resume(storage: &dyn Storage) -> Result<bool, String> {
    check(storage, OLD)?;
    let ask = |user: Option<&[u8]>| {
        let call = format!("unfinished {FILE} of {}", name_of(user));
        match storage.unfinished(&FILE.into(), user) {
            Ok(found) => Ok((call, found)),
            Err(error) => Err(format!("{call}: {:?}", error.kind)),
        }
    };
    let others = [ask(None)?, ask(Some(b"bob"))?];
    if let Some((call, _)) = others.iter().find(|(_, it)| it.is_some_and(|it| !it.is_unknown)) {
        return Err(format!("{call}: the record of another user"));
    }
    let kept = match ask(ANN)? {
        (call, None) => {
            let then = "a client that resumes its upload would append it to the old file";
            return Err(format!("{call}: None after an upload was cut; {then}"));
        }
        (call, Some(found)) if found.is_running || found.kept > CUT as u64 => {
            return Err(format!("{call}: {found:?} after an upload was cut at {CUT} bytes"));
        }
        (_, Some(found)) => usize::try_from(found.kept).unwrap_or_default(),
    };
    for (user, most) in [(ANN, kept), (None, 0), (Some(b"bob"), 0)] {
        let call = format!("kept {FILE} of {}", name_of(user));
        let mut bytes = Vec::new();
        let read = match storage.kept(&FILE.into(), user) {
            Ok(mut source) => Ok(source.read_to_end(&mut bytes).is_ok_and(|count| count <= most)),
            Err(error) if error.kind == Kind::NotFound => Ok(true),
            Err(error) => Err(error),
        };
        let is_own = NEW.starts_with(&bytes);
        if !read.map_err(|error| format!("{call}: {:?}", error.kind))? || !is_own {
            return Err(format!("{call}: {:?}", bytes.escape_ascii().to_string()));
        }
    }
    // `SIZE` tells a client one byte less than was kept.
    match kept.checked_sub(1) {
        Some(at) => {
            put(storage, WriteMode::Resume(at as u64), NEW.get(at..).unwrap_or_default(), None)?;
        }
        None if put(storage, WriteMode::Resume(1), NEW, None).is_ok() => {
            return Err(format!("write {FILE} Resume(1): Ok, although no byte was kept"));
        }
        None => put(storage, WriteMode::Replace, NEW, None)?,
    }
    check(storage, NEW)?;
    match ask(ANN)? {
        (call, Some(found)) if !found.is_unknown => {
            Err(format!("{call}: {found:?} after an upload was complete"))
        }
        _ => Ok(kept > 0),
    }
}

fn name_of(user: Option<&[u8]>) -> String {
    user.map_or("shared logins".to_owned(), |user| user.escape_ascii().to_string())
}

/// Makes an upload of ann to the file of [`cut`].
fn put(
    storage: &dyn Storage,
    mode: WriteMode,
    content: &[u8],
    end: Option<StreamEnd>,
) -> Result<(), String> {
    let sent = send(storage, &FILE.into(), mode, Keep::Bytes(b"ann"), content, end);
    sent.map_err(|error| format!("write {FILE} {mode:?}: {:?}", error.kind))
}

/// Checks the content of the file of [`cut`].
fn check(storage: &dyn Storage, want: &[u8]) -> Result<(), String> {
    let mut content = Vec::new();
    let read = storage.read(&FILE.into()).and_then(|mut file| Ok(file.read_to_end(&mut content)?));
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match read {
        Ok(_) if content == want => Ok(()),
        Ok(_) => Err(format!("read {FILE}: {:?} in place of {:?}", shown(&content), shown(want))),
        Err(error) => Err(format!("read {FILE}: {:?} in place of {:?}", error.kind, shown(want))),
    }
}

/// Makes an upload that ends like this; `None` if it is complete.
fn send(
    storage: &dyn Storage,
    path: &VirtualPath,
    mode: WriteMode,
    keep: Keep<'_>,
    content: &[u8],
    end: Option<StreamEnd>,
) -> StorageResult<()> {
    let mut upload = storage.write(path, mode, keep)?;
    upload.write_all(content)?;
    match end {
        None => upload.commit(),
        Some(end) => {
            upload.abort(end);
            Ok(())
        }
    }
}

/// Returns the result of a call, without values that differ between any two storages.
fn outcome<T>(result: StorageResult<T>, shown: impl FnOnce(T) -> String) -> Result<String, Kind> {
    result.map(shown).map_err(|error| error.kind)
}

fn facts(metadata: &Metadata) -> String {
    match metadata.kind {
        EntryKind::File => format!("file {}", metadata.size),
        other => format!("{other:?}"),
    }
}

fn shown(found: Option<Unfinished>) -> String {
    let found = found.filter(|found| !found.is_unknown);
    found.map_or_else(|| "none".to_owned(), |found| format!("{} {}", found.kept, found.is_running))
}

/// Makes `Unsupported` a difference.
fn required(outcome: Result<String, Kind>) -> Result<String, Kind> {
    outcome.map_err(|kind| if kind == Kind::Unsupported { Kind::Io } else { kind })
}

/// Makes one random call. Returns its name and its result.
fn act(
    storage: &dyn Storage,
    keeps_bytes: bool,
    numbers: &mut Numbers,
) -> (String, Result<String, Kind>) {
    let (one, other) = (numbers.one_of(&PATHS).into(), numbers.one_of(&PATHS).into());
    let nothing = |()| String::new();
    let (name, outcome) = match numbers.one_of(&[0, 1, 2, 3, 4, 4, 4, 4, 4, 5, 6, 7, 8, 9, 10]) {
        0 => {
            let found = outcome(storage.stat(&one, Ask::Facts), |metadata| facts(&metadata));
            ("stat", required(found))
        }
        1 => ("stat as a directory", outcome(check_directory(storage, &one), nothing)),
        2 => ("list", required(outcome(list_twice(storage, &one), |lines| lines.join("\n")))),
        3 => ("read", required(outcome(read(storage, &one, numbers.one_of(&[0, 2, 9])), |it| it))),
        4 => return upload(storage, &one, keeps_bytes, numbers),
        5 => ("unfinished", required(outcome(storage.unfinished(&one, ANN), shown))),
        6 => ("remove", outcome(storage.remove(&one), nothing)),
        7 => ("rmdir", outcome(storage.rmdir(&one), nothing)),
        8 => ("mkdir", outcome(storage.mkdir(&one), nothing).map_err(missing_parent)),
        9 => ("forget", required(outcome(storage.forget(&one, ANN), shown))),
        _ => {
            let replaces = numbers.one_of(&[true, false]);
            let renamed = match storage.rename(&one, &other, replaces).map_err(|error| error.kind) {
                Ok(()) => Ok("renamed".to_owned()),
                Err(Kind::Unsupported) => Err(Kind::Unsupported),
                // Which of several errors is reported depends on the order of the checks.
                Err(_) => Ok("not renamed".to_owned()),
            };
            return (format!("rename {one} to {other}, replace: {replaces}"), renamed);
        }
    };
    (format!("{name} {one}"), outcome)
}

fn list(storage: &dyn Storage, path: &VirtualPath) -> StorageResult<Vec<String>> {
    let mut lines = Vec::new();
    for entry in storage.list(path, Ask::Facts)? {
        let entry = entry?;
        lines.push(format!("{} {}", entry.name.escape_ascii(), facts(&entry.metadata)));
    }
    lines.sort();
    Ok(lines)
}

/// Returns the lines of a directory, if a listing of names only has the same names.
fn list_twice(storage: &dyn Storage, path: &VirtualPath) -> StorageResult<Vec<String>> {
    let lines = list(storage, path)?;
    let named: Result<Vec<_>, _> = storage.list(path, Ask::Names)?.collect();
    let mut names: Vec<_> = named?.iter().map(|it| it.name.escape_ascii().to_string()).collect();
    names.sort();
    let is_same = names.len() == lines.len()
        && names.iter().zip(&lines).all(|(name, line)| line.starts_with(&format!("{name} ")));
    if is_same { Ok(lines) } else { Err(Kind::Io.into()) }
}

fn read(storage: &dyn Storage, path: &VirtualPath, offset: u64) -> StorageResult<String> {
    let mut source = storage.read(path)?;
    let mut content = Vec::new();
    let sought = source.seek_to(offset).map_err(|error| error.kind);
    source.read_to_end(&mut content)?;
    Ok(format!("{} {sought:?} {content:?}", source.size()))
}

/// Begins a random upload, and ends it in a random way. Returns the call and its result.
fn upload(
    storage: &dyn Storage,
    path: &VirtualPath,
    keeps_bytes: bool,
    numbers: &mut Numbers,
) -> (String, Result<String, Kind>) {
    let from = numbers.one_of(&[1, 3, 4, 7]);
    let mode = numbers.one_of(&[
        WriteMode::Create,
        WriteMode::Replace,
        WriteMode::Append,
        WriteMode::From(from),
        WriteMode::Resume(from),
    ]);
    let content = numbers.one_of(&[&b""[..], b"x", b"abc", b"0123456"]);
    let user = numbers.one_of(&[None, ANN, Some(b"bob")]);
    let (cut, failed) = (Some(StreamEnd::Cut), Some(StreamEnd::Failed));
    let end = numbers.one_of(&[None, None, cut, cut, failed]);
    let keep = Keep::new(user, keeps_bytes);
    let sent = send(storage, path, mode, keep, content, end);
    let ended = end.map_or("complete".to_owned(), |end| format!("{end:?}"));
    let (name, length) = (name_of(user), content.len());
    let call = format!("write {path} {mode:?} of {name}, {length} bytes, {ended}");
    (call, outcome(sent, |()| "stored".to_owned()).map_err(missing_parent))
}

/// Makes one error of two for a file in the place of the parent directory.
fn missing_parent(kind: Kind) -> Kind {
    if kind == Kind::NotDirectory { Kind::NotFound } else { kind }
}

/// Lets several sessions use one name of an empty storage at the same time.
///
/// # Errors
///
/// Returns the first broken expectation.
pub(crate) fn racing(storage: &dyn Storage) -> Result<(), String> {
    let (file, only) = (VirtualPath::from("/f"), VirtualPath::from("/only"));
    let replace = |error| format!("write /f Replace: {error}");
    store(storage, &file, WriteMode::Replace, 0).map_err(replace)?;
    let (is_over, end) = (AtomicBool::new(false), Instant::now() + RACE);
    let outcomes = thread::scope(|scope| {
        let write = |writer: u8| {
            let created = store(storage, &only, WriteMode::Create, writer);
            for upload in 0..UPLOADS {
                if upload > 0 && Instant::now() >= end {
                    break;
                }
                match store(storage, &file, WriteMode::Replace, writer) {
                    Err(error) if error.kind != Kind::Busy => return Err(replace(error)),
                    _ => {}
                }
            }
            match created.map_err(|error| error.kind) {
                Ok(()) => Ok(1),
                Err(Kind::Exists | Kind::Busy) => Ok(0),
                Err(kind) => Err(format!("write /only Create: {kind}")),
            }
        };
        let watch = || {
            while !is_over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                check_whole(storage, &file)?;
                let names = list(storage, &VirtualPath::root());
                let names = names.map_err(|error| format!("list /: {error}"))?;
                if !names.iter().any(|line| line.starts_with("f ")) {
                    return Err("list /: without /f, which is being replaced".to_owned());
                }
                // The writers need the processors too.
                thread::sleep(begun.elapsed().min(LOOK));
            }
            Ok(0)
        };
        let watchers = [scope.spawn(watch), scope.spawn(watch)];
        let writers: Vec<_> =
            (1..=WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let mut outcomes: Vec<_> = writers.into_iter().map(|thread| thread.join()).collect();
        is_over.store(true, Ordering::SeqCst);
        outcomes.extend(watchers.into_iter().map(|thread| thread.join()));
        outcomes
    });
    let mut created = 0;
    for outcome in outcomes {
        created += outcome.map_err(|_| "a call panicked".to_owned())??;
    }
    if created != 1 {
        return Err(format!(
            "write /only Create: {created} of {WRITERS} sessions created the file"
        ));
    }
    check_whole(storage, &file)?;
    let names = list(storage, &VirtualPath::root()).map_err(|error| format!("list /: {error}"))?;
    match names.len() {
        2 => Ok(()),
        _ => Err(format!("list /: {names:?} in place of /f and /only")),
    }
}

/// Stores a file that consists of one byte, repeated.
fn store(
    storage: &dyn Storage,
    path: &VirtualPath,
    mode: WriteMode,
    byte: u8,
) -> StorageResult<()> {
    let mut upload = storage.write(path, mode, Keep::Shared)?;
    for _ in 0..4 {
        upload.write_all(&[byte; LENGTH / 4])?;
        thread::yield_now();
    }
    upload.commit()
}

/// Checks that a file is one whole upload of [`store`].
fn check_whole(storage: &dyn Storage, path: &VirtualPath) -> Result<(), String> {
    let mut content = Vec::new();
    let read = storage.read(path).and_then(|mut file| Ok(file.read_to_end(&mut content)?));
    read.map_err(|error| format!("read {path}: {error}"))?;
    let first = content.first().copied().unwrap_or_default();
    match content == vec![first; LENGTH] {
        true => Ok(()),
        false => Err(format!("read {path}: {} bytes of several uploads", content.len())),
    }
}

#[cfg(test)]
mod tests;
