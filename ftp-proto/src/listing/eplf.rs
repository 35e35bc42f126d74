//! EPLF, the Easily Parsed LIST Format: `+facts<TAB>name`, by D. J. Bernstein, sent by publicfile,
//! anonftpd and others (<https://cr.yp.to/ftp/list/eplf.html>).

use super::entry::{Entry, EntryKind, Modified, Permissions, Precision, Zone};
use crate::bytes;
use crate::time_val::TimeVal;

/// Parses one line: `+`, the facts, TAB and the name. Each fact ends with `,`. Unknown facts are
/// skipped; if a fact occurs twice, the first one counts.
pub(super) fn parse(line: &[u8]) -> Option<Entry> {
    let line = line.strip_prefix(b"+")?;
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let mut entry = Entry::new(line.get(tab + 1..)?);
    let mut retrieve = false;
    let mut enter = false;
    let mut sized = false;
    for fact in line.get(..tab)?.split(|&byte| byte == b',') {
        match fact {
            b"r" => retrieve = true,
            b"/" => enter = true,
            [b's', digits @ ..] if !sized => {
                entry.set_size(digits);
                sized = true;
            }
            [b'm', digits @ ..] if entry.modified.is_none() => {
                let seconds = bytes::decimal(digits).and_then(|value| i64::try_from(value).ok());
                let time = seconds.and_then(TimeVal::from_unix_seconds);
                let utc = |time| Modified { time, precision: Precision::Second, zone: Zone::Utc };
                entry.modified = time.map(utc);
            }
            [b'u', b'p', digits @ ..] if entry.permissions.is_none() => {
                entry.permissions = Permissions::read_octal(digits);
            }
            _ => {}
        }
    }
    // `r` means that RETR may work, and `/` that CWD may work. With both or neither, the type is
    // unknown.
    entry.kind = match (retrieve, enter) {
        (true, false) => Some(EntryKind::File),
        (false, true) => Some(EntryKind::Directory),
        _ => None,
    };
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_bounded_hc_23_hc_32() {
        let bomb = format!("+{}r,s7,s8,\tname", "x=,".repeat(20_000));
        let entry = parse(bomb.as_bytes()).unwrap();
        assert_eq!((entry.size, entry.kind), (Some(7), Some(EntryKind::File)));
        for facts in ["m99999999999999", "m-1", "m", "m9223372036854775808", "m1e3"] {
            let line = format!("+{facts},up999,s-1,\t../x");
            let entry = parse(line.as_bytes()).unwrap();
            assert_eq!((entry.modified, entry.permissions, entry.size), (None, None, None));
            assert!(!entry.is_safe_name());
        }
        for line in ["+", "+r,s1, name", "", "+r"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        assert!(!parse(b"+\t").unwrap().is_safe_name());
        assert_eq!(parse(b"+r,/,\tx").unwrap().kind, None);
    }
}
