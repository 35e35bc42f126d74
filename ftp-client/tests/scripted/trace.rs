//! What is logged and what is not.

use std::cell::RefCell;
use std::io::Read;
use std::sync::Once;

use ftp_client::{Client, Extended, RawCommand};

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

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.level(), log::Level::Debug);
        RECORDS.with_borrow_mut(|records| records.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

#[test]
fn the_dialogue_is_logged_without_its_secrets() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
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
    let records = RECORDS.take();
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
