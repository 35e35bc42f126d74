//! The examples of the README: those for scripts are run as they stand there, but for the names of
//! hosts, and all of them can be parsed.

use std::process::Command;

use ftp_proto::Network;
use ftp_server::{Rights, Server, ServerConfig};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;

use crate::ftp;

const README: &str = include_str!("../../../README.md");

/// The lines of the block for shells below a heading, without comments.
fn examples(heading: &str) -> Vec<&'static str> {
    let (_, rest) = README.split_once(&format!("\n### {heading}\n")).unwrap();
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    block.lines().map(|line| line.split("  #").next().unwrap().trim_end()).collect()
}

/// A server under TLS, where there is TLS, which the authority in a file vouches for.
fn served(root: &TempRoot, authority: &TempRoot) -> Server {
    let fxp_networks = Network::parse(b"127.0.0.0/8").into_iter().collect();
    let config = ServerConfig::default().with(|config| config.fxp_networks = fxp_networks);
    let rights = Rights::FULL | Rights::FXP;
    let mut builder = Server::builder().root(root.path()).config(config).anonymous(Rights::READ);
    for user in ["me", "you", "backup"] {
        builder = builder.user(user, "secret", rights);
    }
    #[cfg(feature = "tls")]
    {
        let issuer = ftp_tests::tls::Authority::new();
        let pair = issuer.issue(ftp_tests::tls::Kind::Good);
        let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
        let _ca = issuer.write(authority, "ca.pem");
        builder =
            builder.tls(ftp_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap());
    }
    #[cfg(not(feature = "tls"))]
    let _ = authority;
    builder.bind("127.0.0.1:0").unwrap()
}

#[test]
fn examples_for_scripts_do_what_they_say() {
    let (root, here, bin) = (TempRoot::new(), TempRoot::new(), TempRoot::new());
    for name in ["a.iso", "pub/a.iso", "pub/b.iso", "inbox/old"] {
        root.mkdir(name.split_once('/').map_or("", |(directory, _)| directory));
        root.write(name, name.as_bytes());
    }
    here.mkdir("new");
    here.write("both", b"secret\nsecret\n");
    here.write("jobs.txt", b"put jobs.txt\nls\n");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ftp-cli"), bin.join("ftp-cli")).unwrap();
    let server = served(&root, &here);
    let address = server.local_addr().to_string();
    let lines = examples("Script");
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines.into_iter().filter(|it| cfg!(feature = "tls") || !it.contains("ftpes")) {
        let mut line = line.replace("/etc |", "jobs.txt |").replace("nat.example.org", "127.0.0.1");
        for host in ["host", "one", "two"] {
            line = line.replace(&format!("/{host}"), &format!("/{address}"));
            line = line.replace(&format!("@{host}"), &format!("@{address}"));
        }
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().current_dir(here.path()).env("FTP_PASSWORD", "secret");
        shell.env("PATH", format!("{}:/usr/bin:/bin", bin.path().display())).env("HOME", "/");
        run(shell.args(["-c", &line])).succeeded();
    }
    for (local, want) in [
        ("a.iso", "a.iso"),
        ("new/a.iso", "pub/a.iso"),
        ("new/b.iso", "pub/b.iso"),
        ("pub/b.iso", "pub/b.iso"),
    ] {
        assert_eq!(std::fs::read(here.join(local)).unwrap(), want.as_bytes(), "{local}");
    }
    assert!(std::fs::read(root.join("etc.tar")).unwrap().len() >= 1_024);
    assert_eq!(std::fs::read(root.join("inbox/jobs.txt")).unwrap(), b"put jobs.txt\nls\n");
    // By fxp, and from there to a.iso here.
    assert_eq!(std::fs::read(root.join("pub/a.iso")).unwrap(), b"a.iso");
}

#[test]
fn examples_for_serving_name_options_that_are_there() {
    for line in examples("Serve") {
        // What is wrong with the options is found before they are acted upon: help stands in.
        let words: Vec<String> = line.split(' ').skip(1).map(|it| it.replace('"', "")).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push("--help");
        let help = run(&mut ftp(&words)).succeeded();
        assert!(String::from_utf8(help).unwrap().contains("ftp-cli "), "{line}");
    }
}
