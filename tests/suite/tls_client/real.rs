//! Servers of other projects in all their modes: explicit and implicit, with either version, with
//! and without required resumption, passive and active. The table lists what a server cannot do; a
//! row that no longer holds fails.

use ftp_client::{Mode, TlsVersion};
use ftp_tests::at_once::at_once;
use ftp_tests::content::large;
use ftp_tests::peer::RealServer;
use ftp_tests::tls::{Authority, Kind, Secured, Version};

use super::session::{STEPS, Step, connect, info, put, step};

/// How a server is started, and what it cannot do then.
struct Server<'a> {
    start: fn(Secured<'_>) -> Option<RealServer>,
    implicit: &'a [bool],
    reuse: &'a [bool],
    lacks: &'a [Lack],
}

/// A failing step, and a part of the client's message.
struct Lack {
    what: Step,
    says: &'static str,
}

impl Server<'_> {
    fn works_with_our_client(&self) {
        let authority = Authority::new();
        let pair = authority.issue(Kind::Good);
        let with = |version, implicit, reuse| {
            let version = Some(version);
            Secured { pair: &pair, version, implicit, reuse }
        };
        let ways: Vec<_> = Version::ALL
            .into_iter()
            .flat_map(|version| self.implicit.iter().map(move |&implicit| (version, implicit)))
            .flat_map(|(version, implicit)| {
                self.reuse.iter().map(move |&reuse| with(version, implicit, reuse))
            })
            .collect();
        at_once(4, ways, |secured| {
            let Some(site) = (self.start)(secured) else { return };
            for mode in [Mode::Passive, Mode::Active] {
                let Secured { version, implicit, reuse, .. } = secured;
                let case = format!("{version:?} implicit {implicit} reuse {reuse} {mode:?}");
                self.run_all_steps(&site, &authority, mode, secured, &case);
            }
        });
    }

    fn run_all_steps(
        &self,
        site: &RealServer,
        authority: &Authority,
        mode: Mode,
        secured: Secured<'_>,
        case: &str,
    ) {
        let client = connect(site, authority, mode, secured.implicit);
        let mut client = client.unwrap_or_else(|error| panic!("{case}: {error}"));
        let want = match secured.version {
            Some(Version::V1_2) => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        };
        assert_eq!(info(&client).version, want, "{case}");
        let more = large().then_some([Step::Put(64 << 20), Step::Get(64 << 20)]);
        let steps = STEPS.into_iter().chain(more.into_iter().flatten());
        for (index, what) in steps.enumerate() {
            let done = step(&mut client, site, what);
            let lack = self.lacks.iter().find(|lack| lack.what == what);
            match (done, lack) {
                (Ok(()), None) => {}
                (Err(error), Some(lack)) if error.contains(lack.says) => {}
                (done, _) => panic!("{case}: {index} {what:?}: {done:?}"),
            }
        }
        if secured.reuse {
            let info = info(&client);
            // All except those that only brought new tickets.
            assert!(info.resumed >= 14, "{case}: {info:?}");
        }
        client.quit().unwrap_or_else(|error| panic!("{case}: QUIT: {error}"));
        site.clear();
    }
}

#[test]
fn vsftpd_dv_30_tl_16() {
    Server {
        start: |secured| RealServer::vsftpd_tls([127, 0, 0, 1], secured),
        implicit: &[false, true],
        reuse: &[false, true],
        lacks: &[],
    }
    .works_with_our_client();
}

#[test]
fn proftpd_dv_30_tl_16() {
    Server {
        start: |secured| RealServer::proftpd_tls([127, 0, 0, 1], secured),
        implicit: &[false, true],
        reuse: &[false, true],
        lacks: &[],
    }
    .works_with_our_client();
}

#[test]
fn pure_ftpd_tl_16() {
    Server {
        start: |secured| RealServer::pure_ftpd_tls([127, 0, 0, 1], secured),
        implicit: &[false],
        reuse: &[false],
        lacks: &[],
    }
    .works_with_our_client();
}

#[test]
fn pyftpdlib_tl_16() {
    Server {
        start: |secured| RealServer::pyftpdlib_tls([127, 0, 0, 1], secured),
        implicit: &[false, true],
        reuse: &[false],
        lacks: &[],
    }
    .works_with_our_client();
}

/// Uploads bring no new ticket from some servers, and use one: a client that does not get more
/// fails at the third.
#[test]
fn fifty_uploads_resume_tls_sessions_when_required_dv_30_tl_16() {
    let authority = Authority::new();
    let pair = authority.issue(Kind::Good);
    let demand = Secured { version: Some(Version::V1_3), reuse: true, ..Secured::by(&pair) };
    let vsftpd = RealServer::vsftpd_tls([127, 0, 0, 1], demand);
    let proftpd = RealServer::proftpd_tls([127, 0, 0, 1], demand);
    for site in [vsftpd, proftpd].into_iter().flatten() {
        let mut client = connect(&site, &authority, Mode::Passive, false).unwrap();
        for index in 0..50_u8 {
            let bytes = vec![index; usize::from(index) * 100];
            put(&mut client, "file", 0, &bytes).unwrap_or_else(|error| panic!("{index}: {error}"));
            assert_eq!(site.root.read("file"), bytes, "{index}");
        }
        assert!(info(&client).resumed >= 50, "{:?}", info(&client));
        client.quit().unwrap();
    }
}
