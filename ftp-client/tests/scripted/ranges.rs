//! One file over several connections: what is kept of its ranges, and what refutes them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use ftp_client::error::JobFault;
use ftp_client::file::{Existing, Left, Why};
use ftp_client::{Done, Error, Event, FileOptions, Get, Place, Pool, Resume};

use crate::evidence::{Restart, Site, noise};

const SIZE: usize = 2 << 20;

/// The number of connections, and so of ranges.
const MOST: usize = 4;

/// The number of bytes that an interrupted transfer leaves of each range: more than are compared
/// again.
const KEPT: usize = 100_000;

/// What one attempt did.
struct Attempted {
    done: Result<Done, Error>,
    left: Left,
    /// Why a download began at byte 0.
    why: Vec<Why>,
    notes: Vec<String>,
}

fn attempt(site: &Site, target: &Path) -> Attempted {
    let said = Mutex::default();
    let show = |event: Event<'_>| {
        let mut said = said.lock().unwrap();
        let (why, notes): &mut (Vec<Why>, Vec<String>) = &mut said;
        match event {
            Event::FromZero { why: new, .. } => why.push(new),
            Event::Note { note, .. } => notes.push(note.to_string()),
            _ => {}
        }
    };
    let pool = Pool::new(|| site.connect()).size(MOST);
    let options = FileOptions::new();
    let mut job = Get::to_path(Place::at("a"), target, &options);
    let done = job.attempt_over(&pool, MOST, &show);
    let left = job.left().clone();
    let _ = pool.quit();
    let (why, notes) = said.into_inner().unwrap();
    Attempted { done, left, why, notes }
}

/// Leaves the beginning of each range beside the target.
fn interrupted(site: &Site, target: &Path) -> PathBuf {
    site.behaviour.lock().unwrap().cut = Some(KEPT);
    let Attempted { done, left, .. } = attempt(site, target);
    site.behaviour.lock().unwrap().cut = None;
    done.unwrap_err();
    let Left::Ranges(first) = left else { panic!("{left:?}") };
    assert_eq!(fs::metadata(&first).unwrap().len(), KEPT as u64);
    first
}

fn count(target: &Path) -> usize {
    fs::read_dir(target.parent().unwrap()).unwrap().count()
}

#[test]
fn a_range_whose_last_bytes_differ_is_not_joined_as_09() {
    let range = SIZE / MOST;
    for (at, has_digest, want) in [
        (None, false, None),
        (None, true, None),
        // In the overlap of the first range, and of the last one.
        (Some(KEPT - 1), false, Some(Why::TailDiffers)),
        (Some(3 * range + KEPT - 1), false, Some(Why::TailDiffers)),
        // Before the overlap: only a digest shows it.
        (Some(range), true, Some(Why::Refuted)),
    ] {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("a");
        let site = Site::start();
        site.behaviour.lock().unwrap().content = noise(1, SIZE);
        site.behaviour.lock().unwrap().has_digest = has_digest;
        interrupted(&site, &target);
        let new = {
            let mut now = site.behaviour.lock().unwrap();
            at.into_iter().for_each(|at| now.content[at] ^= 1);
            now.content.clone()
        };
        let Attempted { done, why, .. } = attempt(&site, &target);
        let done = done.unwrap();
        assert!(fs::read(&target).unwrap() == new, "{at:?}");
        assert_eq!(why, Vec::from_iter(want), "{at:?}");
        let resumed = if want.is_none() { MOST * KEPT } else { 0 };
        assert_eq!((done.resumed, done.size), (resumed as u64, SIZE as u64), "{at:?}");
        assert_eq!(count(&target), 1, "no range is left");
    }
}

#[test]
fn a_range_of_another_program_is_neither_used_nor_removed_as_09() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("a");
    let site = Site::start();
    let content = noise(2, SIZE);
    site.behaviour.lock().unwrap().content = content.clone();
    let foreign = root.path().join(format!("a.part.segment-{}", SIZE / MOST));
    fs::write(&foreign, &content[..KEPT]).unwrap();
    assert_eq!(interrupted(&site, &target), root.path().join("a.part-2"));
    let done = attempt(&site, &target).done.unwrap();
    assert_eq!(done.resumed, (MOST * KEPT) as u64);
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(fs::read(&foreign).unwrap(), &content[..KEPT]);
    assert_eq!(count(&target), 2);
}

#[test]
fn a_server_of_one_connection_sends_all_ranges_over_it() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("a");
    let site = Site::start();
    let content = noise(3, SIZE);
    {
        let mut now = site.behaviour.lock().unwrap();
        now.content = content.clone();
        now.most = 1;
    }
    let Attempted { done, notes, .. } = attempt(&site, &target);
    done.unwrap();
    assert!(fs::read(&target).unwrap() == content);
    assert!(notes.is_empty(), "{notes:?}");
    // One byte shows that the server begins where it is told to.
    assert_eq!(site.behaviour.lock().unwrap().transfers, MOST + 1);
}

/// ProFTPD over TLS lists `RANG STREAM`, but sends the file to its end. A question for the last byte
/// alone does not show that.
#[test]
fn a_server_that_goes_on_after_the_end_of_a_range_sends_each_range_by_rest() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("a");
    let site = Site::start();
    let content = noise(5, SIZE);
    {
        let mut now = site.behaviour.lock().unwrap();
        now.content = content.clone();
        (now.has_digest, now.goes_on) = (true, true);
    }
    let Attempted { done, notes, .. } = attempt(&site, &target);
    assert_eq!(done.unwrap().size, SIZE as u64);
    assert!(fs::read(&target).unwrap() == content);
    assert!(notes.is_empty(), "{notes:?}");
}

/// What holds for one connection holds for several: a stream has one attempt, the server's own file is
/// no target, and a path is checked before anything is sent.
#[test]
fn a_download_over_several_connections_has_the_checks_of_one_over_one() {
    let root = tempfile::tempdir().unwrap();
    let site = Site::start();
    let content = noise(6, SIZE);
    site.behaviour.lock().unwrap().content = content.clone();
    let (pool, options) = (Pool::new(|| site.connect()).size(MOST), FileOptions::new());
    let mut stream = Vec::new();
    let mut job = Get::to_writer(Place::at("a"), &mut stream, &options);
    site.behaviour.lock().unwrap().cut = Some(KEPT);
    job.attempt_over(&pool, MOST, &()).unwrap_err();
    site.behaviour.lock().unwrap().cut = None;
    let again = job.attempt_over(&pool, MOST, &()).unwrap_err();
    assert!(matches!(again, Error::Unsupported(_)), "{again:?}");
    assert!(stream == content[..KEPT], "{} bytes", stream.len());
    // The server's file, as far as its facts tell.
    let own = root.path().join("own");
    fs::write(&own, &content).unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    fs::File::options().write(true).open(&own).unwrap().set_modified(then).unwrap();
    // A link can lead to it from another directory.
    fs::hard_link(&own, root.path().join("other")).unwrap();
    let mut job = Get::in_place(Place::at("a"), &own, &options);
    let refused = job.attempt_over(&pool, MOST, &()).unwrap_err();
    assert!(matches!(refused, Error::Job(JobFault::MayBeSource(_))), "{refused:?}");
    assert!(fs::read(&own).unwrap() == content);
    let began = site.behaviour.lock().unwrap().transfers;
    let mut job = Get::to_path(Place::at("a\nDELE a"), &own, &options);
    let refused = job.attempt_over(&pool, MOST, &()).unwrap_err();
    assert!(matches!(refused, Error::Argument(_)), "{refused:?}");
    assert_eq!(site.behaviour.lock().unwrap().transfers, began);
    let _ = pool.quit();
}

#[test]
fn a_server_that_cannot_restart_sends_the_file_over_one_connection() {
    for restart in [Restart::Ignored, Restart::Refused] {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("a");
        let site = Site::start();
        let content = noise(4, SIZE);
        site.behaviour.lock().unwrap().content = content.clone();
        // Also with ranges from a time when it could.
        for was_interrupted in [false, true] {
            if was_interrupted {
                site.behaviour.lock().unwrap().restart = Restart::Works;
                interrupted(&site, &target);
            }
            site.behaviour.lock().unwrap().restart = restart;
            let Attempted { done, notes, .. } = attempt(&site, &target);
            assert_eq!(done.unwrap().resumed, 0, "{restart:?}");
            assert!(fs::read(&target).unwrap() == content, "{restart:?}");
            assert!(notes.concat().contains("over one connection: the server cannot"), "{notes:?}");
        }
    }
}

/// Over one connection, too. What was compared is what may be replaced, and nothing else.
#[test]
fn a_target_that_changes_after_it_was_compared_stays_and_so_does_the_source() {
    let newer = |resume| FileOptions::new().existing(Existing::ReplaceOlder).resume(resume);
    let differs = FileOptions::new().existing(Existing::ReplaceDifferent);
    for (options, most, moves) in [
        (newer(Resume::Own), 1, false),
        (newer(Resume::Proven), 1, false),
        (newer(Resume::Own), MOST, false),
        (newer(Resume::Own), 1, true),
        (differs, 1, false),
    ] {
        let options = options.moves(moves);
        for (was_there, edits) in [(true, true), (false, true), (true, false), (false, false)] {
            // A move removes its source, which this server refuses.
            if moves && !edits {
                continue;
            }
            let root = tempfile::tempdir().unwrap();
            let target = root.path().join("a");
            if was_there {
                fs::write(&target, "old").unwrap();
                let then = SystemTime::UNIX_EPOCH + Duration::from_secs(900_000_000);
                fs::File::options().write(true).open(&target).unwrap().set_modified(then).unwrap();
            }
            let site = Site::start();
            site.behaviour.lock().unwrap().content = noise(7, SIZE);
            let edit = |event: Event<'_>| {
                if edits && matches!(event, Event::Begun { .. }) {
                    fs::write(&target, "edited meanwhile").unwrap();
                }
            };
            let pool = Pool::new(|| site.connect()).size(most);
            let mut job = Get::to_path(Place::at("a"), &target, &options);
            let done = match most {
                1 => job.attempt(&mut pool.take().unwrap(), &edit),
                most => job.attempt_over(&pool, most, &edit),
            };
            let case = format!("{options:?} {most} {was_there} {edits}: {done:?}");
            if !edits {
                assert_eq!(done.expect(&case).skipped, None, "{case}");
                assert!(fs::read(&target).unwrap() == noise(7, SIZE), "{case}");
                continue;
            }
            let Err(Error::Local(error)) = &done else { panic!("{case}") };
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{case}");
            assert_eq!(fs::read(&target).unwrap(), b"edited meanwhile", "{case}");
            drop(job);
            let _ = pool.quit();
        }
    }
}

/// A server that ignores `REST` sends the first bytes again, and they are what is compared.
#[test]
fn a_file_that_repeats_its_beginning_is_resumed_only_if_its_length_shows_it_as_09() {
    // It fits into what comes before the 64 KiB that are compared.
    let period = noise(8, (KEPT - (64 << 10)) / 32);
    let repeated: Vec<u8> = period.iter().cycle().take(3 * KEPT).copied().collect();
    for content in [vec![0; 3 * KEPT], repeated] {
        for (restart, has_size) in
            [(Restart::Works, true), (Restart::Works, false), (Restart::Ignored, false)]
        {
            let root = tempfile::tempdir().unwrap();
            let target = root.path().join("a");
            let site = Site::start();
            {
                let mut now = site.behaviour.lock().unwrap();
                (now.content, now.cut, now.has_size) = (content.clone(), Some(KEPT), has_size);
                now.restart = restart;
            }
            site.get("a", &target, Resume::Proven).unwrap_err();
            site.behaviour.lock().unwrap().cut = None;
            let done = site.get("a", &target, Resume::Proven).unwrap();
            assert!(fs::read(&target).unwrap() == content, "{restart:?} {has_size} {done:?}");
            assert_eq!(done.resumed > 0, has_size, "{restart:?} {done:?}");
            assert_eq!(count(&target), 1);
        }
    }
}
