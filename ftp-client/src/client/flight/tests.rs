use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use ftp_proto::Features;

use super::*;
use crate::config::ClientBuilder;

const IN: &[(&str, &str)] =
    &[("", "220 ready\r\n"), ("USER u\r\n", "331 password\r\n"), ("PASS p\r\n", "230 in\r\n")];

/// Plays one dialogue for each connection: exactly these bytes arrive, then these are sent. Instead of
/// `HANG`, nothing is sent, and the client ends the connection.
fn serve(dialogues: Vec<Vec<(&'static str, &'static str)>>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        for dialogue in dialogues {
            let (mut control, _) = listener.accept().unwrap();
            control.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            for (want, reply) in dialogue {
                let mut got = vec![0; want.len()];
                control.read_exact(&mut got).unwrap();
                assert_eq!(String::from_utf8_lossy(&got), want);
                match reply {
                    HANG => assert_eq!(control.read(&mut [0]).unwrap_or(0), 0, "after {want}"),
                    reply => control.write_all(reply.as_bytes()).unwrap(),
                }
            }
        }
    });
    (address, thread)
}

const HANG: &str = "hang";

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [IN, more].concat()
}

/// A client of a tree, whose caller connects again.
fn client(builder: &ClientBuilder, address: SocketAddr) -> Client {
    let mut client = builder.clone().connect(&address.to_string()).unwrap();
    client.login("u", "p").unwrap();
    client.tests_flights = true;
    client
}

fn is_proved(client: &Client) -> bool {
    client.config.learned.flights.is_proved()
}

#[test]
fn a_server_that_answers_type_and_pwd_in_order_gets_flights_over_all_connections_cl_78() {
    let (address, server) = serve(vec![
        with(&[("TYPE I\r\nPWD\r\n", "200 ok\r\n257 \"/\"\r\n"), ("SIZE f\r\n", "213 5\r\n")]),
        with(&[
            ("TYPE I\r\n", "200 ok\r\n"),
            ("SIZE f\r\nMDTM f\r\n", "213 5\r\n213 20200101000000\r\n"),
        ]),
    ]);
    let builder = Client::builder();
    let mut first = client(&builder, address);
    assert_eq!(first.size("f").unwrap(), Some(5));
    assert!(is_proved(&first));
    drop(first);
    let mut second = client(&builder, address);
    second.put_in_force(RepresentationType::Image).unwrap();
    second.ask_together(b"f").unwrap();
    assert_eq!(second.size("f").unwrap(), Some(5));
    assert!(second.modified("f").unwrap().is_some());
    drop(second);
    server.join().unwrap();
}

/// Plays cases that wait for the end of a proof at the same time.
fn side_by_side<const N: usize>(cases: [&'static str; N], play: impl Fn(&'static str) + Sync) {
    thread::scope(|threads| {
        for case in cases {
            let play = &play;
            threads.spawn(move || play(case));
        }
    });
}

#[test]
fn a_command_that_a_server_dropped_is_not_sent_again_and_its_late_answer_is_dropped_cl_78() {
    // The late 257 comes before the answer to the next command, or not at all.
    side_by_side(["257 \"/\"\r\n213 5\r\n", "213 5\r\n"], |late| {
        let (address, server) = serve(vec![with(&[
            ("TYPE I\r\nPWD\r\n", "200 ok\r\n"),
            ("SIZE f\r\n", late),
            ("PWD\r\n", "257 \"/d\"\r\n"),
        ])]);
        let mut client = client(&Client::builder(), address);
        assert_eq!(client.size("f").unwrap(), Some(5));
        assert_eq!(client.pwd().unwrap().as_bytes(), b"/d");
        assert!(client.config.learned.flights.has_failed());
        drop(client);
        server.join().unwrap();
    });
    // A command that 257 could answer does not come first.
    side_by_side(["PWD\r\n", "MKD d\r\n"], |next| {
        let (address, server) = serve(vec![with(&[
            ("TYPE I\r\nPWD\r\n", "200 ok\r\n"),
            ("NOOP\r\n", "257 \"/\"\r\n200 ok\r\n"),
            (next, "257 \"/d\"\r\n"),
        ])]);
        let mut client = client(&Client::builder(), address);
        client.put_in_force(RepresentationType::Image).unwrap();
        match next {
            "PWD\r\n" => assert_eq!(client.pwd().unwrap().as_bytes(), b"/d"),
            _ => drop(client.mkdir("d").unwrap()),
        }
        drop(client);
        server.join().unwrap();
    });
}

#[test]
fn a_server_that_answers_each_packet_late_is_left_cl_78() {
    let (address, server) = serve(vec![with(&[
        ("TYPE I\r\nPWD\r\n", "200 ok\r\n"),
        ("SIZE f\r\n", "257 \"/\"\r\n"),
        ("", HANG),
    ])]);
    let mut client = client(&Client::builder(), address);
    let error = client.size("f").unwrap_err();
    assert!(matches!(error, Error::Desynchronised), "{error}");
    server.join().unwrap();
}

#[test]
fn a_server_that_takes_a_packet_for_a_command_gets_the_command_again_cl_78() {
    let (address, server) = serve(vec![with(&[
        ("TYPE I\r\nPWD\r\n", "501 what\r\n"),
        ("TYPE I\r\n", "200 ok\r\n"),
        ("SIZE f\r\n", "213 5\r\n"),
    ])]);
    let mut client = client(&Client::builder(), address);
    assert_eq!(client.size("f").unwrap(), Some(5));
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_proof_that_costs_the_connection_is_repeated_one_by_one_cl_78() {
    side_by_side([HANG, "", "200 ok\r\n", "257 \"/\"\r\n200 ok\r\n"], |replies| {
        let mut first = with(&[("TYPE I\r\nPWD\r\n", replies)]);
        if replies.starts_with("257") {
            first.push(("", HANG));
        }
        let full = vec![("", "421 too many connections\r\n")];
        let again = with(&[("TYPE I\r\n", "200 ok\r\n"), ("SIZE f\r\n", "213 5\r\n")]);
        let (address, server) = serve(vec![first, full, again]);
        let builder = Client::builder();
        let mut one = client(&builder, address);
        let error = one.size("f").unwrap_err();
        assert!(matches!(error, Error::Desynchronised), "{replies}: {error}");
        drop(one);
        // The server may count the lost connection for a moment.
        let mut two = client(&builder, address);
        assert_eq!(two.size("f").unwrap(), Some(5), "{replies}");
        drop(two);
        server.join().unwrap();
    });
}

#[test]
fn nothing_tests_a_server_for_a_caller_that_would_not_connect_again_cl_14() {
    let (address, server) =
        serve(vec![with(&[("TYPE I\r\n", "200 ok\r\n"), ("SIZE f\r\n", "213 5\r\n")])]);
    let mut client = client(&Client::builder(), address);
    client.tests_flights = false;
    assert_eq!(client.size("f").unwrap(), Some(5));
    assert!(!is_proved(&client) && !client.config.learned.flights.has_failed());
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_hang_or_an_end_in_a_flight_ends_all_flights_cl_78() {
    for replies in ["213 5\r\n", "421 bye\r\n", "213 5\r\n250 what\r\n"] {
        let (address, server) = serve(vec![
            with(&[
                ("TYPE I\r\nPWD\r\n", "200 ok\r\n257 \"/\"\r\n"),
                ("SIZE f\r\nMDTM f\r\n", replies),
            ]),
            with(&[("TYPE I\r\n", "200 ok\r\n"), ("SIZE f\r\n", "213 5\r\n")]),
        ]);
        let builder = Client::builder();
        let mut one = client(&builder, address);
        one.put_in_force(RepresentationType::Image).unwrap();
        let error = one.ask_together(b"f").unwrap_err();
        assert!(matches!(error, Error::Desynchronised), "{replies}: {error}");
        let mut two = client(&builder, address);
        two.put_in_force(RepresentationType::Image).unwrap();
        two.ask_together(b"f").unwrap();
        assert_eq!(two.size("f").unwrap(), Some(5));
        drop((one, two));
        server.join().unwrap();
    }
}

#[test]
fn after_epsv_has_ended_a_session_the_next_one_uses_pasv_cl_21() {
    let (address, server) = serve(vec![
        with(&[("TYPE I\r\n", "200 ok\r\n"), ("EPSV\r\n", "")]),
        with(&[("TYPE I\r\n", "200 ok\r\n"), ("PASV\r\n", "550 no\r\n")]),
    ]);
    let builder = Client::builder();
    for _ in 0..2 {
        let mut client = builder.clone().connect(&address.to_string()).unwrap();
        client.login("u", "p").unwrap();
        client.retrieve("f").map(drop).unwrap_err();
    }
    server.join().unwrap();
}

#[test]
fn mode_b_that_fails_at_once_is_not_used_again_cl_73() {
    let features =
        Features::read(&Reply::multi_line(ReplyCode::SYSTEM_STATUS, "have", [" MODE B"], "end"));
    let feat = ("FEAT\r\n", "211-have\r\n MODE B\r\n211 end\r\n");
    for answer in ["", "500 what\r\n"] {
        let mut first = with(&[feat, ("TYPE I\r\n", "200 ok\r\n"), ("MODE B\r\n", answer)]);
        let is_refused = !answer.is_empty();
        let epsv = ("EPSV\r\n", "550 no\r\n");
        let pasv = ("PASV\r\n", "550 no\r\n");
        if is_refused {
            first.extend([epsv, pasv]);
        }
        let again = with(&[("TYPE I\r\n", "200 ok\r\n"), epsv, pasv]);
        let (address, server) = serve(vec![first, again]);
        let builder = Client::builder();
        let mut one = builder.clone().connect(&address.to_string()).unwrap();
        one.login("u", "p").unwrap();
        assert!(one.reuse_data(&features));
        let error = one.store("f").map(drop).unwrap_err();
        assert_eq!(matches!(error, Error::Desynchronised), !is_refused, "{error}");
        let mut two = builder.clone().connect(&address.to_string()).unwrap();
        two.login("u", "p").unwrap();
        assert!(is_refused || !two.reuse_data(&features));
        if !is_refused {
            two.store("f").map(drop).unwrap_err();
        } else {
            two.put_in_force(RepresentationType::Image).unwrap();
            drop(two.control.request(&Command::Epsv(EpsvArgument::Default)));
            drop(two.control.request(&Command::Pasv));
        }
        drop((one, two));
        server.join().unwrap();
    }
}
