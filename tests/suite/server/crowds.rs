//! More clients than places, from one address and from many.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ftp_server::{Rights, Server};
use ftp_tests::network::in_own_network;
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::scale;
use ftp_tests::wait::{at_last, wait_until};

use super::DRAIN_STALL;

/// The longest duration of a login under any load; plain tests run together with others.
fn login_limit() -> Duration {
    if scale::is_full() { Duration::from_secs(1) } else { DEADLINE }
}

/// Connects and reads the first reply; returns the connection if it was accepted.
fn connect_if_accepted(source: IpAddr, address: SocketAddr) -> Option<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("the address is ours");
    socket.connect(&address.into()).expect("the server listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut code = [0; 3];
    stream.read_exact(&mut code).expect("a greeting or a refusal");
    match &code {
        b"220" => Some(stream),
        b"421" => {
            // To its end, so that the server waits for late segments.
            stream.read_to_end(&mut Vec::new()).expect("the rest of the refusal");
            None
        }
        other => panic!("{}", other.escape_ascii()),
    }
}

#[test]
fn a_flood_from_one_address_does_not_lock_out_others_at_scale_ho_08() {
    let test = "server::crowds::a_flood_from_one_address_does_not_lock_out_others_at_scale_ho_08";
    if !in_own_network(test, &["192.0.2.1/24", "192.0.2.2/24"]) {
        return;
    }
    let count = scale::count(2_000, 50_000);
    let root = tempfile::tempdir().expect("a directory");
    let login = Duration::from_secs(600);
    let config = super::quick_with(|config| {
        config.limits.per_address = 64;
        config.timeouts.login = login;
    });
    let server = Server::builder().root(root.path()).config(config).user("u", "p", Rights::FULL);
    let server = server.bind("192.0.2.1:0").expect("a server");
    let (address, from) = (server.local_addr(), IpAddr::from([192, 0, 2, 2]));
    let (done, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut slowest = Duration::ZERO;
    let mut logins = 0;
    let start = Instant::now();
    let held = std::thread::scope(|scope| {
        let flood = || {
            let mut held = Vec::new();
            while done.fetch_add(1, Ordering::Relaxed) < count {
                held.extend(connect_if_accepted(from, address));
            }
            held
        };
        let floods: Vec<_> = (0..4).map(|_| scope.spawn(flood)).collect();
        let ends = scope.spawn(|| {
            let held: Vec<_> = floods.into_iter().flat_map(|flood| flood.join().unwrap()).collect();
            is_over.store(true, Ordering::Relaxed);
            held
        });
        while !is_over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let mut session = RawSession::login(address, "u", "p");
            slowest = slowest.max(begun.elapsed());
            session.expect("QUIT", 221);
            session.expect_closed();
            logins += 1;
        }
        ends.join().unwrap()
    });
    println!("{count} connections in {:?}, {logins} logins: {slowest:?}", start.elapsed());
    assert_eq!(held.len(), 64);
    assert!(slowest < login_limit(), "{slowest:?}");
    drop(held);
    wait_until("a place is given back", || connect_if_accepted(from, address).is_some());
}

#[test]
fn connections_without_a_login_do_not_lock_out_users_at_scale_ho_09() {
    let sessions = scale::count(100, 4_000);
    let root = tempfile::tempdir().expect("a directory");
    let login = Duration::from_secs(600);
    let config = super::quick_with(|config| {
        config.limits.sessions = sessions;
        config.timeouts.login = login;
    });
    let server = Server::builder().root(root.path()).config(config).user("u", "p", Rights::FULL);
    let server = server.bind("127.0.0.1:0").expect("a server");
    let address = server.local_addr();
    // Each client has its own address.
    let from = |number: usize| {
        let number = u32::try_from(number).expect("some thousands");
        IpAddr::from(Ipv4Addr::from_bits(0x7F01_0000 + number))
    };
    let mut user = RawSession::login(address, "u", "p");
    let start = Instant::now();
    let crowd: Vec<_> =
        (0..sessions).filter_map(|number| connect_if_accepted(from(number), address)).collect();
    assert!(crowd.len() >= sessions / 2, "{}", crowd.len());
    println!("{sessions} connections in {:?}", start.elapsed());
    user.expect_in_step();
    let are_half = || server.sessions().len() == sessions / 2 + 1;
    wait_until("half of the places are for users", are_half);
    // A user can log in, and stays.
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let begun = Instant::now();
        let mut session = loop {
            let mut session = RawSession::connect(address);
            match session.reply().code {
                220 => break session,
                code => assert_eq!(code, 421),
            }
            assert!(begun.elapsed() < DEADLINE, "the place is not given back");
        };
        session.expect("USER u", 331);
        session.expect("PASS p", 230);
        slowest = slowest.max(begun.elapsed());
    }
    drop(crowd);
    assert!(slowest < login_limit(), "{slowest:?}");
    user.expect_in_step();
}

#[test]
fn silent_connections_of_one_host_do_not_lock_out_users_st_12_ho_09() {
    let test = "server::crowds::\
                silent_connections_of_one_host_do_not_lock_out_users_st_12_ho_09";
    let hosts: Vec<_> = (1..=9).map(|last| format!("192.0.2.{last}/24")).collect();
    if !in_own_network(test, &hosts.iter().map(String::as_str).collect::<Vec<_>>()) {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let login = Duration::from_secs(600);
    let config = super::quick_with(|config| {
        config.limits.sessions = 64;
        config.limits.per_address = 64;
        config.timeouts.login = login;
    });
    let server = Server::builder().root(root.path()).config(config).user("u", "p", Rights::FULL);
    let server = server.bind("192.0.2.1:0").expect("a server");
    let address = server.local_addr();
    let from = |last| IpAddr::from([192, 0, 2, last]);
    let silent = |last| {
        (0..50).filter_map(|_| connect_if_accepted(from(last), address)).collect::<Vec<TcpStream>>()
    };
    let mut one = silent(2);
    assert_eq!(one.len(), 4, "an eighth of half of the places");
    let user = |last| RawSession::login_from(from(last), address, "u", "p");
    let mut first = user(1);
    // All places without a login are taken by hosts within their share.
    let others: Vec<_> = (3..=9).map(silent).collect();
    assert!(others.iter().all(|held| held.len() == 4), "{others:?}");
    let mut second = user(1);
    // The oldest connection was closed with a reply.
    let mut said = String::new();
    one[0].read_to_string(&mut said).expect("its end");
    assert!(said.ends_with("421 Too many connections\r\n"), "{said}");
    // Logged-in sessions stay, and do not count against others of their host.
    for session in [&mut first, &mut second] {
        session.expect_in_step();
    }
    drop((one, others));
}

/// A tenth of the sessions runs transfers: half of these end within the grace, half never.
#[test]
fn a_shutdown_counts_every_session_at_scale_go_12_st_13() {
    at_last("transfers end in time", shut_down_with_many_sessions);
}

/// Returns `None` if transfers that should end stood still for so long that the shutdown cut them.
#[expect(clippy::print_stdout, reason = "it shows what it measured")]
fn shut_down_with_many_sessions() -> Option<()> {
    let count = scale::count(100, 1_000);
    let grace = Duration::from_secs(60);
    let root = tempfile::tempdir().expect("a directory");
    let large = std::fs::File::create(root.path().join("large")).expect("a file");
    large.set_len(1 << 28).expect("a large file");
    let middling = std::fs::File::create(root.path().join("middling")).expect("a file");
    middling.set_len(1 << 24).expect("more than sockets hold");
    let small = vec![b'x'; 100_000];
    // Endless transfers must not end as stalled either.
    let config = super::quick_with(|config| config.timeouts.stall = 20 * grace);
    let server = Server::builder().root(root.path()).config(config);
    let server = server.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server");
    let log_in = |_| {
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        session
    };
    let begin = |line: String| {
        let mut session = log_in(0);
        let data = session.passive();
        session.expect(line, 150);
        (session, data)
    };
    let of_each = count / 40;
    let idle: Vec<_> = (0..count - 4 * of_each).map(log_in).collect();
    let mut uploads: Vec<_> = (0..of_each).map(|n| begin(format!("STOR whole{n}"))).collect();
    let downloads: Vec<_> = (0..of_each).map(|_| begin("RETR middling".to_owned())).collect();
    let mut endless: Vec<_> = (0..of_each).map(|n| begin(format!("STOR cut{n}"))).collect();
    endless.extend((0..of_each).map(|_| begin("RETR large".to_owned())));
    for (_, data) in uploads.iter_mut().chain(endless.iter_mut().take(of_each)) {
        data.write_all(&small[..10_000]);
    }
    let begun = Instant::now();
    let stopping = std::thread::spawn(move || (server.shutdown(grace), begun.elapsed()));
    let mut idle = idle.into_iter();
    let mut first = idle.next().expect("a session");
    first.expect_reply(421);
    // At once, or a slow machine would let them stall while the others end.
    let uploads = uploads.into_iter().map(|(session, data)| {
        let rest = small[10_000..].to_vec();
        std::thread::spawn(move || {
            // The server may have closed it.
            let is_whole = data.stream().write_all(&rest).is_ok();
            data.close();
            (session, is_whole, begun.elapsed() >= DRAIN_STALL)
        })
    });
    let downloads = downloads.into_iter().map(|(session, data)| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // The server may have reset it.
            let _ = data.stream().read_to_end(&mut bytes);
            (session, bytes.len() == 1 << 24, begun.elapsed() >= DRAIN_STALL)
        })
    });
    let moving: Vec<_> = uploads.chain(downloads).collect();
    first.expect_closed();
    for mut session in idle {
        session.expect_reply(421);
        session.expect_closed();
    }
    for ended in moving {
        let (mut session, is_whole, is_late) = ended.join().expect("it ends");
        let code = session.reply().code;
        if is_late && code == 426 {
            return None;
        }
        assert_eq!((is_whole, code), (true, 226));
        session.expect_reply(421);
    }
    let within = begun.elapsed();
    assert!(within < grace, "{within:?}: this machine is too slow for the grace");
    for (session, _data) in &mut endless {
        session.expect_reply(426);
        session.expect_reply(421);
        session.expect_closed();
    }
    let (report, took) = stopping.join().expect("it stops");
    println!("{count} sessions: {report:?} after {took:?}, those that could end after {within:?}");
    let cut = endless.len();
    assert_eq!((report.drained, report.cut, report.stuck), (count - cut, cut, 0));
    let slack = Duration::from_secs(if scale::is_full() { 2 } else { 20 });
    // Stalled transfers are cut earlier than moving ones.
    assert!(took >= DRAIN_STALL && took < grace + slack, "{took:?}");
    let mut names: Vec<_> = (0..of_each).map(|n| format!("whole{n}")).collect();
    names.extend(["large".to_owned(), "middling".to_owned()]);
    names.sort();
    assert_eq!(super::published_in(root.path()), names);
    for n in 0..of_each {
        let whole = std::fs::read(root.path().join(format!("whole{n}"))).expect("a file");
        assert!(whole == small, "{} bytes", whole.len());
    }
    Some(())
}
