//! A server that breaks the rules as tables say, and the required outcome of each behaviour.
//!
//! The tables are the files `hostile/*.txt` of this package. Their lines are:
//!
//! | line | meaning |
//! | --- | --- |
//! | `== name HC-nn ...` | begins a behaviour, with the ids that it proves |
//! | `~ value` | one of several values; each makes a separate behaviour, in which it replaces `{value}` |
//! | `> VERB ...: step \| step` | the server's steps for these commands; `greeting` comes before any, `download`, `upload`, `listing` and `transfer` are their verbs, `any` is all others. Several lines for one verb are used in turn, the last one repeatedly |
//! | `* call ...: outcome or outcome; usable` | the required outcome of these calls, and whether the client can be used afterwards (`usable`, `closed`, `either`); `; memory N KiB` limits the growth of its memory |
//! | `active`, `old` | the client uses active mode; the client uses neither EPSV nor EPRT |
//! | `short phase ...` | the timeouts of these phases are short; that of an outcome `timeout phase` always is |
//! | `#` | a comment |
//!
//! The steps are:
//!
//! | step | meaning |
//! | --- | --- |
//! | `< text` | sends a line with CR LF |
//! | `raw text` | sends bytes unchanged |
//! | `drip N text` | sends bytes one by one, waiting N milliseconds before each |
//! | `flood text`, `flood NM text` | sends bytes repeatedly, until the client disconnects, or N MiB |
//! | `data all`, `half`, `none`, `N` | moves this amount of the content, in the direction of the transfer |
//! | `[ text`, `[flood text` | as `raw` and `flood`, on the data connection |
//! | `open`, `fin`, `rst` | opens, ends, resets the data connection |
//! | `stranger` | another host connects to the active client, which must close the connection |
//! | `hangup`, `reset` | ends, resets the control connection |
//! | `pause N` | waits N milliseconds |
//! | `deaf` | stops reading and writing until the client disconnects |
//! | `abort` | acts on `ABOR` as a sound server |
//!
//! In texts, `\r`, `\n`, `\t`, `\\` and `\xHH` are escapes, and `{what*N}` is `what` N times.
//! `{port}` or `{p1},{p2}` is a port at which the server listens for data, `{closed}` or
//! `{c1},{c2}` a port without a listener, and `{elsewhere}` or `{e1},{e2}` a port of another host
//! (127.0.0.2), to which no client may connect.
//!
//! Everything else is done as by a sound server.

mod play;
mod script;

use std::sync::OnceLock;

pub use self::play::{Cut, How, Moved, Played, Server};
pub use self::script::{Behaviour, Want, behaviours};

/// The length of the transferred file, in bytes: more than the sockets of a transfer hold.
pub const LENGTH: usize = 10_000_000;

/// Returns the transferred file, whose content does not repeat.
#[must_use]
pub fn content() -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| crate::content::binary(LENGTH, 7))
}

/// Returns the listing for `LIST`, `NLST` and `MLSD`, and its number of lines.
#[must_use]
pub fn listing(verb: &str) -> (Vec<u8>, usize) {
    const LINES: usize = 50;
    let line = |n: usize| match verb {
        "LIST" => format!("-rw-r--r--   1 ftp      ftp          1024 Jan  1  2024 file{n}\r\n"),
        "MLSD" => format!("type=file;size=1024;modify=20240101000000; file{n}\r\n"),
        _ => format!("file{n}\r\n"),
    };
    ((0..LINES).map(line).collect::<String>().into_bytes(), LINES)
}
