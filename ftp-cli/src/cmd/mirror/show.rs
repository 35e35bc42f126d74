//! Shows the plan of a mirror, and its totals.

use std::io::Write;
use std::time::Duration;

use ftp_client::tree::{Action, PlannedStep, Summary, TreeSync};

use super::Mirror;
use crate::console::output;
use crate::console::stdio::Stdio;
use crate::display::{self, counted, shown};
use crate::exit::Failure;
use ftp_server::daemon::json::Object;

impl Mirror<'_> {
    /// Reports each pattern that matches no name, and that no file is selected.
    pub(super) fn warn_of_patterns(&self, sync: &TreeSync<'_>, stdio: &Stdio) {
        if self.options.is_quiet() {
            return;
        }
        if sync.unselected() > 0 && sync.copies() == 0 && sync.same() == 0 {
            stdio.messages.say(format_args!(
                "no file is selected: {} left out; if several patterns match, the last of them decides",
                sync.unselected()
            ));
        }
        for unmet in self.wanted.filter.unmet(false) {
            stdio.messages.say(format_args!("{unmet}: matches no name"));
            let note =
                || Object::event("note").text("message", &format!("{unmet}: matches no name"));
            self.events.emit(note);
        }
        for unmet in self.wanted.filter.unmet(true) {
            stdio.messages.say_if(self.is_talkative, format_args!("{unmet}: matches no name"));
        }
    }

    /// Prints the plan: one line per object, in the order of execution.
    pub(super) fn print(&self, sync: &TreeSync<'_>, stdio: &mut Stdio) -> Result<(), Failure> {
        let mut text = Vec::new();
        for PlannedStep { action, path, size, why, from, .. } in sync.steps() {
            let what = match action {
                Action::Make => "make",
                Action::Copy => "copy",
                Action::Link => "link",
                Action::Delete => "delete",
                Action::Rename => "rename",
                _ => "chmod",
            };
            if self.events.is_on() {
                let why = why.map(|why| why.to_string());
                self.events.emit(|| {
                    let entry = Object::event("entry").name("name", &path).text("action", what);
                    let entry = match &from {
                        Some(from) => entry.name("from", from),
                        None => entry,
                    };
                    entry.text_if("why", why.as_deref()).number_if("size", size)
                });
                continue;
            }
            let path = if path.is_empty() { b".".to_vec() } else { path };
            let mut add = |path: &[u8]| match stdio.output_is_terminal() {
                true => text.extend_from_slice(shown(path).as_bytes()),
                false => text.extend_from_slice(path),
            };
            add(format!("{what} ").as_bytes());
            if let Some(from) = &from {
                add(from);
                add(b" to ");
            }
            add(&path);
            if let Some(why) = why.filter(|_| self.is_talkative) {
                let _ = write!(text, " ({why})");
            }
            text.push(b'\n');
        }
        output::print(&mut stdio.output, &text)
    }

    /// Prints the totals: as a table with `--stats` or on a terminal, otherwise as one line with
    /// `--verbose` or if objects were removed. With `--json`, the line replaces the table.
    pub(super) fn sum_up(&self, done: &Summary, unselected: usize, time: Duration, stdio: &Stdio) {
        stdio.messages.usage().add(done.copied as u64, done.bytes);
        let is_shown = stdio.messages.is_terminal() && !self.options.is_quiet();
        if (self.wanted.stats || is_shown) && !self.events.is_on() {
            for line in table(done, unselected, time) {
                stdio.messages.say(line);
            }
            return;
        }
        let Summary { copied, bytes, made, removed, moved: sources, same, .. } = *done;
        let moved = display::transferred(bytes, time);
        let taken = match self.wanted.transfer.removes_source {
            true => format!(", {} removed", counted(sources, "source file")),
            false => String::new(),
        };
        // Without a terminal too, a run that removed objects says so.
        let is_said = self.is_talkative || removed > 0 && !self.options.is_quiet();
        stdio.messages.say_if(
            is_said,
            format_args!(
                "{} copied, {moved}; {} created, {} deleted, {} unchanged{taken}",
                counted(copied, "file"),
                counted(made, "directory"),
                counted(removed, "object"),
                counted(same, "file"),
            ),
        );
    }
}

/// Returns the lines of the table. Counts of 0 are omitted, except those of files copied, files
/// unchanged and failures.
fn table(done: &Summary, unselected: usize, time: Duration) -> Vec<String> {
    let Summary {
        copied,
        bytes,
        renamed,
        made,
        removed,
        moved: sources,
        links,
        modes,
        failed,
        same,
        ..
    } = *done;
    let rows = [
        ("files copied", copied, true),
        ("files unchanged", same, true),
        ("files not selected", unselected, false),
        ("files renamed", renamed, false),
        ("directories created", made, false),
        ("links created", links, false),
        ("permissions set", modes, false),
        ("objects deleted", removed, false),
        ("source files removed", sources, false),
        ("failed", failed, true),
    ];
    let shown = rows.into_iter().filter(|(_, count, always)| *always || *count > 0);
    let mut lines: Vec<String> =
        shown.map(|(what, count, _)| format!("{what:<20} {count:>9}")).collect();
    if let Some(first) = lines.first_mut() {
        first.push_str("  ");
        first.push_str(&display::transferred(bytes, time));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_table_shows_all_totals() {
        let mut done = Summary::default();
        (done.same, done.copied, done.bytes, done.removed) = (12_000, 2, 1_048_576, 1);
        let want = [
            "files copied                 2  1.0 MiB in 0.50 s (2.0 MiB/s)",
            "files unchanged          12000",
            "objects deleted              1",
            "failed                       0",
        ];
        assert_eq!(table(&done, 0, Duration::from_millis(500)), want);
    }
}
