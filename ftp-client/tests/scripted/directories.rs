//! Missing directories are created, whatever the server says about those that exist.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ftp_client::{Error, Verb};

use crate::peer::{Peer, Server};

/// How a server of the model behaves.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// The directories `a`, `a/b` and `a/b/c` that exist, from the top.
    levels: usize,
    /// The reply to `MKD` of what exists or cannot be made.
    refusal: &'static str,
    reports_directory: bool,
    has_mlst: bool,
    /// Whether it creates directories.
    creates: bool,
}

const LEVELS: [&str; 3] = ["a", "a/b", "a/b/c"];

/// Answers like vsftpd, which also confirms the listing of a missing directory.
fn serve(mut peer: Peer, habits: Habits, there: &Mutex<BTreeSet<String>>, seen: &Mutex<String>) {
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        let (verb, path) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        seen.lock().unwrap().push_str(&line);
        let mut there = there.lock().unwrap();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let is_there = path == "/" || there.contains(path);
        match verb {
            "" => return,
            "FEAT" if habits.has_mlst => peer.reply("211-have\r\n MLST type*;\r\n211 end"),
            "PWD" if habits.reports_directory => peer.reply("257 \"/\""),
            "MLST" if is_there => peer.reply(&format!("250-it\r\n type=dir; {path}\r\n250 end")),
            "CWD" if is_there => peer.reply("250 in"),
            "MLST" | "CWD" => peer.reply("550 no such directory"),
            "MKD" if is_there || !habits.creates => {
                peer.reply(&format!("{}: {path}", habits.refusal));
            }
            "MKD" if !parent.is_empty() && !there.contains(parent) => peer.reply("550 no parent"),
            "MKD" => {
                there.insert(path.to_owned());
                peer.reply("257 made");
            }
            "NOOP" => return peer.reply("200 ok"),
            _ => peer.reply("502 what"),
        }
    }
}

#[test]
fn missing_directories_are_made_and_existing_ones_accepted_without_a_listing() {
    for (levels, refusal) in (0..=3).flat_map(|level| {
        ["550 exists or not", "521 exists", "450 exists"].map(|refusal| (level, refusal))
    }) {
        for flags in 0..8_u8 {
            let habits = Habits {
                levels,
                refusal,
                reports_directory: flags & 1 != 0,
                has_mlst: flags & 2 != 0,
                creates: flags & 4 != 0,
            };
            let there: BTreeSet<_> =
                LEVELS.iter().take(habits.levels).map(|&at| at.to_owned()).collect();
            let (there, seen) = (Arc::new(Mutex::new(there)), Arc::<Mutex<String>>::default());
            let (of_peer, of_log) = (Arc::clone(&there), Arc::clone(&seen));
            let (server, mut client) =
                Server::logged_in(move |peer| serve(peer, habits, &of_peer, &of_log));
            let made = client.make_directories("a/b/c/");
            client.noop().unwrap();
            server.end();
            let seen = seen.lock().unwrap();
            let is_whole = there.lock().unwrap().len() == 3;
            let shows = habits.reports_directory || habits.has_mlst;
            match made {
                Ok(is_new) => {
                    assert!(is_whole, "{habits:?}: {seen}");
                    assert_eq!(is_new, levels < 3, "{habits:?}: {seen}");
                }
                // The first that is missing cannot be made, or nothing shows that all exist.
                Err(Error::Refused { verb: Verb::Mkd, reply, .. }) => {
                    assert!(!is_whole || (levels == 3 && !shows), "{habits:?}: {seen}");
                    let first = match () {
                        // A transient refusal says nothing about the parents.
                        () if refusal.starts_with('4') => "a/b/c",
                        () if shows => LEVELS[levels],
                        () => "a",
                    };
                    let want = format!("{refusal}: {first}");
                    assert_eq!(reply.to_string(), want, "{habits:?}: {seen}");
                }
                Err(error) => panic!("{habits:?}: {error}: {seen}"),
            }
            assert!(!seen.contains("LIST") && !seen.contains("MLSD"), "{habits:?}: {seen}");
            assert!(!seen.contains("/\r\n") || seen.contains("CWD /\r\n"), "{habits:?}: {seen}");
        }
    }
}

#[test]
fn the_first_parent_that_can_be_made_saves_all_questions() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("MKD /a/b/c/d", "550 no parent");
        peer.answer("MKD /a/b/c", "257 made");
        peer.answer("MKD /a/b/c/d", "257 made");
        peer.answer("NOOP", "200 ok");
    });
    assert!(client.make_directories("/a/b/c/d").unwrap());
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_refused_login_is_not_taken_for_a_directory() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("MKD a/b", "530 log in first");
        peer.answer("NOOP", "200 ok");
    });
    assert!(matches!(client.make_directories("a/b"), Err(Error::Refused { verb: Verb::Mkd, .. })));
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_directory_without_a_known_way_back_ends_the_session_once_entered() {
    for here in ["257 / is the current directory", "550 no"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("PWD", here);
            peer.answer("CWD a", "550 no");
            peer.answer("PWD", here);
            peer.answer("CWD b", "250 in");
            assert_eq!(peer.line(), b"", "relative paths have another meaning");
        });
        assert!(matches!(client.can_enter("a"), Err(Error::Refused { .. })), "{here}");
        client.can_enter("b").unwrap();
        assert!(matches!(client.delete("f"), Err(Error::Closed)), "{here}");
        server.end();
    }
}
