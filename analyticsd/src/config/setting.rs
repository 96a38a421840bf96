//! What a setting is.

/// A setting, and how its text becomes a value.
pub(super) struct Setting<T: 'static> {
    /// What is told about it.
    pub(super) about: About,
    /// Reads its text, whatever source that came from.
    pub(super) parse: fn(&str) -> Result<T, Wrong>,
}

/// What is told about a setting, everywhere.
#[derive(Debug)]
pub(super) struct About {
    /// What it belongs to in the help.
    pub(super) topic: Topic,
    /// Its flag without the dashes. With `_` for `-` it is the key in the file.
    pub(super) name: &'static str,
    /// Its variable of the environment.
    pub(super) variable: &'static str,
    /// What stands for its value in the help.
    pub(super) value_name: &'static str,
    /// How it is written.
    pub(super) form: Form,
    /// What applies if no source says anything.
    pub(super) default: Fallback,
    /// For what is meant to hold a secret: what may be shown of it.
    pub(super) mask: Option<fn(&str) -> String>,
    /// What it is for, with its unit and range.
    pub(super) help: &'static str,
}

impl About {
    /// Its key in the file.
    pub(super) fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// What may be shown of its text, on one line. A database URL may have been given for any setting by mistake.
    pub(super) fn shown(&self, text: &str) -> String {
        let shown = self.mask.unwrap_or(db::mask_passwords_in)(text);
        if shown.contains(char::is_control) { format!("{shown:?}") } else { shown }
    }
}

/// What settings belong to, in the order of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Serving,
    Database,
    Access,
    Limits,
    Outages,
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
            Self::Logs => "Logs",
        }
    }
}

/// How a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `--flag VALUE`; a text or an integer in the file.
    Value,
    /// `--flag A,B`; a list of texts in the file, or one text with commas in it as on the command line.
    List,
    /// `--flag` or `--flag=VALUE`, where the flag alone says this; a text in the file.
    ValueOr(&'static str),
    /// `--flag` or `--flag=false`; true or false in the file.
    Switch,
}

/// What applies if no source says anything.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fallback {
    /// This text.
    Text(&'static str),
    /// A text that depends on the machine, and what it is in words.
    Computed(fn() -> String, &'static str),
    /// Nothing, and what that means in words.
    Nothing(&'static str),
}

impl Fallback {
    /// The text that applies.
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
    /// What is wrong, as the end of a sentence that begins with the text.
    pub(super) fault: String,
    /// What would be right.
    pub(super) accepted: String,
}

impl Wrong {
    pub(super) fn new(fault: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { fault: fault.into(), accepted: accepted.into() }
    }
}
