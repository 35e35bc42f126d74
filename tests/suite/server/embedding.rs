//! What a program that embeds the server can supply: sockets, storages, `SITE` words.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;

use ftp_server::{
    Ask, Keep, MemoryStorage, Reply, ReplyCode, Rights, Server, ServerBuilder, SiteRequest,
    Storage, VirtualPath, WriteMode,
};
use ftp_tests::raw::RawSession;

use super::play;

fn embedded(adjust: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Server {
    let builder = Server::builder().config(super::quick()).user("u", "p", Rights::FULL);
    adjust(builder).bind("127.0.0.1:0").expect("a server on loopback")
}

#[test]
fn already_listening_sockets_are_served() {
    let sockets: Vec<_> =
        (0..2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let addresses: Vec<_> =
        sockets.iter().map(|socket| socket.local_addr().expect("an address")).collect();
    sockets.iter().for_each(|socket| socket.set_nonblocking(true).expect("a socket"));
    let builder = Server::builder().config(super::quick()).user("u", "p", Rights::FULL);
    let builder = sockets.into_iter().fold(builder, ServerBuilder::listener);
    let server = builder.storage(MemoryStorage::new()).start().expect("a server");
    assert_eq!(server.local_addrs().collect::<Vec<_>>(), addresses);
    for address in addresses {
        RawSession::login(address, "u", "p").expect("NOOP", 200);
    }
    assert!(Server::builder().storage(MemoryStorage::new()).start().is_err(), "nothing listens");
}

#[test]
fn the_embedder_and_the_server_share_a_storage() {
    let storage = Arc::new(MemoryStorage::new());
    let server = embedded(|builder| builder.storage(Arc::clone(&storage)));
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    session.upload("STOR a", b"from the client");
    let path = VirtualPath::root().join(b"a");
    assert_eq!(storage.stat(&path, Ask::Facts).expect("it is there").size, 15);
    let mut upload = storage.write(&path, WriteMode::Replace, Keep::Shared).expect("an upload");
    upload.write_all(b"from here").expect("room");
    upload.commit().expect("it is stored");
    assert_eq!(session.download("RETR a"), b"from here");
}

#[test]
fn custom_site_commands_reach_the_embedder() {
    let serve = |request: &SiteRequest<'_>| match request.word {
        b"WHOAMI" => Some(Reply::new(ReplyCode::OKAY, request.user)),
        b"MAY" if request.argument == b"WRITE" => {
            request.rights.contains(Rights::WRITE).then(|| ok("It may"))
        }
        b"WAIT" => Some(Reply::new(ReplyCode::PENDING, "More is to come")),
        b"LINES" => Some(Reply::multi_line(ReplyCode::OKAY, "Two:", ["one", "two"], "End")),
        _ => None,
    };
    let served = embedded(|builder| builder.storage(MemoryStorage::new()).site(serve));
    let mut session = RawSession::greeted(served.local_addr());
    session.expect("SITE WHOAMI", 530);
    let mut session = RawSession::login(served.local_addr(), "u", "p");
    assert_eq!(session.expect("SITE WHOAMI", 200).text(), "200 u");
    let lines = [("SITE MAY WRITE", 200), ("SITE WAIT", 451), ("SITE LINES", 200)];
    play(&mut session, &lines);
    play(&mut session, &[("SITE NOTHING", 504), ("SITE HELP", 214), ("SITE CHMOD 600 a", 550)]);

    let bare = embedded(|builder| builder.storage(MemoryStorage::new()));
    let mut session = RawSession::login(bare.local_addr(), "u", "p");
    session.expect("SITE WHOAMI", 504);
}

fn ok(text: &str) -> Reply {
    Reply::new(ReplyCode::OKAY, text)
}
