use crate::{
    Run, command,
    server::{Answer, TestServer},
};

const ESCAPE: char = '\u{1b}';

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    command(arguments).envs(environment.iter().copied()).output().unwrap().into()
}

#[test]
fn without_a_terminal_there_are_colours_only_on_request() {
    for (arguments, environment, is_colored) in [
        (&[][..], &[][..], false),
        (&["--color", "always"], &[], true),
        (&["--color=always"], &[("NO_COLOR", "1")], true),
        (&["--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&["--color", "auto"], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")], true),
        (&[], &[("NO_COLOR", "1")], false),
    ] {
        for command in [&["query", "--from", "now", "--to", "-1h"][..], &["query", "--at", "tomorrow"]] {
            let run = run(&[command, arguments].concat(), environment);
            assert_eq!(run.stderr.contains(ESCAPE), is_colored, "{arguments:?} {environment:?}: {}", run.stderr);
            assert!(run.stderr.contains("error:"), "{}", run.stderr);
        }
        let help = run(&[&["--help"], arguments].concat(), environment);
        assert_eq!(help.stdout.contains(ESCAPE), is_colored, "{arguments:?} {environment:?}");
    }
}

#[test]
fn only_what_is_for_people_has_colours() {
    let server = TestServer::with(|request| Answer::of_periods(request, |_| 2));
    let query = |arguments: &[&str]| {
        let run = run(&[&["query", "--at", "0", "--server", &server.url()], arguments].concat(), &[]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout
    };
    for arguments in [&["--format", "csv"][..], &["--format", "json"]] {
        assert_eq!(query(&[arguments, &["--color", "always"]].concat()), query(arguments), "{arguments:?}");
    }
    for arguments in [&["--format", "table"][..], &["--plot"], &["--plot=clicks"]] {
        let colored = query(&[arguments, &["--color", "always"]].concat());
        assert_ne!(colored, query(arguments), "{arguments:?}");
        assert_eq!(anstream::adapter::strip_str(&colored).to_string(), query(arguments), "{arguments:?}");
    }
    let doctor = run(&["doctor", "--color", "always", "--server", &server.url()], &[]);
    assert!(doctor.stdout.contains("\u{1b}[1m\u{1b}[31mproblem\u{1b}[0m  server "), "{}", doctor.stdout);
}
