//! Draws progress on the terminal. indicatif's own terminal pads each line with spaces to the
//! window's width. If the window becomes narrower, these lines wrap, and the wrapped parts are
//! never cleared.

use std::io::{self, Write};
use std::sync::Mutex;

use indicatif::TermLike;
use rustix::termios::tcgetwinsize;

use crate::lock::lock;

/// Standard error, with the current size of its window.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// Drawn text that is not written yet.
    drawn: Mutex<String>,
}

impl Screen {
    fn draw(&self, text: &str) {
        lock(&self.drawn).push_str(text);
    }

    fn move_cursor(&self, by: usize, to: char) -> io::Result<()> {
        if by > 0 {
            self.draw(&format!("\x1b[{by}{to}"));
        }
        Ok(())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        let columns = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        if columns == 0 { 80 } else { columns }
    }

    fn height(&self) -> u16 {
        let rows = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_row);
        if rows == 0 { 24 } else { rows }
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.move_cursor(lines, 'A')
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.move_cursor(lines, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.move_cursor(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.move_cursor(columns, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.draw(line);
        self.draw("\n");
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        // Text that consists only of spaces is padding.
        if text.bytes().any(|byte| byte != b' ') {
            self.draw(text);
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *lock(&self.drawn));
        let mut stderr = io::stderr().lock();
        stderr.write_all(drawn.as_bytes())?;
        stderr.flush()
    }
}
