//! What is logged and what is not.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::Once;

use ftp_client::{Client, Extended, RawCommand};
use ftp_proto::BlockHeader;

use crate::peer::{Server, timeouts};

thread_local! {
    /// The records of this thread: a client logs in its caller's thread.
    static RECORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "ftp_client::wire"
    }

    /// The macros of `log` do not ask [`enabled`](Self::enabled), and other tests log too.
    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        assert_eq!(record.level(), log::Level::Debug);
        RECORDS.with_borrow_mut(|records| records.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Keeps the records of this thread from now on.
pub(crate) fn record() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
    RECORDS.take();
}

/// Returns the records of this thread since [`record`].
pub(crate) fn records() -> Vec<String> {
    RECORDS.take()
}

#[test]
fn the_dialogue_is_logged_without_secrets() {
    record();
    let builder = Client::builder().timeouts(timeouts()).epsv(Extended::Never).account("secret");
    let server = Server::start(|mut peer| {
        peer.send("220-hi\x1b[2J\r\n there\r\n220 ready\r\n");
        peer.answer("USER u", "331 password");
        peer.answer("PASS secret", "332 account");
        peer.answer("ACCT secret", "230 in");
        peer.answer("pass secret", "503 in already");
        peer.answer("TYPE I", "200 ok");
        peer.pasv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"x");
        peer.reply("226 done");
    });
    let mut client = server.connect(builder).unwrap();
    client.login("u", "secret").unwrap();
    client.quote(&RawCommand::new("pass secret").unwrap()).unwrap();
    let mut file = client.retrieve("a").unwrap();
    file.read_to_end(&mut Vec::new()).unwrap();
    file.finish().unwrap();
    server.end();
    let records = records();
    let mut records = records.iter().map(String::as_str);
    assert!(records.next().unwrap().starts_with("= connected to 127.0.0.1:"));
    for want in [
        "< 220-hi\\x1b[2J",
        "<  there",
        "< 220 ready",
        "> USER u",
        "< 331 password",
        "> PASS ****",
        "< 332 account",
        "> ACCT ****",
        "< 230 in",
        "> PASS ****",
        "< 503 in already",
        "> TYPE I",
        "< 200 ok",
        "> PASV",
    ] {
        assert_eq!(records.next(), Some(want));
    }
    let reply = records.next().unwrap();
    let (high, low) = reply
        .strip_prefix("< 227 Entering Passive Mode (203,0,113,9,")
        .and_then(|rest| rest.strip_suffix(").")?.split_once(','))
        .unwrap_or_else(|| panic!("{reply}"));
    let port = high.parse::<u16>().unwrap() * 256 + low.parse::<u16>().unwrap();
    let note = format!(
        "= 227: 203.0.113.9 port {port} = {high}*256+{low}; the host of the control \
         connection is always used: using 127.0.0.1"
    );
    assert_eq!(records.next(), Some(note.as_str()));
    let rest: Vec<&str> = records.collect();
    assert_eq!(rest, ["> RETR a", "< 150 Opening", "< 226 done"]);
}

#[test]
fn downloads_requested_ahead_are_logged_when_sent() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    record();
    let builder = Client::builder().timeouts(timeouts()).reuse_data(true);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.answer("FEAT", "211-Features:\r\n MODE B\r\n211 End");
        peer.answer("TYPE I", "200 ok");
        peer.answer("MODE B", "200 ok");
        peer.epsv();
        peer.answer("RETR a", "150 a");
        let mut data = peer.data();
        data.write_all(&BlockHeader::END_OF_FILE.encode()).unwrap();
        peer.reply("250 done");
        peer.expect_together(&["RETR b", "RETR c"]);
        data.write_all(&BlockHeader::END_OF_FILE.encode().repeat(2)).unwrap();
        peer.send("125 b\r\n250 done\r\n125 c\r\n250 done\r\n");
        peer.answer("NOOP", "200 ok");
    });
    client.plan_downloads(NAMES);
    for name in NAMES {
        client.retrieve(name).unwrap().copy_to(&mut std::io::sink()).unwrap();
    }
    client.noop().unwrap();
    server.end();
    let records = records();
    let first = records.iter().position(|record| record == "> RETR a").unwrap();
    let want = [
        "> RETR a",
        "< 150 a",
        "< 250 done",
        "> RETR b",
        "> RETR c",
        "< 125 b",
        "< 250 done",
        "< 125 c",
        "< 250 done",
        "> NOOP",
        "< 200 ok",
    ];
    let got: Vec<_> =
        records.iter().skip(first).filter(|record| !record.starts_with('=')).collect();
    assert_eq!(got, want);
}
