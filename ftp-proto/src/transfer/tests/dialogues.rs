//! Tests of whole dialogues before a transfer, without sockets.

use super::super::{DataRules, Extended, FileRange, Mode, ServerState, SetupStep, TransferSetup};
use crate::bytes::Pathname;
use crate::command::Command;
use crate::parameters::{RepresentationType, TransferMode};
use crate::reply::{Reply, ReplyDecoder};

const AT_227: &str = "< 227 at (192,0,2,1,195,84)";
const AT_229: &str = "< 229 at (|||50004|)";
const CONNECT: &str = "connect 192.0.2.1:50004";

fn passive() -> DataRules {
    DataRules { peer: Some("192.0.2.1:21".parse().unwrap()), ..DataRules::default() }
}

fn passive_ipv6() -> DataRules {
    DataRules { peer: Some("[2001:db8::1]:21".parse().unwrap()), ..DataRules::default() }
}

fn active() -> DataRules {
    DataRules { mode: Mode::Active, ..passive() }
}

fn pipelined() -> DataRules {
    DataRules { pipeline: true, ..passive() }
}

/// Returns the setup of a download of a whole file in the current type.
fn download(rules: DataRules) -> TransferSetup {
    let command = Command::Retr(Pathname::new("a").unwrap());
    TransferSetup::new(command, rules).with_range(FileRange::default())
}

/// Returns the setup of a download of a whole file in type image.
fn image(rules: DataRules) -> TransferSetup {
    download(rules).with_representation(RepresentationType::Image)
}

fn line(command: &Command) -> String {
    String::from_utf8(command.encode().unwrap()).unwrap().trim_end().to_owned()
}

fn reply(line: &str) -> Reply {
    let mut decoder = ReplyDecoder::new();
    let line = format!("{line}\r\n");
    assert_eq!(decoder.push(line.as_bytes()), line.len());
    decoder.next().unwrap().unwrap()
}

/// Plays a dialogue up to the end of its script. `> ` marks the client's line and `< ` the reply;
/// other lines are the client's further steps and their results.
fn play(setup: &mut TransferSetup, server: &mut ServerState, script: &[&str]) {
    let mut lines = script.iter().copied().peekable();
    while lines.peek().is_some() {
        let step = setup.step(server);
        let told = match &step {
            SetupStep::Send(command) | SetupStep::Transfer(command) => {
                format!("> {}", line(command))
            }
            SetupStep::SendTogether(commands) => {
                let together: Vec<_> = commands.iter().map(line).collect();
                format!("> {}", together.join(", "))
            }
            SetupStep::Await(command) => format!("await {}", command.verb()),
            SetupStep::Listen(way) => format!("listen for {way}"),
            SetupStep::Connect(place) => format!("connect {}", place.address.unwrap()),
            SetupStep::Start => "start".to_owned(),
            SetupStep::Abort => "abort".to_owned(),
            SetupStep::NoWay(way) => format!("no way {way}"),
            SetupStep::Reuse => "reuse".to_owned(),
        };
        assert_eq!(lines.next(), Some(told.as_str()), "in {script:?}");
        match step {
            SetupStep::Send(_) | SetupStep::Await(_) => {
                let answer = lines.next().and_then(|line| line.strip_prefix("< ")).unwrap();
                if let Err(fault) = setup.reply(&reply(answer), server) {
                    assert_eq!(lines.next(), Some(fault.to_string().as_str()), "in {script:?}");
                }
            }
            SetupStep::SendTogether(_) => setup.sent_together(server),
            SetupStep::Listen(_) => setup.listening(lines.next().unwrap().parse().unwrap()),
            SetupStep::Connect(_) => match lines.next_if_eq(&"it fails") {
                Some(_) => assert!(setup.data_failed(server), "in {script:?}"),
                None => setup.connecting(),
            },
            SetupStep::Reuse => match lines.next_if_eq(&"it is closed") {
                Some(_) => server.is_data_open = false,
                None => setup.reusing(),
            },
            SetupStep::Transfer(_) => setup.sent(),
            SetupStep::Abort => setup.again(),
            SetupStep::Start => match lines.next() {
                Some("begun") => setup.begun(server),
                Some("no data") => assert!(setup.data_failed(server), "in {script:?}"),
                Some("no data at all") => assert!(!setup.data_failed(server), "in {script:?}"),
                Some(refusal) => {
                    let code = reply(refusal.strip_prefix("< ").unwrap());
                    let again = setup.reuse_refused(&code, server) || setup.refused(&code);
                    assert!(again, "in {script:?}");
                }
                None => {}
            },
            SetupStep::NoWay(_) => {}
        }
    }
}

/// Plays a dialogue with a server of which nothing is known yet. Returns what is known afterwards.
fn play_first(mut setup: TransferSetup, script: &[&str]) -> ServerState {
    let mut server = ServerState::default();
    play(&mut setup, &mut server, script);
    server
}

const REFUSED: &str = "the server refused the command";

#[test]
fn type_is_sent_only_if_it_changes() {
    let first = ["> TYPE I", "< 200 ok", "> EPSV", AT_229, CONNECT, "> RETR a", "start", "begun"];
    let mut server = play_first(image(passive()), &first);
    assert_eq!(server.representation, Some(RepresentationType::Image));
    let second = ["> EPSV", AT_229, CONNECT, "> RETR a", "start"];
    play(&mut image(passive()), &mut server, &second);
    // A listing uses the current type.
    let list = TransferSetup::new(Command::List(None), passive());
    play_first(list, &["> EPSV", AT_229, CONNECT, "> LIST", "start"]);
}

#[test]
fn a_refused_epsv_falls_back_to_pasv() {
    for refusal in ["< 500 what?", "< 501 what?", "< 502 no", "< 522 no", "< 229 somewhere"] {
        let script = ["> EPSV", refusal, "> PASV", AT_227, CONNECT, "> RETR a", "start"];
        let mut server = play_first(download(passive()), &script);
        assert!(server.no_epsv);
        let next = ["> PASV", AT_227, CONNECT, "> RETR a", "start"];
        play(&mut download(passive()), &mut server, &next);
    }
    // After PASV nothing is left to try.
    let both = ["> EPSV", "< 500 what?", "> PASV", "< 502 no", REFUSED];
    play_first(download(passive()), &both);
}

#[test]
fn other_refusals_of_epsv_do_not_fall_back() {
    for refusal in ["< 421 bye", "< 425 no", "< 450 no", "< 503 no", "< 530 who?"] {
        play_first(download(passive()), &["> EPSV", refusal, REFUSED]);
    }
}

#[test]
fn the_rules_can_rule_out_a_fallback() {
    let always = DataRules { epsv: Extended::Always, ..passive() };
    play_first(download(always), &["> EPSV", "< 500 what?", REFUSED]);
    let never = DataRules { epsv: Extended::Never, ..passive() };
    play_first(download(never), &["> PASV", AT_227, CONNECT, "> RETR a"]);
    play_first(download(passive_ipv6()), &["> EPSV", "< 500 what?", REFUSED]);
    let never = DataRules { epsv: Extended::Never, ..passive_ipv6() };
    play_first(download(never), &["no way PASV"]);
    let never = DataRules { eprt: Extended::Never, mode: Mode::Active, ..passive_ipv6() };
    play_first(download(never), &["listen for PORT", "[2001:db8::9]:50004", "no way PORT"]);
}

#[test]
fn epsv_names_the_protocol_after_a_522_or_a_wrong_229() {
    let by_522 = ["> EPSV", "< 522 use (1,2)", "> EPSV 1", AT_229, CONNECT];
    let mut server = play_first(download(passive()), &by_522);
    play(&mut download(passive()), &mut server, &["> EPSV 1", AT_229, CONNECT]);
    let again = ["> EPSV 1", "< 522 use (1)", "> PASV", AT_227, CONNECT];
    play(&mut download(passive()), &mut server, &again);
    // The 229 names a port of IPv6. ABOR closes it before the next EPSV.
    let by_229 =
        ["> EPSV", "< 229 at (|2||50004|)", "> ABOR", "< 225 ok", "> EPSV 1", AT_229, CONNECT];
    play_first(download(passive()), &by_229);
    // The list in the 522 lacks the protocol of the control connection.
    play_first(download(passive_ipv6()), &["> EPSV", "< 522 use (1)", REFUSED]);
}

#[test]
fn epsv_all_is_sent_once() {
    let rules = DataRules { epsv_all: true, epsv: Extended::Always, ..passive() };
    let mut server =
        play_first(download(rules), &["> EPSV ALL", "< 200 ok", "> EPSV", AT_229, CONNECT]);
    play(&mut download(rules), &mut server, &["> EPSV", AT_229, CONNECT]);
    for refusal in ["< 421 bye", "< 500 what?", "< 522 no"] {
        play_first(download(rules), &["> EPSV ALL", refusal, REFUSED]);
    }
}

#[test]
fn an_unreachable_epsv_port_falls_back_to_pasv() {
    let pasv = ["> PASV", AT_227, CONNECT, "> RETR a", "start"];
    let script = [&["> EPSV", AT_229, CONNECT, "it fails"][..], &pasv, &["begun"]].concat();
    assert!(play_first(download(passive()), &script).no_epsv);
    // Only a data connection made after PASV shows that EPSV was at fault.
    let unreached = [&["> EPSV", AT_229, CONNECT, "> RETR a", "start", "no data"][..], &pasv];
    assert!(!play_first(download(passive()), &unreached.concat()).no_epsv);
    let script = [&unreached.concat()[..], &["no data at all"]].concat();
    assert!(!play_first(download(passive()), &script).no_epsv);
}

#[test]
fn a_refused_eprt_falls_back_to_port() {
    let here = "192.0.2.9:50004";
    let eprt = "> EPRT |1|192.0.2.9|50004|";
    let port = "> PORT 192,0,2,9,195,84";
    play_first(
        download(active()),
        &["listen for EPRT", here, eprt, "< 200 ok", "> RETR a", "start"],
    );
    for refusal in ["< 500 what?", "< 501 what?", "< 502 no", "< 522 use (2)", "< 550 no"] {
        let script = ["listen for EPRT", here, eprt, refusal, port, "< 200 ok", "> RETR a"];
        let mut server = play_first(download(active()), &script);
        assert!(server.no_eprt);
        play(
            &mut download(active()),
            &mut server,
            &["listen for PORT", here, port, "< 500 no", REFUSED],
        );
    }
    for refusal in ["< 421 bye", "< 425 no", "< 503 no", "< 530 who?"] {
        play_first(download(active()), &["listen for EPRT", here, eprt, refusal, REFUSED]);
    }
}

#[test]
fn a_refused_type_ends_the_setup() {
    for refusal in ["< 421 bye", "< 425 no", "< 500 what?", "< 504 no", "< 350 what?"] {
        let server = play_first(image(passive()), &["> TYPE I", refusal, REFUSED]);
        assert_eq!(server, ServerState::default());
    }
}

#[test]
fn rest_is_sent_after_the_data_connection() {
    let part = || download(passive()).with_range(FileRange::from_offset(5).unwrap());
    let begin = ["> EPSV", AT_229, CONNECT, "> REST 5"];
    let sent = [&begin[..], &["< 350 ok", "> RETR a", "start"]].concat();
    let mut server = play_first(part(), &[&sent[..], &["begun"]].concat());
    // The transfer has used up the REST.
    assert_eq!(server.range, FileRange::default());
    play(&mut download(passive()), &mut server, &["> EPSV", AT_229, CONNECT, "> RETR a"]);
    // A refused one may not have.
    let reset = ["> EPSV", AT_229, CONNECT, "> REST 0", "< 350 ok", "> RETR a"];
    play(&mut download(passive()), &mut play_first(part(), &sent), &reset);
    for refusal in ["< 421 bye", "< 425 no", "< 502 no", "< 554 no", "< 200 what?"] {
        let server = play_first(part(), &[&begin[..], &[refusal, REFUSED]].concat());
        assert_eq!(server.range, FileRange::default());
    }
    // REST is sent again: when the data connection failed, the server may have dropped the offset.
    let lost = [&begin[..], &["< 350 ok", "> RETR a", "start", "no data"]].concat();
    let again = ["> PASV", AT_227, CONNECT, "> REST 5", "< 350 ok", "> RETR a", "start"];
    play_first(part(), &[&lost[..], &again].concat());
}

#[test]
fn an_open_data_connection_is_reused_only_in_mode_b() {
    let blocks = |rules| image(rules).with_mode(TransferMode::Block);
    let new = ["> EPSV", AT_229, CONNECT, "> RETR a", "start"];
    for rules in [passive(), pipelined()] {
        let mut server = ServerState::default();
        let mode = [&["> TYPE I", "< 200 ok", "> MODE B", "< 200 ok"][..], &new].concat();
        play(&mut blocks(passive()), &mut server, &mode);
        server.is_data_open = true;
        play(&mut blocks(rules), &mut server, &["reuse", "> RETR a", "start"]);
        let part = FileRange::from_offset(5).unwrap();
        let script = ["reuse", "> REST 5", "< 350 ok", "> RETR a", "start", "begun"];
        play(&mut blocks(rules).with_range(part), &mut server, &script);
        play(&mut blocks(passive()), &mut server, &[&["reuse", "it is closed"][..], &new].concat());
        for refusal in ["< 425 no", "< 426 no", "< 503 PASV first"] {
            server.is_data_open = true;
            let refused = ["reuse", "> RETR a", "start", refusal];
            play(&mut blocks(passive()), &mut server, &[&refused[..], &new].concat());
            assert!(!server.is_data_open, "{refusal}");
        }
        // Other refusals are about the file, and leave the data connection open.
        server.is_data_open = true;
        let mut setup = blocks(passive());
        play(&mut setup, &mut server, &["reuse", "> RETR a", "start"]);
        assert!(!setup.reuse_refused(&reply("550 no"), &mut server) && server.is_data_open);
        // STOU is not repeated, since the server may already have chosen a name.
        let mut unique =
            TransferSetup::new(Command::Stou(None), rules).with_mode(TransferMode::Block);
        play(&mut unique, &mut server, &["reuse", "> STOU", "start"]);
        assert!(!unique.reuse_refused(&reply("425 no"), &mut server));
        // Changing the mode closes the data connection.
        let stream = image(passive()).with_mode(TransferMode::Stream);
        let script = [&["> MODE S", "< 200 ok"][..], &new].concat();
        play(&mut { stream }, &mut server, &script);
        assert!(!server.is_data_open);
    }
}

#[test]
fn transfers_fall_back_to_mode_s_if_mode_b_is_refused() {
    let mut server = ServerState::default();
    let new = ["> EPSV", AT_229, CONNECT, "> RETR a", "start"];
    let refused = [&["> MODE B", "< 504 no"][..], &new].concat();
    play(&mut download(passive()).with_mode(TransferMode::Block), &mut server, &refused);
    assert!(server.no_blocks && server.mode == TransferMode::Stream);
    play(&mut download(passive()).with_mode(TransferMode::Block), &mut server, &new);
}

#[test]
fn an_unused_rest_is_reset() {
    let begin = ["> EPSV", AT_229, CONNECT];
    let mut server = ServerState {
        range: FileRange::from_offset(5).unwrap(),
        ..play_first(download(passive()), &begin)
    };
    let script = ["> EPSV", AT_229, CONNECT, "> REST 0", "< 350 ok", "> RETR a"];
    play(&mut download(passive()), &mut server, &script);
    // A listing or another command without a range does not reset the range in force.
    server.range = FileRange::from_offset(5).unwrap();
    let mut list = TransferSetup::new(Command::Nlst(None), passive());
    play(&mut list, &mut server, &["> EPSV", AT_229, CONNECT, "> NLST", "start"]);
}

#[test]
fn only_complete_downloads_with_epsv_are_pipelined() {
    let together = ["> TYPE I, EPSV, RETR a", "await TYPE", "< 200 ok"];
    let script = [&together[..], &["await EPSV", AT_229, CONNECT, "start", "begun"]].concat();
    let mut server = play_first(image(pipelined()), &script);
    let script = ["> EPSV, RETR a", "await EPSV", AT_229, CONNECT, "start"];
    play(&mut image(pipelined()), &mut server, &script);
    let store = Command::Stor(Pathname::new("a").unwrap());
    let mut store = TransferSetup::new(store, pipelined()).with_range(FileRange::default());
    play(&mut store, &mut server, &["> EPSV", AT_229, CONNECT, "> STOR a", "start"]);
    let mut part = download(pipelined()).with_range(FileRange::from_offset(5).unwrap());
    play(&mut part, &mut server, &["> EPSV", AT_229, CONNECT, "> REST 5", "< 350 ok"]);
    server.range = FileRange::default();
    server.no_epsv = true;
    play(&mut image(pipelined()), &mut server, &["> PASV", AT_227, CONNECT, "> RETR a"]);
}

#[test]
fn mdtm_is_sent_before_the_transfer() {
    let timed = |rules| image(rules).with_time();
    let rest = ["> TYPE I", "< 200 ok", "> EPSV", AT_229, CONNECT, "> RETR a", "start"];
    let together = ["> MDTM a, TYPE I, EPSV, RETR a", "await MDTM"];
    let replies = ["await TYPE", "< 200 ok", "await EPSV", AT_229, CONNECT, "start", "begun"];
    for (told, want) in [
        ("< 213 20200102030405", true),
        ("< 213 soon", false),
        ("< 500 ?", false),
        ("< 450", false),
    ] {
        let script = [&["> MDTM a", told][..], &rest].concat();
        let mut setup = timed(passive());
        play(&mut setup, &mut ServerState::default(), &script);
        assert_eq!(setup.modified().is_some(), want, "{told}");
        let script = [&together[..], &[told], &replies].concat();
        let mut setup = timed(pipelined());
        play(&mut setup, &mut ServerState::default(), &script);
        assert_eq!(setup.modified().is_some(), want, "{told}");
    }
    // The next attempt uses the known time and does not request it again.
    let refused = ["< 213 20200102030405", "await TYPE", "< 200 ok", "await EPSV", "< 425 no"];
    let again = ["abort", "> EPSV", AT_229, CONNECT, "> RETR a", "start"];
    let mut setup = timed(pipelined());
    let script = [&together[..], &refused, &again].concat();
    play(&mut setup, &mut ServerState::default(), &script);
    assert!(setup.modified().is_some());
}

#[test]
fn a_refused_pipeline_is_aborted_and_repeated_one_by_one() {
    let together = ["> TYPE I, EPSV, RETR a", "await TYPE"];
    let one_by_one = ["> EPSV", AT_229, CONNECT, "> RETR a", "start"];
    for refusal in ["< 425 no", "< 502 no", "< 522 use (1)", "< 229 somewhere", "< 229 a (|2||9|)"]
    {
        let refused = [&together[..], &["< 200 ok", "await EPSV", refusal, "abort"]].concat();
        play_first(image(pipelined()), &[&refused[..], &one_by_one].concat());
    }
    let refused = [&together[..], &["< 500 what?", "await EPSV", AT_229, "abort"]].concat();
    let again = ["> TYPE I", "< 200 ok"];
    play_first(image(pipelined()), &[&refused[..], &again, &one_by_one].concat());
    // The client cannot even begin to connect.
    let found = [&together[..], &["< 200 ok", "await EPSV", AT_229, CONNECT]].concat();
    play_first(image(pipelined()), &[&found[..], &["it fails", "abort"], &one_by_one].concat());
    // The server refused the command itself, perhaps because it was sent together with others.
    for code in [425, 500, 501, 502, 503, 504] {
        let refusal = format!("< {code} no");
        let refused = [&found[..], &["start", refusal.as_str()]].concat();
        play_first(image(pipelined()), &[&refused[..], &one_by_one].concat());
    }
    for code in ["421 bye", "450 no", "550 no"] {
        let mut setup = image(pipelined());
        play(&mut setup, &mut ServerState::default(), &[&found[..], &["start"]].concat());
        assert!(!setup.refused(&reply(code)), "{code}");
    }
}

#[test]
fn a_421_ends_a_pipeline() {
    let together = ["> TYPE I, EPSV, RETR a", "await TYPE"];
    play_first(image(pipelined()), &[&together[..], &["< 421 bye", REFUSED]].concat());
    let second = ["< 200 ok", "await EPSV", "< 421 bye", REFUSED];
    play_first(image(pipelined()), &[&together[..], &second].concat());
}

#[test]
fn an_unexpected_reply_is_out_of_step() {
    let mut server = ServerState::default();
    let mut setup = download(active());
    let error = setup.reply(&reply("200 ok"), &mut server).unwrap_err();
    assert_eq!(error.to_string(), "a reply that no command waits for");
    // A 1yz is ignored.
    let script = ["> EPSV", "< 150 soon", "> EPSV", AT_229, CONNECT];
    play(&mut download(passive()), &mut server, &script);
}
