use std::{fmt, str::FromStr};

use thiserror::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// To send events.
    Write,
    /// To get counts.
    Read,
    /// Everything, also the daemon's metrics.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Write, Self::Read, Self::Admin];

    /// As in commands, answers and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a scope; accepted are write, read and admin")]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Admin allows everything.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & (1 << *scope as u8) != 0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, Scopes};

    #[test]
    fn a_scope_allows_itself_and_admin_allows_everything() {
        for scope in Scope::ALL {
            assert!(Scopes::from_iter([scope]).allow(scope));
            assert!(Scopes::from_iter([Scope::Admin]).allow(scope));
            assert!(!Scopes::default().allow(scope));
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert!(!Scopes::from_iter([Scope::Write]).allow(Scope::Read));
        assert!(!Scopes::from_iter([Scope::Write, Scope::Read]).allow(Scope::Admin));
        assert!("Write".parse::<Scope>().is_err());
        let both = Scopes::from_iter([Scope::Read, Scope::Write, Scope::Read]);
        assert_eq!(both.iter().collect::<Vec<_>>(), [Scope::Write, Scope::Read]);
    }
}
