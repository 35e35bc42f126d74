//! Listings of a directory with very many entries.

use std::io::Read;
use std::time::{Duration, Instant};

use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::wait::at_last;

use crate::figures::memory;
use crate::serve::Served;

/// In KiB: what a listing needs once, however large the directory is. At most 1,092 were seen.
const GROWTH: u64 = 1_536;

/// The first byte must come within 50 ms after the 150; a busy machine gets 20 times as long.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Requests a listing; returns its number of lines, and the time from the 150 to its first byte.
fn list(session: &mut RawSession, line: &str) -> (usize, Duration) {
    let data = session.passive();
    session.set_deadline(10 * DEADLINE);
    session.expect(line, 150);
    let start = Instant::now();
    let (mut lines, mut first, mut buffer) = (0, None, vec![0; 256 * 1024]);
    let mut stream = data.stream();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    loop {
        let count = stream.read(&mut buffer).unwrap();
        let first = first.get_or_insert_with(|| start.elapsed());
        if count == 0 {
            session.expect_reply(226);
            return (lines, *first);
        }
        lines += buffer[..count].iter().filter(|&&byte| byte == b'\n').count();
    }
}

#[test]
fn listings_in_constant_memory_at_scale_ls_30_hp_15() {
    let count = scale::count(20_000, 1_000_000);
    let root = TempRoot::in_memory();
    root.mkdir("many");
    let start = Instant::now();
    let name = |number| root.join(format!("many/file-{number:07}"));
    for number in 0..count {
        // Further names of one file cost less than files, but disks allow at most 65,000 of them.
        let made = match number % 50_000 {
            0 => std::fs::write(name(number), b"x"),
            behind => std::fs::hard_link(name(number - behind), name(number)),
        };
        made.unwrap();
    }
    println!("{count} entries made in {:?}", start.elapsed());
    root.mkdir("few");
    root.write("few/file-0000099", b"x");
    let served = Served::start(&root, &["--user", "u:p"]);
    let process = served.running.child.id();
    for (line, want) in [
        ("MLSD many", count),
        ("LIST many", count),
        ("NLST many", count),
        ("LIST many/*9", count / 10),
        ("NLST many/file-?????99", count / 100),
        ("NLST many/*5", count / 10),
    ] {
        let mut session = RawSession::login(served.address, "u", "p");
        // The first use of each command touches memory that the directory does not cause.
        let _ = list(&mut session, &line.replace("many", "few").replace("*5", "*9"));
        let before = memory(process, "VmHWM:");
        let start = Instant::now();
        // A pause of the machine may come before the first byte.
        let (lines, first) = at_last("a quick first byte", || {
            Some(list(&mut session, line)).filter(|(_, first)| *first < FIRST_BYTE)
        });
        let grown = memory(process, "VmHWM:").saturating_sub(before);
        println!(
            "{line}: {lines} lines in {:?}, the first after {first:?}, {grown} KiB",
            start.elapsed()
        );
        assert_eq!(lines, want, "{line}");
        assert!(grown < GROWTH, "{line}: {grown} KiB");
    }
    // The name matches only the last entry, so the reply must wait for it.
    let mut session = RawSession::login(served.address, "u", "p");
    session.set_deadline(10 * DEADLINE);
    let before = memory(process, "VmHWM:");
    for line in ["NLST many/nothing*", "LIST many/*x"] {
        session.expect("PASV", 227);
        session.expect(line, 550);
    }
    assert!(memory(process, "VmHWM:").saturating_sub(before) < GROWTH);
}
