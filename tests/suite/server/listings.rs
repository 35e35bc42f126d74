//! Section 7 of the conformance lines: LIST, NLST, MLSD and MLST.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use ftp_server::Rights;
use ftp_tests::raw::RawSession;

use super::Fixture;

/// Returns the lines of a listing, sorted, without their line endings, which must be CR LF.
fn lines(data: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(data).into_owned();
    let mut lines: Vec<String> = text
        .split_inclusive('\n')
        .map(|line| line.strip_suffix("\r\n").expect("CR LF").to_owned())
        .collect();
    lines.sort();
    lines
}

/// Returns the lines without that of the directory itself.
fn others(data: &[u8]) -> Vec<String> {
    lines(data).into_iter().filter(|line| !line.ends_with(" .")).collect()
}

fn tree() -> Fixture {
    let fixture = Fixture::with(|builder| builder.user("blind", "p", Rights::WRITE));
    std::fs::create_dir(fixture.path("dir")).expect("a directory");
    fixture.write("dir/x.txt", "12345");
    fixture.write("dir/y.dat", "");
    fixture.write(".dot", "");
    fixture.write("a b", "1");
    fixture.write("star*", "");
    fixture
}

#[test]
fn ls_20_ls_21_ls_22_list_has_nine_fields() {
    let fixture = tree();
    let mut session = fixture.session();
    let list = lines(&session.download("LIST"));
    assert_eq!(list.len(), 4, "{list:?}");
    for line in &list {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        assert!(fields.len() >= 9 && fields[0].len() == 10, "{line}");
        assert_eq!(fields[2..4], ["ftp", "ftp"], "{line}");
        assert!(fields[7].contains(':'), "{line}: made just now");
    }
    assert!(list.iter().any(|line| line.starts_with("drwx") && line.ends_with(" dir")), "{list:?}");
    assert!(list.iter().any(|line| line.starts_with("-rw") && line.ends_with(" a b")), "{list:?}");
    assert_eq!(lines(&session.download("LIST a b")).len(), 1);
}

#[test]
fn show_ids_lists_numeric_owners_and_groups_ls_21() {
    let fixture = Fixture::configured(super::quick().show_ids(true));
    fixture.write("a", "");
    let metadata = std::fs::metadata(fixture.path("a")).expect("it is there");
    let want = [metadata.uid().to_string(), metadata.gid().to_string()];
    let mut session = fixture.session();
    let list = lines(&session.download("LIST"));
    let status = session.expect("STAT a", 213).lines;
    for line in [list[0].as_str(), &String::from_utf8_lossy(&status[1])] {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        assert_eq!(fields.len(), 9, "{line}");
        assert_eq!(fields[2..4], want, "{line}");
    }
}

#[test]
fn ls_24_names_of_nlst_are_arguments_of_retr() {
    let fixture = tree();
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    assert_eq!(lines(&session.download("NLST")), [".dot", "a b", "dir", "star*"]);
    assert_eq!(lines(&session.download("NLST dir")), ["dir/x.txt", "dir/y.dat"]);
    assert_eq!(lines(&session.download("NLST dir/")), ["dir/x.txt", "dir/y.dat"]);
    assert_eq!(lines(&session.download("NLST /dir")), ["/dir/x.txt", "/dir/y.dat"]);
    assert_eq!(lines(&session.download("NLST dir/x.txt")), ["dir/x.txt"]);
    assert_eq!(session.download("RETR dir/x.txt"), b"12345");
}

#[test]
fn ls_25_ls_26_dv_09_ls_flags_do_not_change_a_listing() {
    let fixture = tree();
    fixture.write("-x", "dash");
    let mut session = fixture.session();
    let plain = lines(&session.download("LIST"));
    for line in ["LIST -a", "LIST -la", "LIST -aL", "LIST -al /", "LIST -R", "LIST -l ."] {
        assert_eq!(others(&session.download(line)), plain, "{line}");
    }
    assert_eq!(lines(&session.download("NLST -l")).len(), 5);
    assert_eq!(lines(&session.download("LIST ./-x")).len(), 1);
    session.expect("STAT -la", 212);
}

#[test]
fn ls_flags_can_be_given_in_several_words_ls_25_dv_09() {
    let fixture = tree();
    let mut session = fixture.session();
    let plain = lines(&session.download("LIST"));
    for line in ["LIST -l -a", "LIST -l -x", "LIST -l -a -1 .", "LIST -l -a /"] {
        assert_eq!(others(&session.download(line)), plain, "{line}");
    }
    let in_dir = ["dir/x.txt", "dir/y.dat"];
    assert_eq!(lines(&session.download("NLST -l -a dir")), in_dir);
    assert_eq!(lines(&session.download("NLST -l -a dir/*")).len(), 2);
    session.expect("STAT -l -a", 212);
    for line in ["NLST -l nowhere", "NLST -l -a nowhere", "NLST -l -a *.nothing", "NLST -l --a"] {
        session.expect("PASV", 227);
        session.expect(line, 550);
    }
    // After the first word, a flag that is a name counts as the name.
    fixture.write("-x", "dash");
    assert_eq!(lines(&session.download("NLST -l -x")), ["-x"]);
    assert_eq!(lines(&session.download("NLST -l -a")).len(), 5);
}

#[test]
fn hs_21_unusual_and_overlong_flags_get_regular_replies() {
    let fixture = tree();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe\xff");
    std::fs::write(fixture.root.path().join("dir").join(name), "").expect("a file");
    let mut session = fixture.session();
    session.expect("CWD dir", 250);
    let plain = session.download("LIST");
    assert!(plain.ends_with(b"\r\n") && plain.windows(3).any(|name| name == b"\xff\xfe\xff"));
    for _ in 0..2 {
        assert_eq!(session.download("LIST -B"), plain);
        // LS-25: flags have at most eight letters, and MLSD has none.
        assert_eq!(session.download("LIST -bcdefghi"), plain);
        for (verb, rest) in [
            ("MLSD", ".".repeat(4_110)),
            ("MLSD", "B".to_owned()),
            ("LIST", "a".repeat(9)),
            ("LIST", "a".repeat(8_000)),
            ("NLST", "B".repeat(8_000)),
            ("LIST", ".".repeat(4_110)),
        ] {
            session.expect("PASV", 227);
            session.expect(format!("{verb} -{rest}"), 550);
        }
        let told = session.expect("STAT -C", 212);
        assert_eq!(told.bytes.iter().filter(|byte| **byte == b'\n').count(), 3 + 2);
        session.expect(format!("STAT -{}", "C".repeat(8_000)), 550);
        let line = [&b"LIST -B "[..], b"\xff\xff\xfe\xff\xff"].concat();
        assert!(session.download(line).ends_with(b" \xff\xfe\xff\r\n"));
    }
    session.expect_in_step();
}

#[test]
fn ls_27_ls_28_ls_29_patterns() {
    let fixture = tree();
    let mut session = fixture.session();
    assert_eq!(lines(&session.download("NLST dir/*.txt")), ["dir/x.txt"]);
    assert_eq!(lines(&session.download("NLST star*")), ["star*"], "a name comes first");
    assert_eq!(lines(&session.download("NLST [ad]*")), ["a b", "dir"]);
    assert_eq!(lines(&session.download("LIST dir/?.d*")).len(), 1);
    assert_eq!(lines(&session.download("NLST dir/{q,x}.{txt,}")), ["dir/x.txt"]);
    assert_eq!(lines(&session.download("NLST star\\*")), ["star*"]);
    for line in ["NLST *.nothing", "LIST d*/x.txt", "NLST {a,b}", "NLST *{a}", "LIST nowhere"] {
        session.expect("PASV", 227);
        session.expect(line, 550);
    }
}

#[test]
fn ls_01_ls_03_ls_07_cm_114_mlsd() {
    let fixture = tree();
    let mut session = fixture.session();
    let list = lines(&session.download("MLSD dir"));
    let of = |kind: &str| {
        let found: Vec<_> =
            list.iter().filter(|line| line.starts_with(&format!("type={kind};"))).collect();
        found
    };
    // The directory and its parent have no line: clients take it for another directory.
    assert_eq!((list.len(), of("file").len()), (2, 2), "{list:?}");
    let file = of("file").into_iter().find(|line| line.ends_with("; x.txt")).expect("x.txt");
    let facts: Vec<&str> = file.split(' ').next().expect("facts").split(';').collect();
    let names: Vec<&str> = facts.iter().map(|fact| fact.split('=').next().unwrap_or("")).collect();
    assert_eq!(names, ["type", "size", "modify", "perm", "unique", "UNIX.mode", ""]);
    assert_eq!((facts[1], facts[3]), ("size=5", "perm=adfrw"));
    let root = lines(&session.download("MLSD"));
    assert!(
        root.iter().all(|line| line.starts_with("type=dir;") || line.starts_with("type=file;"))
    );
    assert_eq!(lines(&session.download("MLSD ")), root, "LS-12, DV-11");
    session.expect("PASV", 227);
    session.expect("MLSD a b", 501);
    session.expect("PASV", 227);
    session.expect("MLSD dir*", 550);
    session.expect("PASV", 227);
    session.expect("MLSD -a", 550);
    let mut blind = RawSession::login(fixture.server.local_addr(), "blind", "p");
    for line in ["MLSD", "MLSD dir", "LIST", "NLST", "LIST a b"] {
        blind.expect("PASV", 227);
        blind.expect(line, 550);
    }
    for line in ["MLST", "MLST a b", "STAT /", "SIZE a b", "MDTM a b"] {
        blind.expect(line, 550);
    }
}

#[test]
fn ls_05_ls_08_cm_115_mlst_shows_the_absolute_path() {
    let fixture = tree();
    std::fs::hard_link(fixture.path("dir/x.txt"), fixture.path("link")).expect("a link");
    let mut session = fixture.session();
    session.expect("CWD dir", 250);
    let fact = |session: &mut RawSession, path: &str, name: &str| {
        let reply = session.expect(format!("MLST {path}"), 250).text();
        let line = reply.lines().nth(1).expect("a line of facts").to_owned();
        let found =
            line.split([';', ' ']).find_map(|fact| fact.strip_prefix(name).map(str::to_owned));
        (line, found.expect("the fact"))
    };
    let (line, unique) = fact(&mut session, "x.txt", "unique=");
    assert!(line.starts_with(' ') && line.ends_with("; /dir/x.txt"), "{line}");
    assert_eq!(fact(&mut session, "/link", "unique=").1, unique);
    assert_ne!(fact(&mut session, "y.dat", "unique=").1, unique);
    let (line, kind) = fact(&mut session, "", "type=");
    assert!(line.ends_with("; /dir") && kind == "dir", "{line}");
    session.expect("MLST nowhere", 550);
    session.expect("MLST *", 550);
}

#[test]
fn ls_23_hp_11_names_with_line_breaks_are_omitted() {
    let fixture = tree();
    fixture.write("evil\r\n226 done", "");
    fixture.write("line\nbreak", "");
    let mut session = fixture.session();
    for line in ["LIST", "NLST", "MLSD", "NLST *"] {
        let data = String::from_utf8(session.download(line)).expect("text");
        assert!(!data.contains("evil") && !data.contains("break"), "{line}: {data}");
    }
    assert!(!session.expect("STAT /", 212).text().contains("evil"));
}

#[test]
fn fs_09_hp_10_names_are_listed_byte_for_byte() {
    let fixture = Fixture::new();
    let names: [&[u8]; 6] =
        [b"\xff\xfe", b" lead", b"trail ", b"\x1b[2J", b"\"q\"", "\u{202e}x".as_bytes()];
    for name in names {
        std::fs::write(fixture.root.path().join(std::ffi::OsStr::from_bytes(name)), name)
            .expect("a file");
    }
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let listing = session.download("NLST");
    for name in names {
        let line = [name, b"\r\n"].concat();
        assert!(listing.windows(line.len()).any(|window| window == line), "{name:?}");
        // A 0xFF is doubled on the control connection, because of Telnet.
        let doubled: Vec<u8> =
            name.iter().flat_map(|&byte| vec![byte; if byte == 0xff { 2 } else { 1 }]).collect();
        assert_eq!(session.download([b"RETR ", doubled.as_slice()].concat()), name);
        session.expect([b"DELE ", doubled.as_slice()].concat(), 250);
    }
    assert_eq!(fixture.names(), [""; 0]);
}

#[test]
fn cm_113_an_empty_directory_has_an_empty_listing() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    assert_eq!(session.download("NLST"), b"");
    assert_eq!(session.download("LIST"), b"");
}

#[test]
fn cm_132_hs_38_stat_lists_on_the_control_connection() {
    let fixture = tree();
    let mut session = fixture.session();
    let reply = session.expect("STAT dir", 212);
    assert_eq!(reply.lines.len(), 4, "{reply:?}");
    let reply = session.expect("STAT dir/x.txt", 213);
    assert_eq!(reply.lines.len(), 3, "{reply:?}");
    std::fs::create_dir(fixture.path("many")).expect("a directory");
    for index in 0..1_100 {
        fixture.write(&format!("many/{index}"), "");
    }
    // A reply that has the first names only would be taken for the whole directory.
    let reply = session.expect("STAT many", 450);
    assert_eq!(reply.bytes, b"450 Too many entries for STAT, use LIST\r\n", "HS-38");
    let reply = session.expect("STAT many/100*", 212);
    assert_eq!(reply.lines.len(), 2 + 11);
    let reply = session.expect("STAT dir/*.txt", 212);
    assert_eq!(reply.lines.len(), 3, "{reply:?}");
    session.expect("STAT nowhere", 550);
    session.expect("STAT *.nothing", 550);
}

/// A client that reads no replies made the server hold more than a megabyte for each session.
#[test]
fn no_reply_is_longer_than_a_session_may_hold_ho_01_hs_38_cm_132() {
    const LONGEST: usize = 16 * 1_024;
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("many")).expect("a directory");
    for index in 0..1_000 {
        let name = format!("many/{index:04}{}", "x".repeat(246)).into_bytes();
        let name = [&name[..], b"\xff"].concat();
        std::fs::write(fixture.root.path().join(std::ffi::OsStr::from_bytes(&name)), "")
            .expect("a file");
    }
    let mut session = fixture.session();
    let mut table = Vec::new();
    let mut ask = |session: &mut RawSession, line: &[u8], code: u16| {
        let reply = session.expect(line, code);
        assert!(reply.bytes.len() <= LONGEST, "{}", String::from_utf8_lossy(line));
        table.push((String::from_utf8_lossy(line).into_owned(), reply.bytes.len()));
        reply.bytes.len()
    };
    ask(&mut session, b"STAT many", 450);
    assert!(ask(&mut session, b"STAT many/000*", 212) > LONGEST / 8);
    for (line, code) in [("HELP", 214), ("FEAT", 211), ("SITE HELP", 214), ("STAT", 211)] {
        ask(&mut session, line.as_bytes(), code);
    }
    ask(&mut session, b"HELP SITE", 214);
    // The longest path, of bytes that a reply doubles.
    let name = [0xff; 250].map(|byte| [byte, byte]).concat();
    for _ in 0..15 {
        ask(&mut session, &[b"MKD ", &name[..]].concat(), 257);
        session.expect([b"CWD ", &name[..]].concat(), 250);
    }
    assert!(ask(&mut session, b"PWD", 257) > 7_500);
    assert!(ask(&mut session, b"MLST", 250) > 7_500);
    assert!(ask(&mut session, b"STAT .", 212) > 0);
    for verb in ["SIZE", "MDTM", "DELE", "CWD", "MLST", "STAT", "RNFR", "HASH"] {
        ask(&mut session, format!("{verb} {}", "y".repeat(4_000)).as_bytes(), 550);
    }
    println!("{table:#?}");
}

#[test]
fn ls_10_mlsd_is_the_same_in_every_type() {
    let fixture = tree();
    fixture.write("lines", "1\n2\n");
    let mut session = fixture.session();
    let ascii = lines(&session.download("MLSD"));
    assert_eq!(session.expect("SIZE lines", 213).bytes, b"213 6\r\n", "still type A");
    session.expect("TYPE I", 200);
    assert_eq!(lines(&session.download("MLSD")), ascii);
    assert_eq!(session.expect("SIZE lines", 213).bytes, b"213 4\r\n", "still type I");
}

#[test]
fn ls_32_listings_keep_the_order_of_the_directory() {
    let fixture = Fixture::new();
    for number in 0..500_u32 {
        // The order of creation and of hashes differs from that of names.
        fixture.write(&format!("{:08x}", number.wrapping_mul(0x9e37_79b9)), "");
    }
    let entries = std::fs::read_dir(fixture.root.path()).expect("a directory");
    let want: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    let mut session = fixture.session();
    for line in ["NLST", "LIST", "MLSD", "NLST *"] {
        let data = session.download(line);
        let names: Vec<_> = data
            .split(|&byte| byte == b'\n')
            .filter_map(|line| line.strip_suffix(b"\r")?.rsplit(|&byte| byte == b' ').next())
            .collect();
        let want: Vec<_> = want.iter().map(|name| name.as_bytes()).collect();
        assert_eq!(names, want, "{line}");
    }
}

#[test]
fn ls_11_mlst_and_mlsd_take_patterns_and_flags_literally() {
    let fixture = tree();
    std::fs::create_dir(fixture.path("-a")).expect("a directory");
    std::fs::create_dir(fixture.path("[d]*")).expect("a directory");
    let mut session = fixture.session();
    for (path, want) in [("-a", "; /-a"), ("[d]*", "; /[d]*"), ("star*", "; /star*")] {
        let line = session.expect(format!("MLST {path}"), 250).lines.remove(1);
        assert!(String::from_utf8_lossy(&line).ends_with(want), "{path}");
    }
    for path in ["-a", "[d]*"] {
        session.upload(format!("STOR {path}/in"), b"");
        let listed = lines(&session.download(format!("MLSD {path}")));
        assert!(matches!(&listed[..], [line] if line.ends_with("; in")), "{path}: {listed:?}");
    }
    for path in ["-l", "*", "di?"] {
        session.expect(format!("MLST {path}"), 550);
    }
}

#[test]
fn symlinks_can_be_told_and_their_targets_used_ls_13_ls_14_ls_22() {
    let fixture = tree();
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, fixture.path(name)).expect("a link");
    };
    link("dir/x.txt", "to-file");
    link("dir", "to-dir");
    link("nowhere", "dangling");
    link("/etc/passwd", "out");
    let _socket = std::os::unix::net::UnixListener::bind(fixture.path("socket")).expect("a socket");
    let mut session = fixture.session();
    let list = lines(&session.download("MLSD"));
    for (name, want) in [
        ("to-file", "type=file;size=5;"),
        ("to-dir", "type=OS.unix=slink:dir;"),
        ("dangling", "type=OS.unix=slink;"),
        ("out", "type=OS.unix=slink;"),
    ] {
        let line = list.iter().find(|line| line.ends_with(&format!("; {name}"))).expect(name);
        assert!(line.starts_with(want) && !line.contains("passwd"), "{line}");
        let told = session.expect(format!("MLST {name}"), 250).lines.remove(1);
        // The commands on the name meet what the link leads to.
        let want = if name == "to-dir" { "type=dir;" } else { want };
        assert!(told.get(1..).expect("SP").starts_with(want.as_bytes()), "{name}");
    }
    assert!(!list.iter().any(|line| line.contains("socket")), "{list:?}");
    let unique = |name: &str| {
        let line = list.iter().find(|line| line.ends_with(&format!("; {name}"))).expect(name);
        line.split(';').find(|fact| fact.starts_with("unique=")).expect("it").to_owned()
    };
    let target = session.expect("MLST dir", 250).text();
    assert!(target.contains(&unique("to-dir")), "{target}");
    let long = lines(&session.download("LIST"));
    assert!(!long.iter().any(|line| line.contains("passwd")), "{long:?}");
    for end in [" dangling", " out", " to-dir -> dir", " to-file -> dir/x.txt"] {
        let is_it = |line: &&String| line.starts_with('l') && line.ends_with(end);
        assert_eq!(long.iter().filter(is_it).count(), 1, "{end}: {long:?}");
    }
}

/// Clients count subdirectories before they remove a tree: a directory that is a link is one too many.
#[test]
fn a_listing_of_all_names_has_the_link_count_of_the_directory_ls_22_ls_25() {
    let fixture = tree();
    let mut session = fixture.session();
    for (line, links) in [("LIST -a", 3), ("LIST -la dir", 2), ("LIST -l -a /", 3)] {
        let listed = session.download(line);
        let text = String::from_utf8(listed).expect("UTF-8");
        let first: Vec<&str> = text.lines().next().expect("a line").split_whitespace().collect();
        assert!(first[0].starts_with('d'), "{line}: {text}");
        assert_eq!((first[1], first[8]), (&*links.to_string(), "."), "{line}");
        assert_eq!(text.matches(" .\r\n").count(), 1, "{line}");
    }
    for line in ["LIST", "LIST -l", "LIST -a dir/x.txt", "LIST -a d*"] {
        assert!(!session.download(line).ends_with(b" .\r\n"), "{line}");
    }
}

/// Returns the commands that `MLST` permits for a path.
fn perm(session: &mut RawSession, path: &str) -> String {
    let reply = session.expect(format!("MLST {path}"), 250).text();
    let perm = reply.split(';').find_map(|fact| fact.strip_prefix("perm="));
    perm.expect("the fact").to_owned()
}

/// Returns whether an empty transfer begins and ends well.
fn transfers(session: &mut RawSession, command: &str) -> bool {
    let data = session.passive();
    if session.ask(command).code != 150 {
        return false;
    }
    data.close();
    session.expect_reply(226);
    true
}

#[test]
fn ls_09_each_perm_letter_stands_for_an_allowed_command() {
    let each = [
        Rights::NONE,
        Rights::RETRIEVE,
        Rights::WRITE,
        Rights::APPEND,
        Rights::DELETE,
        Rights::RENAME,
        Rights::MKDIR,
        Rights::CHMOD,
        Rights::FULL,
    ];
    for overwrite in [true, false] {
        for right in each {
            let config = super::quick().overwrite(overwrite);
            let fixture = Fixture::with(|builder| {
                builder.config(config).user("one", "p", Rights::LIST | right)
            });
            fixture.write("file", "");
            std::fs::create_dir(fixture.path("dir")).expect("a directory");
            std::fs::create_dir(fixture.path("gone")).expect("a directory");
            fixture.write("dir/x", "");
            let mut session = RawSession::login(fixture.server.local_addr(), "one", "p");
            let file = perm(&mut session, "file");
            let dir = perm(&mut session, "dir");
            let root = perm(&mut session, "/");
            let mut works = String::new();
            let mut letter = |letter, works_too| works.extend(Some(letter).filter(|_| works_too));
            letter('a', transfers(&mut session, "APPE file"));
            letter('f', session.ask("RNFR file").code == 350);
            letter('r', transfers(&mut session, "RETR file"));
            letter('w', transfers(&mut session, "STOR file"));
            letter('d', session.ask("DELE file").code == 250);
            let mut letters: Vec<char> = works.drain(..).collect();
            letters.sort_unstable();
            assert_eq!(file, String::from_iter(letters), "file, {right:?}, {overwrite}");
            let mut letter = |letter, works_too| works.extend(Some(letter).filter(|_| works_too));
            letter('c', transfers(&mut session, "STOR dir/new"));
            letter('d', session.ask("RMD gone").code == 250);
            letter('e', session.ask("CWD dir").code == 250);
            session.expect("CWD /", 250);
            letter('f', session.ask("RNFR dir").code == 350);
            letter('l', !session.download("MLSD dir").is_empty());
            letter('m', session.ask("MKD dir/made").code == 257);
            letter('p', session.ask("DELE dir/x").code == 250);
            assert_eq!(dir, works, "directory, {right:?}, {overwrite}");
            let of_root: String = works.chars().filter(|char| !"df".contains(*char)).collect();
            assert_eq!(root, of_root, "root, {right:?}, {overwrite}");
        }
    }
}
