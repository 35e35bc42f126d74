//! A ledger in Redis. The protocol is RESP 2: commands are arrays of strings, and each reply begins
//! with a byte for its type. <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;

use super::{Ledger, LedgerAnswer, LedgerError};
use crate::lock::Lock;
use crate::net::lookup::Lookup;
use crate::{percent, tls};

/// Timeout for connecting, and for each read and write. Sessions wait meanwhile.
const WAIT: Duration = Duration::from_secs(4);

/// Maximum number of idle connections to keep.
const IDLE: usize = 16;

/// Maximum length of a line or string in a reply, in bytes.
const LONGEST: u64 = 1024 * 1024;

const PORT: u16 = 6379;

/// The prefix of the keys of records.
const PREFIX: &str = "ftp-server:";

/// The script that replaces a record if it still has the old content. Empty content stands for a
/// missing record.
const REPLACE: &str = "if (redis.call('GET', KEYS[1]) or '') == ARGV[1] then \
                       redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0";

/// A [`Ledger`] in a Redis server. It needs the commands `GET`, `SET`, `TIME` and `EVAL`, also
/// `AUTH` if the URL has a password, and `SELECT` if the URL has a database. It does not follow
/// redirections of a cluster. With the scheme `rediss`, connections use TLS, and the certificate of
/// the Redis server is checked; the ledger itself has no client certificate.
///
/// The host name is looked up for each new connection. After a Redis server has said that it is a
/// replica or loads its data, all connections are closed. So if the name or the address leads to
/// another master, the next change reaches it.
///
/// A Redis server that keeps its data only in memory, or restarts from a snapshot, forgets the usage of
/// quotas. A server of files that has seen later changes notices, and counts the files again.
pub struct RedisLedger {
    host: Lookup,
    /// The settings of TLS and the name in the certificate; `None` without TLS.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The commands at the beginning of each connection.
    greeting: Vec<Vec<Vec<u8>>>,
    idle: Lock<Idle>,
}

impl fmt::Debug for RedisLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLedger").field("addresses", &self.host.known()).finish_non_exhaustive()
    }
}

/// The idle connections to the master.
#[derive(Default)]
struct Idle {
    connections: Vec<RedisConnection>,
    /// The number of masters so far that are none any more.
    masters: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Reply {
    /// A string; `None` if it is null.
    Text(Option<Vec<u8>>),
    Number(i64),
    Error(String),
    List(Vec<Self>),
}

impl RedisLedger {
    /// Connects to `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]` (default: port 6379, database
    /// 0), or with TLS to `rediss://...`, trusting the system's CAs. Reserved characters in the user
    /// or password must be percent-encoded.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`new`](Self::new) and [`prove`](Ledger::prove).
    pub fn connect(url: &str) -> Result<Self, LedgerError> {
        let ledger = Self::new(url, None)?;
        ledger.prove()?;
        Ok(ledger)
    }

    /// Returns a ledger as [`connect`](Self::connect) does, but only looks up the host name and
    /// does not connect yet. `ca_pem` contains the trusted CAs in PEM (default: the system's CAs).
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Unfit`] if the URL does not have the form of
    /// [`connect`](Self::connect), if the host has no address, or if no CA can be read.
    pub fn new(url: &str, ca_pem: Option<&[u8]>) -> Result<Self, LedgerError> {
        let place = RedisPlace::of(url)?;
        let tls = if place.is_tls { Some(secure(&place.host, ca_pem)?) } else { None };
        let (greeting, host, port) = (place.greeting(), place.host, place.port);
        let name = host.clone();
        let find = move || Ok((&*name, port).to_socket_addrs()?.collect());
        let found = Lookup::start(find).map_err(|error| LedgerError::Unfit {
            why: format!("redis: cannot find the address of {host}: {error}"),
        })?;
        Ok(Self { host: found, tls, greeting, idle: Lock::default() })
    }

    /// Returns whether `text` is a valid URL for [`new`](Self::new).
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        RedisPlace::parse(text).is_some()
    }

    /// Sends commands, and returns their replies. If an idle connection is broken or does not lead
    /// to the master, tries once more on a new one.
    fn call(&self, commands: &[Vec<Vec<u8>>]) -> Result<Vec<Reply>, LedgerError> {
        let kept = self.idle.lock().connections.pop();
        if let Some(connection) = kept
            && let Ok((replies, true)) = self.exchange(connection, commands)
        {
            return checked(replies);
        }
        let replies = self.exchange(self.dial()?, commands).map_err(|error| away(&error))?;
        checked(replies.0)
    }

    /// Sends commands, and returns their replies, and whether they come from a master. Keeps the
    /// connection if they do, and otherwise closes all idle ones.
    fn exchange(
        &self,
        mut connection: RedisConnection,
        commands: &[Vec<Vec<u8>>],
    ) -> io::Result<(Vec<Reply>, bool)> {
        let masters = self.idle.lock().masters;
        let replies = connection.exchange(commands)?;
        let is_master =
            !replies.iter().any(|reply| is_error(reply, &["READONLY", "MASTERDOWN", "LOADING"]));
        let mut idle = self.idle.lock();
        if !is_master {
            idle.masters += 1;
            idle.connections.clear();
        } else if idle.masters == masters && idle.connections.len() < IDLE {
            idle.connections.push(connection);
        }
        Ok((replies, is_master))
    }

    fn dial(&self) -> Result<RedisConnection, LedgerError> {
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for address in self.host.again() {
            match RedisConnection::open(address, self.tls.clone()) {
                Ok(mut connection) => {
                    let replies = connection.exchange(&self.greeting);
                    checked(replies.map_err(|error| away(&error))?)?;
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(away(&last))
    }
}

impl Ledger for RedisLedger {
    /// The proof fails, for example, if the Redis user has no right to use a command.
    fn prove(&self) -> Result<(), LedgerError> {
        let version = self.read("probe")?.version;
        match self.replace("probe", version.as_deref(), b"a probe of ftp-server")? {
            true => Ok(()),
            // Another server has just replaced the test record.
            false if self.read("probe")?.version.is_some() => Ok(()),
            false => Err(LedgerError::Unfit {
                why: "redis: EVAL did not store the test record".to_owned(),
            }),
        }
    }

    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError> {
        let key = format!("{PREFIX}{name}");
        let replies = self.call(&[command(&["GET", &key]), command(&["TIME"])])?;
        let [Reply::Text(content), Reply::List(time)] = &*replies else {
            return Err(strange());
        };
        let [Reply::Text(Some(seconds)), Reply::Text(Some(micros))] = &**time else {
            return Err(strange());
        };
        let number = |digits: &[u8]| str::from_utf8(digits).ok()?.parse().ok();
        let seconds = number(seconds).map(Duration::from_secs).ok_or_else(strange)?;
        let micros = number(micros).map(Duration::from_micros).ok_or_else(strange)?;
        let (version, content) = (content.clone(), content.clone().unwrap_or_default());
        Ok(LedgerAnswer { content, version, time: seconds.saturating_add(micros) })
    }

    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError> {
        let mut eval = command(&["EVAL", REPLACE, "1", &format!("{PREFIX}{name}")]);
        eval.push(version.unwrap_or_default().to_vec());
        eval.push(content.to_vec());
        match &*self.call(&[eval])? {
            [Reply::Number(stored)] => Ok(*stored == 1),
            _ => Err(strange()),
        }
    }
}

/// Returns the settings of TLS to a host, and the name in its certificate.
fn secure(
    host: &str,
    ca_pem: Option<&[u8]>,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), LedgerError> {
    let unfit = |error: String| LedgerError::Unfit { why: format!("redis: {error}") };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| unfit(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(tls::trusted(ca_pem).map_err(unfit)?);
    let config =
        ClientConfig::builder_with_provider(tls::ring()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unfit(error.to_string()))?;
    Ok((Arc::new(config.with_root_certificates(roots).with_no_client_auth()), name))
}

/// A TCP connection, with or without TLS.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection on which every reply so far was read completely.
struct RedisConnection {
    stream: BufReader<Box<dyn Stream>>,
}

impl RedisConnection {
    fn open(
        address: SocketAddr,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, WAIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        let stream: Box<dyn Stream> = match tls {
            Some((config, name)) => {
                let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(session, stream))
            }
            None => Box::new(stream),
        };
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends commands in one write, and reads a reply to each.
    fn exchange(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Reply>> {
        let mut bytes = Vec::new();
        for command in commands {
            encode(command, &mut bytes);
        }
        self.stream.get_mut().write_all(&bytes)?;
        self.stream.get_mut().flush()?;
        commands.iter().map(|_| read_reply(&mut self.stream, 0)).collect()
    }
}

fn command(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn encode(command: &[Vec<u8>], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for word in command {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}

fn read_reply(from: &mut impl BufRead, depth: u32) -> io::Result<Reply> {
    const DEEPEST: u32 = 4;
    const MOST: i64 = 64;
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let mut line = Vec::new();
    from.take(LONGEST).read_until(b'\n', &mut line)?;
    let line = match line.strip_suffix(b"\r\n") {
        Some(line) => str::from_utf8(line).map_err(|_| wrong())?,
        None if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
        None => return Err(wrong()),
    };
    let (kind, rest) = line.split_at_checked(1).ok_or_else(wrong)?;
    let number = || rest.parse::<i64>().map_err(|_| wrong());
    match kind {
        "+" => Ok(Reply::Text(Some(rest.as_bytes().to_vec()))),
        "-" => Ok(Reply::Error(rest.chars().filter(|c| !c.is_control()).take(200).collect())),
        ":" => Ok(Reply::Number(number()?)),
        "$" => {
            let Ok(length) = u64::try_from(number()?) else { return Ok(Reply::Text(None)) };
            if length > LONGEST {
                return Err(wrong());
            }
            let mut content = Vec::new();
            from.take(length + 2).read_to_end(&mut content)?;
            let content = content.strip_suffix(b"\r\n").ok_or_else(wrong)?;
            match content.len() as u64 == length {
                true => Ok(Reply::Text(Some(content.to_vec()))),
                false => Err(wrong()),
            }
        }
        "*" if depth < DEEPEST => {
            let count = number()?;
            if count > MOST {
                return Err(wrong());
            }
            let items = (0..count).map(|_| read_reply(from, depth + 1));
            items.collect::<Result<_, _>>().map(Reply::List)
        }
        _ => Err(wrong()),
    }
}

/// Returns whether a reply is an error that begins with one of these words. Redis 6 puts another
/// text before the error of a command in a script.
fn is_error(reply: &Reply, words: &[&str]) -> bool {
    let Reply::Error(text) = reply else { return false };
    words.iter().any(|word| text.starts_with(word) || text.contains(&format!(" -{word} ")))
}

/// Returns the replies, unless one is an error.
fn checked(replies: Vec<Reply>) -> Result<Vec<Reply>, LedgerError> {
    // These errors can be temporary: the Redis server is loading its data, is full, or is now a
    // replica, for example.
    const TEMPORARY: [&str; 7] =
        ["LOADING", "BUSY", "OOM", "READONLY", "MISCONF", "MASTERDOWN", "NOREPLICAS"];
    for reply in &replies {
        match reply {
            Reply::Error(text) if is_error(reply, &TEMPORARY) => {
                return Err(LedgerError::Away { why: format!("redis: {text}") });
            }
            Reply::Error(text) => return Err(LedgerError::Unfit { why: format!("redis: {text}") }),
            _ => {}
        }
    }
    Ok(replies)
}

fn strange() -> LedgerError {
    LedgerError::Unfit { why: "redis: unexpected reply".to_owned() }
}

fn away(error: &io::Error) -> LedgerError {
    LedgerError::Away { why: format!("redis: {error}") }
}

/// The parts of a URL.
struct RedisPlace {
    is_tls: bool,
    host: String,
    port: u16,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    database: Option<u32>,
}

impl RedisPlace {
    fn of(url: &str) -> Result<Self, LedgerError> {
        // The error does not show the URL, which could contain a password.
        Self::parse(url).ok_or_else(|| {
            let text =
                "invalid URL of Redis: expected redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]";
            LedgerError::Unfit { why: text.to_owned() }
        })
    }

    fn parse(url: &str) -> Option<Self> {
        let (is_tls, rest) = match url.split_once("://")? {
            ("redis", rest) => (false, rest),
            ("rediss", rest) => (true, rest),
            _ => return None,
        };
        let (authority, database) = match rest.split_once('/') {
            Some((authority, "")) => (authority, None),
            Some((authority, database)) => (authority, Some(database.parse().ok()?)),
            None => (rest, None),
        };
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (user, password) = match login {
            Some(login) => {
                let (user, password) = login.split_once(':')?;
                (
                    Some(percent::decoded(user)?).filter(|user| !user.is_empty()),
                    Some(percent::decoded(password)?),
                )
            }
            None => (None, None),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (place, PORT),
        };
        let host = match host.strip_prefix('[') {
            Some(ipv6) => ipv6.strip_suffix(']')?,
            None => host,
        };
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_good) {
            return None;
        }
        Some(Self { is_tls, host: host.to_owned(), port, user, password, database })
    }

    /// Returns the commands to send at the beginning of a connection.
    fn greeting(&self) -> Vec<Vec<Vec<u8>>> {
        let mut commands = Vec::new();
        if let Some(password) = &self.password {
            let mut auth = command(&["AUTH"]);
            auth.extend(self.user.clone());
            auth.push(password.clone());
            commands.push(auth);
        }
        commands.extend(self.database.map(|number| command(&["SELECT", &number.to_string()])));
        commands
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ftp_tests::peer::Redis;

    use super::*;

    #[test]
    fn a_failover_of_redis_leads_to_the_new_master_at_once() {
        let (Some(old), Some(new)) = (Redis::start(), Redis::start()) else { return };
        let current = Arc::new(Lock::new(old.url()));
        let find = Arc::clone(&current);
        let host = Lookup::start(move || {
            Ok(find.lock().trim_start_matches("redis://").to_socket_addrs()?.collect())
        });
        let (host, idle) = (host.unwrap(), Lock::default());
        let ledger = RedisLedger { host, tls: None, greeting: Vec::new(), idle };
        ledger.prove().unwrap();
        // Several idle connections lead to the old master.
        let dialled: Vec<_> = (0..3).map(|_| ledger.dial().unwrap()).collect();
        ledger.idle.lock().connections.extend(dialled);
        old.tell("REPLICAOF 127.0.0.1 1");
        new.url().clone_into(&mut current.lock());
        assert!(ledger.replace("r", None, b"1").unwrap());
        assert_eq!(ledger.idle.lock().connections.len(), 1);
        assert_eq!(ledger.read("r").unwrap().content, b"1");
        // Without a new master, the change fails, and no connection is kept.
        new.tell("REPLICAOF 127.0.0.1 1");
        let error = ledger.replace("r", Some(b"1"), b"2").unwrap_err();
        assert!(
            matches!(&error, LedgerError::Away { why: text } if text.contains("READONLY")),
            "{error}"
        );
        assert!(ledger.idle.lock().connections.is_empty());
    }

    #[test]
    fn a_redis_ledger_uses_tls_and_checks_the_certificate() {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let pem = own.cert.pem();
        let Some(server) = Redis::start_tls(&pem, &own.signing_key.serialize_pem()) else { return };
        let (url, pem) = (server.tls_url(), Some(pem.as_bytes()));
        let ledger = RedisLedger::new(&url, pem).unwrap();
        ledger.prove().unwrap();
        // More than one TLS record.
        let content = vec![b'x'; 100_000];
        assert!(ledger.replace("r", None, &content).unwrap());
        assert_eq!(ledger.read("r").unwrap().content, content);
        let refused = |url: &str, pem: Option<&[u8]>| match RedisLedger::new(url, pem) {
            Ok(ledger) => ledger.prove().unwrap_err(),
            Err(error) => error,
        };
        for (url, pem, want) in [
            (&*url, Some(other.cert.pem()), "invalid peer certificate"),
            (&url, None, "redis: "),
            (&url.replace("127.0.0.1", "localhost"), Some(own.cert.pem()), "not valid for name"),
            (&url.replace("rediss", "redis"), None, "redis: "),
            (&server.url().replace("redis", "rediss"), Some(own.cert.pem()), "redis: "),
            (&url, Some(String::new()), "no certificate found"),
        ] {
            let error = refused(url, pem.as_ref().map(String::as_bytes)).to_string();
            assert!(error.contains(want), "{url} {error}");
        }
    }

    fn read(bytes: &[u8]) -> io::Result<Reply> {
        read_reply(&mut &*bytes, 0)
    }

    #[test]
    fn incomplete_and_malformed_redis_replies_are_errors() {
        let text = |text: &str| Reply::Text(Some(text.as_bytes().to_vec()));
        for (bytes, want) in [
            ("+OK\r\n", text("OK")),
            (":-1\r\n", Reply::Number(-1)),
            ("$-1\r\n", Reply::Text(None)),
            ("$4\r\n\r\n\r\n\r\n", text("\r\n\r\n")),
            ("-ERR no\r\n", Reply::Error("ERR no".to_owned())),
            ("*2\r\n$1\r\n7\r\n:8\r\n", Reply::List(vec![text("7"), Reply::Number(8)])),
        ] {
            assert_eq!(read(bytes.as_bytes()).unwrap(), want);
            for end in 0..bytes.len() {
                assert!(read(&bytes.as_bytes()[..end]).is_err(), "{bytes:?} {end}");
            }
        }
        for wrong in ["?1\r\n", "$x\r\n", "$9999999999\r\n", "OK\n", "$1\r\nab\r\n", "*65\r\n"] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(read("*1\r\n".repeat(9).as_bytes()).is_err());
    }

    #[test]
    fn redis_urls_are_parsed() {
        let place = RedisPlace::parse("redis://h").unwrap();
        assert_eq!((&*place.host, place.port, place.greeting().len()), ("h", PORT, 0));
        let place = RedisPlace::parse("redis://u:p%40%3a@[::1]:7/3").unwrap();
        assert_eq!((&*place.host, place.port), ("::1", 7));
        let words = [command(&["AUTH", "u", "p@:"]), command(&["SELECT", "3"])];
        assert_eq!(place.greeting(), words);
        let place = RedisPlace::parse("redis://:secret@h:1/").unwrap();
        assert_eq!(place.greeting(), [command(&["AUTH", "secret"])]);
        let is_tls = |url| RedisPlace::parse(url).unwrap().is_tls;
        assert!(is_tls("rediss://h") && !is_tls("redis://h"));
        for wrong in [
            "redis://",
            "redisss://h",
            "redis://h:x",
            "redis://u@h",
            "redis://h/x",
            "h",
            "redis://:%g0@h",
            "redis://[::1",
            "redis://a b",
        ] {
            let error = RedisPlace::of(wrong).err().unwrap().to_string();
            assert!(error.starts_with("invalid URL of Redis"), "{error}");
        }
    }
}
