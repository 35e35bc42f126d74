//! Fixed limits of the server. Limits of the protocol itself are in [`ftp_proto::limits`].

use std::time::Duration;

/// Maximum length of a path in bytes, including the `/` of the user's root. Linux has the same
/// limit for a path in one system call.
pub(crate) const PATH: usize = 4_096;

/// Maximum number of components of a path. Deeper trees break other programs and have no practical
/// use.
pub(crate) const PATH_DEPTH: usize = 128;

/// Interval at which a waiting transfer checks whether to continue.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Maximum time that a command waits for a call to the storage after the control connection has
/// ended or a shutdown has begun. With two [`TICK`]s, one before and one after it, this is a second.
pub(crate) const LAST_CALL: Duration = Duration::from_millis(500);

/// Pause before a session retries a call to a storage that was not ready. Most such storages wait
/// before they answer, usually longer than this pause. A storage that answers at once must not keep
/// a processor busy.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Stall timeout during a shutdown, unless the configured one is shorter.
pub(crate) const DRAIN_STALL: Duration = Duration::from_secs(5);

/// Maximum time for which a client may leave a reply unread. After that, the server closes the
/// connection.
pub(crate) const REPLY_WRITE: Duration = Duration::from_secs(30);

/// Maximum time for the header of a balancer. The specification of the PROXY protocol asks for at
/// least 3 s, so that a lost packet can be sent again.
pub(crate) const PROXY_WAIT: Duration = Duration::from_secs(5);

/// Maximum time for which a passive port stays open without a transfer.
pub(crate) const UNUSED_LISTENER: Duration = Duration::from_secs(60);

/// Maximum time that a command waits for a free passive port, longer than [`PORT_UNUSED`].
pub(crate) const PORT_WAIT: Duration = Duration::from_secs(2);

/// Time for which a passive port stays reserved for a client that does not connect. After that,
/// another network can get the port if all ports are in use. Clients connect soon after they get a
/// port.
pub(crate) const PORT_UNUSED: Duration = Duration::from_secs(1);

/// Maximum time to retry a passive port that is in use although no session holds it. A new child
/// process has copies of all open sockets until it executes its program.
pub(crate) const PORT_COPY_WAIT: Duration = Duration::from_millis(200);

/// Interval between lookups of the host names of passive addresses.
pub(crate) const LOOKUP: Duration = Duration::from_secs(300);

/// Interval between lookups while at least one name has never been found.
pub(crate) const LOOKUP_AGAIN: Duration = Duration::from_secs(10);

/// Maximum time that a starting server waits for the first lookup.
pub(crate) const FIRST_LOOKUP: Duration = Duration::from_secs(5);

/// Maximum time to keep reading from a connection after the server has sent the last reply. If the
/// server closed the connection with unread input, a reset could overtake the reply.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(1);
/// Maximum bytes to read during [`LAST_WAIT`].
pub(crate) const LAST_INPUT: usize = 256 * 1_024;

/// Maximum time for which the server checks, at the end of an upload, whether the control
/// connection ends too. When a client is killed, its system closes the data connection and the
/// control connection one after the other.
pub(crate) const END_OF_BOTH: Duration = Duration::from_millis(50);

/// Divisor that limits the wait of [`END_OF_BOTH`] to a fraction of the transfer's duration, so
/// that the wait goes unnoticed.
pub(crate) const END_OF_BOTH_PART: u32 = 20;

/// Maximum number of connections that are being closed and no longer count as sessions. Their
/// clients may reconnect as soon as they see the end. The limit on sessions that follows from
/// `vm.max_map_count` leaves room for these connections.
pub(crate) const LEAVING: usize = 32;

/// Maximum number of load-balancer connections that have not yet sent their PROXY header. They do
/// not count as sessions; the limit that follows from `vm.max_map_count` leaves room for them.
pub(crate) const WAITING: usize = 128;

/// Maximum number of command lines that wait for the end of a transfer.
pub(crate) const WAITING_LINES: usize = 256;

/// Maximum time for which an upload waits for memory while no other upload gets any. An upload to which
/// nobody sends for half of that time gives its memory back.
pub(crate) const PART_WAIT: Duration = Duration::from_secs(120);

/// Number of connections that can wait at a passive port until its transfer begins. If strangers
/// fill this queue, the system ignores the client's connection, and the client would hang.
pub(crate) const PORT_QUEUE: i32 = 512;

/// Number of connections from other hosts to a passive port after which the transfer fails: more
/// than wait in its queue, so that the client's connection among them is found.
pub(crate) const STRANGERS: u32 = 1_000;

/// Number of consecutive invalid lines and unknown commands that end a session in which no user is
/// logged in.
pub(crate) const BAD_LINES: u32 = 10;

/// Stack of a session's thread, in bytes. Only touched pages use memory. The deepest calls of a
/// debug build need a fraction of this size.
pub(crate) const SESSION_STACK: usize = 256 * 1024;

/// Stack of a thread that looks up names, in bytes. It is large because the needs of the C library
/// and its plug-ins are unknown.
pub(crate) const LOOKUP_STACK: usize = 2 * 1024 * 1024;

/// Maximum size in bytes of a file for `SIZE` in type ASCII. To answer, the server must read the
/// file.
pub(crate) const ASCII_SIZE: u64 = 1024 * 1024;

/// Maximum length of a reply, in bytes as it is sent. While a client does not read, the session holds
/// the reply twice: its encoding, or its text, and its TLS records.
pub(crate) const REPLY: usize = 16 * 1024;

/// Maximum bytes of the lines in the reply to a `STAT <path>`, which doubles each 0xFF (RFC 854). A
/// reply of [`REPLY`] and its copies would take more memory than a session may: other sessions make
/// theirs at the same time.
pub(crate) const STAT_LINES: usize = 4 * 1024;

/// Size of the first buffer of a transfer, in bytes. Under TLS, a download has two.
pub(crate) const BUFFER: usize = 16 * 1024;

/// Maximum memory of names that a listing of local files has read ahead, in bytes. More of them take
/// one of a bounded number of places.
pub(crate) const NAMES: usize = 16 * 1024;

/// Maximum number of transfers that compress data at the same time (`MODE Z`). Each needs about 300
/// KiB of memory; together, they use at most a sixteenth of the memory.
pub(crate) const ENCODERS: u64 = 256;

/// Maximum number of processor-bound jobs of each kind at a time in the whole server: two digests,
/// and two of the searches that [`PREPARE`] describes.
pub(crate) const HEAVY: u64 = 2;

/// Maximum size of a file for `HASH`, in bytes. A digest of a larger file usually takes longer than
/// a minute.
pub(crate) const DIGEST_SIZE: u64 = 8 * 1024 * 1024 * 1024;

/// Maximum duration of a digest: clients usually wait this long for a reply.
pub(crate) const DIGEST_TIME: Duration = Duration::from_secs(60);

/// Maximum time for which a command waits because earlier commands of its network have cost too
/// much processor time.
pub(crate) const PROCESSOR_WAIT: Duration = Duration::from_secs(10);

/// Processor time of commands after which a session tells the other sessions of its cost. Charging
/// each command would cost more than most commands.
pub(crate) const PROCESSOR_STEP: Duration = Duration::from_millis(1);

/// Maximum number of networks whose debts are remembered.
pub(crate) const DEBTORS: usize = 4_096;

/// Maximum time for which a digest waits for its turn. Other networks give way between two steps,
/// so only the digests of the same address delay each other for longer.
pub(crate) const DIGEST_WAIT: Duration = Duration::from_secs(5);

/// Maximum duration of a search. A download in type ASCII searches for its restart offset; a
/// listing or a `STAT` searches for matching names. A search costs processor time without network
/// traffic. A search that takes longer than a [`TICK`] needs one of the [`HEAVY`] places; the wait
/// for a place counts towards the duration.
pub(crate) const PREPARE: Duration = Duration::from_secs(60);

/// Maximum bytes of log lines that wait to be written: enough for a few seconds on a busy server. A
/// larger queue would only delay the lines.
pub(crate) const LOG_WAITING: usize = 256 * 1_024;

/// Maximum number of log lines per second for the refused logins of one session. Refused commands
/// and transfers that move no data share another limit of the same size. When a limit leaves out
/// lines, the next line that it covers reports their number.
pub(crate) const REFUSAL_LINES: u32 = 10;

/// Maximum length of a name in a log line in bytes, including its escapes.
pub(crate) const LOG_NAME: usize = 512;

/// Maximum number of hosts whose failed logins the server remembers. Without a limit, a client with
/// many addresses could fill the memory.
pub(crate) const BAN_HOSTS: usize = 4_096;

/// Maximum of [`ban_after`](crate::LoginPolicy::ban_after); larger values are reduced to it. The
/// maximum bounds the memory for one host, because the server keeps the time of each failed login.
pub(crate) const BAN_AFTER: usize = 1_000;

/// Maximum length in bytes of a password that the server hashes, as in crypt(3). The cost of a
/// `$5$` or `$6$` hash grows with the square of the length.
pub(crate) const PASSWORD: usize = 512;

/// Maximum number of password hashes that the whole process computes at a time. On a machine with
/// fewer processors, the limit is the number of processors. Together, the hashes use at most a
/// sixteenth of the memory, unless one hash alone needs more.
pub(crate) const HASHES: usize = 4;

/// Maximum memory of one argon2id or yescrypt hash, in KiB: twice as much as common programs use.
pub(crate) const HASH_MEMORY: u32 = 256 * 1024;

/// Maximum product of memory in KiB and passes of one argon2id hash. Such a hash takes a few
/// seconds.
pub(crate) const HASH_WORK: u64 = 2 * 1024 * 1024;

/// Maximum number of lanes of an argon2id hash. They change the result but not the time.
pub(crate) const HASH_LANES: u32 = 32;

/// Maximum cost of a bcrypt hash. Such a hash takes a few seconds.
pub(crate) const HASH_COST: u8 = 15;

/// Maximum number of rounds of a `$5$` or `$6$` hash. Such a hash takes a second or two.
pub(crate) const HASH_ROUNDS: u32 = 1_000_000;

/// Default of [`partial_files`](crate::LocalConfig::partial_files).
pub(crate) const PARTIAL_FILES: usize = 100;

/// Maximum number of records of one user's unfinished uploads over existing files. Beyond it, such
/// uploads are refused: to drop a record would let a client resume at the end of an old file.
pub(crate) const RECORDS: usize = 10_000;

/// Maximum number of threads that sync records. Beyond it, sessions wait for their own.
pub(crate) const RECORD_SYNCS: usize = 32;

/// Default of [`partial_bytes`](crate::LocalConfig::partial_bytes), in bytes.
pub(crate) const PARTIAL_BYTES: u64 = 10 * 1024 * 1024 * 1024;

/// Time for which a session trusts the size of a file that it has just stored. Another session may
/// replace the file meanwhile.
pub(crate) const PROVED_SIZE: Duration = Duration::from_secs(1);

/// Maximum number of paths of which one session remembers what the client was told.
pub(crate) const PATHS_HEARD: usize = 32;

/// Number of files that a server remembers as read; at most twice as many.
pub(crate) const READS: usize = 1_000;
