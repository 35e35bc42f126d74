//! Replies that are out of step: a server that sends one reply too many, at any time.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use ftp_client::{Client, Error, Mode};

use crate::data_connections::active;
use crate::peer::{Peer, Server, timeouts};

/// A server with the files `/a`, `/b` and `/d/b` and the directory `/d`.
struct Odd {
    /// The extra replies after each upload, and the delay before each.
    after_upload: &'static [(u64, &'static str)],
    /// The extra replies after the login.
    after_login: &'static [(u64, &'static str)],
    /// The command whose replies are sent twice.
    doubles: &'static str,
    /// A line that is sent before each final reply.
    keeps_alive: &'static str,
    knows_size: bool,
}

const ODD: Odd =
    Odd { after_upload: &[], after_login: &[], doubles: "", keeps_alive: "", knows_size: true };

impl Odd {
    /// Serves one session. Sends each deleted path to `deleted`, and each line to `lines`.
    fn serve(self, mut peer: Peer, deleted: &Sender<String>, lines: &Sender<String>) {
        let mut cwd = String::from("/");
        for (delay, line) in self.after_login {
            thread::sleep(Duration::from_millis(*delay));
            peer.reply(line);
        }
        loop {
            let line = peer.line();
            if line.is_empty() {
                return;
            }
            let line = String::from_utf8(line).unwrap().trim_end().to_owned();
            let _ = lines.send(line.clone());
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            let path = match argument.strip_prefix('/') {
                Some(_) => argument.to_owned(),
                None => format!("{cwd}{argument}"),
            };
            let reply = match verb {
                "TYPE" | "NOOP" => "200 ok".to_owned(),
                "EPSV" => format!("229 (|||{}|)", peer.listen()),
                "SIZE" if self.knows_size => "213 3".to_owned(),
                "SIZE" => "550 no".to_owned(),
                "PWD" => format!("257 \"{cwd}\""),
                "CWD" if matches!(path.as_str(), "/d" | "/" | "/d/") => {
                    cwd = if path == "/" { path } else { "/d/".to_owned() };
                    "250 changed".to_owned()
                }
                "MKD" => format!("257 \"{path}\""),
                "DELE" => {
                    let _ = deleted.send(path);
                    "250 gone".to_owned()
                }
                "STOR" => {
                    peer.reply("150 go on");
                    let _ = peer.data().read_to_end(&mut Vec::new());
                    "226 done".to_owned()
                }
                "QUIT" => "221 bye".to_owned(),
                _ => "550 no".to_owned(),
            };
            if !self.keeps_alive.is_empty() {
                peer.reply(self.keeps_alive);
            }
            let again = if self.doubles == verb { format!("{reply}\r\n") } else { String::new() };
            if !peer.try_send(format!("{reply}\r\n{again}").as_bytes()) || verb == "QUIT" {
                return;
            }
            for (delay, line) in self.after_upload.iter().filter(|_| verb == "STOR") {
                thread::sleep(Duration::from_millis(*delay));
                if !peer.try_send(format!("{line}\r\n").as_bytes()) {
                    return;
                }
            }
        }
    }

    fn start(self) -> (Client, Receiver<String>, Receiver<String>) {
        let (deleted, gone) = channel();
        let (lines, said) = channel();
        let builder = Client::builder().timeouts(timeouts());
        let (server, client) =
            Server::logged_in_with(builder, move |peer| self.serve(peer, &deleted, &lines));
        drop(server);
        (client, gone, said)
    }
}

fn put(client: &mut Client, name: &str) -> Result<(), Error> {
    let mut file = client.store(name)?;
    file.write_all(b"abc")?;
    file.finish().map(drop)
}

const LATE: [&[(u64, &str)]; 12] = [
    &[(0, "250 done")],
    &[(5, "250 done")],
    &[(50, "250 done")],
    &[(200, "250 done")],
    &[(300, "250 done")],
    &[(0, "226 Quota: 1 of 2")],
    &[(30, "226 Quota: 1 of 2")],
    &[(300, "226 Quota: 1 of 2")],
    &[(30, "226 once"), (30, "226 twice")],
    &[(30, "451 sorry")],
    &[(0, "451 sorry")],
    &[(300, "550 no")],
];

#[test]
fn a_late_reply_never_makes_a_command_act_in_a_wrong_directory() {
    thread::scope(|threads| {
        for after_upload in LATE {
            for with_size in [true, false] {
                threads.spawn(move || {
                    let (mut client, gone, _) = Odd { after_upload, ..ODD }.start();
                    put(&mut client, "one").unwrap();
                    let size = if with_size { client.size("one").map(drop) } else { Ok(()) };
                    let entered = client.cwd("missing");
                    let case = format!("{after_upload:?} {with_size}: {size:?} {entered:?}");
                    assert!(entered.is_err(), "{case}");
                    let deleted = client.delete("/a");
                    drop(client);
                    let gone: Vec<_> = gone.iter().collect();
                    assert_eq!(gone, if deleted.is_ok() { vec!["/a"] } else { vec![] }, "{case}");
                });
            }
        }
    });
}

#[test]
fn one_extra_reply_after_an_upload_is_ignored_and_waited_for() {
    thread::scope(|threads| {
        for after_upload in &LATE[..8] {
            threads.spawn(move || {
                let (mut client, gone, said) = Odd { after_upload, ..ODD }.start();
                for _ in 0..2 {
                    put(&mut client, "one").unwrap();
                    assert_eq!(client.size("one").unwrap(), Some(3), "{after_upload:?}");
                }
                put(&mut client, "one").unwrap();
                client.cwd("d").unwrap();
                client.delete("b").unwrap();
                put(&mut client, "two").unwrap();
                client.quit().unwrap();
                assert_eq!(gone.iter().collect::<Vec<_>>(), ["/d/b"], "{after_upload:?}");
                let lines: Vec<_> = said.iter().collect();
                // SIZE and EPSV prove that replies are in step, so PWD is sent once.
                assert_eq!(lines.iter().filter(|line| *line == "PWD").count(), 1, "{lines:?}");
            });
        }
    });
}

#[test]
fn an_upload_that_a_second_reply_refuses_is_not_confirmed() {
    for after_upload in &LATE[8..] {
        let (mut client, _, _) = Odd { after_upload, knows_size: false, ..ODD }.start();
        put(&mut client, "one").unwrap();
        let size = client.size("one");
        let next = client.delete("a");
        let error = size.and(next).unwrap_err();
        assert!(matches!(&error, Error::Unexpected { .. } | Error::Refused { .. }), "{error:?}");
        assert!(!matches!(client.delete("a"), Ok(())), "{after_upload:?}");
    }
}

#[test]
fn quit_reports_a_reply_that_was_never_read() {
    for (after_upload, is_right) in
        [(LATE[1], true), (LATE[9], false), (LATE[8], false), (LATE[11], false), (&[][..], true)]
    {
        let (mut client, _, _) = Odd { after_upload, ..ODD }.start();
        put(&mut client, "one").unwrap();
        assert_eq!(client.quit().is_ok(), is_right, "{after_upload:?}");
    }
}

#[test]
fn a_command_that_is_answered_twice_leaves_nothing_believed() {
    for doubles in ["DELE", "CWD", "PWD", "SIZE", "STOR", "MKD", "NOOP"] {
        let (mut client, gone, _) = Odd { doubles, ..ODD }.start();
        let mut believed = Vec::new();
        let mut results = Vec::new();
        for name in ["a", "b"] {
            results.push(put(&mut client, "one"));
            results.push(client.size("one").map(drop));
            let is_in = client.cwd("d");
            let is_gone = is_in.is_ok().then(|| client.delete(name));
            if let Some(Ok(())) = is_gone {
                believed.push(format!("/d/{name}"));
            }
            results.extend([is_in, client.mkdir("/m").map(drop), client.cwd("/"), client.noop()]);
        }
        let quit = client.quit();
        let gone: Vec<_> = gone.iter().collect();
        assert_eq!(gone, believed, "{doubles}");
        let all_well = results.iter().all(Result::is_ok) && quit.is_ok();
        // A second 226 right after the first is ignored, and a second answer to CWD. SIZE has proved what PWD would.
        assert_eq!(all_well, matches!(doubles, "CWD" | "STOR" | "PWD"), "{doubles}: {results:?}");
    }
}

#[test]
fn keep_alives_and_banners_are_not_answers() {
    for odd in [
        Odd { keeps_alive: "150 still busy", ..ODD },
        Odd { after_login: &[(0, "230 Welcome")], ..ODD },
        Odd { after_login: &[(50, "230 Welcome")], ..ODD },
        Odd { after_login: &[(50, "220 Welcome")], ..ODD },
    ] {
        let (mut client, gone, _) = odd.start();
        client.cwd("d").unwrap();
        assert!(client.cwd("missing").is_err());
        client.delete("b").unwrap();
        put(&mut client, "one").unwrap();
        assert_eq!(client.size("one").unwrap(), Some(3));
        client.quit().unwrap();
        assert_eq!(gone.iter().collect::<Vec<_>>(), ["/d/b"]);
    }
}

#[test]
fn pwd_is_asked_once_a_transfer_and_only_before_what_it_protects() {
    let (mut client, _, said) = ODD.start();
    client.delete("a").unwrap();
    put(&mut client, "one").unwrap();
    client.mkdir("m").unwrap();
    client.delete("a").unwrap();
    put(&mut client, "one").unwrap();
    client.delete("a").unwrap();
    client.delete("b").unwrap();
    put(&mut client, "one").unwrap();
    client.size("one").unwrap();
    client.delete("b").unwrap();
    client.quit().unwrap();
    let lines = said.iter().collect::<Vec<_>>().join(" ");
    assert_eq!(
        lines,
        "DELE a TYPE I EPSV STOR one MKD m DELE a EPSV STOR one PWD DELE a DELE b \
         EPSV STOR one SIZE one DELE b QUIT"
    );
}

#[test]
fn an_upload_without_epsv_asks_first() {
    let builder = Client::builder().timeouts(timeouts()).mode(Mode::Active);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.answer("TYPE I", "200 ok");
        active(&mut peer, "EPRT");
        peer.reply("200 ok");
        peer.expect("STOR a");
        peer.reply("150 ok");
        peer.read_data();
        peer.reply("226 done");
        peer.answer("PWD", "257 \"/\"");
        active(&mut peer, "EPRT");
        peer.reply("200 ok");
        peer.expect("STOR a");
        peer.reply("150 ok");
        peer.read_data();
        peer.reply("226 done");
    });
    put(&mut client, "a").unwrap();
    put(&mut client, "a").unwrap();
    server.end();
}
