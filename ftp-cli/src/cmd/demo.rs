//! `demo`: runs a server and a client on this computer, and checks that files arrive unchanged. With
//! `-v`, it shows their dialogue.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_client::file::Relay;
use ftp_client::listing::Budget;
use ftp_client::{Client, ClientBuilder, Extended, FileOptions, Mode, Place, Tls};
use ftp_proto::Network;
use ftp_server::{MemoryStorage, Rights, Server, ServerBuilder, ServerConfig, TlsPolicy};
use log::LevelFilter;

use crate::console::output::{shown, transferred};
use crate::console::{Messages, Printable, Stdio, output};
use crate::exit::{Exit, Failure, Result};
use crate::options::Options;
use crate::{lock, random_name};

/// Content of the small file: the licence of this program.
const LICENCE: &[u8] = include_bytes!("../../LICENSE-MIT");

const LARGE: &str = "16 MiB.bin";
const LENGTH: usize = 16 * 1_024 * 1_024;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    if !options.operands.is_empty() {
        return Err(Failure::usage("demo takes no operand: ftp-cli demo"));
    }
    let dialogue = Lines::default();
    if options.is_verbose() {
        let messages = Messages::new(io::sink(), false);
        output::install(Some(Some(dialogue.clone())), &messages, LevelFilter::Off);
    }
    let mut demo = Demo {
        output: &mut stdio.output,
        dialogue,
        quiet: options.is_quiet(),
        checks: 0,
        // Every user of this computer can connect to the servers.
        password: random_name(),
        large: generated().take(LENGTH).collect(),
    };
    let checks = demo.run()?;
    output::print(&mut stdio.output, format!("demo: all {checks} checks passed\n").as_bytes())
}

/// Time limit for a whole session of one client.
const LONGEST: Duration = Duration::from_secs(120);

struct Demo<'a> {
    output: &'a mut dyn Write,
    dialogue: Lines,
    quiet: bool,
    checks: u32,
    /// Password of the only user of each server.
    password: String,
    large: Arc<[u8]>,
}

fn internal(what: &str, error: &dyn Display) -> Failure {
    Failure::new(Exit::Internal, format!("{what}: {error}"))
}

fn builder() -> ClientBuilder {
    Client::builder().overall(Some(LONGEST))
}

impl Demo<'_> {
    fn connect(&self, address: SocketAddr, builder: ClientBuilder) -> Result<Client> {
        let mut client = builder.connect(&address.to_string())?;
        client.login("demo", &self.password)?;
        Ok(client)
    }

    /// Starts a server that permits copies to and from other servers, and keeps files in memory: a
    /// signal can end the demo at any time without leaving anything.
    fn serve(
        &self,
        host: &str,
        more: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Result<Server> {
        let loopback = Network::parse(b"127.0.0.0/8").into_iter();
        let config = ServerConfig::new().fxp_networks(Vec::from_iter(loopback));
        let builder = more(Server::builder().config(config).storage(MemoryStorage::new()));
        let rights = Rights::FULL | Rights::FXP;
        let server = builder.user("demo", self.password.as_str(), rights).bind((host, 0));
        server.map_err(|error| internal("cannot start the server", &error))
    }

    /// Runs all steps, and returns the number of checks that passed.
    fn run(&mut self) -> Result<u32> {
        let start = Instant::now();
        let server = self.serve("127.0.0.1", |builder| builder)?;
        let address = server.local_addr();
        self.step(&format_args!("a server on {address}, which keeps its files in memory"))?;
        self.simple(address)?;
        self.active(address)?;
        self.large(address)?;
        self.encrypted()?;
        self.between_servers(address)?;
        self.end(server)?;
        let seconds = start.elapsed().as_secs_f64();
        self.step(&format_args!("done in {seconds:.1} s"))?;
        Ok(self.checks)
    }

    /// Transfers a small file with PASV.
    fn simple(&mut self, address: SocketAddr) -> Result {
        self.step(&"passive mode with PASV (RFC 959): the reply contains an address and a port")?;
        let mut client = self.connect(address, builder().epsv(Extended::Never))?;
        self.licence(&mut client)?;
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
        let large = Arc::clone(&self.large);
        let (half, _) = large.split_at(LENGTH / 2);
        self.put(&mut client, LARGE, &large, 0)?;
        self.list(&mut client)?;
        self.get(&mut client, LARGE, &large, 0)?;
        self.step(&"resuming in the middle with REST, as after a lost connection")?;
        self.get(&mut client, LARGE, &large, half.len())?;
        self.put(&mut client, "half.bin", half, 0)?;
        self.put(&mut client, "half.bin", &large, half.len())?;
        self.get(&mut client, "half.bin", &large, 0)?;
        Ok(client.quit()?)
    }

    /// Copies the large file from the server at `address` to a second server.
    fn between_servers(&mut self, address: SocketAddr) -> Result {
        let other = self.serve("127.0.0.2", |builder| builder)?;
        let address_of_other = other.local_addr();
        self.step(&format_args!(
            "copying from the first server to another on {address_of_other} (FXP)"
        ))?;
        let mut source = self.connect(address, builder())?;
        let mut target = self.connect(address_of_other, builder())?;
        self.copy(&mut source, &mut target, "copied.bin")?;
        self.get(&mut target, "copied.bin", &Arc::clone(&self.large), 0)?;
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
        let server = self.serve("127.0.0.1", |builder| builder.tls(tls))?;
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
        self.put(client, "LICENSE-MIT", LICENCE, 0)?;
        self.get(client, "LICENSE-MIT", LICENCE, 0)
    }

    /// Uploads a file from byte `from` on, with REST and STOR.
    fn put(&mut self, client: &mut Client, name: &str, content: &[u8], from: usize) -> Result {
        let upload = client.store_from(name, from as u64)?;
        let report = upload.copy_from(&mut content.get(from..).unwrap_or_default())?;
        let moved = transferred(report.bytes, report.duration);
        let is_whole = client.size(name)? == Some(content.len() as u64);
        self.check(is_whole, &format_args!("put {name}{}: {moved}", from_byte(from)))
    }

    /// Downloads a file from byte `from` on, and compares it.
    fn get(&mut self, client: &mut Client, name: &str, content: &[u8], from: usize) -> Result {
        let mut came = Vec::new();
        let report = client.retrieve_from(name, from as u64)?.copy_to(&mut came)?;
        let moved = transferred(report.bytes, report.duration);
        let what = format!("get {name}{}: {moved}, identical byte for byte", from_byte(from));
        self.check(content.get(from..) == Some(&came), &what)
    }

    fn copy(&mut self, source: &mut Client, target: &mut Client, name: &str) -> Result {
        let options = FileOptions::new();
        let mut job = Relay::new(Place::at(LARGE), Place::at(name), &options);
        let done = job.attempt(source, target, &()).map_err(|error| Failure::from(&error))?;
        let moved = transferred(LENGTH as u64, done.duration);
        let what = format!("copy {LARGE} to {name}: {moved}, directly between the servers");
        self.check(job.size() == Some(LENGTH as u64), &what)
    }

    fn list(&mut self, client: &mut Client) -> Result {
        let mut found = Vec::new();
        for entry in client.list("")?.gather(Budget::default())?.entries {
            found.push(format!("{} ({})", shown(&entry.name), entry.size.unwrap_or_default()));
        }
        found.sort_unstable();
        let want = [format!("{LARGE} ({LENGTH})"), format!("LICENSE-MIT ({})", LICENCE.len())];
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

/// Returns where a transfer begins, for its line.
fn from_byte(from: usize) -> String {
    if from > 0 { format!(" from byte {from}") } else { String::new() }
}

/// Returns reproducible pseudo-random bytes, so that data shifted by whole blocks differs (xorshift64).
fn generated() -> impl Iterator<Item = u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten()
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
