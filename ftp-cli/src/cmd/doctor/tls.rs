//! Examines TLS on the control connection before the login: whether it is offered, in which
//! versions, and whether the certificate belongs to the intended server. Then examines TLS on data
//! connections, with the best method.
//!
//! Judges the dates and the issuer of a certificate (RFC 5280 §4.1), but does not decide whether to
//! trust it.

use std::sync::atomic::Ordering;

use ftp_client::error::{CertificateFault, Phase, TlsError};
use ftp_client::{Client, Error, Tls, TlsInfo, TlsVersion, Verb};
use ftp_proto::{Features, TimeVal};

use super::data_connections::listing;
use super::dial::{Dial, side_by_side};
use super::finding::{Check, Diagnosis, Finding, Grade, of_connection};
use super::places::Inside;
use super::seen::{TlsOutcome, TlsSeen};
use crate::console::output::{counted, unix_time};
use crate::exit::Result;
use crate::remote::show_entry::Date;

/// Connects with TLS if the options ask for it.
///
/// # Errors
///
/// Returns `Unsupported` if this build has no TLS, `Interrupted` after a signal, or `Timeout` if
/// the time for the whole examination is over. Returns `Local` or `Usage` if a file that an option
/// names is unusable.
pub(super) fn demanded(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    if let Some(tls) = &dial.asked.tls {
        let seen = look(dial, tls)?;
        dial.in_time()?;
        let is_refused = matches!(seen.outcome, TlsOutcome::Refused(_));
        found.extend(findings(&seen, !(dial.asked.is_tried && is_refused), None));
    }
    Ok(())
}

/// If the options do not ask for TLS, examines whether the server offers TLS.
///
/// # Errors
///
/// Returns the same errors as [`demanded`].
pub(super) fn offered(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    if let (None, Some(tls)) = (&dial.asked.tls, &dial.asked.offered) {
        let seen = look(dial, tls)?;
        found.extend(findings(&seen, false, dial.seen.login.get().map(|login| &login.features)));
        dial.seen.offer.get_or_init(|| seen);
    }
    Ok(())
}

/// Connects with TLS, more than once if needed, and records the observations. Does not log in.
fn look(dial: &Dial<'_>, tls: &Tls) -> Result<TlsSeen> {
    let (outcome, info) = match dial.connect_by(tls) {
        Ok(inside) if dial.asked.options.has("insecure") => (TlsOutcome::Unverified, quit(inside)),
        Ok(inside) => (TlsOutcome::Secured, quit(inside)),
        Err(Error::Tls(TlsError::Refused(reply))) => (TlsOutcome::Refused(reply), None),
        Err(Error::Tls(TlsError::Certificate { fault, cause, pin, .. })) => {
            let any = tls.clone().accept_invalid_certificates(true);
            let info = dial.connect_by(&any).ok().and_then(quit);
            (TlsOutcome::Certificate(fault, cause, pin), info)
        }
        Err(error) => (failed(dial, error)?, None),
    };
    let mut versions = Vec::new();
    if let Some(TlsInfo { version, .. }) = &info {
        let agrees = |version| {
            let only = tls.clone().versions(version, version).accept_invalid_certificates(true);
            dial.connect_by(&only).ok().and_then(quit).is_some()
        };
        let both = [TlsVersion::V1_2, TlsVersion::V1_3];
        let agreed = side_by_side(both.map(|version| ("tls version", version)), agrees)?;
        let agreed = both.into_iter().zip(agreed).filter(|(one, is)| *is || one == version);
        versions.extend(agreed.map(|(one, _)| one));
    }
    Ok(TlsSeen { outcome, info, versions })
}

fn failed(dial: &Dial<'_>, error: Error) -> Result<TlsOutcome> {
    let is_demanded = dial.asked.tls.is_some();
    let (diagnosis, why) = match &error {
        Error::Timeout(Phase::Overall) => return Ok(TlsOutcome::Unable(error.to_string())),
        Error::Timeout(Phase::Handshake) => (Diagnosis("tls-stalls"), error.to_string()),
        // If the user does not ask for TLS, missing TLS support or CA certificates are not a
        // failure.
        Error::Tls(TlsError::Absent | TlsError::Settings(_)) if !is_demanded => {
            return Ok(TlsOutcome::Unable(error.to_string()));
        }
        Error::Cancelled
        | Error::Tls(TlsError::Absent | TlsError::File { .. } | TlsError::Settings(_)) => {
            return Err(error.into());
        }
        Error::Unexpected { verb: Verb::Auth, .. } | Error::Tls(TlsError::InjectedPlaintext) => {
            (Diagnosis("tls-broken"), format!("AUTH TLS: {error}"))
        }
        Error::Tls(_) => (Diagnosis("tls-handshake"), error.to_string()),
        // The other errors concern the connection, not TLS.
        _ if !is_demanded => return Ok(TlsOutcome::Unable(error.to_string())),
        Error::Timeout(Phase::Reply(_)) => (Diagnosis("tls-broken"), format!("AUTH TLS: {error}")),
        // The server accepted a connection a moment ago.
        _ => of_connection(&error, true)?,
    };
    Ok(TlsOutcome::Failed(diagnosis, why))
}

/// Returns the negotiated parameters and sends QUIT.
fn quit(inside: Inside<'_, Client>) -> Option<TlsInfo> {
    let info = inside.it.tls().cloned();
    inside.quit();
    info
}

/// Examines TLS on data connections if TLS protects the login. Otherwise, if the server offers TLS
/// with a good certificate, tries a login and a listing with it.
///
/// # Errors
///
/// Returns the client's failure if it says nothing about the server.
pub(super) fn data(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    match (dial.is_protected(), dial.seen.offer.get(), &dial.asked.offered) {
        (true, ..) => look_at_data(dial, found)?,
        (
            _,
            Some(TlsSeen { outcome: TlsOutcome::Secured | TlsOutcome::Unverified, .. }),
            Some(tls),
        ) => {
            let finding = try_offer(dial, tls)?;
            dial.seen.offer_works.store(finding.grade == Grade::Ok, Ordering::Relaxed);
            found.push(finding);
        }
        _ => {}
    }
    Ok(())
}

/// Logs in with the TLS that the server offers, and lists a directory if that works without TLS.
fn try_offer(dial: &Dial<'_>, tls: &Tls) -> Result<Finding> {
    let tried = dial.client_by(dial.way(), Some(tls), None).and_then(|mut inside| {
        if dial.seen.listed.load(Ordering::Relaxed) {
            listing(&mut inside.it, "")?;
        }
        inside.quit();
        Ok(())
    });
    match tried {
        Ok(()) => {
            Ok(Check("protection").ok("the login and its data connections work with TLS too"))
        }
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => Err(error.into()),
        Err(error) => {
            let why = format!("TLS is offered, but this login does not work with it: {error}");
            Ok(Check("protection").skip(why))
        }
    }
}

/// Tries a listing over a data connection that resumes no TLS session.
fn look_at_data(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    // TLS on a data connection begins with a transfer, and a listing is the only transfer that
    // needs no file.
    if !dial.seen.listed.load(Ordering::Relaxed) {
        let checks = [Check("reuse"), Check("close-notify")];
        found.extend(checks.map(|check| check.skip("this user cannot list files")));
        return Ok(());
    }
    let tls = dial.asked.tls.as_ref().map(|tls| tls.clone().resume_sessions(false));
    let inside = dial.client_by(dial.way(), tls.as_ref(), None);
    let Some(mut inside) = dial.again(Check("reuse"), inside, found)? else { return Ok(()) };
    found.push(match listing(&mut inside.it, "") {
        Ok(_) | Err(Error::Tls(TlsError::TruncatedTls)) => {
            inside.quit();
            Check("reuse").ok("data connections need not resume a TLS session")
        }
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => {
            return Err(error.into());
        }
        Err(error) if demands_session(&error) => Check("reuse").warn(
            Diagnosis("reuse-demanded"),
            format_args!("a data connection that does not resume a TLS session fails: {error}"),
        ),
        Err(error) => Check("reuse").skip(error),
    });
    found.push(match dial.seen.truncated.load(Ordering::Relaxed) {
        false => Check("close-notify").ok("data ends with close_notify"),
        true => Check("close-notify")
            .fail(Diagnosis("no-close-notify"), "a listing ended without close_notify"),
    });
    Ok(())
}

/// Returns whether a listing that worked with a resumed session failed because of TLS.
fn demands_session(error: &Error) -> bool {
    match error {
        Error::Refused { reply, .. } => matches!(reply.code().value(), 425 | 426 | 522 | 534),
        Error::DataConnection(attempts) => attempts.iter().any(|it| demands_session(&it.error)),
        error => matches!(error, Error::Tls(_)),
    }
}

/// Remaining validity, in days, below which renewal is advised.
const SOON: i64 = 14;

/// Judges the observations. Problems are failures if the user `demands` TLS. Otherwise they are
/// warnings, and a refusal is a problem only if the server lists TLS among its `features`.
fn findings(seen: &TlsSeen, demands: bool, features: Option<&Features>) -> Vec<Finding> {
    let grade = if demands { Grade::Fail } else { Grade::Warn };
    let mut findings = Vec::new();
    if let Some(TlsInfo { version, cipher, .. }) = &seen.info {
        let versions: Vec<String> = seen.versions.iter().map(ToString::to_string).collect();
        let offers = versions.join(" and ");
        let words = format_args!("{version} with {cipher}; the server offers {offers}");
        findings.push(Check("tls").ok(words));
    }
    findings.push(match &seen.outcome {
        TlsOutcome::Secured => certificate(seen),
        TlsOutcome::Unverified => {
            let pin = seen.info.as_ref().and_then(|info| info.pin.as_deref());
            let pin = pin.map_or_else(String::new, |pin| format!("; its pin is {pin}"));
            Check("certificate").ok(format_args!("not verified (--insecure){pin}"))
        }
        TlsOutcome::Refused(reply) if demands => {
            let seen = format!("AUTH TLS is refused: {reply}");
            Check("tls").wrong(grade, Diagnosis("tls-not-offered"), seen)
        }
        TlsOutcome::Refused(reply) if features.is_some_and(|features| features.has("AUTH")) => {
            let seen = format!("FEAT lists AUTH, but AUTH TLS is refused: {reply}");
            Check("tls").wrong(grade, Diagnosis("tls-broken"), seen)
        }
        TlsOutcome::Refused(reply) => Check("tls").ok(format_args!("TLS is not offered: {reply}")),
        TlsOutcome::Unable(why) => Check("tls").skip(why),
        TlsOutcome::Failed(diagnosis, why) => Check("tls").wrong(grade, *diagnosis, why),
        TlsOutcome::Certificate(fault, cause, pin) => {
            let diagnosis = diagnosis(*fault, shown(seen));
            let pin = pin.as_ref().map_or_else(String::new, |pin| format!("; its pin is {pin}"));
            let seen = match (diagnosis, cause) {
                // The name of the issuer adds nothing.
                (Diagnosis("certificate-self-signed"), _) => "it is self-signed".to_owned(),
                (_, None) => fault.to_string(),
                (_, Some(cause)) => {
                    format!("{fault}: {}", ftp_proto::Escaped(cause.to_string().as_bytes()))
                }
            };
            Check("certificate").wrong(grade, diagnosis, seen + &pin)
        }
    });
    findings
}

fn shown(seen: &TlsSeen) -> Option<Certificate> {
    Certificate::read(seen.info.as_ref()?.certificates.first()?)
}

const fn diagnosis(fault: CertificateFault, shown: Option<Certificate>) -> Diagnosis {
    match (fault, shown) {
        (CertificateFault::Expired, _) => Diagnosis("certificate-expired"),
        (CertificateFault::NotYetValid, _) => Diagnosis("certificate-not-yet-valid"),
        (CertificateFault::WrongName, _) => Diagnosis("certificate-wrong-name"),
        (CertificateFault::NotPinned, _) => Diagnosis("certificate-not-pinned"),
        // A self-signed CA certificate is rejected as a CA certificate (`Other`), not for its
        // unknown issuer.
        (
            CertificateFault::UnknownIssuer | CertificateFault::Other,
            Some(Certificate { is_self_signed: true, .. }),
        ) => Diagnosis("certificate-self-signed"),
        (CertificateFault::UnknownIssuer, _) => Diagnosis("certificate-unknown-issuer"),
        _ => Diagnosis("certificate-unusable"),
    }
}

fn certificate(seen: &TlsSeen) -> Finding {
    let check = Check("certificate");
    let Some(Certificate { not_after, .. }) = shown(seen) else { return check.ok("accepted") };
    let days = (not_after.unix_seconds() - unix_time()).div_euclid(86_400);
    let date = Date(not_after);
    let words = format!("accepted; expires on {date}");
    match days {
        days if days < 0 => check.ok(format_args!("accepted, although it expired on {date}")),
        days if days < SOON => {
            let diagnosis = Diagnosis("certificate-ends-soon");
            check.warn(diagnosis, format_args!("{words}, in {}", counted(days, "day")))
        }
        _ => check.ok(words),
    }
}

/// The facts about a certificate that doctor judges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Certificate {
    is_self_signed: bool,
    not_after: TimeVal,
}

impl Certificate {
    /// Reads a certificate in DER. Returns `None` if the certificate or its dates are invalid.
    #[cfg(feature = "tls")]
    fn read(der: &[u8]) -> Option<Self> {
        use x509_cert::der::Decode;
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let fields = certificate.tbs_certificate();
        Some(Self {
            is_self_signed: fields.issuer() == fields.subject(),
            not_after: time_val(fields.validity().not_after)?,
        })
    }

    /// Returns `None`: a build without TLS receives no certificate.
    #[cfg(not(feature = "tls"))]
    const fn read(_der: &[u8]) -> Option<Self> {
        None
    }
}

#[cfg(feature = "tls")]
fn time_val(time: x509_cert::time::Time) -> Option<TimeVal> {
    let seconds = time.to_unix_duration().as_secs();
    TimeVal::from_unix_seconds(i64::try_from(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use ftp_proto::{Reply, ReplyCode};

    use super::*;

    fn seen(outcome: TlsOutcome) -> TlsSeen {
        TlsSeen { outcome, info: None, versions: Vec::new() }
    }

    #[test]
    fn tls_faults_fail_only_if_tls_is_required() {
        let refused = || TlsOutcome::Refused(Reply::new(ReplyCode::new(502).unwrap(), "no"));
        let fault = |fault| TlsOutcome::Certificate(fault, None, None);
        let failed = || TlsOutcome::Failed(Diagnosis("tls-handshake"), "alert".into());
        for (outcome, demands, want) in [
            (TlsOutcome::Secured, true, None),
            (refused(), true, Some(("tls-not-offered", Grade::Fail))),
            (refused(), false, None),
            (TlsOutcome::Unable("no roots".into()), false, None),
            (failed(), true, Some(("tls-handshake", Grade::Fail))),
            (failed(), false, Some(("tls-handshake", Grade::Warn))),
            (fault(CertificateFault::Expired), true, Some(("certificate-expired", Grade::Fail))),
            (fault(CertificateFault::Expired), false, Some(("certificate-expired", Grade::Warn))),
            (
                fault(CertificateFault::NotPinned),
                true,
                Some(("certificate-not-pinned", Grade::Fail)),
            ),
        ] {
            let found = findings(&seen(outcome.clone()), demands, None);
            let names: Vec<_> =
                found.iter().filter_map(|found| Some((found.diagnosis?.0, found.grade))).collect();
            assert_eq!(names, want.into_iter().collect::<Vec<_>>(), "{outcome:?}");
        }
    }

    #[test]
    fn tls_listed_in_feat_but_refused_is_broken() {
        let lists = |word: &str| {
            let code = ReplyCode::SYSTEM_STATUS;
            Features::read(&Reply::multi_line(code, "F", [word], "End"))
        };
        let refused = || TlsOutcome::Refused(Reply::new(ReplyCode::new(502).unwrap(), "no"));
        for (features, want) in [(" AUTH TLS", Some("tls-broken")), (" UTF8", None)] {
            let found = findings(&seen(refused()), false, Some(&lists(features)));
            let names = found.iter().find_map(|found| Some(found.diagnosis?.0));
            assert_eq!(names, want, "{features}");
        }
    }

    #[test]
    fn each_fault_of_a_certificate_has_its_diagnosis() {
        let time = TimeVal::new(2030, 1, 1, 0, 0, 0).unwrap();
        let of = |is_self_signed| Some(Certificate { is_self_signed, not_after: time });
        for (fault, shown, want) in [
            (CertificateFault::UnknownIssuer, of(false), "certificate-unknown-issuer"),
            (CertificateFault::UnknownIssuer, None, "certificate-unknown-issuer"),
            (CertificateFault::UnknownIssuer, of(true), "certificate-self-signed"),
            (CertificateFault::Other, of(true), "certificate-self-signed"),
            (CertificateFault::Other, of(false), "certificate-unusable"),
            (CertificateFault::WrongPurpose, of(false), "certificate-unusable"),
            (CertificateFault::WrongName, of(true), "certificate-wrong-name"),
            (CertificateFault::Expired, of(true), "certificate-expired"),
            (CertificateFault::NotYetValid, of(false), "certificate-not-yet-valid"),
        ] {
            assert_eq!(diagnosis(fault, shown).0, want, "{fault:?}");
        }
    }
}

// rcgen needs ring, whose C code needs a compiler for each system.
#[cfg(target_os = "linux")]
#[cfg(test)]
#[cfg(feature = "tls")]
mod certificates {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// Returns the certificate of a CA, and a certificate that the CA signed. Both are valid from
    /// the start of the first year to the end of the second.
    fn pair(years: [i32; 2]) -> [Vec<u8>; 2] {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = rcgen::date_time_ymd(years[0], 1, 1);
            params.not_after = rcgen::date_time_ymd(years[1], 12, 31);
            params
        };
        let mut authority = params("authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap();
        let issuer = Issuer::new(authority, key);
        let leaf = params("server").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        [root.der().to_vec(), leaf.der().to_vec()]
    }

    #[test]
    fn dates_and_self_signing_are_read_and_broken_der_is_refused() {
        // A two-digit year cannot express the second date.
        let [root, leaf] = pair([1970, 2050]);
        let read = Certificate::read(&leaf).unwrap();
        assert!(!read.is_self_signed);
        assert_eq!(read.not_after.to_string(), "20501231000000");
        assert!(Certificate::read(&root).unwrap().is_self_signed);
        for end in 0..leaf.len() {
            assert_eq!(Certificate::read(&leaf[..end]), None, "{end} bytes");
        }
        for at in 0..leaf.len() {
            let mut odd = leaf.clone();
            odd[at] ^= 0xff;
            let _ = Certificate::read(&odd);
        }
        let date = leaf.windows(13).position(|window| window == b"700101000000Z").unwrap();
        let mut undated = leaf;
        undated[date..date + 7].copy_from_slice(b"someday");
        assert_eq!(Certificate::read(&undated), None);
    }
}
