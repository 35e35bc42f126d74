//! The temporary keys of the fake store.

use super::super::super::encode::now;
use super::http::{Answer, Asked};
use super::state::iso;

/// The keys that were issued. Before the first ones, requests need no keys.
#[derive(Default)]
pub(super) struct Issued {
    pub(super) tokens: Vec<String>,
    are_expired: bool,
}

impl Issued {
    pub(super) fn answer(&mut self, asked: &Asked) -> Answer {
        assert_eq!(asked.form("RoleArn").as_deref(), Some("arn:aws:iam::1:role/ftp"));
        assert_eq!(asked.form("Version").as_deref(), Some("2011-06-15"));
        let Some(token) = asked.form("WebIdentityToken").filter(|token| token.starts_with("good"))
        else {
            return Answer::refusal(400, "InvalidIdentityToken");
        };
        self.tokens.push(token);
        self.are_expired = false;
        let (number, expiration) = (self.tokens.len(), iso(now() + 3_600));
        Answer::ok(format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>KEY{number}</AccessKeyId><SecretAccessKey>a/secret+key</SecretAccessKey>\
             <SessionToken>session{number}</SessionToken><Expiration>{expiration}</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ))
    }

    pub(super) fn expire(&mut self) {
        self.are_expired = true;
    }

    pub(super) fn are_valid(&self, asked: &Asked) -> bool {
        let number = self.tokens.len();
        let (key, token) = (format!("KEY{number}"), format!("session{number}"));
        number == 0 || !self.are_expired && asked.keys() == Some((&key, Some(&token)))
    }
}
