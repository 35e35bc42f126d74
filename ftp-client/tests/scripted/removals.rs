//! Trees are removed, and nothing that a link leads to, whatever the server shows of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_client::error::JobFault;
use ftp_client::listing::Existence;
use ftp_client::pool::Repeat;
use ftp_client::tree::{RemoveOptions, Summary};
use ftp_client::{Client, Error, ErrorKind, Event, Place};
use ftp_tests::at_once::at_once;

use crate::logins::far;
use crate::peer::{Peer, Server, timeouts};

/// How a server of the model behaves.
#[derive(Clone, Copy, Debug)]
struct Habits {
    has_mlsd: bool,
    /// Whether `MLSD` and `LIST` show a link to a directory as a link, or as a directory.
    mlsd_shows_links: bool,
    list_shows_links: bool,
    /// Whether the link count of a directory tells its subdirectories; otherwise it is 1.
    counts: bool,
    /// Whether it then counts all entries.
    counts_all: bool,
    /// Whether `DELE` removes a link.
    deletes_links: bool,
    /// Whether `DELE` of anything but a file is confirmed, and removes nothing.
    dele_lies: bool,
    /// Whether `RMD` removes all that is in a directory, also in those that links lead to.
    rmd_takes_all: bool,
    /// Whether `FEAT` promises that links are listed as links.
    promises: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node {
    File,
    Directory,
    /// A link to `outside`.
    Link,
}

type World = BTreeMap<String, Node>;

fn world() -> World {
    let nodes = [
        ("outside", Node::Directory),
        ("outside/keep", Node::File),
        ("t", Node::Directory),
        ("t/a", Node::File),
        ("t/l", Node::Link),
        ("t/sub", Node::Directory),
        ("t/sub/b", Node::File),
        ("t/sub/empty", Node::Directory),
    ];
    nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect()
}

/// Returns where a path leads if links on the way are followed.
fn resolved(world: &World, path: &str, follows_last: bool) -> String {
    let mut at = String::new();
    let names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).collect();
    for (number, name) in names.iter().enumerate() {
        at = if at.is_empty() { (*name).to_owned() } else { format!("{at}/{name}") };
        let is_followed = number + 1 < names.len() || follows_last;
        if is_followed && world.get(&at) == Some(&Node::Link) {
            at = "outside".to_owned();
        }
    }
    at
}

/// Returns the names in a directory.
fn inside<'w>(world: &'w World, directory: &str) -> Vec<(&'w str, Node)> {
    let names = world.iter().filter_map(|(path, node)| {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        (above == directory).then_some((name, *node))
    });
    names.collect()
}

fn serve(mut peer: Peer, habits: Habits, world: &Mutex<World>) {
    let mut cwd = String::new();
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        let (verb, argument) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let argument = argument.strip_prefix("-a").unwrap_or(argument).trim();
        let path = if argument.starts_with('/') { argument } else { &format!("{cwd}/{argument}") };
        let mut world = world.lock().unwrap();
        let (object, target) = (resolved(&world, path, false), resolved(&world, path, true));
        match verb {
            "" => return,
            "NOOP" => return peer.reply("200 ok"),
            "TYPE" => peer.reply("200 ok"),
            "FEAT" if habits.promises => {
                peer.reply("211-have\r\n MLST type*;\r\n X-LINKS\r\n211 end");
            }
            "FEAT" if habits.has_mlsd => peer.reply("211-have\r\n MLST type*;\r\n211 end"),
            "PWD" => peer.reply(&format!("257 \"/{cwd}\"")),
            "EPSV" => {
                let port = peer.listen();
                peer.reply(&format!("229 here (|||{port}|)"));
            }
            "CWD" if target.is_empty() || world.get(&target) == Some(&Node::Directory) => {
                cwd = target;
                peer.reply("250 in");
            }
            "CWD" if argument == "busy" => peer.reply("450 not now"),
            "CWD" => peer.reply("550 no such directory"),
            "MLST" if !world.contains_key(&object) => peer.reply("550 none"),
            "MLST" => peer.reply(&format!("250-it\r\n type=dir; {argument}\r\n250 end")),
            "MLSD" | "LIST" => {
                let count = |directory: &str| match habits.counts {
                    true => {
                        let is_counted = |node| habits.counts_all || node == Node::Directory;
                        let below = inside(&world, directory).into_iter();
                        2 + below.filter(|(_, node)| is_counted(*node)).count()
                    }
                    false => 1,
                };
                let mut lines = String::new();
                if verb == "LIST" {
                    writeln!(lines, "drwxr-xr-x {} u g 0 Jan 2 2020 .\r", count(&target)).unwrap();
                }
                for (name, node) in inside(&world, &target) {
                    let is_shown = match verb {
                        "MLSD" => habits.mlsd_shows_links,
                        _ => habits.list_shows_links,
                    };
                    let its = resolved(&world, &format!("{target}/{name}"), true);
                    let line = match (verb, node) {
                        ("MLSD", Node::File) => format!("type=file; {name}"),
                        ("MLSD", Node::Link) if is_shown => format!("type=OS.unix=symlink; {name}"),
                        ("MLSD", _) => format!("type=dir; {name}"),
                        (_, Node::File) => format!("-rw-r--r-- 1 u g 0 Jan 2 2020 {name}"),
                        (_, Node::Link) if is_shown => {
                            format!("lrwxrwxrwx 1 u g 0 Jan 2 2020 {name} -> ../outside")
                        }
                        _ => format!("drwxr-xr-x {} u g 0 Jan 2 2020 {name}", count(&its)),
                    };
                    writeln!(lines, "{line}\r").unwrap();
                }
                peer.reply("150 list");
                peer.send_data(lines.as_bytes());
                peer.reply("226 done");
            }
            "DELE" => match world.get(&object) {
                Some(Node::File) => {
                    world.remove(&object);
                    peer.reply("250 gone");
                }
                Some(Node::Link) if habits.deletes_links => {
                    world.remove(&object);
                    peer.reply("250 gone");
                }
                Some(Node::Directory | Node::Link) if habits.dele_lies => peer.reply("250 gone"),
                _ => peer.reply("550 no"),
            },
            "RMD" => match world.get(&object) {
                Some(Node::Directory) if inside(&world, &object).is_empty() => {
                    world.remove(&object);
                    peer.reply("250 gone");
                }
                Some(Node::Directory | Node::Link) if habits.rmd_takes_all => {
                    let below = format!("{}/", resolved(&world, &object, true));
                    let mut inside = world.iter().filter(|(path, _)| path.starts_with(&below));
                    let has_links = inside.any(|(_, node)| *node == Node::Link);
                    let is_behind = |path: &str| has_links && path.starts_with("outside/");
                    world.retain(|path, _| {
                        *path != object && !path.starts_with(&below) && !is_behind(path)
                    });
                    peer.reply("250 gone");
                }
                _ => peer.reply("550 no"),
            },
            _ => peer.reply("502 what"),
        }
    }
}

#[test]
fn a_tree_goes_and_what_a_link_leads_to_stays() {
    let whole = at_once(16, 0..128_u8, |flags| {
        let mut whole = 0;
        let is = |bit: u8| flags & (1 << bit) != 0;
        let habits = Habits {
            has_mlsd: is(0),
            mlsd_shows_links: is(1),
            list_shows_links: is(2),
            counts: is(3),
            counts_all: false,
            deletes_links: is(4),
            dele_lies: is(5),
            rmd_takes_all: is(6),
            promises: false,
        };
        for is_directory in [false, true] {
            let world = Arc::new(Mutex::new(world()));
            let of_peer = Arc::clone(&world);
            let (server, mut client) = Server::logged_in(move |peer| serve(peer, habits, &of_peer));
            let events = Mutex::new((Vec::new(), Vec::new()));
            let on = |event: Event<'_>| match event {
                Event::Removed { path } => {
                    events.lock().unwrap().0.push(String::from_utf8(path.to_vec()).unwrap());
                }
                Event::Failed { path, .. } => {
                    events.lock().unwrap().1.push(String::from_utf8(path.to_vec()).unwrap());
                }
                other => panic!("{other:?}"),
            };
            let options = RemoveOptions::new().recursive(true).is_directory(is_directory);
            let done = Repeat::single().remove(&mut client, Place::at("t"), options, &on);
            client.noop().unwrap();
            server.end();
            let (mut gone, kept) = events.into_inner().unwrap();
            // Removed, as the server said, and then still listed.
            gone.retain(|path| !kept.contains(path));
            let world = world.lock().unwrap();
            let case = format!("{habits:?} {is_directory}: {done:?} {gone:?} {kept:?} {world:?}");
            assert!(world.contains_key("outside/keep"), "{case}");
            assert!(gone.iter().all(|path| !world.contains_key(path)), "{case}");
            assert!(kept.iter().all(|path| world.contains_key(path)), "{case}");
            let (removed, failed) = (gone.len(), kept.len());
            assert_eq!(counts(done), (removed, failed), "{case}");
            assert_eq!(failed == 0, !world.contains_key("t"), "{case}");
            let shows = habits.list_shows_links || habits.has_mlsd && habits.mlsd_shows_links;
            if shows && (is_directory || habits.counts) {
                assert!(!world.contains_key("t/sub"), "{case}");
                assert_eq!(habits.deletes_links, !world.contains_key("t"), "{case}");
            }
            assert!(shows || world.contains_key("t/sub/b"), "{case}");
            whole += u32::from(failed == 0);
        }
        whole
    });
    let whole: u32 = whole.into_iter().sum();
    assert!(whole >= 24, "{whole}");
}

#[test]
fn a_server_that_promises_to_list_links_needs_no_other_proof_cl_52() {
    for (promises, has_link, want) in
        [(false, false, (0, 1)), (true, false, (5, 0)), (true, true, (6, 0))]
    {
        let habits = Habits {
            has_mlsd: true,
            mlsd_shows_links: true,
            list_shows_links: true,
            counts: false,
            counts_all: false,
            deletes_links: true,
            dele_lies: false,
            rmd_takes_all: true,
            promises,
        };
        let mut world = world();
        world.retain(|_, node| has_link || *node != Node::Link);
        let world = Arc::new(Mutex::new(world));
        let of_peer = Arc::clone(&world);
        let (server, mut client) = Server::logged_in(move |peer| serve(peer, habits, &of_peer));
        let options = RemoveOptions::new().recursive(true);
        let done = Repeat::single().remove(&mut client, Place::at("t"), options, &());
        client.noop().unwrap();
        server.end();
        assert_eq!(counts(done), want, "{promises} {has_link}");
        assert!(world.lock().unwrap().contains_key("outside/keep"));
    }
}

#[test]
fn link_counts_prove_directories_only_where_they_leave_out_files() {
    use Node::{Directory, File, Link};
    for (counts_all, below, want) in [
        (false, &[("t/s", Directory), ("t/s/f", File)][..], (3, 0)),
        (true, &[("t/s", Directory), ("t/s/f", File)], (0, 1)),
        (true, &[("t/l", Link)], (0, 1)),
        // A subdirectory without files proves nothing.
        (false, &[("t/s", Directory), ("t/s/empty", Directory)], (0, 1)),
    ] {
        let habits = Habits {
            has_mlsd: false,
            mlsd_shows_links: false,
            list_shows_links: false,
            counts: true,
            counts_all,
            deletes_links: true,
            dele_lies: false,
            rmd_takes_all: true,
            promises: false,
        };
        let nodes = [("t", Directory)].into_iter().chain(below.iter().copied());
        let is_linked = below.iter().any(|(_, node)| *node == Link);
        let outside = [("outside", Directory), ("outside/keep", File)].into_iter();
        let nodes = nodes.chain(outside.filter(|_| is_linked));
        let world = nodes.map(|(path, node)| (path.to_owned(), node)).collect();
        let world: Arc<Mutex<World>> = Arc::new(Mutex::new(world));
        let of_peer = Arc::clone(&world);
        let (server, mut client) = Server::logged_in(move |peer| serve(peer, habits, &of_peer));
        let options = RemoveOptions::new().recursive(true);
        let done = Repeat::single().remove(&mut client, Place::at("t"), options, &());
        client.noop().unwrap();
        server.end();
        assert_eq!(counts(done), want, "{counts_all} {below:?}");
        assert_eq!(world.lock().unwrap().contains_key("outside/keep"), is_linked);
    }
}

/// Some servers remove a directory by DELE.
#[test]
fn a_name_is_removed_without_a_look_only_just_after_its_listing_cl_52() {
    let now = Instant::now();
    let [young, old] = [50, 61].map(|age| now.checked_sub(Duration::from_secs(age)));
    for (has_mlst, is_directory, listed, want) in [
        (true, true, None, false),
        (true, true, old, false),
        (true, false, old, true),
        (true, true, Some(now), true),
        (true, true, young, true),
        (false, false, None, true),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            loop {
                let line = String::from_utf8(peer.line()).unwrap();
                match line.trim_end() {
                    "" => return,
                    "FEAT" if has_mlst => peer.reply("211-have\r\n MLST type*;\r\n211 end"),
                    "MLST t" if is_directory => peer.reply("250-it\r\n type=dir; t\r\n250 end"),
                    "MLST t" => peer.reply("250-it\r\n type=file; t\r\n250 end"),
                    "PWD" => peer.reply("257 \"/\""),
                    "CWD t" if !is_directory => peer.reply("550 no"),
                    "EPSV" => {
                        let port = peer.listen();
                        peer.reply(&format!("229 here (|||{port}|)"));
                    }
                    "LIST" => {
                        peer.reply("150 list");
                        peer.send_data(b"drwxr-xr-x 2 u g 0 Jan 2 2020 t\r\n");
                        peer.reply("226 done");
                    }
                    _ => peer.reply("250 ok"),
                }
            }
        });
        let options = RemoveOptions::new().listed(listed);
        let done = Repeat::single().remove(&mut client, Place::at("t"), options, &());
        let case = format!("{has_mlst} {is_directory} {listed:?}: {done:?}");
        match want {
            true => assert_eq!(counts(done), (1, 0), "{case}"),
            false => assert!(matches!(done, Err(Error::Job(JobFault::IsDirectory))), "{case}"),
        }
        drop(client);
        server.end();
    }
}

#[test]
fn a_file_that_comes_during_the_removal_of_its_directory_stays() {
    // MLSD may have omitted a link.
    for (comes, want) in [(Node::File, (1, 1)), (Node::Directory, (1, 1)), (Node::Link, (3, 0))] {
        let habits = Habits {
            has_mlsd: true,
            mlsd_shows_links: true,
            list_shows_links: true,
            counts: false,
            counts_all: false,
            deletes_links: true,
            dele_lies: false,
            rmd_takes_all: false,
            promises: true,
        };
        let nodes = [("outside", Node::Directory), ("t", Node::Directory), ("t/a", Node::File)];
        let nodes = nodes.map(|(path, node)| (path.to_owned(), node));
        let world = Arc::new(Mutex::new(World::from(nodes)));
        let of_peer = Arc::clone(&world);
        let (server, mut client) = Server::logged_in(move |peer| serve(peer, habits, &of_peer));
        let on = |event: Event<'_>| match event {
            Event::Removed { path: b"t/a" } => {
                world.lock().unwrap().insert("t/new".to_owned(), comes);
            }
            Event::Failed { why, .. } => assert!(matches!(why, Error::Job(JobFault::CameSince))),
            _ => {}
        };
        let options = RemoveOptions::new().recursive(true);
        let done = Repeat::single().remove(&mut client, Place::at("t"), options, &on);
        client.noop().unwrap();
        server.end();
        assert_eq!(counts(done), want, "{comes:?}");
        assert_eq!(world.lock().unwrap().contains_key("t/new"), want.1 == 1, "{comes:?}");
    }
}

#[test]
fn a_confirmed_removal_counts_although_the_question_after_it_is_refused() {
    let habits = Habits {
        has_mlsd: false,
        mlsd_shows_links: false,
        list_shows_links: true,
        counts: false,
        counts_all: false,
        deletes_links: true,
        dele_lies: false,
        rmd_takes_all: false,
        promises: false,
    };
    let nodes = [("busy", Node::Directory), ("busy/a", Node::File)];
    let world = World::from(nodes.map(|(path, node)| (path.to_owned(), node)));
    let world = Arc::new(Mutex::new(world));
    let of_peer = Arc::clone(&world);
    let (server, mut client) = Server::logged_in(move |peer| serve(peer, habits, &of_peer));
    let options = RemoveOptions::new().recursive(true).no_links(true);
    let done = Repeat::single().remove(&mut client, Place::at("busy"), options, &());
    assert_eq!(counts(done), (2, 0));
    assert!(world.lock().unwrap().is_empty());
    ended(client, server);
}

/// The numbers of objects that were removed, and that were not.
#[track_caller]
fn counts(done: Result<Summary, Error>) -> (usize, usize) {
    done.map(|done| (done.removed, done.failed)).unwrap()
}

/// Removes `t` from a server that shows a directory, with this listing of what is above it.
/// Then come these questions and answers.
fn kept(
    list: &'static [u8],
    then: &'static [(&'static str, &'static str)],
) -> (Result<Summary, Error>, Vec<String>) {
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.expect_together(&["FEAT", "PWD"]);
        peer.send("211-have\r\n MLST type*;\r\n211 end\r\n257 \"/\"\r\n");
        peer.answer("MLST t", "250-it\r\n type=dir; t\r\n250 end");
        peer.epsv();
        peer.answer("LIST -a", "150 list");
        peer.send_data(list);
        peer.reply("226 done");
        then.iter().for_each(|(question, answer)| peer.answer(question, answer));
        peer.answer("NOOP", "200 ok");
    });
    let whys = Mutex::new(Vec::new());
    let on = |event: Event<'_>| {
        if let Event::Failed { path: b"t", why } = event {
            assert_eq!(why.kind(), ErrorKind::Unsupported);
            assert!(matches!(why, Error::Job(JobFault::MayBeLink | JobFault::ShownAsDirectory)));
            whys.lock().unwrap().push(why.to_string());
        }
    };
    let options = RemoveOptions::new().recursive(true);
    let done = Repeat::single().remove(&mut client, Place::at("t"), options, &on);
    client.noop().unwrap();
    server.end();
    (done, whys.into_inner().unwrap())
}

#[test]
fn reasons_to_keep_an_object_are_values() {
    let (done, whys) = kept(b"nothing that is known\r\n", &[]);
    assert_eq!(counts(done), (0, 1));
    assert_eq!(whys, ["it may be a symbolic link, so its content was kept"]);
    // More directories are listed than can exist.
    let (done, whys) =
        kept(b"drwxr-xr-x 2 u g 0 Jan 2 2020 .\r\ndrwxr-xr-x 2 u g 0 Jan 2 2020 t\r\n", &[]);
    assert_eq!(counts(done), (0, 1));
    assert!(whys.concat().contains("the server lists links as directories"), "{whys:?}");
    // A link that leads to nothing may be shown although others are not.
    let list = b"lrwxrwxrwx 1 u g 0 Jan 2 2020 l -> x\r\ndrwxr-xr-x 1 u g 0 Jan 2 2020 t\r\n";
    let then =
        &[("PWD", "257 \"/\""), ("CWD l", "550 no"), ("TYPE I", "200 ok"), ("SIZE l", "502 what")];
    let (done, whys) = kept(list, then);
    assert_eq!(counts(done), (0, 1));
    assert_eq!(whys, ["it may be a symbolic link, so its content was kept"]);
}

/// The number of files with long names that are removed together.
const FLIGHT: usize = 5;

/// Removes a tree with files of these names at a server that has answered several commands at once.
/// Each of `flights` has the replies to the removals of the next [`FLIGHT`] files.
fn together(
    names: &[String],
    flights: &'static [&'static str],
) -> (Result<Summary, Error>, Vec<String>) {
    let names = names.to_vec();
    let server = Server::start(move |mut peer| {
        peer.reply("220 ready");
        peer.answer("USER u", "331 password");
        peer.answer("PASS p", "230 in");
        peer.expect_together(&["FEAT", "PWD"]);
        peer.send("211-have\r\n MLST type*;\r\n211 end\r\n257 \"/\"\r\n");
        peer.answer("MLST t", "250-it\r\n type=dir; t\r\n250 end");
        peer.epsv();
        peer.answer("LIST -a", "150 list");
        peer.send_data(
            b"drwxr-xr-x 3 u g 0 Jan 2 2020 .\r\ndrwxr-xr-x 2 u g 0 Jan 2 2020 t\r\n\
            -rw-r--r-- 1 u g 0 Jan 2 2020 f\r\n",
        );
        peer.reply("226 done");
        peer.epsv();
        peer.answer("MLSD t", "150 list");
        let list: String = names.iter().map(|name| format!("type=file; {name}\r\n")).collect();
        peer.send_data(list.as_bytes());
        peer.reply("226 done");
        peer.answer("PWD", "257 \"/\"");
        for (number, replies) in flights.iter().enumerate() {
            for name in names.iter().skip(number * FLIGHT).take(FLIGHT) {
                peer.expect(format!("DELE t/{name}"));
            }
            peer.expect("PWD");
            peer.send(replies);
        }
        let replies = flights.last().unwrap();
        if replies.ends_with("257 \"/\"\r\n") && !replies.contains(" no") {
            peer.answer("RMD t", "250 gone");
            peer.expect("MLST t");
            peer.expect("PWD");
            peer.send("550 no\r\n257 \"/\"\r\n");
        }
    });
    let builder = Client::builder().timeouts(timeouts()).connector(far);
    let mut client = server.connect(builder).unwrap();
    client.login("u", "p").unwrap();
    let gone = Mutex::new(Vec::new());
    let on = |event: Event<'_>| {
        if let Event::Removed { path } = event {
            gone.lock().unwrap().push(String::from_utf8(path.to_vec()).unwrap());
        }
    };
    let options = RemoveOptions::new().recursive(true);
    let done = Repeat::new().remove(&mut client, Place::at("t"), options, &on);
    server.end();
    (done, gone.into_inner().unwrap())
}

#[test]
fn files_of_a_tree_are_removed_together_by_a_server_that_takes_several_commands_cl_78() {
    let names = ["a", "b", "c"].map(str::to_owned);
    let (done, gone) = together(&names, &["250 ok\r\n250 ok\r\n250 ok\r\n257 \"/\"\r\n"]);
    assert_eq!(counts(done), (4, 0));
    assert_eq!(gone, ["t/a", "t/b", "t/c", "t"]);
    // One that is refused fails alone.
    let (done, gone) = together(&names, &["250 ok\r\n550 no\r\n250 ok\r\n257 \"/\"\r\n"]);
    assert_eq!(counts(done), (2, 1));
    assert_eq!(gone, ["t/a", "t/c"]);
    // An error that ends the removal comes after the events of the others.
    let (done, gone) = together(&names, &["250 ok\r\n530 no\r\n250 ok\r\n257 \"/\"\r\n"]);
    assert!(matches!(done, Err(Error::Refused { .. })), "{done:?}");
    assert_eq!(gone, ["t/a", "t/c"]);
    // Replies that are not in their places count for none.
    for replies in [&["250 ok\r\n250 ok\r\n257 \"/\"\r\n250 ok\r\n"], &["250 ok\r\n"]] {
        let (done, gone) = together(&names, replies);
        assert!(matches!(done, Err(Error::Desynchronised | Error::Unexpected { .. })), "{done:?}");
        assert!(gone.is_empty(), "{gone:?}");
    }
}

#[test]
fn removals_of_one_flight_are_reported_if_the_next_one_is_lost_cl_78() {
    const ALL: &str = "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n257 \"/\"\r\n";
    const LOST: [&[&str]; 2] = [&[ALL, "250 ok\r\n"], &[ALL, ""]];
    let names = Vec::from_iter((0..2 * FLIGHT).map(|number| format!("{number:0220}")));
    let (done, gone) = together(&names, &[ALL, ALL]);
    let removed = 2 * FLIGHT + 1;
    assert_eq!(counts(done), (removed, 0));
    assert_eq!(gone.len(), removed);
    for flights in LOST {
        let (done, gone) = together(&names, flights);
        assert!(matches!(done, Err(Error::Desynchronised | Error::Closed)), "{done:?}");
        let first = names.iter().take(FLIGHT).map(|name| format!("t/{name}"));
        assert_eq!(gone, Vec::from_iter(first));
    }
}

#[test]
fn a_missing_object_is_an_error_unless_it_may_be_missing() {
    const OTHER: Option<&str> = Some("-rw-r--r-- 1 u g 0 Jan 2 2020 other\r\n");
    for (ignore_missing, listed, enters, want) in [
        (false, OTHER, "550 no", None),
        (true, OTHER, "550 no", Some((0, 0))),
        // It is not listed, but it can be entered.
        (true, OTHER, "250 in", None),
        // Nothing shows whether it is there.
        (true, Some("-rw-r--r-- 1 u g 0 Jan 2 2020 other\r\nwhat\r\n"), "", None),
        (true, None, "", None),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("FEAT", "502 what");
            peer.answer("DELE t", "550 no such file");
            if ignore_missing {
                peer.answer("MDTM t", "550 no");
                peer.answer("MLST t", "502 what");
                for command in ["LIST -a", "LIST"] {
                    peer.epsv();
                    let Some(lines) = listed else {
                        peer.answer(command, "550 no");
                        continue;
                    };
                    peer.answer(command, "150 list");
                    peer.send_data(lines.as_bytes());
                    peer.reply("226 done");
                    break;
                }
            }
            if !enters.is_empty() && ignore_missing {
                peer.answer("PWD", "257 \"/\"");
                peer.answer("CWD t", enters);
                if enters.starts_with('2') {
                    peer.answer("CWD /", "250 back");
                }
            }
            peer.answer("NOOP", "200 ok");
        });
        let options = RemoveOptions::new().ignore_missing(ignore_missing);
        let done = Repeat::single().remove(&mut client, Place::at("t/"), options, &());
        match want {
            Some(want) => assert_eq!(counts(done), want),
            None => assert!(matches!(done, Err(Error::Refused { .. })), "{done:?}"),
        }
        ended(client, server);
    }
}

/// Serves `LIST` of a directory with `.x`, which it hides, and without `MLSD`.
fn hide(mut peer: Peer, features: &str, to_question: &str, to_cwd: &str) {
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        match line.trim_end() {
            "" => return,
            "FEAT" => peer.reply(&format!("211-have\r\n{features} UTF8\r\n211 end")),
            "MDTM .x" if features.contains("MDTM") => peer.reply(to_question),
            "MLST .x" if features.contains("MLST type") => peer.reply(to_question),
            "PWD" => peer.reply("257 \"/\""),
            "CWD /" | "NOOP" | "TYPE A" | "TYPE I" => peer.reply("200 ok"),
            "CWD .x" => peer.reply(to_cwd),
            "DELE .x" => peer.reply("550 not removed"),
            "EPSV" => {
                let port = peer.listen();
                peer.reply(&format!("229 here (|||{port}|)"));
            }
            "LIST -a" => {
                peer.reply("150 list");
                peer.send_data(b"-rw-r--r-- 1 u g 0 Jan 2 2020 other\r\n");
                peer.reply("226 done");
            }
            _ => peer.reply("502 what"),
        }
    }
}

#[test]
fn a_name_that_the_listing_may_hide_is_missing_only_by_an_offered_question() {
    for (features, to_question, to_cwd, is_missing) in [
        (" MDTM\r\n", "550 no", "550 no", true),
        (" MLST type*;\r\n", "550 no", "550 no", true),
        // MLST, although offered, is unknown.
        (" MLST\r\n MDTM\r\n", "550 no", "550 no", true),
        ("", "550 no", "550 no", false),
        // The refusal is not about the file.
        (" MDTM\r\n", "500 what", "550 no", false),
        (" MLST type*;\r\n", "504 not these", "550 no", false),
        // The file is there, only its time is unreadable.
        (" MDTM\r\n", "213 yesterday", "550 no", false),
        // The time of a directory is refused too.
        (" MDTM\r\n", "550 no file", "250 in", false),
    ] {
        let case = format!("{features:?} {to_question:?} {to_cwd:?}");
        let (server, mut client) =
            Server::logged_in(move |peer| hide(peer, features, to_question, to_cwd));
        let want = if is_missing { Existence::Absent } else { Existence::Unknown };
        assert_eq!(client.existence(".x").unwrap(), want, "{case}");
        let options = RemoveOptions::new().ignore_missing(true);
        let done = Repeat::single().remove(&mut client, Place::at(".x"), options, &());
        match is_missing {
            true => assert_eq!(counts(done), (0, 0), "{case}"),
            false => assert!(matches!(done, Err(Error::Refused { .. })), "{case}: {done:?}"),
        }
        drop(client);
        server.end();
    }
}

#[test]
fn what_is_in_a_directory_that_may_not_be_entered_is_not_missing() {
    for (listed, is_missing) in [
        ("drwx------ 2 root root 0 Jan 2 2020 d\r\n", false),
        ("-rw-r--r-- 1 u g 0 Jan 2 2020 other\r\n", true),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            loop {
                let line = String::from_utf8(peer.line()).unwrap();
                match line.trim_end() {
                    "" => return,
                    "PWD" => peer.reply("257 \"/\""),
                    "CWD /" | "NOOP" | "TYPE A" | "TYPE I" => peer.reply("200 ok"),
                    "EPSV" => {
                        let port = peer.listen();
                        peer.reply(&format!("229 here (|||{port}|)"));
                    }
                    "LIST" | "LIST -a" => {
                        peer.reply("150 list");
                        peer.send_data(listed.as_bytes());
                        peer.reply("226 done");
                    }
                    line if line.ends_with(" d") || line.ends_with(" d/t") => peer.reply("550 no"),
                    _ => peer.reply("502 what"),
                }
            }
        });
        let options = RemoveOptions::new().ignore_missing(true);
        let done = Repeat::single().remove(&mut client, Place::at("d/t"), options, &());
        match is_missing {
            true => assert_eq!(counts(done), (0, 0)),
            false => assert!(matches!(done, Err(Error::Refused { .. })), "{done:?}"),
        }
        drop(client);
        server.end();
    }
}

fn ended(mut client: Client, server: Server) {
    client.noop().unwrap();
    server.end();
}
