//! The file of settings: TOML, one line for each setting, without tables but those of the shards.

use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt, path::Path};

use toml::de::{DeTable, DeValue};

use super::{
    definition::{About, Form, Wrong},
    fault::Fault,
    given::{Given, Source},
    nearest::nearest,
    settings::{self, Entry},
    values,
};

/// Reads the settings of a file.
pub(super) fn read(path: &Path, named_by: &Source, faults: &mut Vec<Fault>) -> Vec<Given> {
    match fs::read_to_string(path) {
        Ok(text) => settings(path, &text, faults),
        Err(error) => {
            let fault = format!("cannot be read: {error}");
            let shown = Some(path.display().to_string());
            faults.push(Fault::new(named_by.clone(), shown, Wrong::new(fault, "a TOML file of settings")));
            Vec::new()
        }
    }
}

fn settings(path: &Path, text: &str, faults: &mut Vec<Fault>) -> Vec<Given> {
    let line_of = |offset: usize| text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count() + 1;
    // A quoted key may contain any character, and a fault must be one line.
    let source = |offset, key: &str| Source::File {
        path: path.to_owned(),
        line: line_of(offset),
        key: key.escape_debug().to_string(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    let syntax = errors.iter().map(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let fault = format!("is not TOML: {}", error.message().replace('\n', ", "));
        let accepted = "lines like max_connections = 10000 and listen = \"127.0.0.1:8080\"";
        (offset, Fault::new(source(offset, ""), None, Wrong::new(fault, accepted)))
    });
    let mut wrong: Vec<(usize, Fault)> = syntax.collect();
    let broken_lines: HashSet<usize> = wrong.iter().map(|(offset, _)| line_of(*offset)).collect();
    let mut given = Vec::new();
    for (key, value) in table.get_ref() {
        let offset = key.span().start;
        // Other faults of a line with a syntax error may only follow from it.
        if broken_lines.contains(&line_of(offset)) {
            continue;
        }
        let source = source(offset, key.get_ref());
        match known(key.get_ref()) {
            Ok(entry) => {
                let (text, wrong) = match raw(entry.about, value.get_ref()) {
                    Ok(text) => (text, None),
                    // As in the file.
                    Err(wrong) => (text.get(value.span()).unwrap_or_default().to_owned(), Some(wrong)),
                };
                given.push(Given { entry, text, source, wrong });
            }
            Err(fault) => wrong.push((offset, Fault::new(source, None, fault))),
        }
    }
    faults.extend(wrong.into_iter().map(|(_, fault)| fault));
    given
}

fn known(key: &str) -> Result<&'static Entry, Wrong> {
    settings::ALL.iter().find(|entry| entry.about.key() == key).ok_or_else(|| {
        let keys = settings::ALL.iter().map(|entry| entry.about.key());
        let accepted = match nearest(key, keys.clone()) {
            Some(near) => format!("{near}, if that is meant"),
            None => keys.collect::<Vec<_>>().join(", "),
        };
        Wrong::new("is no setting", accepted)
    })
}

/// The text of a value, as on the command line.
fn raw(about: &About, value: &DeValue<'_>) -> Result<String, Wrong> {
    let accepted = match about.form {
        Form::Value => "a text in quotes, or a whole number where one is meant",
        Form::List => "a list of texts in quotes, none of which holds a comma",
        Form::Shards => "tables [[shards]], each with url = \"URL\" or url_file = \"FILE\"",
        Form::ValueOr(_) => "a text in quotes",
        Form::Switch => "true or false",
    };
    match (about.form, value) {
        (Form::Value | Form::List | Form::ValueOr(_), DeValue::String(text)) => Ok(text.to_string()),
        (Form::Value, DeValue::Integer(integer)) if integer.radix() == 10 => Ok(integer.as_str().to_owned()),
        (Form::List, DeValue::Array(items)) => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) if !text.contains(',') => Ok(text.as_ref()),
                DeValue::String(_) => Err(Wrong::new("has a text with a comma in it", accepted)),
                other => Err(Wrong::new(format!("is a list with {} in it", kind(other)), accepted)),
            });
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        (Form::Shards, DeValue::Array(items)) => {
            let urls = items.iter().map(|item| match item.get_ref() {
                DeValue::Table(table) => shard_url(table, accepted),
                other => Err(Wrong::new(format!("is a list with {} in it", kind(other)), accepted)),
            });
            Ok(urls.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        (Form::Switch, DeValue::Boolean(is_on)) => Ok(is_on.to_string()),
        (Form::Value | Form::List | Form::ValueOr(_) | Form::Switch, DeValue::Table(_)) => {
            Err(Wrong::new("is a table", format!("{accepted}; there are no tables")))
        }
        (_, other) => Err(Wrong::new(format!("is {}", kind(other)), accepted)),
    }
}

/// The URL of a table of `[[shards]]`.
fn shard_url(table: &DeTable<'_>, accepted: &str) -> Result<String, Wrong> {
    let mut entries = table.iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return Err(Wrong::new("has a table without one key", accepted));
    };
    match (key.get_ref().as_ref(), value.get_ref()) {
        ("url", DeValue::String(url)) => Ok(url.to_string()),
        ("url_file", DeValue::String(file)) => values::database_url_file(file),
        _ => Err(Wrong::new("has a table with another key, or one that is no text", accepted)),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(integer) if integer.radix() == 10 => "a whole number",
        DeValue::Integer(_) => "a number that is not decimal",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A warning if a file contains a password and every user of this machine can read it.
pub(super) fn exposed(path: &Path, given: &[Given]) -> Option<String> {
    let holds_secret =
        given.iter().any(|given| given.entry.about.mask.is_some_and(|mask| mask(&given.text) != given.text));
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (holds_secret && mode & 0o007 != 0).then(|| {
        let path = path.display();
        format!(
            "{path} contains a password, and every user of this machine can read it (mode {mode:03o}); run `chmod o= \
             {path}`, or put the URL into a file of its own and set database_url_file to that file"
        )
    })
}
