//! A removal that takes longer than a look proves what it has shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::*;
use crate::age::LOOK;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node {
    File,
    Directory,
    /// A link to `outside`, which `MLSD` shows as a directory.
    Link,
}

type World = BTreeMap<String, Node>;

/// Returns where a path leads if links on the way are followed.
fn resolved(world: &World, path: &str, follows_last: bool) -> String {
    let mut at = String::new();
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        at = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        if (follows_last || names.peek().is_some()) && world.get(&at) == Some(&Node::Link) {
            at = "outside".to_owned();
        }
    }
    at
}

/// Returns what `MLSD` or `LIST` shows of a directory.
fn listing(world: &World, directory: &str, verb: &str) -> String {
    let mut lines = String::new();
    for (path, node) in world {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if above != directory {
            continue;
        }
        let line = match (verb, node) {
            ("MLSD", Node::File) => format!("type=file; {name}"),
            ("MLSD", _) => format!("type=dir; {name}"),
            (_, Node::File) => format!("-rw-r--r-- 1 u g 0 Jan 2 2020 {name}"),
            (_, Node::Directory) => format!("drwxr-xr-x 1 u g 0 Jan 2 2020 {name}"),
            (_, Node::Link) => format!("lrwxrwxrwx 1 u g 0 Jan 2 2020 {name} -> ../outside"),
        };
        writeln!(lines, "{line}\r").unwrap();
    }
    lines
}

/// Serves one client. `DELE` is confirmed for whatever there is, but removes no directory, and `RMD` removes
/// all that is in it.
fn serve(control: &TcpStream, world: &Mutex<World>) {
    let data = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = data.local_addr().unwrap().port();
    let mut cwd = String::new();
    let reply = |text: &str| write!(&*control, "{text}\r\n").unwrap();
    reply("220 ready");
    for line in BufReader::new(control).lines().map_while(Result::ok) {
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let argument = argument.strip_prefix("-a").unwrap_or(argument).trim();
        let path = if argument.starts_with('/') { argument } else { &format!("{cwd}/{argument}") };
        let mut world = world.lock().unwrap();
        let (object, target) = (resolved(&world, path, false), resolved(&world, path, true));
        let is_directory = target.is_empty() || world.get(&target) == Some(&Node::Directory);
        match verb {
            "USER" => reply("331 password"),
            "FEAT" => reply("211-have\r\n MLST type*;\r\n211 end"),
            "PWD" => reply(&format!("257 \"/{cwd}\"")),
            "EPSV" => reply(&format!("229 here (|||{port}|)")),
            "CWD" if is_directory => {
                cwd = target;
                reply("250 in");
            }
            "CWD" => reply("550 no such directory"),
            "MLST" if !world.contains_key(&object) => reply("550 none"),
            "MLST" => reply(&format!("250-it\r\n type=dir; {argument}\r\n250 end")),
            "MLSD" | "LIST" => {
                reply("150 list");
                let (mut data, _) = data.accept().unwrap();
                data.write_all(listing(&world, &target, verb).as_bytes()).unwrap();
                drop(data);
                reply("226 done");
            }
            "DELE" => {
                if world.get(&object).is_some_and(|node| *node != Node::Directory) {
                    world.remove(&object);
                }
                reply("250 gone");
            }
            "RMD" => {
                let inside = format!("{target}/");
                world.retain(|path, _| *path != object && !path.starts_with(&inside));
                reply("250 gone");
            }
            _ => reply("230 ok"),
        }
    }
}

/// Other programs put a link in the place of a directory that was listed, or of one on the way to it, and a
/// directory in the place of a file. None of that was listed, so it stays.
fn removed_late(is_above: bool) {
    use Node::{Directory, File, Link};
    let nodes = [
        ("outside", Directory),
        ("outside/z", File),
        ("t", Directory),
        ("t/b", Directory),
        ("t/b/c", Directory),
        ("t/b/c/1", File),
        ("t/b/c/2", File),
        ("t/b/z", File),
        ("t/l", Link),
        ("t/y", Directory),
        ("t/y/z", File),
        ("t/z", File),
    ];
    let world = Mutex::new(World::from(nodes.map(|(path, node)| (path.to_owned(), node))));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let kept = Mutex::new(Vec::new());
    let on = |event: Event<'_>| match event {
        Event::Removed { path: b"t/b/c/1" } => thread::sleep(LOOK / 2 + Duration::from_millis(100)),
        Event::Removed { path: b"t/b/c/2" } => {
            thread::sleep(LOOK / 2 + Duration::from_millis(100));
            let mut world = world.lock().unwrap();
            if is_above {
                world.retain(|path, _| !path.starts_with("t/b/"));
                world.insert("t/b".to_owned(), Link);
            } else {
                world.remove("t/y/z");
                world.insert("t/y".to_owned(), Link);
                world.insert("t/z".to_owned(), Directory);
                world.insert("t/z/new".to_owned(), File);
            }
        }
        Event::Failed { path, why } => {
            assert!(matches!(why, Error::Job(JobFault::OtherType)), "{why:?}");
            kept.lock().unwrap().push(String::from_utf8(path.to_vec()).unwrap());
        }
        _ => {}
    };
    let done = thread::scope(|scope| {
        scope.spawn(|| serve(&listener.accept().unwrap().0, &world));
        let mut client = Client::builder().connect(&address).unwrap();
        client.login("u", "p").unwrap();
        let options = RemoveOptions::new().recursive(true).is_directory(true);
        Repeat::single().remove(&mut client, Place::at("t"), options, &on)
    });
    let (kept, world) = (kept.into_inner().unwrap(), world.into_inner().unwrap());
    let case = format!("{is_above} {done:?} {kept:?} {world:?}");
    assert!(world.contains_key("outside/z"), "{case}");
    assert_eq!(kept, if is_above { &["t/b"][..] } else { &["t/y", "t/z"] }, "{case}");
    assert_eq!(world.contains_key("t/z/new"), !is_above, "{case}");
    assert!(world.contains_key("t") && !world.contains_key("t/l"), "{case}");
}

#[test]
fn what_was_listed_more_than_a_minute_ago_is_listed_again_before_its_removal_cl_81() {
    thread::scope(|scope| {
        for is_above in [false, true] {
            scope.spawn(move || removed_late(is_above));
        }
    });
}
