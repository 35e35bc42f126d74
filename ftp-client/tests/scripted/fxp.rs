//! Server to server: one thread plays both servers, so the tests see the order of all commands, and
//! the final state of both control connections.

mod failures;
mod relay;

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use ftp_client::Resume;
use ftp_client::error::{FxpAttempt, Unsupported};
use ftp_client::file::Side;
use ftp_client::{AddressRule, Canceller, Client, Error, ErrorKind, RawCommand, Timeouts};
use ftp_tests::fxp::{self, Options};
use ftp_tests::wait::patiently;

use crate::peer::{Peer, SHORT, Server, timeouts};
use crate::trace;

/// The final state of a control connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    /// It answers the next command.
    Usable,
    /// It is closed.
    Closed,
}

use Then::{Closed, Usable};

/// Both servers, logged in, and the thread that plays them.
struct Meeting {
    source: Client,
    target: Client,
    servers: [Server; 2],
    director: std::thread::JoinHandle<()>,
}

/// The builders of the clients, for the source and the target.
type Limits = [(Timeouts, Option<Duration>, Option<Canceller>); 2];

fn patient() -> Limits {
    [(timeouts(), None, None), (timeouts(), None, None)]
}

impl Meeting {
    /// Plays `script`, one line per step of the source (`s`) or the target (`t`). `> LINE` expects
    /// a command, `? BEGINNING` one that begins so, `< LINE` sends a reply, `#` answers `EPSV`, `= DATA` sends all data (`$`: line end), `^` expects `ABOR` with its synch, `!` closes the control
    /// connection, `~` floods it with 1yz until it is closed, `*` cancels its client, `.` waits 300
    /// ms. Then each server expects a `NOOP` or the end.
    fn new(script: &str, then: [Then; 2]) -> Self {
        Self::with(script, then, patient(), ["127.0.0.1:0"; 2])
    }

    fn with(script: &str, then: [Then; 2], limits: Limits, at: [&str; 2]) -> Self {
        let (sender, receiver) = mpsc::channel();
        let meet = |listen: &str, timeouts, overall, canceller: Option<Canceller>| {
            let sender = sender.clone();
            let listener = TcpListener::bind(listen).unwrap();
            let server = Server::start_on(listener, move |mut peer| {
                peer.reply("220 ready");
                peer.answer("USER u", "230 in");
                sender.send(peer).unwrap();
            });
            let mut builder = Client::builder().timeouts(timeouts).overall(overall);
            if let Some(canceller) = canceller {
                builder = builder.canceller(canceller);
            }
            let mut client = builder.connect(&server.address.to_string()).unwrap();
            client.login("u", "p").unwrap();
            (server, client, receiver.recv().unwrap())
        };
        let [one, other] = limits;
        let buttons = [one.2.clone(), other.2.clone()];
        let (source_server, source, source_peer) = meet(at[0], one.0, one.1, one.2);
        let (target_server, target, target_peer) = meet(at[1], other.0, other.1, other.2);
        let (script, peers) = (script.to_owned(), [source_peer, target_peer]);
        let director = std::thread::spawn(move || direct(&script, peers, &buttons, then));
        Self { source, target, servers: [source_server, target_server], director }
    }

    /// Copies `a` to `b`.
    fn copy(&mut self, options: Options) -> Result<fxp::Report, Error> {
        fxp::copied(&mut self.source, "a", &mut self.target, "b", options)
    }

    /// Asserts the final state of both connections.
    fn end(mut self, what: &str, then: [Then; 2]) {
        for (client, then) in [(&mut self.source, then[0]), (&mut self.target, then[1])] {
            match (client.noop(), then) {
                // A protocol error is returned again.
                (Ok(()), Usable) | (Err(Error::Closed | Error::Protocol(_)), Closed) => {}
                (result, _) => panic!("{what}: {then:?} is wanted: {result:?}"),
            }
        }
        if let Err(panic) = self.director.join() {
            std::panic::resume_unwind(panic);
        }
        self.servers.into_iter().for_each(Server::end);
    }

    /// The same, but each client quits at once.
    fn quit(self) {
        self.source.quit().unwrap();
        self.target.quit().unwrap();
        if let Err(panic) = self.director.join() {
            std::panic::resume_unwind(panic);
        }
        self.servers.into_iter().for_each(Server::end);
    }
}

fn direct(script: &str, peers: [Peer; 2], buttons: &[Option<Canceller>; 2], then: [Then; 2]) {
    let [mut source, mut target] = peers.map(Some);
    let mut floods = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (who, rest) = line.split_at(1);
        let [of_source, of_target] = buttons;
        let (peer, button) =
            if who == "s" { (&mut source, of_source) } else { (&mut target, of_target) };
        let there = peer.as_mut().unwrap();
        match rest.split_at(1) {
            (">", line) => there.expect(line.trim()),
            ("?", beginning) => {
                let line = there.line();
                assert!(line.starts_with(beginning.trim().as_bytes()), "{line:?} {beginning}");
            }
            ("<", line) => there.reply(line.trim()),
            ("#", _) => there.epsv(),
            ("=", data) => there.send_data(data.trim().replace('$', "\r\n").as_bytes()),
            ("^", _) => there.expect_abort(),
            ("*", _) => button.as_ref().unwrap().cancel(),
            (".", _) => std::thread::sleep(Duration::from_millis(300)),
            ("!", _) => peer.take().unwrap().close(),
            ("~", _) => {
                let (mut peer, still) = (peer.take().unwrap(), b"150 still\r\n".repeat(100));
                floods.push(std::thread::spawn(move || while peer.try_send(&still) {}));
            }
            _ => panic!("{line}"),
        }
    }
    for (peer, then) in [(source, then[0]), (target, then[1])] {
        match (peer, then) {
            (Some(mut peer), Usable) => peer.answer("NOOP", "200 ok"),
            (Some(mut peer), Closed) => peer.expect_end(),
            (None, _) => {}
        }
    }
    floods.into_iter().for_each(|flood| flood.join().unwrap());
}

fn only(listener: impl Into<Option<Side>>) -> Options {
    fxp::only(listener)
}

/// Returns the attempt that ended a copy.
#[track_caller]
fn last_of(error: &Error) -> &FxpAttempt {
    let Error::Fxp(attempts) = error else { panic!("{error}") };
    attempts.last().unwrap()
}

/// Both are in type image.
const TYPES: &str = "s> TYPE I\n s< 200 ok\n t> TYPE I\n t< 200 ok\n";

/// The target listens, at port 200*256+1, and announces another host.
const TARGET_LISTENS: &str = "t> PASV\n t< 227 here (203,0,113,9,200,1)\n \
                              s> PORT 127,0,0,1,200,1\n s< 200 ok\n";

/// The source listens.
const SOURCE_LISTENS: &str = "s> PASV\n s< 227 here (203,0,113,9,200,2)\n \
                              t> PORT 127,0,0,1,200,2\n t< 200 ok\n";

/// Both have begun.
const BEGUN: &str = "s> RETR a\n s< 150 going\n t> STOR b\n t< 150 go\n";

/// The target must close the port at which it listens.
const RELEASED: &str = "t> PASV\n t< 227 there (203,0,113,9,200,3)\n";

/// The target has the first 7 bytes of 9, as far as known.
const SEVEN: &str = "t> SIZE b\n t< 213 7\n s> SIZE a\n s< 213 9\n s> MDTM a\n s< 550 no\n";

const SIZES: &str = "s> SIZE a\n s< 213 5\n t> SIZE b\n t< 213 5\n";

/// The shortest time for which the client waits: for a refusal of the source, and for the reply of a
/// server after the other one has failed.
const PATIENCE: Duration = Duration::from_millis(500);

/// A copy that succeeds.
#[track_caller]
fn succeeds(script: &str, options: Options) -> fxp::Report {
    let then = [Usable, Usable];
    patiently(PATIENCE, |_| {
        let mut meeting = Meeting::new(script, then);
        let report = meeting.copy(options).unwrap_or_else(|error| panic!("{error}\n{script}"));
        meeting.end(script, then);
        report
    })
}

/// A copy that fails: the server whose error counts, and words of the message.
#[track_caller]
fn fails(script: &str, options: Options, side: Side, words: &[&str], then: [Then; 2]) {
    patiently(PATIENCE, |_| fails_with(script, options, patient(), (side, words), then));
}

#[track_caller]
fn fails_with(
    script: &str,
    options: Options,
    limits: Limits,
    (side, words): (Side, &[&str]),
    then: [Then; 2],
) -> Error {
    let mut meeting = Meeting::with(script, then, limits, ["127.0.0.1:0"; 2]);
    let error = meeting.copy(options).expect_err(script);
    assert_eq!(last_of(&error).side, side, "{error}\n{script}");
    for words in words {
        assert!(error.to_string().contains(words), "no {words:?} in {error}\n{script}");
    }
    meeting.end(script, then);
    error
}

#[test]
fn the_target_listens_first_fx_01_fx_03_fx_05_fx_06_hc_02() {
    for last in [
        "s< 226 sent\n t< 226 there\n",
        "t< 226 there\n s< 226 sent\n",
        "t< 250 there\n s< 150 still going\n s< 250 sent\n",
    ] {
        let script = [TYPES, TARGET_LISTENS, BEGUN, last, SIZES].concat();
        let report = succeeds(&script, fxp::to(None));
        assert_eq!((report.offset, report.size), (0, Some(5)));
        assert_eq!(report.listener, Some(Side::Target));
        let [of_source, of_target] = report.replies.unwrap();
        assert!(of_source.text() == b"sent" && of_target.text() == b"there");
    }
}

#[test]
fn the_log_names_the_server_of_each_transfer_reply() {
    let script = [TYPES, TARGET_LISTENS, BEGUN, "s< 226 sent\n t< 226 there\n"].concat();
    let mut meeting = Meeting::new(&script, [Usable, Usable]);
    trace::record();
    meeting.copy(only(Side::Target)).unwrap();
    let records = trace::records();
    for (reply, server) in [
        ("< 150 going", "source"),
        ("< 150 go", "target"),
        ("< 226 sent", "source"),
        ("< 226 there", "target"),
    ] {
        let at = records.iter().position(|record| record == reply).unwrap();
        assert_eq!(records[at + 1], format!("= from the {server}"), "{records:?}");
    }
    meeting.end(&script, [Usable, Usable]);
}

#[test]
fn the_source_listens_if_that_direction_is_chosen_fx_02_fx_05_hc_02() {
    let script = [TYPES, SOURCE_LISTENS, BEGUN, "s< 226 sent\n t< 226 there\n"].concat();
    let report = succeeds(&script, only(Side::Source));
    assert_eq!(report.listener.unwrap(), Side::Source);
    assert_eq!(report.size, None);
}

#[test]
fn pret_is_sent_before_pasv_to_a_server_that_requires_it_cl_72() {
    let listens = "t> PASV\n t< 500 You need to use a client supporting PRET (PRE Transfer)\n \
        t> PRET STOR b\n t< 200 ok\n";
    let script = [TYPES, listens, TARGET_LISTENS, BEGUN, "s< 226 sent\n t< 226 there\n"].concat();
    succeeds(&script, only(Side::Target));
}

#[test]
fn servers_may_delay_their_preliminary_replies_fx_04() {
    // It answers RETR only after the target got STOR.
    let late = "s> RETR a\n t> STOR b\n s< 150 connected\n t< 150 going\n s< 226\n t< 226\n";
    succeeds(&[TYPES, SOURCE_LISTENS, late].concat(), only(Side::Source));
    // A target may answer only when it has everything.
    let late = "s> RETR a\n s< 150 going\n t> STOR b\n s< 226\n t< 150 so\n t< 226\n";
    succeeds(&[TYPES, TARGET_LISTENS, late].concat(), only(Side::Target));
}

#[test]
fn a_226_without_a_150_requires_equal_sizes_fx_06_cl_08() {
    let options = only(Side::Target);
    let untold = "s> SIZE a\n s< 213 5\n t> SIZE b\n t< 502 what\n";
    let other = "s> SIZE a\n s< 213 5\n t> SIZE b\n t< 213 0\n";
    for (ends, side, verb) in [
        ("s> RETR a\n s< 226\n t> STOR b\n t< 226\n", Side::Target, "STOR"),
        ("s> RETR a\n s< 150\n t> STOR b\n t< 226\n s< 226\n", Side::Target, "STOR"),
        ("s> RETR a\n s< 226\n t> STOR b\n t< 150\n t< 226\n", Side::Source, "RETR"),
    ] {
        let script = [TYPES, TARGET_LISTENS, ends].concat();
        // A connection that was reset would look the same.
        fails(&format!("{script}{untold}"), options, side, &[verb, ": 226"], [Usable, Usable]);
        let words = ["incomplete"];
        fails(&format!("{script}{other}"), options, Side::Target, &words, [Usable, Usable]);
        assert_eq!(succeeds(&format!("{script}{SIZES}"), options).size, Some(5));
    }
}

#[test]
fn the_target_gets_no_transfer_command_if_the_source_refuses_fx_04() {
    // The target gets no command, however long a source takes that can begin without it.
    for refusal in ["550 none", "450 busy", "553 bad name"] {
        for (listens, listener) in [
            (TARGET_LISTENS, None),
            (TARGET_LISTENS, Some(Side::Target)),
            (SOURCE_LISTENS, Some(Side::Source)),
        ] {
            let script = format!("{TYPES} {listens} s> RETR a\n s< {refusal}\n");
            let words = ["source: RETR refused: ", refusal];
            fails(&script, only(listener), Side::Source, &words, [Usable, Usable]);
        }
    }
    let script = format!("{TYPES} {TARGET_LISTENS} s> RETR a\n s.\n s< 550 none\n");
    fails(&script, only(None), Side::Source, &["550 none"], [Usable, Usable]);
}

#[test]
fn a_target_that_missed_the_end_of_a_small_file_gets_stor_first_fx_08() {
    let missed = "s> RETR a\n s< 150 going\n t> STOR b\n s< 226 sent\n t.\n t< 150 go\n \
                  t^\n t< 426 cut\n t< 226 ok\n";
    // The next copy to this server begins so.
    let early = "t> STOR b\n t< 150 go\n s> RETR a\n s< 150 going\n s< 226 sent\n t< 226 there\n";
    for (listens, side) in [(TARGET_LISTENS, Side::Target), (SOURCE_LISTENS, Side::Source)] {
        let again = [listens, early, SIZES].concat();
        let script = [TYPES, listens, missed, &again, &again].concat();
        patiently(SHORT, |limit| {
            let mut limits = patient();
            limits[1].0.final_reply = limit;
            let mut meeting = Meeting::with(&script, [Usable, Usable], limits, ["127.0.0.1:0"; 2]);
            for _ in 0..2 {
                let report = meeting.copy(fxp::to(side)).unwrap();
                assert_eq!((report.listener, report.size), (Some(side), Some(5)));
            }
            meeting.end(&script, [Usable, Usable]);
        });
    }
}

#[test]
fn a_refused_direction_falls_back_to_the_other_fx_08() {
    let last = "s< 226 sent\n t< 226 there\n";
    for refused in [
        "t> PASV\n t< 502 no\n",
        "t> PASV\n t< 425 not now\n",
        "t> PASV\n t< 227 here (127,0,0,1,3,255)\n",
        "t> PASV\n t< 227 here (127,0,0,1,200,1)\n s> PORT 127,0,0,1,200,1\n s< 500 illegal\n",
    ] {
        let script = [TYPES, refused, SOURCE_LISTENS, BEGUN, last, SIZES].concat();
        let report = succeeds(&script, fxp::to(None));
        assert_eq!(report.listener.unwrap(), Side::Source);
    }
    // The same if the refusal comes only at the transfer.
    for refused in [
        "s> RETR a\n s< 425 cannot connect\n".to_owned(),
        "s> RETR a\n s< 150 go\n t> STOR b\n s< 425 cannot\n t^\n t< 425 nobody\n t< 226 ok\n"
            .to_owned(),
        format!("s> RETR a\n s< 150 go\n t> STOR b\n t< 425 bad host\n {RELEASED} s< 426 cut\n"),
        // A small file is sent completely before the refusal.
        "s> RETR a\n s< 150 go\n s< 226 sent\n t> STOR b\n t< 425 bad host\n".to_owned(),
    ] {
        let refused = refused.as_str();
        let script = [TYPES, TARGET_LISTENS, refused, SOURCE_LISTENS, BEGUN, last, SIZES].concat();
        succeeds(&script, fxp::to(None));
    }
}

#[test]
fn the_error_names_both_refusals_fx_08() {
    let port = "t> PASV\n t< 227 (127,0,0,1,200,1)\n s> PORT 127,0,0,1,200,1\n s< 500 no third\n";
    let words = [
        "source: PORT refused: 500 no third; with the source listening: source: PASV refused: 502 no",
        "port_promiscuous",
        "AllowForeignAddress",
        "-W",
        "fxp.networks",
    ];
    let script = [TYPES, port, "s> PASV\n s< 502 not here\n"].concat();
    fails(&script, fxp::to(None), Side::Source, &words, [Usable, Usable]);

    let words =
        ["target: PASV refused: 502 none; with the source listening: target: PORT refused: 501 no"];
    let other = "s> PASV\n s< 227 (1,2,3,4,200,2)\n t> PORT 127,0,0,1,200,2\n t< 501 no\n";
    let script = [TYPES, "t> PASV\n t< 502 none\n", other].concat();
    let said = (Side::Target, &words[..]);
    let error = patiently(PATIENCE, |_| {
        fails_with(&script, fxp::to(None), patient(), said, [Usable, Usable])
    });
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(matches!(error, Error::Fxp(attempts) if attempts.len() == 2));

    // With one direction only, the message mentions the other.
    let script = [TYPES, "t> PASV\n t< 502 none\n"].concat();
    let words = ["target: PASV refused: 502 none; the other direction may work"];
    fails(&script, only(Side::Target), Side::Target, &words, [Usable, Usable]);

    // A broken connection says less than the reason why there was none.
    let script = [TYPES, TARGET_LISTENS, BEGUN, "s< 426 broken pipe\n t< 425 not from there"];
    let words = ["target: STOR aborted: 425 not from there; source: RETR aborted: 426 broken"];
    fails(&script.concat(), only(Side::Target), Side::Target, &words, [Usable, Usable]);
}

#[test]
fn only_the_targets_name_with_0xff_needs_a_known_server_fr_19() {
    let then = [Usable, Usable];
    let name = b"a\xffb";
    let asked = "s> FEAT\n s< 502 no\n";
    let moved = "s? RETR a\n s< 150 going\n t> STOR b\n t< 150 go\n s< 226 sent\n t< 226 there\n";
    let mut meeting = Meeting::new(&[asked, TYPES, TARGET_LISTENS, moved].concat(), then);
    fxp::copied(&mut meeting.source, name, &mut meeting.target, "b", only(None)).unwrap();
    meeting.end("source", then);

    let mut meeting = Meeting::new("s> TYPE I\n s< 200 ok\n t> FEAT\n t< 502 no\n", then);
    let refused = fxp::copied(&mut meeting.source, "a", &mut meeting.target, name, only(None));
    let Error::Fxp(attempts) = refused.unwrap_err() else { panic!("another error") };
    let error = &attempts.last().unwrap().error;
    assert!(matches!(error, Error::Unsupported(Unsupported::UnknownIac)), "{error}");
    meeting.end("target", then);
}

#[test]
fn different_sizes_are_an_error() {
    let moved = [TYPES, TARGET_LISTENS, BEGUN, "s< 226 sent\n t< 226 there\n"].concat();
    for (sizes, want) in [
        ("s> SIZE a\n s< 213 5\n t> SIZE b\n t< 213 4\n", Some("4 of 5 bytes")),
        ("s> SIZE a\n s< 213 5\n t> SIZE b\n t< 213 6\n", Some("6 bytes transferred")),
        ("s> SIZE a\n s< 213 5\n t> SIZE b\n t< 550 no\n", None),
        ("s> SIZE a\n s< 450 busy\n", None),
        ("s> SIZE a\n s< 502 what\n", None),
    ] {
        let script = format!("{moved} {sizes}");
        match want {
            Some(words) => {
                fails(&script, fxp::to(None), Side::Target, &[words], [Usable, Usable]);
            }
            None => assert_eq!(succeeds(&script, fxp::to(None)).size, None),
        }
    }
    // The source's 150 tells more than is there: what the target lacks, or a file that was copied
    // onto itself through two addresses of one server.
    let begun = BEGUN.replace("going", "going (9 bytes)");
    let moved = [TYPES, TARGET_LISTENS, &begun, "s< 226 sent\n t< 226 there\n"].concat();
    for source in ["213 5", "502 what"] {
        let sizes = format!("s> SIZE a\n s< {source}\n t> SIZE b\n t< 213 5\n");
        let (script, options) = (format!("{moved} {sizes}"), fxp::to(None));
        fails(&script, options, Side::Target, &["5 of 9 bytes"], [Usable, Usable]);
    }
    let sizes = "s> SIZE a\n s< 502 what\n t> SIZE b\n t< 213 9\n";
    assert_eq!(succeeds(&format!("{moved} {sizes}"), fxp::to(None)).size, None);
    let moved = [TYPES, TARGET_LISTENS, BEGUN, "s< 226 sent\n t< 226 there\n"].concat();
    // A reply of another command: the confirmation may have been one too.
    let here = "257 \"/\" here";
    let script = format!("{moved} s> SIZE a\n s< {here}\n");
    fails(&script, fxp::to(None), Side::Source, &["unexpected reply"], [Closed, Usable]);
    let script = format!("{moved} s> SIZE a\n s< 213 5\n t> SIZE b\n t< {here}\n");
    fails(&script, fxp::to(None), Side::Target, &["unexpected reply"], [Usable, Closed]);
}

#[test]
fn resuming_sends_rest_to_both_right_before_the_transfer_fx_12() {
    let options = only(None).resume(Resume::Trusted);
    let rest = "s> REST 7\n s< 350 ok\n t> REST 7\n t< 350 ok\n";
    let last = "s< 226 sent\n t< 226 there\n";
    let sizes = "s> SIZE a\n s< 213 9\n t> SIZE b\n t< 213 9\n";
    let script = [TYPES, SEVEN, TARGET_LISTENS, rest, BEGUN, last, sizes].concat();
    assert_eq!(succeeds(&script, options).offset, 7);
    // REST is sent again for the other direction, although the target has not got STOR yet.
    let refused = "s> RETR a\n s< 425 cannot connect\n";
    let again = [refused, SOURCE_LISTENS, rest, BEGUN, last, sizes].concat();
    succeeds(&[TYPES, SEVEN, TARGET_LISTENS, rest, &again].concat(), options);
    // A server that cannot resume sends the whole file.
    let none = "s> REST 7\n s< 502 no\n";
    let script = [TYPES, SEVEN, TARGET_LISTENS, none, TARGET_LISTENS, BEGUN, last].concat();
    assert_eq!(succeeds(&script, options).offset, 0);
    // Refused for now by one server: nothing is begun.
    let refused = "s> REST 7\n s< 350 ok\n t> REST 7\n t< 451 no\n";
    let script = [TYPES, SEVEN, TARGET_LISTENS, refused].concat();
    fails(&script, options, Side::Target, &["REST refused: 451 no"], [Usable, Usable]);
}

#[test]
fn an_unused_rest_is_sent_again_fx_12_as_10() {
    // Commands in between may have made the server forget it.
    let refused = "s> REST 7\n s< 350 ok\n t> REST 7\n t< 451 no\n";
    let script = [TYPES, SEVEN, TARGET_LISTENS, refused].concat();
    let data = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = data.local_addr().unwrap().port();
    let again = "s> REST 7\n s< 350 ok\n s> RETR a\n s< 550 none";
    let script = format!("{script}s> EPSV\n s< 229 (|||{port}|)\n {again}");
    let mut meeting = Meeting::new(&script, [Usable, Usable]);
    let options = only(Side::Target).resume(Resume::Trusted);
    meeting.copy(options).unwrap_err();
    drop(meeting.source.retrieve_from("a", 7));
    meeting.end("told again", [Usable, Usable]);
}

#[test]
fn resuming_starts_at_the_size_of_the_target_fx_12_as_09() {
    let options = only(Side::Target).resume(Resume::Trusted);
    let sizes = "t> SIZE b\n t< 213 7\n s> SIZE a\n s< 213 9\n";
    let rest = "s> REST 7\n s< 350 ok\n t> REST 7\n t< 350 ok\n";
    let last = "s< 226 sent\n t< 226 there\n";
    let older = "s> MDTM a\n s< 213 20200101000000\n t> MDTM b\n t< 213 20200101000001\n";
    for (found, rest, offset) in [
        (format!("{sizes} {older}"), rest, 7),
        (format!("{sizes} s> MDTM a\n s< 550 no\n"), rest, 7),
        (format!("{sizes} s> MDTM a\n s< 213 20200101000000\n t> MDTM b\n t< 502 no\n"), rest, 7),
        // Modified since, smaller, unknown, or missing: from byte 0.
        (
            format!(
                "{sizes} s> MDTM a\n s< 213 20200101000002\n t> MDTM b\n t< 213 20200101000001"
            ),
            "",
            0,
        ),
        ("t> SIZE b\n t< 213 7\n s> SIZE a\n s< 213 6".to_owned(), "", 0),
        ("t> SIZE b\n t< 213 7\n s> SIZE a\n s< 502 no".to_owned(), "", 0),
        ("t> SIZE b\n t< 550 no".to_owned(), "", 0),
        ("t> SIZE b\n t< 213 0".to_owned(), "", 0),
    ] {
        // A server may have ignored REST.
        let compared =
            if offset > 0 { "s> SIZE a\n s< 213 9\n t> SIZE b\n t< 213 9\n" } else { "" };
        let script = format!("{TYPES} {found}\n {TARGET_LISTENS} {rest} {BEGUN} {last} {compared}");
        assert_eq!(succeeds(&script, options).offset, offset, "{script}");
    }
    // The target is complete: nothing is transferred.
    let whole = "t> SIZE b\n t< 213 9\n s> SIZE a\n s< 213 9\n";
    let entry = "t> MLST b\n t< 250-so\n t< size=9;type=file; b\n t< 250 end\n";
    let unknown = "s> MDTM a\n s< 502 what\n t> MDTM b\n t< 502 what\n";
    let again = format!("{older} t> MDTM b\n t< 213 20200101000001\n");
    for proof in [again, format!("{unknown} {entry}")] {
        let report = succeeds(&[TYPES, whole, &proof].concat(), options);
        assert!(report.listener.is_none() && report.size == Some(9) && report.offset == 9);
    }
}

#[test]
fn only_equal_digests_prove_the_bytes_of_the_target_fx_12_as_09() {
    let options = only(Side::Target).resume(Resume::Proven);
    let sizes = |there: u64| format!("t> SIZE b\n t< 213 {there}\n s> SIZE a\n s< 213 9\n");
    let none = "t> FEAT\n t< 502 what\n s> FEAT\n s< 502 what\n";
    let crc = "t> FEAT\n t< 211-so\n t<  XCRC\n t< 211 end\n \
               s> FEAT\n s< 211-so\n s<  XCRC\n s< 211 end\n";
    let last = "s< 226 sent\n t< 226 there\n";
    let digests =
        |there: &str| format!("s> XCRC a\n s< 250 CBF43926\n t> XCRC b\n t< 250 {there}\n");
    for found in [
        // Whatever the sizes and times are, without digests the copy begins at byte 0.
        format!("{} {none}", sizes(7)),
        format!("{} {none}", sizes(9)),
        // The source has no digest of a part of its file.
        format!("{} {crc}", sizes(7)),
        format!("{} {crc} {}", sizes(9), digests("00000000")),
        format!("{} {crc} s> XCRC a\n s< 450 busy\n", sizes(9)),
    ] {
        let script = format!("{TYPES} {found}\n {TARGET_LISTENS} {BEGUN} {last}");
        let report = succeeds(&script, options);
        assert!(report.listener.is_some() && report.offset == 0, "{script}");
    }
    let script = format!("{TYPES} {} {crc} {}", sizes(9), digests("CBF43926"));
    let report = succeeds(&script, options);
    assert!(report.listener.is_none() && report.size == Some(9), "{script}");
}

#[test]
fn a_size_without_a_file_is_not_a_complete_copy_fx_12_as_09() {
    // A server that keeps an interrupted upload reports its size, although the file does not exist.
    let options = only(Side::Target).resume(Resume::Trusted);
    let whole = "t> SIZE b\n t< 213 9\n s> SIZE a\n s< 213 9\n";
    let rest = "s> REST 9\n s< 350 ok\n t> REST 9\n t< 350 ok\n";
    let last = "s< 226 sent\n t< 226 there\n";
    let unproved = "t> MDTM b\n t< 550 none\n t> MLST b\n t< 550 none\n";
    for times in [
        "s> MDTM a\n s< 213 20200101000000\n t> MDTM b\n t< 550 none\n",
        "s> MDTM a\n s< 502 what\n",
    ] {
        let found = [TYPES, whole, times, unproved].concat();
        let sizes = "s> SIZE a\n s< 213 9\n t> SIZE b\n t< 213 9\n";
        let script = [&found, TARGET_LISTENS, rest, BEGUN, last, sizes].concat();
        let report = succeeds(&script, options);
        assert!(report.listener.is_some() && report.offset == 9, "{script}");
        // The file exists once the target has confirmed it.
        let refused = "s> RETR a\n s< 150 go\n t> STOR b\n s< 226 sent\n t< 552 quota\n";
        let script = [&found, TARGET_LISTENS, rest, refused].concat();
        fails(&script, options, Side::Target, &["552 quota"], [Usable, Usable]);
    }
}

#[test]
fn a_leftover_type_or_rest_is_reset_fx_01_as_10() {
    // A restart that no transfer used, a dropped transfer, another type.
    let left = "s> TYPE A\n s< 200 ok\n t> REST 100\n t< 350 ok\n";
    let rest = "t> REST 0\n t< 350 ok\n";
    let last = "s< 226 sent\n t< 226 there\n";
    let script = [left, TYPES, TARGET_LISTENS, rest, BEGUN, last].concat();
    let mut meeting = Meeting::new(&script, [Usable, Usable]);
    meeting.source.quote(&RawCommand::new("TYPE A").unwrap()).unwrap();
    meeting.target.quote(&RawCommand::new("REST 100").unwrap()).unwrap();
    meeting.copy(only(Side::Target)).unwrap();
    meeting.end("left over", [Usable, Usable]);
}

#[test]
fn each_file_uses_a_new_port_fx_09() {
    let last = "s< 226 sent\n t< 226 there\n";
    let again = "t> PASV\n t< 227 (127,0,0,1,200,3)\n s> PORT 127,0,0,1,200,3\n s< 200 ok\n";
    let script = [TYPES, TARGET_LISTENS, BEGUN, last, again, BEGUN, last].concat();
    let mut meeting = Meeting::new(&script, [Usable, Usable]);
    meeting.copy(only(Side::Target)).unwrap();
    meeting.copy(only(Side::Target)).unwrap();
    meeting.end("twice", [Usable, Usable]);
}

#[test]
fn the_reply_rule_uses_the_announced_host_fx_05() {
    let address = AddressRule::Reply;
    let there = "t> PASV\n t< 227 (203,0,113,9,200,1)\n s> PORT 203,0,113,9,200,1\n s< 200 ok\n";
    let script = [TYPES, there, BEGUN, "s< 226\n t< 226\n"].concat();
    succeeds(&script, only(Side::Target).address(address));
}

#[test]
fn ipv6_uses_epsv_and_eprt_fx_10() {
    let target = "t> EPSV 2\n t< 229 (|||50001|)\n s> EPRT |2|::1|50001|\n s< 200 ok\n";
    let source = "s> EPSV 2\n s< 229 (|||50002|)\n t> EPRT |2|::1|50002|\n t< 200 ok\n";
    let last = "s< 226\n t< 226\n";
    let refused = "t> EPSV 2\n t< 522 only (1)\n";
    for (listener, script) in [
        (Some(Side::Target), [TYPES, target, BEGUN, last].concat()),
        (Some(Side::Source), [TYPES, source, BEGUN, last].concat()),
        (None, [TYPES, refused, source, BEGUN, last].concat()),
    ] {
        let then = [Usable, Usable];
        let mut meeting = Meeting::with(&script, then, patient(), ["[::1]:0"; 2]);
        meeting.copy(only(listener)).unwrap();
        meeting.end(&script, then);
    }
}

#[test]
fn invalid_arguments_are_found_before_any_command() {
    for (from, to, side) in [("a\r\nDELE x", "b", Side::Source), ("a", "", Side::Target)] {
        let mut meeting = Meeting::new("", [Usable, Usable]);
        let (source, target) = (&mut meeting.source, &mut meeting.target);
        let error = fxp::copied(source, from, target, to, fxp::to(None)).unwrap_err();
        let last = last_of(&error);
        assert!(last.side == side && matches!(last.error, Error::Argument(_)), "{error}");
        meeting.end(from, [Usable, Usable]);
    }
}

#[test]
fn epsv_all_rules_out_port_at_the_target_cl_34() {
    let (source_server, mut source) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("PASV", "227 (127,0,0,1,195,84)");
        peer.expect_end();
    });
    let builder = Client::builder().timeouts(timeouts()).epsv_all(true);
    let (target_server, mut target) = Server::logged_in_with(builder, |mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.expect_end();
    });
    let options = fxp::to(Side::Source);
    let error = fxp::copied(&mut source, "a", &mut target, "b", options).unwrap_err();
    assert!(error.to_string().contains("EPSV ALL"), "{error}");
    drop((source, target));
    source_server.end();
    target_server.end();
}
