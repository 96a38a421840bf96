//! The type of a setting.

/// A setting, and the parser of its text.
pub(super) struct Setting<T: 'static> {
    /// Its description.
    pub(super) about: About,
    /// Parses its text, whatever its source is.
    pub(super) parse: fn(&str) -> Result<T, Wrong>,
}

/// The description of a setting, used everywhere.
#[derive(Debug)]
pub(super) struct About {
    /// Its group in the help.
    pub(super) topic: Topic,
    /// Its flag without the dashes. With `_` instead of `-` it is the key in the file.
    pub(super) name: &'static str,
    /// Its variable of the environment.
    pub(super) variable: &'static str,
    /// The placeholder of its value in the help.
    pub(super) value_name: &'static str,
    /// The form of its value.
    pub(super) form: Form,
    /// The value if no source sets it.
    pub(super) default: Fallback,
    /// For secrets: masks the text.
    pub(super) mask: Option<fn(&str) -> String>,
    /// Its purpose, with unit and range.
    pub(super) help: &'static str,
}

impl About {
    /// Its key in the file.
    pub(super) fn key(&self) -> String {
        self.name.replace('-', "_") + if self.form == Form::Shards { "s" } else { "" }
    }

    /// Its text on one line, with passwords masked. A database URL may have been given for any setting by mistake.
    pub(super) fn shown(&self, text: &str) -> String {
        let shown = self.mask.unwrap_or(db::mask_passwords_in)(text);
        if shown.contains(char::is_control) { format!("{shown:?}") } else { shown }
    }
}

/// The groups of settings, in the order of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Serving,
    Database,
    Access,
    Limits,
    Outages,
    Kafka,
    Logs,
}

impl Topic {
    /// Its heading in the help.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Serving => "Serving",
            Self::Database => "Database",
            Self::Access => "Access",
            Self::Limits => "Limits",
            Self::Outages => "Outages",
            Self::Kafka => "A topic of Kafka",
            Self::Logs => "Logs",
        }
    }
}

/// The form of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `--flag VALUE`; a text or an integer in the file.
    Value,
    /// `--flag A,B`; a list of texts in the file, or one text with commas in it as on the command line.
    List,
    /// `--flag URL`, once for each shard; `[[shards]]` tables with `url` or `url_file` in the file. Their texts stand in lines.
    Shards,
    /// `--flag` or `--flag=VALUE`, where the flag alone means this text; a text in the file.
    ValueOr(&'static str),
    /// `--flag` or `--flag=false`; true or false in the file.
    Switch,
}

/// The value if no source sets it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fallback {
    /// This text.
    Text(&'static str),
    /// A text that depends on the machine, and its description.
    Computed(fn() -> String, &'static str),
    /// No value, and the description of what that means.
    Nothing(&'static str),
}

impl Fallback {
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some((*text).to_owned()),
            Self::Computed(text, _) => Some(text()),
            Self::Nothing(_) => None,
        }
    }
}

/// Why a text is not a setting's value. It never repeats the text, which may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The fault, as the end of a sentence that begins with the text.
    pub(super) fault: String,
    /// The accepted values.
    pub(super) accepted: String,
}

impl Wrong {
    pub(super) fn new(fault: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { fault: fault.into(), accepted: accepted.into() }
    }

    /// Where a word is accepted too.
    pub(super) fn or(self, word: &str) -> Self {
        Self { accepted: format!("{}, or {word}", self.accepted), ..self }
    }
}
