//! An FTP server whose files are in an SQLite database: `cargo run -- FILE.db`, then
//! `ftp-cli ls ftp://u:p@127.0.0.1:2121/`. Users can resume uploads.

use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ftp_server::{
    Ask, Capabilities, Confine, Entries, Entry, EntryKind, Keep, MemoryLedger, Metadata, Partials,
    Rights, RoomFor, Server, SharedQuota, SharedState, Source, Space, Storage, StorageError,
    StorageErrorKind as Kind, Unfinished, Upload, VirtualPath, WithoutLedger, WriteMode,
};
use rusqlite::{Connection, OptionalExtension, Params, Row};

type Result<T, E = StorageError> = std::result::Result<T, E>;

/// The objects. A directory has no content, and the root has no parent.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS objects \
     (path BLOB PRIMARY KEY, parent BLOB, content BLOB, modified INTEGER NOT NULL); \
     INSERT OR IGNORE INTO objects VALUES (X'2F', NULL, NULL, unixepoch())";

/// Stores ?3 at the path ?1 if its parent ?2 is a directory. ?4: appends it to a file that is there.
/// ?5: replaces such a file.
const STORE: &str = "INSERT INTO objects SELECT ?1, ?2, ?3, unixepoch() \
     WHERE EXISTS (SELECT 1 FROM objects WHERE path = ?2 AND content IS NULL) \
     AND (NOT ?4 OR EXISTS (SELECT 1 FROM objects WHERE path = ?1)) \
     ON CONFLICT DO UPDATE SET modified = excluded.modified, \
     content = CAST(iif(?4, content, X'') || excluded.content AS BLOB) \
     WHERE content IS NOT NULL AND (?4 OR ?5)";

#[derive(Clone)]
struct Database(Arc<Mutex<Connection>>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: sqlite-storage FILE.db")?;
    let storage = served(Database::new(Connection::open(file)?)?)?;
    let builder = Server::builder().storage(storage).user("u", "p", Rights::FULL);
    let server = builder.bind("127.0.0.1:2121")?;
    println!("{}", server.local_addr());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Returns the storage that is served: users can resume uploads, and all files may have 1 GiB.
fn served(database: Database) -> io::Result<SharedQuota> {
    let lease = Duration::from_secs(60);
    let state = SharedState::start(MemoryLedger::new(), lease, WithoutLedger::Refuse)?;
    Ok(state.quota(Partials::new(database), "all").max_bytes(1 << 30))
}

fn failed(error: rusqlite::Error) -> StorageError {
    StorageError::caused_by(Kind::Io, io::Error::other(error))
}

fn metadata(row: &Row<'_>) -> rusqlite::Result<Metadata> {
    let size: Option<u64> = row.get("size")?;
    Ok(size.map_or(Metadata::directory(), Metadata::file).modified(row.get("modified")?))
}

impl Database {
    fn new(connection: Connection) -> rusqlite::Result<Self> {
        connection.execute_batch(TABLE)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the object at `path`. Fails with `or` if there is one that the statement excludes.
    fn change(&self, sql: &str, path: &VirtualPath, values: impl Params, or: Kind) -> Result<()> {
        let changed = self.lock().execute(sql, values).map_err(failed)?;
        if changed > 0 { Ok(()) } else { self.stat(path, Ask::Facts).and(Err(or.into())) }
    }

    /// Stores a file, or a directory if there is no content.
    fn store(&self, path: &VirtualPath, content: Option<&[u8]>, mode: WriteMode) -> Result<()> {
        let parent = path.parent().unwrap_or_default();
        let (appends, replaces) = (mode == WriteMode::Append, mode != WriteMode::Create);
        let values = (path.as_bytes(), parent.as_bytes(), content, appends, replaces);
        self.change(STORE, path, values, Kind::Exists)
    }
}

impl Storage for Database {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    /// SQLite opens further files beside the database, at any time.
    fn confine(&self) -> Confine<'_> {
        Confine::No
    }

    fn stat(&self, path: &VirtualPath, _: Ask) -> Result<Metadata> {
        let sql = "SELECT length(content) AS size, modified FROM objects WHERE path = ?1";
        let found = self.lock().query_row(sql, [path.as_bytes()], metadata).optional();
        found.map_err(failed)?.ok_or(Kind::NotFound.into())
    }

    fn list(&self, path: &VirtualPath, _: Ask) -> Result<Entries> {
        self.stat(path, Ask::Directory)?.check_directory()?;
        let sql = "SELECT path, length(content) AS size, modified FROM objects WHERE parent = ?1";
        let entry = |row: &Row<'_>| {
            let path = VirtualPath::root().join(&row.get::<_, Vec<u8>>("path")?[1..]);
            Ok(Entry::new(path.name().unwrap_or_default(), metadata(row)?))
        };
        let database = self.lock();
        let mut statement = database.prepare(sql).map_err(failed)?;
        let rows = statement.query_map([path.as_bytes()], entry).map_err(failed)?;
        let entries: Vec<_> = rows.map(|row| row.map_err(failed)).collect();
        Ok(Entries::new(entries.into_iter()))
    }

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>> {
        self.stat(path, Ask::Facts)?;
        let sql = "SELECT content FROM objects WHERE path = ?1";
        let content = self.lock().query_row(sql, [path.as_bytes()], |row| row.get(0));
        let content: Option<Vec<u8>> = content.map_err(failed)?;
        Ok(Box::new(Cursor::new(content.ok_or(Kind::IsDirectory)?)))
    }

    fn write(&self, path: &VirtualPath, mode: WriteMode, _: Keep<'_>) -> Result<Box<dyn Upload>> {
        self.stat(&path.parent().unwrap_or_default(), Ask::Directory)?.check_directory()?;
        let (mut mode, mut content) = (mode, Vec::new());
        match (mode, self.stat(path, Ask::Facts)) {
            (_, Ok(old)) if old.kind == EntryKind::Directory => Err(Kind::IsDirectory)?,
            (WriteMode::Create, Ok(_)) => Err(Kind::Exists)?,
            (WriteMode::From(from), Ok(old)) if from <= old.size => {
                self.read(path)?.take(from).read_to_end(&mut content)?;
            }
            (WriteMode::From(_) | WriteMode::Resume(_), _) => Err(Kind::BadRestart)?,
            (WriteMode::Append, Err(_)) => mode = WriteMode::Create,
            _ => {}
        }
        let (database, path) = (self.clone(), path.clone());
        let store = move |content: Vec<u8>| database.store(&path, Some(&content), mode);
        Ok(<dyn Upload>::in_memory(content, store))
    }

    /// [`Partials`] remembers interrupted uploads.
    fn unfinished(&self, _: &VirtualPath, _: Option<&[u8]>) -> Result<Option<Unfinished>> {
        Ok(None)
    }

    fn kept(&self, _: &VirtualPath, _: Option<&[u8]>) -> Result<Box<dyn Source>> {
        Err(Kind::NotFound.into())
    }

    fn forget(&self, _: &VirtualPath, _: Option<&[u8]>) -> Result<Option<Unfinished>> {
        Ok(None)
    }

    fn space(&self, _: &VirtualPath, _: RoomFor) -> Result<Space> {
        Ok(Space::default())
    }

    fn remove(&self, path: &VirtualPath) -> Result<()> {
        let sql = "DELETE FROM objects WHERE path = ?1 AND content IS NOT NULL";
        self.change(sql, path, [path.as_bytes()], Kind::IsDirectory)
    }

    fn rmdir(&self, path: &VirtualPath) -> Result<()> {
        self.stat(path, Ask::Directory)?.check_directory()?;
        let sql = "DELETE FROM objects WHERE path = ?1 AND content IS NULL AND parent IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM objects WHERE parent = ?1)";
        let or = if path.is_root() { Kind::Denied } else { Kind::NotEmpty };
        self.change(sql, path, [path.as_bytes()], or)
    }

    fn mkdir(&self, path: &VirtualPath) -> Result<()> {
        self.store(path, None, WriteMode::Create)
    }
}

#[cfg(test)]
mod tests {
    use ftp_server::testing;

    use super::*;

    fn empty() -> Database {
        Database::new(Connection::open_in_memory().unwrap()).unwrap()
    }

    #[test]
    fn the_database_behaves_like_other_storages() {
        testing::storage_contract(1..=200, || (Partials::new(empty()), ())).unwrap();
        testing::storage_contract(1..=200, || (served(empty()).unwrap(), ())).unwrap();
    }
}
