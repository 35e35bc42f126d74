//! `Relay`: the copy as a job with memory.

use std::net::TcpListener;
use std::sync::Mutex;

use ftp_client::error::{JobFault, Recovery};
use ftp_client::file::{Relay, Side, TemporaryName, Verify};
use ftp_client::{Client, Done, Error, ErrorKind, Event, FileOptions, Place, Resume};
use ftp_tests::site::OurServer;

use crate::peer::Peer;

use super::{BEGUN, Closed, Meeting, TARGET_LISTENS, TYPES, Then, Usable};

const SENT: &str = "s< 226 sent\n t< 226 there\n";
const CUT: &str = "s< 426 cut\n t< 426 cut\n";
const REST: &str = "s> REST 7\n s< 350 ok\n t> REST 7\n t< 350 ok\n";
const SIZES: &str = "s> SIZE a\n s< 213 9\n t> SIZE b\n t< 213 9\n";
const NO_DIGEST: &str = "t> FEAT\n t< 502 what\n s> FEAT\n s< 502 what\n";
const XCRC: &str =
    "t> FEAT\n t< 211-so\n t<  XCRC\n t< 211 end\n s> FEAT\n s< 211-so\n s<  XCRC\n s< 211 end\n";

/// The target lacks the file, which a copy may then write under its own name.
const FREE: &str =
    "t> FEAT\n t< 211-so\n t<  MLST\n t<  XCRC\n t< 211 end\n t> MLST b\n t< 550 none\n";

/// A target of `there` bytes (empty: none) and a source of 9 bytes with a time.
fn facts(there: &str, time: &str) -> String {
    let size = if there.is_empty() { "550 none".to_owned() } else { format!("213 {there}") };
    format!("t> SIZE b\n t< {size}\n s> SIZE a\n s< 213 9\n s> MDTM a\n s< {time}\n")
}

/// The last bytes of both files, of servers without digests.
fn ends(of_source: &str, of_target: &str) -> String {
    let end = |at: &str, name: &str, bytes: &str| match bytes {
        "" => format!("{at}#\n {at}> RETR {name}\n {at}< 550 no\n"),
        _ => format!("{at}#\n {at}> RETR {name}\n {at}< 150 go\n {at}= {bytes}\n {at}< 226 done\n"),
    };
    [NO_DIGEST, &end("s", "a", of_source), &end("t", "b", of_target)].concat()
}

const TIME: &str = "213 20260101000000";

/// The beginning of a copy under another name, and its end before it is complete.
fn cut_aside(time: &str) -> String {
    let asked =
        format!("t? SIZE .in.b.\n t< 550 no\n s> SIZE a\n s< 213 9\n s> MDTM a\n s< {time}\n");
    let begun = "s> RETR a\n s< 150 going\n t? STOR .in.b.\n t< 150 go\n";
    [&*asked, TARGET_LISTENS, begun, CUT].concat()
}

fn job(options: &FileOptions) -> Relay<'_> {
    Relay::new(Place::at("a"), Place::at("b"), options).listener(Some(Side::Target))
}

/// One attempt over new connections, and what it said.
#[track_caller]
fn attempt(job: &mut Relay<'_>, script: &str, then: [Then; 2]) -> (Result<Done, Error>, String) {
    attempt_with(job, Meeting::new(script, then), script, then)
}

#[track_caller]
fn attempt_with(
    job: &mut Relay<'_>,
    mut meeting: Meeting,
    script: &str,
    then: [Then; 2],
) -> (Result<Done, Error>, String) {
    let said = Mutex::new(String::new());
    let on = |event: Event<'_>| match event {
        Event::Begun { at, .. } => said.lock().unwrap().push_str(&format!("at {at} ")),
        Event::FromZero { why, .. } => said.lock().unwrap().push_str(&format!("{why:?} ")),
        Event::Done { bytes, .. } => said.lock().unwrap().push_str(&format!("done {bytes}")),
        Event::Note { note, .. } => said.lock().unwrap().push_str(&format!(" {note}")),
        _ => {}
    };
    let done = job.attempt(&mut meeting.source, &mut meeting.target, &on);
    meeting.end(script, then);
    (done, said.into_inner().unwrap())
}

#[test]
fn a_second_attempt_resumes_only_own_bytes_of_an_unchanged_source() {
    let options = FileOptions::new().retried(true);
    let copy = |rest: &str, kept: usize| {
        let bytes = "1234567".get(..kept).unwrap();
        let ends = if kept > 0 { ends(bytes, bytes) } else { String::new() };
        [&ends, TARGET_LISTENS, rest, BEGUN, SENT, SIZES].concat()
    };
    let other = "213 20260101000001";
    for (before, first, after, second, kept, want) in [
        ("", TIME, "7", TIME, 7, "at 7 done 2"),
        ("5", TIME, "7", TIME, 7, "at 7 done 2"),
        // The target may still have the file that the copy replaces.
        ("7", TIME, "7", TIME, 0, "NoRecord at 0 done 9"),
        // The source's file is another one, or may be.
        ("", TIME, "7", other, 0, "NoRecord at 0 done 9"),
        ("", "502 what", "7", "502 what", 0, "at 0 done 9"),
        // Another program stored a longer file.
        ("", TIME, "10", TIME, 0, "AnotherVersion at 0 done 9"),
        ("", TIME, "", TIME, 0, "at 0 done 9"),
    ] {
        // Where there is a file that is not continued, the copy would have another name.
        let goes_aside = kept == 0 && !after.is_empty();
        let is_in_place = !before.is_empty() || goes_aside;
        let mut job = job(&options).in_place(is_in_place);
        let free = if is_in_place { "" } else { FREE };
        let script = [free, TYPES, &facts(before, first), TARGET_LISTENS, BEGUN, CUT].concat();
        let (done, _) = attempt(&mut job, &script, [Usable, Usable]);
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Temporary);
        let rest = if kept > 0 { REST } else { "" };
        let script = [TYPES, &facts(after, second), &copy(rest, kept)].concat();
        let (done, said) = attempt(&mut job, &script, [Usable, Usable]);
        let done = done.unwrap_or_else(|error| panic!("{error}\n{script}"));
        assert_eq!((said.as_str(), done.size, done.resumed), (want, 9, kept as u64), "{script}");
        assert_eq!(job.size(), Some(9));
        if goes_aside && before.is_empty() {
            let mut job = self::job(&options);
            let script = [FREE, TYPES, &facts("", first), TARGET_LISTENS, BEGUN, CUT].concat();
            attempt(&mut job, &script, [Usable, Usable]).0.unwrap_err();
            let script = [TYPES, &facts(after, second), &cut_aside(second)].concat();
            attempt(&mut job, &script, [Usable, Usable]).0.unwrap_err();
        }
    }
    // The target waits until it has noticed the end of the first attempt. A server that does not
    // answer questions for the sake of a resume still gets the copy.
    let mut job = job(&options).in_place(true);
    let refuses = "t> SIZE b\n t< 450 busy\n s> SIZE a\n s< 450 busy\n s> MDTM a\n s< 530 no\n";
    let script = [TYPES, refuses, TARGET_LISTENS, BEGUN, CUT].concat();
    attempt(&mut job, &script, [Usable, Usable]).0.unwrap_err();
    let script = [TYPES, &facts("7", TIME), TARGET_LISTENS, BEGUN, CUT].concat();
    attempt(&mut job, &script, [Usable, Usable]).0.unwrap_err();
    let busy = "t> SIZE b\n t< 450 still receiving\n";
    let script = [TYPES, busy, &facts("6", TIME), &copy(&REST.replace('7', "6"), 6)].concat();
    assert_eq!(attempt(&mut job, &script, [Usable, Usable]).0.unwrap().resumed, 6);
    // A job that is attempted once asks for nothing before, and a second attempt keeps nothing.
    let options = FileOptions::new();
    let mut once = self::job(&options);
    let script = [FREE, TYPES, TARGET_LISTENS, BEGUN, CUT].concat();
    attempt(&mut once, &script, [Usable, Usable]).0.unwrap_err();
    let script = [TYPES, &copy("", 0)].concat();
    assert_eq!(attempt(&mut once, &script, [Usable, Usable]).0.unwrap().resumed, 0);
}

/// As many bytes as this job sent can be those of another program, or of another server with the
/// same name.
#[test]
fn own_bytes_of_a_copy_count_only_if_both_servers_send_them_as_09() {
    let options = FileOptions::new().retried(true);
    for (have, of_source, of_target, want) in [
        ("7", "1234567", "12345_7", "TailDiffers"),
        ("7", "1234567", "123456", "TailDiffers"),
        ("7", "123456", "1234567", "NoRecord"),
        ("7", "1234567", "123456789", "TailDiffers"),
        ("9", "123456789", "12345678_", "TailDiffers"),
        ("7", "", "1234567", "NoRecord"),
        ("7", "1234567", "", "NoRecord"),
        ("9", "123456789", "", "NoRecord"),
    ] {
        let lost = "s< 226 sent\n t!\n";
        let ends = ends(of_source, of_target);
        let copied = [TARGET_LISTENS, BEGUN, SENT, SIZES].concat();
        for (is_in_place, then, end) in [(true, copied, "done 9"), (false, cut_aside(TIME), "")] {
            let mut job = job(&options).in_place(is_in_place);
            let free = if is_in_place { "" } else { FREE };
            let script = [free, TYPES, &facts("", TIME), TARGET_LISTENS, BEGUN, lost].concat();
            attempt(&mut job, &script, [Usable, Closed]).0.unwrap_err();
            let script = [TYPES, &facts(have, TIME), &ends, &then].concat();
            let (done, said) = attempt(&mut job, &script, [Usable, Usable]);
            assert_eq!(done.map(|done| done.resumed).ok(), is_in_place.then_some(0), "{script}");
            assert_eq!(said, format!("{want} at 0 {end}"));
        }
    }
}

#[test]
fn a_digest_that_costs_the_connection_is_not_asked_for_again() {
    let options = FileOptions::new().retried(true).resume(Resume::Proven);
    let mut job = job(&options);
    let (there, facts_now) = ("t> TYPE I\n t< 200 ok\n t> SIZE b\n t< 213 9\n", facts("9", TIME));
    let image = "s> TYPE I\n s< 200 ok\n";
    let script = [there, image, &facts_now, XCRC, "s> XCRC a\n s!\n"].concat();
    attempt(&mut job, &script, [Closed, Usable]).0.unwrap_err();
    let script = [TYPES, &facts("9", TIME), &cut_aside(TIME)].concat();
    let (done, said) = attempt(&mut job, &script, [Usable, Usable]);
    assert_eq!((done.is_err(), said.as_str()), (true, "NoRecord at 0 "));
}

#[test]
fn a_confirmation_that_speaks_of_an_abort_is_no_success_without_a_size() {
    let options = FileOptions::new();
    for replies in
        ["s< 226 sent\n t< 226 Transfer aborted\n", "s< 226 File send incomplete\n t< 226 there\n"]
    {
        let unknown = "s> SIZE a\n s< 502 what\n";
        let script = [FREE, TYPES, TARGET_LISTENS, BEGUN, replies, unknown].concat();
        let (done, _) = attempt(&mut job(&options), &script, [Usable, Usable]);
        let error = done.unwrap_err();
        assert!(matches!(error, Error::Job(JobFault::Aborted(_))), "{error}");
        let script = [FREE, TYPES, TARGET_LISTENS, BEGUN, replies, SIZES].concat();
        let (done, _) = attempt(&mut job(&options), &script, [Usable, Usable]);
        assert_eq!(done.unwrap().verified, Verify::Size);
    }
}

#[test]
fn own_bytes_can_be_the_whole_file() {
    let options = FileOptions::new().retried(true);
    for (shown, rest) in [
        ("t> MDTM b\n t< 213 20260102000000\n", None),
        // The file lacks its name until a transfer without data completes it.
        ("t> MDTM b\n t< 550 none\n t> MLST b\n t< 550 none\n", Some("9")),
    ] {
        let mut job = job(&options);
        let lost = "s< 226 sent\n t!\n";
        let script = [FREE, TYPES, &facts("", TIME), TARGET_LISTENS, BEGUN, lost].concat();
        let (done, _) = attempt(&mut job, &script, [Usable, Closed]);
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Network);
        let more = match rest {
            Some(_) => {
                let rest = REST.replace('7', "9");
                [TARGET_LISTENS, &rest, BEGUN, SENT, SIZES].concat()
            }
            None => String::new(),
        };
        let ends = ends("123456789", "123456789");
        let script = [TYPES, &facts("9", TIME), &ends, shown, &more].concat();
        let (done, said) = attempt(&mut job, &script, [Usable, Usable]);
        let done = done.unwrap();
        assert_eq!((done.bytes, done.resumed, said.as_str()), (0, 9, "at 9 done 0"));
        assert_eq!(job.listened().is_some(), rest.is_some());
    }
}

#[test]
fn what_cannot_be_resumed_begins_at_byte_0_within_the_attempt() {
    let options = FileOptions::new().resume(Resume::Trusted);
    let asked = "t> TYPE I\n t< 200 ok\n t> SIZE b\n t< 213 7\n s> TYPE I\n s< 200 ok\n";
    let facts = "t> SIZE b\n t< 213 7\n s> SIZE a\n s< 213 9\n s> MDTM a\n s< 502 what\n";
    let trusted: &str = &[asked, facts].concat();
    let copy = [TARGET_LISTENS, BEGUN, SENT, SIZES].concat();
    // A server refuses REST, or the command after it. A restart that no transfer used is taken
    // back.
    for (refused, reset) in [
        ("s> REST 7\n s< 502 no\n", ""),
        ("s> REST 7\n s< 350 ok\n t> REST 7\n t< 501 no\n", "s> REST 0\n s< 350 ok\n"),
        (
            "s> REST 7\n s< 350 ok\n t> REST 7\n t< 350 ok\n s> RETR a\n s< 554 no\n",
            "s> REST 0\n s< 350 ok\n t> REST 0\n t< 350 ok\n",
        ),
    ] {
        // By default, the old file stays until the whole copy is there.
        let named = |text: &str| text.replace("t> STOR b", "t? STOR .in.b.");
        let aside = [&*named(BEGUN), SENT, &SIZES.replace("t> SIZE b", "t? SIZE .in.b.")].concat();
        let renamed = "t? MDTM .in.b.\n t< 502 what\n t? SIZE .in.b.\n t< 213 9\n \
                       t? MDTM .in.b.\n t< 502 what\n t? RNFR .in.b.\n t< 350 ok\n \
                       t> RNTO b\n t< 250 ok\n t> SIZE b\n t< 213 9\n t> MDTM b\n t< 502 what\n";
        for (is_in_place, begun, copied) in [
            (true, [TYPES, facts].concat(), [BEGUN, SENT, SIZES].concat()),
            (false, trusted.to_owned(), [&*aside, renamed].concat()),
        ] {
            let script =
                [&*begun, TARGET_LISTENS, refused, TARGET_LISTENS, reset, &copied].concat();
            let mut job = job(&options).in_place(is_in_place);
            let (done, said) = attempt(&mut job, &script, [Usable, Usable]);
            assert_eq!(done.unwrap().resumed, 0);
            assert_eq!(said, "at 7 NoRestart at 0 done 9");
        }
    }
    // The digests of the whole files differ.
    let differ = "s> XCRC a\n s< 250 CBF43926\n t> XCRC b\n t< 250 00000000\n";
    let resumed = [TARGET_LISTENS, REST, BEGUN, SENT, SIZES, XCRC, differ].concat();
    let script = [trusted, &resumed, &copy].concat();
    let (done, said) = attempt(&mut job(&options), &script, [Usable, Usable]);
    assert_eq!((done.unwrap().verified, said.as_str()), (Verify::Size, "at 7 Refuted at 0 done 9"));
    // Not with `Verify::None`.
    let options = options.verify(Verify::None);
    let copied = [trusted, TARGET_LISTENS, REST, BEGUN, SENT].concat();
    let resumed = |source: &str, target: &str| {
        let sizes = format!("s> SIZE a\n s< {source}\n t> SIZE b\n t< {target}\n");
        attempt(&mut job(&options), &(copied.clone() + &sizes), [Usable, Usable])
    };
    let (done, said) = resumed("213 9", "213 9");
    assert_eq!((done.unwrap().verified, said.as_str()), (Verify::Size, "at 7 done 2"));
    // The source may have grown since it was asked, or during the copy.
    for (source, target) in [("213 12", "213 9"), ("213 12", "213 11"), ("213 12", "213 12")] {
        let done = resumed(source, target).0.unwrap();
        assert_eq!(done.verified == Verify::Size, source == target, "{source} {target}");
    }
    // But a server that ignores REST is noticed.
    for (source, target) in [("213 9", "213 16"), ("213 9", "213 2"), ("213 12", "213 19")] {
        let error = resumed(source, target).0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{source} {target}");
    }
}

#[test]
fn a_copy_is_verified_as_demanded() {
    let moved = [FREE, TYPES, TARGET_LISTENS, BEGUN, SENT].concat();
    // The target has told its features.
    let of_source = |features: &str| {
        let (_, of_source) = features.split_once("s> FEAT").unwrap();
        format!("s> FEAT{of_source}")
    };
    let (xcrc, no_digest) = (&*of_source(XCRC), &*of_source(NO_DIGEST));
    let equal = "s> XCRC a\n s< 250 CBF43926\n t> XCRC b\n t< 250 CBF43926\n";
    let differ = equal.replacen("CBF43926\n t>", "00000000\n t>", 1);
    let unknown = "s> SIZE a\n s< 502 what\n";
    for (verify, script, want) in [
        (Verify::IfKnown, SIZES.to_owned(), Ok(Verify::Size)),
        (Verify::IfKnown, unknown.to_owned(), Ok(Verify::None)),
        (Verify::None, String::new(), Ok(Verify::None)),
        (Verify::Size, SIZES.to_owned(), Ok(Verify::Size)),
        (Verify::Size, unknown.to_owned(), Err(ErrorKind::Unsupported)),
        (Verify::Digest, [SIZES, xcrc, equal].concat(), Ok(Verify::Digest)),
        (Verify::Digest, [unknown, xcrc, equal].concat(), Ok(Verify::Digest)),
        (Verify::Digest, [SIZES, xcrc, &differ].concat(), Err(ErrorKind::Integrity)),
        (Verify::Digest, [SIZES, no_digest].concat(), Err(ErrorKind::Unsupported)),
    ] {
        let options = FileOptions::new().verify(verify);
        let mut job = job(&options);
        let (done, _) = attempt(&mut job, &format!("{moved}{script}"), [Usable, Usable]);
        let done = done.map_err(|error| error.kind());
        assert_eq!(done.as_ref().map(|done| done.verified), want.as_ref().copied(), "{script}");
        if let Ok(done) = done {
            let size = job.size();
            assert_eq!((done.size, done.bytes), (size.unwrap_or(0), size.unwrap_or(0)));
        }
    }
}

/// The target can keep its old file, and give the copy another name.
#[test]
fn a_copy_gets_its_time_and_then_its_name() {
    let options = FileOptions::new().preserve(true);
    let begun = BEGUN.replace("STOR b", "STOR in/.in.b");
    let sizes = SIZES.replace("SIZE b", "SIZE in/.in.b");
    let script = [
        "t> TYPE I\n t< 200 ok\n t> SIZE in/.in.b\n t< 550 none\n",
        "s> MDTM a\n s< 213 20260101000000\n s> TYPE I\n s< 200 ok\n",
        TARGET_LISTENS,
        &begun,
        SENT,
        &sizes,
        "t> MDTM in/.in.b\n t< 213 20260102000000\n",
        "t> MFMT 20260101000000 in/.in.b\n t< 213 ok\n t> NOOP\n t< 200 ok\n",
        "t> SIZE in/.in.b\n t< 213 9\n t> MDTM in/.in.b\n t< 213 20260101000000\n",
        "t> RNFR in/.in.b\n t< 350 ok\n t> RNTO in/b\n t< 250 ok\n",
    ]
    .concat();
    for (size, time, is_there) in [
        (9, "20260101000000", true),
        // The time of the renaming.
        (9, "20260102000001", true),
        (9, "20251231000000", false),
        (8, "20260101000000", false),
    ] {
        let now = format!("t> SIZE in/b\n t< 213 {size}\n t> MDTM in/b\n t< 213 {time}\n");
        let script = format!("{script}{now}");
        let mut job = Relay::new(Place::at("a"), Place::at("in/b"), &options)
            .under(TemporaryName::parse(b".in.*"))
            .listener(Some(Side::Target));
        let mut meeting = Meeting::new(&script, [Usable, Usable]);
        let mut noted = Vec::new();
        let done = job.attempt_noting(
            &mut meeting.source,
            &mut meeting.target,
            &(),
            &mut |client, path| {
                noted.push(path.to_vec());
                client.noop().map(|()| None)
            },
        );
        match is_there {
            true => assert_eq!(done.unwrap().size, 9, "{now}"),
            false => assert!(matches!(done, Err(Error::Job(JobFault::NotReplaced))), "{done:?}"),
        }
        assert_eq!(noted, [b"in/.in.b"]);
        meeting.end(&script, [Usable, Usable]);
    }
}

/// A server can confirm a copy that it stores under another name: its old file must not get the time.
#[test]
fn a_copy_over_a_file_of_its_size_gets_its_time_only_if_it_is_new() {
    let options = FileOptions::new().preserve(true);
    for (size, then, is_new) in [
        ("213 9", "213 20250101000001", true),
        ("213 9", "213 20250101000000", false),
        ("213 8", "", true),
        ("450 busy", "213 20250101000000", false),
    ] {
        let is_other = size == "213 8";
        let after = match (is_other, is_new) {
            (true, _) => String::new(),
            (false, true) => format!("t> MDTM b\n t< {then}\n"),
            (false, false) => format!("t> MDTM b\n t< {then}\n s> FEAT\n s< 502 what\n"),
        };
        let script = [
            format!("t> TYPE I\n t< 200 ok\n t> SIZE b\n t< {size}\n").as_str(),
            "t> FEAT\n t< 502 what\n",
            if size == "450 busy" { "t> MLST b\n t< 502 what\n" } else { "" },
            "t> MDTM b\n t< 213 20250101000000\n",
            "s> MDTM a\n s< 213 20260101000000\n s> TYPE I\n s< 200 ok\n",
            TARGET_LISTENS,
            BEGUN,
            SENT,
            SIZES,
            &after,
            if is_new { "t> MFMT 20260101000000 b\n t< 213 ok\n" } else { "" },
        ]
        .concat();
        let mut job = Relay::new(Place::at("a"), Place::at("b"), &options)
            .listener(Some(Side::Target))
            .in_place(true);
        let (done, _) = attempt(&mut job, &script, [Usable, Usable]);
        match is_new {
            true => assert_eq!(done.unwrap().size, 9, "{size} {then}"),
            false => assert!(matches!(done, Err(Error::Job(JobFault::NotReplaced))), "{done:?}"),
        }
    }
}

#[test]
fn a_copy_does_not_replace_its_own_source() {
    let ours = OurServer::start();
    ours.root.mkdir("d");
    std::os::unix::fs::symlink("d", ours.root.join("alias")).unwrap();
    let connect = || {
        let mut client = Client::builder().connect(&ours.address.to_string()).unwrap();
        client.login(ours.user, ours.password).unwrap();
        client
    };
    let options = FileOptions::new();
    for (from, to, is_under, is_same) in [
        ("d/a", "d/a", false, true),
        ("d/a", "./d/a", true, true),
        // Through a link, the source is replaced by its copy.
        ("d/a", "alias/a", false, false),
        ("d/a", "alias/a", true, false),
        ("d/.in.a", "d/a", true, true),
        ("d/a", "e/b", false, false),
        ("d/.in.a", "e/a", true, false),
    ] {
        for name in [from, "e/b"] {
            ours.root.write(name, b"content");
        }
        let mut job = Relay::new(Place::at(from), Place::at(to), &options)
            .under(is_under.then(|| TemporaryName::parse(b".in.*").unwrap()));
        match job.attempt(&mut connect(), &mut connect(), &()) {
            Ok(done) => assert!(!is_same && done.size == 7, "{from} {to}"),
            Err(Error::Job(JobFault::OntoItself)) => {
                assert!(is_same, "{from} {to}");
            }
            Err(error) => panic!("{from} {to}: {error}"),
        }
        assert_eq!(ours.root.read(from), b"content", "{from} {to}");
    }
}

#[test]
fn a_257_without_quotes_leaves_both_connections_of_a_copy_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let threads = [(); 2].map(|()| {
        let listener = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut peer = Peer::new(listener.accept().unwrap().0);
            peer.reply("220 ready");
            loop {
                match peer.line().as_slice() {
                    b"" => return,
                    b"USER u\r\n" => peer.reply("230 in"),
                    b"PWD\r\n" => peer.reply("257 / is the current directory"),
                    b"NOOP\r\n" => peer.reply("200 ok"),
                    _ => peer.reply("502 what"),
                }
            }
        })
    });
    let mut clients = [(); 2].map(|()| {
        let mut client = Client::builder().connect(&address).unwrap();
        client.login("u", "p").unwrap();
        client
    });
    let [source, target] = &mut clients;
    let options = FileOptions::new();
    let done = Relay::new(Place::at("a"), Place::at("b"), &options).attempt(source, target, &());
    assert!(!matches!(done, Err(Error::Protocol(_) | Error::Closed)), "{done:?}");
    for mut client in clients {
        client.noop().unwrap();
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// What the target tells of the file that a copy replaces.
const A_FILE: &str = "t> SIZE b\n t< 213 4\n t> PWD\n t< 257 \"/\"\n t> CWD b\n t< 550 no\n";

/// What a target may have stays until the copy is complete, whatever it is.
#[test]
fn a_file_of_the_target_is_replaced_only_by_a_complete_copy_fx_04() {
    const STORED: &str = "STOR .in.b.";
    const A_DIRECTORY: &str = "t> SIZE b\n t< 213 4\n t> PWD\n t< 257 \"/\"\n \
                               t> CWD b\n t< 250 in\n t> CWD /\n t< 250 back\n";
    let options = FileOptions::new();
    let there = "t> FEAT\n t< 502 what\n t> MLST b\n t< 502 what\n";
    let listens = [TYPES, TARGET_LISTENS].concat();
    let facts = |time| {
        format!(
            "t? SIZE .in.b.\n t< 213 9\n t? MDTM .in.b.\n t< {time}\n \
             t? RNFR .in.b.\n t< 350 ok\n"
        )
    };
    let time = "213 20260101000000";
    let begun = format!("s> RETR a\n s< 150 going\n t? {STORED}\n t< 150 go\n");
    let copied = [&begun, SENT].concat();
    let sizes = "s> SIZE a\n s< 213 9\n t? SIZE .in.b.\n t< 213 9\n";
    let noted = format!("{sizes} t? MDTM .in.b.\n t< {time}\n");
    let now = |size, time| format!("t> SIZE b\n t< {size}\n t> MDTM b\n t< {time}\n");
    let exchanged = |last| {
        format!(
            "t< 553 exists\n {A_FILE} t> RNFR b\n t< 350 ok\n t? RNTO b.old.\n t< 250 ok\n \
             t? RNFR .in.b.\n t< 350 ok\n t> RNTO b\n t< {last}\n"
        )
    };
    let all = |rest: String| {
        [there, &listens, &copied, &noted, &facts(time), "t> RNTO b\n", &rest].concat()
    };
    let done = now("213 9", time);
    let removed = "t? DELE .in.b.\n t< 250 ok\n";
    let is_free = "t> MDTM b\n t< 550 no\n t> MLST b\n t< 502 what\n t> TYPE A\n t< 200 ok\n \
                   t#\n t> LIST -a\n t< 150 so\n \
                   t= -rw-r--r-- 1 u u 4 Jan 1 2020 b.old.1$\n t< 226 done\n";
    let back = format!("{is_free} t? RNFR b.old.\n t< 350 ok\n t> RNTO b\n");
    let is_back = format!("{back} t< 250 ok\n t> MDTM b\n t< {time}\n");
    // The server only confirms that the old file has its name again.
    let only_said = format!(
        "{back} t< 250 ok\n t> MDTM b\n t< 550 no\n t> MLST b\n t< 502 what\n t? MDTM b.old.\n t< {time}\n"
    );
    let not_moved =
        format!("t< 553 exists\n {A_FILE} t> RNFR b\n t< 350 ok\n t? RNTO b.old.\n t< 550 no\n");
    for (script, want) in [
        (all(format!("t< 250 ok\n {done}")), "done"),
        // The server has given the copy another name.
        (all(format!("t< 250 ok\n {}", now("213 9", "213 20200101000000"))), "not replaced"),
        // It gives none a name that exists.
        (all(format!("{} {done} t? DELE b.old.\n t< 250 ok\n", exchanged("250 ok"))), "done"),
        (all(format!("{} {done} t? DELE b.old.\n t< 550 no\n", exchanged("250 ok"))), "stays"),
        (all(format!("{} {is_back} {removed}", exchanged("553 no"))), "removed"),
        (all(format!("{} {only_said}", exchanged("553 no"))), "kept"),
        // What it refused, it may have carried out.
        (all(format!("{not_moved} t> MDTM b\n t< {time}\n {removed}")), "removed"),
        (all(format!("{not_moved} {is_back} {removed}")), "removed"),
        (all(format!("{} t> MDTM b\n t< {time}\n", exchanged("553 no"))), "kept"),
        (all(format!("{not_moved} {}", [&*back, "t< 553 no\n"].concat())), "kept"),
        // What has the name is a directory.
        (all(format!("t< 550 no\n {A_DIRECTORY} t? DELE .in.b.\n t< 250 ok\n")), "removed"),
        (all("t< 550 no\n t> SIZE b\n t< 550 no\n t? DELE .in.b.\n t< 250 ok\n".into()), "removed"),
    ] {
        let (copied, said) = attempt(&mut job(&options), &script, [Usable, Usable]);
        let found = match copied {
            Ok(_) if said.contains("may still be there, as b.old.") => "stays",
            Ok(done) if done.size == 9 => "done",
            Err(Error::Job(JobFault::NotReplaced)) => "not replaced",
            Err(Error::Job(JobFault::NotRenamed { removed: true, .. })) => "removed",
            Err(error) if error.to_string().contains("the old file may be b.old.") => "kept",
            other => panic!("{script}: {other:?}"),
        };
        assert_eq!(found, want, "{script}");
    }
    // What only this copy can own goes after a refusal.
    let full = format!(
        "{begun} s< 226 sent\n t< 452 full\n t> PWD\n t< 257 \"/\"\n t? DELE .in.b.\n t< 250 ok\n"
    );
    let script = [there, &listens, &full].concat();
    let (copied, _) = attempt(&mut job(&options), &script, [Usable, Usable]);
    assert!(matches!(copied, Err(Error::Fxp(_))), "{copied:?}");
    // Without the size of the target's file, a resume copies the whole file, and just as carefully.
    let resumed = FileOptions::new().resume(Resume::Trusted);
    let asked = "t> TYPE I\n t< 200 ok\n t> SIZE b\n t< 502 what\n";
    let script = [asked, there, "s> TYPE I\n s< 200 ok\n", TARGET_LISTENS, &full].concat();
    let (copied, _) = attempt(&mut job(&resumed), &script, [Usable, Usable]);
    assert!(matches!(copied, Err(Error::Fxp(_))), "{copied:?}");
    // A name that is proved to be free is written in place.
    let feat = "t> FEAT\n t< 211-so\n t<  MLST\n t< 211 end\n";
    let free = [feat, "t> MLST b\n t< 550 none\n", &listens].concat();
    let script = [&free, BEGUN, SENT, SIZES].concat();
    assert_eq!(attempt(&mut job(&options), &script, [Usable, Usable]).0.unwrap().size, 9);
}

/// The server keeps names that exist, and the connection ends while both files change theirs.
#[test]
fn two_files_whose_renames_are_cut_are_both_there_and_the_next_attempt_goes_on_fx_04() {
    const OLD: &str = "213 20250101000000";
    let there = "t> FEAT\n t< 502 what\n t> MLST b\n t< 502 what\n";
    let named = |text: &str| {
        text.replace("t> STOR b", "t? STOR .in.b.").replace("t> SIZE b", "t? SIZE .in.b.")
    };
    let [known, begun, sizes] = [&*facts("", TIME), BEGUN, SIZES].map(named);
    let of = |name: &str, size: &str, time: &str| {
        let sent = if name == "b" { "> " } else { "? " };
        format!("t{sent}SIZE {name}\n t< {size}\n t{sent}MDTM {name}\n t< {time}\n")
    };
    let (copy, old) = (of(".in.b.", "213 9", TIME), of("b", "213 4", OLD));
    let refused = "t? RNFR .in.b.\n t< 350 ok\n t> RNTO b\n t< 553 exists\n";
    let set_aside = "t> RNFR b\n t< 350 ok\n t? RNTO b.old.\n";
    let last = "t? RNFR .in.b.\n t< 350 ok\n t> RNTO b\n";
    let noted = format!("t? MDTM .in.b.\n t< {TIME}\n");
    let copied = [TARGET_LISTENS, &*begun, SENT, &*sizes, &*noted, &*copy, &*old, &*copy].concat();
    let first = [there, TYPES, &*known, &*copied, refused, A_FILE, set_aside].concat();
    let lists = |name: &str| {
        format!(
            "t> MDTM b\n t< 550 no\n t> MLST b\n t< 502 what\n t> FEAT\n t< 502 what\n t#\n \
             t> LIST -a\n t< 150 so\n t= -rw-r--r-- 1 u u 4 Jan 1 2020 {name}$\n t< 226 done\n"
        )
    };
    let put_back = [
        &*lists("b.old.1"),
        "t? RNFR b.old.\n t< 350 ok\n t> RNTO b\n t< 250 ok\n t> MDTM b\n t< 213 20250101000000\n",
    ]
    .concat();
    let now = of("b", "213 9", TIME);
    let removed = "t? DELE b.old.\n t< 250 ok\n";
    let image = "t> TYPE I\n t< 200 ok\n";
    let exchanged =
        [refused, A_FILE, set_aside, "t< 250 ok\n", last, "t< 250 ok\n", &*now, removed].concat();
    let moved = "t< 250 ok\n";
    let is_there = [
        "t> MDTM b\n t< 213 20260101000000\n t? MDTM b.old.\n t< 213 20250101000000\n",
        "t> FEAT\n t< 502 what\n",
        image,
        &*of(".in.b.", "550 no", "550 no"),
        &*now,
        &*now,
        removed,
    ]
    .concat();
    for (cut, second) in [
        // The last rename was not carried out.
        ([moved, last, "t!\n"].concat(), [&*put_back, image, &*copy, &*old, &*exchanged].concat()),
        // It was.
        ([moved, last, "t!\n"].concat(), is_there.clone()),
        // It was, and only the look at it was cut.
        ([moved, last, "t< 250 ok\n t> SIZE b\n t!\n"].concat(), is_there),
        // The one before was carried out: the server shows the name that only it could give.
        (
            "t!\n".to_owned(),
            [
                &*format!("t? MDTM b.old.\n t< {OLD}\n"),
                &*put_back,
                image,
                &*copy,
                &*old,
                &*exchanged,
            ]
            .concat(),
        ),
    ] {
        let options = FileOptions::new().retried(true);
        let mut job = job(&options);
        let script = [&*first, &*cut].concat();
        let (done, _) = attempt(&mut job, &script, [Usable, Closed]);
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
        assert!(error.to_string().contains("; the old file may be b.old."), "{error}");
        let (done, _) = attempt(&mut job, &second, [Usable, Usable]);
        assert_eq!(done.unwrap_or_else(|error| panic!("{error}: {second}")).size, 9);
    }
    // It was not, and may be at any time.
    let options = FileOptions::new().retried(true);
    let mut job = job(&options);
    let script = [&*first, "t!\n"].concat();
    assert!(attempt(&mut job, &script, [Usable, Closed]).0.is_err());
    let second = "t? MDTM b.old.\n t< 550 no\n t? MLST b.old.\n t< 502 what\n t> FEAT\n t< 502 what\n t#\n \
                  t> LIST -a\n t< 150 so\n t= -rw-r--r-- 1 u u 4 Jan 1 2020 b$\n t< 226 done\n";
    let error = attempt(&mut job, second, [Usable, Usable]).0.unwrap_err();
    assert_eq!(
        (error.kind(), error.recovery()),
        (ErrorKind::Integrity, Recovery::Impossible),
        "{error}"
    );
    assert!(
        job.is_final() && error.to_string().contains("; the old file may be b.old."),
        "{error}"
    );
}

#[test]
fn a_rename_with_a_lost_reply_is_not_repeated_blindly() {
    let options = FileOptions::new().retried(true);
    let named = |text: &str| text.replace("STOR b", "STOR .in.b").replace("SIZE b", "SIZE .in.b");
    let [begun, sizes, known] = [BEGUN, SIZES, &facts("", TIME)].map(named);
    let before = "t> FEAT\n t< 502 what\n t> SIZE .in.b\n t< 213 9\n t> MDTM .in.b\n \
                  t< 213 20260102000000\n t> SIZE b\n t< 213 5\n t> MDTM b\n t< 550 no\n";
    let noted = "t> MDTM .in.b\n t< 213 20260102000000\n";
    let lost = "t> SIZE .in.b\n t< 213 9\n t> MDTM .in.b\n t< 213 20260102000000\n \
                t> RNFR .in.b\n t< 350 ok\n t> RNTO b\n t!\n";
    let first = [TYPES, &known, TARGET_LISTENS, &begun, SENT, &sizes, noted, before, lost].concat();
    let gone = "t> FEAT\n t< 502 what\n t> TYPE I\n t< 200 ok\n t> SIZE .in.b\n t< 550 no\n \
                t> MDTM .in.b\n t< 550 no\n";
    let there = "t> SIZE b\n t< 213 9\n t> MDTM b\n t< 213 20260102000000\n";
    let other = "t> SIZE b\n t< 213 9\n t> MDTM b\n t< 213 20260102000009\n";
    for (now, is_done) in [([gone, there].concat(), true), ([gone, other].concat(), false)] {
        let mut job = job(&options).under(TemporaryName::parse(b".in.*"));
        let (done, _) = attempt(&mut job, &first, [Usable, Closed]);
        assert!(matches!(done, Err(Error::Job(JobFault::NotRenamed { removed: false, .. }))));
        let (done, said) = attempt(&mut job, &now, [Usable, Usable]);
        match is_done {
            true => assert_eq!((done.unwrap().size, said.as_str()), (9, "done 9")),
            false => {
                let error = done.unwrap_err();
                assert!(
                    matches!(&error, Error::Job(JobFault::PerhapsRenamed { temporary, .. })
                    if temporary == b".in.b"),
                    "{error}"
                );
                assert!(job.is_final());
            }
        }
    }
}

#[test]
fn a_refused_path_is_entered_at_its_server() {
    let options = FileOptions::new();
    let [from, to] = ["ftp://h/x/a", "ftp://h/y/b"].map(|url| Place::of(&url.parse().unwrap()));
    let script = [
        &FREE.replace("MLST b", "MLST y/b"),
        TYPES,
        TARGET_LISTENS,
        "s> RETR x/a\n s< 550 none\n s> CWD x\n s< 250 ok\n",
        TARGET_LISTENS,
        "s> RETR a\n s< 150 go\n t> STOR y/b\n t< 550 none\n",
        super::RELEASED,
        "s< 426 cut\n t> CWD y\n t< 250 ok\n",
        TARGET_LISTENS,
        BEGUN,
        SENT,
        SIZES,
    ]
    .concat();
    let mut job = Relay::new(from, to, &options).listener(Some(Side::Target));
    assert_eq!(attempt(&mut job, &script, [Usable, Usable]).0.unwrap().size, 9);
}
