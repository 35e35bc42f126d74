//! A client that another thread stops.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ftp_client::{Canceller, Client, ClientBuilder, Error, Mode};
use ftp_tests::wait::patiently;

use crate::peer::{SOON, Server, timeouts, was_reset};

/// The time for the last commands of a cancelled client.
const GOOD_BYE: Duration = Duration::from_secs(1);

fn builder(canceller: &Canceller) -> ClientBuilder {
    Client::builder().timeouts(timeouts()).canceller(canceller.clone())
}

#[track_caller]
fn is_cancelled<T>(result: Result<T, Error>) {
    match result {
        Err(Error::Cancelled) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it went on"),
    }
}

/// Cancels a moment later; the client may be waiting by then or not.
fn press(canceller: Canceller) -> JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(50));
        canceller.cancel();
    })
}

#[test]
fn a_cancelled_client_sends_only_quit() {
    patiently(GOOD_BYE, |_| {
        let canceller = Canceller::new().unwrap();
        let (server, mut client) = Server::logged_in_with(builder(&canceller), |mut peer| {
            peer.answer("NOOP", "200 ok");
            peer.answer("QUIT", "221 bye");
            peer.expect_end();
        });
        client.noop().unwrap();
        assert!(!canceller.is_cancelled());
        canceller.cancel();
        canceller.cancel();
        assert!(canceller.is_cancelled());
        is_cancelled(client.noop());
        is_cancelled(client.retrieve("a").map(drop));
        is_cancelled(client.noop());
        // Only QUIT still works.
        client.quit().unwrap();
        server.end();
        // Also for each other client with this canceller, and for new ones.
        is_cancelled(builder(&canceller).connect("127.0.0.1:9"));
        is_cancelled(builder(&canceller).connect("no.such.name.invalid"));
    });
}

#[test]
fn a_cancel_ends_the_wait_for_a_connection_and_a_greeting() {
    // One connection fills its queue: the next ones get no answer.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    deaf.listen(0).unwrap();
    let deaf = TcpListener::from(deaf);
    let _first = TcpStream::connect(deaf.local_addr().unwrap()).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [deaf.local_addr().unwrap(), silent.local_addr().unwrap()] {
        let canceller = Canceller::new().unwrap();
        let builder = builder(&canceller);
        let connecting = std::thread::spawn(move || builder.connect(&address.to_string()));
        let begin = Instant::now();
        let button = press(canceller);
        is_cancelled(connecting.join().unwrap());
        button.join().unwrap();
        assert!(begin.elapsed() < SOON);
    }
}

#[test]
fn a_cancel_ends_the_wait_for_a_reply() {
    patiently(GOOD_BYE, |_| {
        let canceller = Canceller::new().unwrap();
        let button = canceller.clone();
        let (server, mut client) = Server::logged_in_with(builder(&canceller), move |mut peer| {
            peer.expect("NOOP");
            button.cancel();
            // It is unknown which command the next reply would answer.
            peer.expect_end();
        });
        is_cancelled(client.noop());
        is_cancelled(client.noop());
        client.quit().unwrap();
        server.end();
    });
}

/// The server has the data connection already, and would take its end for the end of an empty file.
#[test]
fn an_upload_cancelled_before_the_first_reply_resets_its_data_hl_04() {
    let canceller = Canceller::new().unwrap();
    let button = canceller.clone();
    let (server, mut client) = Server::logged_in_with(builder(&canceller), move |mut peer| {
        peer.image_epsv();
        peer.expect("STOR a");
        let data = peer.data();
        button.cancel();
        assert!(was_reset(&data));
    });
    is_cancelled(client.store("a").map(drop));
    drop(client);
    server.end();
}

#[test]
fn endless_150s_do_not_hide_a_cancel_hc_12() {
    // After all data was sent, and while a dropped transfer is aborted.
    for is_dropped in [false, true] {
        let canceller = Canceller::new().unwrap();
        let button = canceller.clone();
        let (server, mut client) = Server::logged_in_with(builder(&canceller), move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 go");
            let _data = peer.data();
            let flood = b"150 go\r\n".repeat(10_000);
            let pressed = press(button);
            while peer.try_send(&flood) {}
            pressed.join().unwrap();
        });
        let mut file = client.store("a").unwrap();
        file.write_all(b"12345").unwrap();
        match is_dropped {
            false => is_cancelled(file.finish()),
            true => drop(file),
        }
        is_cancelled(client.noop());
        drop(client);
        server.end();
    }
}

#[test]
fn a_cancelled_download_can_be_aborted_cleanly_cl_15() {
    patiently(GOOD_BYE, |_| {
        for abandoned in [false, true] {
            let canceller = Canceller::new().unwrap();
            let (server, mut client) =
                Server::logged_in_with(builder(&canceller), move |mut peer| {
                    peer.image_epsv();
                    peer.answer("RETR a", "150 Opening");
                    let mut data = peer.data();
                    data.write_all(b"hello").unwrap();
                    peer.expect_abort();
                    peer.send("426 cut\r\n226 aborted\r\n");
                    peer.answer("QUIT", "221 bye");
                });
            let mut file = client.retrieve("a").unwrap();
            file.read_exact(&mut [0; 5]).unwrap();
            let button = press(canceller);
            let error = file.read_to_end(&mut Vec::new()).unwrap_err();
            is_cancelled(Err::<(), _>(Error::downcast(error).unwrap()));
            button.join().unwrap();
            if abandoned {
                is_cancelled(file.finish().map(drop));
                is_cancelled(client.noop());
            } else {
                file.abort().unwrap();
                is_cancelled(client.noop());
            }
            client.quit().unwrap();
            server.end();
        }
    });
}

#[test]
fn a_cancelled_upload_can_be_aborted_cleanly_cl_15() {
    patiently(GOOD_BYE, |_| {
        let canceller = Canceller::new().unwrap();
        let (server, mut client) = Server::logged_in_with(builder(&canceller), move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 Opening");
            let _unread = peer.data();
            peer.expect_abort();
            peer.send("426 cut\r\n226 aborted\r\n");
            peer.answer("QUIT", "221 bye");
        });
        let mut file = client.store("a").unwrap();
        let button = press(canceller);
        let error = loop {
            if let Err(error) = file.write_all(&[0; 65_536]) {
                break Error::downcast(error).unwrap();
            }
        };
        is_cancelled(Err::<(), _>(error));
        button.join().unwrap();
        file.abort().unwrap();
        client.quit().unwrap();
        server.end();
    });
}

#[test]
fn a_cancel_ends_the_wait_for_a_data_connection_and_for_the_last_reply() {
    patiently(GOOD_BYE, |_| {
        for last_reply in [false, true] {
            let canceller = Canceller::new().unwrap();
            let button = canceller.clone();
            let mode = if last_reply { Mode::Passive } else { Mode::Active };
            let builder = builder(&canceller).mode(mode);
            let (server, mut client) = Server::logged_in_with(builder, move |mut peer| {
                if last_reply {
                    peer.image_epsv();
                    peer.answer("RETR a", "150 Opening");
                    peer.send_data(b"hello");
                } else {
                    peer.answer("TYPE I", "200 ok");
                    peer.line();
                    peer.reply("200 ok");
                    peer.answer("RETR a", "150 Opening");
                }
                button.cancel();
                peer.expect_abort();
                peer.send("426 cut\r\n226 aborted\r\n");
                peer.answer("QUIT", "221 bye");
            });
            is_cancelled(client.retrieve("a").and_then(|mut file| {
                let read = file.read_to_end(&mut Vec::new());
                read.map_err(|error| Error::downcast(error).unwrap())?;
                file.finish()
            }));
            client.quit().unwrap();
            server.end();
        }
    });
}

#[test]
fn a_cancel_limits_the_wait_for_the_reply_to_quit() {
    patiently(GOOD_BYE, |_| {
        let canceller = Canceller::new().unwrap();
        let button = canceller.clone();
        let (server, mut client) = Server::logged_in_with(builder(&canceller), move |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 Opening");
            let _data = peer.data();
            button.cancel();
            peer.expect_abort();
            // The server never answers.
            peer.expect_end();
        });
        is_cancelled(client.retrieve("a").and_then(ftp_client::Download::finish));
        let begin = Instant::now();
        assert!(matches!(client.quit(), Err(Error::Timeout(_))));
        assert!(begin.elapsed() < SOON);
        server.end();

        // Also if the cancel comes during the copy.
        let canceller = Canceller::new().unwrap();
        let button = canceller.clone();
        let (server, client) = Server::logged_in_with(builder(&canceller), move |mut peer| {
            peer.expect("QUIT");
            button.cancel();
            peer.expect_end();
        });
        let begin = Instant::now();
        assert!(matches!(client.quit(), Err(Error::Timeout(_))));
        assert!(begin.elapsed() < SOON);
        server.end();
    });
}
