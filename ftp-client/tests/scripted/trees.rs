//! Trees on a model of a server, which counts its commands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use ftp_client::file::Targets;
use ftp_client::pool::Repeat;
use ftp_client::tree::{Compare, RemoveOptions, Summary, SyncOptions, TreeSide, TreeSync};
use ftp_client::{Client, Error, Event, FileOptions, Place, Pool, Put, TimeVal};
use ftp_tests::at_once::at_once;

use crate::peer::{Peer, timeouts};

/// A server: its files, `None` for a directory, and the commands that it got.
#[derive(Debug, Default)]
struct Model {
    world: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
    lines: Mutex<Vec<String>>,
    /// The reply to a path in any command but `CWD`, if only names are taken.
    no_paths: Option<&'static str>,
    /// Whether `CWD` takes one name only.
    one_step: bool,
    /// The login directory, of which all paths are.
    login: &'static str,
    /// The content that the file gets, and its time, when it was sent for the first time.
    changes: Mutex<Option<&'static str>>,
    /// Whether it sets times (`MFMT`), and the times that it has.
    sets_times: bool,
    times: Mutex<BTreeMap<String, String>>,
    /// Whether it neither lists nor sends names that begin with a dot.
    hides_dots: bool,
    /// The first `RNTO` to this path ends the connection, and later renames of its file are refused.
    loses: Mutex<Option<&'static str>>,
    /// With `loses`, the rename is carried out, and then another user stores this under the old name.
    theirs: Mutex<Option<&'static str>>,
    /// Whether it sets no times, but tells them (`MDTM`).
    only_tells_times: bool,
    /// An upload, and what another user stores over `a` meanwhile.
    meddles: Mutex<Option<(&'static str, &'static str)>>,
    /// What another user stores over `page` once it has its time.
    overwrites: Mutex<Option<&'static str>>,
    /// Whether it refuses all listings.
    lists_nothing: bool,
    /// A local file and its content, which is written when the first time is set.
    rewrites: Mutex<Option<(PathBuf, &'static str)>>,
}

impl Model {
    /// Starts the server, which takes any number of connections.
    fn start(self) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let model = Arc::new(self);
        let shared = Arc::clone(&model);
        std::thread::spawn(move || {
            for control in listener.incoming() {
                let model = Arc::clone(&shared);
                std::thread::spawn(move || model.serve(Peer::new(control.unwrap())));
            }
        });
        (model, address)
    }

    fn files(&self) -> Vec<String> {
        self.world.lock().unwrap().keys().cloned().collect()
    }

    fn serve(&self, mut peer: Peer) {
        let (mut cwd, mut from) = (String::new(), String::new());
        peer.reply("220 ready");
        loop {
            let line = String::from_utf8(peer.line()).unwrap();
            let (verb, argument) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            self.lines.lock().unwrap().push(line.trim_end().to_owned());
            let argument = argument.strip_prefix("-a").unwrap_or(argument).trim();
            let is_path = argument.trim_start_matches('/').contains('/');
            let path = match argument.strip_prefix('/') {
                Some(path) => path.to_owned(),
                None if cwd.is_empty() => argument.to_owned(),
                None => format!("{cwd}/{argument}"),
            };
            let path = path.trim_matches('/').to_owned();
            let above = path.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
            let mut world = self.world.lock().unwrap();
            let is_directory =
                |path: &str| path.is_empty() || world.get(path).is_some_and(Option::is_none);
            let (is_there, is_above) = (is_directory(&path), is_directory(&above));
            let is_hidden = self.hides_dots && path.starts_with('.');
            let refusal = self.no_paths.filter(|_| is_path && verb != "CWD");
            match verb {
                "" => return,
                "USER" => peer.reply("331 password"),
                "PASS" => peer.reply("230 in"),
                "TYPE" | "NOOP" => peer.reply("200 ok"),
                "PWD" if cwd.is_empty() && !self.login.is_empty() => {
                    peer.reply(&format!("257 \"{}\"", self.login));
                }
                "PWD" => peer.reply(&format!("257 \"{}/{cwd}\"", self.login)),
                "CDUP" => {
                    cwd = cwd.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
                    peer.reply("250 up");
                }
                "CWD" if argument.starts_with('/') && !self.login.is_empty() => {
                    peer.reply("550 no such directory");
                }
                "QUIT" => return peer.reply("221 bye"),
                "EPSV" => {
                    let port = peer.listen();
                    peer.reply(&format!("229 here (|||{port}|)"));
                }
                "CWD" if is_there && !(is_path && self.one_step) => {
                    cwd = path;
                    peer.reply("250 in");
                }
                "CWD" => peer.reply("550 no such directory"),
                _ if refusal.is_some() => peer.reply(&format!("{} no path", refusal.unwrap())),
                "LIST" if self.lists_nothing => peer.reply("550 no"),
                "LIST" => {
                    let mut text = String::new();
                    let times = self.times.lock().unwrap();
                    for (path_of, content) in world.iter() {
                        let (above, name) = path_of.rsplit_once('/').unwrap_or(("", path_of));
                        let (kind, size) =
                            content.as_ref().map_or(("d", 0), |content| ("-", content.len()));
                        let time =
                            times.get(path_of).map_or("Jan 2 2020".to_owned(), |time| listed(time));
                        if above == path && !(self.hides_dots && name.starts_with('.')) {
                            writeln!(text, "{kind}rw-r--r-- 1 u g {size} {time} {name}\r").unwrap();
                        }
                    }
                    drop(times);
                    drop(world);
                    peer.reply("150 list");
                    peer.send_data(text.as_bytes());
                    peer.reply("226 done");
                }
                "FEAT" if self.sets_times && !self.only_tells_times => {
                    peer.reply("211-have\r\n MFMT\r\n211 end");
                }
                "MFMT" if self.sets_times && !self.only_tells_times => {
                    let (time, path) = argument.split_once(' ').unwrap();
                    self.times.lock().unwrap().insert(path.to_owned(), time.to_owned());
                    if let Some(theirs) =
                        self.overwrites.lock().unwrap().take_if(|_| path == "page")
                    {
                        world.insert(path.to_owned(), Some(theirs.into()));
                    }
                    if let Some((file, content)) = self.rewrites.lock().unwrap().take() {
                        fs::write(file, content).unwrap();
                    }
                    peer.reply("213 set");
                }
                "MDTM" if self.sets_times => match self.times.lock().unwrap().get(&path) {
                    Some(time) => peer.reply(&format!("213 {time}")),
                    None => peer.reply("550 no such file"),
                },
                "SIZE" | "RETR" if is_hidden => peer.reply("550 no such file"),
                "SIZE" => match world.get(&path) {
                    Some(Some(content)) => peer.reply(&format!("213 {}", content.len())),
                    _ => peer.reply("550 no such file"),
                },
                "RNFR" if self.loses.lock().unwrap().is_some_and(|path| path == "lost") => {
                    peer.reply("550 no");
                }
                "RNFR" if matches!(world.get(&path), Some(Some(_))) => {
                    from = path;
                    peer.reply("350 to");
                }
                "RNTO" if self.loses.lock().unwrap().take_if(|lost| *lost == path).is_some() => {
                    match self.theirs.lock().unwrap().take() {
                        Some(theirs) => {
                            let content = world.insert(from, Some(theirs.into())).unwrap();
                            world.insert(path, content);
                        }
                        None => *self.loses.lock().unwrap() = Some("lost"),
                    }
                    return;
                }
                "RNTO" => {
                    let content = world.remove(&from).unwrap();
                    world.insert(path, content);
                    peer.reply("250 renamed");
                }
                "RETR" => match world.get(&path).cloned().flatten() {
                    Some(content) => {
                        peer.reply("150 here");
                        peer.send_data(&content);
                        if let Some(text) = self.changes.lock().unwrap().take() {
                            self.times.lock().unwrap().insert(path.clone(), now());
                            world.insert(path, Some(text.into()));
                        }
                        peer.reply("226 done");
                    }
                    None => peer.reply("550 no such file"),
                },
                "STOR" if is_above && !is_there => {
                    peer.reply("150 send");
                    let content = peer.read_data();
                    self.times.lock().unwrap().insert(path.clone(), now());
                    let meddles = self.meddles.lock().unwrap().take_if(|it| it.0 == path);
                    world.insert(path, Some(content));
                    if let Some((_, theirs)) = meddles {
                        self.times.lock().unwrap().insert("a".to_owned(), "20300101000000".into());
                        world.insert("a".to_owned(), Some(theirs.into()));
                    }
                    peer.reply("226 done");
                }
                "MKD" if is_above && !world.contains_key(&path) => {
                    world.insert(path, None);
                    peer.reply("257 made");
                }
                "DELE" if matches!(world.get(&path), Some(Some(_))) => {
                    world.remove(&path);
                    peer.reply("250 gone");
                }
                "RMD"
                    if is_there && !world.keys().any(|it| it.starts_with(&format!("{path}/"))) =>
                {
                    world.remove(&path);
                    peer.reply("250 gone");
                }
                "STOR" | "MKD" | "DELE" | "RMD" => peer.reply("550 no"),
                _ => peer.reply("502 what"),
            }
        }
    }
}

/// Returns a time as `LIST` shows it.
fn listed(time: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month: usize = time[4..6].parse().unwrap();
    format!("{} {} {}:{}", MONTHS.get(month - 1).unwrap(), &time[6..8], &time[8..10], &time[10..12])
}

/// Returns the time of this moment, as `MDTM` reports it.
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let time = TimeVal::from_unix_seconds(since.as_secs().try_into().unwrap()).unwrap();
    time.to_string().chars().take(14).collect()
}

fn connected(address: SocketAddr) -> Client {
    let mut client = Client::builder().timeouts(timeouts()).connect(&address.to_string()).unwrap();
    client.login("u", "p").unwrap();
    client
}

/// Makes the second tree equal to the first one, and fails for each failure of an object.
fn sync(sides: [&TreeSide<'_>; 2], options: &SyncOptions<'_>) -> Summary {
    let on = |event: Event<'_>| {
        if let Event::Failed { path, why } = event {
            panic!("{}: {why}", String::from_utf8_lossy(path));
        }
    };
    let (summary, done) = TreeSync::plan(sides[0], sides[1], options, &on).unwrap().run(&on);
    done.unwrap();
    summary
}

fn write(top: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[test]
fn trees_work_where_only_cwd_takes_a_path_cl_60() {
    let places = [(false, ""), (true, ""), (true, "/home/u")];
    let refusals = [Some("550"), Some("553"), Some("501"), None].into_iter();
    let cases = refusals.flat_map(|no_paths| places.map(|place| (no_paths, place)));
    // Some files are a second old before they are compared.
    at_once(12, cases, |(no_paths, (one_step, login))| {
        let (model, address) = Model { no_paths, one_step, login, ..Model::default() }.start();
        let local = tempfile::tempdir().unwrap();
        let here = local.path().join("up");
        write(&here, &[("h", "1"), ("a/g", "22"), ("a/b/f", "333"), ("old/x", "4")]);
        let pool = Pool::new(|| Ok(connected(address)));
        let (up, there) = (TreeSide::local(&here), TreeSide::remote(&pool, "top/www"));
        let options = SyncOptions::new().creates_parents(true).jobs(1);
        assert_eq!(sync([&up, &there], &options).copied, 4, "{no_paths:?} {one_step}");
        let want = ["top", "top/www", "top/www/a", "top/www/a/b", "top/www/a/b/f", "top/www/a/g"];
        assert_eq!(model.files()[..6], want, "{no_paths:?} {one_step}");

        let down = local.path().join("down");
        let side = TreeSide::local(&down);
        assert_eq!(sync([&there, &side], &SyncOptions::new().jobs(1)).copied, 4);
        assert_eq!(fs::read_to_string(down.join("a/b/f")).unwrap(), "333");
        assert_eq!(fs::read_to_string(down.join("old/x")).unwrap(), "4");

        fs::remove_dir_all(here.join("old")).unwrap();
        let options = SyncOptions::new().compare(Compare::Size);
        let options = options.deletes(true).no_links(true).jobs(1);
        assert_eq!(sync([&up, &there], &options).removed, 2, "{no_paths:?} {one_step}");
        assert!(!model.files().contains(&"top/www/old".to_owned()));

        let options = RemoveOptions::new().recursive(true).no_links(true);
        let mut client = connected(address);
        let done = Repeat::single().remove(&mut client, Place::at("top"), options, &()).unwrap();
        assert_eq!((done.failed, model.files().len()), (0, 0), "{no_paths:?} {one_step}");
        // One for each run, and one for the client.
        let lines = model.lines.lock().unwrap();
        assert_eq!(lines.iter().filter(|line| line.starts_with("USER")).count(), 4, "{lines:#?}");
    });
}

#[test]
fn a_removal_costs_one_round_trip_and_its_proofs_a_twentieth_more() {
    const FILES: usize = 400;
    let world = (0..FILES).map(|number| (format!("old{number}"), Some(Vec::new()))).collect();
    let (model, address) = Model { world: Mutex::new(world), ..Model::default() }.start();
    let local = tempfile::tempdir().unwrap();
    write(local.path(), &[("new", "1")]);
    let pool = Pool::new(|| Ok(connected(address)));
    let (up, there) = (TreeSide::local(local.path()), TreeSide::remote(&pool, ""));
    let options = SyncOptions::new().deletes(true).jobs(1);
    assert_eq!(sync([&up, &there], &options).removed, FILES);
    assert_eq!(model.files(), ["new"]);
    let lines = model.lines.lock().unwrap();
    let removals = lines.iter().filter(|line| line.starts_with("DELE")).count();
    let others: Vec<_> = lines.iter().filter(|line| !line.starts_with("DELE")).collect();
    assert_eq!(removals, FILES);
    assert!(others.len() <= FILES / 20 + 30, "{others:?}");
}

#[test]
fn a_file_that_changes_again_within_its_second_is_sent_again() {
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("counter");
    let rewrites = Mutex::new(Some((file.clone(), "2")));
    let (model, address) = Model { sets_times: true, rewrites, ..Model::default() }.start();
    let pool = Pool::new(|| Ok(connected(address)));
    let (up, there) = (TreeSide::local(local.path()), TreeSide::remote(&pool, ""));
    fs::write(&file, "1").unwrap();
    assert_eq!(sync([&up, &there], &SyncOptions::new()).copied, 1);
    assert_eq!(sync([&up, &there], &SyncOptions::new()).copied, 1);
    assert_eq!(model.world.lock().unwrap().get("counter"), Some(&Some(b"2".to_vec())));
    assert_eq!(sync([&up, &there], &SyncOptions::new()).same, 1);
}

#[test]
fn a_file_that_changes_again_within_its_second_is_fetched_again_cl_52() {
    let world = [("counter".to_owned(), Some(b"1".to_vec()))].into();
    let times = Mutex::new([("counter".to_owned(), now())].into());
    let changes = Mutex::new(Some("2"));
    let model =
        Model { world: Mutex::new(world), times, changes, sets_times: true, ..Model::default() };
    let address = model.start().1;
    let local = tempfile::tempdir().unwrap();
    let pool = Pool::new(|| Ok(connected(address)));
    let (there, down) = (TreeSide::remote(&pool, ""), TreeSide::local(local.path()));
    assert_eq!(sync([&there, &down], &SyncOptions::new()).copied, 1);
    assert_eq!(sync([&there, &down], &SyncOptions::new()).copied, 1);
    assert_eq!(fs::read_to_string(local.path().join("counter")).unwrap(), "2");
    assert_eq!(sync([&there, &down], &SyncOptions::new()).same, 1);
}

#[test]
fn names_that_fold_alike_cost_a_few_commands_each() {
    const NAMES: usize = 512;
    let name = |number: usize| -> String {
        (0..9).map(|at| if number >> at & 1 == 0 { 'a' } else { 'A' }).collect()
    };
    let local = tempfile::tempdir().unwrap();
    (0..NAMES).for_each(|number| fs::write(local.path().join(name(number)), "1").unwrap());
    let (model, address) = Model::default().start();
    let pool = Pool::new(|| Ok(connected(address)));
    let (up, there) = (TreeSide::local(local.path()), TreeSide::remote(&pool, ""));
    assert_eq!(sync([&up, &there], &SyncOptions::new().jobs(1)).copied, NAMES);
    assert_eq!(model.files().len(), NAMES);
    let lines = model.lines.lock().unwrap().len();
    assert!(lines <= 8 * NAMES, "{lines}");
}

/// A deploy of `here` to the server at `address`, with two attempts.
fn deploy(address: SocketAddr, here: &Path) -> (Summary, Vec<String>, Result<(), Error>) {
    let pool = Pool::new(|| Ok(connected(address)));
    let (up, there) = (TreeSide::local(here), TreeSide::remote(&pool, ""));
    let failed = Mutex::new(Vec::new());
    let on = |event: Event<'_>| {
        if let Event::Failed { path, why } = event {
            let path = String::from_utf8_lossy(path);
            failed.lock().unwrap().push(format!("{path}: {why}"));
        }
    };
    let options = SyncOptions::new().manifest(Some(SyncOptions::MANIFEST.to_owned()));
    let options = options.deletes(true).jobs(1);
    let (summary, done) = TreeSync::plan(&up, &there, &options, &on).unwrap().run(&on);
    drop(pool);
    (summary, failed.into_inner().unwrap(), done)
}

#[test]
fn a_rename_whose_reply_was_lost_leaves_no_old_name_in_silence() {
    let loses = Mutex::new(Some("new.html"));
    let (model, address) = Model { sets_times: true, loses, ..Model::default() }.start();
    let local = tempfile::tempdir().unwrap();
    write(local.path(), &[("old.html", "page")]);
    let (first, failed, done) = deploy(address, local.path());
    assert_eq!((first.copied, failed.len(), done.is_ok()), (1, 0, true), "{failed:?}");
    fs::rename(local.path().join("old.html"), local.path().join("new.html")).unwrap();
    let (second, failed, done) = deploy(address, local.path());
    let files = model.files();
    assert!(files.contains(&"new.html".to_owned()), "{files:?} {second:?} {failed:?}");
    // It is gone, or somebody hears of it.
    let is_told = !failed.is_empty() || done.is_err();
    assert!(is_told || !files.contains(&"old.html".to_owned()), "{files:?} {second:?}");
}

#[test]
fn a_rename_is_not_repeated_onto_the_file_that_it_has_renamed() {
    let (loses, theirs) = (Mutex::new(Some("new.html")), Mutex::new(Some("of another user")));
    let (model, address) = Model { sets_times: true, loses, theirs, ..Model::default() }.start();
    let local = tempfile::tempdir().unwrap();
    write(local.path(), &[("old.html", "page")]);
    assert!(deploy(address, local.path()).2.is_ok());
    fs::rename(local.path().join("old.html"), local.path().join("new.html")).unwrap();
    for run in 2..4 {
        let (_, failed, _) = deploy(address, local.path());
        let world = model.world.lock().unwrap();
        let has =
            |name| world.get(name).cloned().flatten().map(|it| String::from_utf8(it).unwrap());
        assert_eq!(has("new.html").as_deref(), Some("page"), "{run} {failed:?}");
        assert_eq!(has("old.html").as_deref(), Some("of another user"), "{run} {failed:?}");
        assert!(failed.concat().contains("old.html: not deleted: "), "{run} {failed:?}");
    }
}

#[test]
fn a_file_that_another_user_replaces_after_its_upload_is_no_page_of_the_deploy() {
    let overwrites = Mutex::new(Some("of another user"));
    let (model, address) = Model { sets_times: true, overwrites, ..Model::default() }.start();
    let local = tempfile::tempdir().unwrap();
    write(local.path(), &[("page", "1")]);
    for run in 1..3 {
        let (_, failed, _) = deploy(address, local.path());
        assert!(failed.concat().contains("changed on the server"), "{run} {failed:?}");
        let world = model.world.lock().unwrap();
        assert_eq!(world.get("page"), Some(&Some(b"of another user".to_vec())), "{run}");
    }
}

#[test]
fn a_source_stays_if_another_user_has_replaced_its_file_of_equal_size_since_the_upload() {
    for (meddles, is_tree) in
        [(None, false), (Some(("b", "xx")), false), (None, true), (Some(("b", "xx")), true)]
    {
        let model = Model {
            sets_times: true,
            only_tells_times: true,
            meddles: Mutex::new(meddles),
            ..Model::default()
        };
        let (model, address) = model.start();
        let local = tempfile::tempdir().unwrap();
        write(local.path(), &[("a", "11"), ("b", "22")]);
        let (a, b) = (local.path().join("a"), local.path().join("b"));
        if is_tree {
            let pool = Pool::new(|| Ok(connected(address)));
            let (up, there) = (TreeSide::local(local.path()), TreeSide::remote(&pool, ""));
            let options = SyncOptions::new().moves(true).jobs(1);
            let (summary, _) = TreeSync::plan(&up, &there, &options, &()).unwrap().run(&());
            assert_eq!(summary.moved, if meddles.is_some() { 1 } else { 2 }, "{summary:?}");
        } else {
            let mut client = connected(address);
            let targets = Targets::remote([Place::at("a"), Place::at("b")]);
            let options = FileOptions::new().moves(true);
            for (path, name) in [(&a, "a"), (&b, "b")] {
                let mut job = Put::from_path(path, Place::at(name), &options).among(&targets);
                job.attempt(&mut client, &()).unwrap();
            }
            let mut each = |_: &Path, removed: Result<(), Error>| {
                assert_eq!(removed.is_ok(), meddles.is_none(), "{removed:?}");
            };
            targets.finish(&mut client, &mut each).unwrap();
        }
        assert_eq!(a.exists(), meddles.is_some(), "{is_tree}");
        let theirs = if meddles.is_some() { "xx" } else { "11" };
        assert_eq!(model.world.lock().unwrap().get("a"), Some(&Some(theirs.into())), "{is_tree}");
    }
}

#[test]
fn without_a_listing_a_source_stays_if_the_servers_file_has_another_size() {
    for (theirs, is_moved) in [("11", true), ("other", false)] {
        let (model, address) = Model { lists_nothing: true, ..Model::default() }.start();
        let local = tempfile::tempdir().unwrap();
        write(local.path(), &[("a", "11"), ("b", "22")]);
        let mut client = connected(address);
        let targets = Targets::remote([Place::at("a"), Place::at("b")]);
        let options = FileOptions::new().moves(true);
        for name in ["a", "b"] {
            let path = local.path().join(name);
            let mut job = Put::from_path(&path, Place::at(name), &options).among(&targets);
            job.attempt(&mut client, &()).unwrap();
        }
        model.world.lock().unwrap().insert("a".to_owned(), Some(theirs.into()));
        let mut each = |path: &Path, removed: Result<(), Error>| {
            assert_eq!(removed.is_ok(), is_moved, "{path:?}: {removed:?}");
        };
        targets.finish(&mut client, &mut each).unwrap();
        assert_eq!(local.path().join("a").exists(), !is_moved);
    }
}

#[test]
fn a_server_that_does_not_send_the_list_of_a_deploy_gets_no_file() {
    let (model, address) = Model { hides_dots: true, ..Model::default() }.start();
    let local = tempfile::tempdir().unwrap();
    write(local.path(), &[("page", "1")]);
    let (summary, _, done) = deploy(address, local.path());
    let error = done.unwrap_err().to_string();
    assert!(error.contains("does not send the list"), "{error}");
    assert_eq!(summary.copied, 0);
    assert!(!model.files().contains(&"page".to_owned()));
}

#[test]
fn nothing_is_written_under_a_name_that_an_object_of_another_type_still_has() {
    let (model, address) = Model { sets_times: true, ..Model::default() }.start();
    let local = tempfile::tempdir().unwrap();
    write(local.path(), &[("a", "1"), ("b", "2")]);
    assert!(deploy(address, local.path()).2.is_ok());
    // Others have changed one of the files, which holds back all removals.
    model.world.lock().unwrap().insert("b".to_owned(), Some(b"of others".to_vec()));
    fs::remove_file(local.path().join("a")).unwrap();
    write(local.path(), &[("a/x", "3"), ("b", "4")]);
    model.lines.lock().unwrap().clear();
    let (summary, failed, _) = deploy(address, local.path());
    assert_eq!((summary.made, summary.copied, failed.len()), (0, 0, 1), "{failed:?}");
    assert!(summary.not_tried >= 2, "{summary:?}");
    let lines = model.lines.lock().unwrap();
    assert!(!lines.iter().any(|line| line.starts_with("MKD") || line == "STOR a/x"), "{lines:?}");
}
