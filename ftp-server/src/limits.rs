//! Bounds of the server that are not configured.
//! Those of the language itself are in [`ftp_proto::limits`].

use std::time::Duration;

/// The longest path, in bytes from the root's `/`: what Linux takes in one call.
pub const PATH: usize = 4_096;

/// The most components of a path. Deeper trees are made to break programs, not to keep files.
pub const PATH_DEPTH: usize = 128;

/// How often a transfer that is not moving looks whether it should go on.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// How long a transfer may stand still while the server stops, if `stall` is not less.
pub(crate) const DRAIN_STALL: Duration = Duration::from_secs(5);

/// How long a peer may leave a reply unread before it is disconnected.
pub(crate) const REPLY_WRITE: Duration = Duration::from_secs(30);

/// How long a passive port is held for a transfer that is not asked for.
pub(crate) const UNUSED_LISTENER: Duration = Duration::from_secs(60);

/// How long a command that needs a passive port waits for one while all are in use.
pub(crate) const PORT_WAIT: Duration = Duration::from_secs(1);

/// How long a passive port may stay unused before it gives way to another host, where all are in use:
/// a client connects within a moment of the reply that tells it the port.
pub(crate) const PORT_UNUSED: Duration = Duration::from_secs(5);

/// How long a passive port that no session has is tried again: a program that this process is
/// just starting has copies of what was open here until it is loaded.
pub(crate) const PORT_COPY_WAIT: Duration = Duration::from_millis(200);

/// How often the host names of passive addresses are looked up.
pub(crate) const LOOKUP: Duration = Duration::from_secs(300);

/// How soon again, while there is one that was never found.
pub(crate) const LOOKUP_AGAIN: Duration = Duration::from_secs(10);

/// How long a server's start waits for them to be found.
pub(crate) const FIRST_LOOKUP: Duration = Duration::from_secs(5);

/// How long, and for how many bytes, a connection is read behind its last reply, so that the reply
/// arrives before the end does.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(1);
/// See [`LAST_WAIT`].
pub(crate) const LAST_INPUT: usize = 256 * 1_024;

/// How long an upload whose data has ended waits at most whether the control connection ends as
/// well, as when the client was killed: the system closes its sockets one after the other.
pub(crate) const END_OF_BOTH: Duration = Duration::from_millis(50);

/// What part of the time that the data took this may take at most, so that nobody notices.
pub(crate) const END_OF_BOTH_PART: u32 = 20;

/// How many connections that only wait for that are not counted as sessions any more: a client
/// that saw the end may come again at once. As few as the system's limits have in reserve.
pub(crate) const LEAVING: usize = 32;

/// How many command lines may wait for a transfer to end.
pub(crate) const WAITING_LINES: usize = 256;

/// How many connections of strangers to a passive port are turned away before the transfer is
/// given up.
pub(crate) const STRANGERS: u32 = 16;

/// How many lines that are no command are taken before login, in a row.
pub(crate) const BAD_LINES: u32 = 10;

/// The stack of a session's thread, in bytes. Touched pages are what counts in memory; this is
/// what the deepest path of a session needs in a debug build, several times over.
pub(crate) const SESSION_STACK: usize = 256 * 1024;

/// The stack of the thread that names are looked up in, in bytes: what the C library and its plug-ins
/// for that take is not ours to say.
pub(crate) const LOOKUP_STACK: usize = 2 * 1024 * 1024;

/// The largest file whose size in type ASCII is counted on request, in bytes: the file has to
/// be read for it.
pub(crate) const ASCII_SIZE: u64 = 1024 * 1024;

/// How many entries a STAT of a directory lists on the control connection.
pub(crate) const STAT_ENTRIES: usize = 1_000;

/// How much work that keeps a processor busy is done at a time in the whole server: two digests,
/// and two searches as [`PREPARE`] describes.
pub(crate) const HEAVY: usize = 2;

/// How much of each one IPv4 address, or one /64 of IPv6, may have: half, so that no host keeps
/// all others from theirs.
pub(crate) const HEAVY_OF_HOST: usize = HEAVY / 2;

/// The largest file that is read for its digest, in bytes: a larger one mostly takes longer than
/// a minute.
pub const DIGEST_SIZE: u64 = 8 * 1024 * 1024 * 1024;

/// How long a digest may take: what a client waits for a reply.
pub(crate) const DIGEST_TIME: Duration = Duration::from_secs(60);

/// How long may be read before the 150 of what is sent, to find where a restart begins in type
/// ASCII or what matches a pattern: it costs a processor and no network. What takes longer than a
/// [`TICK`] needs one of [`HEAVY`] places, and the time spent waiting for it counts.
pub(crate) const PREPARE: Duration = Duration::from_secs(60);

/// How many bytes of a log wait to be written: what a server that is busy says in some seconds. More
/// would only be more that is late.
pub(crate) const LOG_WAITING: usize = 256 * 1_024;

/// How many refusals, and other lines that cost a client no data connection, a session has in the log
/// per second. The next line counts the others.
pub(crate) const REFUSAL_LINES: u32 = 10;

/// How many bytes a name has in a line of the log, as it is written there with its escapes.
pub(crate) const LOG_NAME: usize = 512;

/// How many hosts with failed logins are remembered. Without a bound, who has many addresses could
/// fill the memory with them.
pub(crate) const BAN_HOSTS: usize = 4_096;

/// The most failed logins that are counted before a host is banned: each is remembered with its
/// time.
pub const BAN_AFTER: usize = 1_000;

/// How many bytes of a password are hashed, and how many one may have where it is kept as a hash:
/// as many as crypt(3) takes. What `$5$` and `$6$` cost grows with the square of it.
pub const PASSWORD: usize = 512;

/// How many passwords are hashed at a time in the whole process, and less where there are fewer
/// processors, or where a sixteenth of the memory is less than they take.
pub(crate) const HASHES: usize = 4;

/// How much memory one argon2id may take, in KiB: as much as common programs ask for, twice over.
pub(crate) const HASH_MEMORY: u32 = 256 * 1024;

/// How much it may go through in all its passes, in KiB: a few seconds.
pub(crate) const HASH_WORK: u64 = 2 * 1024 * 1024;

/// How many lanes it may have. They change the result and not the time here.
pub(crate) const HASH_LANES: u32 = 32;

/// How many rounds a `$5$` or `$6$` may have: a second or two.
pub(crate) const HASH_ROUNDS: u32 = 1_000_000;

/// How many cut uploads of one user are kept, unless that is set otherwise.
pub(crate) const PARTIAL_FILES: usize = 100;

/// How many bytes are kept of all cut uploads of one user, unless that is set otherwise.
pub(crate) const PARTIAL_BYTES: u64 = 10 * 1024 * 1024 * 1024;

/// How many names a session is told the length of a cut upload for that it has not resumed yet: for
/// more `SIZE` says that there is nothing, since `APPE` could not be told from one to a new file.
pub(crate) const PARTIALS_TOLD: usize = 32;
