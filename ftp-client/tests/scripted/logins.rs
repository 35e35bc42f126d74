//! Logins over a slow network: what is sent together with `PASS`, and servers that read or answer it
//! in other ways.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use ftp_client::Transport;
use ftp_client::file::Verify;
use ftp_client::{
    Client, ClientBuilder, Counts, Error, Extended, FileOptions, Get, Mode, Place, Pool,
    RawCommand, RepresentationType, Verb,
};
use ftp_tests::port::OwnPort;
use ftp_tests::wait::patiently;

use crate::peer::{Peer, Server, get, timeouts};

/// The time to connect over such a network.
const ROUND_TRIP: Duration = Duration::from_millis(25);

/// Connects to this computer as slowly as over a network that saves round trips.
pub(crate) fn far(
    _: &str,
    port: u16,
    is_data: bool,
    _: Duration,
) -> io::Result<Box<dyn Transport>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    if !is_data {
        std::thread::sleep(ROUND_TRIP);
    }
    Ok(Box::new(stream))
}

fn builder() -> ClientBuilder {
    Client::builder().timeouts(timeouts()).first_transfer(RepresentationType::Image)
}

/// A server that plays one script per connection.
struct Scripts {
    host: String,
    thread: JoinHandle<()>,
}

type Script = Box<dyn FnOnce(Peer) + Send>;

impl Scripts {
    fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let mut peer = Peer::new(listener.accept().unwrap().0);
                peer.reply("220 ready");
                peer.answer("USER u", "331 password");
                script(peer);
            }
        });
        Self { host, thread }
    }

    fn one(script: impl FnOnce(Peer) + Send + 'static) -> Self {
        Self::start(vec![Box::new(script)])
    }

    fn connect(&self) -> Client {
        builder().connector(far).connect(&self.host).unwrap()
    }

    fn log_in(&self) -> Client {
        let mut client = self.connect();
        client.login("u", "p").unwrap();
        client
    }

    fn end(self) {
        self.thread.join().unwrap();
    }
}

const FLIGHT: [&str; 3] = ["PASS p", "TYPE I", "EPSV"];

/// Answers a flight whose `EPSV` gets `reply`, or the port at which the peer listens.
fn let_in(peer: &mut Peer) {
    peer.expect_together(&FLIGHT);
    let port = peer.listen();
    peer.send(format!("230 in\r\n200 ok\r\n229 (|||{port}|)\r\n"));
}

fn send_a(peer: &mut Peer) {
    peer.expect("RETR a");
    peer.reply("150 here");
    peer.send_data(b"hello");
    peer.reply("226 done");
}

fn one_by_one(mut peer: Peer) {
    peer.answer("PASS p", "230 in");
    peer.image_epsv();
    send_a(&mut peer);
}

#[test]
fn a_far_server_gets_type_and_epsv_together_with_pass_cl_01_cl_14() {
    let server = Scripts::one(|mut peer| {
        let_in(&mut peer);
        send_a(&mut peer);
        // The port serves one transfer.
        peer.epsv();
        send_a(&mut peer);
    });
    let mut client = server.log_in();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn a_far_server_gets_feat_together_with_pass_if_a_listing_follows_cl_14() {
    for (answer, has_mlst) in
        [("211-Features:\r\n MLST type*;\r\n211 End", true), ("502 no", false)]
    {
        let server = Scripts::one(move |mut peer| {
            peer.expect_together(&["PASS p", "TYPE A", "FEAT", "EPSV"]);
            let port = peer.listen();
            peer.send(format!("230 in\r\n200 ok\r\n{answer}\r\n229 (|||{port}|)\r\n"));
            peer.expect(if has_mlst { "MLSD" } else { "LIST" });
            peer.reply("150 here");
            peer.send_data(b"");
            peer.reply("226 done");
        });
        let builder = Client::builder().timeouts(timeouts()).connector(far);
        let builder = builder.first_listing(RepresentationType::Ascii);
        let mut client = builder.connect(&server.host).unwrap();
        client.login("u", "p").unwrap();
        assert_eq!(client.features().unwrap().has("MLST"), has_mlst);
        let listed = client.list("").map(Iterator::count);
        assert!(listed.is_ok(), "{listed:?}");
        server.end();
    }
}

#[test]
fn twisted_gets_nothing_together_with_pass_cl_14() {
    let server = Server::start(|mut peer| {
        peer.reply("220 Twisted 26.10.0 FTP Server");
        peer.answer("USER u", "331 password");
        one_by_one(peer);
    });
    let mut client = server.connect(builder().connector(far)).unwrap();
    client.login("u", "p").unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn a_server_that_waits_for_the_use_of_an_early_port_gets_one_command_at_a_time_cl_14() {
    let server = Scripts::start(vec![
        Box::new(|mut peer| {
            let_in(&mut peer);
            peer.expect("MDTM a");
            // As Twisted does when nothing has used the port for 10 s.
            peer.send("550 internal error\r\n213 20200101000000\r\n");
            peer.drain();
        }),
        Box::new(one_by_one),
    ]);
    let builder = builder().connector(far);
    let mut client = builder.clone().connect(&server.host).unwrap();
    client.login("u", "p").unwrap();
    assert_eq!(client.modified("a").unwrap(), None);
    let confused = client.noop().unwrap_err();
    assert!(matches!(confused, Error::Desynchronised), "{confused}");
    let mut client = builder.connect(&server.host).unwrap();
    client.login("u", "p").unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn nothing_is_sent_together_with_pass_if_no_epsv_would_follow_at_once() {
    let near = Scripts::one(one_by_one);
    let mut client = builder().connect(&near.host).unwrap();
    client.login("u", "p").unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    near.end();
    for builder in [
        Client::builder().timeouts(timeouts()),
        builder().epsv(Extended::Never),
        builder().epsv_all(true),
        builder().compress(true),
        builder().reuse_data(true),
    ] {
        let server = Scripts::one(|mut peer| {
            peer.answer("PASS p", "230 in");
            peer.answer("NOOP", "200 ok");
        });
        let mut client = builder.connector(far).connect(&server.host).unwrap();
        client.login("u", "p").unwrap();
        client.noop().unwrap();
        server.end();
    }
    let refused = builder().connector(far).mode(Mode::Active).connect("127.0.0.1:9");
    assert!(refused.is_err(), "a connector opens no connection in active mode");
}

#[test]
fn a_right_password_is_not_refused_by_a_server_that_answers_out_of_order_cl_14() {
    for replies in ["530 first\r\n530 first\r\n230 in", "200 ok\r\n229 (|||50004|)\r\n230 in"] {
        let server = Scripts::one(move |mut peer| {
            peer.expect_together(&FLIGHT);
            peer.reply(replies);
            peer.image_epsv();
            send_a(&mut peer);
        });
        let counts = Counts::default();
        let mut client = builder().counts(&counts).connector(far).connect(&server.host).unwrap();
        client.login("u", "p").unwrap();
        assert!(counts.is_out_of_order(), "{replies}");
        assert_eq!(get(&mut client).unwrap(), b"hello", "{replies}");
        server.end();
    }
}

#[test]
fn a_refused_login_is_reported_with_the_reply_to_pass() {
    for replies in [
        "530 wrong\r\n530 first\r\n530 first",
        "530 wrong\r\n503 first\r\n229 (|||50004|)",
        "200 ok\r\n229 (|||50004|)\r\n530 wrong",
        // The password was checked after TYPE.
        "200 ok\r\n530 wrong\r\n530 first",
        // The server closes the connection after the refusal, or drops what follows PASS.
        "530 wrong",
    ] {
        let server = Scripts::one(move |mut peer| {
            peer.expect_together(&FLIGHT);
            peer.reply(replies);
            if replies.contains('\n') {
                peer.answer("NOOP", "200 ok");
            }
        });
        let mut client = server.connect();
        let Err(Error::Refused(Verb::Pass, reply)) = client.login("u", "p") else {
            panic!("{replies}: the login was not refused");
        };
        assert_eq!(reply.to_string(), "530 wrong", "{replies}");
        if replies.contains('\n') {
            client.noop().unwrap();
        }
        server.end();
    }
}

#[test]
fn a_password_in_a_reply_is_concealed_also_if_commands_follow_it() {
    let server = Scripts::one(|mut peer| {
        peer.expect_together(&FLIGHT);
        peer.reply("530 no p here\r\n530 first\r\n530 first");
    });
    let mut client = server.connect();
    let Err(error) = client.login("u", "p") else { panic!("the login was not refused") };
    assert!(error.to_string().contains("530 no **** here"), "{error}");
    server.end();
}

#[test]
fn a_refused_login_ends_a_session_whose_server_drops_what_follows_pass() {
    let server = Scripts::one(|mut peer| {
        peer.expect_together(&FLIGHT);
        peer.reply("530 wrong");
        // Replies may still be due, so the connection is useless.
        peer.expect_end();
    });
    let mut client = server.connect();
    assert!(matches!(client.login("u", "p"), Err(Error::Refused(Verb::Pass, _))));
    assert!(!client.is_ready());
    server.end();
}

#[test]
fn what_a_server_drops_after_pass_is_sent_again_cl_14() {
    let server = Scripts::one(|mut peer| {
        peer.expect_together(&FLIGHT);
        peer.reply("230 in");
        // The client makes sure that no other reply is due.
        peer.answer("PWD", "257 \"/\"");
        peer.image_epsv();
        send_a(&mut peer);
    });
    let mut client = server.log_in();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn a_server_that_fails_with_several_commands_gets_one_at_a_time_cl_14() {
    let confused: [Script; 3] = [
        // A firewall that allows one command in a packet.
        Box::new(|mut peer| {
            peer.expect_together(&FLIGHT);
            peer.close();
        }),
        Box::new(|mut peer| {
            peer.expect_together(&FLIGHT);
            peer.reply("230 in");
            peer.close();
        }),
        // The replies come when the client has stopped waiting for them.
        Box::new(|mut peer| {
            peer.expect_together(&FLIGHT);
            peer.reply("230 in");
            peer.expect("PWD");
            peer.reply("200 ok\r\n229 (|||50004|)\r\n257 \"/\"");
            peer.expect_end();
        }),
    ];
    for script in confused {
        let server = Scripts::start(vec![script, Box::new(one_by_one)]);
        let mut client = server.log_in();
        assert_eq!(get(&mut client).unwrap(), b"hello");
        server.end();
    }
}

#[test]
fn replies_that_are_out_of_order_and_incomplete_end_the_connection() {
    patiently(Duration::from_millis(300), |reply| {
        let script: Script = Box::new(|mut peer| {
            peer.expect_together(&FLIGHT);
            peer.reply("530 first\r\n230 in");
            peer.expect_end();
        });
        let server = Scripts::start(vec![script, Box::new(one_by_one)]);
        let builder = builder().timeouts(timeouts().reply(reply));
        let mut client = builder.connector(far).connect(&server.host).unwrap();
        client.login("u", "p").unwrap();
        assert_eq!(get(&mut client).unwrap(), b"hello");
        server.end();
    });
}

#[test]
fn a_banner_after_the_login_is_not_the_reply_to_type() {
    let server = Scripts::one(|mut peer| {
        peer.expect_together(&FLIGHT);
        let port = peer.listen();
        peer.send(format!("230 in\r\n230 news\r\n200 ok\r\n229 (|||{port}|)\r\n"));
        send_a(&mut peer);
    });
    assert_eq!(get(&mut server.log_in()).unwrap(), b"hello");
    server.end();
}

#[test]
fn type_and_epsv_are_sent_again_after_an_account() {
    let server = Scripts::one(|mut peer| {
        peer.expect_together(&FLIGHT);
        peer.reply("332 account\r\n530 first\r\n530 first");
        peer.answer("ACCT x", "230 in");
        peer.image_epsv();
        send_a(&mut peer);
    });
    let mut client = builder().connector(far).account("x").connect(&server.host).unwrap();
    client.login("u", "p").unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn a_refused_epsv_is_not_asked_again() {
    let server = Scripts::one(|mut peer| {
        peer.expect_together(&FLIGHT);
        peer.reply("230 in\r\n200 ok\r\n500 what");
        peer.pasv();
        send_a(&mut peer);
    });
    assert_eq!(get(&mut server.log_in()).unwrap(), b"hello");
    server.end();
}

#[test]
fn a_refused_type_is_asked_again() {
    let server = Scripts::one(|mut peer| {
        peer.expect_together(&FLIGHT);
        let port = peer.listen();
        peer.send(format!("230 in\r\n451 later\r\n229 (|||{port}|)\r\n"));
        peer.answer("TYPE I", "200 ok");
        send_a(&mut peer);
    });
    assert_eq!(get(&mut server.log_in()).unwrap(), b"hello");
    server.end();
}

#[test]
fn an_early_port_that_is_closed_by_now_costs_no_attempt_cl_14() {
    // The client could still use PASV after the new EPSV.
    for is_refused in [false, true] {
        let closed = OwnPort::claim_closed();
        let port = closed.number();
        let server = Scripts::one(move |mut peer| {
            if is_refused {
                let_in(&mut peer);
                peer.answer("RETR a", "425 no data connection");
            } else {
                peer.expect_together(&FLIGHT);
                peer.send(format!("230 in\r\n200 ok\r\n229 (|||{port}|)\r\n"));
            }
            peer.epsv();
            send_a(&mut peer);
        });
        let mut client = server.log_in();
        assert_eq!(get(&mut client).unwrap(), b"hello", "{is_refused}");
        server.end();
    }
}

#[test]
fn pipelining_begins_after_the_transfer_that_has_an_early_port() {
    let server = Scripts::one(|mut peer| {
        let_in(&mut peer);
        send_a(&mut peer);
        let port = peer.listen();
        peer.expect_together(&["EPSV", "RETR a"]);
        peer.reply(&format!("229 (|||{port}|)\r\n150 here"));
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    let mut client = builder().pipeline(true).connector(far).connect(&server.host).unwrap();
    client.login("u", "p").unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn a_raw_command_gives_up_the_early_port() {
    let server = Scripts::one(|mut peer| {
        let_in(&mut peer);
        peer.answer("ALLO 1", "200 ok");
        peer.epsv();
        send_a(&mut peer);
    });
    let mut client = server.log_in();
    client.quote(&RawCommand::new("ALLO 1").unwrap()).unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn the_end_of_a_session_is_awaited_only_if_it_proves_something_cl_13() {
    for is_proved in [true, false] {
        let server = Scripts::one(move |mut peer| {
            let_in(&mut peer);
            send_a(&mut peer);
            if is_proved {
                peer.answer("SIZE a", "213 5");
            }
            peer.expect("QUIT");
            match is_proved {
                // The client has gone without an answer.
                true => peer.expect_end(),
                // This would be the reply to a command before.
                false => peer.reply("550 no such file"),
            }
        });
        let mut client = server.log_in();
        assert_eq!(get(&mut client).unwrap(), b"hello");
        if is_proved {
            assert_eq!(client.size("a").unwrap(), Some(5));
        }
        assert_eq!(client.quit().is_ok(), is_proved);
        server.end();
    }
}

#[test]
fn a_far_server_that_takes_several_commands_is_asked_for_size_and_time_together() {
    let local = tempfile::tempdir().unwrap();
    for answers in [["213 5", "213 20200101000000"], ["550 no", "213 20200101000000"]] {
        let server = Scripts::one(move |mut peer| {
            let_in(&mut peer);
            // A refused answer does not shift the other.
            peer.expect_together(&["SIZE a", "MDTM a"]);
            answers.iter().for_each(|answer| peer.reply(answer));
            send_a(&mut peer);
            peer.drain();
        });
        let pool = Pool::new(|| {
            let mut client = server.connect();
            client.login("u", "p").map(|()| client)
        });
        let options = FileOptions::new().verify(Verify::None);
        let target = local.path().join("a");
        let mut job = Get::to_path(Place::at("a"), &target, &options);
        job.attempt_over(&pool, 2, &()).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"hello");
        drop((job, pool));
        server.end();
    }
}

#[test]
fn round_trips_and_connections_are_counted() {
    for is_proved in [true, false] {
        let server = Scripts::one(move |mut peer| {
            let_in(&mut peer);
            send_a(&mut peer);
            if is_proved {
                peer.answer("SIZE a", "213 5");
            }
            peer.answer("QUIT", "221 bye");
        });
        let counts = Counts::default();
        let mut client = builder().counts(&counts).connector(far).connect(&server.host).unwrap();
        client.login("u", "p").unwrap();
        assert_eq!(get(&mut client).unwrap(), b"hello");
        if is_proved {
            assert_eq!(client.size("a").unwrap(), Some(5));
        }
        client.quit().unwrap();
        // Connecting, greeting, USER, PASS, RETR, the data connection, and SIZE or QUIT.
        assert_eq!((counts.connections(), counts.round_trips()), (1, 7), "{is_proved}");
        assert!(counts.latency() >= ROUND_TRIP && counts.login() > Duration::ZERO);
        assert!(!counts.is_out_of_order());
        server.end();
    }
}
