//! Signatures of requests: AWS Signature Version 4, in headers.

use std::fmt;

use ring::hmac;

use super::encode::{hex, percent, sha256};

/// Access keys of an account. `Debug` masks the secrets.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) session_token: Option<String>,
}

impl Credentials {
    /// Returns whether the keys can be sent in a header.
    pub(super) fn is_sendable(&self) -> bool {
        let token = self.session_token.as_deref().unwrap_or_default();
        [&*self.access_key, &*self.secret_key, token]
            .iter()
            .all(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .field("secret_key", &"****")
            .field("session_token", &self.session_token.as_ref().map(|_| "****"))
            .finish()
    }
}

/// The signed parts of a request.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// The path of the URI, percent-encoded.
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Headers to sign, with names in lower case, including `host`.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// The SHA-256 digest of the body in hexadecimal.
    pub(super) body: &'a str,
    /// The time, such as `20130524T000000Z`.
    pub(super) time: &'a str,
    pub(super) region: &'a str,
}

impl Signed<'_> {
    /// Returns the query of the URI, sorted by name; empty if there is none.
    pub(super) fn query(&self) -> String {
        let mut pairs: Vec<_> =
            self.query.iter().map(|(name, value)| (percent(name), percent(value))).collect();
        pairs.sort();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    pub(super) fn authorization(&self, credentials: &Credentials) -> String {
        let Self { method, path, body, time, region, .. } = self;
        let mut headers = self.headers.to_vec();
        headers.sort_unstable();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut request = format!("{method}\n{path}\n{}\n", self.query());
        for (name, value) in &headers {
            // Spaces count as one, wherever they are.
            let words: Vec<_> = value.split_whitespace().collect();
            request.push_str(&format!("{name}:{}\n", words.join(" ")));
        }
        request.push_str(&format!("\n{names}\n{body}"));
        let day = time.get(..8).unwrap_or_default();
        let scope = format!("{day}/{region}/s3/aws4_request");
        let digest = hex(&sha256(request.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
        let first = format!("AWS4{}", credentials.secret_key);
        let key = [day, region, "s3", "aws4_request"]
            .iter()
            .fold(first.into_bytes(), |key, part| sign(&key, part).as_ref().to_vec());
        let signature = hex(sign(&key, &text).as_ref());
        let account = &credentials.access_key;
        format!(
            "AWS4-HMAC-SHA256 Credential={account}/{scope}, SignedHeaders={names}, \
             Signature={signature}"
        )
    }
}

fn sign(key: &[u8], message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the examples in the documentation of Amazon S3.
    fn example() -> Credentials {
        Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: Some("token-of-the-session".to_owned()),
        }
    }

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const HOST: &str = "examplebucket.s3.amazonaws.com";
    const TIME: &str = "20130524T000000Z";

    fn signature(
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        more: &[(&str, &str)],
        body: &str,
    ) -> String {
        let mut headers =
            vec![("host", HOST), ("x-amz-content-sha256", body), ("x-amz-date", TIME)];
        headers.extend_from_slice(more);
        let signed = Signed {
            method,
            path,
            query,
            headers: &headers,
            body,
            time: TIME,
            region: "us-east-1",
        };
        let value = signed.authorization(&example());
        value.rsplit_once("Signature=").map(|(_, signature)| signature.to_owned()).unwrap()
    }

    /// "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
    #[test]
    fn signatures_match_the_examples_of_amazon() {
        assert_eq!(
            signature("GET", "/test.txt", &[], &[("range", "bytes=0-9")], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature(
                "PUT",
                "/test%24file.text",
                &[],
                &[
                    ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ],
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", "/", &[("lifecycle", "")], &[], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature("GET", "/", &[("prefix", "J"), ("max-keys", "2")], &[], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn spaces_in_signed_headers_count_as_one() {
        let sign = |value| signature("GET", "/f", &[], &[("x-amz-meta-title", value)], EMPTY);
        for value in [" a b", "a  b ", "a   b"] {
            assert_eq!(sign(value), sign("a b"), "{value:?}");
        }
        assert_ne!(sign("ab"), sign("a b"));
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn signatures_are_the_hmac_of_rfc_4231() {
        assert_eq!(
            hex(sign(b"Jefe", "what do ya want for nothing?").as_ref()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let text = "Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(
            hex(sign(&[0xaa; 131], text).as_ref()),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", example());
        assert!(shown.contains("AKIAIOSFODNN7EXAMPLE"), "{shown}");
        assert!(!shown.contains("wJalr") && !shown.contains("token-of"), "{shown}");
    }
}
