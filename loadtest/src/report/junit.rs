//! JUnit XML, in the form that Jenkins, GitLab and actions of GitHub read: a case for each promise, each gate and each
//! kind of request.

use std::{
    io::{self, Write},
    time::Duration,
};

use chrono::SecondsFormat;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::findings::{Findings, Judgement, Mark, line};
use crate::measured::series::Summary;

struct Case {
    name: String,
    time: Duration,
    outcome: Outcome,
    /// What explains it.
    text: String,
}

/// What did not pass, or is in doubt, has a message.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

pub(super) fn junit(findings: &Findings) -> io::Result<Vec<u8>> {
    let suites: [(&str, Vec<Case>); 3] = [
        ("promises", findings.promises.iter().map(of_a_judgement).collect()),
        ("gates", findings.gates.iter().map(of_a_judgement).collect()),
        ("requests", findings.requests.iter().map(|(kind, summary)| of_a_kind(kind, summary, findings)).collect()),
    ];
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all = suites.iter().flat_map(|(_, cases)| cases);
    writer
        .create_element("testsuites")
        .with_attributes(sums("loadtest", all, findings.lasted).iter().map(|(key, value)| (*key, value.as_str())))
        .write_inner_content(|writer| {
            suites.iter().try_for_each(|(name, cases)| write_suite(writer, name, cases, findings))
        })?;
    let mut xml = writer.into_inner();
    xml.push(b'\n');
    Ok(xml)
}

fn of_a_judgement(judgement: &Judgement) -> Case {
    let finding = line(&judgement.finding);
    // Some readers show only the text, others only the message.
    let text = [finding.clone()].into_iter().chain(judgement.first_details()).collect::<Vec<_>>().join("\n");
    let outcome = match judgement.mark {
        Mark::Met | Mark::None => Outcome::Passed,
        Mark::Missed => Outcome::Failed(finding),
        Mark::Doubtful => Outcome::Skipped(finding),
    };
    Case { name: line(&judgement.name), time: Duration::ZERO, outcome, text }
}

/// It fails by a gate only.
fn of_a_kind(name: &str, summary: &Summary, findings: &Findings) -> Case {
    let Summary { requests, refused, unanswered, answered_per_second, p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } =
        summary;
    let text = format!(
        "{requests} requests, {refused} refused, {unanswered} unanswered, {answered_per_second:.1} answered/s\n\
         p50 {p50_ms:.2} ms, p90 {p90_ms:.2} ms, p99 {p99_ms:.2} ms, p99.9 {p999_ms:.2} ms, max {max_ms:.2} ms"
    );
    Case { name: name.to_owned(), time: findings.lasted, outcome: Outcome::Passed, text }
}

fn sums<'a>(name: &str, cases: impl Iterator<Item = &'a Case>, lasted: Duration) -> [(&'static str, String); 5] {
    let (tests, failures) = cases.fold((0, 0), |(tests, failures), case| {
        (tests + 1, failures + u32::from(matches!(case.outcome, Outcome::Failed(_))))
    });
    [
        ("name", name.to_owned()),
        ("tests", tests.to_string()),
        ("failures", failures.to_string()),
        ("errors", "0".to_owned()),
        ("time", seconds(lasted)),
    ]
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

fn write_suite<W: Write>(writer: &mut Writer<W>, name: &str, cases: &[Case], findings: &Findings) -> io::Result<()> {
    let attributes = sums(name, cases.iter(), findings.lasted);
    let skipped = cases.iter().filter(|case| matches!(case.outcome, Outcome::Skipped(_))).count();
    let suite = writer
        .create_element("testsuite")
        .with_attributes(attributes.iter().map(|(key, value)| (*key, value.as_str())))
        // Jenkins' schema has this one here, and not for all suites.
        .with_attribute(("skipped", skipped.to_string().as_str()))
        .with_attribute(("timestamp", findings.began_at.to_rfc3339_opts(SecondsFormat::Secs, true).as_str()));
    if cases.is_empty() {
        return suite.write_empty().map(drop);
    }
    let class = format!("loadtest.{name}");
    suite.write_inner_content(|writer| cases.iter().try_for_each(|case| write_case(writer, &class, case))).map(drop)
}

fn write_case<W: Write>(writer: &mut Writer<W>, class: &str, case: &Case) -> io::Result<()> {
    let element = writer.create_element("testcase").with_attributes([
        ("name", case.name.as_str()),
        ("classname", class),
        ("time", seconds(case.time).as_str()),
    ]);
    let write = |writer: &mut Writer<W>| {
        let element = match &case.outcome {
            Outcome::Passed => writer.create_element("system-out"),
            Outcome::Failed(message) => writer.create_element("failure").with_attribute(("message", message.as_str())),
            Outcome::Skipped(message) => writer.create_element("skipped").with_attribute(("message", message.as_str())),
        };
        element.write_text_content(BytesText::new(&case.text)).map(drop)
    };
    element.write_inner_content(write).map(drop)
}

#[cfg(test)]
mod tests {
    use quick_xml::{Reader, events::Event};

    use super::junit;
    use crate::report::findings::{Findings, tests::failed};

    #[test]
    fn each_promise_each_gate_and_each_kind_is_a_case() {
        insta::assert_snapshot!(String::from_utf8(junit(&failed("(so)")).unwrap()).unwrap());
    }

    #[test]
    fn a_run_that_did_not_begin_is_a_failed_case() {
        let xml = String::from_utf8(junit(&Findings::no_run("nobody answers".to_owned())).unwrap()).unwrap();
        assert!(
            xml.contains(r#"<testcase name="run""#) && xml.contains(r#"<failure message="nobody answers""#),
            "{xml}"
        );
    }

    #[test]
    fn any_text_is_valid_xml() {
        let all: String = (0..=0xFFFF).filter_map(char::from_u32).chain(['🎯']).collect();
        for text in [
            "]]> <![CDATA[ & \" ' <a b='c'>",
            "\u{0}\u{1b}[31m\u{fffe}\u{ffff}\r\n",
            &all[..400],
            &all[all.len() - 400..],
        ] {
            let xml = String::from_utf8(junit(&failed(text)).unwrap()).unwrap();
            let is_valid = |c| matches!(c, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
            assert!(xml.chars().all(is_valid), "{text:?}");
            let mut reader = Reader::from_str(&xml);
            reader.config_mut().check_end_names = true;
            let mut cases = 0;
            loop {
                match reader.read_event().unwrap() {
                    Event::Start(element) => {
                        cases += u32::from(element.name().as_ref() == "testcase");
                        assert!(element.attributes().all(|attribute| attribute.is_ok()));
                    }
                    Event::Eof => break,
                    _ => {}
                }
            }
            assert_eq!(cases, 6, "{xml}");
        }
    }
}
