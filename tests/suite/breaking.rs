//! Connections that break during transfers, and recovery by `Retry`: the final file is complete,
//! without a hole or a repeated part.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ftp_client::{Client, Done, FileOptions, Retry, Timeouts, Transport};
use ftp_tests::compare::assert_same;
use ftp_tests::content::binary;
use ftp_tests::peer::RealServer;
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};
use ftp_tests::wait::patiently;
use socket2::SockRef;

const LENGTH: usize = 400_003;

/// The lengths after which the data connections are cut, one after the other, in bytes.
const CUTS: [u64; 4] = [70_000, 0, 1, 200_000];

/// Opens connections. The first data connections are reset after a number of bytes, and with every
/// second one also the control connection.
struct Cutting(Mutex<State>);

#[derive(Default)]
struct State {
    cuts: VecDeque<u64>,
    control: Option<TcpStream>,
}

impl Cutting {
    fn new() -> Self {
        Self(Mutex::new(State { cuts: CUTS.into(), ..State::default() }))
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        is_data: bool,
        limit: Duration,
    ) -> io::Result<Box<dyn Transport>> {
        let address = format!("{host}:{port}").parse().unwrap();
        let server = TcpStream::connect_timeout(&address, limit)?;
        let mut state = self.0.lock().unwrap();
        if !is_data {
            state.control = Some(server.try_clone()?);
            return Ok(Box::new(server));
        }
        let Some(cut) = state.cuts.pop_front() else { return Ok(Box::new(server)) };
        let is_second = state.cuts.len().is_multiple_of(2);
        let control = state.control.take_if(|_| is_second);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let (far, _) = listener.accept()?;
        thread::spawn(move || relay([far, server], cut, control.as_ref()));
        Ok(Box::new(near))
    }
}

/// Passes on `left` bytes in either direction, and then resets both connections.
fn relay(mut ends: [TcpStream; 2], mut left: u64, control: Option<&TcpStream>) {
    let tick = Duration::from_millis(1);
    ends.iter().for_each(|end| end.set_read_timeout(Some(tick)).unwrap());
    let mut block = [0; 16_384];
    let mut from = 0;
    while left > 0 {
        let most = usize::try_from(left).unwrap().min(block.len());
        match ends[from].read(&mut block[..most]) {
            Ok(0) => break,
            Ok(count) => {
                if ends[1 - from].write_all(&block[..count]).is_err() {
                    break;
                }
                left -= u64::try_from(count).unwrap();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                from = 1 - from;
            }
            Err(_) => break,
        }
    }
    for end in &ends {
        SockRef::from(end).set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop(ends);
    if let Some(control) = control {
        // The other side may still read sent bytes, and notices the end later.
        let _ = control.shutdown(Shutdown::Both);
    }
}

fn queue(site: &Site, cutting: &Arc<Cutting>) -> Retry {
    let limit = Duration::from_secs(120);
    // A server that never replies after a reset costs only a short wait. It may owe the reply to
    // the command, or the last one: all bytes fit into the buffers of this machine, so the client
    // may have sent them before the reset.
    let soon = Duration::from_secs(5);
    let timeouts = Timeouts::new().reply(soon).final_reply(soon);
    let cutting = Arc::clone(cutting);
    let builder = Client::builder()
        .timeouts(timeouts)
        .overall(Some(limit))
        .connector(move |host, port, is_data, limit| cutting.connect(host, port, is_data, limit));
    Retry::new(builder, site.address.to_string())
        .login(site.user, site.password)
        .attempts(200)
        .pauses(Duration::from_millis(20), Duration::from_millis(500))
}

/// A download, an upload to a new name, and a replacement.
#[track_caller]
fn assert_transfers_complete_after_retries(site: &Site) -> [Done; 3] {
    let content = binary(LENGTH, 3);
    let cuts = u32::try_from(CUTS.len()).unwrap();
    site.root.write("down", &content);
    let here = TempRoot::new();
    let target = here.join("down");
    let down = queue(site, &Arc::new(Cutting::new()))
        .download_to("down", &target, &FileOptions::new())
        .unwrap();
    assert_same("down", &here.read("down"), &content);
    assert!(down.attempts > cuts && down.size == LENGTH as u64, "{down:?}");
    assert!(down.resumed >= 70_000, "{down:?}");

    site.root.write("old", &binary(150_000, 4));
    let [new, old] = ["new", "old"].map(|name| {
        let done = queue(site, &Arc::new(Cutting::new()))
            .upload_from(&target, name, &FileOptions::new())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same(name, &site.root.read(name), &content);
        // A cut can also hit the connection that reads the last bytes on the server again, which
        // costs no attempt.
        assert!(done.attempts > 1 && done.size == LENGTH as u64, "{done:?}");
        done
    });
    [down, new, old]
}

#[test]
fn transfers_recover_from_lost_connections_with_our_server_as_09() {
    // A server that notices a lost client late has not kept its bytes when it comes back.
    patiently(Duration::from_secs(1), |_| {
        let [_, new, old] = assert_transfers_complete_after_retries(&OurServer::start());
        assert!(new.resumed > 0, "{new:?}");
        assert!(old.resumed > 0, "{old:?}");
    });
}

#[test]
fn transfers_recover_from_lost_connections_with_vsftpd_as_09() {
    let Some(server) = RealServer::vsftpd() else { return };
    assert_transfers_complete_after_retries(&server);
}

#[test]
fn transfers_recover_from_lost_connections_with_pyftpdlib_as_09() {
    let Some(server) = RealServer::pyftpdlib() else { return };
    assert_transfers_complete_after_retries(&server);
}

#[test]
fn transfers_recover_from_lost_connections_with_proftpd_as_09() {
    let Some(server) = RealServer::proftpd_at(Ipv4Addr::LOCALHOST) else { return };
    assert_transfers_complete_after_retries(&server);
}

#[test]
fn transfers_recover_from_lost_connections_with_pure_ftpd_as_09() {
    let Some(server) = RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST) else { return };
    assert_transfers_complete_after_retries(&server);
}
