//! Logins under TLS together with many slow or stalled peers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::tls::{Authority, Kind, PairFiles, TlsClient};

use crate::figures::allow_descriptors;
use crate::serve::Served;

/// The longest duration of a login under TLS under any load: the plain test runs together with
/// others.
fn limit() -> Duration {
    Duration::from_millis(if scale::is_full() { 1_500 } else { 10_000 })
}

fn log_in(address: SocketAddr, authority: &Authority, times: usize) -> String {
    let mut took: Vec<_> = (0..times)
        .map(|_| {
            let (client, start) = (TlsClient::trusting(authority), Instant::now());
            RawSession::secure(address, &client, "u", "p").expect("QUIT", 221);
            start.elapsed()
        })
        .collect();
    took.sort();
    let (median, most) = (took[times / 2], took[times - 1]);
    assert!(most < limit(), "{most:?}");
    format!("a login under TLS takes {median:?}, {most:?} at most")
}

/// A third of the peers is slow in plaintext, a third stalls within its ClientHello, and a third
/// after it.
#[test]
fn slow_peers_do_not_delay_tls_logins_at_scale_go_07_hs_05() {
    let count = scale::count(90, 2_000);
    assert!(allow_descriptors() >= 8 * u64::try_from(count).unwrap() + 300);
    let (root, etc, authority) = (TempRoot::new(), TempRoot::new(), Authority::new());
    let PairFiles { certificate, key, .. } = authority.issue(Kind::Good).write(&etc, "server");
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let served =
        Served::start(&root, &["--user", "u:p", "--tls-cert", certificate, "--tls-key", key]);
    println!("alone: {}", log_in(served.address, &authority, 20));
    let hello = TlsClient::trusting(&authority).hello();
    let start = Instant::now();
    let mut peers: Vec<_> = (0..count)
        .map(|number| {
            let mut session = RawSession::greeted(served.address);
            let said = [None, Some(hello.len() / 2), Some(hello.len())][number % 3];
            if let Some(said) = said {
                session.expect("AUTH TLS", 234);
                session.send(&hello[..said]);
            }
            session
        })
        .collect();
    println!("{count} peers after {:?}", start.elapsed());
    // Stalled peers are closed ten seconds after they began.
    for _ in 0..3 {
        for peer in peers.iter_mut().step_by(3) {
            peer.send("N");
        }
        println!("{}", log_in(served.address, &authority, 20));
    }
}
