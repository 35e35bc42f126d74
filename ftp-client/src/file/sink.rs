//! `Sink`: what a download can be resumed into.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

/// What [`Retry`](crate::Retry) downloads into: a writer that knows how much it holds, and can be
/// cut. Files are, opened without `truncate` if what they hold is to be kept, and `Vec`.
///
/// A wrapper, such as one that shows the progress, passes both calls on:
///
/// ```
/// use std::io::{self, Write};
/// use ftp_client::Sink;
///
/// struct Dots<S>(S);
///
/// impl<S: Write> Write for Dots<S> {
///     fn write(&mut self, data: &[u8]) -> io::Result<usize> {
///         print!(".");
///         self.0.write(data)
///     }
///
///     fn flush(&mut self) -> io::Result<()> {
///         self.0.flush()
///     }
/// }
///
/// impl<S: Sink> Sink for Dots<S> {
///     fn length(&mut self) -> io::Result<u64> {
///         self.0.length()
///     }
///
///     fn cut(&mut self, length: u64) -> io::Result<()> {
///         self.0.cut(length)
///     }
/// }
/// ```
pub trait Sink: Write {
    /// How many bytes it holds.
    ///
    /// # Errors
    ///
    /// Its own.
    fn length(&mut self) -> io::Result<u64>;

    /// Forgets all but the first `length` bytes, which is no more than it holds. What is written
    /// next stands after them.
    ///
    /// # Errors
    ///
    /// Its own.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for File {
    fn length(&mut self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

impl Sink for Vec<u8> {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }
}

impl<S: Sink> Sink for BufWriter<S> {
    fn length(&mut self) -> io::Result<u64> {
        self.flush()?;
        self.get_mut().length()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.flush()?;
        self.get_mut().cut(length)
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn length(&mut self) -> io::Result<u64> {
        (**self).length()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        (**self).cut(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn is_cut_and_written_on(mut sink: impl Sink) {
        sink.write_all(b"hello, world").unwrap();
        assert_eq!(sink.length().unwrap(), 12);
        sink.cut(6).unwrap();
        assert_eq!(sink.length().unwrap(), 6);
        sink.write_all(b"you").unwrap();
        assert_eq!(sink.length().unwrap(), 9);
    }

    #[test]
    fn what_is_cut_is_gone_and_the_rest_stays() {
        let mut bytes = Vec::new();
        is_cut_and_written_on(&mut bytes);
        assert_eq!(bytes, b"hello,you");
        bytes.clear();
        is_cut_and_written_on(BufWriter::new(&mut bytes));
        assert_eq!(bytes, b"hello,you");

        let mut file = tempfile::tempfile().unwrap();
        is_cut_and_written_on(&mut file);
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"hello,you");
    }
}
