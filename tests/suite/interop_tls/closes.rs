//! How clients close data connections after they have read everything: each in its way, and some as
//! soon as they have the expected number of bytes.

use std::io::Read;
use std::sync::atomic::Ordering;

use ftp_server::SessionReuse;
use ftp_tests::at_once::at_once;
use ftp_tests::raw::RawSession;
use ftp_tests::scale;
use ftp_tests::tls::{Authority, End, TlsClient, TlsStream, Version};

use super::{Cell, Client, Meeting, Step, Verb, content, curl, ftplib, lftp};

/// How often each client closes with each version; all clients and versions at once keep the
/// machine busy enough for rare timings.
fn times() -> usize {
    scale::count(20, 500)
}

fn meeting(client: &Client, version: Version, authority: &Authority) -> Option<Meeting> {
    let cell = Cell { implicit: false, active: false, version, reuse: SessionReuse::Observe };
    let meeting = Meeting::new(client, cell, authority)?;
    // From 0 bytes on.
    for size in 0..SIZES {
        meeting.server.root.write(format!("f{size}"), &content(size));
    }
    Some(meeting)
}

const SIZES: usize = 6;

/// The number of instances of a client that run at once with each version: some wait half a second
/// for each download.
const PARTS: usize = 4;

/// Lets a client download small files one after the other: no transfer may count as interrupted.
#[track_caller]
fn closes(client: &Client) {
    let authority = Authority::new();
    let parts = [Version::ALL; PARTS].concat();
    at_once(parts.len(), parts, |version| {
        let Some(meeting) = meeting(client, version, &authority) else { return };
        let count = times() / PARTS;
        let step = |number: usize| Step {
            verb: Verb::Get,
            local: "down".to_owned(),
            remote: format!("f{}", number % SIZES),
        };
        let steps: Vec<_> = (0..count).map(step).collect();
        // Not too many for one command line.
        for steps in steps.chunks(50) {
            if let Err(said) = (client.perform)(&meeting, steps) {
                panic!("{} {version:?}: {said}", client.name);
            }
        }
        let Meeting { server, reuse, .. } = meeting;
        drop(server);
        let (protected, cut) = (&reuse.protected, &reuse.cut);
        let ended = (protected.load(Ordering::SeqCst), cut.load(Ordering::SeqCst));
        assert_eq!(ended, (count, 0), "{} {version:?}: downloads, and those cut", client.name);
    });
}

#[test]
fn a_download_that_curl_closes_is_complete_tl_13_dc_50() {
    closes(&curl::CURL);
}

#[test]
fn a_download_that_lftp_closes_is_complete_tl_13_dc_50() {
    let overwriting = |meeting: &Meeting, steps: &[Step]| {
        // It keeps an existing file.
        let local = |(number, step): (usize, &Step)| Step {
            local: format!("down{number}-{}", std::process::id()),
            ..step.clone()
        };
        let steps: Vec<_> = steps.iter().enumerate().map(local).collect();
        let done = (lftp::LFTP.perform)(meeting, &steps);
        for step in &steps {
            let _ = std::fs::remove_file(meeting.local.join(&step.local));
        }
        done
    };
    closes(&Client { perform: overwriting, ..lftp::LFTP });
}

#[test]
fn a_download_that_ftplib_closes_is_complete_tl_13_dc_50() {
    closes(&ftplib::FTPLIB);
    closes(&ftplib::FTPLIB_AS_IT_IS);
}

/// `close` gets the connection and the number of bytes.
#[track_caller]
fn by_hand(close: fn(TlsStream, usize)) {
    let authority = Authority::new();
    for version in Version::ALL {
        let Some(meeting) = meeting(&curl::CURL, version, &authority) else { return };
        let client = TlsClient::trusting(&authority).version(version);
        let (user, password) = (meeting.server.user, meeting.server.password);
        let mut session = RawSession::secure(meeting.server.address, &client, user, password);
        session.expect("TYPE I", 200);
        for number in (0..SIZES).cycle().take(times()) {
            let data = session.tls_data(&client, format!("RETR f{number}"));
            close(data, content(number).len());
            session.expect_reply(226);
        }
        session.expect_in_step();
    }
}

/// Reads to the end, then sends its own close_notify, as FileZilla does.
#[test]
fn a_download_that_is_read_to_its_end_and_closed_is_complete_tl_13_dc_50() {
    by_hand(|mut data, length| {
        let (bytes, end) = data.read_to_its_end();
        assert_eq!((bytes.len(), end), (length, End::CloseNotify));
        // The server may have disconnected by then.
        let _ = data.finish();
    });
}

#[test]
fn a_download_that_is_read_to_its_size_and_closed_is_complete_tl_13_dc_50() {
    by_hand(|mut data, length| {
        data.read_exact(&mut vec![0; length]).expect("as many bytes as the file has");
        let _ = data.close_notify();
    });
}
