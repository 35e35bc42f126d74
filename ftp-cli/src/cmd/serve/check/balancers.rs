//! Checks the settings for load balancers for `--check`.

use crate::cmd::serve::findings::Findings;
use crate::cmd::serve::settings::Settings;

/// Reports what load balancers must send, and warns if they cannot know this server's passive
/// ports.
pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    let networks: Vec<String> =
        settings.server.proxy_protocol.iter().map(ToString::to_string).collect();
    if networks.is_empty() {
        return;
    }
    let all = networks.join(", ");
    findings.ok(format_args!(
        "network.proxy_protocol: each connection from {all} must begin with a PROXY header; connections from other addresses must not"
    ));
    for network in networks.iter().filter(|network| network.ends_with("/0")) {
        let why = "any client can forge its address; list only the addresses of the balancers";
        findings
            .warn(format_args!("network.proxy_protocol: {network} contains all addresses: {why}"));
    }
    if settings.server.passive.enabled && settings.server.passive.ports.is_none() {
        let what_to_do = "set a different range for each server, and forward it with PROXY headers";
        findings.warn(format_args!(
            "passive.ports: a balancer can forward only ports that it knows; {what_to_do}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_protocol_from_everywhere_or_without_ports_is_reported() {
        let found = |assignments: &[&str]| {
            let mut settings = Settings::default();
            assignments.iter().for_each(|assignment| settings.set(assignment).unwrap());
            let mut findings = Findings::below(String::new());
            check(&settings, &mut findings);
            findings.text
        };
        let kinds = |assignments: &[&str]| -> Vec<String> {
            let text = found(assignments);
            text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
        };
        let one = "network.proxy_protocol=10.0.0.1";
        let ports = "passive.ports=50000-50099";
        assert!(kinds(&[ports]).is_empty());
        assert_eq!(kinds(&[one, ports]), ["ok"]);
        assert_eq!(kinds(&[one, "passive.enabled=false"]), ["ok"]);
        assert_eq!(kinds(&[one]), ["ok", "warn"]);
        let everywhere = "network.proxy_protocol=10.0.0.1,0.0.0.0/0,::/0";
        assert_eq!(kinds(&[everywhere, ports]), ["ok", "warn", "warn"]);
        let text = found(&[one, ports]);
        assert!(text.contains("each connection from 10.0.0.1/32 must begin"), "{text}");
    }
}
