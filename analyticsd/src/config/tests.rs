use std::{collections::HashSet, ffi::OsString, fs, time::Duration};

use crate::telemetry::output::LogFormat;

use super::{
    Config, Database, Invocation, ShowFormat, Task, command,
    command::{hinted, masked},
    definition::{About, Fallback},
    environment::Environment,
    settings,
};

const EXAMPLE: &str = include_str!("../../../packaging/analyticsd.toml");
const URL: (&str, &str) = ("DATABASE_URL", "postgres://h/db");

fn invocation(arguments: &[&str], environment: &[(&str, &str)]) -> Invocation {
    let variables = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Invocation::from(["analyticsd"].iter().chain(arguments), &Environment::of(variables)).unwrap()
}

fn config(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    invocation(arguments, environment).settings.config()
}

#[test]
fn the_command_line_is_well_formed() {
    command().debug_assert();
}

#[test]
fn each_setting_has_unique_names_of_one_pattern_and_a_valid_default() {
    let mut names = HashSet::new();
    for entry in settings::ALL {
        let about = entry.about;
        assert!(names.insert(about.name) && names.insert(about.variable), "{}", about.name);
        assert!(about.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", about.name);
        let variable = format!("ANALYTICSD_{}", about.key().to_ascii_uppercase());
        assert!(about.variable == variable || about.variable == "DATABASE_URL", "{}", about.variable);
        assert!(!about.help.ends_with('.'), "{}", about.help);
        if let Fallback::Text(_) | Fallback::Computed(..) = about.default {
            let text = about.default.text().unwrap();
            assert_eq!((entry.check)(&text), Ok(()), "{} is {text} by default", about.name);
        }
    }
}

#[test]
fn shards_are_named_in_their_order_wherever_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let [file, url] = ["settings.toml", "url"].map(|name| folder.path().join(name));
    fs::write(&url, "postgres://b/db\n").unwrap();
    let expected = ["postgres://a1,a2/db", "postgres://b/db"].map(str::to_owned);
    let named = |arguments: &[&str], environment: &[(&str, &str)]| -> Result<Vec<String>, Vec<String>> {
        match config(arguments, environment)?.database {
            Database::Urls(urls) => Ok(urls),
            Database::Embedded(_) => Ok(Vec::new()),
        }
    };
    assert_eq!(named(&["--shard", &expected[0], "--shard", &expected[1]], &[]).unwrap(), expected);
    assert_eq!(named(&[], &[("ANALYTICSD_SHARDS", "postgres://a1,a2/db\n  postgres://b/db\n")]).unwrap(), expected);
    let from_file = |text: String| {
        fs::write(&file, text).unwrap();
        named(&["--config", file.to_str().unwrap()], &[])
    };
    let tables = format!("[[shards]]\nurl = '{}'\n[[shards]]\nurl_file = '{}'\n", expected[0], url.display());
    assert_eq!(from_file(tables).unwrap(), expected);
    for (text, fault) in [
        ("shards = ['postgres://h/db']", "is a list with a text in it"),
        ("shards = 'postgres://h/db'", "is a text"),
        ("[[shards]]\nurl = 'postgres://h/db'\nplace = 1", "has a table without one key"),
        ("[[shards]]\nuri = 'postgres://h/db'", "has a table with another key"),
        ("[[shards]]\nurl_file = '/nowhere'", "cannot be read"),
        ("shards = []", "names 0 databases"),
        ("[[shards]]\nurl = 'mysql://h/db'", "shards"),
    ] {
        let faults = from_file(text.to_owned()).unwrap_err();
        assert!(faults[0].contains(fault), "{text} gave {faults:?}");
    }
    assert!(named(&["--shard", "postgres://h/db"], &[URL]).unwrap_err()[0].contains("contradict each other"));
}

#[test]
fn embedded_takes_a_folder_after_an_equals_sign_or_the_default_one() {
    for (arguments, expected) in [("--embedded", ".analytics"), ("--embedded=/somewhere/else", "/somewhere/else")] {
        let config = config(&[arguments], &[]).unwrap();
        let Database::Embedded(options) = config.database else { panic!("{arguments} is not embedded") };
        assert_eq!(options.dir.to_str(), Some(expected));
        assert!(config.migrate, "an embedded database is migrated without being asked");
    }
}

#[test]
fn a_value_behind_a_blank_is_refused_with_how_it_is_given() {
    for (arguments, tip) in [
        (&["--embedded", "trial"][..], "--embedded=DIR"),
        (&["config", "--embedded", "trial"], "--embedded=DIR"),
        (&["--migrate", "false"], "--migrate="),
    ] {
        let arguments: Vec<&str> = ["analyticsd"].iter().chain(arguments).copied().collect();
        let error = command().try_get_matches_from(&arguments).unwrap_err();
        let said = hinted(error, arguments.iter().map(Into::into)).render().to_string();
        assert!(said.contains(&format!("tip: the value follows an equals sign: {tip}")), "{said}");
    }
    let other = command().try_get_matches_from(["analyticsd", "trial"]).unwrap_err();
    assert!(!hinted(other, ["analyticsd".into(), "trial".into()]).render().to_string().contains("equals sign"));
}

#[test]
fn a_switch_is_on_by_itself_and_can_be_turned_off() {
    for (arguments, environment, expected) in [
        (&[][..], "", false),
        (&["--migrate"], "", true),
        (&["--migrate=true"], "", true),
        (&["--migrate=false"], "true", false),
        (&["--migrate"], "off", true),
        (&[], "on", true),
        (&[], "1", true),
        (&[], "No", false),
    ] {
        let config = config(arguments, &[URL, ("ANALYTICSD_MIGRATE", environment)]).unwrap();
        assert_eq!(config.migrate, expected, "{arguments:?} {environment:?}");
    }
}

#[test]
fn the_command_line_wins_over_the_environment_the_file_and_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    fs::write(
        &path,
        "database_url = 'postgres://file/db'\nsettle_after = '3m'\nshutdown_timeout = \"3s\"\nmax_connections = \
         3_000\nmigrate = true\n",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let environment =
        [("ANALYTICSD_CONFIG", path), ("ANALYTICSD_SHUTDOWN_TIMEOUT", "2s"), ("ANALYTICSD_MAX_CONNECTIONS", "2000")];
    // Flags before and after the subcommand mean the same.
    for arguments in [&["--max-connections", "1000", "config"][..], &["config", "--max-connections", "1000"]] {
        let Invocation { task, settings } = invocation(arguments, &environment);
        assert_eq!(task, Task::ShowConfig(ShowFormat::Table));
        let config = settings.config().unwrap();
        assert_eq!(config.limits.connections, 1_000);
        assert_eq!(config.limits.shutdown_timeout, Duration::from_secs(2));
        assert_eq!(config.settle_after, Duration::from_mins(3));
        assert_eq!(config.limits.header_timeout, Duration::from_secs(10));
        assert!(config.migrate && matches!(&config.database, Database::Urls(urls) if urls == &["postgres://file/db"]));
    }
    let other = folder.path().join("other.toml");
    fs::write(&other, "settle_after = '5m'").unwrap();
    let config = config(&["--config", other.to_str().unwrap()], &[environment[0], URL]).unwrap();
    assert_eq!(config.settle_after, Duration::from_mins(5), "--config wins over ANALYTICSD_CONFIG");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = config(&[], &[URL, ("ANALYTICSD_LISTEN", ""), ("ANALYTICSD_EMBEDDED", "")]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert!(matches!(config.database, Database::Urls(_)));
}

#[test]
fn the_error_of_a_wrong_value_names_its_source_and_the_accepted_values() {
    let number = |least, most| format!("a whole number from {least} to {most}");
    let sites = |most: u32| (0..most).map(|n| format!("s{n}")).collect::<Vec<_>>().join(",");
    let (enough, too_many) = (sites(50), sites(51));
    for (flag, text, fault, accepted) in [
        ("listen", "8080", "is not an address and a port", "ADDRESS:PORT".to_owned()),
        ("listen", "localhost:8080", "is not an address and a port", "in numbers".to_owned()),
        ("max-connections", "0", "is out of range", number(1, 1_000_000)),
        ("max-connections", "1000001", "is out of range", number(1, 1_000_000)),
        ("max-connections", "99999999999999999999999", "is out of range", number(1, 1_000_000)),
        ("max-connections", "+5", "is not a whole number", number(1, 1_000_000)),
        ("max-connections", "", "is not a whole number", number(1, 1_000_000)),
        ("worker-threads", "1025", "is out of range", number(1, 1_024)),
        ("header-bytes", "8191", "is out of range", number(8_192, 1_048_576)),
        ("header-timeout", "999ms", "is out of range", "a duration from 1s to 1h".to_owned()),
        ("body-timeout", "61m", "is out of range", "a duration from 1s to 1h".to_owned()),
        ("unread-timeout", "soon", "is not a duration", "a duration from 1s to 1h".to_owned()),
        ("settle-after", "366days", "is out of range", "a duration from 0s to 365days,".to_owned()),
        ("shutdown-timeout", "25h", "is out of range", "a duration from 0s to 1day,".to_owned()),
        ("commit-depth", "5", "is out of range", format!("{}, or measured", number(1, 4))),
        ("commit-depth", "deep", "is not a whole number", format!("{}, or measured", number(1, 4))),
        ("max-age", "999ms", "is out of range", "a duration from 1s to 10000years".to_owned()),
        ("max-future", "never", "is not a duration", ", or none".to_owned()),
        ("spool", "", "is empty", "a path".to_owned()),
        ("spool", "file:///spool", "is a URL", "a path, with ./ before".to_owned()),
        ("embedded-kind", "docker", "is unknown", "native".to_owned()),
        ("log", "analyticsd=loud", "is not a filter", "info,".to_owned()),
        ("log-format", "xml", "is unknown", "human or json".to_owned()),
        ("metrics-site", &too_many, "names 51 sites", "at most 50".to_owned()),
        ("metrics-site", "shop,other", "names a site `other`", "all that are not named".to_owned()),
    ] {
        let faults = config(&[&format!("--{flag}"), text], &[URL]).unwrap_err();
        let [line] = &faults[..] else { panic!("--{flag} {text:?}: {faults:?}") };
        let expected = format!("--{flag}: {text:?} {fault}; accepted is ");
        assert!(line.strip_prefix(&expected).is_some_and(|rest| rest.contains(&accepted)), "{line}");
    }
    for (flag, text) in [
        ("max-connections", "1000000"),
        ("header-timeout", "1h"),
        ("log-format", "json"),
        ("header-bytes", "8192"),
        ("metrics-site", &enough),
        ("spool", "./file:///spool"),
    ] {
        assert!(config(&[&format!("--{flag}"), text], &[URL]).is_ok(), "--{flag} {text}");
    }
}

#[test]
fn every_fault_of_a_list_is_named() {
    for (flag, text, fault) in [
        (
            "trusted-proxies",
            "10.0.0.0/33, ::1,proxy",
            "has \"10.0.0.0/33\", which is not a network, and \"proxy\", which is not a network; accepted is an \
             address, or",
        ),
        ("cors-origins", "https://a.example,b.example", "has \"b.example\", which "),
    ] {
        let faults = config(&[&format!("--{flag}"), text], &[URL]).unwrap_err();
        let [line] = &faults[..] else { panic!("--{flag} {text:?}: {faults:?}") };
        assert!(line.starts_with(&format!("--{flag}: {text:?} {fault}")), "{line}");
        assert!(line.ends_with("; several with commas between"), "{line}");
    }
}

#[test]
fn a_fault_is_reported_also_if_another_source_wins() {
    let faults = config(&["--settle-after", "1m"], &[URL, ("ANALYTICSD_SETTLE_AFTER", "later")]).unwrap_err();
    assert!(faults[0].starts_with("ANALYTICSD_SETTLE_AFTER: \"later\" is not a duration"), "{faults:?}");
}

#[test]
fn the_error_of_two_settings_that_exclude_each_other_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    fs::write(&path, "postgres://ann:secret@h/db\n").unwrap();
    let file = ["--database-url-file", path.to_str().unwrap()];
    let Database::Urls(url) = config(&file, &[]).unwrap().database else { panic!("it is a URL") };
    assert_eq!(url, ["postgres://ann:secret@h/db"]);

    let faults = config(&file, &[URL]).unwrap_err();
    assert_eq!(
        faults,
        ["DATABASE_URL and --database-url-file: contradict each other; accepted is one of the two".to_owned()]
    );
    let faults = config(&["--admin-listen", "127.0.0.1:8080"], &[URL]).unwrap_err();
    assert!(faults[0].starts_with("listen and admin-listen: are both 127.0.0.1:8080"), "{faults:?}");
    assert!(config(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], &[URL]).is_ok());
}

#[test]
fn a_file_of_a_url_has_one_line_and_errors_do_not_repeat_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let flag = format!("--database-url-file={}", path.to_str().unwrap());
    for end in ["", "\n", "\r\n", " \n\n", "\t"] {
        fs::write(&path, format!("postgres://ann:secret@h/db{end}")).unwrap();
        let Database::Urls(url) = config(&[&flag], &[]).unwrap().database else { panic!("it is a URL") };
        assert_eq!(url, ["postgres://ann:secret@h/db"], "{end:?}");
    }
    for content in [
        "postgres://u:hunter2@h/d\n# password is hunter2",
        "postgres://u:hunter2@h/d\rhunter2\n",
        "# hunter2\npostgres://u:hunter2@h/d\n",
        "\npostgres://u:hunter2@h/d\n",
    ] {
        fs::write(&path, content).unwrap();
        let by_file = invocation(&[&flag], &[]);
        let faults = by_file.settings.config().unwrap_err();
        let [line] = &faults[..] else { panic!("{content:?}: {faults:?}") };
        assert!(line.contains("holds what is no database URL: has more than one line"), "{line}");
        let told = [told(&by_file), told(&invocation(&[], &[("DATABASE_URL", content)]))];
        assert!(told.iter().all(|told| !told.contains("hunter2")), "{told:?}");
    }
    fs::write(&path, " \n").unwrap();
    assert!(config(&[&flag], &[]).unwrap_err()[0].contains("is empty"));
    let given_itself = config(&["--database-url-file", "postgres://h/db"], &[]).unwrap_err();
    assert!(
        given_itself[0].contains("is a URL; ") && given_itself[0].ends_with("is for --database-url"),
        "{given_itself:?}"
    );
}

#[test]
fn a_topic_needs_a_place_for_what_cannot_be_stored_and_a_program_that_can_read_it() {
    let of = |more: &[&str]| {
        let database = ["--database-url", "postgres://a@b/c"];
        config(&[&database[..], &["--kafka", "kafka:9092/events"], more].concat(), &[]).err().unwrap_or_default()
    };
    let lacks_feature = |faults: &[String]| faults.iter().any(|fault| fault.contains("--features kafka"));
    let complete = of(&["--kafka-rejected", "rejected"]);
    assert_eq!(lacks_feature(&complete), cfg!(not(feature = "kafka")), "{complete:?}");
    for (more, part) in [
        (&[][..], "--kafka-rejected DIR or --kafka-dead-letter TOPIC besides it"),
        (&["--kafka-rejected", "a", "--kafka-dead-letter", "b"], "contradict each other"),
        (&["--kafka-dead-letter", "b c"], "the name of a topic"),
        (&["--kafka-dead-letter", "events"], "name the same topic"),
        (&["--kafka-rejected", "a", "--kafka-group", ""], "a name of 1 to 255 visible ASCII characters"),
        (&["--kafka-rejected", "a", "--kafka-timestamps", "hours"], "ms, s, rfc3339 or auto"),
        (&["--kafka-rejected", "a", "--kafka-config-file", "/nowhere/at/all"], "cannot be read"),
    ] {
        let faults = of(more);
        assert!(faults.iter().any(|fault| fault.contains(part)), "{more:?}: {faults:?}");
    }
}

#[test]
fn an_embedded_database_wins_over_a_url_with_a_warning() {
    let settings = invocation(&["--embedded"], &[URL]).settings;
    assert!(matches!(settings.config().unwrap().database, Database::Embedded(_)));
    let [warning] = &settings.warnings()[..] else { panic!("one warning") };
    assert!(warning.contains("--embedded") && warning.contains("DATABASE_URL"), "{warning}");
}

#[test]
fn the_format_of_the_log_is_a_setting() {
    assert_eq!(config(&[], &[URL]).unwrap().log.format, LogFormat::Human);
    assert_eq!(config(&[], &[URL, ("ANALYTICSD_LOG_FORMAT", "json")]).unwrap().log.format, LogFormat::Json);
}

#[test]
fn a_daemon_that_others_reach_warns_of_missing_age_limits() {
    let named = |arguments: &[&str], names: [bool; 2]| {
        let warnings = invocation(arguments, &[URL]).settings.warnings().join("\n");
        assert_eq!(
            ["--max-age", "--max-future"].map(|name| warnings.contains(name)),
            names,
            "{arguments:?}: {warnings}"
        );
    };
    for (listen, is_told) in
        [("0.0.0.0:80", true), ("[::]:80", true), ("192.0.2.1:80", true), ("127.0.0.2:80", false), ("[::1]:80", false)]
    {
        let listen = ["--listen", listen];
        for (limits, [no_age, no_future]) in [
            (&[][..], [true, true]),
            (&["--max-age", "none", "--max-future", "none"], [true, true]),
            (&["--max-age", "400d"], [false, true]),
            (&["--max-future", "0s"], [true, false]),
            (&["--max-age", "400d", "--max-future", "0s"], [false, false]),
        ] {
            named(&[&listen, limits].concat(), [is_told && no_age, is_told && no_future]);
        }
    }
    let behind_a_proxy = ["--listen", "127.0.0.1:80", "--trusted-proxies", "127.0.0.1"];
    named(&behind_a_proxy, [true, true]);
    named(&[&behind_a_proxy[..], &["--max-age", "400d"]].concat(), [false, true]);
}

/// All output about settings: of a start, and of `analyticsd config`.
fn told(Invocation { settings, .. }: &Invocation) -> String {
    let faults = settings.config().err().into_iter().chain(settings.listen().err());
    let formats = [ShowFormat::Table, ShowFormat::Json].map(|format| settings.show(format));
    let lines: Vec<String> = faults.flatten().chain(settings.warnings()).chain(formats).collect();
    lines.join("\n")
}

#[test]
fn no_output_contains_a_password_whatever_setting_and_source_it_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    let file = ["--config", path.to_str().unwrap()];
    let all: Vec<&About> = settings::ALL.iter().map(|entry| entry.about).chain([&settings::CONFIG]).collect();
    for value in [
        "postgres://u:hunter2@h/d",
        "postgres://u:hun,hunter2@h/d",
        "postgres://u:hun/hunter2@h/d",
        "10.0.0.0/8,https://a.example,postgres://u:hunter2@h/d",
        "postgres://u@h/d?password=hunter2",
        "host=h user=u password=hunter2",
        "host=h user=u password='hun, hunter2'",
    ] {
        for about in &all {
            let flag = format!("--{}={value}", about.name);
            let key = about.key();
            let sources = [
                (vec![flag.as_str()], vec![], String::new()),
                (vec![], vec![(about.variable, value)], String::new()),
                (file.to_vec(), vec![], format!("{key} = \"{value}\"")),
                (file.to_vec(), vec![], format!("{key} = [\"{value}\", 'x']")),
                (file.to_vec(), vec![], format!("{key} = {value}")),
                (file.to_vec(), vec![], format!("\"{value}\" = '{key}'")),
            ];
            for (arguments, variables, text) in sources {
                fs::write(&path, &text).unwrap();
                let told = told(&invocation(&arguments, &variables));
                assert!(!told.contains("hunter2"), "{arguments:?} {variables:?} {text}: {told}");
            }
        }
        for arguments in [&[value][..], &["--embedded", value], &["config", "--format", value], &["healthcheck", value]]
        {
            let error = command().try_get_matches_from(["analyticsd"].iter().chain(arguments)).unwrap_err();
            let said = masked(&error).unwrap();
            assert!(said.contains("***") && !said.contains("hunter2"), "{arguments:?}: {said}");
        }
    }
    let help = command().try_get_matches_from(["analyticsd", "--help"]).unwrap_err();
    assert_eq!(masked(&help), None, "the placeholder of a password in the help stays");
}

#[test]
fn a_wrong_value_of_the_file_is_shown_as_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    let file = ["--config", path.to_str().unwrap()];
    for (line, shown) in [
        ("allow_anonymous = \"perhaps\"", "\"perhaps\""),
        ("migrate = 1 # or not", "1"),
        ("settle_after = 1.5", "1.5"),
        ("header_bytes = 0x4000", "0x4000"),
        ("listen = [\n'x' ]", "\"[\\n'x' ]\""),
        ("max_connections = 0", "0"),
        ("database_url = ['postgres://h/db']", "***"),
    ] {
        fs::write(&path, line).unwrap();
        let settings = invocation(&file, &[]).settings;
        assert!(settings.config().is_err(), "{line}");
        let key = line.split_once(" =").unwrap().0;
        let table = settings.show(ShowFormat::Table);
        let row = table.lines().find(|row| row.starts_with(&format!("{key} "))).unwrap();
        let rest = row[key.len()..].trim_start();
        assert!(rest.strip_prefix(shown).is_some_and(|rest| rest.trim_start().starts_with(file[1])), "{line}: {row}");
    }
    fs::write(&path, "max_connections = 0x10").unwrap();
    let table = invocation(&[&file[..], &["--max-connections", "5"]].concat(), &[URL]).settings.show(ShowFormat::Table);
    assert!(
        table.lines().any(|row| row.starts_with("max_connections ") && row.ends_with("  --max-connections")),
        "{table}"
    );
}

#[test]
fn a_list_in_the_file_is_a_comma_separated_list_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    for (text, expected) in [
        ("log = ['warn', 'db=info']", Ok("warn,db=info")),
        ("log = \"warn,db=info\"", Ok("warn,db=info")),
        ("log = ['warn', 5]", Err("is a list with a whole number in it")),
        ("log = ['warn,db=info']", Err("has a text with a comma in it")),
        ("settle_after = ['1m']", Err("is a list")),
    ] {
        fs::write(&path, text).unwrap();
        match (config(&["--config", path.to_str().unwrap()], &[URL]), expected) {
            (Ok(config), Ok(expected)) => assert_eq!(config.log.filter, expected, "{text}"),
            (Err(faults), Err(fault)) => assert!(faults[0].contains(fault), "{text} gave {faults:?}"),
            (seen, _) => panic!("{text} gave {seen:?}"),
        }
    }
}

#[test]
fn a_fault_of_the_file_is_one_line_with_its_number_and_repeats_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    for (text, line, fault) in [
        ("\n\"listen\\n\" = 'secret'", 2, "listen\\n: is no setting; accepted is listen"),
        ("database_url = \"postgres://ann:secret@h", 1, "is not TOML: "),
        ("database_url = postgres://ann:secret@h/db", 1, "is not TOML: "),
        ("max_connections = 1\nmax_connections = 'secret'", 2, "is not TOML: "),
        ("database_url = ['postgres://ann:secret@h']", 1, "database_url: is a list; accepted is a text"),
        ("database_url.secret = 1", 1, "database_url: is a table; accepted is a text"),
        ("max_connections = 0x10", 1, "is a number that is not decimal"),
        ("spool = 1979-05-27", 1, "is a date or a time"),
        ("listen = true", 1, "listen: is true or false; accepted is a text"),
        ("migrate = 1", 1, "migrate: is a whole number; accepted is true or false"),
    ] {
        fs::write(&path, text).unwrap();
        let faults = config(&["--config", path.to_str().unwrap()], &[URL]).unwrap_err();
        let place = format!("{}:{line}", path.display());
        assert!(faults.iter().any(|told| told.starts_with(&place) && told.contains(fault)), "{text:?} gave {faults:?}");
        assert!(faults.iter().all(|told| !told.contains("secret") && !told.contains('\n')), "{text:?} gave {faults:?}");
    }
    let missing = folder.path().join("missing.toml");
    let faults = config(&[], &[URL, ("ANALYTICSD_CONFIG", missing.to_str().unwrap())]).unwrap_err();
    let expected = format!("ANALYTICSD_CONFIG: {missing:?} cannot be read: ");
    assert!(matches!(&faults[..], [told] if told.starts_with(&expected)), "{faults:?}");
}

/// The lines of the example file with a setting: key, value, whether the line is commented out, and the lines right
/// above.
fn example_lines(example: &str) -> Vec<(&str, &str, bool, Vec<&str>)> {
    let mut above = Vec::new();
    let mut lines = Vec::new();
    for line in example.lines() {
        // Prose has a space after its #; a commented setting has none.
        let setting = line.strip_prefix('#').unwrap_or(line);
        if let Some((key, value)) = setting.split_once(" = ").filter(|_| !setting.starts_with([' ', '#'])) {
            lines.push((key, value, line.starts_with('#'), std::mem::take(&mut above)));
        } else if line.is_empty() {
            above.clear();
        } else {
            above.push(line);
        }
    }
    lines
}

#[test]
fn the_example_file_has_every_setting_once_in_the_order_of_the_help_with_its_default() {
    let lines = example_lines(EXAMPLE);
    let keys: Vec<&str> = lines.iter().map(|(key, ..)| *key).collect();
    let expected: Vec<String> = settings::ALL.iter().map(|entry| entry.about.key()).collect();
    assert_eq!(keys, expected);
    for ((key, value, is_commented_out, above), entry) in lines.into_iter().zip(settings::ALL) {
        let words = match entry.about.default {
            Fallback::Text(text) => text,
            Fallback::Computed(_, words) | Fallback::Nothing(words) => words,
        };
        assert_eq!(above.last(), Some(&&*format!("# Default: {words}")), "above {key}");
        assert!(above.len() > 1, "{key} is explained");
        if let (Fallback::Text(text), true) = (entry.about.default, is_commented_out) {
            assert_eq!(value.trim_matches('"'), text, "{key} is commented out, so it stands there with its default");
        }
    }
}

#[test]
fn the_example_file_is_valid_as_it_is_and_with_every_line_enabled() {
    let folder = tempfile::tempdir().unwrap();
    let [path, url, client] = ["settings.toml", "url", "client"].map(|name| folder.path().join(name));
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        config(&["--config", path.to_str().unwrap()], &[])
    };
    assert_eq!(read(&format!("{EXAMPLE}\ndatabase_url = 'postgres://h/db'\n")).map(drop), Ok(()));

    fs::write(&url, "postgres://h/db\n").unwrap();
    fs::write(&client, "security.protocol=ssl\n").unwrap();
    let in_force = |left_out: &[&str]| {
        let lines = example_lines(EXAMPLE).into_iter().filter(|(key, ..)| !left_out.contains(key));
        let text = lines.map(|(key, value, ..)| format!("{key} = {value}")).collect::<Vec<_>>().join("\n");
        text.replace("/etc/analyticsd/database-url", url.to_str().unwrap())
            .replace("/etc/analyticsd/kafka", client.to_str().unwrap())
    };
    // Without its feature the program reads no topic.
    let needs_a_feature: &[&str] = if cfg!(feature = "kafka") { &[] } else { &["kafka"] };
    let faults = read(&in_force(needs_a_feature)).unwrap_err();
    let pairs = [
        "database_url_file: contradict each other",
        "database_url: contradict each other",
        "database_url_file: contradict each other",
        "kafka_dead_letter: contradict each other",
    ];
    assert!(
        faults.len() == pairs.len() && faults.iter().zip(pairs).all(|(fault, pair)| fault.contains(pair)),
        "{faults:?}"
    );
    for others in [["database_url_file", "shards"], ["database_url", "shards"], ["database_url", "database_url_file"]] {
        let left_out = [needs_a_feature, &others, &["kafka_dead_letter"]].concat();
        assert_eq!(read(&in_force(&left_out)).map(drop), Ok(()));
    }
}
