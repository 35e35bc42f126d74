//! Appends to existing files: short ones in one go, long ones in place, and those that are cut.

use std::io::{Read as _, Write as _};

use rustix::fs::{SeekFrom, seek};

use super::StorageErrorKind::{Busy, NotFound, OverQuota};
use super::append::Appending;
use super::target::Target;
use super::*;
use crate::log::messages;
use crate::storage::StreamEnd;

/// Returns an append that writes in place from its first byte on.
pub(super) fn in_place(storage: &LocalStorage, name: &str) -> Box<dyn Upload> {
    append::in_place(|| storage.write(&path(name), WriteMode::Append, Keep::Shared).unwrap())
}

/// Begins an append to `f`.
fn begin(storage: &LocalStorage, expected: Option<u64>) -> Appending {
    let files = &storage.files;
    let target = Target::find(&files.root, &path("f"), WriteMode::Append).unwrap();
    let charge = files.charge(Cost::default(), None).unwrap();
    Appending::begin(target, expected, files.config, name::owner_of(None), charge).unwrap()
}

/// Writes as a session does, and returns whether the append has failed.
fn fails(append: &mut Appending, bytes: &[u8]) -> bool {
    while !append.ready().is_ok_and(|is_ready| is_ready) {}
    append.write_all(bytes).is_err()
}

/// Ends an append as a session does.
fn finish(mut append: Appending) -> StorageResult<()> {
    append.flush()?;
    while !append.ready()? || !append.prepare_commit()? {}
    Box::new(append).commit()
}

#[test]
fn append_writes_in_place_and_rolls_back_on_interruption_fs_16() {
    let tree = Tree::new();
    for storage in tree.storages().iter().flat_map(upload::policies) {
        tree.put("f", "old");
        let before = storage.stat(&path("f"), Ask::Facts).unwrap().identity;
        upload(&storage, "f", WriteMode::Append, b"+new");
        assert_eq!(tree.get("f"), b"old+new");
        upload(&storage, "f", WriteMode::From(7), b"+er");
        assert_eq!(tree.get("f"), b"old+new+er");
        assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().identity, before);
        let mut upload = in_place(&storage, "f");
        upload.write_all(b"part").unwrap();
        assert_eq!(tree.get("f"), b"old+new+erpart");
        drop(upload);
        assert_eq!(tree.get("f"), b"old+new+er");
    }
}

#[test]
fn rolling_back_an_append_never_lengthens_the_file() {
    let tree = Tree::new();
    tree.put("f", "0123456789");
    let mut upload = in_place(&tree.storage(), "f");
    upload.write_all(b"part").unwrap();
    fs::OpenOptions::new().write(true).open(tree.root.join("f")).unwrap().set_len(3).unwrap();
    upload.abort(StreamEnd::Cut);
    assert_eq!(tree.get("f"), b"012");
}

#[test]
fn an_append_to_a_removed_or_renamed_file_fails_fs_16() {
    let tree = Tree::new();
    let storage = tree.storage();
    let short = |storage: &LocalStorage, name: &str| {
        storage.write(&path(name), WriteMode::Append, Keep::Shared).unwrap()
    };
    for new in [short, in_place] {
        tree.put("f", "old");
        tree.put("g", "old");
        let begin = |name: &str| {
            let mut upload = new(&storage, name);
            upload.write_all(b"+new").unwrap();
            upload
        };
        let replaced = begin("f");
        let removed = begin("g");
        upload(&storage, "f", WriteMode::Replace, b"other");
        storage.remove(&path("g")).unwrap();
        for upload in [replaced, removed] {
            assert_eq!(kind(upload.commit()), Some(NotFound));
        }
        assert_eq!(tree.get("f"), b"other");
        // The client would not look for the appended bytes under another name.
        let renamed = begin("f");
        storage.rename(&path("f"), &path("h"), true).unwrap();
        tree.put("f", "rotated");
        assert_eq!(kind(renamed.commit()), Some(NotFound));
        assert_eq!((tree.get("f"), tree.get("h")), (b"rotated".to_vec(), b"other".to_vec()));
    }
}

#[test]
fn an_append_that_begins_during_a_download_is_not_read_fs_16_cm_103() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for (read_before, is_committed) in [(0, false), (4, false), (10, true)] {
            tree.put("f", "0123456789");
            let mut source = storage.read(&path("f")).unwrap();
            let mut content = vec![0; read_before];
            source.read_exact(&mut content).unwrap();
            let mut append = in_place(&storage, "f");
            append.write_all(b"more").unwrap();
            assert!(source.descriptor().is_none());
            source.read_to_end(&mut content).unwrap();
            assert_eq!(content, b"0123456789");
            if is_committed {
                append.commit().unwrap();
                // A download that has ended at the known length stays there.
                assert_eq!(source.read_to_end(&mut content).unwrap(), 0);
                source = storage.read(&path("f")).unwrap();
                content.clear();
                source.read_to_end(&mut content).unwrap();
                assert_eq!(content, b"0123456789more");
            } else {
                append.abort(StreamEnd::Cut);
            }
        }
        // What another program adds is read.
        tree.put("f", "0123456789");
        let mut source = storage.read(&path("f")).unwrap();
        tree.put("f", "0123456789more");
        let mut content = Vec::new();
        source.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"0123456789more");
        assert!(source.descriptor().is_some());
    }
}

#[test]
fn a_download_is_not_cut_inside_an_append_that_was_committed_meanwhile_fs_16_cm_103() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let begin = |more: &[u8]| {
            let mut append = in_place(&storage, "f");
            append.write_all(more).unwrap();
            append
        };
        for read_before in [0, 10, 12, 14] {
            tree.put("f", "0123456789");
            let mut source = storage.read(&path("f")).unwrap();
            begin(b"more").commit().unwrap();
            let mut content = vec![0; read_before];
            source.read_exact(&mut content).unwrap();
            let append = begin(b"again");
            assert!(source.descriptor().is_none());
            source.read_to_end(&mut content).unwrap();
            assert_eq!(content, b"0123456789more", "{read_before}");
            append.abort(StreamEnd::Cut);
        }
        // The kernel has sent bytes that may be removed again.
        tree.put("f", "0123456789");
        let mut source = storage.read(&path("f")).unwrap();
        let file = source.descriptor().unwrap().try_clone_to_owned().unwrap();
        let append = begin(b"more");
        seek(&file, SeekFrom::Start(12)).unwrap();
        assert!(source.read(&mut [0]).is_err());
        append.abort(StreamEnd::Cut);
    }
}

#[test]
fn parallel_appends_to_a_missing_file_lose_no_upload() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let mut first = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
        first.write_all(b"first").unwrap();
        upload(&storage, "f", WriteMode::Append, b"second");
        assert_eq!(kind(first.commit()), Some(Busy));
        assert_eq!(tree.get("f"), b"second");
        assert_eq!(tree.names(""), ["f"]);
        storage.remove(&path("f")).unwrap();
    }
}

/// What happens during an append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// The client sends a line.
    Line,
    /// For some seconds, nothing happens.
    Silence,
    /// Another client appends a line.
    Other,
    /// A program of this computer appends a line.
    Local,
    Truncated,
    /// A program changes the last byte of the file.
    Changed,
    Replaced,
}

use Step::*;

const STEPS: [Step; 7] = [Line, Silence, Other, Local, Truncated, Changed, Replaced];

/// What the file must hold.
#[derive(Default)]
struct Model {
    /// The file to which the client appends.
    file: Vec<u8>,
    /// The file that has taken its name.
    newer: Option<Vec<u8>>,
    /// Bytes that are not in the file yet.
    staged: Vec<u8>,
    /// The length before the append, and its bytes in the file.
    place: Option<(usize, Vec<u8>)>,
    is_slow: bool,
    is_silent: bool,
    is_lost: bool,
    has_failed: bool,
}

impl Model {
    fn named(&mut self) -> &mut Vec<u8> {
        self.newer.as_mut().unwrap_or(&mut self.file)
    }

    /// Whether another append can go on.
    fn is_free(&self) -> bool {
        self.newer.is_some() || self.place.is_none() || self.is_lost || self.is_silent
    }

    fn land(&mut self) {
        self.has_failed |= self.newer.is_some();
        if !self.has_failed {
            self.place = Some((self.file.len(), self.staged.clone()));
            self.file.append(&mut self.staged);
        }
    }

    fn line(&mut self) {
        if self.place.is_none() && self.is_slow {
            self.land();
        }
        match &mut self.place {
            _ if self.has_failed => {}
            Some(_) if self.is_lost => self.has_failed = true,
            Some((_, own)) => {
                own.extend(b"mine\n");
                self.file.extend(b"mine\n");
            }
            None => self.staged.extend(b"mine\n"),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Line => self.line(),
            Silence => {
                self.is_slow |= !self.staged.is_empty();
                self.is_silent |= self.place.is_some();
            }
            Other if self.is_free() => {
                self.is_lost |= self.newer.is_none() && self.place.is_some();
                self.named().extend(b"other\n");
            }
            Other => {}
            Local => self.named().extend(b"local\n"),
            Truncated => self.named().truncate(2),
            Changed => *self.named().last_mut().unwrap() = b'?',
            Replaced => self.newer = Some(b"new\n".to_vec()),
        }
    }

    /// Ends the append. Returns whether it was stored.
    fn end(&mut self, is_whole: bool) -> bool {
        if is_whole && self.place.is_none() && !self.has_failed {
            self.land();
        }
        // Another program has taken some bytes away.
        let is_short = |(length, own): &(usize, Vec<u8>)| self.file.len() < length + own.len();
        let is_short = self.place.as_ref().is_some_and(is_short);
        let is_stored = is_whole && !self.has_failed && self.newer.is_none() && !is_short;
        if let Some((length, own)) = self.place.take().filter(|_| !is_stored && !self.is_lost)
            && self.file.len() == length + own.len()
            && self.file.ends_with(&own)
        {
            self.file.truncate(length);
        }
        is_stored
    }
}

/// Lets each sequence of up to `most` steps happen.
fn sequences(most: usize) -> Vec<Vec<Step>> {
    let mut all = vec![vec![]];
    let mut last = all.clone();
    for _ in 0..most {
        let longer = last.iter().flat_map(|it| STEPS.map(|step| [&it[..], &[step]].concat()));
        last = longer.collect();
        all.extend(last.clone());
    }
    all
}

#[test]
fn an_append_that_is_cut_takes_back_only_its_own_bytes_fs_16() {
    let tree = Tree::new();
    let storage = tree.storage();
    let (file, newer) = (tree.root.join("f"), tree.root.join("newer"));
    for steps in sequences(4) {
        for is_whole in [true, false] {
            let what = format!("{steps:?} {is_whole}");
            let _ = fs::remove_file(&file);
            tree.put("f", "old\n");
            let identity = storage.stat(&path("f"), Ask::Facts).unwrap().identity;
            fs::hard_link(&file, tree.outside.join("f")).unwrap();
            let mut model = Model { file: b"old\n".to_vec(), ..Model::default() };
            let mut append = begin(&storage, None);
            let mut has_failed = false;
            for step in &steps {
                match step {
                    Line if has_failed => {}
                    Line => {
                        // The pump ends at the first error.
                        has_failed =
                            append.ready().is_err() || append.write_all(b"mine\n").is_err();
                    }
                    Silence => {
                        append.seem_slow();
                        turn::seem_silent(identity);
                    }
                    Other => {
                        let mut other = begin(&storage, None);
                        other.write_all(b"other\n").unwrap();
                        other.flush().unwrap();
                        let has_turn = other.prepare_commit().unwrap();
                        assert_eq!(has_turn, model.is_free(), "{what}");
                        match has_turn {
                            true => Box::new(other).commit().unwrap(),
                            false => Box::new(other).abort(StreamEnd::Cut),
                        }
                    }
                    Local => {
                        let mut local = fs::File::options().append(true).open(&file).unwrap();
                        local.write_all(b"local\n").unwrap();
                    }
                    Truncated => {
                        fs::File::options().write(true).open(&file).unwrap().set_len(2).unwrap();
                    }
                    Changed => {
                        let mut content = tree.get("f");
                        *content.last_mut().unwrap() = b'?';
                        let mut local = fs::File::options().write(true).open(&file).unwrap();
                        local.write_all(&content).unwrap();
                    }
                    Replaced => {
                        fs::write(&newer, "new\n").unwrap();
                        fs::rename(&newer, &file).unwrap();
                    }
                }
                model.step(*step);
                assert_eq!(has_failed, model.has_failed, "{what}");
            }
            let stored = match is_whole && !has_failed {
                true => finish(append).is_ok(),
                false => {
                    drop(append);
                    false
                }
            };
            assert_eq!(stored, model.end(is_whole), "{what}");
            let kept = tree.outside.join("f");
            let content = fs::read(&kept).unwrap();
            assert_eq!(String::from_utf8_lossy(&content), String::from_utf8_lossy(&model.file));
            assert!(model.newer.is_none_or(|newer| newer == tree.get("f")), "{what}");
            fs::remove_file(kept).unwrap();
            assert_eq!(tree.names_with_records(""), ["f"], "{what}");
        }
    }
}

#[test]
fn a_long_append_goes_on_in_place_fs_16_hp_23() {
    const LIMIT: u64 = 10_000_000;
    let tree = Tree::new();
    let content: Vec<u8> = (0..=250).cycle().take(2_500_000).collect();
    for storage in tree.storages() {
        let storage = storage.with(|config| config.quota = LIMIT);
        // The first of these fits into memory.
        for length in [16_384, 16_385, 1 << 20, (1 << 20) + 1, content.len()] {
            tree.put("f", "old");
            storage.files.root.usage().forget();
            let left = || storage.left().unwrap().unwrap();
            for is_stored in [false, true] {
                assert_eq!(left(), LIMIT - 3, "{length}");
                let mut append = begin(&storage, Some(3));
                for piece in content[..length].chunks(60_000) {
                    assert!(!fails(&mut append, piece));
                }
                let in_place = if length > 1 << 20 { length } else { 0 };
                assert_eq!(tree.get("f").len(), 3 + in_place, "{length}");
                // The bytes are charged once, wherever they are.
                assert_eq!(left(), LIMIT - 3 - length as u64);
                assert_eq!(tree.names_with_records(""), ["f"]);
                match is_stored {
                    true => finish(append).unwrap(),
                    false => drop(append),
                }
            }
            assert!(tree.get("f") == [b"old", &content[..length]].concat(), "{length}");
            assert_eq!(left(), LIMIT - 3 - length as u64);
        }
    }
}

#[test]
fn short_appends_are_written_in_the_order_of_their_ends_fs_16() {
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("f", "old");
        let mut first = begin(&storage, None);
        let mut second = begin(&storage, None);
        let mut third = begin(&storage, Some(3));
        assert!(!fails(&mut first, b"+first") && !fails(&mut second, b"+second"));
        assert!(!fails(&mut third, b"+third"));
        finish(second).unwrap();
        finish(first).unwrap();
        // Its client has sent what follows the third byte.
        assert_eq!(kind(finish(third)), Some(Busy));
        assert_eq!(tree.get("f"), b"old+second+first");
    }
}

#[test]
fn a_silent_append_loses_its_turn_and_keeps_its_bytes_fs_16_hp_23() {
    const LIMIT: u64 = 100_000;
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage.with(|config| config.quota = LIMIT);
        let left = || storage.left().unwrap().unwrap();
        for (line, is_silent) in [(&b"a\n"[..], true), (&[b'a'; 4_096], false)] {
            tree.put("f", "");
            storage.files.root.usage().forget();
            left();
            let identity = storage.stat(&path("f"), Ask::Facts).unwrap().identity;
            let mut slow = begin(&storage, None);
            assert!(!fails(&mut slow, b"a\n"));
            slow.seem_slow();
            assert!(!fails(&mut slow, b"a\n"));
            let mut other = begin(&storage, None);
            assert!(!fails(&mut other, b"b\n"));
            other.seem_slow();
            // One that sends little does not keep its turn.
            turn::seem_silent(identity);
            assert!(!fails(&mut slow, line));
            assert_eq!(other.ready().unwrap(), is_silent);
            if !is_silent {
                assert_eq!(tree.get("f").len(), 4 + line.len());
                drop(slow);
                finish(other).unwrap();
                assert_eq!((&*tree.get("f"), left()), (&b"b\n"[..], LIMIT - 2));
                continue;
            }
            assert!(!fails(&mut other, b"b\n"));
            let seen = storage.stat(&path("f"), Ask::Facts).unwrap().size;
            assert_eq!((seen, read(&storage, "f").unwrap()), (6, b"a\na\na\n".to_vec()));
            assert_eq!(kind(slow.write_all(b"a\n").map_err(StorageError::from)), Some(Busy));
            drop(slow);
            // The turn and the lock are those of the other one.
            assert!(fs::File::open(tree.root.join("f")).unwrap().try_lock().is_err());
            finish(other).unwrap();
            fs::File::open(tree.root.join("f")).unwrap().try_lock().unwrap();
            assert_eq!(tree.get("f"), b"a\na\na\nb\nb\n");
            assert!(left() <= LIMIT - 10, "the count is not too low");
        }
        // All bytes of an append that has lost its turn can be in the file.
        tree.put("f", "");
        let identity = storage.stat(&path("f"), Ask::Facts).unwrap().identity;
        let mut slow = in_place(&storage, "f");
        slow.write_all(b"a\n").unwrap();
        turn::seem_silent(identity);
        upload(&storage, "f", WriteMode::Append, b"b\n");
        slow.commit().unwrap();
        assert_eq!(tree.get("f"), b"a\nb\n");
    }
}

#[test]
fn an_append_waits_for_its_turn_only_for_a_time_fs_16() {
    let tree = Tree::new();
    tree.put("f", "old");
    for storage in tree.storages() {
        let mut first = in_place(&storage, "f");
        first.write_all(b"+first").unwrap();
        let mut other = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
        other.write_all(b"+other").unwrap();
        assert_eq!(kind(other.commit()), Some(Busy));
        drop(first);
    }
    assert_eq!(tree.get("f"), b"old");
}

#[test]
fn an_append_that_no_longer_fits_into_the_quota_leaves_nothing_fs_16_hp_23() {
    const LIMIT: u64 = 2_000_000;
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    tree.put("f", "old");
    for length in [1_500_000, 1_000_000] {
        let mut append = begin(&storage, None);
        assert!(!fails(&mut append, &vec![b'n'; length]));
        let beyond = append.write_all(&vec![b'n'; 1_100_000]).map_err(StorageError::from);
        assert_eq!(kind(beyond), Some(OverQuota));
        drop(append);
        assert_eq!((tree.get("f"), storage.left().unwrap()), (b"old".to_vec(), Some(LIMIT - 3)));
    }
}

#[test]
fn bytes_of_a_cut_append_that_others_have_changed_stay_and_are_logged_fs_16() {
    let tree = Tree::new();
    let storage = tree.storage();
    tree.put("f", "old");
    let mut append = in_place(&storage, "f");
    append.write_all(b"+new").unwrap();
    let mut local = fs::File::options().append(true).open(tree.root.join("f")).unwrap();
    local.write_all(b"+local").unwrap();
    let said = messages::of(log::Level::Warn, || drop(append));
    assert_eq!(tree.get("f"), b"old+new+local");
    let want = "f: the bytes of an interrupted append stay: another program has changed the file";
    assert!(said.iter().any(|line| line.contains(want)), "{said:?}");
}
