use std::{collections::BTreeMap, env, fs, path::Path, time::Duration};

use db::{Examination, Flavour, Retention, objects::Shown};
use harness::{TestDatabase, on_both_flavours};

use crate::support::{click, hour, settle, store_all, writer};

on_both_flavours!(
    a_database_that_was_just_migrated_has_the_objects_of_the_page,
    a_database_that_was_used_has_the_same_objects,
    an_object_that_was_tampered_with_is_named,
);

const LIMIT: Duration = Duration::from_secs(30);
const WIDTH: usize = 100;
/// A blank at which no line ends.
const UNBROKEN: &str = "\u{a0}";
const HEAD: &str = "\
-- The schema `analytics` as it is: what db/migrations and db/functions make, read from databases of
-- both flavours. For reading, and for comparing databases with; no server takes it as it stands.
--
-- What a function does stands in db/functions/NAME.sql, or in the folder of its flavour there. In the
-- place of its text stands `as body` with the beginning of the SHA-256 sum of the text.
--
-- `UPDATE_SCHEMA=1 cargo nextest run -p db the_page_of_the_schema` writes this file anew.
";

async fn drift(database: &TestDatabase, flavour: Flavour) -> Vec<String> {
    let drift = Examination::new(database.store(), LIMIT).drift(flavour).await.unwrap();
    drift.iter().map(ToString::to_string).collect()
}

async fn a_database_that_was_just_migrated_has_the_objects_of_the_page(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    assert_eq!(drift(&database, flavour).await, <[String; 0]>::default());
}

#[tokio::test]
async fn the_page_of_the_schema_shows_what_migrations_and_functions_make() {
    let timescale = blocks(Flavour::Timescale).await;
    let postgres = blocks(Flavour::Postgres).await;
    let in_both = |(name, block): &(&String, &String)| timescale.get(*name) == postgres.get(*name) && !block.is_empty();
    let section = |title: &str, blocks: Vec<&String>| {
        let blocks: Vec<&str> = blocks.into_iter().map(String::as_str).collect();
        format!("\n-- ==== {title} ====\n\n{}", blocks.join("\n"))
    };
    let own =
        |blocks| -> Vec<&String> { BTreeMap::iter(blocks).filter(|it| !in_both(it)).map(|(_, text)| text).collect() };
    let page = [
        HEAD.to_owned(),
        section("In both flavours", postgres.iter().filter(in_both).map(|(_, text)| text).collect()),
        section("Only in the flavour timescale", own(&timescale)),
        section("Only in the flavour postgres", own(&postgres)),
    ]
    .concat();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.sql");
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&file, page).unwrap();
    } else {
        let written = fs::read_to_string(&file).unwrap();
        assert!(
            written == page,
            "run this test with UPDATE_SCHEMA=1 and look at what it changes in {}",
            file.display()
        );
    }
}

/// A table with what belongs to it, a view, or the functions of a name: one block of the page each.
async fn blocks(flavour: Flavour) -> BTreeMap<String, String> {
    let database = TestDatabase::new(flavour).await;
    let mut blocks: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    for shown in Examination::new(database.store(), LIMIT).objects(flavour).await.unwrap() {
        blocks.entry(shown.block.clone()).or_default().push(shown);
    }
    blocks.into_iter().map(|(name, block)| (name, block_of(&block))).collect()
}

fn block_of(block: &[Shown]) -> String {
    let is_part = |shown: &&Shown| ["column ", "constraint "].iter().any(|kind| shown.object.name.starts_with(kind));
    let (parts, wholes): (Vec<&Shown>, Vec<&Shown>) = block.iter().partition(is_part);
    let mut lines = Vec::new();
    for shown in wholes {
        let (name, definition) = (&shown.object.name, &shown.object.definition);
        lines.extend(comment(shown, "-- "));
        if !name.starts_with("table ") && !name.starts_with("view ") {
            lines.extend(wrapped("", "        ", &format!("create {}", unbroken(name))));
            lines.extend(wrapped("    ", "        ", &format!("{};", unbroken(definition))));
            continue;
        }
        lines.push(format!("create {name} ("));
        for (n, part) in parts.iter().enumerate() {
            let (kind, called) = part.object.name.split_once(' ').unwrap();
            let called = called.rsplit('.').next().unwrap();
            let kind = if kind == "constraint" { "constraint " } else { "" };
            let end = if n + 1 < parts.len() { "," } else { "" };
            lines.extend(comment(part, "    -- "));
            lines.extend(wrapped("    ", "        ", &format!("{kind}{called} {}{end}", part.object.definition)));
        }
        lines.push(if definition.is_empty() { ");".to_owned() } else { format!(") {definition};") });
    }
    lines.join("\n") + "\n"
}

fn comment(shown: &Shown, begin: &str) -> Vec<String> {
    shown.comment.as_ref().map(|comment| wrapped(begin, begin, comment)).unwrap_or_default()
}

/// The same with blanks at which no line ends: within one of several arguments, and within one property of a function.
fn unbroken(text: &str) -> String {
    let (before, rest) = text.split_once('(').unwrap_or((text, ""));
    let (arguments, after) = rest.split_once(')').unwrap_or(("", rest));
    if !(before.contains("function ") || before.contains("procedure ") || before.contains("TABLE")) {
        return ["as body ", "security definer", "set search_path=pg_catalog, pg_temp"]
            .iter()
            .fold(text.to_owned(), |text, property| text.replace(property, &property.replace(' ', UNBROKEN)));
    }
    let arguments: Vec<String> = arguments.split(", ").map(|argument| argument.replace(' ', UNBROKEN)).collect();
    format!("{before}({}){}", arguments.join(", "), if after.is_empty() { after.to_owned() } else { unbroken(after) })
}

/// The words of a text in lines that are not too long.
fn wrapped(first: &str, others: &str, text: &str) -> Vec<String> {
    let mut words = text.split([' ', '\n']).filter(|word| !word.is_empty());
    let mut line = format!("{first}{}", words.next().unwrap_or_default());
    let mut lines = Vec::new();
    for word in words {
        let longer = format!("{line} {word}");
        line = if longer.chars().count() <= WIDTH {
            longer
        } else {
            lines.push(line);
            format!("{others}{word}")
        };
    }
    lines.push(line);
    lines.iter().map(|line| line.replace(UNBROKEN, " ")).collect()
}

async fn a_database_that_was_used_has_the_same_objects(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let events = ["2015-05-17T10:00:00Z", "2015-05-18T10:00:00Z", "2020-01-01T00:00:00Z"].map(|at| click(at, "anna"));
    store_all(&mut writer(store), &events).await;
    settle(store, hour("2015-05-17T10:00:00Z")).await;
    let columnstore_after = (flavour == Flavour::Timescale).then_some(Duration::from_hours(24));
    Retention { keep: Some(Duration::from_hours(24 * 365)), columnstore_after }.write(store).await.unwrap();
    Retention::apply(store).await.unwrap();
    assert_eq!(drift(&database, flavour).await, <[String; 0]>::default());
}

async fn an_object_that_was_tampered_with_is_named(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    for statement in [
        "create or replace function analytics.hour_number(hour timestamptz) returns integer \
         language sql immutable parallel safe as $$ select 0 $$",
        "drop function analytics.forget_idle_writers()",
        "alter table analytics.settings alter column accepts_from drop not null",
        "alter table analytics.settings drop constraint settings_flavour_check",
        "alter table analytics.sources set unlogged",
        "drop index analytics.events_at",
        "create index on analytics.sources (position)",
        "create or replace view analytics.hourly as \
         select hour, 0::bigint as unique_users, 0::bigint as clicks, 0::bigint as impressions, ''::text collate \"C\" as site from analytics.hour_counts",
        // Tuning is no drift.
        "alter table analytics.hour_users set (autovacuum_vacuum_scale_factor = 0.01)",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let named = drift(&database, flavour).await;
    assert_eq!(
        named,
        [
            "missing constraint analytics.settings.settings_flavour_check",
            "missing function analytics.forget_idle_writers()",
            "missing index analytics.events_at",
            "changed column analytics.settings.accepts_from",
            "changed function analytics.hour_number(hour timestamptz)",
            "changed table analytics.sources",
            "changed view analytics.hourly",
            "added index analytics.sources_position_idx",
        ]
    );
}
