//! Messages for users: no terms of libraries, no system error numbers.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_tests::port::OwnPort;
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use crate::{failed, ftp};

/// Asserts that the output of a run contains no terms for programmers only.
#[track_caller]
fn speaks(ran: &Ran) {
    for bytes in [&ran.stdout, &ran.stderr] {
        let said = String::from_utf8_lossy(bytes);
        for word in ["os error", "Other(", "OtherError", "DnsName", "(UNIX)", "Some(", "Os {"] {
            assert!(!said.contains(word), "{word} in {ran:?}");
        }
    }
}

#[test]
fn error_messages_contain_no_error_numbers() {
    let (server, here, closed) = (OurServer::start(), TempRoot::new(), OwnPort::claim_closed());
    let (file, top) = (&server.url("file"), &server.url(""));
    let refused = &format!("ftp://{}/x", closed.address());
    let local = here.join("local").to_str().unwrap().to_owned();
    let none = "/proc/none/x";
    for (arguments, code) in [
        (&["get", file, none][..], 3),
        (&["get", "--trace=/proc/none/x", file, &local], 3),
        (&["get", "--password-file", none, "-u", "u", file, &local], 3),
        (&["get", "-u", "u", "--netrc-file", none, file, &local], 3),
        (&["get", refused, &local], 4),
        (&["put", none, file], 3),
        (&["mirror", none, top], 3),
        (&["batch", top, none], 3),
        (&["serve", none], 3),
        (&["serve", "--config", none], 3),
        (&["serve", "--tls-cert", none, "--tls-key", none], 2),
        (&["serve", "--set", "log.transfers=/proc/none/x/y"], 3),
        (&["serve", "--listen", "192.0.2.1:2121"], 4),
        (&["doctor", refused], 4),
    ] {
        for json in [false, true] {
            let mut ftp = ftp(arguments);
            if json && arguments[0] != "serve" {
                ftp.arg("--json");
            }
            let ran = run(ftp.current_dir(here.path()));
            assert_eq!(ran.code(), Some(code), "{ran:?}");
            speaks(&ran);
        }
    }
    for arguments in [
        &["serve", "--check", none][..],
        &["serve", "--check", "--listen", "192.0.2.1:2121"],
        &["serve", "--check", "--set", "log.transfers=/proc/none/x/y"],
    ] {
        speaks(&run(ftp(arguments).current_dir(here.path())));
    }
}

#[test]
fn a_setting_that_is_not_utf_8_is_refused() {
    let here = TempRoot::new();
    for option in ["--set", "--passive-address"] {
        let mut ftp = ftp(&["serve", "--check", option]);
        ftp.arg(OsStr::from_bytes(b"log.transfers=/tmp/\xff")).current_dir(here.path());
        failed(&run(&mut ftp), 2, "expected UTF-8");
    }
}

#[test]
fn certificate_errors_are_explained_in_words() {
    use ftp_tests::tls::{Authority, Kind};

    let (authority, root) = (Authority::new(), TempRoot::new());
    let ca = authority.write(&root, "ca.pem").into_os_string().into_string().unwrap();
    for (kind, words) in [
        (Kind::SelfSignedAuthority, "a CA certificate used as a server certificate"),
        (Kind::SelfSigned, "its issuer is not trusted"),
        (Kind::Expired, "it has expired (on 202"),
        (Kind::NotYetValid, "it is not valid yet (valid from 2100-"),
        (Kind::OtherName, "it is for another name (elsewhere.example.invalid, not 127.0.0.1)"),
        (
            Kind::OtherName,
            "; if elsewhere.example.invalid is the operator's name for this server, use it in the URL; \
             otherwise, ask the server's operator to confirm this pin, then use it with --pin",
        ),
        (Kind::OtherUsage, "it is not a server certificate"),
    ] {
        let pair = authority.issue(kind);
        let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
        let tls = ftp_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes());
        // Our server does not start with a certificate that is not valid now.
        let Ok(tls) = tls else { continue };
        let server = OurServer::at(
            std::net::Ipv4Addr::LOCALHOST,
            ftp_server::Server::builder().tls(tls),
            ftp_server::Rights::FULL,
        );
        let there = server.url("a").replacen("ftp", "ftpes", 1);
        for more in [&[][..], &["--json"]] {
            let ran = run(ftp(&["get", "--ca-file", &ca, &there, "-"]).args(more));
            failed(&ran, 5, words);
            speaks(&ran);
        }
        speaks(&run(&mut ftp(&["doctor", "--ca-file", &ca, &there])));
    }
}

#[test]
fn a_missing_ca_file_is_a_local_error_not_a_usage_error_li_06() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let url = server.url("a").replacen("ftp", "ftpes", 1);
    let text = here.write("text", b"no certificate").to_str().unwrap().to_owned();
    for (file, words) in
        [("/proc/none/ca.pem", "No such file or directory"), (&text, "no certificate")]
    {
        let ran = run(&mut ftp(&["get", "--ca-file", file, &url, "-"]));
        failed(&ran, 3, words);
        speaks(&ran);
        let ran = run(&mut ftp(&["ls", "--json", "--ca-file", file, &url]));
        assert!(String::from_utf8_lossy(&ran.stdout).contains(r#""kind":"local","exit":3"#));
    }
}
