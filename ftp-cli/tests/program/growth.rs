//! `--jobs auto`: connections are added while files wait for replies, and no file is lost to a server
//! that wants fewer.

use std::fs;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use ftp_server::testing::{ProtocolFault, Recorded, Recorder};
use ftp_server::{Limits, Server, ServerBuilder, ServerConfig, Verb};
use ftp_tests::at_once::at_once;
use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::peer::RealServer;
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::site::OurServer;

use crate::ftp;
use crate::mirror::{mirror, shown, tree};
use crate::relay::Relay;

/// The number of files in a tree.
const FILES: usize = 80;

/// A server whose replies take 10 ms, or as long as requested.
struct Slow {
    server: OurServer,
    recorder: Recorder,
}

impl Slow {
    fn new(config: ServerConfig, faults: &[(Verb, u64, ProtocolFault)]) -> Self {
        Self::replying(Duration::from_millis(10), config, faults)
    }

    fn replying(
        after: Duration,
        config: ServerConfig,
        faults: &[(Verb, u64, ProtocolFault)],
    ) -> Self {
        let delay = ProtocolFault::Delay(after);
        let login = [Verb::User, Verb::Pass, Verb::Feat, Verb::Opts, Verb::Type, Verb::Noop];
        let facts =
            [Verb::Size, Verb::Mdtm, Verb::Mfmt, Verb::Mlst, Verb::Pwd, Verb::Cwd, Verb::Mkd];
        let rest = [
            Verb::Mlsd,
            Verb::List,
            Verb::Epsv,
            Verb::Retr,
            Verb::Stor,
            Verb::Mode,
            Verb::Dele,
            Verb::Quit,
        ];
        let verbs = login.into_iter().chain(facts).chain(rest);
        let slow = verbs.flat_map(|verb| (1..=300).map(move |nth| (verb, nth, delay)));
        let recorder = Recorder::default();
        let builder = Server::builder().config(config).recorder(&recorder);
        let with = |builder: ServerBuilder, (verb, nth, fault)| builder.fault(verb, nth, fault);
        let builder = faults.iter().copied().chain(slow).fold(builder, with);
        Self { server: OurServer::built(builder), recorder }
    }

    /// Returns the number of accepted logins and of refused sessions, and forgets them.
    fn sessions(&self) -> (usize, usize) {
        let records = self.recorder.records();
        let is_refused =
            |what: &Recorded| matches!(what, Recorded::Refused(_) | Recorded::LoginRefused { .. });
        let count = |is: &dyn Fn(&Recorded) -> bool| {
            records.iter().filter(|record| is(&record.what)).count()
        };
        self.recorder.clear();
        (count(&|what| matches!(what, Recorded::LoggedIn { .. })), count(&is_refused))
    }
}

fn fill(root: &TempRoot, top: &str) {
    for number in 0..FILES {
        root.write(format!("{top}/{}/{number}", number % 3), format!("file {number}").as_bytes());
    }
}

/// Copies a tree and a list of files each way. Calls `check` after each command.
fn each_way(server: &OurServer, mut check: impl FnMut(&str, &Ran)) {
    let here = TempRoot::new();
    fill(&here, "src");
    let source = tree(&here.join("src"));
    let ran = mirror(&[], shown(&here.join("src")), &server.url("tree"));
    ran.exited(0);
    assert_eq!(tree(&server.root.join("tree")), source);
    check("up", &ran);
    let ran = mirror(&["-j", "auto"], &server.url("tree"), shown(&here.join("back")));
    ran.exited(0);
    assert_eq!(tree(&here.join("back")), source);
    check("down", &ran);
    let names: Vec<_> = (0..FILES).map(|number| format!("0/{number}")).collect();
    let names: Vec<_> = names.iter().filter(|name| here.join("src").join(name).exists()).collect();
    let ran = run(ftp(&["put"]).current_dir(here.join("src")).args(&names).arg(server.url("")));
    ran.exited(0);
    check("put", &ran);
    let got = here.mkdir("got");
    let urls = names.iter().map(|name| server.url(&name[2..]));
    let ran = run(ftp(&["get", "-P"]).arg(&got).args(urls));
    ran.exited(0);
    check("get", &ran);
    for name in names {
        assert_eq!(fs::read(got.join(&name[2..])).unwrap(), here.read(format!("src/{name}")));
    }
}

#[test]
fn files_that_wait_for_replies_share_up_to_four_connections_cl_77() {
    let are_shared = |after: u64| {
        let after = Duration::from_millis(after);
        let slow = Slow::replying(after, ServerConfig::default(), &[]);
        let mut always = true;
        each_way(&slow.server, |way, _| {
            let (accepted, refused) = slow.sessions();
            assert!((1..=4).contains(&accepted) && refused == 0, "{way}: {accepted}");
            always &= accepted >= 2;
        });
        always
    };
    // On a busy machine, a login can take longer than another connection would save.
    assert!(are_shared(10) || are_shared(50));
}

#[test]
fn few_files_of_a_near_server_need_one_connection_cl_77() {
    let recorder = Recorder::default();
    let server = OurServer::built(Server::builder().recorder(&recorder));
    let here = TempRoot::new();
    (0..4).for_each(|number| drop(here.write(format!("src/{number}"), b"content")));
    mirror(&[], shown(&here.join("src")), &server.url("tree")).exited(0);
    let is_login = |what: &Recorded| matches!(what, Recorded::LoggedIn { .. });
    let logins = recorder.records().iter().filter(|record| is_login(&record.what)).count();
    assert_eq!(logins, 1);
}

#[test]
fn a_server_that_wants_fewer_is_asked_for_one_too_many_at_most_once_cl_77() {
    for limit in [1, 2, 3] {
        let config = ServerConfig::new().limits(Limits::new().per_user(limit));
        let slow = Slow::new(config, &[]);
        each_way(&slow.server, |way, ran| {
            let (accepted, refused) = slow.sessions();
            // The run may end before it tries one too many.
            assert!(accepted <= limit && refused <= 1, "{way} {limit}: {accepted} {refused}");
            // The totals of a tree are its only line.
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(said.lines().all(|line| line.contains(" copied, ")), "{way} {limit} {said}");
        });
    }
}

/// The second connection is closed before its login, after it, and at its first file.
#[test]
fn a_connection_that_is_lost_at_once_costs_no_file_cl_77() {
    for verb in [Verb::User, Verb::Pass, Verb::Mode] {
        let slow = Slow::new(ServerConfig::default(), &[(verb, 2, ProtocolFault::Close)]);
        let here = TempRoot::new();
        fill(&here, "src");
        let ran = mirror(&[], shown(&here.join("src")), &slow.server.url("tree"));
        ran.exited(0);
        assert_eq!(tree(&slow.server.root.join("tree")), tree(&here.join("src")), "{verb}");
        let (accepted, _) = slow.sessions();
        // Others may begin before the second is lost, but none takes its place. If no file has gone over
        // mode B yet, one more shows that it was not that mode.
        assert!(accepted <= 4 + usize::from(verb == Verb::Mode), "{verb} {accepted}");
    }
}

#[test]
fn other_promises_hold_with_several_connections_cl_77() {
    let slow = Slow::new(ServerConfig::default(), &[]);
    for options in [
        &["--temp"][..],
        &["--remove-source"],
        &["--limit-rate", "1M"],
        &["--delete"],
        &["--backup-dir", "old"],
    ] {
        let here = TempRoot::new();
        fill(&here, "src");
        let source = tree(&here.join("src"));
        let _ = fs::remove_dir_all(slow.server.root.join("tree"));
        slow.server.root.write("tree/extra", b"x");
        mirror(options, shown(&here.join("src")), &slow.server.url("tree")).exited(0);
        let mut there = tree(&slow.server.root.join("tree"));
        if options[0] != "--delete" {
            there.retain(|(path, _)| !path.ends_with("extra"));
        }
        assert_eq!(there, source, "{options:?}");
        let left = tree(&here.join("src")).iter().filter(|(_, file)| file.is_some()).count();
        assert_eq!(left == 0, options[0] == "--remove-source", "{options:?}");
    }
}

#[test]
fn limits_of_other_servers_lose_no_file_at_scale_cl_77() {
    type Start = fn(usize) -> Option<RealServer>;
    let servers: [Start; 5] = [
        |limit| RealServer::proftpd_also(&format!("MaxClientsPerHost {limit}\n")),
        |limit| RealServer::proftpd_also(&format!("MaxClientsPerUser {limit}\n")),
        |limit| RealServer::proftpd_also(&format!("MaxConnectionsPerHost {limit}\n")),
        |limit| RealServer::vsftpd_also(&format!("max_per_ip={limit}\n"), "UTC"),
        |limit| RealServer::pure_ftpd_also(&["--maxclientsperip", &limit.to_string()]),
    ];
    let files = count(150, 300);
    let limited = [1, 3, 2]
        .into_iter()
        .take(count(2, 3))
        .flat_map(|limit| servers.map(|start| (start, limit)));
    at_once(4, limited, |(start, limit)| {
        // A server may still count the connections of the first command during the second.
        let (Some(up), Some(down)) = (start(limit), start(limit)) else { return };
        let here = TempRoot::new();
        for number in 0..files {
            here.write(format!("src/{number}"), b"content");
            down.root.write(format!("tree/{number}"), b"content");
        }
        mirror(&[], shown(&here.join("src")), &up.url("tree")).exited(0);
        assert_eq!(up.root.join("tree").read_dir().unwrap().count(), files);
        mirror(&[], &down.url("tree"), shown(&here.join("back"))).exited(0);
        assert_eq!(here.join("back").read_dir().unwrap().count(), files);
    });
}

/// The login of the second connection is never answered.
#[test]
fn a_connection_that_nobody_needs_any_more_is_not_waited_for_cl_77() {
    let slow = Slow::new(ServerConfig::default(), &[]);
    let here = TempRoot::new();
    fill(&here, "src");
    let (open, never) = mpsc::channel::<()>();
    let never = Mutex::new(never);
    let relay = Relay::numbered(slow.server.address, move |number, _| {
        if number > 0 {
            let _ = never.lock().unwrap().recv();
        }
    });
    let url = slow
        .server
        .url("tree")
        .replace(&slow.server.address.to_string(), &relay.address.to_string());
    // The program is killed, and fails, long before this timeout.
    mirror(&["--reply-timeout", "5min"], shown(&here.join("src")), &url).exited(0);
    assert_eq!(tree(&slow.server.root.join("tree")), tree(&here.join("src")));
    drop(open);
}

/// Appending twice would double the bytes, whichever connection is lost.
#[test]
fn an_append_whose_connection_is_lost_is_not_repeated_by_another_one_cl_77() {
    for nth in 1..=6 {
        let fault = ProtocolFault::Abort { after: 3 };
        let lost = [(Verb::Appe, nth, fault), (Verb::Appe, nth + 1, ProtocolFault::Close)];
        let slow = Slow::new(ServerConfig::default(), &lost);
        let here = TempRoot::new();
        let names: Vec<_> = (0..40).map(|number| format!("f{number}")).collect();
        names.iter().for_each(|name| drop(here.write(name, b"content")));
        let mut put = ftp(&["put", "--append"]);
        let ran = run(put.current_dir(here.path()).args(&names).arg(slow.server.url("")));
        assert!(ran.code().is_some_and(|code| code > 0), "{nth}");
        let commands = slow.recorder.commands();
        for name in names {
            let line = format!("APPE {name}");
            let sent = commands.iter().filter(|command| **command == line).count();
            assert!(sent <= 1, "{name}: {sent}");
        }
    }
}

#[test]
fn a_server_with_one_session_gets_all_files_over_one_connection_cl_77() {
    let kind = || Kind { kicks: true, delays: 10, no_mlsd: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind()));
    let names: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    for name in &names {
        server.write(name, name.as_bytes());
        here.write(format!("up/{name}"), name.as_bytes());
    }
    let got = here.mkdir("got");
    let urls = names.iter().map(|name| server.url(name));
    run(ftp(&["get", "-P"]).arg(&got).args(urls)).exited(0);
    let source = FoldingServer::start(kind());
    run(ftp(&["put"]).current_dir(here.join("up")).args(&names).arg(source.url(""))).exited(0);
    for name in &names {
        assert_eq!(fs::read(got.join(name)).unwrap(), name.as_bytes());
        assert_eq!(source.read(name).unwrap(), name.as_bytes());
    }
    for server in [server, source] {
        // The first connection, another one that ends it, and the first worker's next one.
        assert!(server.logins() <= 4, "{}", server.logins());
    }
}
