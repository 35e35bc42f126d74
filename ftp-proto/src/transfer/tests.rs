mod dialogues;

use super::*;
use crate::address::AddressClass;
use crate::reply::ReplyCode;

#[test]
fn rule_and_earlier_failure_choose_the_data_command_cl_20() {
    for (extended, failed, want) in [
        (Extended::Auto, false, Verb::Epsv),
        (Extended::Auto, true, Verb::Pasv),
        (Extended::Always, true, Verb::Epsv),
        (Extended::Never, false, Verb::Pasv),
    ] {
        assert_eq!(choose(extended, failed, Verb::Epsv, Verb::Pasv), want, "{extended:?} {failed}");
    }
}

fn reply(code: u16) -> Reply {
    Reply::new(ReplyCode::new(code).unwrap(), "text")
}

#[test]
fn ranges_are_set_and_reset_with_rest_and_rang() {
    let whole = FileRange::default();
    let from = |offset| FileRange::from_offset(offset).unwrap();
    let part = FileRange::between(10, 5).unwrap();
    for (now, wanted, want) in [
        (whole, whole, &[][..]),
        (whole, from(5), &["REST 5"][..]),
        (from(5), from(5), &["REST 5"]),
        (from(5), from(7), &["REST 7"]),
        (from(5), whole, &["REST 0"]),
        (whole, part, &["RANG 10 14"]),
        (part, part, &["RANG 10 14"]),
        (from(5), part, &["REST 0", "RANG 10 14"]),
        (part, whole, &["RANG 1 0"]),
        (part, from(5), &["RANG 1 0", "REST 5"]),
    ] {
        let mut server = ServerState { range: now, ..ServerState::default() };
        let mut setup = RangeSetup::new(wanted);
        let mut sent = Vec::new();
        while let Some(command) = setup.command(&server) {
            let line = String::from_utf8(command.encode().unwrap()).unwrap();
            sent.push(line.trim_end().to_owned());
            setup.reply(&reply(350), &mut server).unwrap();
        }
        assert_eq!(sent, want, "{now:?} {wanted:?}");
        assert_eq!(server.range, wanted);
    }
}

#[test]
fn a_refusal_leaves_the_range_unchanged() {
    for code in [200, 421, 450, 500, 501, 502, 554] {
        let mut server = ServerState::default();
        let mut setup = RangeSetup::new(FileRange::from_offset(5).unwrap());
        assert_eq!(setup.reply(&reply(code), &mut server), Err(TransferFault::Refused));
        assert_eq!(server, ServerState::default(), "{code}");
    }
}

#[test]
fn empty_and_too_large_ranges_are_rejected() {
    let last = limits::RESTART_MARKER;
    assert!(FileRange::from_offset(last).is_ok() && FileRange::from_offset(last + 1).is_err());
    assert_eq!(FileRange::between(last, 1), Ok(FileRange::Between { first: last, last }));
    for (offset, length) in [(0, 0), (last, 2), (u64::MAX, 2), (0, u64::MAX)] {
        assert!(FileRange::between(offset, length).is_err(), "{offset} {length}");
    }
}

#[test]
fn ports_are_found_by_code_cl_23_cl_28_cl_29() {
    let peer = SocketAddr::from(([203, 0, 113, 7], 21));
    for (code, text, want) in [
        (227, "Entering Passive Mode (10,0,0,5,195,84).", Some(50_004)),
        (227, "10,0,0,5,195,84", Some(50_004)),
        (229, "Entering Extended Passive Mode (|||50004|)", Some(50_004)),
        (229, "ok (|1|10.0.0.1|80|)", Some(80)),
        (229, "ok 50004", None),
        (227, "(|||50004|)", None),
        (227, "(10,0,0,5,195)", None),
        (200, "10,0,0,5,0,0", None),
    ] {
        let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
        for rule in [AddressRule::Peer, AddressRule::Smart] {
            let found = PassiveAddress::find(&reply, Some(peer), rule).ok();
            let want_address = want.map(|port| Some(SocketAddr::new(peer.ip(), port)));
            assert_eq!(found.map(|found| found.address), want_address, "{code} {text}");
            let unknown = PassiveAddress::find(&reply, None, rule).ok();
            let unknown = unknown.map(|found| (found.port, found.address));
            assert_eq!(unknown, want.map(|port| (port, None)), "{code} {text}");
        }
    }
}

#[test]
fn the_rule_chooses_the_host_cl_25_cl_26_cl_27_hc_01() {
    let peer: SocketAddr = "203.0.113.7:21".parse().unwrap();
    for (rule, announced, want, reason) in [
        (AddressRule::Peer, "203.0.113.7", "203.0.113.7:50004", HostReason::Same),
        (AddressRule::Reply, "203.0.113.7", "203.0.113.7:50004", HostReason::Same),
        (AddressRule::Peer, "10.0.0.5", "203.0.113.7:50004", HostReason::PeerRule),
        (AddressRule::Peer, "198.51.100.1", "203.0.113.7:50004", HostReason::PeerRule),
        (
            AddressRule::Smart,
            "10.0.0.5",
            "203.0.113.7:50004",
            HostReason::Unreachable(AddressClass::Private),
        ),
        (AddressRule::Smart, "198.51.100.1", "198.51.100.1:50004", HostReason::Plausible),
        (AddressRule::Reply, "127.0.0.1", "127.0.0.1:50004", HostReason::ReplyRule),
    ] {
        let text = format!("ok ({},195,84)", announced.replace('.', ","));
        let reply = Reply::new(ReplyCode::PASSIVE, text);
        let found = PassiveAddress::find(&reply, Some(peer), rule).unwrap();
        assert_eq!(found.address, Some(want.parse().unwrap()), "{rule:?} {announced}");
        let got = found.chosen.map(|chosen| chosen.reason);
        assert_eq!(got, Some(reason), "{rule:?} {announced}");
    }
}

#[test]
fn the_scope_of_a_link_local_peer_is_kept_cl_20() {
    let peer = SocketAddr::from(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 21, 0, 7));
    let reply = Reply::new(ReplyCode::EXTENDED_PASSIVE, "ok (|||50004|)");
    let found = PassiveAddress::find(&reply, Some(peer), AddressRule::Peer).unwrap();
    assert_eq!(found.address.unwrap().to_string(), "[fe80::1%7]:50004");
}

#[test]
fn codes_that_deny_a_command_cl_21() {
    for (code, want) in [
        (500, true),
        (522, true),
        (550, true),
        (503, false),
        (504, false),
        (530, false),
        (421, false),
    ] {
        let reply = Reply::new(ReplyCode::new(code).unwrap(), "");
        assert_eq!(is_denied(&reply), want, "{code}");
    }
}

mod verdicts {
    use super::super::*;
    use Confirmation::{Certain, Doubtful};
    use DataEnd::{Clean, Marked, Missing, Open, Reset, TruncatedTls};
    use Event::{Failed, Opened};
    use StartStep::{AwaitData, AwaitReply, AwaitReplyOrData, MoveData, Stop, TakeData};
    use TransferFault::{Broken, Early, NoReply, OutOfStep, Refused};

    const NONE: TransferFault = TransferFault::Incomplete { bytes: 0, announced: None };
    const SOME: TransferFault = TransferFault::Incomplete { bytes: 5, announced: None };

    #[test]
    fn replies_and_the_end_of_data_determine_the_verdict() {
        for (verb, has_begun, data, moved, reply, want) in [
            (Verb::Retr, true, Clean, 5, Some(226), Ok(Certain)),
            (Verb::Retr, true, Clean, 0, Some(250), Ok(Certain)),
            (Verb::Retr, true, Clean, 5, Some(200), Ok(Doubtful)),
            (Verb::Retr, true, Clean, 5, Some(225), Ok(Doubtful)),
            (Verb::Retr, true, Clean, 5, Some(213), Err(OutOfStep)),
            (Verb::Retr, true, Clean, 5, Some(221), Err(OutOfStep)),
            (Verb::Retr, true, Clean, 5, Some(230), Err(OutOfStep)),
            (Verb::Retr, true, Clean, 5, Some(257), Err(OutOfStep)),
            (Verb::Retr, true, Clean, 5, Some(426), Err(Refused)),
            (Verb::Retr, true, Clean, 5, Some(350), Err(Refused)),
            (Verb::Retr, true, Clean, 5, None, Err(NoReply)),
            (Verb::Retr, true, Reset, 5, Some(226), Err(Broken)),
            (Verb::Retr, true, Reset, 5, Some(213), Err(Broken)),
            (Verb::Retr, true, Reset, 5, Some(451), Err(Refused)),
            (Verb::Retr, true, Reset, 5, None, Err(Broken)),
            (Verb::Retr, true, TruncatedTls, 5, Some(226), Err(Broken)),
            (Verb::Retr, true, Open, 5, Some(226), Err(SOME)),
            // The transfer was over before it began.
            (Verb::Retr, false, Clean, 5, Some(226), Ok(Certain)),
            (Verb::Mlsd, false, Missing, 0, Some(226), Err(NONE)),
            (Verb::Retr, false, Open, 0, Some(200), Err(OutOfStep)),
            (Verb::Retr, false, Open, 0, Some(550), Err(Refused)),
            (Verb::Stor, true, Clean, 5, Some(226), Ok(Certain)),
            (Verb::Stor, true, Open, 5, Some(226), Err(Early)),
            (Verb::Stor, true, Marked, 5, Some(250), Ok(Certain)),
            (Verb::Retr, true, Marked, 5, Some(226), Ok(Certain)),
            (Verb::Retr, true, Marked, 5, Some(426), Err(Refused)),
            (Verb::Retr, true, Marked, 5, None, Err(NoReply)),
            (Verb::Stor, true, Open, 5, Some(552), Err(Refused)),
            (Verb::Appe, true, Open, 0, Some(226), Ok(Certain)),
            (Verb::Stou, false, Missing, 0, Some(250), Ok(Certain)),
            (Verb::Stou, false, Missing, 5, Some(250), Err(Early)),
            (Verb::Stor, true, Reset, 5, Some(226), Err(Broken)),
        ] {
            let evidence = TransferEvidence {
                verb,
                has_begun,
                data,
                length: TransferLength::of(moved),
                reply: reply.and_then(ReplyCode::new),
            };
            assert_eq!(evidence.verdict(), want, "{evidence:?}");
        }
    }

    /// All cases of a transfer of a file of five bytes, against a model: what proves success is a 226,
    /// and either a proper end of the data or the size that the server reports on the control
    /// connection. A number in the first reply proves and refutes nothing once that size is known.
    #[test]
    fn a_size_after_a_226_proves_what_a_reset_or_a_missing_close_notify_leaves_open_hc_20_tl_17() {
        const FILE: u64 = 5;
        for verb in [Verb::Retr, Verb::Stor] {
            for reply in [Some(226), Some(426), None] {
                for moved in [FILE, FILE - 1, FILE + 1, 0] {
                    for data in [Clean, Reset, TruncatedTls] {
                        for stored in [None, Some(FILE), Some(FILE + 2), Some(0)] {
                            for announced in [None, Some(FILE), Some(FILE - 1)] {
                                // Before an upload, the name was missing or had another size, or it had
                                // the same size.
                                for is_new in [true, false] {
                                    let mut evidence = TransferEvidence::new(verb);
                                    (evidence.has_begun, evidence.data) = (true, data);
                                    evidence.reply = reply.and_then(ReplyCode::new);
                                    let length = TransferLength::of(moved);
                                    evidence.length =
                                        TransferLength { announced, stored, is_new, ..length };
                                    let is_upload = verb == Verb::Stor;
                                    let is_size = stored == Some(moved);
                                    let is_old = is_upload && !is_new && moved > 0;
                                    let is_whole = data == Clean || is_size && !is_old;
                                    let fits = is_size
                                        || stored.is_none()
                                            && announced.is_none_or(|all| all == moved);
                                    let want = reply == Some(226) && is_whole && fits;
                                    let verdict = evidence.verdict();
                                    assert_eq!(verdict.is_ok(), want, "{evidence:?}");
                                    let needs =
                                        reply == Some(226) && stored.is_none() && verdict.is_err();
                                    assert!(!needs || evidence.needs_size(), "{evidence:?}");
                                    assert!(reply == Some(226) || !evidence.needs_size());
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn only_a_250_after_the_end_of_the_file_keeps_the_data_connection() {
        for (data, reply, want) in [
            (Marked, Some(250), true),
            (Marked, Some(226), false),
            (Marked, Some(200), false),
            (Marked, Some(451), false),
            (Marked, None, false),
            (Clean, Some(250), false),
            (Open, Some(250), false),
            (Missing, Some(250), false),
        ] {
            let reply = reply.and_then(ReplyCode::new);
            let mut evidence = TransferEvidence::new(Verb::Retr);
            (evidence.has_begun, evidence.data, evidence.reply) = (true, data, reply);
            assert_eq!(evidence.keeps_data(), want, "{evidence:?}");
            evidence.length = TransferLength { wanted: Some(6), ..TransferLength::of(5) };
            assert!(!evidence.keeps_data(), "{evidence:?}");
        }
    }

    #[test]
    fn a_confirmed_transfer_must_have_its_length() {
        let mut evidence = TransferEvidence::new(Verb::Retr);
        evidence.has_begun = true;
        evidence.data = Clean;
        evidence.length = TransferLength { wanted: Some(6), ..TransferLength::of(5) };
        evidence.reply = Some(ReplyCode::TRANSFER_COMPLETE);
        let short = TransferFault::Incomplete { bytes: 5, announced: Some(6) };
        assert_eq!(evidence.verdict(), Err(short));
        assert_eq!(evidence.confirmation(), Ok(Certain));
        evidence.length.moved = 6;
        assert_eq!(evidence.verdict(), Ok(Certain));
    }

    #[test]
    fn announced_lengths_are_parsed_hc_16() {
        for (text, want) in [
            ("Opening BINARY mode data connection for a (1024 bytes).", Some(1_024)),
            ("Opening for a (5 bytes) (0 bytes)", Some(0)),
            ("for a (1 byte)", Some(1)),
            ("for a (5 bytes) with more", None),
            ("for a (-5 bytes)", None),
            ("for a (+5 bytes)", None),
            ("for a ( bytes)", None),
            ("for a 5 bytes)", None),
            ("5 bytes)", None),
            ("for a (99999999999999999999 bytes)", None),
            ("226.1 kbytes to download", None),
            ("Opening data connection", None),
            ("", None),
        ] {
            let reply = Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, text);
            assert_eq!(reply.announced_length(), want, "{text}");
        }
    }

    #[test]
    fn only_known_lengths_are_compared() {
        let incomplete =
            |bytes, announced| Err(TransferFault::Incomplete { bytes, announced: Some(announced) });
        let from_2 = TransferLength { offset: 2, ..TransferLength::of(8) };
        for (length, want) in [
            (TransferLength::of(8), Ok(())),
            (TransferLength { announced: Some(8), ..from_2 }, Ok(())),
            (TransferLength { announced: Some(10), ..from_2 }, Ok(())),
            (TransferLength { announced: Some(9), ..from_2 }, incomplete(8, 9)),
            (TransferLength { wanted: Some(8), ..from_2 }, Ok(())),
            (TransferLength { wanted: Some(10), ..from_2 }, incomplete(8, 10)),
            (TransferLength { wanted: Some(7), announced: Some(8), ..from_2 }, incomplete(8, 7)),
            (TransferLength { stored: Some(10), ..from_2 }, Ok(())),
            (TransferLength { stored: Some(8), ..from_2 }, incomplete(8, 10)),
            (TransferLength { offset: u64::MAX, announced: Some(8), ..from_2 }, Ok(())),
        ] {
            assert_eq!(length.check(), want, "{length:?}");
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Reply(u16),
        Opened,
        Missing,
        Failed,
    }

    fn reply(code: u16) -> Reply {
        Reply::new(ReplyCode::new(code).unwrap(), "text")
    }

    /// Returns the steps after each event of a dialogue, or the fault that ends it.
    fn play(verb: Verb, events: &[Event]) -> Result<Vec<StartStep>, TransferFault> {
        let mut start = TransferStart::new(verb);
        assert_eq!(start.step(), AwaitReplyOrData);
        let mut steps = Vec::new();
        for event in events {
            match *event {
                Event::Reply(code) => start.reply(&reply(code))?,
                Opened => start.data_opened(),
                Event::Missing => start.data_missing(),
                Failed => start.data_failed(),
            }
            steps.push(start.step());
        }
        Ok(steps)
    }

    #[test]
    fn replies_and_the_data_connection_may_come_in_any_order() {
        use Event::Reply as On;
        for (events, want) in [
            (&[On(150), Opened][..], &[AwaitReplyOrData, MoveData][..]),
            (&[Opened, On(150)], &[AwaitReply, MoveData]),
            (&[Opened, On(125)], &[AwaitReply, MoveData]),
            // Any number of 1xx.
            (
                &[On(150), On(150), Opened, On(150)],
                &[AwaitReplyOrData, AwaitReplyOrData, MoveData, MoveData],
            ),
            // The server has finished before the data connection is known to be open.
            (&[On(150), On(226), Opened], &[AwaitReplyOrData, AwaitData, MoveData]),
            (&[On(150), On(226), Failed], &[AwaitReplyOrData, AwaitData, Stop]),
            // A 150 never comes.
            (&[Opened, On(226)], &[AwaitReply, MoveData]),
            (&[On(226), Event::Missing], &[TakeData, MoveData]),
            (&[On(250), Opened], &[TakeData, MoveData]),
            // The data connection fails, or takes too long.
            (&[Failed], &[Stop]),
            (&[On(150), Failed], &[AwaitReplyOrData, Stop]),
        ] {
            assert_eq!(play(Verb::Retr, events).as_deref(), Ok(want), "{events:?}");
            assert_eq!(play(Verb::Stor, events).as_deref(), Ok(want), "{events:?}");
        }
    }

    #[test]
    fn a_refusal_ends_the_start_at_any_point() {
        use Event::Reply as On;
        for code in [421, 425, 426, 450, 500, 503, 550, 553, 350] {
            for before in [&[][..], &[Opened], &[On(150)], &[Opened, On(150)], &[On(150), Opened]] {
                let events = [before, &[On(code)]].concat();
                let played = play(Verb::Retr, &events);
                assert_eq!(played, Err(Refused), "{events:?}");
            }
        }
    }

    #[test]
    fn a_reply_of_another_command_is_out_of_step() {
        use Event::Reply as On;
        for code in [200, 213, 220, 227, 229, 230, 257] {
            for before in [&[][..], &[Opened]] {
                let events = [before, &[On(code)]].concat();
                let played = play(Verb::Retr, &events);
                assert_eq!(played, Err(OutOfStep), "{events:?}");
            }
        }
        // After a 1xx the verdict on the whole transfer decides.
        assert_eq!(play(Verb::Retr, &[On(150), On(200)]), Ok(vec![AwaitReplyOrData, AwaitData]));
    }

    #[test]
    fn the_first_and_the_final_reply_are_kept() {
        let codes = |replies: &[u16]| {
            let mut start = TransferStart::new(Verb::Retr);
            replies.iter().for_each(|code| start.reply(&reply(*code)).unwrap());
            let (first, last) = start.into_replies()?;
            Some((first.code().value(), last.map(|last| last.code().value())))
        };
        assert_eq!(codes(&[]), None);
        assert_eq!(codes(&[150, 125]), Some((150, None)));
        assert_eq!(codes(&[150, 226]), Some((150, Some(226))));
        assert_eq!(codes(&[226]), Some((226, Some(226))));
    }
}

mod aborts {
    use super::super::*;
    use AbortStep::{AwaitNoop, AwaitReply, Close, Done};

    /// Returns the step after each of these replies; 0 is silence.
    fn play(codes: &[u16]) -> Vec<AbortStep> {
        let mut abort = TransferAbort::new();
        let hear = |code: &u16| {
            match ReplyCode::new(*code) {
                Some(code) => abort.reply(&Reply::new(code, "text")),
                None => abort.asked(),
            }
            abort.step()
        };
        codes.iter().map(hear).collect()
    }

    #[test]
    fn an_abort_expects_two_replies_whatever_their_codes() {
        for codes in [[426, 226], [226, 226], [226, 225], [425, 225], [550, 500], [426, 502]] {
            assert_eq!(play(&codes), [AwaitReply, Done], "{codes:?}");
        }
        assert_eq!(play(&[150, 426, 150, 226]), [AwaitReply, AwaitReply, AwaitReply, Done]);
    }

    #[test]
    fn noop_is_sent_if_an_abort_reply_is_missing() {
        // After a 226 or 225 alone, the client cannot know which of the two commands it answers.
        assert_eq!(play(&[226, 0, 200]), [AwaitReply, AwaitNoop, Done]);
        assert_eq!(play(&[225, 0, 200]), [AwaitReply, AwaitNoop, Done]);
        assert_eq!(play(&[0, 200]), [AwaitNoop, Done]);
        // The pending replies come before the 200.
        let late = [AwaitNoop, AwaitNoop, AwaitNoop, Done];
        assert_eq!(play(&[0, 426, 226, 200]), late);
    }

    #[test]
    fn a_421_ends_an_abort_at_any_point() {
        for codes in [&[421][..], &[426, 421], &[0, 421]] {
            assert_eq!(play(codes).last(), Some(&Close), "{codes:?}");
        }
    }
}
