//! `demo`: runs a server and a client on this computer, and checks that files arrive unchanged. With
//! `-v`, it shows their dialogue.

use std::fmt::{Display, Write as _};
use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_client::file::{Relay, Side};
use ftp_client::listing::Budget;
use ftp_client::{Client, ClientBuilder, EntryKind, Extended, FileOptions, Mode, Place, Tls};
use ftp_proto::{Network, RepresentationType};
use ftp_server::{Rights, Server, ServerConfig, TlsPolicy};
use log::LevelFilter;
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::console::output::{shown, transferred};
use crate::console::{Dialogue, Messages, Printable, Stdio, output, signals};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::Options;
use crate::report::Events;

/// Content of the small file: the licence of this program.
const LICENCE: &[u8] = include_bytes!("../../LICENSE-MIT");

/// Text for transfers in text mode, with local line endings (LF).
const TEXT: &[u8] = b"one line\nand another\n\nand the last\n";

/// Size of the generated file in bytes.
const LENGTH: u64 = 64 * 1_024 * 1_024;

/// Largest number of bytes that are compared at a time.
const BLOCK: usize = 256 * 1_024;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    if !options.operands.is_empty() {
        return Err(Failure::usage("demo takes no operand: ftp-cli demo"));
    }
    let dialogue = Lines::default();
    if options.is_verbose() {
        let writer = Dialogue::Writer(Box::new(dialogue.clone()));
        output::install(writer, &Messages::new(io::sink(), false), LevelFilter::Off);
    }
    let ending = Arc::default();
    let mut demo = Demo {
        messages: stdio.messages.clone(),
        watches: stdio.is_process,
        output: &mut *stdio.output,
        ending: Arc::clone(&ending),
        dialogue,
        quiet: options.is_quiet(),
        checks: 0,
        root: PathBuf::new(),
        password: password()?,
        generated: Generated::new(),
    };
    let checks = demo.run();
    // After a signal, the checks fail because the directory is gone. Wait here until the signal
    // ends the process with its own exit status.
    let _unless_a_signal_ends_it = lock(&ending);
    let checks = checks?;
    output::print(&mut *stdio.output, format!("demo: all {checks} checks passed\n").as_bytes())
}

/// Time limit for a whole session of one client.
const LONGEST: Duration = Duration::from_secs(120);

/// Time limit for removing the temporary directory after a signal.
const CLEANING: Duration = Duration::from_millis(500);

struct Demo<'a> {
    output: &'a mut dyn Write,
    messages: Messages,
    /// Whether this run owns the process and cleans up after a signal.
    watches: bool,
    /// Locked from the arrival of a signal until the process ends.
    ending: Arc<Mutex<()>>,
    dialogue: Lines,
    quiet: bool,
    checks: u32,
    /// Directory of the first server.
    root: PathBuf,
    /// Password of the only user of each server.
    password: Vec<u8>,
    generated: Generated,
}

fn internal(what: &str, error: &dyn Display) -> Failure {
    Failure::new(Exit::Internal, format!("{what}: {error}"))
}

fn builder() -> ClientBuilder {
    Client::builder().overall(Some(LONGEST))
}

impl Demo<'_> {
    /// Connects to a server of the demo and logs in.
    fn connect(&self, address: SocketAddr, builder: ClientBuilder) -> Result<Client> {
        let mut client = builder.connect(&address.to_string())?;
        client.login("demo", &self.password)?;
        Ok(client)
    }

    /// Starts a server without TLS that permits copies to and from other servers.
    fn serve(&self, host: &str, directory: &Path) -> Result<Server> {
        let loopback = Network::parse(b"127.0.0.0/8").into_iter();
        let config = ServerConfig::new().fxp_networks(Vec::from_iter(loopback));
        let rights = Rights::FULL | Rights::FXP;
        let builder = Server::builder().config(config).root(directory);
        let server = builder.user("demo", self.password.as_slice(), rights).bind((host, 0));
        server.map_err(|error| internal("cannot start the server", &error))
    }

    /// Runs all steps, and returns the number of checks that passed.
    fn run(&mut self) -> Result<u32> {
        let start = Instant::now();
        let root = tempfile::Builder::new().prefix("ftp-cli-demo-").tempdir();
        let root = root.map_err(|error| Failure::local("temporary directory", &error))?;
        root.path().clone_into(&mut self.root);
        let _unless_it_has_something = Empty(root.path().to_owned());
        if self.watches {
            self.clean_up_at_a_signal(root.path())?;
        }
        let server = self.serve("127.0.0.1", root.path())?;
        let address = server.local_addr();
        self.step(&format_args!("a server on {address}, in an empty temporary directory"))?;
        self.simple(address)?;
        self.active(address)?;
        self.large(address)?;
        self.encrypted()?;
        self.between_servers(address)?;
        self.end(server)?;
        let place = root.path().to_owned();
        root.close().map_err(|error| Failure::local("temporary directory", &error))?;
        self.check(!place.exists(), &"the temporary directory is removed")?;
        let seconds = start.elapsed().as_secs_f64();
        self.step(&format_args!("done in {seconds:.1} s"))?;
        Ok(self.checks)
    }

    /// Ensures that a signal removes the directory before it ends the process.
    fn clean_up_at_a_signal(&self, directory: &Path) -> Result {
        let directory = directory.to_owned();
        let messages = self.messages.clone();
        let ending = Arc::clone(&self.ending);
        signals::on_signals(false, move |signal| {
            let _until_the_end = lock(&ending);
            // The server may be creating a file in the directory at this moment, so the removal is
            // retried.
            let start = Instant::now();
            while fs::remove_dir_all(&directory).is_err()
                && directory.exists()
                && start.elapsed() < CLEANING
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            signals::end(signal, &messages, &Events::default());
        })
    }

    /// Transfers a small file and a text with PASV.
    fn simple(&mut self, address: SocketAddr) -> Result {
        self.step(&"passive mode with PASV (RFC 959): the reply contains an address and a port")?;
        let mut client = self.connect(address, builder().epsv(Extended::Never))?;
        self.licence(&mut client)?;
        self.step(&"text mode (TYPE A): lines end in CR LF on the wire, and in LF in local files")?;
        self.text(&mut client)?;
        Ok(client.quit()?)
    }

    /// Transfers the small file with PORT and EPRT.
    fn active(&mut self, address: SocketAddr) -> Result {
        self.step(&"active mode with PORT, then with EPRT: the server connects to the client")?;
        for eprt in [Extended::Never, Extended::Always] {
            let mut client = self.connect(address, builder().mode(Mode::Active).eprt(eprt))?;
            self.licence(&mut client)?;
            client.quit()?;
        }
        Ok(())
    }

    /// Transfers a large file with EPSV, and resumes transfers of it from the middle.
    fn large(&mut self, address: SocketAddr) -> Result {
        self.step(
            &"passive mode with EPSV (RFC 2428), for a larger file: the reply contains only a port",
        )?;
        let mut client = self.connect(address, builder())?;
        self.put(&mut client, "64 MiB.bin", 0..LENGTH)?;
        self.list(&mut client)?;
        self.get(&mut client, "64 MiB.bin", 0..LENGTH)?;
        let half = LENGTH / 2;
        self.step(&"resuming in the middle with REST, as after a lost connection")?;
        self.get(&mut client, "64 MiB.bin", half..LENGTH)?;
        self.put(&mut client, "half.bin", 0..half)?;
        self.put(&mut client, "half.bin", half..LENGTH)?;
        self.get(&mut client, "half.bin", 0..LENGTH)?;
        Ok(client.quit()?)
    }

    /// Copies the large file from the server at `address` to a second server twice. Each of the two
    /// servers listens for the data connection once.
    fn between_servers(&mut self, address: SocketAddr) -> Result {
        let place = self.root.join("other");
        fs::create_dir(&place).map_err(|error| Failure::local("temporary directory", &error))?;
        let other = self.serve("127.0.0.2", &place)?;
        let address_of_other = other.local_addr();
        self.step(&format_args!(
            "copying from the first server to another on {address_of_other} (FXP)"
        ))?;
        let mut source = self.connect(address, builder())?;
        let mut target = self.connect(address_of_other, builder())?;
        for (listener, name, what) in [
            (Side::Target, "copied.bin", "the target listens"),
            (Side::Source, "reverse.bin", "the source listens"),
        ] {
            self.step(&what)?;
            self.copy(&mut source, &mut target, listener, name)?;
            self.get(&mut target, name, 0..LENGTH)?;
        }
        source.quit()?;
        target.quit()?;
        self.end(other)
    }

    /// Transfers a small file over TLS, and verifies the server's new certificate by its pin. Then
    /// checks that the server refuses a login without TLS.
    fn encrypted(&mut self) -> Result {
        let internal = |error: &dyn Display| internal("TLS", error);
        let Some(tls) = self_signed() else {
            return self.step(&"TLS: skipped, this build has no TLS");
        };
        let tls = tls.map_err(|error| internal(&error))?;
        let tls = tls.control(TlsPolicy::Required).data(TlsPolicy::Required);
        let trust = Tls::explicit()
            .pin(&tls.pin().unwrap_or_default())
            .map_err(|error| internal(&error))?;
        let server = Server::builder().root(&self.root).tls(tls);
        let server = server
            .user("demo", self.password.as_slice(), Rights::FULL)
            .bind(("127.0.0.1", 0))
            .map_err(|error| internal(&error))?;
        let address = server.local_addr();
        self.step(&format_args!(
            "TLS with AUTH TLS (RFC 4217), to a server on {address} that requires TLS"
        ))?;
        let mut client = self.connect(address, builder().tls(trust))?;
        let version = client.tls().map(|info| info.version.to_string());
        let under = version.as_deref().unwrap_or("nothing");
        let what = format!("the control connection uses {under}");
        self.check(version.is_some(), &what)?;
        self.licence(&mut client)?;
        client.quit()?;
        let mut clear = builder().connect(&address.to_string())?;
        let refused = clear.login("demo", &self.password).is_err();
        self.check(refused, &"a login without TLS is refused before the password is sent")?;
        self.end(server)
    }

    /// Ends a server, and checks that it has waited for no session.
    fn end(&mut self, server: Server) -> Result {
        let report = server.shutdown(Duration::from_secs(5));
        self.check(report.cut + report.stuck == 0, &"every session ended cleanly")
    }

    /// Uploads and downloads a small file.
    fn licence(&mut self, client: &mut Client) -> Result {
        let length = LICENCE.len() as u64;
        self.put(client, "LICENSE-MIT", 0..length)?;
        self.get(client, "LICENSE-MIT", 0..length)
    }

    /// Returns a part of the content of a file. The small file is always read whole.
    fn content(&self, name: &str, Range { start, end }: Range<u64>) -> Box<dyn Read> {
        match name {
            "LICENSE-MIT" => Box::new(LICENCE),
            _ => Box::new(self.generated.from(start).take(end - start)),
        }
    }

    /// Uploads a part of a file. The end of a file follows with REST and STOR.
    fn put(&mut self, client: &mut Client, name: &str, part: Range<u64>) -> Result {
        let (from, length) = (part.start, part.end - part.start);
        let mut upload = match from {
            0 => client.store(name)?,
            offset => client.store_from(name, offset)?,
        };
        io::copy(&mut self.content(name, part), &mut upload).map_err(copying)?;
        let report = upload.finish()?;
        let moved = transferred(report.bytes, report.duration);
        let is_whole = report.bytes == length;
        if from == 0 {
            return self.check(is_whole, &format_args!("put {name}: {moved}"));
        }
        let is_whole = client.size(name)? == Some(LENGTH) && is_whole;
        let what = format!("put {name} from byte {from}: {moved}, {LENGTH} bytes in total");
        self.check(is_whole, &what)
    }

    /// Downloads a file from the start of `part`, and compares that part.
    fn get(&mut self, client: &mut Client, name: &str, part: Range<u64>) -> Result {
        let (start, length) = (part.start, part.end - part.start);
        let mut content = self.content(name, part);
        let (mut download, from) = match start {
            0 => (client.retrieve(name)?, String::new()),
            offset => (client.retrieve_from(name, offset)?, format!(" from byte {offset}")),
        };
        let mut came = vec![0; BLOCK];
        let mut want = vec![0; BLOCK];
        let mut same = true;
        // After an error, `finish` returns it.
        while let Ok(read @ 1..) = download.read(&mut came) {
            let (Some(came), Some(want)) = (came.get(..read), want.get_mut(..read)) else { break };
            same &= content.read_exact(want).is_ok() && came == want;
        }
        let report = download.finish()?;
        let moved = transferred(report.bytes, report.duration);
        let is_whole = report.bytes == length;
        let what = format!("get {name}{from}: {moved}, identical byte for byte");
        self.check(same && is_whole, &what)
    }

    fn copy(
        &mut self,
        source: &mut Client,
        target: &mut Client,
        listener: Side,
        name: &str,
    ) -> Result {
        let options = FileOptions::new();
        let mut job =
            Relay::new(Place::at("64 MiB.bin"), Place::at(name), &options).listener(Some(listener));
        let done = job.attempt(source, target, &()).map_err(|error| Failure::from(&error))?;
        let moved = transferred(LENGTH, done.duration);
        let what = format!("copy 64 MiB.bin to {name}: {moved}, directly between the servers");
        self.check(job.size() == Some(LENGTH), &what)
    }

    /// Uploads and downloads a text in text mode, and downloads it in binary mode.
    fn text(&mut self, client: &mut Client) -> Result {
        let lines = TEXT.iter().filter(|byte| **byte == b'\n').count();
        let as_read = |client: &mut Client, representation| {
            client.set_representation(representation);
            let mut download = client.retrieve("text")?;
            let mut content = Vec::new();
            // After an error, `finish` returns it.
            let _ = download.read_to_end(&mut content);
            download.finish()?;
            Ok::<_, Failure>(content)
        };
        client.set_representation(RepresentationType::Ascii);
        let mut upload = client.store("text")?;
        upload.write_all(TEXT).map_err(copying)?;
        upload.finish()?;
        let stored = fs::read(self.root.join("text"));
        let stored = stored.map_err(|error| Failure::local("temporary directory", &error))?;
        let what = format!("put text: {lines} lines, stored unchanged");
        self.check(stored == TEXT, &what)?;
        let content = as_read(client, RepresentationType::Ascii)?;
        self.check(content == TEXT, &"get text: identical lines")?;
        let content = as_read(client, RepresentationType::Image)?;
        self.check(content == TEXT, &"get text in binary mode: identical bytes")
    }

    fn list(&mut self, client: &mut Client) -> Result {
        let line = |name: &str, size: u64| format!("{name} ({size})");
        let mut found = Vec::new();
        for entry in client.list("")?.gather(Budget::default())?.entries {
            if let (Some(size), Some(EntryKind::File)) = (entry.size, entry.kind) {
                found.push(line(&shown(&entry.name), size));
            }
        }
        found.sort_unstable();
        let want = [
            line("64 MiB.bin", LENGTH),
            line("LICENSE-MIT", LICENCE.len() as u64),
            line("text", TEXT.len() as u64),
        ];
        self.check(found == want, &format_args!("list: {}", found.join(", ")))
    }

    /// Prints the dialogue since the last call, then one line about a step or a check.
    fn step(&mut self, text: &dyn Display) -> Result {
        let lines = self.dialogue.take();
        if self.quiet {
            return Ok(());
        }
        let mut out = String::new();
        for line in lines.lines() {
            let _ = writeln!(out, "    {}", Printable(line));
        }
        let _ = writeln!(out, "{text}");
        output::print(self.output, out.as_bytes())
    }

    fn check(&mut self, right: bool, text: &dyn Display) -> Result {
        self.checks += 1;
        let verdict = if right { "ok  " } else { "FAIL" };
        self.step(&format_args!("{verdict} {text}"))?;
        match right {
            true => Ok(()),
            false => Err(Failure::new(Exit::Integrity, format!("demo failed: {text}"))),
        }
    }
}

/// Converts an error from writing an upload.
fn copying(error: io::Error) -> Failure {
    match ftp_client::Error::downcast(error) {
        Ok(error) => error.into(),
        Err(error) => Failure::local("copying", &error),
    }
}

/// Returns TLS settings with a new certificate, or `None` if this build has no TLS.
#[cfg(feature = "tls")]
fn self_signed() -> Option<Result<ftp_server::Tls, ftp_server::TlsError>> {
    Some(ftp_server::Tls::self_signed(["127.0.0.1"]))
}

#[cfg(not(feature = "tls"))]
fn self_signed() -> Option<Result<ftp_server::Tls, ftp_server::TlsError>> {
    None
}

/// A directory that is removed on drop if it is empty. Unlike the removal of a tree, this needs no
/// file descriptor.
struct Empty(PathBuf);

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Reproducible pseudo-random bytes from any offset. Their period is a prime number, so that data
/// shifted by whole blocks differs.
struct Generated {
    period: Arc<[u8]>,
    at: usize,
}

impl Generated {
    const PERIOD: usize = 1_048_573;

    fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let bytes = std::iter::repeat_with(|| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self { period: bytes.flatten().take(Self::PERIOD).collect(), at: 0 }
    }

    fn from(&self, offset: u64) -> Self {
        let at = usize::try_from(offset % Self::PERIOD as u64).unwrap_or_default();
        Self { period: Arc::clone(&self.period), at }
    }
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.period.get(self.at..).unwrap_or_default().read(buffer)?;
        self.at = (self.at + length) % Self::PERIOD;
        Ok(length)
    }
}

/// Dialogue that has not been printed yet.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *lock(&self.0));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a password that no other user of this computer can guess: every local user can connect
/// to the servers.
fn password() -> Result<Vec<u8>> {
    let mut bytes = [0; 16];
    let length = retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()));
    match length.and_then(|length| if length == bytes.len() { Ok(()) } else { Err(Errno::IO) }) {
        Ok(()) => Ok(format!("{:032x}", u128::from_ne_bytes(bytes)).into_bytes()),
        Err(error) => Err(internal("cannot get random bytes", &error)),
    }
}
