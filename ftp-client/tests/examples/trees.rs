//! `TreeSync` as a program uses it that embeds the library, with our server.

use std::path::PathBuf;
use std::sync::Mutex;

use ftp_client::tree::{LinkChoice, Setting, SyncOptions, TreeSide, TreeSync};
use ftp_client::{Client, Error, ErrorKind, Event, Pool};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

fn pool(server: &OurServer) -> Pool<'_> {
    Pool::new(|| {
        let mut client = Client::builder().connect(&server.address.to_string())?;
        client.login(server.user, server.password).map(|()| client)
    })
}

#[test]
fn a_dry_run_only_plans() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    here.write("new", b"new");
    server.root.write("t/old", b"old");
    let pool = pool(&server);
    let (from, to) = (TreeSide::local(here.path()), TreeSide::remote(&pool, "t"));
    let options = SyncOptions::new().deletes(true).is_dry(true);
    let sync = TreeSync::plan(&from, &to, &options, &()).unwrap();
    assert_eq!((sync.steps().count(), sync.excess()), (2, None));
    let (summary, result) = sync.run(&());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(summary, Default::default());
    assert_eq!(server.root.read("t/old"), b"old");
    assert!(!server.root.join("t/new").exists());
}

#[test]
fn a_sync_between_servers_refuses_what_it_cannot_do() {
    let (one, other) = (OurServer::start(), OurServer::start());
    one.root.write("t/file", b"file");
    let (one_pool, other_pool) = (pool(&one), pool(&other));
    let (from, to) = (TreeSide::remote(&one_pool, "t"), TreeSide::remote(&other_pool, "new"));
    for (options, setting) in [
        (SyncOptions::new().backup(Some(PathBuf::from("old"))), Setting::Backup),
        (SyncOptions::new().moves(true), Setting::Moves),
        (SyncOptions::new().links(LinkChoice::Keep), Setting::Links),
    ] {
        let Err(Error::Tree(fault)) = TreeSync::plan(&from, &to, &options, &()) else {
            panic!("{setting:?} was planned");
        };
        assert_eq!((fault.kind(), fault.setting()), (ErrorKind::Usage, Some(setting)));
    }
}

#[test]
fn events_of_a_tree_name_paths_below_its_top() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    server.root.write("t/d/file", b"file");
    let pool = pool(&server);
    let (from, to) = (TreeSide::remote(&pool, "t"), TreeSide::local(here.join("new")));
    let seen = Mutex::new(Vec::new());
    let note = |event: Event<'_>| {
        if let Event::Of {
            path,
            event: Event::Begun { source, target, .. } | Event::Done { source, target, .. },
        } = event
        {
            assert_eq!((path, path), (*source, *target));
            seen.lock().unwrap().push(path.to_vec());
        }
    };
    let sync = TreeSync::plan(&from, &to, &SyncOptions::new(), &note).unwrap();
    sync.run(&note).1.unwrap();
    assert_eq!(*seen.lock().unwrap(), [b"d/file", b"d/file"]);
    assert_eq!(here.read("new/d/file"), b"file");
}
