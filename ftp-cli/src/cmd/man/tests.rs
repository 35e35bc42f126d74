#[cfg(feature = "server")]
use std::fs;
#[cfg(feature = "server")]
use std::path::PathBuf;

use super::*;
use crate::options::TABLE;

#[test]
fn each_command_option_and_exit_code_is_in_the_man_page() {
    let page = of_program();
    for command in Command::ALL {
        let name = command.name();
        assert_eq!(page.matches(&format!("\n.SS {name}\n")).count(), 1, "{name}");
    }
    for row in TABLE {
        let spelt = format!("\\fB\\-\\-{}\\fR", escaped(row.long));
        assert!(page.contains(&spelt), "{}", row.long);
        assert!(page.contains(&escaped(row.help)), "{}", row.help);
    }
    for (exit, meaning) in exit::table() {
        let kind = format!(" [{}]\n", exit.kind());
        let kind = if exit.code() == 0 { "\n" } else { &kind };
        let item = format!("\\fB{}\\fR\n{}{kind}", exit.code(), escaped(meaning));
        assert!(page.contains(&item), "{meaning}");
    }
    for event in ["start", "progress", "retry", "entry", "check", "done", "error", "summary"] {
        assert!(page.contains(&format!("\\fB{event}\\fR\n")), "{event}");
    }
}

/// Searches the sources for every environment variable that this crate reads.
#[test]
#[cfg(feature = "server")]
fn every_environment_variable_read_is_in_the_man_page() {
    let mut directories = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut names = [crate::connect::credentials::VARIABLE, crate::cmd::control::VARIABLE]
        .map(str::to_owned)
        .to_vec();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for way in ["var_os(\"", "var(\"", "variable(\""] {
                let found = code.split(way).skip(1);
                names.extend(found.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }
    // Only tests read this variable, to write documents.
    names.retain(|name| name != "FTP_WRITE_DOCS");
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        let is_told = |(told, _): (&str, String)| told.split(", ").any(|told| told == name);
        assert!(terms(ENVIRONMENT).any(is_told), "{name}");
    }
}

#[test]
fn no_text_is_parsed_as_a_roff_request() {
    for (plain, want) in
        [(".x", "\\&.x\n"), ("'y\n.z", "\\&'y\n\\&.z\n"), ("a\\b -c", "a\\eb \\-c\n")]
    {
        assert_eq!(lines(plain), want);
    }
}

#[test]
#[cfg(feature = "server")]
fn each_key_is_in_the_man_page() {
    let page = of_settings();
    for setting in SettingHelp::all() {
        let title = match setting.table {
            "hosts.NAME" => "HOSTS.\"NAME\"".to_owned(),
            table => table.to_uppercase(),
        };
        let heading = format!("\n.SH {}\n", escaped(&format!("[{title}]")));
        assert_eq!(page.matches(&heading).count(), 1, "{title}");
        let table = page.split(&heading).nth(1);
        let keys = table.unwrap_or_else(|| panic!("{title}")).split("\n.SH ").next().unwrap();
        let key = format!("\n\\fB{}\\fR = ", escaped(setting.key));
        assert_eq!(format!("\n{keys}").matches(&key).count(), 1, "{title} {}", setting.key);
        assert!(keys.contains(lines(&setting.meaning).trim_end()), "{title} {}", setting.key);
    }
}
