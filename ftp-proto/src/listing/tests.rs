use super::*;

fn reference() -> TimeVal {
    TimeVal::parse(b"20240301000000").unwrap()
}

#[test]
fn form_returns_the_format_of_the_last_entry() {
    let mut parser = ListParser::new(reference());
    assert_eq!(parser.form(), None);
    for (line, want) in [
        (&b"-rw-r--r-- 1 a b 5 Jan 1 10:00 x"[..], ListForm::Unix),
        (b"total 5", ListForm::Unix),
        (b"01-02-21  10:11AM  5 x", ListForm::Dos),
        (b"+,\tx", ListForm::Eplf),
        (b"nothing of the kind", ListForm::Eplf),
        (b"size=5; x", ListForm::Facts),
    ] {
        parser.parse(line);
        assert_eq!(parser.form(), Some(want), "{}", Escaped(line));
    }
}

#[test]
fn mlsx_lines_without_a_fact_are_unparsed() {
    for line in ["size=5 x", "size; x", "; x", "= x"] {
        let got = ListLine::parse(line.as_bytes(), reference());
        assert_eq!(got, Some(ListLine::Unparsed(line.into())), "{line}");
    }
}

#[test]
fn lines_that_only_begin_with_total_are_not_headers_ls_42() {
    for line in [
        "total abc",
        "total 12abcd",
        "total 12é",
        "total 12 more",
        "total 1,5 GB x",
        "total of them",
        "error 550",
        "x.txt 12",
    ] {
        let got = ListLine::parse(line.as_bytes(), reference());
        assert_eq!(got, Some(ListLine::Unparsed(line.into())), "{line}");
    }
}

#[test]
fn a_year_after_the_time_begins_the_name_ls_43() {
    let line = b"-rw-r--r-- 1 a b 5 May 28 19:50 2023 photo.jpg";
    let mut parser = ListParser::new(reference());
    for _ in 0..2 {
        let Some(ListLine::Entry(entry)) = parser.parse(line) else { panic!("not an entry") };
        assert_eq!(entry.name, b"2023 photo.jpg");
    }
}

#[test]
fn totals_in_other_languages_are_skipped_ls_42() {
    for line in
        ["samtals 8", "összesen 8", "toplam 8", "celkem 8", "yhteensä 8", "всього 8", "Summa: 8"]
    {
        let mut parser = ListParser::new(reference());
        assert_eq!(parser.parse(b""), None);
        assert_eq!(parser.parse(line.as_bytes()), None, "{line}");
        // After the first line, only known words are totals.
        let want = match line.starts_with("Summa") {
            true => Some(ListLine::Unparsed(line.into())),
            false => None,
        };
        assert_eq!(parser.parse(line.as_bytes()), want, "{line}");
    }
}

#[test]
fn a_slash_after_the_name_of_a_directory_is_removed() {
    for (line, name) in [
        ("drwxr-xr-x 1 a b 5 Jan 1 10:00 x/", "x"),
        ("-rw-r--r-- 1 a b 5 Jan 1 10:00 x/", "x/"),
        ("drwxr-xr-x 1 a b 5 Jan 1 10:00 a/x/", "a/x"),
        ("01-02-21  10:11AM       <DIR>          x/", "x"),
        ("drwxr-xr-x 1 a b 5 Jan 1 10:00 /", "/"),
    ] {
        let Some(ListLine::Entry(entry)) = ListLine::parse(line.as_bytes(), reference()) else {
            panic!("{line}")
        };
        assert_eq!(entry.name_lossy(), name, "{line}");
    }
}

#[test]
fn a_slash_after_the_name_of_a_directory_is_no_part_of_it_in_any_listing() {
    use EntryKind::{Directory, File};
    let names = |line: &str| ListLine::parse_name(line.as_bytes(), b"pub");
    let facts = |line: &str| ListLine::parse_facts(line.as_bytes());
    for (line, name, kind) in [
        (names("sub/"), "sub", Some(Directory)),
        (names("pub/sub/"), "sub", Some(Directory)),
        (names("./sub/"), "sub", Some(Directory)),
        (names("pub/"), "pub", Some(Directory)),
        (names("sub"), "sub", None),
        (names("a//"), "a/", Some(Directory)),
        (names("/"), "/", None),
        (facts("type=dir; sub/"), "sub", Some(Directory)),
        (facts("type=file; x/"), "x/", Some(File)),
        (facts("modify=20240101000000; x/"), "x/", None),
    ] {
        let Some(ListLine::Entry(entry)) = line else { panic!("{name}") };
        assert_eq!((&*entry.name_lossy(), entry.kind), (name, kind));
    }
    let Some(ListLine::Entry(entry)) = facts("type=cdir; ./") else { panic!("no entry") };
    assert_eq!(entry.role, Role::Itself);
}

#[test]
fn blank_lines_between_facts_are_skipped() {
    for line in ["", " ", "\r", "\t"] {
        assert_eq!(ListLine::parse_facts(line.as_bytes()), None, "{line:?}");
    }
    for line in ["  ", "\t\t", "x"] {
        assert_ne!(ListLine::parse_facts(line.as_bytes()), None, "{line:?}");
    }
}

#[test]
fn eplf_facts_are_bounded_hc_23_hc_32() {
    let bomb = format!("+{}r,s7,s8,\tname", "x=,".repeat(20_000));
    let entry = parse_eplf(bomb.as_bytes()).unwrap();
    assert_eq!((entry.size, entry.kind), (Some(7), Some(EntryKind::File)));
    for facts in ["m99999999999999", "m-1", "m", "m9223372036854775808", "m1e3"] {
        let line = format!("+{facts},up999,s-1,\t../x");
        let entry = parse_eplf(line.as_bytes()).unwrap();
        assert_eq!((entry.modified, entry.permissions, entry.size), (None, None, None));
        assert!(!entry.is_safe_name());
    }
    for line in ["+", "+r,s1, name", "", "+r"] {
        assert_eq!(parse_eplf(line.as_bytes()), None, "{line}");
    }
    assert!(!parse_eplf(b"+\t").unwrap().is_safe_name());
    assert_eq!(parse_eplf(b"+r,/,\tx").unwrap().kind, None);
}

mod lines {
    use super::super::*;
    use crate::bytes::any_chunking;

    fn read(pieces: &[&[u8]]) -> Vec<ListEvent> {
        let mut reader = ListReader::new();
        let mut events = Vec::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                piece = &piece[reader.push(piece)..];
                events.extend(std::iter::from_fn(|| reader.next()));
                assert!(reader.line.len() <= limits::LISTING_LINE + 1);
                assert_eq!(reader.room(), limits::READ_AHEAD);
            }
        }
        events.extend(reader.finish());
        assert_eq!(reader.finish(), None);
        events
    }

    fn lines(lines: &[&str]) -> Vec<ListEvent> {
        lines.iter().map(|line| ListEvent::Line(line.as_bytes().to_vec())).collect()
    }

    #[test]
    fn lines_are_the_same_for_any_chunking_go_02() {
        for (input, want) in [
            ("", &[][..]),
            ("\r\n", &[""]),
            ("a\r\nb\nc", &["a", "b", "c"]),
            ("a\r\n\r\n\nb\r\n", &["a", "", "", "b"]),
            ("a\rb\r\r\nc\r", &["a\rb\r", "c"]),
            ("\0\u{ff}\n", &["\0\u{ff}"]),
        ] {
            any_chunking(input.as_bytes(), read, &lines(want));
        }
    }

    #[test]
    fn a_line_of_the_maximum_length_is_accepted_hc_15() {
        let longest = "x".repeat(limits::LISTING_LINE);
        for end in ["", "\r", "\n", "\r\n"] {
            let input = format!("{longest}{end}");
            assert_eq!(read(&[input.as_bytes()]), lines(&[&longest]));
            let (head, tail) = input.as_bytes().split_at(limits::LISTING_LINE);
            assert_eq!(read(&[head, tail]), lines(&[&longest]));
        }
    }

    #[test]
    fn an_overlong_line_is_reported_at_once_and_skipped_hc_15() {
        for tail in ["x", "xx", "\rx", "\r\r"] {
            let line = format!("{}{tail}", "x".repeat(limits::LISTING_LINE));
            let want = [vec![ListEvent::TooLong], lines(&["next"])].concat();
            for cut in limits::LISTING_LINE - 1..line.len() {
                let (head, tail) = line.as_bytes().split_at(cut);
                let more = vec![b'y'; limits::READ_AHEAD * 3];
                assert_eq!(read(&[head, tail, &more, b"\r\nnext\r\n"]), want);
                assert_eq!(read(&[head, tail, b"\r\nne", b"xt"]), want);
            }
            assert_eq!(read(&[line.as_bytes()]), [ListEvent::TooLong]);
        }
    }

    #[test]
    fn an_endless_line_yields_one_event_hc_15() {
        let mut reader = ListReader::new();
        let piece = [b'-'; limits::READ_AHEAD];
        let mut events = 0;
        for _ in 0..4_096 {
            assert_eq!(reader.push(&piece), piece.len());
            while reader.next().is_some() {
                events += 1;
            }
            assert!(reader.line.capacity() + reader.input.capacity() <= 4 * limits::LISTING_LINE);
        }
        assert_eq!((events, reader.finish()), (1, None));
    }
}
