//! What sessions expect of a storage, as tests for anyone who implements [`Storage`].

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

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

/// Makes the same random calls to a storage and to a [`MemoryStorage`], and compares the results:
/// uploads that end in every way, resumed uploads, listings, removals and renames. `make` returns a
/// new, empty storage for each of the `seeds`, and a value that must live as long as the storage,
/// such as its temporary directory; otherwise `()`.
///
/// Then lets several sessions use one name of another new storage at the same time: four threads
/// replace a file, others read it, list its directory, and create another name. Each reader must see
/// one whole upload, the name must never be missing, one of the creators must win, and no other file
/// may be left.
///
/// An optional call that the storage does not support is made to neither. A storage without records of
/// unfinished uploads is tested without them. Times, modes and the order of
/// listings are not compared, nor which of several errors a rename reports.
///
/// # Errors
///
/// Returns the first difference, with its seed, or the first broken expectation.
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
    for seed in seeds {
        let has_records = keeps_records(&make().0);
        let (storage, _kept) = make();
        let memory = MemoryStorage::new();
        let mut numbers = Numbers(seed);
        for call in 0..CALLS {
            let mut same = numbers.clone();
            let got = act(&storage, has_records, &mut numbers);
            if got == Err(Kind::Unsupported) {
                continue;
            }
            let want = act(&memory, has_records, &mut same);
            if got != want {
                return Err(format!("seed {seed}, call {call}: {got:?} in place of {want:?}"));
            }
        }
    }
    let (storage, _kept) = make();
    racing(&storage)
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
    found.map_or_else(|| "none".to_owned(), |found| format!("{} {}", found.kept, found.is_running))
}

/// Makes `Unsupported` a difference.
fn required(outcome: Result<String, Kind>) -> Result<String, Kind> {
    outcome.map_err(|kind| if kind == Kind::Unsupported { Kind::Io } else { kind })
}

/// Returns whether a storage has a record of an upload that was cut off.
fn keeps_records(storage: &dyn Storage) -> bool {
    let path = VirtualPath::from("/a");
    if let Ok(mut upload) = storage.write(&path, WriteMode::Replace, Keep::Bytes(b"ann")) {
        let _ = upload.write_all(b"x");
        upload.abort(StreamEnd::Cut);
    }
    matches!(storage.unfinished(&path, Some(b"ann")), Ok(Some(_)))
}

/// Makes one random call, and returns its result.
fn act(storage: &dyn Storage, has_records: bool, numbers: &mut Numbers) -> Result<String, Kind> {
    let (one, other) = (numbers.one_of(&PATHS).into(), numbers.one_of(&PATHS).into());
    let nothing = |()| String::new();
    match numbers.one_of(&[0, 1, 2, 3, 4, 4, 4, 4, 4, 5, 6, 7, 8, 9, 10]) {
        0 => required(outcome(storage.stat(&one, Ask::Facts), |metadata| facts(&metadata))),
        1 => outcome(check_directory(storage, &one), nothing),
        2 => required(outcome(list_twice(storage, &one), |lines| lines.join("\n"))),
        3 => required(outcome(read(storage, &one, numbers.one_of(&[0, 2, 9])), |read| read)),
        4 => upload(storage, &one, has_records, numbers),
        5 | 9 if !has_records => Err(Kind::Unsupported),
        5 => outcome(storage.unfinished(&one, Some(b"ann")), shown),
        6 => outcome(storage.remove(&one), nothing),
        7 => outcome(storage.rmdir(&one), nothing),
        8 => outcome(storage.mkdir(&one), nothing).map_err(missing_parent),
        9 => outcome(storage.forget(&one, Some(b"ann")), shown),
        _ => {
            let renamed = storage.rename(&one, &other, numbers.one_of(&[true, false]));
            match renamed.map_err(|error| error.kind) {
                Ok(()) => Ok("renamed".to_owned()),
                Err(Kind::Unsupported) => Err(Kind::Unsupported),
                // Which of several errors is reported depends on the order of the checks.
                Err(_) => Ok("not renamed".to_owned()),
            }
        }
    }
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

/// Begins a random upload, and ends it in a random way.
fn upload(
    storage: &dyn Storage,
    path: &VirtualPath,
    has_records: bool,
    numbers: &mut Numbers,
) -> Result<String, Kind> {
    let from = numbers.one_of(&[1, 3, 4, 7]);
    let mode = numbers.one_of(&[
        WriteMode::Create,
        WriteMode::Replace,
        WriteMode::Append,
        WriteMode::From(from),
        WriteMode::Resume(from),
    ]);
    if !has_records && matches!(mode, WriteMode::Resume(_)) {
        return Err(Kind::Unsupported);
    }
    let content = numbers.one_of(&[&b""[..], b"x", b"abc", b"0123456"]);
    let user = numbers.one_of(&[None, Some(&b"ann"[..]), Some(b"bob")]);
    let (cut, failed) = (Some(StreamEnd::Cut), Some(StreamEnd::Failed));
    let end = numbers.one_of(&[None, None, cut, cut, failed]);
    let ended = storage.write(path, mode, Keep::new(user, true)).and_then(|mut upload| {
        upload.write_all(content)?;
        match end {
            None => upload.commit(),
            Some(end) => {
                upload.abort(end);
                Ok(())
            }
        }
    });
    outcome(ended, |()| format!("{mode:?} {content:?} {end:?}")).map_err(missing_parent)
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
    store(storage, &file, WriteMode::Replace, 0).map_err(|error| format!("/f: {error}"))?;
    let is_over = AtomicBool::new(false);
    let outcomes = thread::scope(|scope| {
        let write = |writer: u8| {
            let created = store(storage, &only, WriteMode::Create, writer);
            for _ in 0..UPLOADS {
                match store(storage, &file, WriteMode::Replace, writer) {
                    Err(error) if error.kind != Kind::Busy => return Err(format!("/f: {error}")),
                    _ => {}
                }
            }
            match created.map_err(|error| error.kind) {
                Ok(()) => Ok(1),
                Err(Kind::Exists | Kind::Busy) => Ok(0),
                Err(kind) => Err(format!("/only: {kind}")),
            }
        };
        let watch = || {
            while !is_over.load(Ordering::SeqCst) {
                check_whole(storage, &file)?;
                let names = list(storage, &VirtualPath::root());
                let names = names.map_err(|error| format!("listing: {error}"))?;
                if !names.iter().any(|line| line.starts_with("f ")) {
                    return Err("a file that is being replaced is not listed".to_owned());
                }
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
        return Err(format!("{created} of {WRITERS} sessions created the same new file"));
    }
    check_whole(storage, &file)?;
    let names = list(storage, &VirtualPath::root()).map_err(|error| format!("listing: {error}"))?;
    match names.len() {
        2 => Ok(()),
        _ => Err(format!("/f and /only should be left, not {names:?}")),
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
    read.map_err(|error| format!("{path}: {error}"))?;
    let first = content.first().copied();
    match content.len() == LENGTH && content.iter().all(|byte| Some(*byte) == first) {
        true => Ok(()),
        false => Err(format!("{path} has {} bytes of several uploads", content.len())),
    }
}
