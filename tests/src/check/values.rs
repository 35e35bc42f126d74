//! Values in replies: times, facts, digests.

use ftp_proto::{Fact, Facts, FileDigest, TimeVal};

use super::{breaks_lines, plain_number};

/// Checks the value of `MDTM` replies, of the fact `modify` and of `MFMT`; and any number of
/// seconds.
pub fn time_val(data: &[u8]) {
    if let Some(seconds) = data.first_chunk().map(|bytes| i64::from_le_bytes(*bytes)) {
        // The number itself, and a number close enough to now to be in the calendar.
        for seconds in [seconds, seconds >> 26] {
            if let Some(time) = TimeVal::from_unix_seconds(seconds) {
                assert_eq!(time.unix_seconds(), seconds, "{time}");
                assert_eq!(TimeVal::parse(time.to_string().as_bytes()), Ok(time));
                let next = TimeVal::from_unix_seconds(seconds + 1);
                assert!(next.is_none_or(|next| next > time), "{time}");
            }
        }
    }
    let parsed = TimeVal::parse(data);
    assert_eq!(parsed.is_ok(), is_time(data), "{parsed:?}");
    let Ok(time) = parsed else { return };
    let text = time.to_string();
    assert_eq!(TimeVal::parse(text.as_bytes()), Ok(time));
    assert!(data.starts_with(text.get(..14).unwrap_or_default().as_bytes()), "{text}");
    assert!(time.nanosecond() < 1_000_000_000);
    let whole = TimeVal::from_unix_seconds(time.unix_seconds());
    if time.second() == 60 {
        let before = TimeVal::from_unix_seconds(time.unix_seconds() - 1).expect("it is a second");
        assert!(before < time && whole.is_none_or(|after| after > time));
    } else {
        let whole = whole.expect("a year with four digits").to_string();
        assert_eq!(text.split('.').next(), Some(whole.as_str()));
    }
}

/// Returns whether the text matches the grammar and is a date in the calendar.
fn is_time(text: &[u8]) -> bool {
    let (digits, fraction) = text.split_at_checked(14).unwrap_or((text, &[]));
    let number = |at: usize, length| {
        plain_number(digits.get(at..at + length)?).filter(|_| digits.len() == 14)
    };
    let two = |at| number(at, 2);
    let fields = (number(0, 4), two(4), two(6), two(8), two(10), two(12));
    let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) = fields
    else {
        return false;
    };
    let leaps = year % 400 == 0 || year % 4 == 0 && year % 100 != 0;
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leaps),
        _ => 0,
    };
    let is_fraction = match fraction.split_first() {
        Some((b'.', digits)) => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        other => other.is_none(),
    };
    (1..=last).contains(&day) && hour < 24 && minute < 60 && second <= 60 && is_fraction
}

/// Checks an entry of `MLSD`.
pub fn facts(data: &[u8]) {
    let first = data.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    // Facts that contain an SP end with `;` and SP.
    let is_closed = |at: usize| at == 0 || data.get(at - 1) == Some(&b';');
    let after = || data.windows(2).position(|pair| pair == b"; ").map(|at| at + 1);
    let after = || after().filter(|&at| may_hold_blanks(data.split_at(at - 1).0));
    let space = first.filter(|&at| data.get(at) == Some(&b' '));
    let space = space.map(|at| if is_closed(at) { at } else { after().unwrap_or(at) });
    let space = space.filter(|&at| at + 1 < data.len());
    // The last of several facts may lack its `;`, but not its `=`.
    let space = space.filter(|&at| {
        let facts = data.split_at(at).0;
        let unclosed = facts.iter().rposition(|&byte| byte == b';').map_or(0, |at| at + 1);
        let proof = if is_closed(at) { facts } else { facts.split_at(unclosed).1 };
        at == 0 || proof.contains(&b'=')
    });
    let facts = Facts::parse(data);
    assert_eq!(facts.is_ok(), space.is_some());
    let (Ok(facts), Some(space)) = (facts, space) else { return };
    let (head, name) = data.split_at(space);
    assert_eq!(facts.name(), name.get(1..).unwrap_or_default());
    let mut want: Vec<(&[u8], &[u8])> = Vec::new();
    for fact in head.split(|&byte| byte == b';') {
        let Some(equals) = fact.iter().position(|&byte| byte == b'=') else { continue };
        let (fact, value) = fact.split_at(equals);
        want.push((fact, value.get(1..).unwrap_or_default()));
    }
    assert!(facts.iter().eq(want.iter().copied()), "{facts:?}");
    // The first of two equal facts counts.
    let value = |wanted: &str| {
        let found = want.iter().find(|(fact, _)| fact.eq_ignore_ascii_case(wanted.as_bytes()));
        found.map(|(_, value)| *value)
    };
    for fact in ["type", "SIZE", "Modify", "unique", "perm", "UNIX.mode"] {
        assert_eq!(facts.get(fact), value(fact), "{fact}");
    }
    assert_eq!(facts.kind().is_some(), value("type").is_some());
    assert_eq!(facts.modify(), value("modify").and_then(|text| TimeVal::parse(text).ok()));
    assert_eq!(facts.size(), value("size").and_then(plain_number));
    let mut line = Vec::new();
    facts.encode(&mut line);
    assert!(line.len() <= data.len() + 1, "only a `;` may be added");
    assert_eq!(Facts::parse(&line), Ok(facts));
}

/// Returns whether all of `facts` are valid facts, with SP only in values of owners, groups and
/// unknown facts.
fn may_hold_blanks(facts: &[u8]) -> bool {
    facts.split(|&byte| byte == b';').all(|fact| {
        let Some(equals) = fact.iter().position(|&byte| byte == b'=') else { return false };
        let (name, value) = fact.split_at(equals);
        let strict = Fact::ALL.iter().filter(|fact| {
            !matches!(fact, Fact::UnixOwner | Fact::UnixGroup)
                && name.eq_ignore_ascii_case(fact.as_str().as_bytes())
        });
        !name.contains(&b' ') && (!value.contains(&b' ') || strict.count() == 0)
    })
}

/// Checks the text of a 213 reply to `HASH`.
pub fn file_digest(data: &[u8]) {
    let Ok(digest) = FileDigest::parse(data) else { return };
    let text = digest.encode();
    assert_eq!(FileDigest::parse(&text).as_ref(), Ok(&digest));
    assert!(!text.iter().copied().any(breaks_lines));
    assert!(digest.first <= digest.last && !digest.digest.is_empty());
    assert!(data.ends_with(digest.pathname.as_bytes()));
    let space = data.iter().position(|&byte| byte == b' ').expect("fields were told apart");
    assert_eq!(data.split_at(space).0.to_ascii_uppercase(), digest.algorithm.as_bytes());
}
