//! The gate, which every command passes before its argument is parsed.

use ftp_proto::{Reply, ReplyCode, Verb};

use super::rules::{After, Data, LoginState, Rule};
use crate::session::{Access, Session};

/// Returns the rule of a command, or a reply that refuses the command.
///
/// The decision depends on the rule and the state of the session. The gate comes before the parser,
/// so that clients without a login reach as little code as possible.
pub(super) fn gate(session: &Session, verb: Verb) -> Result<&'static Rule, Reply> {
    let refuse = |code, text| Err(Reply::new(code, text));
    let Some(rule) = Rule::of(verb).filter(|rule| rule.is_enabled(session)) else {
        return refuse(ReplyCode::NOT_IMPLEMENTED, "Command not implemented");
    };
    if session.context.is_draining() {
        return refuse(ReplyCode::SERVICE_CLOSING, "Service closing");
    }
    if session.secured.is_none() && !rule.is_harmless && session.needs_tls() {
        return refuse(ReplyCode::DENIED_BY_POLICY, "Use AUTH TLS first");
    }
    match rule.login {
        LoginState::Needed if session.user().is_none() => {
            return refuse(ReplyCode::NOT_LOGGED_IN, "Please log in with USER and PASS");
        }
        LoginState::Before if session.user().is_some() => {
            return refuse(ReplyCode::NOT_LOGGED_IN, "Already logged in, send REIN first");
        }
        _ => {}
    }
    let is_in_sequence = match rule.after {
        After::Any => true,
        After::User => matches!(session.login.access, Access::Named(_)),
        After::Pass => matches!(session.login.access, Access::Unaccounted { .. } | Access::User(_)),
        After::NoLogin => session.user().is_none(),
        After::Rnfr => session.login.rename_from.is_some(),
        After::NoRest => session.transfer.restart == 0,
        After::Protection => session.secured.is_some(),
        After::NoProtection => session.secured.is_none(),
        After::Pbsz => session.secured.is_some() && session.transfer.has_buffer_size,
    };
    if !is_in_sequence {
        return refuse(ReplyCode::BAD_SEQUENCE, "Bad sequence of commands");
    }
    if session.transfer.epsv_all && rule.data == Data::Prepares {
        return refuse(ReplyCode::BAD_SEQUENCE, "Only EPSV is allowed after EPSV ALL");
    }
    Ok(rule)
}
