//! Section 7 of the conformance lines: LIST, NLST, MLSD and MLST.

use std::os::unix::ffi::OsStrExt;

use super::Fixture;

/// The lines of a listing, sorted, without their line ends, which must be CR LF.
fn lines(data: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(data).into_owned();
    let mut lines: Vec<String> = text
        .split_inclusive('\n')
        .map(|line| line.strip_suffix("\r\n").expect("CR LF").to_owned())
        .collect();
    lines.sort();
    lines
}

fn tree() -> Fixture {
    let fixture = Fixture::new();
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
fn ls_25_ls_26_dv_09_flags_change_nothing() {
    let fixture = tree();
    fixture.write("-x", "dash");
    let mut session = fixture.session();
    let plain = lines(&session.download("LIST"));
    for line in ["LIST -a", "LIST -la", "LIST -aL", "LIST -al /", "LIST -R", "LIST -l ."] {
        assert_eq!(lines(&session.download(line)), plain, "{line}");
    }
    assert_eq!(lines(&session.download("NLST -l")).len(), 5);
    assert_eq!(lines(&session.download("LIST ./-x")).len(), 1);
    session.expect("STAT -la", 212);
}

#[test]
fn ls_27_ls_28_ls_29_patterns() {
    let fixture = tree();
    let mut session = fixture.session();
    assert_eq!(lines(&session.download("NLST dir/*.txt")), ["dir/x.txt"]);
    assert_eq!(lines(&session.download("NLST star*")), ["star*"], "a name comes first");
    assert_eq!(lines(&session.download("NLST [ad]*")), ["a b", "dir"]);
    assert_eq!(lines(&session.download("LIST dir/?.d*")).len(), 1);
    for line in ["NLST *.nothing", "LIST d*/x.txt", "NLST {a,b}", "LIST nowhere"] {
        session.expect("PASV", 227);
        session.expect(line, 550);
    }
}

#[test]
fn ls_01_ls_03_ls_07_mlsd() {
    let fixture = tree();
    let mut session = fixture.session();
    let list = lines(&session.download("MLSD dir"));
    let of = |kind: &str| {
        let found: Vec<_> =
            list.iter().filter(|line| line.starts_with(&format!("type={kind};"))).collect();
        found
    };
    assert_eq!(list.len(), 4, "{list:?}");
    assert!(of("cdir")[0].ends_with("; /dir"), "{list:?}");
    assert!(of("pdir")[0].ends_with("; /"), "{list:?}");
    let file = of("file").into_iter().find(|line| line.ends_with("; x.txt")).expect("x.txt");
    let facts: Vec<&str> = file.split(' ').next().expect("facts").split(';').collect();
    let names: Vec<&str> = facts.iter().map(|fact| fact.split('=').next().unwrap_or("")).collect();
    assert_eq!(names, ["type", "size", "modify", "perm", "unique", "UNIX.mode", ""]);
    assert_eq!((facts[1], facts[3]), ("size=5", "perm=adfrw"));
    let root = lines(&session.download("MLSD"));
    assert!(!root.iter().any(|line| line.starts_with("type=pdir")), "{root:?}");
    assert_eq!(lines(&session.download("MLSD ")), root, "LS-12, DV-11");
    session.expect("PASV", 227);
    session.expect("MLSD a b", 501);
    session.expect("PASV", 227);
    session.expect("MLSD dir*", 550);
    session.expect("PASV", 227);
    session.expect("MLSD -a", 550);
}

#[test]
fn ls_05_ls_08_mlst_shows_the_absolute_path() {
    let fixture = tree();
    std::fs::hard_link(fixture.path("dir/x.txt"), fixture.path("link")).expect("a link");
    let mut session = fixture.session();
    session.expect("CWD dir", 250);
    let fact = |session: &mut ftp_tests::raw::RawSession, path: &str, name: &str| {
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
fn ls_23_hp_11_names_with_line_breaks_are_left_out() {
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
        // A 0xFF is doubled on the control connection, where Telnet is spoken.
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
fn cm_132_stat_lists_on_the_control_connection() {
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
    let reply = session.expect("STAT many", 212);
    assert_eq!(reply.lines.len(), 1_002, "HS-38");
}
