//! A custom storage: files without directories, as rows of a table. A map stands for the table; in
//! your program, it can be that of a database.
//!
//! `cargo run -p ftp-server --example custom_storage`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use ftp_server::{
    Ask, Capabilities, Confine, Entries, Entry, Keep, Login, Metadata, Partials, Rights, RoomFor,
    Server, Source, Space, Storage, StorageError, StorageErrorKind, Unfinished, Upload, UserLimits,
    UserTable, VirtualPath, WriteMode,
};

/// Maximum size of a file in bytes: each upload is held in memory.
const MOST: u64 = 16 * 1024 * 1024;

/// A table of files by name. Clones share the rows.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<BTreeMap<Vec<u8>, Row>>>);

#[derive(Clone)]
struct Row {
    /// A number that no other row has. It is optional: with it, clients can tell files from links.
    id: u64,
    modified: i64,
    content: Arc<[u8]>,
}

impl Row {
    fn metadata(&self) -> Metadata {
        let size = self.content.len() as u64;
        Metadata::file(size).modified(self.modified).identity(1, self.id)
    }
}

impl Table {
    fn rows(&self) -> Result<MutexGuard<'_, BTreeMap<Vec<u8>, Row>>, StorageError> {
        self.0.lock().map_err(|_| StorageErrorKind::Io.into())
    }

    fn row(&self, path: &VirtualPath) -> Result<Row, StorageError> {
        let row = self.rows()?.get(name(path)?).cloned();
        row.ok_or_else(|| StorageErrorKind::NotFound.into())
    }

    /// Stores a file. The client gets 226 only if this returns `Ok`.
    fn store(
        &self,
        name: Vec<u8>,
        mode: WriteMode,
        mut content: Vec<u8>,
    ) -> Result<(), StorageError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let modified = now.map_or(0, |time| time.as_secs().cast_signed());
        let mut rows = self.rows()?;
        // Another session may have stored the file since the upload began.
        match (mode, rows.get(&name)) {
            (WriteMode::Create, Some(_)) => return Err(StorageErrorKind::Exists.into()),
            (WriteMode::Append, Some(old)) => content = [&old.content, &*content].concat(),
            _ => {}
        }
        let id = rows.values().map(|row| row.id).max().unwrap_or_default() + 1;
        rows.insert(name, Row { id, modified, content: content.into() });
        Ok(())
    }
}

/// Returns the name of a file. There are no directories but the root.
fn name(path: &VirtualPath) -> Result<&[u8], StorageError> {
    match (path.name(), path.parent()) {
        (Some(name), Some(parent)) if parent.is_root() => Ok(name),
        (None, _) => Err(StorageErrorKind::IsDirectory.into()),
        _ => Err(StorageErrorKind::NotFound.into()),
    }
}

impl Storage for Table {
    // In your program: `REMOTE` if the database is on another computer.
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    // The sessions open no files on disk, so they need no access to any.
    fn confine(&self) -> Confine<'_> {
        Confine::Neutral
    }

    fn stat(&self, path: &VirtualPath, _: Ask) -> Result<Metadata, StorageError> {
        match path.is_root() {
            true => Ok(Metadata::directory()),
            false => Ok(self.row(path)?.metadata()),
        }
    }

    fn list(&self, path: &VirtualPath, _: Ask) -> Result<Entries, StorageError> {
        self.stat(path, Ask::Directory)?.check_directory()?;
        let rows = self.rows()?;
        let entry = |(name, row): (&Vec<u8>, &Row)| Ok(Entry::new(name.clone(), row.metadata()));
        let entries: Vec<_> = rows.iter().map(entry).collect();
        Ok(Entries::new(entries.into_iter()))
    }

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        Ok(Box::new(Cursor::new(self.row(path)?.content)))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        let name = name(path)?.to_vec();
        let old = match self.row(path) {
            Ok(row) => Some(row.content),
            Err(error) if error.kind == StorageErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let content = match (mode, &old) {
            (WriteMode::Create, Some(_)) => return Err(StorageErrorKind::Exists.into()),
            (WriteMode::Create | WriteMode::Replace | WriteMode::Append, _) => Vec::new(),
            (WriteMode::From(from), Some(old)) => {
                let first = usize::try_from(from).ok().and_then(|from| old.get(..from));
                first.ok_or(StorageErrorKind::BadRestart)?.to_vec()
            }
            // `Partials` resumes uploads.
            _ => return Err(StorageErrorKind::BadRestart.into()),
        };
        // The table gets its row only when the upload is complete.
        let table = self.clone();
        Ok(<dyn Upload>::in_memory(content, move |content| table.store(name, mode, content)))
    }

    // `Partials` remembers interrupted uploads.
    fn unfinished(
        &self,
        _: &VirtualPath,
        _: Option<&[u8]>,
    ) -> Result<Option<Unfinished>, StorageError> {
        Ok(None)
    }

    fn kept(&self, _: &VirtualPath, _: Option<&[u8]>) -> Result<Box<dyn Source>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn forget(
        &self,
        _: &VirtualPath,
        _: Option<&[u8]>,
    ) -> Result<Option<Unfinished>, StorageError> {
        Ok(None)
    }

    fn space(&self, _: &VirtualPath, _: RoomFor) -> Result<Space, StorageError> {
        Ok(Space::default())
    }

    // Without these methods, `DELE` and `RNTO` are refused with 502.
    fn remove(&self, path: &VirtualPath) -> Result<(), StorageError> {
        let removed = self.rows()?.remove(name(path)?);
        removed.map(drop).ok_or_else(|| StorageErrorKind::NotFound.into())
    }

    fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), StorageError> {
        let mut rows = self.rows()?;
        let (from, to) = (name(from)?, name(to)?);
        if rows.contains_key(to) && from != to && !replace {
            return Err(StorageErrorKind::Exists.into());
        }
        let row = rows.remove(from).ok_or(StorageErrorKind::NotFound)?;
        rows.insert(to.to_vec(), row);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let table = Table::default();
    // Users can resume their uploads: `Partials` keeps what arrived.
    let storage = Arc::new(Partials::new(table.clone()));
    let login = Login::new(storage, Rights::FULL).limits(UserLimits::default().file_size(MOST));
    let users = UserTable::new().user("camera", "secret", login);
    let server = Server::builder().authenticator(users).bind("127.0.0.1:0")?;

    let reply = transfer(server.local_addr(), "STOR 0001.jpg", b"a picture", &mut Vec::new())?;
    assert!(reply.starts_with("226"), "{reply}");
    assert_eq!(&*table.row(&VirtualPath::root().join(b"0001.jpg"))?.content, b"a picture");
    for (command, want) in [("NLST", "0001.jpg\r\n"), ("RETR 0001.jpg", "a picture")] {
        let mut data = Vec::new();
        let reply = transfer(server.local_addr(), command, b"", &mut data)?;
        assert!(reply.starts_with("226") && data == want.as_bytes(), "{command}: {reply}");
    }

    // A client that got 552 has stored nothing.
    let reply = transfer(
        server.local_addr(),
        "STOR 2",
        &vec![0; usize::try_from(MOST)? + 1],
        &mut Vec::new(),
    )?;
    assert!(reply.starts_with("552"), "{reply}");
    assert_eq!(table.rows()?.len(), 1);
    Ok(())
}

/// Transfers a file as a camera does. Returns the last reply.
fn transfer(
    server: SocketAddr,
    command: &str,
    send: &[u8],
    receive: &mut Vec<u8>,
) -> Result<String, Box<dyn Error>> {
    let mut control = BufReader::new(TcpStream::connect(server)?);
    let mut ask = |line: &str| {
        control.get_mut().write_all(line.as_bytes())?;
        let mut reply = String::new();
        control.read_line(&mut reply).map(|_| reply)
    };
    ask("")?;
    for line in ["USER camera\r\n", "PASS secret\r\n", "TYPE I\r\n"] {
        ask(line)?;
    }
    let reply = ask("EPSV\r\n")?;
    let port = reply.split('|').nth(3).ok_or("no port in the reply")?.parse()?;
    let mut data = TcpStream::connect((server.ip(), port))?;
    ask(&format!("{command}\r\n"))?;
    // The server may close the data connection early; its reply then says why.
    if data.write_all(send).is_ok() {
        data.shutdown(std::net::Shutdown::Write)?;
    }
    let _ = data.read_to_end(receive);
    Ok(ask("")?)
}

#[test]
fn the_custom_storage_example_runs() {
    main().unwrap();
}

#[test]
fn the_custom_storage_keeps_the_promises_of_a_storage() {
    use ftp_server::testing;

    testing::storage_contract(1..=100, || (Partials::new(Table::default()), ())).unwrap();
    // `Partials` is not optional: without it, nobody remembers an upload that was cut.
    let alone = testing::storage_contract(1..=100, || (Table::default(), ())).unwrap_err();
    assert!(alone.starts_with("unfinished /f of ann: None"), "{alone}");
}
