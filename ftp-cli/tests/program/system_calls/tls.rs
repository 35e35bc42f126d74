//! The same for a login and an upload under TLS: shorter, since everything else is as in plaintext.

use std::io::Write;
use std::net::TcpStream;

use ftp_tests::peer::Peer;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::tls::{Authority, Kind, PairFiles, TlsClient};
use ftp_tests::wait::{at_last_or, wait_until};

use super::{CALLS, Injection, LIMIT};
use crate::figures::{open_descriptors, thread_names, wait_for_sweep};
use crate::serve::Served;

/// The calls that differ under TLS.
const OF_TLS: [&str; 8] =
    ["recvfrom", "sendto", "poll", "ppoll", "read", "write", "shutdown", "fcntl"];

/// The progress of a dialogue: the code of its last reply before that to QUIT, and its first fault.
fn play(
    served: &Served,
    client: &TlsClient,
    root: &TempRoot,
    content: &[u8],
) -> Result<u16, String> {
    let mut session = RawSession::connect(served.address);
    session.set_deadline(LIMIT);
    let mut last = 0;
    let mut ask = |session: &mut RawSession, line: &str, want: u16| {
        if !line.is_empty() && session.try_send(format!("{line}\r\n")).is_err() {
            return false;
        }
        let code = session.try_reply().map_or(0, |reply| reply.code);
        last = code;
        code == want
    };
    if !ask(&mut session, "", 220) || !ask(&mut session, "AUTH TLS", 234) {
        return Ok(last);
    }
    let tcp = session.stream().try_clone().unwrap();
    let Ok(tls) = client.connect(tcp) else { return Ok(0) };
    session.put_on(Box::new(tls));
    for (line, want) in
        [("USER u", 331), ("PASS p", 230), ("PBSZ 0", 200), ("PROT P", 200), ("TYPE I", 200)]
    {
        if !ask(&mut session, line, want) {
            return Ok(last);
        }
    }
    if session.try_send("EPSV\r\n").is_err() {
        return Ok(0);
    }
    let Ok(reply) = session.try_reply() else { return Ok(0) };
    if reply.code != 229 {
        return Ok(reply.code);
    }
    // A server that cannot serve the session further closes the port it announced.
    let Ok(data) = TcpStream::connect(session.data_address(&reply)) else { return Ok(0) };
    if !ask(&mut session, "STOR up", 150) {
        return Ok(last);
    }
    if let Ok(mut data) = client.connect(data) {
        // The reply reports a broken connection.
        let _ = data.write_all(content).and_then(|()| data.finish());
    }
    let code = session.try_reply().map_or(0, |reply| reply.code);
    let stored = root.path().join("up");
    let is_whole = std::fs::read(&stored).is_ok_and(|stored| stored == content);
    if code == 226 && !is_whole {
        return Err("226 is not true".to_owned());
    }
    if stored.exists() && !is_whole {
        return Err("a part of an upload has its name".to_owned());
    }
    let _ = std::fs::remove_file(stored);
    let _ = session.try_send("QUIT\r\n");
    let _ = session.try_reply();
    Ok(code)
}

#[test]
fn the_server_survives_failing_system_calls_of_a_tls_login_at_scale_go_06() {
    let Some(strace) = Peer::find("strace") else { return };
    let (root, etc, authority) = (TempRoot::new(), TempRoot::new(), Authority::new());
    let PairFiles { certificate, key, .. } = authority.issue(Kind::Good).write(&etc, "server");
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let pair = ["--write", "--user", "u:p", "--tls-cert", certificate, "--tls-key", key];
    let settings = ["--set", "timeouts.data_connect=10 s", "--set", "timeouts.stall=12 s"];
    let settings = [&settings[..], &["--set", "transfer.partial=discard"]].concat();
    let served = Served::start(&root, &[&pair[..], &settings].concat());
    let process = served.running.child.id();
    wait_for_sweep(process);
    let content: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
    let at_rest = thread_names(process);
    let dialogue = || play(&served, &TlsClient::trusting(&authority), &root, &content);
    assert_eq!(dialogue(), Ok(226), "nothing fails");
    let left = || format!("{:?} are left, {at_rest:?} rest", thread_names(process));
    let settle = || at_last_or(left, || (thread_names(process) == at_rest).then_some(()));
    settle();
    let usual = open_descriptors(process);
    let (mut trials, mut wrong) = (0, Vec::new());
    for (call, errors) in CALLS.iter().filter(|(call, _)| OF_TLS.contains(call)) {
        for error in *errors {
            let first = if *call == "recvfrom" { 2 } else { 1 };
            for n in first..=scale::count(2, 1_000) {
                let what =
                    [format!("--trace={call}"), format!("--inject={call}:error={error}:when={n}")];
                settle();
                let injection = Injection::start(&strace, process, etc.path().join("trace"), &what);
                let came = dialogue();
                trials += 1;
                match came {
                    Err(why) => wrong.push(format!("{call} {n} {error}: {why}")),
                    Ok(code) if *error == "EINTR" && code != 226 => {
                        wrong.push(format!("{call} {n} {error}: {code}"));
                    }
                    Ok(_) => {}
                }
                if injection.stop() == 0 {
                    break;
                }
                assert!(n < 1_000, "{call} has no end");
            }
        }
    }
    println!("{trials} dialogues under TLS");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    settle();
    assert_eq!(dialogue(), Ok(226), "nothing fails any more");
    wait_until("descriptors to be as many as before", || open_descriptors(process) == usual);
    assert!(root.names().is_empty(), "{:?}", root.names());
}
