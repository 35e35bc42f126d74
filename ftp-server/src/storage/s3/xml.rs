//! The subset of XML that S3 uses. Elements are found by their names.

/// Returns the content of each element `name`, in order. In responses of S3, elements of the same
/// name do not nest.
pub(super) fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some((content, after)) = next(rest, name) {
        found.push(content);
        rest = after;
    }
    found
}

/// Returns the text of the first element `name`, with escapes resolved; `None` if there is no such
/// element.
pub(super) fn text(xml: &str, name: &str) -> Option<String> {
    next(xml, name).map(|(content, _)| unescaped(content))
}

/// Returns the content of the first element `name`, and the text after the element.
fn next<'a>(xml: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = xml;
    loop {
        let tag = rest.get(rest.find('<')? + 1..)?;
        let end = tag.find('>')?;
        let (head, after) = (tag.get(..end)?, tag.get(end + 1..)?);
        let is_empty = head.ends_with('/');
        let found = head.trim_end_matches('/').split_ascii_whitespace().next();
        if found != Some(name) {
            rest = after;
            continue;
        }
        if is_empty {
            return Some(("", after));
        }
        let close = format!("</{name}>");
        let at = after.find(&close)?;
        return Some((after.get(..at)?, after.get(at + close.len()..)?));
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let Some((entity, left)) = after.split_once(';') else {
            out.push('&');
            rest = after;
            continue;
        };
        match character(entity) {
            Some(character) => out.push(character),
            None => {
                out.push('&');
                out.push_str(entity);
                out.push(';');
            }
        }
        rest = left;
    }
    out.push_str(rest);
    out
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        number => {
            let number = number.strip_prefix('#')?;
            let value = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(value.ok()?)
        }
    }
}

/// Escapes text for the content of an element.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns the marker of the next page, in the element `name`, if the element `IsTruncated` says that
/// another page follows. Returns `None` if the page does not say clearly whether it is the last one.
pub(super) fn next_page(page: &str, name: &str) -> Option<Option<String>> {
    match text(page, "IsTruncated")?.trim() {
        is_cut if is_cut.eq_ignore_ascii_case("true") => Some(Some(text(page, name)?)),
        is_cut if is_cut.eq_ignore_ascii_case("false") => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_picked_by_name() {
        let xml = "<?xml version=\"1.0\"?>\n<List xmlns=\"http://s3/\"><Name>b</Name><Prefix/>\
                   <Contents><Key>a&amp;b</Key><ETag>&quot;1&#x22;</ETag></Contents>\
                   <Contents><Key>c</Key></Contents><KeyCount>2</KeyCount></List>";
        let contents = elements(xml, "Contents");
        assert_eq!(contents.len(), 2);
        assert_eq!(text(contents[0], "Key").as_deref(), Some("a&b"));
        assert_eq!(text(contents[0], "ETag").as_deref(), Some("\"1\""));
        assert_eq!(text(contents[1], "Key").as_deref(), Some("c"));
        assert_eq!(text(xml, "Prefix").as_deref(), Some(""));
        assert_eq!(text(xml, "Content"), None);
        for broken in ["", "<", "<Key", "<Key>", "<Key>a</Key", "</Key>"] {
            assert_eq!(text(broken, "Key"), None, "{broken}");
        }
        assert_eq!(text("<K>&;&x&lt</K>", "K").as_deref(), Some("&;&x&lt"));
        assert_eq!(unescaped(&escaped("<a & \"b\">")), "<a & \"b\">");
    }
}
