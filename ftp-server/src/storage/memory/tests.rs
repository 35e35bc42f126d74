//! Equal calls of a local and a memory storage have equal results.

use super::*;
use crate::storage::{LocalStorage, StorageErrorKind, StreamEnd, SyncPolicy};

/// Pseudorandom numbers, the same in each run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn path(text: &str) -> VirtualPath {
    text.split('/')
        .filter(|name| !name.is_empty())
        .fold(VirtualPath::root(), |path, name| path.join(name.as_bytes()))
}

/// Returns the number of bytes that are kept for the user `ann`.
fn kept(storage: &dyn Storage, name: &str) -> Option<u64> {
    storage.unfinished(&path(name), Some(b"ann")).unwrap().map(|found| found.kept)
}

const PATHS: [&str; 10] = ["/", "a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "a/b"];

/// Returns the result of a call, without values that differ between any two storages.
fn outcome<T>(
    result: Result<T, StorageError>,
    shown: impl FnOnce(T) -> String,
) -> Result<String, StorageErrorKind> {
    result.map(shown).map_err(|error| error.kind)
}

fn facts(metadata: &Metadata) -> String {
    match metadata.kind {
        EntryKind::File => format!("file {} {:o}", metadata.size, metadata.mode),
        other => format!("{other:?}"),
    }
}

/// Returns the number of kept bytes.
fn shown(found: Option<Unfinished>) -> String {
    found.map_or_else(|| "none".to_owned(), |found| format!("{} {}", found.kept, found.is_running))
}

/// Makes one random call, and returns its result.
fn act(storage: &dyn Storage, numbers: &mut Numbers) -> Result<String, StorageErrorKind> {
    let (one, other) = (path(numbers.one_of(&PATHS)), path(numbers.one_of(&PATHS)));
    let nothing = |()| String::new();
    match numbers.below(15) {
        0 => outcome(storage.stat(&one), |metadata| facts(&metadata)),
        1 => outcome(storage.check_directory(&one), nothing),
        2 => outcome(storage.list(&one), |entries| {
            let mut lines: Vec<String> = entries
                .map(Result::unwrap)
                .map(|entry| format!("{} {}", entry.name.escape_ascii(), facts(&entry.metadata)))
                .collect();
            lines.sort();
            lines.join("\n")
        }),
        3 => {
            let offset = numbers.one_of(&[0, 2, 9]);
            outcome(storage.read(&one), |mut source| {
                let mut content = Vec::new();
                let sought = source.seek_to(offset).map_err(|error| error.kind);
                source.read_to_end(&mut content).unwrap();
                format!("{} {sought:?} {content:?}", source.size())
            })
        }
        4..=8 => {
            let from = numbers.one_of(&[1, 3, 4, 7]);
            let mode = numbers.one_of(&[
                WriteMode::Create,
                WriteMode::Replace,
                WriteMode::Append,
                WriteMode::From(from),
                WriteMode::Resume(from),
            ]);
            let content = numbers.one_of(&[&b""[..], b"x", b"abc", b"0123456"]);
            let user = numbers.one_of(&[None, Some(&b"ann"[..]), Some(b"bob")]);
            let end = numbers.one_of(&[
                None,
                None,
                Some(StreamEnd::Cut),
                Some(StreamEnd::Cut),
                Some(StreamEnd::Failed),
            ]);
            let begun = match user {
                Some(user) => storage.write_as(&one, mode, user, true),
                None => storage.write(&one, mode),
            };
            let ended = begun.and_then(|mut upload| {
                upload.write_all(content)?;
                match end {
                    None => upload.commit(),
                    Some(end) => {
                        upload.abort(end);
                        Ok(())
                    }
                }
            });
            outcome(ended, |()| format!("{mode:?} {content:?} {end:?}"))
        }
        9 => outcome(storage.unfinished(&one, Some(b"ann")), shown),
        10 => outcome(storage.remove(&one), nothing),
        11 => outcome(storage.rmdir(&one), nothing),
        12 => outcome(storage.mkdir(&one), nothing),
        13 => outcome(storage.forget(&one, Some(b"ann")), shown),
        _ => {
            let replace = numbers.one_of(&[true, false]);
            // Which of several errors the kernel reports depends on the order of its checks.
            outcome(storage.rename(&one, &other, replace), nothing).map_err(|_| Kind::Unsupported)
        }
    }
}

/// Makes the same random calls to a memory storage and to another one, and compares the results.
/// For each seed, `make` returns the other storage, and a value that must live as long as that
/// storage.
pub(crate) fn assert_same_as_memory<S: Storage, K>(
    seeds: impl IntoIterator<Item = u64>,
    make: impl Fn() -> (S, K),
) {
    for seed in seeds {
        let (other, kept) = make();
        let memory = MemoryStorage::new();
        let (mut first, mut second) = (Numbers(seed), Numbers(seed));
        for step in 0..60 {
            let (want, got) = (act(&other, &mut first), act(&memory, &mut second));
            assert_eq!(got, want, "seed {seed}, step {step}");
        }
        drop(kept);
    }
}

#[test]
fn memory_storage_behaves_like_local_storage_fs_15_fs_16_cm_107_cm_108() {
    assert_same_as_memory(1..=200, || {
        let root = tempfile::tempdir().unwrap();
        let local = LocalStorage::open(root.path()).unwrap();
        (local.configured(crate::storage::LocalConfig::new().sync(SyncPolicy::None)).unwrap(), root)
    });
}

#[test]
fn partial_files_move_and_vanish_with_their_directory_fs_15_cm_87() {
    let root = tempfile::tempdir().unwrap();
    let local = LocalStorage::open(root.path()).unwrap();
    let memory = MemoryStorage::new();
    for storage in [&local as &dyn Storage, &memory] {
        for name in ["d", "d/e", "dd"] {
            storage.mkdir(&path(name)).unwrap();
        }
        let cut = |name| {
            let upload = storage.write_as(&path(name), WriteMode::Replace, b"ann", true);
            upload.unwrap().write_all(b"0123").unwrap();
        };
        let size = |name| kept(storage, name);
        ["d/e/f", "dd/f"].into_iter().for_each(cut);
        storage.rename(&path("d"), &path("x"), true).unwrap();
        assert_eq!(["d/e/f", "x/e/f", "dd/f"].map(size), [None, Some(4), Some(4)]);
        storage.rmdir(&path("x/e")).unwrap();
        storage.mkdir(&path("x/e")).unwrap();
        assert_eq!(["x/e/f", "dd/f"].map(size), [None, Some(4)]);
        // Users can resume only their own uploads, and only once.
        let forget = |user: &[u8]| storage.forget(&path("dd/f"), Some(user)).unwrap();
        assert_eq!(storage.unfinished(&path("dd/f"), Some(b"bob")).unwrap(), None);
        assert_eq!(forget(b"ann").map(|found| found.kept), Some(4));
        assert_eq!(size("dd/f"), None);
        assert_eq!(forget(b"ann"), None);
    }
}

#[test]
fn writing_to_a_newer_file_discards_the_partial_file_fs_15() {
    let storage = MemoryStorage::new();
    let file = path("f");
    let begin = |mode| storage.write_as(&file, mode, b"ann", true).unwrap();
    begin(WriteMode::Replace).write_all(b"0123456789").unwrap();
    assert_eq!(kept(&storage, "f"), Some(10));
    storage.put(&file, "other").unwrap();
    assert_eq!(kept(&storage, "f"), None);
    storage.remove(&file).unwrap();
    assert_eq!(kept(&storage, "f"), None);
}

#[test]
fn attributes_are_kept() {
    let storage = MemoryStorage::new();
    storage.put(path("d/f"), "content").unwrap();
    let changed = storage.set_times(&path("d/f"), 938_565_235).unwrap();
    assert_eq!((changed.modified, changed.size, changed.links), (938_565_235, 7, 1));
    assert_eq!(storage.chmod(&path("d/f"), 0o4600).unwrap().mode, 0o600);
    assert_eq!(storage.chmod(&path("d"), 0o700).unwrap().mode, 0o700);
    assert_eq!(storage.chmod(&path("/"), 0).unwrap_err().kind, Kind::Denied);
    let replaced = storage.put(path("d/f"), "other").and_then(|()| storage.stat(&path("d/f")));
    assert_eq!(replaced.unwrap().mode, 0o600);
    assert_eq!(storage.stat(&path("d/f")).unwrap().identity, changed.identity);
    for name in ["a\nb", "a\rb", "a\0b", &"x".repeat(256)] {
        assert_eq!(storage.mkdir(&path(name)).unwrap_err().kind, Kind::NameNotAllowed);
    }
    assert_eq!(storage.put(path("d/f/g"), "").unwrap_err().kind, Kind::NotDirectory);
}

#[test]
fn a_limited_memory_storage_runs_full_hf_01() {
    let storage = MemoryStorage::limited(10_000);
    let left = || storage.space(&VirtualPath::root()).unwrap();
    storage.put(path("f"), vec![b'o'; 4_000]).unwrap();
    assert_eq!(left(), 10_000 - 4_000 - OBJECT - 1);
    let before = left();
    for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(2_000)] {
        let mut upload = storage.write(&path("f"), mode).unwrap();
        let full = (0..100).find_map(|_| upload.write_all(&[b'n'; 100]).err()).unwrap();
        assert_eq!(StorageError::from(full).kind, Kind::NoSpace, "{mode:?}");
        assert!(left() < 100);
        drop(upload);
        assert_eq!(left(), before);
        assert_eq!(storage.get(path("f")).unwrap(), [b'o'; 4_000]);
    }
    // Readers can still read a file after it was replaced.
    let reader = storage.read(&path("f")).unwrap();
    storage.put(path("f"), "new").unwrap();
    assert_eq!(left(), before - 3);
    drop(reader);
    assert_eq!(left(), before + 4_000 - 3);
    // Names count towards the limit too.
    let refused = (0..100).find_map(|number| storage.mkdir(&path(&number.to_string())).err());
    assert_eq!(refused.unwrap().kind, Kind::NoSpace);
    for number in 0..100 {
        let _ = storage.rmdir(&path(&number.to_string()));
    }
    storage.remove(&path("f")).unwrap();
    assert_eq!(left(), 10_000);
}

#[test]
fn a_listing_continues_while_entries_are_added_and_removed_ls_31_hp_16() {
    let storage = MemoryStorage::new();
    for name in ["a", "b", "c", "e"] {
        storage.put(path(name), "").unwrap();
    }
    let mut entries = storage.list(&VirtualPath::root()).unwrap();
    let mut next = || entries.next().map(|entry| entry.unwrap().name);
    assert_eq!(next().as_deref(), Some(&b"a"[..]));
    storage.remove(&path("a")).unwrap();
    storage.remove(&path("b")).unwrap();
    storage.put(path("d"), "").unwrap();
    for name in [b"c", b"d", b"e"] {
        assert_eq!(next().as_deref(), Some(&name[..]));
    }
    assert_eq!(next(), None);
}
