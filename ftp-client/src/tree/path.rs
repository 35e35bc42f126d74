//! Paths on a server, and from the top of a tree: names separated by `/`.

use crate::client::Client;

/// Splits `path` into its parent directory and its name, which is empty for the root and the login
/// directory.
#[must_use]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let path = path.get(..end).unwrap_or_default();
    match path.iter().rposition(|byte| *byte == b'/') {
        None => (b"", path),
        Some(at) => {
            let (directory, name) = path.split_at_checked(at + 1).unwrap_or((path, b""));
            let above = directory.strip_suffix(b"/").filter(|above| !above.is_empty());
            (above.unwrap_or(directory), name)
        }
    }
}

/// Removes trailing slashes from a path; the root stays `/`. Some servers treat a path with a
/// trailing `/` as another name.
#[must_use]
pub fn without_slash(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(1, |at| at + 1);
    path.get(..end.min(path.len())).unwrap_or_default()
}

/// Returns the path of `name` in a directory, or of the directory itself if `name` is empty.
#[must_use]
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        (directory, []) => directory.to_vec(),
        ([] | [.., b'/'], name) => [directory, name].concat(),
        _ => [directory, b"/", name].concat(),
    }
}

/// Returns whether `path` is `directory`, or is below it.
pub(crate) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// Returns the names from the server's root to an object. Returns `None` if the path is relative
/// and the server does not report the current directory.
pub fn absolute(client: &mut Client, path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let directory = match path.starts_with(b"/") {
        true => Vec::new(),
        false => client.pwd().ok()?.as_bytes().to_vec(),
    };
    let is_slash = |byte: &u8| *byte == b'/';
    let mut names = Vec::new();
    for name in directory.split(is_slash).chain(path.split(is_slash)) {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name.to_vec()),
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_their_last_name() {
        for (path, directory, name) in [
            ("a", "", "a"),
            ("a/b", "a", "b"),
            ("a/b/c/", "a/b", "c"),
            ("/a", "/", "a"),
            ("/a/b", "/a", "b"),
            ("//a", "/", "a"),
            ("/", "", ""),
            ("", "", ""),
            ("a//b", "a/", "b"),
        ] {
            let (is_directory, is_name) = split(path.as_bytes());
            assert_eq!((is_directory, is_name), (directory.as_bytes(), name.as_bytes()), "{path}");
        }
        for (directory, name, want) in [
            ("", "a", "a"),
            ("a", "b", "a/b"),
            ("/", "a", "/a"),
            ("a/", "b", "a/b"),
            ("a", "", "a"),
        ] {
            assert_eq!(join(directory.as_bytes(), name.as_bytes()), want.as_bytes());
        }
    }
}
