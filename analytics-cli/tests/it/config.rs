use crate::{command, profiles::ConfigHome};

const FILE: &str = "
profile = \"local\"

[profiles.local]
server = \"http://127.0.0.1:9000\"

[profiles.production]
server = \"http://counter:8080\"
database_url = \"postgres://ann:secret@h:5432/db\"
";

#[test]
fn what_applies_is_shown_with_where_it_comes_from() {
    let home = ConfigHome::with(FILE);
    let run = home.run(&["config"], &[("DATABASE_URL", "host=h user=ann password='se cret'")]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(run.stdout, @"
    setting       value                         source
    profile       local                         FILE
    server        http://127.0.0.1:9000         profile local in FILE
    token         none                          default
    database_url  host=h user=ann password=***  DATABASE_URL
    shards        none                          default

    file      FILE
    profiles  local, production
    ");
    let environment =
        [("ANALYTICS_SERVER", "http://other"), ("ANALYTICS_PROFILE", "production"), ("ANALYTICS_TOKEN", "an_secret")];
    let run = home.run(&["config", "--database-url", "postgres://bob:secret@h", "--format", "json"], &environment);
    insta::assert_snapshot!(run.stdout, @r#"
    {
      "settings": [
        {
          "setting": "profile",
          "value": "production",
          "source": "ANALYTICS_PROFILE"
        },
        {
          "setting": "server",
          "value": "http://other",
          "source": "ANALYTICS_SERVER"
        },
        {
          "setting": "token",
          "value": "***",
          "source": "ANALYTICS_TOKEN"
        },
        {
          "setting": "database_url",
          "value": "postgres://bob:***@h",
          "source": "--database-url"
        },
        {
          "setting": "shards",
          "value": null,
          "source": "default"
        }
      ],
      "file": "FILE",
      "file_is_there": true,
      "profiles": [
        "local",
        "production"
      ]
    }
    "#);
    let run = home.run(&["config", "--profile", "production"], &[]);
    insta::assert_snapshot!(run.stdout, @"
    setting       value                         source
    profile       production                    --profile
    server        http://counter:8080           profile production in FILE
    token         none                          default
    database_url  postgres://ann:***@h:5432/db  profile production in FILE
    shards        none                          default

    file      FILE
    profiles  local, production
    ");
}

#[test]
fn without_a_file_the_defaults_are_shown_and_where_one_would_be() {
    let output = command(&["config"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @"
    setting       value                  source
    profile       none                   default
    server        http://127.0.0.1:8080  default
    token         none                   default
    database_url  none                   default
    shards        none                   default

    file      /nowhere/to/be/found/analytics/config.toml (does not exist)
    profiles  none
    ");
    let output = command(&["config"]).env_remove("XDG_CONFIG_HOME").env("HOME", "/nowhere/home").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("/nowhere/home/.config/analytics/config.toml (does not exist)"), "{shown}");
}

#[test]
fn a_password_that_others_may_read_is_warned_of() {
    let home = ConfigHome::with(FILE);
    home.set_mode(0o644);
    let run = home.run(&["config"], &[]);
    assert_eq!(run.code, 0);
    let warning =
        "warning: FILE holds a password or token, and other users may read it (mode 644); run `chmod 600 FILE`\n";
    assert_eq!(run.stderr, warning);
    let proxied = ConfigHome::with("[profiles.a]\nserver = \"http://ann:secret@proxy\"");
    proxied.set_mode(0o640);
    assert!(proxied.run(&["config"], &[]).stderr.contains("(mode 640)"));
    let harmless = ConfigHome::with("[profiles.a]\ndatabase_url = \"postgres://ann@h/db\"");
    harmless.set_mode(0o644);
    assert_eq!(harmless.run(&["config"], &[]).stderr, "");
}
