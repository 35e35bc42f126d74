//! An FTP server whose files are in an SQLite database: `cargo run -- FILE.db`, then
//! `ftp-cli ls ftp://u:p@127.0.0.1:2121/`.

use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ftp_server::{
    Ask, Entries, Entry, EntryKind, Keep, Metadata, Rights, Server, Source, Storage, StorageError,
    StorageErrorKind as Kind, StreamEnd, Upload, VirtualPath, WriteMode,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

/// The objects, except the root. A directory has no content.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS objects \
     (path BLOB PRIMARY KEY, parent BLOB NOT NULL, content BLOB, modified INTEGER NOT NULL)";

#[derive(Clone)]
struct Database(Arc<Mutex<Connection>>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: sqlite-storage FILE.db")?;
    let storage = Database::new(Connection::open(file)?)?;
    let builder = Server::builder().storage(storage).user("u", "p", Rights::FULL);
    let server = builder.bind("127.0.0.1:2121")?;
    println!("{}", server.local_addr());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn failed(error: rusqlite::Error) -> StorageError {
    StorageError::caused_by(Kind::Io, io::Error::other(error))
}

fn metadata(row: &Row<'_>) -> rusqlite::Result<Metadata> {
    let modified = row.get("modified")?;
    Ok(match row.get::<_, Option<u64>>("size")? {
        Some(size) => Metadata::file(size).modified(modified),
        None => Metadata::directory().modified(modified),
    })
}

impl Database {
    fn new(connection: Connection) -> rusqlite::Result<Self> {
        connection.execute_batch(TABLE)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an object, if its directory still exists; `or` is what happens to an older one.
    fn store(
        &self,
        path: &VirtualPath,
        content: Option<&[u8]>,
        or: &str,
    ) -> Result<(), StorageError> {
        let parent = path.parent().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let values = (path.as_bytes(), parent.as_bytes(), content, now.cast_signed());
        let sql = format!(
            "INSERT INTO objects SELECT ?1, ?2, ?3, ?4 WHERE ?2 = X'2F' \
             OR EXISTS (SELECT 1 FROM objects WHERE path = ?2 AND content IS NULL) {or}"
        );
        match self.lock().execute(&sql, values) {
            Ok(0) => Err(Kind::NotFound.into()),
            Ok(_) => Ok(()),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(Kind::Exists.into())
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns the kind of the object at `path`, and checks that an object can be there.
    fn place(&self, path: &VirtualPath) -> Result<Option<EntryKind>, StorageError> {
        self.stat(&path.parent().unwrap_or_default(), Ask::Directory)?.check_directory()?;
        match self.stat(path, Ask::Facts) {
            Ok(found) => Ok(Some(found.kind)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Storage for Database {
    fn stat(&self, path: &VirtualPath, _: Ask) -> Result<Metadata, StorageError> {
        if path.is_root() {
            return Ok(Metadata::directory());
        }
        let sql = "SELECT length(content) AS size, modified FROM objects WHERE path = ?1";
        let found = self.lock().query_row(sql, [path.as_bytes()], metadata).optional();
        found.map_err(failed)?.ok_or(Kind::NotFound.into())
    }

    fn list(&self, path: &VirtualPath, _: Ask) -> Result<Entries, StorageError> {
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

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        if self.stat(path, Ask::Facts)?.kind == EntryKind::Directory {
            return Err(Kind::IsDirectory.into());
        }
        let sql = "SELECT content FROM objects WHERE path = ?1";
        let content = self.lock().query_row(sql, [path.as_bytes()], |row| row.get::<_, Vec<u8>>(0));
        Ok(Box::new(Cursor::new(content.map_err(failed)?)))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        let (database, path, mut content) = (self.clone(), path.clone(), Vec::new());
        match (self.place(&path)?, mode) {
            (Some(EntryKind::Directory), _) => return Err(Kind::IsDirectory.into()),
            (Some(_), WriteMode::Create) => return Err(Kind::Exists.into()),
            (None, WriteMode::From(_)) | (_, WriteMode::Resume(_)) => {
                return Err(Kind::BadRestart.into());
            }
            (Some(_), WriteMode::From(_)) => {
                self.read(&path)?.read_to_end(&mut content)?;
            }
            _ => {}
        }
        if let WriteMode::From(from) = mode {
            let from = usize::try_from(from).ok().filter(|from| *from <= content.len());
            content.truncate(from.ok_or(Kind::BadRestart)?);
        }
        Ok(Box::new(Receiving { database, path, mode, content }))
    }

    fn remove(&self, path: &VirtualPath) -> Result<(), StorageError> {
        if self.stat(path, Ask::Facts)?.kind == EntryKind::Directory {
            return Err(Kind::IsDirectory.into());
        }
        let sql = "DELETE FROM objects WHERE path = ?1 AND content IS NOT NULL";
        match self.lock().execute(sql, [path.as_bytes()]).map_err(failed)? {
            0 => Err(Kind::NotFound.into()),
            _ => Ok(()),
        }
    }

    fn rmdir(&self, path: &VirtualPath) -> Result<(), StorageError> {
        if path.is_root() {
            return Err(Kind::Denied.into());
        }
        self.stat(path, Ask::Directory)?.check_directory()?;
        let sql = "DELETE FROM objects WHERE path = ?1 AND content IS NULL \
             AND NOT EXISTS (SELECT 1 FROM objects WHERE parent = ?1)";
        match self.lock().execute(sql, [path.as_bytes()]).map_err(failed)? {
            0 => Err(Kind::NotEmpty.into()),
            _ => Ok(()),
        }
    }

    fn mkdir(&self, path: &VirtualPath) -> Result<(), StorageError> {
        match self.place(path)? {
            Some(_) => Err(Kind::Exists.into()),
            None => self.store(path, None, ""),
        }
    }
}

/// An upload, in memory until its end.
struct Receiving {
    database: Database,
    path: VirtualPath,
    mode: WriteMode,
    content: Vec<u8>,
}

impl Write for Receiving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Receiving {
    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let or = match self.mode {
            WriteMode::Create => "",
            WriteMode::Append => {
                "ON CONFLICT DO UPDATE SET content = CAST(content || excluded.content AS BLOB), \
                 modified = excluded.modified WHERE content IS NOT NULL"
            }
            _ => {
                "ON CONFLICT DO UPDATE SET content = excluded.content, \
                 modified = excluded.modified WHERE content IS NOT NULL"
            }
        };
        self.database.store(&self.path, Some(&self.content), or)
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
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
        testing::storage_contract(1..=200, || (empty(), ())).unwrap();
    }

    #[test]
    fn sessions_can_race() {
        testing::racing(&empty(), 4).unwrap();
    }
}
