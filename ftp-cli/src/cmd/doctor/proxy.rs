//! Examines the proxy that the connections go through, and judges its answers.

use ftp_client::Error;
use ftp_client::error::{Phase, ProxyFault};
use ftp_proto::Escaped;

use super::diagnosis::Diagnosis;
use super::dial::Dial;
use super::finding::{Check, Finding};
use crate::connect::proxies::{Chosen, Route};
use crate::exit::Failure;

/// Returns the finding about a proxy that is not used for this server.
pub(super) fn excepted(way: &Route, host: &str) -> Option<Finding> {
    let Route::Excepted { variable, by } = way else { return None };
    let host = Escaped(host.as_bytes());
    let seen = format!("{variable} lists {host}: connecting without the proxy named by {by}");
    Some(Check::Proxy.ok(seen))
}

/// Connects through the proxy once. The next probes find failures beyond the proxy.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, or `Timeout` if the time for the whole examination is
/// over.
pub(super) fn run(dial: &Dial<'_>) -> Result<(), Failure> {
    if dial.proxy().is_none() {
        return Ok(());
    }
    let connected = dial.connect();
    dial.in_time()?;
    let error = match connected {
        Ok(inside) => {
            inside.quit();
            None
        }
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => Some(error),
    };
    dial.seen.proxy.get_or_init(|| error);
    Ok(())
}

/// Judges the proxy, if there is one.
pub(super) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    let seen = dial.proxy().zip(dial.seen.proxy.get());
    Ok(seen.map(|(chosen, error)| first_connection(chosen, error.as_ref())).into_iter().collect())
}

/// Judges the first connection through a proxy.
fn first_connection(chosen: &Chosen, error: Option<&Error>) -> Finding {
    let Chosen { proxy, by } = chosen;
    let fail = |diagnosis, why: &dyn std::fmt::Display| {
        Check::Proxy.fail(diagnosis, format_args!("{proxy}, named by {by}: {why}"))
    };
    match error {
        Some(error @ Error::Timeout(Phase::Proxy)) => fail(Diagnosis::ProxySilent, error),
        Some(Error::Proxy { fault, .. }) => {
            let diagnosis = match fault {
                ProxyFault::Unreachable(_) => Diagnosis::ProxyUnreachable,
                ProxyFault::LoginRequired | ProxyFault::LoginRefused(_) => Diagnosis::ProxyLogin,
                ProxyFault::Refused { .. } => Diagnosis::ProxyRefuses,
                _ => Diagnosis::NotAProxy,
            };
            fail(diagnosis, fault)
        }
        _ => Check::Proxy.ok(format_args!("connections go through {proxy}, named by {by}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_failures_are_distinguished_from_server_failures() {
        let chosen =
            Chosen { proxy: "socks5://u:geheim@h".parse().unwrap(), by: "all_proxy".to_owned() };
        let found = first_connection(&chosen, Some(&Error::Timeout(Phase::Proxy)));
        assert_eq!(found.diagnosis, Some(Diagnosis::ProxySilent));
        assert!(!found.seen.contains("geheim"), "{found:?}");
        // The next checks judge the server itself.
        for error in [None, Some(&Error::Closed), Some(&Error::Timeout(Phase::Greeting))] {
            let found = first_connection(&chosen, error);
            assert_eq!(found.seen, "connections go through socks5://h:1080, named by all_proxy");
            assert_eq!(found.diagnosis, None);
        }
    }
}
