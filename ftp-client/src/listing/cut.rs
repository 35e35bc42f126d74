//! Whether the final reply of a listing says that entries are missing.

use ftp_proto::Reply;

/// Phrases, in lower case, with which servers report a truncated listing in a final 226.
const CUT: [&[u8]; 28] = [
    // Pure-FTPd: "Output truncated to 10000 matches".
    b"truncated",
    b"incomplete",
    b"not complete",
    b"partial list",
    b"partial director",
    b"limit reached",
    b"limit exceeded",
    b"limit was reached",
    b"exceeds the limit",
    b"too many",
    b"only the first",
    // vsftpd: "Transfer done (but failed to open directory)."
    b"failed",
    // Pure-FTPd: "Sorry, we were unable to read [d]".
    b"unable to",
    b"could not",
    b"couldn't",
    b"cannot",
    b"can't",
    b"can not",
    b"not able to",
    b"permission denied",
    b"access denied",
    b"access is denied",
    b"not permitted",
    b"no such",
    b"not found",
    b"aborted",
    b"interrupted",
    b"with error",
];

/// Returns whether the final reply of a directory listing says that entries are missing. Quoted
/// text and the requested path are ignored. A directory name without a slash is not ignored, since
/// it may be one of the server's own words.
pub(super) fn says_cut(reply: &Reply, directory: &[u8]) -> bool {
    reply.lines().any(|line| {
        let text = without_names(line, directory).to_ascii_lowercase();
        CUT.iter().any(|words| text.windows(words.len()).any(|part| part == *words))
    })
}

/// Returns a line without quoted text, and without the directory's path if that contains a slash.
fn without_names(line: &[u8], directory: &[u8]) -> Vec<u8> {
    let quotes = line.iter().filter(|byte| **byte == b'"').count();
    // If a quote is unpaired, it may belong to a name, so the whole line counts.
    let parts = line.split(|byte| *byte == b'"').enumerate();
    let shown = parts.filter(|(at, _)| at % 2 == 0 || quotes % 2 == 1).map(|(_, part)| part);
    let mut text = shown.collect::<Vec<_>>().join(&b' ');
    if !directory.contains(&b'/') {
        return text;
    }
    let is_in_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let named = text.windows(directory.len().max(1)).enumerate().position(|(at, part)| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        part == directory && !is_in_word(before) && !is_in_word(text.get(at + part.len()))
    });
    if let Some(at) = named {
        text.drain(at..at + directory.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftp_proto::ReplyDecoder;

    #[test]
    fn replies_to_truncated_listings_are_recognised() {
        for (text, directory, want) in [
            // vsftpd.
            ("226 Transfer done (but failed to open directory).", "d", true),
            ("226 Directory send OK.", "d", false),
            // Pure-FTPd.
            ("226 Output truncated to 10000 matches", "", true),
            ("226-Options: -a -l \r\n226 Output truncated to 10000 matches", "", true),
            ("226-Sorry, we were unable to read [t/sub]\r\n226 0 matches total", "t/sub", true),
            ("226-Options: -a -l \r\n226 6 matches total", "", false),
            // ProFTPD, pyftpdlib, IIS, wu-ftpd, Serv-U, FileZilla Server, Gene6, CrushFTP.
            ("226 Transfer complete", "", false),
            ("226 Transfer complete.", "", false),
            ("226 Transfer complete. 1,234 bytes transferred. 12.34 KB/sec.", "", false),
            ("226 Successfully transferred \"/pub\"", "pub", false),
            ("226 Operation successful", "", false),
            ("226 Directory sent OK. (12 ms)", "", false),
            ("250 Requested file action okay, completed.", "", false),
            ("226-free space: 12 GB\r\n226 Closing data connection.", "", false),
            ("226 Listing aborted: permission denied", "", true),
            ("226 Transfer complete. Speed limited to 100 KB/s", "", false),
            ("226 Too many entries, only the first 2000 were sent", "", true),
            ("226 Output truncated to 10000 matches", "d", true),
            // Names do not count.
            ("226 Successfully transferred \"/truncated\"", "truncated", false),
            ("226 Listed /backup/incomplete", "/backup/incomplete", false),
            ("226 Listed \"failed", "", true),
        ] {
            let mut decoder = ReplyDecoder::new();
            let _ = decoder.push(format!("{text}\r\n").as_bytes());
            let reply = decoder.next().unwrap().unwrap();
            assert_eq!(says_cut(&reply, directory.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn a_directory_name_does_not_hide_a_truncated_listing() {
        for (text, directory) in [
            ("226 Output truncated to 10000 matches", "truncated"),
            ("226 Transfer done (but failed to open directory).", "failed"),
            ("226-Sorry, we were unable to read [unable to]\r\n226 0 matches total", "unable to"),
            ("226 Too many entries", "Too many"),
        ] {
            let mut decoder = ReplyDecoder::new();
            let _ = decoder.push(format!("{text}\r\n").as_bytes());
            let reply = decoder.next().unwrap().unwrap();
            assert!(says_cut(&reply, directory.as_bytes()), "{text}");
        }
    }
}
