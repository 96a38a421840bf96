use std::{fmt::Write, fs, sync::Barrier};

use crate::{
    run,
    server::{Answer, TestServer},
};

fn events(count: u64) -> String {
    (1..=count).fold(String::new(), |mut lines, n| {
        writeln!(lines, r#"{{"timestamp":{n},"user":"u{n}","event":"click"}}"#).unwrap();
        lines
    })
}

/// How many events each request held, in order of size.
fn sizes(server: &TestServer) -> Vec<usize> {
    let mut sizes: Vec<usize> = server.requests().iter().map(|request| request.body.lines().count()).collect();
    sizes.sort_unstable();
    sizes
}

/// A server that gives one answer to every request that holds the event of this number, and takes all others.
fn answering_to(number: u64, answer: Answer) -> TestServer {
    let event = format!(r#""user":"u{number}","#);
    TestServer::with(move |request| if request.body.contains(&event) { answer.clone() } else { Answer::Stored })
}

#[test]
fn every_line_is_sent_in_batches_of_the_size_asked_for() {
    let server = TestServer::answering(&[Answer::Stored]);
    let arguments = ["import", "--format", "ndjson", "--batch-size", "2", "--without-source", "-"];
    let run = run(&server, &arguments, events(5).as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        run.stdout,
        "events,5\nclicks,5\nimpressions,0\nrepeated,0\nleft_out,0\nunreadable,0\nunfinished,0\n\n\
         hour                  clicks  impressions\n1970-01-01T00:00:00Z       5            0\n"
    );
    let page = format!("{}/?from=1970-01-01T00:00:00Z&to=1970-01-01T00:00:00Z", server.url());
    assert_eq!(run.stderr, format!("5 new events, 0 repeated, 0 refused lines\nthe page shows them: {page}\n"));
    assert_eq!(sizes(&server), [1, 2, 2]);
    let mut sent: Vec<String> = server.requests().iter().map(|request| request.body.clone()).collect();
    sent.sort();
    assert_eq!(sent.concat(), events(5));
    for request in server.requests() {
        assert_eq!(request.head, "POST /analytics/batch?timestamps=ms");
        assert!(request.headers.contains("content-type: application/x-ndjson"), "{}", request.headers);
    }
}

#[test]
fn batches_are_parts_of_a_source_one_behind_the_other() {
    let server = TestServer::answering(&[Answer::Stored]);
    let arguments = ["import", "--format", "ndjson", "--batch-size", "2", "-"];
    let run = run(&server, &arguments, format!("{}\n\n", events(5)).as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let parameter = |head: &str, name: &str| {
        let found =
            head.split(['?', '&']).find_map(|parameter| parameter.strip_prefix(&format!("{name}="))?.to_owned().into());
        found.unwrap_or_default()
    };
    let requests = server.requests();
    let mut steps: Vec<[String; 5]> = requests
        .iter()
        .map(|request| ["from", "from_check", "to", "check", "source"].map(|name| parameter(&request.head, name)))
        .collect();
    steps.sort_by_key(|[from, ..]| from.parse::<u64>().unwrap());
    let line = events(1).len() as u64;
    // The last one brings the empty lines.
    let ends = [2 * line, 4 * line, 5 * line + 2];
    assert_eq!(steps.len(), 3);
    let (mut from, mut check) = ("0".to_owned(), String::new());
    for (step, end) in steps.iter().zip(ends) {
        assert_eq!(step[..3], [from, check, end.to_string()]);
        assert!(step[3].len() == 32 && step[4].starts_with("import%3A"), "{step:?}");
        (from, check) = (step[2].clone(), step[3].clone());
    }
}

#[test]
fn a_log_becomes_page_views_and_the_rest_is_counted() {
    let server = TestServer::answering(&[Answer::Stored]);
    let line = |request: &str, referer: &str| {
        format!("10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"{request} HTTP/1.1\" 200 5 \"{referer}\" \"agent\"\n")
    };
    let log = [
        line("GET /", "http://www.example.com/"),
        line("GET /", "-"),
        line("GET /a.css", "-"),
        "garbage\n".to_owned(),
        line("POST /", "-"),
    ];
    let arguments = ["import", "--format", "combined", "--own-host", "Example.com", "--without-source", "-"];
    let run = run(&server, &arguments, log.concat().as_bytes());
    assert_eq!(run.code, 1);
    assert!(
        run.stdout.starts_with(
            "events,2\nclicks,1\nimpressions,1\nrepeated,0\nleft_out,2\nleft_out_other_methods,1\nleft_out_assets,1\n\
             unreadable,1\nunfinished,0\n"
        ),
        "{}",
        run.stdout
    );
    assert!(run.stderr.starts_with("standard input:4: is not a line of this access log"), "{}", run.stderr);
    assert_eq!(
        server.requests()[0].body,
        "{\"timestamp\":1431857103000,\"user\":\"10.0.0.1\",\"event\":\"click\"}\n\
         {\"timestamp\":1431857103000,\"user\":\"10.0.0.1\",\"event\":\"impression\"}\n"
    );
}

#[test]
fn a_timestamp_that_looks_like_seconds_stops_the_import_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = write("good.csv", "timestamp,user,event\n1706796001000,ann,click\n");
    let seconds = write("seconds.csv", "timestamp,user,event\n1706796001,ann,click\n1706796002,ben,impression\n");
    let server = TestServer::answering(&[Answer::Stored]);
    let refused = run(&server, &["import", &good, &seconds], b"");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("seconds.csv:2: timestamp looks like seconds"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--timestamps s"), "{}", refused.stderr);
    let piped = run(&server, &["import", "-"], b"timestamp,user,event\n1706796001,ann,click\n");
    assert_eq!(piped.code, 2, "{}", piped.stderr);
    assert!(piped.stderr.contains("looks like seconds"), "{}", piped.stderr);
    assert!(server.requests().is_empty());
    let said = run(&server, &["import", "--timestamps", "s", &seconds], b"");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(server.requests()[0].body.starts_with("{\"timestamp\":1706796001000,"), "{}", server.requests()[0].body);
}

#[test]
fn the_format_of_each_file_is_found_and_printed_and_what_fits_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let csv = write("a.csv", "timestamp;user;event\n1706796001000;ann;click\n");
    let log = write("a.log", "192.0.2.1 - - [01/Feb/2024:14:00:01 +0000] \"GET / HTTP/1.1\" 200 512\n");
    let none = write("a.txt", "hello\n");
    let server = TestServer::answering(&[Answer::Stored]);
    let refused = run(&server, &["import", &csv, &none], b"");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("a.txt: its format cannot be told"), "{}", refused.stderr);
    assert!(server.requests().is_empty());
    let read = run(&server, &["import", &csv, &log], b"");
    assert_eq!(read.code, 0, "{}", read.stderr);
    assert!(
        read.stderr.contains("a.csv: read as csv") && read.stderr.contains("a.log: read as common"),
        "{}",
        read.stderr
    );
    assert!(read.stdout.starts_with("events,2\n"), "{}", read.stdout);
}

#[test]
fn lines_that_cannot_be_read_are_named_and_the_others_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good, rejects) =
        (folder.path().join("bad"), folder.path().join("good.csv"), folder.path().join("rejects"));
    let mut text = "timestamp,user,event\n".to_owned();
    for n in 0..30 {
        write!(text, "{n},u,click\n{n},u,clack\n").unwrap();
    }
    fs::write(&bad, &text).unwrap();
    fs::write(&good, "user,event,timestamp\nann,impression,1431857103000\n").unwrap();
    let (bad, good, rejects_name) = (bad.to_str().unwrap(), good.to_str().unwrap(), rejects.to_str().unwrap());

    let server = TestServer::answering(&[Answer::Stored]);
    let run = run(&server, &["import", "--format", "csv", "--rejects", rejects_name, bad, good], b"");
    assert_eq!(run.code, 1);
    assert!(
        run.stdout
            .starts_with("events,31\nclicks,30\nimpressions,1\nrepeated,0\nleft_out,0\nunreadable,30\nunfinished,0\n"),
        "{}",
        run.stdout
    );
    assert_eq!(sizes(&server), [1, 30]);
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 24, "{}", run.stderr);
    assert_eq!(lines[0], format!("{bad}:3: event is unknown; accepted is click or impression, in lower case"));
    assert_eq!(lines[20], format!("{bad}: and 10 more"));
    assert!(
        lines[21].starts_with("lines that could not be read and were skipped: 30; the --rejects file has"),
        "{}",
        lines[21]
    );
    assert_eq!(lines[22], "31 new events, 0 repeated, 30 refused lines");
    let written = fs::read_to_string(&rejects).unwrap();
    assert_eq!(written.lines().count(), 30);
    assert!(written.lines().last().unwrap().starts_with(&format!("{bad}:61: event is unknown")), "{written}");
}

#[test]
fn an_overloaded_server_is_asked_again_and_nothing_is_counted_twice() {
    let busy = Answer::Problem(503, "Too much at once.", None);
    let server = TestServer::answering(&[busy.clone(), busy, Answer::Stored]);
    let arguments = ["import", "--format", "ndjson", "--without-source", "-"];
    let run = run(&server, &arguments, events(6).as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("events,6\n"), "{}", run.stdout);
    let bodies: Vec<String> = server.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [events(6), events(6), events(6)]);
}

#[test]
fn a_server_that_stays_overloaded_stops_the_import_which_prints_what_is_stored() {
    let server = answering_to(6, Answer::Problem(503, "Too much at once.", None));
    let input = format!("\nno event\n{}", events(6));
    let arguments = ["import", "--format", "ndjson", "--batch-size", "4", "--without-source", "-"];
    let run = run(&server, &arguments, input.as_bytes());
    assert_eq!(run.code, 1);
    assert_eq!(sizes(&server), [2, 2, 2, 2, 2, 2, 2, 2, 4]);
    assert!(run.stdout.starts_with("events,4\n"), "{}", run.stdout);
    assert!(run.stderr.contains("4 events were acknowledged and are stored."), "{}", run.stderr);
    assert!(run.stderr.contains("Not stored of standard input: lines 7 to 8."), "{}", run.stderr);
    assert!(run.stderr.contains("--from-line 7 begins there"), "{}", run.stderr);
}

#[test]
fn a_line_that_the_server_refuses_is_named_by_its_number_in_the_file_and_what_was_sent_beside_it_is_stored() {
    // All three batches are under way before one is answered.
    let all = Barrier::new(3);
    let server = TestServer::with(move |request| {
        all.wait();
        if request.body.contains("\"u5\"") { Answer::Problem(400, "Too early.", Some(2)) } else { Answer::Stored }
    });
    let input = format!("\n{}", events(8));
    let run = run(&server, &["import", "--format", "ndjson", "--batch-size", "3", "-"], input.as_bytes());
    assert_eq!(run.code, 1);
    assert!(run.stdout.starts_with("events,5\n"), "{}", run.stdout);
    assert!(run.stderr.contains("the server did not accept line 6"), "{}", run.stderr);
    assert!(run.stderr.contains("Too early."), "{}", run.stderr);
    assert!(run.stderr.contains("Not stored of standard input: lines 5 to 7."), "{}", run.stderr);
}

#[test]
fn after_a_failure_no_more_is_sent() {
    let server = answering_to(1, Answer::Problem(400, "Too early.", Some(1)));
    let input = events(100);
    let run = run(&server, &["import", "--format", "ndjson", "--batch-size", "1", "-"], input.as_bytes());
    assert_eq!(run.code, 1);
    let sent = server.requests().len();
    assert!(sent < 100, "{sent}");
    // How many were sent before the answer came is a matter of time.
    let unsent = match sent {
        1 => "Not stored of standard input: line 1 and all after it.".to_owned(),
        more => format!("Not stored of standard input: line 1; line {} and all after it.", more + 1),
    };
    assert!(run.stderr.contains(&unsent), "{sent}: {}", run.stderr);
    assert!(run.stdout.starts_with(&format!("events,{}\n", sent - 1)), "{}", run.stdout);
}

#[test]
fn without_a_source_a_request_whose_fate_is_unknown_is_not_sent_again_and_its_lines_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    fs::write(&file, events(4)).unwrap();
    let file = file.to_str().unwrap();
    for (answer, code) in [(Answer::Nothing, 2), (Answer::Foreign(504), 1)] {
        let server = answering_to(4, answer.clone());
        let arguments = ["import", "--format", "ndjson", "--batch-size", "2", "--without-source", file, file, file];
        let run = run(&server, &arguments, b"");
        assert_eq!(run.code, code, "{answer:?}: {}", run.stderr);
        assert_eq!(server.requests().len(), 2, "{answer:?}");
        assert!(run.stdout.starts_with("events,2\n"), "{}", run.stdout);
        for sentence in [
            "2 events were acknowledged and are stored.",
            &format!("Unknown of {file}, each stored as a whole or not at all: lines 3 to 4."),
            "Nothing of the 2 files after it is stored.",
            "Check with `analytics-cli query`",
        ] {
            assert!(run.stderr.contains(sentence), "{answer:?}: {}", run.stderr);
        }
    }
}

#[test]
fn of_a_source_a_request_whose_fate_is_unknown_is_sent_again() {
    let answers = [Answer::Foreign(502), Answer::Foreign(504), Answer::Stored];
    let server = TestServer::answering(&answers);
    let run = run(&server, &["import", "--format", "ndjson", "-"], events(4).as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("events,4\n"), "{}", run.stdout);
    let bodies: Vec<String> = server.requests().into_iter().map(|request| request.body).collect();
    assert!(bodies.len() == 3 && bodies[0] == bodies[1] && bodies[1] == bodies[2], "{bodies:?}");
}

#[test]
fn a_conflict_with_the_key_of_another_event_is_an_error_with_advice() {
    let server = answering_to(2, Answer::Problem(409, "Another request was stored under this key.", None));
    let run = run(&server, &["import", "--format", "ndjson", "-"], events(4).as_bytes());
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("correct the key"), "{}", run.stderr);
}

#[test]
fn a_csv_file_without_its_header_stops_the_import() {
    let server = TestServer::answering(&[Answer::Stored]);
    let run = run(&server, &["import", "--format", "csv", "-"], b"1,ann,click\n");
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("the header lacks the column timestamp"), "{}", run.stderr);
    assert!(run.stderr.contains("Not stored of standard input: line 1 and all after it."), "{}", run.stderr);
    assert!(run.stderr.ends_with("Correct that, then run the command again.\n"), "{}", run.stderr);
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_header_that_names_other_columns_is_answered_with_those_that_are_needed_and_no_other_advice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.csv");
    for (text, fault) in [
        ("time,user,event\n1,ann,click\n", "lacks the column timestamp: it is \"time, user, event\""),
        ("Timestamp;Visitor;Event\n1;ann;click\n", "lacks the column user: it is \"Timestamp, Visitor, Event\""),
    ] {
        fs::write(&file, text).unwrap();
        for format in [&[][..], &["--format", "csv"]] {
            let server = TestServer::answering(&[Answer::Stored]);
            let run = run(&server, &[&["import", file.to_str().unwrap()], format].concat(), b"");
            assert_eq!((run.code, run.stdout.as_str(), server.requests().len()), (2, "", 0), "{}", run.stderr);
            let told = format!(
                "error: {}: the header {fault}; accepted is a first line that names the columns timestamp, user and event, each once, \
                 between commas, semicolons or tabs; nothing was imported\n",
                file.display()
            );
            assert_eq!(run.stderr, told);
        }
    }
}

#[test]
fn the_link_of_the_page_shows_the_hours_of_what_was_imported_at_its_site() {
    let server = TestServer::answering(&[Answer::Stored]);
    let rows = b"timestamp,user,event\n2015-05-17T10:05:03Z,ann,click\n2015-05-19T00:00:00Z,ann,click\nx,ann,click\n";
    let run = run(&server, &["import", "--site", "shop", "--format", "csv", "-"], rows);
    let page = format!("{}/?from=2015-05-17T10:00:00Z&to=2015-05-19T00:00:00Z&site=shop", server.url());
    let told = format!("2 new events, 0 repeated, 1 refused line\nthe page shows them: {page}\n");
    assert!(run.stderr.ends_with(&told), "{}", run.stderr);
}

#[test]
fn keys_of_lines_go_with_them_and_a_key_never_twice_in_one_request() {
    let server = TestServer::answering(&[Answer::Stored]);
    let line = |id: u8| format!("{{\"timestamp\":1,\"user\":\"a\",\"event\":\"click\",\"id\":\"k{id}\"}}\n");
    let lines = line(1) + &line(2) + &line(1);
    let run = run(&server, &["import", "--format", "ndjson", "-"], lines.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let sent: Vec<String> = server.requests().iter().map(|request| request.body.clone()).collect();
    assert_eq!(sent.len(), 2);
    assert!(sent.contains(&(line(1) + &line(2))) && sent.contains(&line(1)), "{sent:?}");
}

#[test]
fn events_in_the_spool_are_reported() {
    let server = TestServer::answering(&[Answer::Spooled]);
    let run = run(&server, &["import", "--format", "ndjson", "-"], events(3).as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("events,3\n"));
    assert!(run.stderr.contains("3 of these events are not stored yet"), "{}", run.stderr);
}
