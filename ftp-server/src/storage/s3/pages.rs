//! Listings of keys, page by page.

use super::encode::{decoded, http_time, iso_time, xml_elements, xml_next_page, xml_text};
use super::error::S3Error;
use super::http::{Client, Request, header};
use super::keys::HIDDEN;

/// Maximum number of pages without keys in a row. A store may send such pages, for example if it
/// skips many removed objects.
const EMPTY: u32 = 1_000;

const OPERATION: &str = "ListObjectsV2";

/// The position in a listing of the keys that begin with a prefix.
pub(super) struct Pages {
    pub(super) prefix: String,
    /// Whether to list a key with a `/` after the prefix only as a directory.
    by_directory: bool,
    /// Maximum number of keys in a page.
    most: u32,
    token: Option<String>,
    is_over: bool,
    /// The number of pages so far, and the token of an earlier page. A store that repeats tokens
    /// comes back to it.
    count: u64,
    mark: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) keys: Vec<Listed>,
    /// Common prefixes, each ending in `/`.
    pub(super) directories: Vec<String>,
    next: Option<String>,
    /// Time of the response by the store's clock, in seconds since 1970.
    answered: Option<i64>,
}

/// An object in a listing.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) tag: Option<String>,
}

impl Pages {
    /// Begins to list all keys that begin with `prefix`, up to `most` in a page.
    pub(super) fn of_keys(prefix: &str, most: u32) -> Self {
        let (token, mark) = (None, None);
        let prefix = prefix.to_owned();
        Self { prefix, by_directory: false, most, token, is_over: false, count: 0, mark }
    }

    /// Begins to list the keys and the directories in the directory with this prefix.
    pub(super) fn of_directory(prefix: &str, most: u32) -> Self {
        Self { by_directory: true, ..Self::of_keys(prefix, most) }
    }

    /// Returns whether no page follows.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the next page with a key or a directory; `None` after the last page. After an error,
    /// the listing has ended.
    pub(super) fn next(&mut self, client: &Client) -> Result<Option<Page>, S3Error> {
        let wrong = |reason| S3Error::wrong(OPERATION, reason);
        for _ in 0..EMPTY {
            if std::mem::replace(&mut self.is_over, true) {
                return Ok(None);
            }
            let page = client.list(self)?;
            let mut keys = page.keys.iter().map(|listed| &listed.key).chain(&page.directories);
            if !keys.all(|key| key.starts_with(&self.prefix)) {
                return Err(wrong("a key does not begin with the prefix"));
            }
            self.token.clone_from(&page.next);
            self.is_over = self.token.is_none();
            if !self.is_over && self.token == self.mark {
                self.is_over = true;
                return Err(wrong("the same page follows again"));
            }
            self.count += 1;
            if self.count.is_power_of_two() {
                self.mark.clone_from(&self.token);
            }
            if !page.keys.is_empty() || !page.directories.is_empty() {
                return Ok(Some(page));
            }
        }
        self.is_over = true;
        Err(wrong("too many pages without keys"))
    }
}

impl Client {
    fn list(&self, pages: &Pages) -> Result<Page, S3Error> {
        let most = pages.most.to_string();
        let mut pairs = vec![
            ("list-type", "2"),
            ("encoding-type", "url"),
            ("prefix", &*pages.prefix),
            ("max-keys", &*most),
        ];
        if pages.by_directory {
            pairs.push(("delimiter", "/"));
        }
        if let Some(token) = &pages.token {
            pairs.push(("continuation-token", token));
        }
        let request = Request { query: pairs, ..Request::of(OPERATION, None) };
        let answer = self.call(&request)?;
        let page = Page::read(&answer.body)
            .ok_or_else(|| S3Error::wrong(OPERATION, "expected a key list"))?;
        Ok(Page { answered: header(&answer.headers, "date").and_then(http_time), ..page })
    }

    /// Returns the store's time, from the response to a request without effect; `None` if the
    /// response has no time.
    pub(super) fn clock(&self) -> Result<Option<i64>, S3Error> {
        Ok(self.list(&Pages::of_keys(HIDDEN, 1))?.answered)
    }
}

impl Page {
    fn read(body: &str) -> Option<Self> {
        let result = xml_elements(body, "ListBucketResult").first().copied()?;
        let is_encoded = xml_text(result, "EncodingType").as_deref() == Some("url");
        let key_of = |text: String| match is_encoded {
            true => String::from_utf8(decoded(&text)?).ok(),
            false => Some(text),
        };
        let mut page = Self::default();
        for object in xml_elements(result, "Contents") {
            let size = xml_text(object, "Size")?.trim().parse().ok()?;
            let modified = iso_time(&xml_text(object, "LastModified")?)?;
            // No path leads to a key that is not UTF-8.
            if let Some(key) = key_of(xml_text(object, "Key")?) {
                // A condition is never met without the quotes, which a listing may leave out.
                let tag =
                    xml_text(object, "ETag").map(|it| format!("\"{}\"", it.trim_matches('"')));
                page.keys.push(Listed { key, size, modified, tag });
            }
        }
        for prefix in xml_elements(result, "CommonPrefixes") {
            page.directories.extend(key_of(xml_text(prefix, "Prefix")?));
        }
        page.next = xml_next_page(result, "NextContinuationToken")?;
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_or_malformed_listing_pages_are_rejected() {
        let body = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true\
            </IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken><Contents><Key>d/a%2Bb+c\
            </Key><Size>5</Size><LastModified>2009-10-12T17:50:30.000Z</LastModified></Contents>\
            <CommonPrefixes><Prefix>d/e/</Prefix></CommonPrefixes></ListBucketResult>";
        let page = Page::read(body).unwrap();
        assert_eq!((&*page.keys[0].key, page.keys[0].size), ("d/a+b c", 5));
        assert_eq!(page.directories, ["d/e/"]);
        assert_eq!(page.next.as_deref(), Some("t&1"));
        // A condition with a tag without quotes is never met.
        for tag in ["7", "&quot;7&quot;"] {
            let with = format!("<Size>5</Size><ETag>{tag}</ETag>");
            let page = Page::read(&body.replace("<Size>5</Size>", &with)).unwrap();
            assert_eq!(page.keys[0].tag.as_deref(), Some("\"7\""));
        }
        for (cut, with) in [("<Size>5</Size>", ""), ("NextContinuationToken>t", "x"), ("5<", "x<")]
        {
            assert!(Page::read(&body.replace(cut, with)).is_none(), "{cut}");
        }
        for (said, is_last) in [("TRUE", false), ("False", true), (" false ", true)] {
            let page = Page::read(&body.replace(">true<", &format!(">{said}<"))).unwrap();
            assert_eq!(page.next.is_none(), is_last, "{said}");
        }
        for unclear in ["<IsTruncated>1</IsTruncated>", "<IsTruncated/>", ""] {
            let cut = "<IsTruncated>true</IsTruncated>";
            assert!(Page::read(&body.replace(cut, unclear)).is_none(), "{unclear}");
        }
        // A truncated page must not look like an empty directory.
        assert!(Page::read(&body[..body.len() - 5]).is_none());
        assert!(Page::read("<html>").is_none());
    }
}
