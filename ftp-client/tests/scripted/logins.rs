//! Logins over a slow network: `PASS` goes alone, and which replies are waited for.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use ftp_client::{Client, ClientBuilder, Counts, Error, Transport, Verb};

use crate::peer::{Peer, SHORT, Server, get, timeouts};

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
    Client::builder().timeouts(timeouts()).connector(far)
}

fn send_a(peer: &mut Peer) {
    peer.image_epsv();
    peer.expect("RETR a");
    peer.reply("150 here");
    peer.send_data(b"hello");
    peer.reply("226 done");
}

#[test]
fn a_far_server_gets_one_command_at_a_time_up_to_a_download_cl_01_cl_14() {
    let server = Server::start(|mut peer| {
        peer.reply("220 ready");
        for (command, reply) in [("USER u", "331 password"), ("PASS p", "230 in")] {
            peer.expect(command);
            assert!(peer.client_is_silent_for(SHORT), "{command} goes alone");
            peer.reply(reply);
        }
        send_a(&mut peer);
    });
    let mut client = server.connect(builder()).unwrap();
    client.login("u", "p").unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn a_password_in_a_reply_is_concealed() {
    let server = Server::start(|mut peer| {
        peer.reply("220 ready");
        peer.answer("USER u", "331 password");
        peer.answer("PASS p", "530 no p here");
    });
    let mut client = server.connect(builder()).unwrap();
    let error = client.login("u", "p").unwrap_err();
    assert!(matches!(error, Error::Refused { verb: Verb::Pass, .. }), "{error}");
    assert!(error.to_string().contains("530 no **** here"), "{error}");
    server.end();
}

#[test]
fn a_banner_after_the_login_is_not_the_reply_to_type() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        peer.expect("TYPE I");
        peer.reply("230 news\r\n200 ok");
        peer.epsv();
        peer.expect("RETR a");
        peer.reply("150 here");
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn the_end_of_a_session_is_awaited_only_if_it_proves_something_cl_13() {
    for is_proved in [true, false] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
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
        assert_eq!(get(&mut client).unwrap(), b"hello");
        if is_proved {
            assert_eq!(client.size("a").unwrap(), Some(5));
        }
        assert_eq!(client.quit().is_ok(), is_proved);
        server.end();
    }
}

#[test]
fn round_trips_and_connections_are_counted() {
    for is_proved in [true, false] {
        let counts = Counts::default();
        let (server, mut client) =
            Server::logged_in_with(builder().counts(&counts), move |mut peer| {
                send_a(&mut peer);
                if is_proved {
                    peer.answer("SIZE a", "213 5");
                }
                peer.answer("QUIT", "221 bye");
            });
        assert_eq!(get(&mut client).unwrap(), b"hello");
        if is_proved {
            assert_eq!(client.size("a").unwrap(), Some(5));
        }
        client.quit().unwrap();
        // Connecting, greeting, USER, PASS, TYPE, EPSV, RETR, the data connection, and SIZE or QUIT.
        assert_eq!((counts.connections(), counts.round_trips()), (1, 9), "{is_proved}");
        assert!(counts.latency() >= ROUND_TRIP && counts.login() > Duration::ZERO);
        server.end();
    }
}
