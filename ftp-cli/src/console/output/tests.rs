use std::time::{Duration, Instant};

use super::*;

#[test]
fn printable_escapes_once_li_04() {
    for (text, want) in [
        ("plain \u{e9}", "plain \u{e9}"),
        ("a\\x1b[2J", "a\\x1b[2J"),
        ("\x1b]0;x\x07\u{202e}", "\\x1b]0;x\\x07\\u{202e}"),
        ("two\nlines", "two\\x0alines"),
    ] {
        assert_eq!(Printable(text).to_string(), want);
    }
}

#[test]
fn arguments_that_may_hold_a_password_are_hidden_in_every_form() {
    let arguments = [
        "get",
        "--jobs=ftp://u:S3cret@h/x",
        "-uu:S3cret@h",
        "u:S3\"cret\x1b@h",
        "ftp://u@h/x",
        "u@h:x",
        "10:30",
    ];
    let hidden = Hidden::among(&arguments.map(OsString::from));
    for (text, want) in [
        ("\"ftp://u:S3cret@h/x\" is not", "\"(an argument that may hold a password)\" is not"),
        ("u:S3cret@h/y: missing", "(an argument that may hold a password)/y: missing"),
        ("u:S3\"cret\\x1b@h", "(an argument that may hold a password)"),
        ("u:S3\\\"cret\x1b@h", "(an argument that may hold a password)"),
        ("ftp://u@h/x, u@h:x, 10:30", "ftp://u@h/x, u@h:x, 10:30"),
    ] {
        assert_eq!(hidden.leave_out(text), want);
    }
    assert_eq!(Hidden::default().leave_out("a:b@c"), "a:b@c");
}

#[test]
fn plain_removes_os_error_numbers() {
    for (text, want) in [
        ("x: Permission denied (os error 13)", "x: Permission denied"),
        ("C:\\x: Path not found. (os error 3); use -c", "C:\\x: Path not found; use -c"),
        ("a (os error 2) at path \"b\"; c (os error 111)", "a at path \"b\"; c"),
        ("a (os error ), b (os error x) (os error 1", "a (os error ), b (os error x) (os error 1"),
        ("x: unexpected byte at byte 12; y", "x: unexpected byte; y"),
        ("nothing", "nothing"),
    ] {
        assert_eq!(plain(text), want);
    }
}

#[test]
fn a_transfer_in_zero_time_has_a_zero_rate() {
    assert_eq!(transferred(0, Duration::ZERO), "0 B in 0.00 s (0 B/s)");
    let half = transferred(1_048_576, Duration::from_millis(500));
    assert_eq!(half, "1.0 MiB in 0.50 s (2.0 MiB/s)");
}

#[test]
fn shown_leaves_out_the_password_of_a_url() {
    for (path, want) in [
        ("a:b@c", "a:b@c"),
        ("/d/http://u:p@h", "/d/http://u:p@h"),
        ("ftp://h/x", "ftp://h/x"),
        ("FTPES://u:p@q@h/x", "FTPES://****@h/x"),
    ] {
        assert_eq!(shown(path.as_bytes()), want);
    }
}

/// Buffer that keeps all written bytes, shared by its clones.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn only_grades_at_the_beginning_of_a_line_have_a_colour() {
    let report = "ok    a\nokay  ok b\n      ok c\nfail  d\nwarn  e";
    let want = "\x1b[32mok\x1b[0m    a\nokay  ok b\n      ok c\n\
                \x1b[31mfail\x1b[0m  d\n\x1b[33mwarn\x1b[0m  e";
    assert_eq!(graded(report), want);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("list");
    std::fs::write(&path, vec![b'x'; 4 << 20]).unwrap();
    assert_eq!(read_whole(&path).unwrap().0.len(), 4 << 20);
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::options().append(true).open(&path).unwrap();
            while !has_ended.load(Ordering::Relaxed) {
                file.write_all(b"x").unwrap();
            }
        });
        let end = Instant::now() + Duration::from_secs(60);
        let mut is_refused = false;
        while !is_refused && Instant::now() < end {
            is_refused = read_whole(&path).is_err();
        }
        has_ended.store(true, Ordering::Relaxed);
        assert!(is_refused);
    });
}
