//! `RETR`: success and failure.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ftp_client::error::Phase;
use ftp_client::{Client, Download, Error, RepresentationType, Verb};
use ftp_tests::wait::patiently;

use crate::peer::{SHORT, SOON, Server, reset, timeouts};

/// Reads to the end and finishes; returns the unwrapped error of either.
fn read_all(mut file: Download<&mut Client>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    if let Err(error) = file.read_to_end(&mut bytes) {
        let again = file.finish().expect_err("a failed read is no success").to_string();
        let error = Error::downcast(error).expect("it was made by the client");
        assert_eq!(error.to_string(), again);
        return Err(error);
    }
    let count = file.transferred();
    assert_eq!(file.finish()?.bytes, count);
    Ok(bytes)
}

fn code(error: &Error) -> u16 {
    error.reply().unwrap_or_else(|| panic!("{error}")).code().value()
}

#[test]
fn downloads_report_announced_and_transferred_bytes_cl_01_as_07() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR dir/a b", "150 Opening for dir/a b (5 bytes).");
        peer.send_data(b"hello");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("RETR b", "150 Opening");
        peer.send_data(b"");
        peer.reply("250 done");
        peer.answer("QUIT", "221 bye");
    });
    let mut file = client.retrieve("dir/a b").unwrap();
    assert_eq!((file.announced(), file.transferred()), (Some(5), 0));
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    let report = file.finish().unwrap();
    assert_eq!((report.bytes, report.reply.code().value()), (5, 226));
    assert_eq!(read_all(client.retrieve("b").unwrap()).unwrap(), b"");
    client.quit().unwrap();
    server.end();
}

#[test]
fn replies_byte_by_byte() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.expect("RETR a");
        for byte in b"150-Opening\r\n 226 no\r\n150 yes\r\n" {
            peer.send([*byte]);
        }
        peer.send_data(b"x");
        for byte in b"226 done\n" {
            peer.send([*byte]);
        }
        peer.answer("NOOP", "200 ok");
    });
    assert_eq!(read_all(client.retrieve("a").unwrap()).unwrap(), b"x");
    client.noop().unwrap();
    server.end();
}

#[test]
fn the_command_is_sent_before_the_data_connection_is_accepted_cl_31() {
    // The peer accepts the data connection only after the verb, or refuses without accepting it.
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "550 no such file");
        peer.answer("NOOP", "200 ok");
    });
    let error = client.retrieve("a").unwrap_err();
    assert!(matches!(&error, Error::Refused { verb: Verb::Retr, .. }), "{error}");
    assert_eq!(error.to_string(), "RETR refused: 550 no such file");
    assert!(!error.is_transient());
    client.noop().unwrap();
    server.end();
}

#[test]
fn transfers_with_no_or_several_preliminary_replies_cl_08() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.expect("RETR a");
        peer.send_data(b"abc");
        peer.reply("226 all sent, no 150");
        peer.epsv();
        peer.expect("RETR b");
        peer.send("125 a\r\n150 b\r\n110 MARK 1 = 2\r\n");
        peer.send_data(b"de");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("RETR c", "226 nothing there, and no data connection taken");
        peer.answer("NOOP", "200 ok");
    });
    assert_eq!(read_all(client.retrieve("a").unwrap()).unwrap(), b"abc");
    assert_eq!(read_all(client.retrieve("b").unwrap()).unwrap(), b"de");
    let file = client.retrieve("c").unwrap();
    file.abort().unwrap();
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_reply_of_another_command_does_not_end_a_transfer_hc_17() {
    for reply in ["200 ok", "227 Entering Passive Mode (127,0,0,1,200,1)", "221 bye"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", reply);
        });
        let error = client.retrieve("a").map(drop).unwrap_err();
        let is_right = matches!(error, Error::Unexpected { .. } | Error::Desynchronised);
        assert!(is_right, "{reply}: {error}");
        assert!(matches!(client.noop(), Err(Error::Closed)), "the replies are out of step");
        server.end();
    }
}

#[test]
fn a_226_without_a_150_and_without_data_is_an_error_cl_08() {
    patiently(SHORT, |data_connect| {
        let builder = Client::builder().timeouts(timeouts().data_connect(data_connect));
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            peer.image_epsv();
            // Silent: the peer continues to listen.
            peer.answer("RETR a", "226 nothing there");
            // Reset: the peer closes its listener by opening another.
            peer.epsv();
            peer.answer("RETR b", "226 nothing there");
            peer.listen();
            peer.answer("NOOP", "200 ok");
        });
        let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::Stall)), "{error}");
        let error = read_all(client.retrieve("b").unwrap()).unwrap_err();
        assert!(matches!(error, Error::Io(_)), "{error}");
        client.noop().unwrap();
        server.end();
    });
}

#[test]
fn fewer_bytes_than_announced_are_incomplete_hc_19() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening (10 bytes).");
        peer.send_data(b"hello");
        peer.reply("226 done");
        peer.answer("SIZE a", "213 10");
        peer.answer("NOOP", "200 ok");
    });
    let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
    assert!(matches!(error, Error::Incomplete { bytes: 5, announced: Some(10), .. }));
    assert_eq!(error.to_string(), "incomplete: 5 of 10 bytes transferred");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_length_other_than_announced_is_an_error_hc_16() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        for size in ["213 3", "213 6", "550 no", "213 5"] {
            if size != "213 3" {
                peer.epsv();
            }
            peer.answer("RETR a", "150 Opening (3 bytes)");
            peer.send_data(b"hello");
            peer.reply("226 done");
            peer.answer("SIZE a", size);
        }
        for announced in [100, 5] {
            peer.epsv();
            peer.answer("REST 95", "350 ok");
            // The announced length is neither that of the rest nor that of the whole file.
            peer.answer("RETR a", &format!("150 Opening ({announced} bytes)"));
            peer.send_data(b"hel");
            peer.reply("226 done");
            peer.answer("SIZE a", "550 no");
        }
        peer.answer("NOOP", "200 ok");
    });
    for _ in 0..3 {
        let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
        assert!(matches!(error, Error::Incomplete { bytes: 5, announced: Some(3), .. }));
        assert_eq!(error.to_string(), "incomplete: 5 bytes transferred, 3 expected");
    }
    // A server that counts with few bits: its size outweighs the number.
    assert_eq!(read_all(client.retrieve("a").unwrap()).unwrap(), b"hello");
    for _ in 0..2 {
        let error = read_all(client.retrieve_from("a", 95).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Incomplete { bytes: 3, .. }), "{error}");
    }
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_stray_reply_does_not_confirm_a_transfer_hc_17() {
    for (last, want) in [
        ("200 ok", true),
        ("226 done", true),
        ("226 done\r\n200 stray", true),
        ("200 stray\r\n451 disk", false),
        ("220 ready", false),
        ("221 bye", false),
        ("211 status", false),
        ("229 Extended (|||1025|)", false),
        ("230 in", false),
        ("257 \"/\"", false),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 Opening");
            peer.send_data(b"hello");
            peer.reply(last);
        });
        let got = read_all(client.retrieve("a").unwrap());
        assert_eq!(got.is_ok(), want, "{last}: {got:?}");
        if let Err(error) = got {
            assert!(matches!(error, Error::Unexpected { .. } | Error::Desynchronised), "{error}");
            assert!(matches!(client.noop(), Err(Error::Closed)));
        }
        server.end();
    }
}

#[test]
fn negative_final_replies_are_refusals_hc_20() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        for reply in ["426 cut", "451 disk", "550 odd"] {
            peer.epsv();
            peer.answer("RETR a", "150 Opening");
            peer.send_data(b"hel");
            peer.reply(reply);
        }
        peer.answer("NOOP", "200 ok");
    });
    for want in [426, 451, 550] {
        let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
        assert_eq!((code(&error), error.is_transient()), (want, want < 500));
    }
    client.noop().unwrap();
    server.end();
}

#[test]
fn the_servers_refusal_takes_precedence_over_a_reset_hc_20() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        for reply in ["426 cut half way", "226 all is well"] {
            peer.epsv();
            peer.answer("RETR a", "150 Opening");
            let mut data = peer.data();
            data.write_all(b"hel").unwrap();
            reset(data);
            peer.reply(reply);
        }
        peer.answer("SIZE a", "213 5");
        peer.answer("NOOP", "200 ok");
    });
    let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "RETR refused: 426 cut half way");
    let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
    assert!(matches!(&error, Error::Io(_)), "{error}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_missing_final_reply_times_out_cl_12_hc_20() {
    let timeouts = timeouts().final_reply(SHORT);
    let builder = Client::builder().timeouts(timeouts);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"hello");
        peer.expect_end();
    });
    let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
    assert!(matches!(error, Error::Timeout(Phase::FinalReply)), "{error}");
    assert!(matches!(client.noop(), Err(Error::Closed)));
    server.end();
}

#[test]
fn a_connection_closed_before_the_final_reply_is_an_error_hc_20() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"hello");
        peer.close();
    });
    let error = client.retrieve("a").and_then(read_all).unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    assert!(matches!(client.noop(), Err(Error::Closed)));
    server.end();
}

#[test]
fn a_421_is_reported_at_any_stage_of_a_download_cl_10() {
    for at in 0..4 {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            let closing = "421 going down";
            if at == 0 {
                peer.answer("TYPE I", closing);
                return;
            }
            peer.answer("TYPE I", "200 ok");
            if at == 1 {
                return peer.answer("EPSV", closing);
            }
            peer.epsv();
            if at == 2 {
                return peer.answer("RETR a", closing);
            }
            peer.answer("RETR a", "150 Opening");
            peer.send_data(b"hello");
            peer.reply(closing);
        });
        let error = client.retrieve("a").and_then(read_all).unwrap_err();
        assert!(matches!(&error, Error::ServiceClosing(_)), "{at}: {error}");
        assert!(error.is_transient());
        assert!(matches!(client.noop(), Err(Error::Closed)));
        server.end();
    }
}

#[test]
fn stalled_data_times_out_cl_12_hc_19() {
    patiently(SHORT, |stall| {
        let builder = Client::builder().timeouts(timeouts().stall(stall));
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 Opening");
            let _stalled = peer.data();
            peer.expect_abort();
            peer.reply("426 aborted");
            peer.reply("226 aborted");
            peer.epsv();
            peer.answer("RETR a", "150 Opening");
            let _stalled = peer.data();
            peer.reply("451 tape torn");
            peer.answer("NOOP", "200 ok");
        });
        let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::Stall)), "{error}");
        // The next call aborts; and a reply that has arrived counts for more than the timeout.
        let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "RETR refused: 451 tape torn");
        client.noop().unwrap();
        server.end();
    });
}

#[test]
fn the_overall_timeout_ends_a_slow_transfer() {
    patiently(Duration::from_millis(400), |limit| {
        let builder = Client::builder().timeouts(timeouts()).overall(Some(limit));
        let begin = Instant::now();
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 Opening");
            let _stalled = peer.data();
            peer.line();
        });
        let error = read_all(client.retrieve("a").unwrap()).unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::Overall)), "{error}");
        assert!(matches!(client.noop(), Err(Error::Timeout(Phase::Overall))));
        assert!(begin.elapsed() < limit + SOON);
        drop(client);
        server.end();
    });
}

#[test]
fn a_download_can_finish_before_end_of_file_is_read() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"hello");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"hello");
        peer.expect_abort();
        peer.send("226 done\r\n225 nothing\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let mut file = client.retrieve("a").unwrap();
    file.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(file.finish().unwrap().bytes, 5);
    let mut file = client.retrieve("a").unwrap();
    file.read_exact(&mut [0; 4]).unwrap();
    let error = file.finish().unwrap_err();
    assert!(matches!(error, Error::Incomplete { bytes: 4, announced: None, .. }), "{error}");
    assert_eq!(error.to_string(), "incomplete: ended after 4 bytes, before the end of the data");
    client.noop().unwrap();
    server.end();
}

#[test]
fn ascii_transfers_convert_line_endings() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE A", "200 ok");
        peer.epsv();
        peer.answer("RETR a", "150 Opening (9 bytes)");
        peer.send_data(b"a\r\n\r\nb\rc\r");
        peer.reply("226 done");
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"a\r\n");
        peer.reply("226 done");
    });
    client.set_representation(RepresentationType::Ascii);
    let file = client.retrieve("a").unwrap();
    assert_eq!(file.announced(), None);
    assert_eq!(read_all(file).unwrap(), b"a\n\nb\rc\r");
    client.set_representation(RepresentationType::Image);
    assert_eq!(read_all(client.retrieve("a").unwrap()).unwrap(), b"a\r\n");
    server.end();
}

#[test]
fn a_download_from_an_offset_as_10() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("REST 5", "350 restarting");
        peer.answer("RETR a", "150 Opening (10 bytes)");
        peer.send_data(b"world");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("REST 6", "502 no");
        // No restart is pending, so none is reset.
        peer.epsv();
        peer.answer("RETR a", "150 Opening (10 bytes)");
        peer.send_data(b"helloworld");
        peer.reply("226 done");
        peer.answer("REST 7", "350 restarting");
        peer.epsv();
        peer.answer("REST 0", "350 restarting");
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"");
        peer.reply("226 done");
    });
    assert_eq!(read_all(client.retrieve_from("a", 5).unwrap()).unwrap(), b"world");
    let error = client.retrieve_from("a", 6).unwrap_err();
    assert!(matches!(error, Error::Refused { verb: Verb::Rest, .. }), "{error}");
    assert_eq!(read_all(client.retrieve("a").unwrap()).unwrap(), b"helloworld");
    let rest = ftp_client::RawCommand::new("REST 7").unwrap();
    assert_eq!(client.quote(&rest).unwrap().code().value(), 350);
    assert_eq!(read_all(client.retrieve("a").unwrap()).unwrap(), b"");
    assert!(matches!(client.retrieve_from("a", u64::MAX), Err(Error::Argument(_))));
    server.end();
}

#[test]
fn a_dropped_download_is_aborted_by_the_next_call() {
    for replies in [["426 cut", "226 aborted"], ["226 done", "225 nothing"], ["226 a", "226 b"]] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 Opening");
            let mut data = peer.data();
            data.write_all(&[0; 100]).unwrap();
            peer.expect_abort();
            replies.iter().for_each(|reply| peer.reply(reply));
            peer.answer("NOOP", "200 ok");
        });
        let mut file = client.retrieve("a").unwrap();
        file.read_exact(&mut [0; 10]).unwrap();
        drop(file);
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn a_download_whose_target_is_another_transfer_fails_with_its_error() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 ok");
        let mut data = peer.data();
        data.write_all(b"half").unwrap();
        peer.expect_abort();
        drop(data);
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let download = client.retrieve("a").unwrap();
    let error = download.fail(Error::Timeout(Phase::Stall).into());
    assert!(matches!(error, Error::Timeout(Phase::Stall)), "{error}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_finished_download_needs_no_abort() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.expect("RETR a");
        peer.send_data(b"hello");
        peer.send("150 Opening\r\n226 done\r\n");
        peer.answer("NOOP", "200 ok");
    });
    client.retrieve("a").unwrap().abort().unwrap();
    client.noop().unwrap();
    server.end();
}

#[test]
fn abort_cl_15() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        let mut data = peer.data();
        data.write_all(&[0; 100]).unwrap();
        peer.expect_abort();
        peer.reply("426 cut");
        peer.reply("500 what is ABOR?");
        peer.epsv();
        peer.answer("RETR a", "150 Opening");
        let _data = peer.data();
        peer.expect_abort();
        peer.reply("421 enough");
    });
    client.retrieve("a").unwrap().abort().unwrap();
    let error = client.retrieve("a").unwrap().abort().unwrap_err();
    assert!(matches!(error, Error::ServiceClosing(_)), "{error}");
    server.end();
}

#[test]
fn an_unanswered_abort_closes_the_connection_cl_11() {
    patiently(SHORT, |reply| {
        let builder = Client::builder().timeouts(timeouts().reply(reply));
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 Opening");
            let _data = peer.data();
            peer.expect_abort();
            peer.reply("226 one reply, where two are owed");
            // With more time, the client also sends NOOP.
            peer.drain();
        });
        drop(client.retrieve("a").unwrap());
        assert!(matches!(client.noop(), Err(Error::Timeout(Phase::Reply(_)))));
        assert!(matches!(client.noop(), Err(Error::Closed)));
        server.end();
    });
}

#[test]
fn noop_is_sent_if_replies_to_an_abort_are_missing_cl_15() {
    // The replies of Pure-FTPd, and of a slow server.
    for said in ["150 0.016 seconds (measured here)\r\n", ""] {
        let late = if said.is_empty() { "426 cut\r\n226 aborted\r\n" } else { "" };
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 Opening");
            let _data = peer.data();
            peer.expect_abort();
            peer.send(said);
            peer.expect("NOOP");
            peer.send(late);
            peer.reply("200 ok");
            peer.answer("SYST", "215 UNIX");
        });
        drop(client.retrieve("a").unwrap());
        assert_eq!(client.system().unwrap(), b"UNIX", "{said}");
        server.end();
    }
}

#[test]
fn a_forgotten_download_is_aborted_too() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        let _data = peer.data();
        peer.expect_abort();
        peer.reply("426 cut");
        peer.reply("226 aborted");
        peer.answer("NOOP", "200 ok");
    });
    std::mem::forget(client.retrieve("a").unwrap());
    client.noop().unwrap();
    server.end();
}

/// What an embedder stores: the client goes where the stream goes.
struct Song {
    stream: Download<Client>,
}

#[test]
fn a_download_that_owns_its_client_moves_and_gives_the_client_back() {
    let (server, client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.expect("RETR a");
        peer.reply("150 ok");
        peer.send_data(b"abc");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("RETR b", "550 no");
    });
    let song = Song { stream: Download::begin(client, "a", 0).unwrap() };
    let client = std::thread::spawn(move || {
        let mut song = song;
        let mut bytes = Vec::new();
        song.stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abc");
        let (report, client) = song.stream.release();
        assert_eq!(report.unwrap().bytes, 3);
        client
    })
    .join()
    .unwrap();
    assert!(client.is_settled());
    assert!(matches!(Download::begin(client, "b", 0), Err(Error::Refused { .. })));
    server.end();
}

#[test]
fn a_download_that_owns_its_client_can_be_dropped_or_released_early() {
    let (server, client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.expect("RETR a");
        peer.reply("150 ok");
        let data = peer.data();
        peer.expect_abort();
        drop(data);
        peer.reply("426 cut");
        peer.reply("226 aborted");
        peer.answer("NOOP", "200 ok");
        peer.expect_end();
    });
    let download = Download::begin(client, "a", 0).unwrap();
    let mut client = download.detach();
    assert!(!client.is_ready() && !client.is_settled());
    client.make_ready().unwrap();
    assert!(client.is_ready());
    client.noop().unwrap();
    drop(client);
    server.end();
}

#[test]
fn a_download_knows_the_total_that_the_server_announced() {
    for (first, total) in [("150 Opening (4 bytes)", Some(4)), ("150 Opening", None)] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.expect("RETR a");
            peer.reply(first);
            peer.send_data(b"abcd");
            peer.reply("226 done");
        });
        let download = client.retrieve("a").unwrap();
        assert_eq!(download.total(), total);
        assert_eq!(download.copy_to(&mut Vec::new()).unwrap().bytes, 4);
        server.end();
    }
}
