use std::cell::RefCell;
use std::io::Write;
use std::net::{TcpListener, TcpStream};

use ftp_tests::wait::{at_last, patiently};

use super::*;
use crate::auth::{Login, Rights, UserTable};
use crate::config::ServerConfig;
use crate::context::Context;
use crate::data::PassivePorts;
use crate::net::admission::Admission;
use crate::storage::MemoryStorage;

#[test]
fn a_port_that_is_not_used_is_closed_dc_12() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(local).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    let admission = Admission::new(1, 0);
    let permit = admission.admit(peer.ip()).unwrap();
    let context = Context::new(ServerConfig::default(), Arc::new(UserTable::new()), admission);
    let registration = context.register.enter(stream, peer);
    let session = Session::new(Current::new(context), Ends::direct(peer, local));
    let mut runner = Runner::new(registration, session, permit);
    let now = Instant::now();
    let passive = || PassivePorts::new(None).listen(local, peer.ip()).unwrap();
    runner.session.transfer.channel = Some(DataChannel::Passive(passive()));
    let idle = Duration::from_millis(100);
    assert!(matches!(runner.next(now, idle), InputArrival::TimedOut));
    assert!(runner.session.transfer.channel.is_some(), "the session ends before the port does");
    let runner = RefCell::new(runner);
    patiently(Duration::from_millis(500), |idle| {
        let now = Instant::now();
        let almost = limits::UNUSED_LISTENER - idle / 5;
        let long_ago = now.checked_sub(almost).expect("this machine runs for a minute");
        let listener = passive().backdated(long_ago);
        runner.borrow_mut().session.transfer.channel = Some(DataChannel::Passive(listener));
        assert!(matches!(runner.borrow_mut().next(now, idle), InputArrival::TimedOut));
        assert!(now.elapsed() >= idle, "the port ends before the session does");
        assert!(runner.borrow().session.transfer.channel.is_none());
    });
    let mut runner = runner.into_inner();

    runner.session.transfer.channel = Some(DataChannel::Passive(passive()));
    client.write_all(b"NOOP\r\n").unwrap();
    let arrival = runner.next(Instant::now(), Duration::from_secs(300));
    assert!(matches!(arrival, InputArrival::Event(LineEvent::Line(_))));
    assert!(runner.session.transfer.channel.is_some());
}

#[test]
fn a_network_in_debt_waits_before_its_next_command_hs_37() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let _client = TcpStream::connect(local).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    let admission = Admission::new(1, 0);
    let permit = admission.admit(peer.ip()).unwrap();
    let login = Login::new(Arc::new(MemoryStorage::new()), Rights::FULL);
    let users = Arc::new(UserTable::new().user("u", "p", login));
    let context = Context::new(ServerConfig::default(), users, admission);
    let registration = context.register.enter(stream, peer);
    let session = Session::new(Current::new(Arc::clone(&context)), Ends::direct(peer, local));
    let mut runner = Runner::new(registration, session, permit);
    let mut took = |verb, argument: &[u8]| {
        let begun = Instant::now();
        assert_eq!(runner.execute(verb, argument).unwrap(), Next::Continue);
        begun.elapsed()
    };
    // Half of the processors pay this debt beyond the credit in 0.4 s.
    let processors = u32::try_from(crate::budget::processors());
    let debt = Duration::from_secs(1) + processors.unwrap() * Duration::from_millis(200);
    took(Verb::User, b"u");
    took(Verb::Pass, b"p");
    let wait = Duration::from_millis(100);
    // A delay of this thread pays it too.
    at_last("the command waits", || {
        context.processor.pay_time(peer.ip(), debt);
        (took(Verb::Noop, b"") >= wait).then_some(())
    });
    patiently(wait, |limit| assert!(context.processor.wait(peer.ip()) < limit));
    // Costs of commands are charged.
    let before = context.processor.wait(peer.ip());
    runner.spend(debt);
    assert!(context.processor.wait(peer.ip()) > before + wait);
}

#[test]
fn http_is_recognised_fr_30() {
    for (line, want) in [
        ("GET / HTTP/1.1", true),
        ("POST /x y HTTP/1.0", true),
        ("Host: example.org", true),
        ("GET x", false),
        ("USER HTTP/", false),
        ("HOST example.org", false),
        ("", false),
    ] {
        assert_eq!(is_http(line.as_bytes()), want, "{line}");
    }
}
