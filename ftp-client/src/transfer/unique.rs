//! The file name that a server chose for `STOU`.

use ftp_proto::{Pathname, Reply};

/// Finds the name in a reply. RFC 1123 §4.1.2.9 defines `150 FILE: name`. Some servers put words
/// before `FILE:`; BSD servers put the name at the end, `226 Transfer complete (unique file
/// name:name).`; others quote it. The name may be on any line.
pub(super) fn name(reply: &Reply) -> Option<Pathname> {
    reply.lines().find_map(name_in)
}

fn name_in(text: &[u8]) -> Option<Pathname> {
    let name = if let Some(rest) = text_after(text, b"unique file name:") {
        let end = rest.iter().rposition(|&byte| byte == b')').unwrap_or(rest.len());
        rest.get(..end).expect("`end` is within the text")
    } else if let Some(rest) = text_after(text, b"FILE:") {
        rest
    } else {
        return Pathname::parse_quoted(text).ok();
    };
    let name = name.strip_prefix(b" ").unwrap_or(name);
    Pathname::new(name).ok()
}

/// Returns the text after the first `word` that is at the beginning or follows a space or an
/// opening parenthesis.
fn text_after<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let mut windows = text.windows(word.len()).enumerate();
    let (at, _) = windows.find(|(at, window)| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        window.eq_ignore_ascii_case(word) && before.is_none_or(|byte| matches!(byte, b' ' | b'('))
    })?;
    text.get(at + word.len()..)
}

#[cfg(test)]
mod tests {
    use ftp_proto::ReplyCode;

    use super::*;

    #[test]
    fn names_in_stou_replies_are_found() {
        for (text, want) in [
            ("FILE: a.1", Some("a.1")),
            ("File: a b ", Some("a b ")),
            ("FILE:a", Some("a")),
            ("Opening data connection. FILE: /home/u/x", Some("/home/u/x")),
            ("Transfer complete (unique file name:a.1).", Some("a.1")),
            ("Transfer complete (unique file name: a(1)).", Some("a(1)")),
            ("Stored as \"a\"\"b\"", Some("a\"b")),
            ("PROFILE: a", None),
            ("FILE: ", None),
            ("Opening BINARY mode data connection.", None),
            ("", None),
        ] {
            let found = name(&Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, text));
            let found = found.map(Pathname::into_bytes);
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{text}");
        }
        // A reply of Pure-FTPd.
        let lines = ["FILE: pureftpd.1"];
        let code = ReplyCode::FILE_ACTION_OKAY;
        let reply = Reply::multi_line(code, "FILE: pureftpd.0", lines, "Accepted data connection");
        assert_eq!(name(&reply).map(Pathname::into_bytes), Some(b"pureftpd.0".to_vec()));
    }
}
