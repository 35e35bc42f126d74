use super::*;

fn shown(text: &str, reference: &str) -> Option<String> {
    let reference = TimeVal::parse(reference.as_bytes()).unwrap();
    let date = read(Words::new(text.as_bytes()), reference)?;
    let rest = &text[date.end..];
    let time = date.modified.map_or("?".into(), |modified| {
        format!("{} {:?} {:?}", modified.time, modified.precision, modified.zone)
    });
    Some(format!("{time}|{rest}"))
}

#[test]
fn a_date_without_a_year_is_at_most_one_day_ahead_ls_44() {
    for (text, reference, want) in [
        ("Mar 10 23:00", "20170310230000", "20170310230000"),
        ("Mar 11 23:00", "20170310230000", "20170311230000"),
        ("Mar 11 23:01", "20170310230000", "20160311230100"),
        ("Mar 12 00:00", "20170310230000", "20160312000000"),
        ("Dec 31 23:59", "20170101000000", "20161231235900"),
        ("Jan  1 00:00", "20161231120000", "20170101000000"),
        ("Jan  1 12:01", "20161231120000", "20160101120100"),
        ("Jan  1 00:00", "99991231120000", "99990101000000"),
        ("Feb 29 00:00", "20240228000000", "20240229000000"),
        ("Feb 29 00:00", "20240227235959", "20200229000000"),
        ("Feb 29 00:00", "20230301000000", "20200229000000"),
        ("Feb 29 00:00", "21040227000000", "20960229000000"),
        ("Jan  1 00:00", "00000101000000", "00000101000000"),
    ] {
        let want = format!("{want} Minute Unknown|");
        assert_eq!(shown(text, reference), Some(want), "{text} at {reference}");
    }
}

#[test]
fn dates_outside_the_calendar_have_no_time_hc_23() {
    for text in [
        "Feb 30 10:00",
        "Feb 29 2023",
        "Apr 31 2001",
        "Jan 0 10:00",
        "Jan 99 2001",
        "Feb 23 30:01",
        "Feb 23 10:99",
        "2001-13-01 10:00",
        "2001-00-00 10:00",
        "03-04-2001 10:00",
        "01-foo-2001 10:00",
    ] {
        let got = shown(text, "20240101000000");
        assert!(got.is_none() || got == Some("?|".into()), "{text}: {got:?}");
    }
}

#[test]
fn text_that_is_not_a_date_is_none() {
    for text in [
        "",
        "Jan",
        "Jan 1",
        "Jan 1 10",
        "Jan -7 18:59",
        "Jan 1 201",
        "Jan 1 20011",
        "Jam 4 00:03",
        "1 2 3",
        "1 2 2001",
        "13 2 10:00",
        "2001",
        "2001-1",
        "2001-1-1-1",
        "1-2-3 10:00",
        "11-02-18",
        "12:30",
        "100 Jan 10:00",
        "1: 2",
        "Jan 1 1:2:3:4",
        "2001-01-01x 10:00",
        "--",
        "-1-1 10:00",
        "1月 2x 10:00",
        "2001年 1月",
        "2001年 1x 2日",
        "Jan 1 12:30x",
        "01-June-1999 12:30",
        "2001年 1月 2x",
        "2001-01-0110 10:00",
    ] {
        assert_eq!(shown(text, "20240101000000"), None, "{text}");
    }
}

#[test]
fn time_zones_are_applied() {
    for (text, want) in [
        ("2005-06-07 21:22:33.123456789 +0200 a", "20050607192233 Second Utc| a"),
        ("2005-06-07 21:22:33 -0930 a", "20050608065233 Second Utc| a"),
        ("2005-06-07 21:22 +0200 a", "20050607212200 Minute Unknown| +0200 a"),
        ("2005-06-07 21:22:33 +020 a", "20050607212233 Second Unknown| +020 a"),
        ("9999-12-31 23:59:59 -0001 a", "?| a"),
        ("04-04-2003 17:12 a", "20030404171200 Minute Unknown| a"),
        ("12-13-2003 17:12 a", "20031213171200 Minute Unknown| a"),
        ("13-12-2003 17:12 a", "20031213171200 Minute Unknown| a"),
        ("05-12-2003 17:12 a", "?| a"),
        ("12-05-2003 17:12 a", "?| a"),
        ("01-Jun-1999 12:30 a", "19990601123000 Minute Unknown| a"),
    ] {
        assert_eq!(shown(text, "20240101000000").as_deref(), Some(want), "{text}");
    }
}

#[test]
fn years_of_two_and_three_digits() {
    for (digits, want) in [
        ("69", Some(2069)),
        ("70", Some(1970)),
        ("103", Some(2003)),
        ("199", Some(2099)),
        ("200", None),
        ("1999", Some(1999)),
        ("5", None),
        ("19999", None),
        ("", None),
    ] {
        assert_eq!(year(digits.as_bytes()), want, "{digits}");
    }
}
