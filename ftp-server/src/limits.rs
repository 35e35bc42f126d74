//! Fixed limits of the server. Limits of the protocol itself are in [`ftp_proto::limits`].

use std::time::Duration;

/// Maximum length of a path in bytes, counted from the root's `/`: the limit of Linux for one
/// system call.
pub const PATH: usize = 4_096;

/// Maximum components of a path. Deeper trees break other programs and have no practical use.
pub const PATH_DEPTH: usize = 128;

/// Interval at which a transfer that moves no bytes checks whether to continue.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Pause before a session asks an unready storage again. Most storages wait before they answer,
/// usually longer than this. A storage that answers at once must not keep a processor busy.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Stall timeout during a shutdown, if the configured one is not shorter.
pub(crate) const DRAIN_STALL: Duration = Duration::from_secs(5);

/// How long a peer may leave a reply unread before it is disconnected.
pub(crate) const REPLY_WRITE: Duration = Duration::from_secs(30);

/// Time in which a balancer must send its header. The specification asks for at least 3 s, so that
/// a lost packet can be sent again.
pub(crate) const PROXY_WAIT: Duration = Duration::from_secs(5);

/// How long a passive port stays open without a transfer.
pub(crate) const UNUSED_LISTENER: Duration = Duration::from_secs(60);

/// How long a command waits for a free passive port.
pub(crate) const PORT_WAIT: Duration = Duration::from_secs(1);

/// How long a passive port stays reserved for a host that has not connected. After that, another
/// host can get the port if all ports are in use. Clients connect soon after the reply.
pub(crate) const PORT_UNUSED: Duration = Duration::from_secs(5);

/// How long to retry a passive port that is in use although no session holds it. A new child
/// process has copies of all open sockets until it executes its program.
pub(crate) const PORT_COPY_WAIT: Duration = Duration::from_millis(200);

/// Interval between lookups of the host names of passive addresses.
pub(crate) const LOOKUP: Duration = Duration::from_secs(300);

/// Interval between lookups until every name has been found once.
pub(crate) const LOOKUP_AGAIN: Duration = Duration::from_secs(10);

/// How long a starting server waits for the first lookup.
pub(crate) const FIRST_LOOKUP: Duration = Duration::from_secs(5);

/// How long a connection is read after its last reply. Closing it with unread input could reset the
/// connection before the reply arrives.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(1);
/// Maximum bytes that are read during [`LAST_WAIT`].
pub(crate) const LAST_INPUT: usize = 256 * 1_024;

/// Maximum time that a completed upload waits to see whether the control connection ends too. After
/// a client is killed, the system closes its sockets one by one.
pub(crate) const END_OF_BOTH: Duration = Duration::from_millis(50);

/// Divisor of the transfer's duration: the wait of [`END_OF_BOTH`] is no longer than the result, so
/// that the wait goes unnoticed.
pub(crate) const END_OF_BOTH_PART: u32 = 20;

/// Maximum closing connections that do not count as sessions, because a client that has seen the
/// end may reconnect at once. The limit on sessions leaves room for them.
pub(crate) const LEAVING: usize = 32;

/// Maximum connections from balancers that have not sent their header yet. They do not count as
/// sessions; the limit on sessions leaves room for them.
pub(crate) const WAITING: usize = 128;

/// Maximum command lines that wait for a transfer to end.
pub(crate) const WAITING_LINES: usize = 256;

/// Number of connections from other hosts to a passive port that are closed before the transfer
/// fails.
pub(crate) const STRANGERS: u32 = 16;

/// Maximum consecutive invalid command lines from a client before login.
pub(crate) const BAD_LINES: u32 = 10;

/// Stack of a session's thread, in bytes. Only touched pages use memory; the deepest calls of a
/// debug build need a fraction of the stack.
pub(crate) const SESSION_STACK: usize = 256 * 1024;

/// Stack of the lookup thread, in bytes; large, because the needs of the C library and its plug-ins
/// are unknown.
pub(crate) const LOOKUP_STACK: usize = 2 * 1024 * 1024;

/// Largest file whose size in type ASCII is counted, in bytes. To count, the server must read the
/// file.
pub(crate) const ASCII_SIZE: u64 = 1024 * 1024;

/// Maximum entries in the reply to `STAT` for a directory.
pub(crate) const STAT_ENTRIES: usize = 1_000;

/// Maximum transfers that compress their data at a time (`MODE Z`). Each needs about 300 KiB of
/// memory.
pub(crate) const ENCODERS: usize = 256;

/// Maximum processor-bound jobs of each kind at a time in the whole server: two digests, and two
/// searches as [`PREPARE`] describes.
pub(crate) const HEAVY: usize = 2;

/// Maximum processor-bound jobs of one IPv4 address or one IPv6 /64: half of all, so that no host
/// blocks the others.
pub(crate) const HEAVY_OF_HOST: usize = HEAVY / 2;

/// Largest file for `HASH`, in bytes: a larger one usually takes longer than a minute.
pub const DIGEST_SIZE: u64 = 8 * 1024 * 1024 * 1024;

/// Maximum duration of a digest: the time that clients wait for a reply.
pub(crate) const DIGEST_TIME: Duration = Duration::from_secs(60);

/// Maximum duration of a search before the 150, for a restart offset in type ASCII or for a
/// matching name. Such a search costs processor time without network traffic. After a [`TICK`], it
/// needs one of [`HEAVY`] places; the wait for a place is part of the duration.
pub(crate) const PREPARE: Duration = Duration::from_secs(60);

/// Maximum bytes of a log that wait to be written: a few seconds of a busy server. A larger queue
/// would only delay the lines.
pub(crate) const LOG_WAITING: usize = 256 * 1_024;

/// Maximum log lines per second of one session for refused commands, and for transfers without a
/// data connection. The next line contains the number of the omitted lines.
pub(crate) const REFUSAL_LINES: u32 = 10;

/// Maximum bytes of a name in a log line, including its escapes.
pub(crate) const LOG_NAME: usize = 512;

/// Maximum hosts whose failed logins are remembered. Without a limit, a client with many addresses
/// could fill the memory.
pub(crate) const BAN_HOSTS: usize = 4_096;

/// Maximum of [`ban_after`](crate::LoginPolicy::ban_after): each failed login is remembered with
/// its time.
pub const BAN_AFTER: usize = 1_000;

/// Maximum length of a password that is hashed, in bytes, as for crypt(3). The cost of `$5$` and
/// `$6$` grows with the square of the length.
pub const PASSWORD: usize = 512;

/// Maximum password hashes that are computed at a time in the whole process. On a machine with
/// fewer processors, the limit is their number. Together they use at most a sixteenth of the
/// memory, unless one hash alone needs more.
pub(crate) const HASHES: usize = 4;

/// Maximum memory of one argon2id or yescrypt hash, in KiB: twice as much as common programs use.
pub(crate) const HASH_MEMORY: u32 = 256 * 1024;

/// Maximum product of memory in KiB and passes of one argon2id hash: a few seconds.
pub(crate) const HASH_WORK: u64 = 2 * 1024 * 1024;

/// Maximum lanes of an argon2id hash. They change the result but not the time.
pub(crate) const HASH_LANES: u32 = 32;

/// Maximum cost of a bcrypt hash: a few seconds.
pub(crate) const HASH_COST: u8 = 15;

/// Maximum rounds of a `$5$` or `$6$` hash: a second or two.
pub(crate) const HASH_ROUNDS: u32 = 1_000_000;

/// Default of [`partial_files`](crate::LocalConfig::partial_files).
pub(crate) const PARTIAL_FILES: usize = 100;

/// Default of [`partial_bytes`](crate::LocalConfig::partial_bytes).
pub(crate) const PARTIAL_BYTES: u64 = 10 * 1024 * 1024 * 1024;

/// Maximum partial uploads whose length `SIZE` has reported in one session, and which that session
/// has not resumed. `SIZE` reports no further ones, because the server could not know which one an
/// `APPE` resumes.
pub(crate) const PARTIALS_TOLD: usize = 32;

/// Maximum interrupted uploads from byte 0 that the whole server remembers. It forgets the oldest
/// first.
pub(crate) const REPLACEMENTS: usize = 1_000;
