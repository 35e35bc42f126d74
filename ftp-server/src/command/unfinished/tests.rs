//! All short sequences of commands against a model.
//!
//! The model is written from the rules in words, without [`TABLE`]: it knows the bytes that each
//! command sent, so it also knows whose bytes a file consists of.

mod acts;
mod served;

use std::io::Write as _;

use ftp_tests::raw::RawSession;

use self::acts::{ACTS, OTHERS_ACTS};
pub(crate) use self::acts::{Act, World, is_of_others};
use self::served::Served;
use super::*;
use crate::storage::{
    Keep, LocalConfig, LocalStorage, MemoryStorage, MountedStorage, Partials, StreamEnd,
    SyncPolicy, Upload,
};
use crate::{Server, forward_storage};

/// The file, its directory, and names beside them.
const FILE: &str = "/d/f";
const DIRECTORY: &str = "/d";
const OTHER_FILE: &str = "/q";
const OTHER_DIRECTORY: &str = "/e";

/// Number of bytes of a client's file, and the number after which its upload is cut.
const LENGTH: usize = 12;
const CUT: usize = 5;

/// Number of bytes of the file of the other user.
const OTHERS: usize = 8;

/// Returns the bytes of a client's file from `from` to `to`. Each byte shows its file and place.
fn bytes(number: u8, from: usize, to: usize) -> Vec<u8> {
    (from..to).map(|at| (number << 5) | u8::try_from(at).unwrap()).collect()
}

/// What a command ended with: its code, and the number of `SIZE` or the bytes of `RETR`.
type Ended = (u16, Vec<u8>);

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    bytes: Vec<u8>,
    /// The identity of the file to be replaced.
    old: Option<u32>,
    number: u32,
}

#[derive(Clone, Debug)]
struct Begun {
    bytes: Vec<u8>,
    old: Option<u32>,
    /// The user has begun another upload since, or nothing was sent.
    leaves_nothing: bool,
    /// The file was removed or renamed since.
    is_gone: bool,
    /// Another file was stored since, or the file has changed.
    is_void: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Removed,
    Stored,
    /// An append, or an upload that begins with bytes of the file.
    Extended,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Last {
    #[default]
    Nothing,
    Kept(usize, u32),
    /// With the identity of the file.
    File(usize, u32),
    NoFile,
}

#[derive(Clone, Debug, Default)]
struct Client {
    last: Last,
    has_read: bool,
    is_warned: bool,
}

#[derive(Clone, Debug, Default)]
struct Model {
    file: Option<(Vec<u8>, u32)>,
    record: Option<Kept>,
    begun: Vec<Begun>,
    has_been_read: bool,
    client: Client,
    /// The number of the client's latest file.
    upload: u8,
    next: u32,
    /// Whether an upload that was begun again forbids to resume at the length of a file that was stored
    /// since.
    forbids_late: bool,
    is_on_disk: bool,
}

impl Model {
    fn identity(&self) -> Option<u32> {
        self.file.as_ref().map(|(_, identity)| *identity)
    }

    /// Returns whether an upload of the user runs that no newer one has superseded.
    fn runs(&self) -> bool {
        self.begun.iter().any(|begun| !begun.leaves_nothing)
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn name_changed(&mut self, file: Option<Vec<u8>>, change: Change) {
        let identity = self.number();
        self.file = file.map(|file| (file, identity));
        if change != Change::Extended {
            self.record = None;
        }
        for begun in &mut self.begun {
            begun.is_gone = change == Change::Removed;
            begun.is_void = true;
        }
    }

    /// Another program has changed the file, or its time.
    fn file_changed(&mut self, file: Option<Vec<u8>>) {
        let identity = self.number();
        self.file = file.map(|file| (file, identity));
    }

    /// An upload of the user ended without success.
    fn cut(&mut self, begun: Begun) {
        self.has_been_read = false;
        let is_unchanged = !begun.is_void && begun.old == self.identity();
        // Where there is no file, there is nothing to mix with.
        let is_over_nothing = begun.old.is_some() && self.file.is_none();
        if begun.leaves_nothing {
            // Another upload has stored the file since, so its length is not that of this one.
            let forbids = self.forbids_late && begun.is_void && self.file.is_some();
            if forbids && self.record.is_none() && !self.runs() {
                let number = self.number();
                self.record = Some(Kept { bytes: Vec::new(), old: self.identity(), number });
            }
            return;
        }
        if begun.is_gone && self.file.is_none() || is_over_nothing {
            self.record = None;
            return;
        }
        let number = self.number();
        let bytes = if is_unchanged { begun.bytes } else { Vec::new() };
        self.record = Some(Kept { bytes, old: self.identity(), number });
    }

    /// An upload of the user begins at byte 0.
    fn begin(&mut self) -> Begun {
        self.record = None;
        self.begun.iter_mut().for_each(|begun| begun.leaves_nothing = true);
        let (leaves_nothing, is_gone, is_void) = (false, false, false);
        Begun { bytes: Vec::new(), old: self.identity(), leaves_nothing, is_gone, is_void }
    }

    /// Returns the record. It has ended if the old file is gone, or a file has appeared where there was
    /// none; and the bytes do not count if the file has changed.
    fn record(&self) -> Option<Kept> {
        let now = self.identity();
        let record = self.record.clone().filter(|it| it.old.is_some() == now.is_some())?;
        match record.old == now {
            true => Some(record),
            false => Some(Kept { bytes: Vec::new(), ..record }),
        }
    }

    /// Returns what an upload after `REST n`, or an `APPE`, begins with; or the refusal.
    fn start(&self, rest: Option<usize>) -> Result<(Vec<u8>, bool), u16> {
        let file = self.file.as_ref().map(|(file, _)| file.clone());
        let told = match self.client {
            Client { has_read: true, .. } => Last::File(0, 0),
            Client { ref last, .. } => last.clone(),
        };
        if self.runs() {
            return Err(450);
        }
        let Some(record) = &self.record() else {
            return match (rest, told) {
                (Some(_), Last::Kept(..)) => Err(if file.is_some() { 450 } else { 554 }),
                (None, Last::Kept(..)) => Err(450),
                // Its size was told, and now there is another one, or none.
                _ if matches!(self.client.last, Last::File(_, of) if Some(of) != self.identity()) => {
                    Err(450)
                }
                (Some(rest), _) => match file.filter(|file| rest <= file.len()) {
                    Some(file) => Ok((file[..rest].to_vec(), false)),
                    None => Err(554),
                },
                (None, _) => Ok((file.unwrap_or_default(), false)),
            };
        };
        let is_useful = record.bytes.len() >= 2;
        let at = match (rest, told) {
            (Some(_), _) if !is_useful => return Err(554),
            (None, _) if !is_useful => return Err(450),
            (_, Last::Kept(_, number)) if number != record.number => return Err(450),
            (Some(_), Last::File(..)) => return Err(554),
            (Some(rest), _) => rest,
            (None, Last::Kept(told, _)) => told,
            (None, _) => return Err(450),
        };
        match record.bytes.get(..at) {
            Some(kept) => Ok((kept.to_vec(), true)),
            None => Err(554),
        }
    }

    fn size(&mut self) -> Ended {
        let file = self.file.as_ref().map(|(file, _)| file.len());
        let told = |size: usize| (213, size.to_string().into_bytes());
        let is_known_missing = self.client.last == Last::NoFile && file.is_none();
        if self.runs() {
            return (if is_known_missing { 550 } else { 450 }, Vec::new());
        }
        match (self.record(), file) {
            (Some(record), file) if record.bytes.len() >= 2 && !is_known_missing => {
                if file.is_some() && self.has_been_read {
                    return (554, Vec::new());
                }
                let size = record.bytes.len() - 1;
                self.client.last = Last::Kept(size, record.number);
                self.client.has_read = false;
                told(size)
            }
            (Some(_), Some(_)) => (554, Vec::new()),
            (None, Some(size)) => {
                self.client.last = Last::File(size, self.identity().unwrap_or_default());
                told(size)
            }
            (_, None) => {
                if !is_known_missing {
                    self.client.last = Last::Nothing;
                }
                (550, Vec::new())
            }
        }
    }

    /// Carries out an upload command. `rest` is `None` for `APPE`.
    fn resume(&mut self, rest: Option<usize>, sent: Vec<u8>, is_cut: bool) -> Ended {
        let (mut content, is_on_kept) = match self.start(rest) {
            Ok(start) => start,
            Err(code) => return (code, Vec::new()),
        };
        self.client = Client::default();
        content.extend(sent);
        if !is_cut {
            let change = if is_on_kept { Change::Stored } else { Change::Extended };
            self.name_changed(Some(content), change);
            return (226, Vec::new());
        }
        self.has_been_read = false;
        if is_on_kept {
            let number = self.number();
            self.record = Some(Kept { bytes: content, old: self.identity(), number });
        }
        (426, Vec::new())
    }

    /// Returns the number that the client of this session gives to `REST`.
    fn rest(&self) -> usize {
        match self.client.last {
            Last::Kept(told, _) | Last::File(told, _) => told,
            // Its own count.
            Last::Nothing | Last::NoFile => CUT - 1,
        }
    }

    /// Returns where the client of this session goes on with `APPE`.
    fn end(&self) -> usize {
        match self.client.last {
            Last::Kept(told, _) => told,
            _ => CUT,
        }
    }

    fn act(&mut self, act: Act) -> Ended {
        let number = self.upload;
        let done = |code: u16| (code, Vec::new());
        match act {
            Act::Stor
            | Act::StorCut
            | Act::StorCutEarly
            | Act::StorFailed
            | Act::StorTextCut
            | Act::StorRefused => {
                self.upload += 1;
                let is_first = self.record.is_none() && self.begun.is_empty();
                let mut begun = self.begin();
                begun.leaves_nothing = act == Act::StorRefused && is_first;
                self.client = Client::default();
                let length = match act {
                    Act::Stor => {
                        self.name_changed(Some(bytes(self.upload, 0, LENGTH)), Change::Stored);
                        return done(226);
                    }
                    Act::StorCut => CUT,
                    Act::StorCutEarly => 1,
                    _ => 0,
                };
                begun.bytes = bytes(self.upload, 0, length);
                self.cut(begun);
                done(426)
            }
            Act::RestStor | Act::RestStorCut | Act::RestStorRefused => {
                let rest = self.rest();
                let to = match act {
                    Act::RestStor => LENGTH.max(rest + 3),
                    Act::RestStorCut => rest + 2,
                    _ => rest,
                };
                self.resume(Some(rest), bytes(number, rest, to), act != Act::RestStor)
            }
            Act::Appe | Act::AppeCut | Act::AppeRefused => {
                let from = self.end();
                let to = match act {
                    Act::Appe => LENGTH,
                    Act::AppeCut => from + 2,
                    _ => from,
                };
                self.resume(None, bytes(number, from, to), act != Act::Appe)
            }
            Act::Size => self.size(),
            Act::Mlst => match &self.file {
                Some((file, identity)) => {
                    self.client.last = Last::File(file.len(), *identity);
                    done(250)
                }
                None => {
                    self.client.last = Last::NoFile;
                    done(550)
                }
            },
            Act::Hash => {
                let told = match (&self.client.last, self.record()) {
                    (Last::Kept(length, number), Some(record))
                        if record.number == *number && !self.client.has_read && !self.runs() =>
                    {
                        record.bytes.get(..*length).map(<[u8]>::to_vec)
                    }
                    _ => None,
                };
                let file = self.file.as_ref().map(|(file, _)| file.clone());
                match told.filter(|_| self.is_on_disk).or(file) {
                    Some(digested) => (213, digested),
                    None => done(550),
                }
            }
            Act::Retr => {
                let Some((file, _)) = self.file.clone() else { return done(550) };
                let is_useful = self.record().is_some_and(|it| it.bytes.len() >= 2);
                let was_told = matches!(self.client.last, Last::Kept(..));
                if was_told && !self.client.is_warned && is_useful && !self.runs() {
                    (self.client.is_warned, self.has_been_read) = (true, true);
                    return done(450);
                }
                (self.client.has_read, self.has_been_read) = (true, true);
                (226, file)
            }
            Act::Dele => {
                let is_useful = self.record().is_some_and(|it| it.bytes.len() >= 2);
                let is_there = self.file.is_some() || is_useful && !self.runs();
                self.client = Client::default();
                match self.file {
                    Some(_) => self.name_changed(None, Change::Removed),
                    None => {
                        self.record = None;
                        // The user has discarded them.
                        self.begun.iter_mut().for_each(|it| it.leaves_nothing |= !it.is_gone);
                    }
                }
                done(if is_there { 250 } else { 550 })
            }
            Act::RenameAway => match self.file {
                Some(_) => {
                    self.client = Client::default();
                    self.name_changed(None, Change::Removed);
                    done(250)
                }
                None => done(550),
            },
            Act::RenameToItself => done(if self.file.is_some() { 250 } else { 550 }),
            Act::RenameOnto => {
                self.client = Client::default();
                self.name_changed(Some(b"another".to_vec()), Change::Stored);
                done(250)
            }
            Act::Rmd => match (&self.file, self.begun.is_empty()) {
                (Some(_), _) => done(550),
                (None, false) => done(450),
                (None, true) => {
                    self.record = None;
                    done(250)
                }
            },
            Act::MoveDirectory => done(250),
            Act::Reconnect => {
                self.client = Client::default();
                done(0)
            }
            Act::OtherUserStores => {
                self.name_changed(Some(bytes(7, 0, OTHERS)), Change::Stored);
                done(226)
            }
            Act::OtherUserDeletes => match self.file {
                Some(_) => {
                    self.name_changed(None, Change::Removed);
                    done(250)
                }
                None => done(550),
            },
            Act::Restart => {
                while !self.begun.is_empty() {
                    self.act(Act::CutBegun);
                }
                (self.client, self.has_been_read) = (Client::default(), false);
                done(0)
            }
            Act::Begin => {
                self.upload += 1;
                let mut begun = self.begin();
                begun.bytes = bytes(self.upload, 0, CUT);
                self.begun.push(begun);
                done(0)
            }
            Act::CutBegun => {
                if !self.begun.is_empty() {
                    let begun = self.begun.remove(0);
                    self.cut(begun);
                }
                done(0)
            }
            Act::OthersReplace => {
                self.file_changed(Some(vec![0xFF; 20 + self.next as usize]));
                done(0)
            }
            Act::OthersAppend | Act::OthersTouch => {
                if let Some((mut file, _)) = self.file.clone() {
                    file.extend(&b"+"[..usize::from(act == Act::OthersAppend)]);
                    self.file_changed(Some(file));
                }
                done(0)
            }
            Act::OthersRemove => {
                self.file_changed(None);
                done(0)
            }
            Act::BytesGo => {
                if let Some(record) = &mut self.record {
                    record.bytes.clear();
                }
                done(0)
            }
            Act::EndBegun => {
                if !self.begun.is_empty() {
                    let begun = self.begun.remove(0);
                    self.name_changed(Some(begun.bytes), Change::Stored);
                }
                done(0)
            }
        }
    }
}

/// Carries out a sequence, and compares each reply and the file with the model.
pub(crate) fn check<S: Storage + Clone + 'static>(storage: S, acts: &[Act], world: World) {
    storage.mkdir(&DIRECTORY.into()).unwrap();
    let forbids_late = !matches!(world, World::Closed);
    let is_on_disk = matches!(world, World::Disk(_));
    let mut served = Served::new(storage, world);
    let mut model = Model { forbids_late, is_on_disk, ..Model::default() };
    for (at, act) in acts.iter().enumerate() {
        let got = served.act(*act, &model);
        let want = model.act(*act);
        assert_eq!(got, want, "step {at} of {acts:?}\n{model:?}");
        let file = model.file.as_ref().map(|(file, _)| file.clone());
        assert_eq!(served.content(), file, "after step {at} of {acts:?}\n{model:?}");
    }
}

/// Returns the sequence with this number among all sequences of a length.
fn sequence(mut number: usize, length: usize) -> Vec<Act> {
    let digits = (0..length).map(|_| {
        let digit = number % ACTS.len();
        number /= ACTS.len();
        ACTS[digit]
    });
    digits.collect()
}

/// Returns whether a shorter sequence does the same: no upload is there to be ended, or the session
/// that ends has done nothing. All shorter sequences are the beginnings of others.
fn is_shorter(acts: &[Act]) -> bool {
    let mut begun = 0;
    for (at, act) in acts.iter().enumerate() {
        match act {
            Act::Begin => begun += 1,
            Act::CutBegun | Act::EndBegun if begun == 0 => return true,
            Act::CutBegun | Act::EndBegun => begun -= 1,
            Act::Reconnect | Act::Restart if at == 0 => return true,
            Act::Restart => begun = 0,
            _ => {}
        }
    }
    false
}

/// Checks every n-th of all sequences of a length, each on a new storage.
pub(crate) fn check_all<S: Storage + Clone + 'static>(
    length: u32,
    nth: usize,
    storage: impl Fn() -> S + Copy + Send,
) {
    let all = ACTS.len().pow(length);
    let threads = 2;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for number in (thread * nth..all).step_by(threads * nth) {
                    let acts = sequence(number, length as usize);
                    if !is_shorter(&acts) {
                        check(storage(), &acts, World::Closed);
                    }
                }
            });
        }
    });
}

#[test]
fn every_sequence_of_commands_ends_as_promised_fs_15() {
    if ftp_tests::scale::is_full() {
        // Millions of sequences, in minutes: they begin with all sequences of four commands.
        return check_all(5, 1, MemoryStorage::new);
    }
    check_all(3, 1, MemoryStorage::new);
    // All sequences of four take half a minute of a processor. A step that has no divisor in common
    // with the number of commands leaves each command at each place.
    check_all(4, 17, MemoryStorage::new);
}

/// Carries out random sequences of these commands, each on a new storage.
pub(crate) fn check_random<S: Storage + Clone + 'static>(
    rounds: usize,
    is_possible: impl Fn(Act) -> bool,
    mut storage: impl FnMut(usize) -> (S, World),
) {
    let acts = ACTS.iter().chain(OTHERS_ACTS).copied();
    let acts: Vec<_> = acts.filter(|act| is_possible(*act)).collect();
    let mut numbers = crate::testing::Numbers(1);
    for round in 0..rounds {
        let length = 3 + round % 6;
        let acts: Vec<Act> = (0..length).map(|_| numbers.one_of(&acts)).collect();
        let (storage, world) = storage(round);
        check(storage, &acts, world);
    }
}

/// Returns a storage on a new directory with this number.
fn on_disk(root: &tempfile::TempDir, number: usize) -> (LocalStorage, World) {
    let root = root.path().join(number.to_string());
    std::fs::create_dir(&root).unwrap();
    let config = LocalConfig::new().sync(SyncPolicy::None);
    let storage = LocalStorage::open(&root).unwrap().configured(config).unwrap();
    (storage, World::Disk(root))
}

#[test]
fn kept_bytes_survive_a_resumption_that_was_refused_fs_15() {
    let root = tempfile::tempdir().unwrap();
    let refused = [Act::RestStorRefused, Act::AppeRefused];
    for (number, refused) in refused.into_iter().enumerate() {
        let acts = [Act::OtherUserStores, Act::StorCut, Act::Size, refused, Act::RestStor];
        check(MemoryStorage::new(), &acts, World::Closed);
        let (storage, world) = on_disk(&root, number);
        check(storage, &acts, world);
    }
}

#[test]
fn random_sequences_end_as_promised_on_a_disk_and_beside_mounts_fs_15() {
    let rounds = ftp_tests::scale::count(300, 10_000);
    let root = tempfile::tempdir().unwrap();
    check_random(rounds, |_| true, |round| on_disk(&root, round));
    check_random(
        rounds,
        |_| true,
        |round| {
            let (own, world) = on_disk(&root, rounds + round);
            (MountedStorage::new(own).mount("/m", MemoryStorage::new()).unwrap(), world)
        },
    );
}

#[test]
fn whatever_others_do_to_the_file_nobody_resumes_at_its_length_fs_15() {
    let root = tempfile::tempdir().unwrap();
    let mut number = 0;
    // All sequences of two acts of the world, between a cut and each way to resume. The first one can be
    // the removal of the file by a client.
    let removals = [Act::Dele, Act::OtherUserDeletes, Act::RenameAway];
    for cut in [Act::StorCut, Act::StorCutEarly, Act::StorFailed, Act::Begin] {
        for first in OTHERS_ACTS.iter().chain(&removals) {
            for second in OTHERS_ACTS.iter().chain(&[Act::Restart, Act::Reconnect]) {
                for resume in [Act::RestStor, Act::Appe] {
                    let acts = [
                        Act::OtherUserStores,
                        cut,
                        *first,
                        *second,
                        Act::CutBegun,
                        Act::Size,
                        resume,
                    ];
                    let (storage, world) = on_disk(&root, number);
                    check(storage, &acts, world);
                    number += 1;
                }
            }
        }
    }
}

#[test]
fn a_rename_between_two_names_of_one_file_ends_no_record_cm_92_fs_15() {
    let root = tempfile::tempdir().unwrap();
    for (number, (from, to)) in [(FILE, OTHER_FILE), (OTHER_FILE, FILE)].into_iter().enumerate() {
        let (storage, world) = on_disk(&root, number);
        storage.mkdir(&DIRECTORY.into()).unwrap();
        let at = |name: &str| root.path().join(number.to_string()).join(&name[1..]);
        std::fs::write(at(FILE), "old").unwrap();
        std::fs::hard_link(at(FILE), at(OTHER_FILE)).unwrap();
        let mut served = Served::new(storage, world);
        let model = Model::default();
        assert_eq!(served.act(Act::StorCutEarly, &model).0, 426);
        assert_eq!(served.rename(from, to), 250);
        for (act, want) in [(Act::Size, 554), (Act::Appe, 450)] {
            assert_eq!(served.act(act, &model).0, want, "{act:?} after {from} to {to}");
        }
    }
}

/// The storage does not know the record: another server has left it.
#[test]
fn a_rename_ends_the_record_of_another_server_fs_15() {
    let directory = tempfile::tempdir().unwrap();
    let (storage, world) = on_disk(&directory, 0);
    storage.mkdir(&DIRECTORY.into()).unwrap();
    let model = Model::default();
    assert_eq!(Served::new(storage, world).act(Act::StorCut, &model).0, 426);
    let root = directory.path().join("0");
    let storage = LocalStorage::open(&root).unwrap();
    let mut served = Served::new(storage, World::Disk(root.clone()));
    assert_eq!(served.act(Act::RenameOnto, &model).0, 250);
    std::fs::remove_file(root.join(&FILE[1..])).unwrap();
    assert_eq!(served.act(Act::Size, &model).0, 550);
}

/// A storage in which another session's upload to the new name begins and is cut directly after a rename.
struct Overtaking(MemoryStorage);

impl Storage for Overtaking {
    forward_storage!(self, self.0; capabilities, confine, stat, list, read, write, unfinished, kept);
    forward_storage!(self, self.0; forget, remove, rmdir, mkdir, set, space);

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        self.0.rename(from, to, replace)?;
        cut(&self.0, to)
    }
}

fn cut(storage: &MemoryStorage, path: &VirtualPath) -> StorageResult<()> {
    let mut upload = storage.write(path, WriteMode::Replace, Keep::Bytes(b"u"))?;
    upload.write_all(b"cut").unwrap();
    upload.abort(StreamEnd::Cut);
    Ok(())
}

#[test]
fn a_rename_leaves_the_record_of_a_later_upload_fs_15() {
    for has_former in [false, true] {
        let (memory, to) = (MemoryStorage::new(), VirtualPath::from("/to"));
        for name in ["/from", "/to"] {
            memory.put(name, "old").unwrap();
        }
        if has_former {
            cut(&memory, &to).unwrap();
        }
        let builder = Server::builder().storage(Overtaking(memory.clone()));
        let server = builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap();
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        session.expect("RNFR from", 350);
        session.expect("RNTO to", 250);
        let record = memory.unfinished(&to, Some(b"u")).unwrap();
        assert_eq!(record.map(|record| record.kept), Some(3), "{has_former}");
    }
}

#[test]
fn an_append_that_resumes_needs_the_rights_of_a_replacement_fs_15_cm_106() {
    let append = Rights::READ | Rights::APPEND;
    for (old, rights, overwrite, want) in [
        (Some("old"), append, true, 550),
        (Some("old"), append | Rights::CREATE, true, 550),
        (Some("old"), Rights::FULL, false, 553),
        (Some("old"), Rights::FULL, true, 226),
        (None, append, true, 550),
        (None, append | Rights::CREATE, true, 226),
    ] {
        let storage = MemoryStorage::new();
        storage.mkdir(&DIRECTORY.into()).unwrap();
        if let Some(old) = old {
            storage.put(FILE, old).unwrap();
        }
        let mut served = Served::new(storage, World::Closed);
        let mut model = Model::default();
        let mut act = |served: &mut Served<MemoryStorage>, act| {
            let got = served.act(act, &model);
            model.act(act);
            got
        };
        assert_eq!(act(&mut served, Act::StorCut).0, 426);
        served.login_again(rights, overwrite);
        assert_eq!(act(&mut served, Act::Size), (213, (CUT - 1).to_string().into_bytes()));
        assert_eq!(act(&mut served, Act::Appe).0, want, "{rights:?} {overwrite}");
        let is_old = served.content() == old.map(|old| old.as_bytes().to_vec());
        assert_eq!(is_old, want != 226);
    }
}

#[test]
fn a_logger_may_append_an_hour_after_it_has_met_a_cut_upload_fs_15_cm_106() {
    let storage = MemoryStorage::new();
    storage.put(FILE, "old").unwrap();
    let mut served = Served::new(storage, World::Closed);
    assert_eq!(served.act(Act::StorCutEarly, &Model::default()).0, 426);
    assert_eq!(served.append_after(Duration::ZERO), Some(450));
    assert_eq!(served.append_after(Duration::ZERO), Some(450));
    // `None` shortly after the system has started.
    assert!([None, Some(226)].contains(&served.append_after(APPENDABLE)));
}

#[test]
fn each_record_that_cannot_be_read_has_an_hour_of_its_own_fs_15_cm_106() {
    let root = tempfile::tempdir().unwrap();
    let (storage, world) = on_disk(&root, 0);
    storage.mkdir(&DIRECTORY.into()).unwrap();
    let directory = root.path().join("0").join(&DIRECTORY[1..]);
    std::fs::write(directory.join("f"), "old").unwrap();
    let mut served = Served::new(storage, world);
    assert_eq!(served.act(Act::StorCutEarly, &Model::default()).0, 426);
    let names = std::fs::read_dir(&directory).unwrap().map(|found| found.unwrap().path());
    let record = names.into_iter().find(|name| name.to_string_lossy().contains("record-")).unwrap();
    // As another server leaves it that is killed.
    let empty = || {
        let new = directory.join("new");
        std::fs::write(&new, "").unwrap();
        std::fs::rename(new, &record).unwrap();
    };
    empty();
    assert_eq!(served.append_after(Duration::ZERO), Some(450));
    empty();
    for want in [450, 226] {
        // `None` shortly after the system has started.
        assert!([None, Some(want)].contains(&served.append_after(APPENDABLE)), "{want}");
    }
}

/// A storage that outlives the records of its uploads.
struct Forgetful(MemoryStorage);

impl Storage for Forgetful {
    forward_storage!(self, self.0; capabilities, confine, stat, list, read, kept, forget, remove);
    forward_storage!(self, self.0; rmdir, mkdir, rename, set, space);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        self.0.write(path, mode, Keep::Shared)
    }

    fn unfinished(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        Ok(Some(Unfinished::UNKNOWN))
    }
}

#[test]
fn a_mount_that_forgets_its_records_refuses_nothing_beside_it_fs_15() {
    let (own, far) = (MemoryStorage::new(), MemoryStorage::new());
    for storage in [&own, &far] {
        storage.put("/f", "0123").unwrap();
        storage.put("/log", "0123").unwrap();
        storage.put("/empty", "").unwrap();
    }
    let storage = MountedStorage::new(own).mount("/far", Partials::new(Forgetful(far))).unwrap();
    let builder = Server::builder().storage(storage).user("u", "p", Rights::FULL);
    let server = builder.bind("127.0.0.1:0").unwrap();
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    let mut upload = |command: &str, name: &str, asks: bool, rest: u64| {
        if asks {
            session.expect(format!("SIZE {name}"), 213);
        }
        let mut data = session.passive();
        if rest > 0 {
            session.expect(format!("REST {rest}"), 350);
        }
        match session.ask(format!("{command} {name}")).code {
            150 => {
                data.write_all(b"4567");
                data.close();
                session.reply().code
            }
            refused => refused,
        }
    };
    // A logger asks for no size, and to no bytes nothing can be joined.
    for (command, name, asks, rest, far) in [
        ("APPE", "log", false, 0, 226),
        ("APPE", "empty", true, 0, 226),
        ("APPE", "new", false, 0, 226),
        ("APPE", "f", true, 0, 450),
        ("STOR", "f", true, 4, 554),
        ("STOR", "f", false, 4, 554),
        ("STOR", "f", true, 0, 226),
    ] {
        let codes = ["/", "/far/"].map(|top| upload(command, &format!("{top}{name}"), asks, rest));
        assert_eq!(codes, [226, far], "{command} {name} {asks} {rest}");
    }
}
