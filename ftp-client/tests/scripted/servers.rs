//! The replies of real servers, played to the client: one file in `servers` for each, with its
//! source in the first lines.
//!
//! | line | meaning |
//! | --- | --- |
//! | `#` | a remark |
//! | `* call` | the caller asks this of the client; `login` is as `u` with `p` |
//! | `= result` | what that call gave |
//! | `! error` | or words of why it failed |
//! | `> line` | the client sends it |
//! | `< line` | the server sends it; for `{port}`, or `{p1},{p2}`, it listens and says where |
//! | `[ bytes` | the server sends data and ends it; `\r` and `\n` are escapes |
//! | `] bytes` | the client sends this data and ends it |

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use ftp_client::file::HashAlgorithm;
use ftp_client::listing::{Budget, Lines, ListOptions, ListingForm};
use ftp_client::{Client, Error, Permissions, TimeVal};

use crate::peer::{Peer, Server, timeouts};

/// The number of files, so that none is lost.
const FILES: usize = 22;

#[test]
fn every_recorded_server_is_understood() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripted/servers");
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), FILES);
    let failed: Vec<_> = files
        .iter()
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            std::panic::catch_unwind(|| play(&text)).is_err()
        })
        .map(|file| file.file_name().unwrap())
        .collect();
    assert!(failed.is_empty(), "{failed:?}; each has its own message above");
}

/// Plays a file to its end, and asserts that the client sends nothing more.
fn play(text: &str) {
    let script = text.to_owned();
    let server = Server::start(move |mut peer| {
        script.lines().for_each(|line| serve(&mut peer, line));
        peer.expect_end();
    });
    let mut client = server.connect(Client::builder().timeouts(timeouts())).unwrap();
    let mut result = None;
    let mut seen = 0;
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "*" => {
                assert!(result.is_none(), "before {line}: nobody looked at {result:?}");
                result = Some(ask(&mut client, rest));
            }
            "=" => match result.take() {
                Some(Ok(got)) => assert_eq!(got, rest, "{line}"),
                other => panic!("{line}: {other:?}"),
            },
            "!" => match result.take() {
                Some(Err(error)) => assert!(error.to_string().contains(rest), "{line}: {error}"),
                other => panic!("{line}: {other:?}"),
            },
            _ => continue,
        }
        seen += 1;
    }
    assert!(result.is_none() && seen > 2, "nothing is looked at");
    drop(client);
    server.end();
}

/// The server's part of a line.
fn serve(peer: &mut Peer, line: &str) {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "#" | "" | "*" | "=" | "!" => {}
        ">" => peer.expect(rest),
        "<" if rest.contains('{') => {
            let port = peer.listen();
            let [high, low] = port.to_be_bytes().map(|octet| octet.to_string());
            let reply = rest.replace("{port}", &port.to_string());
            peer.reply(&reply.replace("{p1}", &high).replace("{p2}", &low));
        }
        "<" => peer.reply(rest),
        "[" => peer.send_data(&unescape(rest)),
        "]" => assert_eq!(peer.read_data(), unescape(rest), "{line}"),
        _ => panic!("no such line: {line}"),
    }
}

/// The client's part: a call, and its result as text.
fn ask(client: &mut Client, call: &str) -> Result<String, Error> {
    let (name, rest) = call.split_once(' ').unwrap_or((call, ""));
    let by = |form| ListOptions::by(form);
    Ok(match name {
        "login" => client.login("u", "p").map(|()| String::new())?,
        "get" => {
            let mut download = client.retrieve(rest)?;
            let mut content = String::new();
            download.read_to_string(&mut content).unwrap();
            download.finish()?;
            content
        }
        "put" => {
            let (path, content) = rest.split_once(' ').unwrap();
            let mut upload = client.store(path)?;
            upload.write_all(content.as_bytes()).unwrap();
            upload.finish()?.bytes.to_string()
        }
        "names" => joined(client.list_lines(rest, by(ListingForm::Nlst))?)?,
        "lines" => joined(client.list_lines(rest, by(ListingForm::List))?)?,
        "facts" => joined(client.list_lines(rest, by(ListingForm::Mlsd))?)?,
        "list" => {
            let listing = client.list(rest)?.gather(Budget::default())?;
            let names = listing.entries.into_iter().map(|entry| entry.name);
            text(&names.collect::<Vec<_>>().join(&b'|'))
        }
        "stat" => client.stat(rest)?.map_or("unknown".to_owned(), |entry| {
            format!("{} {:?} {:?}", entry.name_lossy(), entry.kind, entry.size)
        }),
        "set_modified" => {
            let (time, path) = rest.split_once(' ').unwrap();
            let stored = client.set_modified(path, TimeVal::parse(time.as_bytes()).unwrap())?;
            stored.map_or("not told".to_owned(), |time| time.to_string())
        }
        "hash" => {
            let (name, path) = rest.split_once(' ').unwrap();
            let is = |algorithm: &&HashAlgorithm| algorithm.as_str() == name;
            let digest = client.hash(path, HashAlgorithm::ALL.iter().find(is).copied())?;
            format!("{} {digest}", digest.algorithm)
        }
        "chmod" => {
            let (mode, path) = rest.split_once(' ').unwrap();
            let mode = Permissions::parse(mode.as_bytes()).unwrap();
            client.chmod(path, mode).map(|()| String::new())?
        }
        "put_unique" => {
            let mut upload = client.store_unique("")?;
            upload.write_all(rest.as_bytes()).unwrap();
            let name = upload.finish()?.unique_name;
            name.map_or("not told".to_owned(), |name| text(name.as_bytes()))
        }
        "size" => client.size(rest)?.map_or("unknown".to_owned(), |size| size.to_string()),
        "modified" => client.modified(rest)?.map_or("unknown".to_owned(), |time| time.to_string()),
        "pwd" => text(client.pwd()?.as_bytes()),
        "cwd" => client.cwd(rest).map(|()| String::new())?,
        "cdup" => client.cdup().map(|()| String::new())?,
        "mkdir" => match client.mkdir(rest)? {
            Some(path) => text(path.as_bytes()),
            None => "no path".to_owned(),
        },
        "delete" => client.delete(rest).map(|()| String::new())?,
        "system" => text(&client.system()?),
        _ => panic!("no such call: {call}"),
    })
}

fn joined(lines: Lines<'_>) -> Result<String, Error> {
    let lines: Result<Vec<_>, _> = lines.collect();
    Ok(text(&lines?.join(&b'|')))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").into_bytes()
}
