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
        let has_files = sync.copies() + sync.same() + sync.failures().count() > 0;
        if sync.unselected() > 0 && !has_files {
            stdio.messages.say(format_args!(
                "no file is selected: {} left out; if several patterns match, the last of them decides",
                sync.unselected()
            ));
        }
        for unmet in self.wanted.filter.unmet(false) {
            stdio.messages.say(&unmet);
            self.events.emit(|| Object::event("note").text("message", &unmet));
        }
        for unmet in self.wanted.filter.unmet(true) {
            stdio.messages.say_if(self.is_talkative, unmet);
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
            // A program reads the words of `--json`, a person those of the run.
            let said = match action {
                Action::Delete => "remove",
                Action::SetMode => "set mode of",
                _ => what,
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
            add(format!("{said} ").as_bytes());
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

    /// Prints the totals of a dry run, which are those of the run if nothing fails.
    pub(super) fn sum_up_plan(&self, sync: &TreeSync<'_>, stdio: &Stdio) {
        let mut done = Summary::default();
        // The top is not counted.
        for step in sync.steps().filter(|step| !step.path.is_empty()) {
            *match step.action {
                Action::Make => &mut done.made,
                Action::Copy => &mut done.copied,
                Action::Link => &mut done.links,
                Action::Delete => &mut done.removed,
                Action::Rename => &mut done.renamed,
                _ => &mut done.modes,
            } += 1;
        }
        (done.same, done.failed) = (sync.same(), sync.failures().count());
        let counts = counts(&done, sync.unselected());
        self.say_totals("dry run, nothing changed: ", &counts, &display::size(sync.bytes()), stdio);
    }

    /// Prints the totals of a run.
    pub(super) fn sum_up(&self, done: &Summary, unselected: usize, time: Duration, stdio: &Stdio) {
        stdio.messages.usage().add(done.copied as u64, done.bytes);
        let moved = display::transferred(done.bytes, time);
        self.say_totals("", &counts(done, unselected), &moved, stdio);
    }

    /// Prints totals as one line, or with `--stats` as a table.
    fn say_totals(&self, before: &str, counts: &[Total], moved: &str, stdio: &Stdio) {
        if self.wanted.stats && !self.events.is_on() {
            for line in table(counts, moved) {
                stdio.messages.say(line);
            }
            return;
        }
        // Without a terminal too; `--json` has an event for this.
        let is_said = !self.options.is_quiet() && (self.is_talkative || !self.events.is_on());
        stdio.messages.say_if(is_said, format_args!("{before}{}", line(counts, moved)));
    }
}

/// A total of a run.
struct Total {
    /// The singular of what is counted, and what happened to it.
    noun: &'static str,
    what: &'static str,
    count: usize,
    /// Whether a count of 0 is printed.
    always: bool,
}

/// Returns the totals, files copied first and failures last.
fn counts(done: &Summary, unselected: usize) -> Vec<Total> {
    let Summary { copied, renamed, made, removed, moved, links, modes, failed, same, .. } = *done;
    let total = |noun, what, count, always| Total { noun, what, count, always };
    vec![
        total("file", "copied", copied, true),
        total("file", "unchanged", same, true),
        total("file", "not selected", unselected, false),
        total("file", "renamed", renamed, false),
        total("directory", "made", made, false),
        total("link", "made", links, false),
        total("mode", "set", modes, false),
        total("object", "removed", removed, false),
        total("source file", "removed", moved, false),
        total("object", "failed", failed, false),
    ]
}

/// Returns the totals as one line. Omits counts of 0, except the first two.
fn line(counts: &[Total], moved: &str) -> String {
    let shown = counts.iter().filter(|total| total.always || total.count > 0);
    let mut parts =
        shown.map(|total| format!("{} {}", counted(total.count, total.noun), total.what));
    let first = parts.next().unwrap_or_default();
    format!("{first}, {moved}; {}", parts.collect::<Vec<_>>().join(", "))
}

/// Returns the lines of the table. Omits counts of 0, except those of files copied, files unchanged
/// and failures.
fn table(counts: &[Total], moved: &str) -> Vec<String> {
    let shown = counts.iter().filter(|it| it.always || it.count > 0 || it.what == "failed");
    let row = |total: &Total| {
        let nouns = counted(0, total.noun);
        let nouns = nouns.trim_start_matches("0 ");
        format!("{:<20} {:>9}", format!("{nouns} {}", total.what), total.count)
    };
    let mut lines: Vec<String> = shown.map(row).collect();
    if let Some(first) = lines.first_mut() {
        first.push_str("  ");
        first.push_str(moved);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_shows_all_totals() {
        let mut done = Summary::default();
        (done.same, done.copied, done.bytes, done.removed) = (12_000, 2, 1_048_576, 1);
        let (counts, moved) = (counts(&done, 0), "1.0 MiB in 0.50 s (2.0 MiB/s)");
        let want = [
            "files copied                 2  1.0 MiB in 0.50 s (2.0 MiB/s)",
            "files unchanged          12000",
            "objects removed              1",
            "objects failed               0",
        ];
        assert_eq!(table(&counts, moved), want);
        let want = "2 files copied, 1.0 MiB in 0.50 s (2.0 MiB/s); 12000 files unchanged, 1 object \
                    removed";
        assert_eq!(line(&counts, moved), want);
    }
}
