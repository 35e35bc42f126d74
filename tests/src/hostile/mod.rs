//! A server that does what no server should, as tables tell it, and what has to come of that.
//!
//! The tables are the files `hostile/*.txt` of this package. A line of one reads:
//!
//! | line | meaning |
//! | --- | --- |
//! | `== name HC-nn ...` | begins a behaviour, with the ids that it proves |
//! | `~ value` | one of several values; each makes a behaviour of its own, with it for `{value}` |
//! | `> VERB ...: step \| step` | what the server does when such a command comes; `greeting` is before any, `download`, `upload`, `listing` and `transfer` are their verbs, `any` is all the others. Several lines for one verb are used in turn, the last for good |
//! | `* call ...: outcome or outcome; usable` | what such a call of the caller has to give, and whether the client can be used afterwards (`usable`, `closed`, `either`); `; memory N KiB` bounds by how much it may grow |
//! | `active`, `old` | the client is in active mode; it is told to use neither EPSV nor EPRT |
//! | `short phase ...` | these limits are short; that of an outcome `timeout phase` always is |
//! | `#` | a remark |
//!
//! And a step:
//!
//! | step | meaning |
//! | --- | --- |
//! | `< text` | sends a line with CR LF |
//! | `raw text` | sends bytes as they are |
//! | `drip N text` | sends bytes one by one, N milliseconds before each |
//! | `flood text`, `flood NM text` | sends bytes over and over, until the client hangs up, or N MiB |
//! | `data all`, `half`, `none`, `N` | moves so much of the content, in the direction of the transfer |
//! | `[ text`, `[flood text` | as `raw` and `flood`, on the data connection |
//! | `open`, `fin`, `rst` | opens, ends, resets the data connection |
//! | `stranger` | another host connects to the active client, and has to be turned away |
//! | `hangup`, `reset` | ends, resets the control connection |
//! | `pause N` | N milliseconds |
//! | `deaf` | no more reading or writing, until the client hangs up |
//! | `abort` | what is due on `ABOR` |
//!
//! In texts, `\r`, `\n`, `\t`, `\\` and `\xHH` are escapes, `{what*N}` is `what` N times, `{port}`
//! or `{p1},{p2}` a port at which the server listens for data, `{closed}` or `{c1},{c2}` one at
//! which nobody does, `{elsewhere}` or `{e1},{e2}` one of another host (127.0.0.2), at which nobody
//! may call.
//!
//! What is not in the table is done as a sound server does it.

mod play;
mod script;

use std::sync::OnceLock;

pub use self::play::{Cut, How, Moved, Played, Server};
pub use self::script::{Behaviour, Want, behaviours};

/// The length of the file that is moved, in bytes: more than the sockets of a transfer hold.
pub const LENGTH: usize = 10_000_000;

/// The file that is moved: no two places in it look alike.
#[must_use]
pub fn content() -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| crate::content::binary(LENGTH, 7))
}

/// The listing that is sent for `LIST`, `NLST` and `MLSD`, and how many lines it has.
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
