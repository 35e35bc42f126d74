//! Pathnames: quoted in a 257, resolved by a server, printed for users.

use ftp_proto::{Escaped, Pathname};
use ftp_server::VirtualPath;

use super::{assert_shown, breaks_lines};

/// Checks the text of a 257, and any name in quotes.
pub fn quoted_pathname(data: &[u8]) {
    if let Ok(path) = Pathname::parse_quoted(data) {
        let bytes = path.as_bytes();
        assert!(!bytes.is_empty() && !bytes.iter().any(u8::is_ascii_control), "{path:?}");
        assert_eq!(Pathname::parse_quoted(&path.quoted()).as_ref(), Ok(&path));
        let opening = data.iter().position(|&byte| byte == b'"').expect("it was quoted");
        let quoted = path.quoted();
        let found = data.get(opening..opening + quoted.len());
        assert_eq!(found, Some(quoted.as_slice()), "it stands behind the first quote");
        assert_ne!(data.get(opening + quoted.len()), Some(&b'"'), "and ends where it does");
    }
    let path = Pathname::new(data);
    assert_eq!(path.is_ok(), !data.is_empty() && !data.iter().copied().any(breaks_lines));
    let Ok(path) = path else { return };
    assert_shown(&format!("{path} {path:?}"));
    let reply = [&path.quoted(), b" \"created\"".as_slice()].concat();
    let wanted = (!data.iter().any(u8::is_ascii_control)).then_some(path);
    assert_eq!(Pathname::parse_quoted(&reply).ok(), wanted);
}

/// Checks the printed form of bytes from a peer.
pub fn escaped(data: &[u8]) {
    let shown = Escaped(data).to_string();
    assert_shown(&shown);
    assert_eq!(unescaped(&shown).as_deref(), Some(data), "{shown}");
}

/// Reverses the escapes of `text`: no received byte can imitate an escape.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        bytes.extend_from_slice(plain.as_bytes());
        if let Some(behind) = escape.strip_prefix("\\\\") {
            bytes.push(b'\\');
            rest = behind;
        } else if let Some((digits, behind)) =
            escape.strip_prefix("\\x").and_then(|hex| hex.split_at_checked(2))
        {
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = behind;
        } else {
            let (digits, behind) = escape.strip_prefix("\\u{")?.split_once('}')?;
            let char = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            bytes.extend_from_slice(char.to_string().as_bytes());
            rest = behind;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// Checks how a server resolves a pathname; input is the current directory, NUL, and the pathname.
pub fn virtual_path(data: &[u8]) {
    let mut names = data.splitn(2, |&byte| byte == 0);
    let mut name = || Pathname::new(names.next().unwrap_or_default());
    let (directory, path) = (name(), name());
    let Ok(directory) = directory else { return };
    let start = VirtualPath::root().resolve(&directory);
    assert_eq!(start.as_bytes(), plain_path(b"", &directory));
    resolved(&start);
    let Ok(path) = path else { return };
    let end = start.resolve(&path);
    assert_eq!(end.as_bytes(), plain_path(start.as_bytes(), &path));
    resolved(&end);
}

/// Resolves component by component, from `directory`.
fn plain_path(directory: &[u8], path: &Pathname) -> Vec<u8> {
    let whole = match path.as_bytes() {
        [b'/', ..] => path.as_bytes().to_vec(),
        relative => [directory, relative].join(&b'/'),
    };
    let mut components: Vec<&[u8]> = Vec::new();
    for component in whole.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    [b"/".as_slice(), &components.join(&b'/')].concat()
}

/// Checks that a path and every directory above it are below the root.
fn resolved(path: &VirtualPath) {
    assert_shown(&format!("{path} {path:?}"));
    assert_eq!(path.as_bytes(), [b"/".as_slice(), path.relative()].concat());
    let absolute = Pathname::new(path.as_bytes()).expect("no path is empty");
    assert_eq!(VirtualPath::root().resolve(&absolute), *path, "it leads to itself");
    let (mut place, mut depth) = (path.clone(), 0);
    while let (Some(parent), Some(name)) = (place.parent(), place.name()) {
        assert!(!matches!(name, b"" | b"." | b"..") && !name.contains(&b'/'), "{place}");
        assert_eq!(parent.join(name), place);
        place = parent;
        depth += 1;
        if depth > 200 {
            assert!(path.is_too_long());
            return;
        }
    }
    assert!(place.is_root() && place.name().is_none() && place.parent().is_none());
}
