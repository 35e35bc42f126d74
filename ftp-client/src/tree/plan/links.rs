//! Plans symbolic links and permission bits.

use super::held::TargetEntries;
use super::{PlannedLink, PlannedMode, Planner};
use crate::error::ErrorKind;
use crate::system::is_one_part;
use crate::tree::entry::{ObjectKind, TreeEntry};
use crate::tree::fault::{Setting, TreeFault};
use crate::tree::options::LinkChoice;

impl Planner<'_> {
    /// With `LinkChoice::Follow`, turns the entry of a link on a server into the entry of the file or
    /// directory that the link leads to. A local source already lists the targets of links.
    pub(crate) fn follow(&mut self, path: &[u8], item: &mut TreeEntry) -> Result<(), TreeFault> {
        if self.wish.options.links != LinkChoice::Follow || self.source.is_local() {
            return Ok(());
        }
        if let Some(size) = self.source.size(path)? {
            item.kind = ObjectKind::File;
            item.size = Some(size);
        } else if self.source.is_directory(path)? {
            item.kind = ObjectKind::Directory;
        } else {
            return Ok(());
        }
        item.unique = None;
        // The time and permissions in the listing are those of the link.
        item.stamp = None;
        item.mode = None;
        Ok(())
    }

    pub(crate) fn plan_link(
        &mut self,
        place: usize,
        path: &[u8],
        item: TreeEntry,
        name_there: &[u8],
        targets: &mut TargetEntries,
    ) {
        match self.wish.options.links {
            LinkChoice::Skip => {
                self.plan.skips_links = true;
                return self.leave_out(path, "a symbolic link");
            }
            LinkChoice::Follow => {
                let exit =
                    if self.source.is_local() { ErrorKind::Local } else { ErrorKind::Refused };
                return self.fail(place, path, exit, "not followed: a broken symbolic link");
            }
            LinkChoice::Keep => {}
        }
        let Some(link) = item.target.filter(|link| !link.is_empty()) else {
            let what = "a symbolic link whose target is not listed; LIST may list it";
            return self.leave_out(path, what);
        };
        if leads_out(path, &link, cfg!(windows)) {
            return self.leave_out(path, "a symbolic link that points outside the tree");
        }
        let other = targets.take(name_there);
        let replaces = other.is_some();
        match other {
            Some(other) if other.kind != ObjectKind::Link => {
                let why = "the target has an object of another type with this name";
                self.fail(place, path, self.side_of_target(), why);
            }
            Some(other) if other.target.as_ref() == Some(&link) => self.plan.same += 1,
            _ => self.plan.links.push(PlannedLink { place, name: item.name, link, replaces }),
        }
    }

    /// Returns the permission bits to set. Returns `None` if the bits of the source
    /// are unknown, or if the target's object has or may have the same bits.
    pub(crate) fn wanted_mode(
        &mut self,
        item: &TreeEntry,
        other: Option<&TreeEntry>,
    ) -> Option<u16> {
        if !self.wish.options.permissions
            || !matches!(item.kind, ObjectKind::File | ObjectKind::Directory)
        {
            return None;
        }
        let there = other.map(|other| other.mode);
        self.lacks_modes |= item.mode.is_none() || there == Some(None);
        // An existing object whose permissions are not listed may have them already.
        item.mode.filter(|mode| there.is_none_or(|there| there.is_some_and(|there| there != *mode)))
    }

    /// Compares two files, and returns whether they are the same. If so, plans `mode` for the target's
    /// file.
    pub(crate) fn compare_both(
        &mut self,
        place: usize,
        path: Vec<u8>,
        mode: Option<u16>,
        [item, other]: [TreeEntry; 2],
    ) -> Result<bool, TreeFault> {
        let before = (self.plan.copies.len(), self.plan.failures.len());
        self.compare(place, &path, item, other)?;
        // A copy sets the permissions too, so only a file without a copy needs this step.
        let is_same = before == (self.plan.copies.len(), self.plan.failures.len());
        let planned = mode.filter(|_| is_same).map(|mode| PlannedMode { place, path, mode });
        self.plan.modes.extend(planned);
        Ok(is_same)
    }

    /// Reports once that a server does not list all permissions.
    pub(crate) fn check_modes(&mut self) {
        if self.lacks_modes {
            let text = "the server's listing lacks the permissions of some objects";
            let fault = TreeFault::item(ErrorKind::Unsupported, text).of(Setting::Permissions);
            self.plan.failures.push(fault);
        }
    }
}

/// Returns whether the link at `path` may lead to an object outside of the tree. `..` is accepted
/// only at the beginning of the link's target, because a part before a later `..` can be a link. Windows
/// separates parts by `\`, too, and names drives and other computers.
fn leads_out(path: &[u8], link: &[u8], is_windows: bool) -> bool {
    let depth = path.iter().filter(|byte| **byte == b'/').count();
    let parts = || link.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let ups = parts().take_while(|part| *part == b"..").count();
    link.first() == Some(&b'/')
        || ups > depth
        || parts().skip(ups).any(|part| !is_one_part(part, is_windows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_out_of_the_tree_are_detected() {
        for (path, link, is_out) in [
            ("l", "f", false),
            ("l", "./d/f", false),
            ("l", "../f", true),
            ("l", "/etc/passwd", true),
            ("d/l", "../f", false),
            ("d/l", "../../f", true),
            ("d/e/l", "../../f", false),
            ("d/l", "e/../../f", true),
            ("d/l", "e/..", true),
            ("l", ".", false),
            ("l", "..", true),
            ("l", "a\0b", true),
            ("l", "..x", false),
        ] {
            for is_windows in [false, true] {
                let leads_out = leads_out(path.as_bytes(), link.as_bytes(), is_windows);
                assert_eq!(leads_out, is_out, "{path} {link} {is_windows}");
            }
        }
        for link in [
            r"..\f",
            r"d\..\..\f",
            r"C:\f",
            "C:f",
            r"\\server\share\f",
            r"\f",
            "d/C:/f",
            r"../\f",
            ".. /f",
        ] {
            for (is_windows, is_out) in [(false, false), (true, true)] {
                assert_eq!(leads_out(b"d/l", link.as_bytes(), is_windows), is_out, "{link}");
            }
        }
    }
}
