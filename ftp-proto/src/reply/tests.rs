use super::decoder::error;
use super::*;
use crate::bytes::any_chunking;
use crate::{ParseError, ParseErrorKind, limits};
use ParseErrorKind::{TooLong, UnexpectedByte};

#[test]
fn encode_writes_single_and_multi_line_replies_rp_01_rp_02_fr_24() {
    let code = ReplyCode::FILE_STATUS;
    for (reply, want) in [
        (Reply::new(code, "5"), &b"213 5\r\n"[..]),
        (Reply::new(code, ""), b"213 \r\n"),
        (Reply::new(code, &b"a\xff"[..]), b"213 a\xff\xff\r\n"),
        (
            Reply::multi_line(code, "a", ["213 b", " c", "1"], "d"),
            b"213-a\r\n 213 b\r\n c\r\n 1\r\n213 d\r\n",
        ),
        (Reply::multi_line(code, "a", [""; 0], "d"), b"213-a\r\n213 d\r\n"),
    ] {
        assert_eq!(reply.encode(), want);
    }
}

#[test]
fn a_name_cannot_forge_a_reply_rp_06() {
    let name = "x\r\n226 done\0";
    let reply = Reply::multi_line(ReplyCode::FILE_STATUS, name, [name], name);
    assert_eq!(reply.encode(), b"213-x??226 done?\r\nx??226 done?\r\n213 x??226 done?\r\n");
}

#[test]
fn conceal_removes_secrets_from_replies() {
    for (text, secret, want) in [
        ("'PASS S3cret': no", "S3cret", "'PASS ****': no"),
        ("S3cretS3cret, S3cre", "S3cret", "********, S3cre"),
        ("xS3cret1", "S3cret", "x****1"),
        ("no such password: p", "p", "no such password: ****"),
        ("p", "p", "****"),
        ("nothing", "", "nothing"),
        ("a\u{e9}b", "\u{e9}", "a\u{e9}b"),
    ] {
        let mut reply = Reply::new(ReplyCode::NOT_LOGGED_IN, text);
        reply.conceal(secret.as_bytes());
        assert_eq!(String::from_utf8_lossy(reply.text()), want, "{text}");
    }
    let mut reply = Reply::multi_line(ReplyCode::NOT_LOGGED_IN, "S3cret", ["- S3cret"], "S3cret");
    reply.conceal(b"S3cret");
    assert_eq!(reply.to_string(), "530 **** / - **** / ****");
}

#[test]
fn display_is_one_line_hc_28() {
    let reply = Reply::multi_line(ReplyCode::HELP, "a", [" b\x1b[2J"], "c");
    assert_eq!(reply.to_string(), "214 a / b\\x1b[2J / c");
}

#[test]
fn text_is_the_last_line() {
    let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "first", [" a"], "last");
    assert_eq!(reply.text(), b"last");
    assert_eq!(Reply::new(ReplyCode::SYSTEM_STATUS, "only").text(), b"only");
    assert_eq!(format!("{reply:?}"), "Reply(211 first / a / last)");
}

#[test]
fn parse_reads_three_digits_rp_21() {
    for (line, want) in [
        ("220 x", Some(220)),
        ("599", Some(599)),
        ("2201", Some(220)),
        ("099", None),
        ("600", None),
        ("22", None),
        ("2 0", None),
        ("", None),
        ("abc", None),
    ] {
        assert_eq!(ReplyCode::parse(line.as_bytes()).map(ReplyCode::value), want, "{line}");
    }
}

#[test]
fn the_first_digit_determines_the_severity() {
    for (code, severity) in [
        (150, Severity::Preliminary),
        (200, Severity::Completion),
        (331, Severity::Intermediate),
        (425, Severity::Transient),
        (511, Severity::Permanent),
        (599, Severity::Permanent),
    ] {
        let code = ReplyCode::new(code).unwrap();
        assert_eq!(code.severity(), severity, "{code}");
    }
}

/// Returns all replies as code and joined lines, and the error that ended them.
fn decode(pieces: &[&[u8]]) -> (Vec<(u16, Vec<u8>)>, Option<ParseError>) {
    let mut decoder = ReplyDecoder::new();
    let mut replies = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let taken = decoder.push(rest);
            assert!(taken > 0, "push made no progress");
            rest = &rest[taken..];
            loop {
                match decoder.next() {
                    Ok(Some(reply)) => {
                        let lines: Vec<&[u8]> = reply.lines().collect();
                        replies.push((reply.code().value(), lines.join(&b'|')));
                    }
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
    }
    (replies, None)
}

fn gives(input: &[u8], want: &[(u16, &[u8])]) {
    let want = want.iter().map(|(code, text)| (*code, text.to_vec())).collect();
    any_chunking(input, decode, &(want, None));
}

#[test]
fn single_lines_rp_01_rp_17_rp_19() {
    gives(
        b"220 hello\r\n331\r\n200 \n500 a\rb\n226-\r\n226\r\n",
        &[(220, b"hello"), (331, b""), (200, b""), (500, b"a\rb"), (226, b"|")],
    );
}

#[test]
fn multi_line_rp_02_rp_18() {
    gives(
        b"211-Features:\r\n SIZE\r\n\r\n213 no\r\n211-no\r\n2110\r\n211 End\r\n200 x\r\n",
        &[(211, b"Features:| SIZE||213 no|211-no|2110|End"), (200, b"x")],
    );
    gives(b"250-a\n b\n250\n", &[(250, b"a| b|")]);
}

#[test]
fn any_bytes_are_text_rp_22_fr_24() {
    gives(b"257 \"\xe9\xff\xffx\xff\"\r\n", &[(257, b"\"\xe9\xffx\xff\"")]);
}

#[test]
fn invalid_replies_are_rejected_rp_21_hc_29() {
    for (input, at) in [
        (&b"hello\r\n"[..], 0),
        (b"\r\n", 0),
        (b"22\r\n", 0),
        (b"099 x\r\n", 0),
        (b"600 x\r\n", 0),
        (b"220x\r\n", 3),
        (b"2200\r\n", 3),
        (b" 220 x\r\n", 0),
        (b"SSH-2.0-x\r\n", 0),
        (b"HTTP/1.1 400\r\n", 0),
    ] {
        any_chunking(input, decode, &(vec![], Some(error(at, UnexpectedByte))));
    }
}

#[test]
fn the_longest_line_rp_20_hc_13() {
    let mut input = b"220 ".to_vec();
    input.resize(limits::REPLY_LINE, b'x');
    let fits = input.clone();
    input.extend_from_slice(b"\r\n");
    for size in [1, 100, 16_000] {
        let pieces: Vec<&[u8]> = input.chunks(size).collect();
        assert_eq!(decode(&pieces), (vec![(220, fits[4..].to_vec())], None));
    }
    let endless = vec![b'2'; limits::REPLY_LINE + 2];
    for size in [1, 100, endless.len()] {
        let pieces: Vec<&[u8]> = endless.chunks(size).collect();
        let want = Some(error(limits::REPLY_LINE, TooLong));
        assert_eq!(decode(&pieces), (vec![], want), "no line end is needed to refuse");
    }
}

#[test]
fn long_replies_are_truncated_but_keep_their_end_rp_20() {
    let mut input = b"211-\r\n".to_vec();
    for _ in 0..1_000 {
        input.extend_from_slice(&[b'x'; 500]);
        input.extend_from_slice(b"\r\n");
    }
    input.extend_from_slice(b"211 end\r\n200 next\r\n");
    let pieces: Vec<&[u8]> = input.chunks(4_096).collect();
    let (replies, error) = decode(&pieces);
    assert_eq!(error, None);
    assert_eq!(replies.len(), 2);
    assert!(replies[0].1.len() <= limits::REPLY_TEXT + limits::REPLY_LINE);
    assert!(replies[0].1.ends_with(b"x|end"));
    assert_eq!(replies[1], (200, b"next".to_vec()));
}

#[test]
fn a_truncated_reply_is_marked_rp_20() {
    let line = [&[b'x'; 500][..], b"\r\n"].concat();
    for (lines, limit, want) in [
        (130, limits::REPLY_TEXT, false),
        (131, limits::REPLY_TEXT, true),
        (1_000, limits::REPLY_TOTAL, false),
    ] {
        let mut decoder = ReplyDecoder::new();
        decoder.set_text_limit(limit);
        let input = [b"211-\r\n", &line.repeat(lines)[..], b"211 end\r\n200 next\r\n"].concat();
        let mut replies = Vec::new();
        let mut rest = input.as_slice();
        while !rest.is_empty() {
            let taken = decoder.push(rest);
            rest = &rest[taken..];
            replies.extend(std::iter::from_fn(|| decoder.next().unwrap()));
        }
        let [reply, next] = replies.as_slice() else { panic!("{} replies", replies.len()) };
        assert_eq!(reply.is_cut(), want, "{lines} lines");
        assert_eq!(reply.lines().count() == lines + 2, !want, "{lines} lines");
        assert!(!next.is_cut());
    }
}

#[test]
fn endless_replies_are_rejected_rp_20_hc_12() {
    for line in [&b"220-more\r\n"[..], b"\n"] {
        let mut decoder = ReplyDecoder::new();
        let _ = decoder.push(b"220-\r\n");
        let mut pushed = 0;
        let error = loop {
            pushed += decoder.push(line);
            match decoder.next() {
                Ok(reply) => assert_eq!(reply, None),
                Err(error) => break error,
            }
            assert!(pushed < 4 * limits::REPLY_TOTAL);
            assert!(decoder.text.capacity() <= 2 * (limits::REPLY_TEXT + limits::REPLY_LINE));
        };
        assert_eq!(error.kind, TooLong);
        assert!(!decoder.is_clear());
        let _ = decoder.push(b"220 end\r\n");
        assert!(decoder.next().is_err(), "the error stays");
    }
}

#[test]
fn a_million_features_are_rejected_rp_20_hc_22() {
    let mut decoder = ReplyDecoder::new();
    let _ = decoder.push(b"211-Features:\r\n");
    let (mut lines, mut held) = (0, 0);
    let error = loop {
        lines += 1;
        assert!(lines < 1_000_000, "all of it was read");
        let _ = decoder.push(format!(" F{lines}\r\n").as_bytes());
        match decoder.next() {
            Ok(reply) => assert_eq!(reply, None),
            Err(error) => break error,
        }
        held = held.max(decoder.text.len());
    };
    assert_eq!(error, ParseError::new("reply", limits::REPLY_TOTAL, TooLong));
    assert!(held > limits::REPLY_TEXT / 2 && held <= limits::REPLY_TEXT, "{held} bytes");
    assert_eq!(decoder.text.capacity(), 0, "what was kept of it is given back");
}

#[test]
fn is_clear_between_replies_cl_13() {
    let mut decoder = ReplyDecoder::new();
    assert!(decoder.is_clear());
    for (bytes, clear) in [(&b"220-"[..], false), (b"a\r\n", false), (b"220 b\r\n", true)] {
        let _ = decoder.push(bytes);
        while decoder.next().unwrap().is_some() {}
        assert_eq!(decoder.is_clear(), clear, "{bytes:?}");
    }
    let _ = decoder.push(b"200 a\r\n200 b\r\n");
    assert!(decoder.next().unwrap().is_some());
    assert!(!decoder.is_clear());
}

#[test]
fn encoded_values_round_trip() {
    for reply in [
        Reply::new(ReplyCode::OKAY, ""),
        Reply::new(ReplyCode::PATHNAME, &b"\"/\xff\xff\""[..]),
        Reply::multi_line(ReplyCode::SYSTEM_STATUS, "a", ["211 x", "", " y"], "End"),
    ] {
        let mut decoder = ReplyDecoder::new();
        let _ = decoder.push(&reply.encode());
        assert_eq!(decoder.next(), Ok(Some(reply)));
        assert!(decoder.is_clear());
    }
}

#[test]
fn reading_ahead_is_bounded() {
    let mut decoder = ReplyDecoder::new();
    assert_eq!(decoder.room(), limits::READ_AHEAD);
    assert_eq!(decoder.push(b"200 a\r\n"), 7);
    assert_eq!(decoder.room(), limits::READ_AHEAD - 7);
}

#[test]
fn replies_follow_the_state_diagrams() {
    use Progress::{Final, Preliminary};
    for (verb, code, want) in [
        (Verb::Retr, 150, Some(Preliminary)),
        (Verb::Retr, 125, Some(Preliminary)),
        (Verb::Retr, 226, Some(Final)),
        (Verb::Retr, 350, None),
        (Verb::Retr, 425, Some(Final)),
        (Verb::Noop, 150, Some(Preliminary)),
        (Verb::Noop, 299, Some(Final)),
        (Verb::Rest, 350, Some(Final)),
        (Verb::Rest, 250, None),
        (Verb::Rnfr, 550, Some(Final)),
        (Verb::User, 331, Some(Final)),
        (Verb::User, 230, Some(Final)),
        (Verb::Pass, 332, Some(Final)),
        (Verb::Pass, 150, Some(Preliminary)),
        (Verb::Type, 331, None),
        (Verb::Rein, 120, Some(Preliminary)),
        (Verb::Stat, 211, Some(Final)),
        (Verb::Abor, 225, Some(Final)),
        (Verb::Rnto, 350, None),
        (Verb::Feat, 331, Some(Final)),
        (Verb::parse(b"XYZZY").unwrap(), 350, Some(Final)),
        (Verb::parse(b"XYZZY").unwrap(), 150, Some(Preliminary)),
    ] {
        let code = ReplyCode::new(code).unwrap();
        let unexpected = UnexpectedReply { verb, code };
        assert_eq!(Exchange::new(verb).reply(code), want.ok_or(unexpected), "{verb} {code}");
    }
}

#[test]
fn reply_codes_of_known_verbs_are_sorted() {
    for verb in Verb::KNOWN {
        let codes = codes_of(*verb).unwrap();
        assert!(codes.is_sorted_by(|one, next| one < next), "{verb}");
        assert!(codes.iter().all(|code| (100..600).contains(code)), "{verb}");
    }
}

#[test]
fn codes_are_listed_for_their_verbs() {
    for (verb, code, want) in [
        (Verb::Retr, 150, true),
        (Verb::Retr, 226, true),
        (Verb::Retr, 350, false),
        (Verb::Retr, 452, false),
        (Verb::Stor, 452, true),
        (Verb::User, 331, true),
        (Verb::User, 550, false),
        (Verb::Noop, 200, true),
        (Verb::Noop, 250, false),
        (Verb::Noop, 421, true),
        (Verb::Size, 213, true),
        (Verb::Prot, 431, true),
        (Verb::Pbsz, 431, false),
        (Verb::parse(b"XYZZY").unwrap(), 500, true),
        (Verb::parse(b"XYZZY").unwrap(), 200, false),
    ] {
        assert_eq!(is_listed(verb, ReplyCode::new(code).unwrap()), want, "{verb} {code}");
    }
}

#[test]
fn several_preliminary_replies_are_allowed_cl_08() {
    let mut exchange = Exchange::new(Verb::Stor);
    for _ in 0..3 {
        assert_eq!(exchange.reply(ReplyCode::ABOUT_TO_OPEN_DATA), Ok(Progress::Preliminary));
    }
    assert!(!exchange.is_ended());
    assert_eq!(exchange.reply(ReplyCode::FILE_ACTION_OKAY), Ok(Progress::Final));
    assert!(exchange.is_ended());
}

#[test]
fn read_accepts_lines_with_and_without_a_leading_space_cl_19() {
    let lines = [" SIZE", "MDTM", "", " AUTH TLS", " REST STREAM"];
    let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", lines, "End");
    let features = Features::read(&reply);
    assert_eq!(format!("{features:?}"), r#"["SIZE", "MDTM", "AUTH TLS", "REST STREAM"]"#);
    for (word, want) in [
        ("size", Some("")),
        ("MDTM", Some("")),
        ("AUTH", Some("TLS")),
        ("REST", Some("STREAM")),
        ("RES", None),
        ("SIZES", None),
        ("End", None),
    ] {
        assert_eq!(features.parameters(word), want.map(str::as_bytes), "{word}");
    }
}

#[test]
fn read_accepts_lines_with_a_repeated_code_cl_19() {
    let lines = ["211-SIZE", "211- MDTM", "211-REST STREAM", "213-TVFS", "211-", " 211-MLST"];
    let mut sent = b"211-Features:\r\n".to_vec();
    lines.iter().for_each(|line| sent.extend_from_slice(format!("{line}\r\n").as_bytes()));
    sent.extend_from_slice(b"211 End\r\n");
    let mut decoder = ReplyDecoder::new();
    let _ = decoder.push(&sent);
    let features = Features::read(&decoder.next().unwrap().unwrap());
    let listed: Vec<_> = features.iter().collect();
    let want: [(&[u8], &[u8]); 5] = [
        (b"SIZE", b""),
        (b"MDTM", b""),
        (b"REST", b"STREAM"),
        (b"213-TVFS", b""),
        (b"211-MLST", b""),
    ];
    assert_eq!(listed, want);
}

#[test]
fn all_lines_of_a_feature_are_found_cl_19() {
    let lines = [" AUTH SSL", " SIZE", " Auth TLS", " auth", " AUTHX y", " PBSZ  0 "];
    let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", lines, "End");
    let features = Features::read(&reply);
    let all = |word| features.all_parameters(word).collect::<Vec<_>>();
    assert_eq!(all("AUTH"), [&b"SSL"[..], b"TLS", b""]);
    assert_eq!(features.parameters("auth"), Some(&b"SSL"[..]));
    assert_eq!(all("PBSZ"), [&b" 0 "[..]]);
    assert_eq!(all("MDTM"), [&b""[..]; 0]);
    let words: Vec<_> = features.iter().map(|(word, _)| word).collect();
    assert_eq!(words, [&b"AUTH"[..], b"SIZE", b"Auth", b"auth", b"AUTHX", b"PBSZ"]);
}

#[test]
fn feature_choices_and_words_are_parsed() {
    let lines = [
        " MLST Type*;size;; modify* ;",
        " REST STREAM",
        " SITE CHMOD",
        " SITE MKDIR;UTIME;SYMLINK",
        " HASH",
    ];
    let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", lines, "End");
    let features = Features::read(&reply);
    let facts: Vec<_> = features.choices("mlst").collect();
    assert_eq!(facts, [(&b"Type"[..], true), (b"size", false), (b"modify", true)]);
    assert_eq!(features.choices("HASH").count() + features.choices("AUTH").count(), 0);
    for (feature, word, want) in [
        ("rest", "stream", true),
        ("REST", "STREA", false),
        ("SITE", "CHMOD", true),
        ("SITE", "utime", true),
        ("SITE", "SITE", false),
        ("RANG", "STREAM", false),
    ] {
        assert_eq!(features.has_with(feature, word), want, "{feature} {word}");
    }
}

#[test]
fn a_single_line_reply_has_no_features() {
    let reply = Reply::new(ReplyCode::SYSTEM_STATUS, "no-features");
    assert_eq!(Features::read(&reply), Features::default());
}

#[test]
fn has_matches_the_whole_word() {
    let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", [" SIZE"], "End");
    let features = Features::read(&reply);
    assert!(features.has("size") && !features.has("MDTM") && !features.has("SIZ"));
}

#[test]
fn a_line_with_another_code_may_end_a_reply_rp_18() {
    for (input, may, want) in [
        (&b"553-a\r\n553- b\r\n150 c\r\n"[..], true, Some(150)),
        (b"553-a\r\n150 c\r\n more\r\n", false, None),
        (b"553-a\r\n150 c\r\nm", false, None),
        (b"553-a\r\n150-c\r\n", false, None),
        (b"553-a\r\n", false, None),
        (b"553-a\r\n150 c\r\n553 d\r\n", false, None),
    ] {
        let mut decoder = ReplyDecoder::new();
        assert_eq!(decoder.push(input), input.len());
        let whole = decoder.next().unwrap();
        assert_eq!(decoder.may_have_ended(), may, "{}", input.escape_ascii());
        let ended = decoder.end();
        assert_eq!(ended.map(|reply| reply.code().value()), want, "{}", input.escape_ascii());
        assert!(whole.is_none() || decoder.is_clear());
        assert_eq!(decoder.is_clear(), may || whole.is_some(), "{}", input.escape_ascii());
    }
}
