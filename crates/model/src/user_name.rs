use std::fmt;

use crate::InvalidInput;

/// A visitor's name: 1 to 256 bytes of UTF-8 without NUL. Names are compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Box<str>);

impl UserName {
    pub const PARAMETER: &'static str = "user";
    pub const ACCEPTED: &'static str = "a name of 1 to 256 bytes of UTF-8 without NUL";
    /// PostgreSQL's B-tree could hold about ten times as much.
    pub const MAX_BYTES: usize = 256;

    pub fn new(name: impl Into<String>) -> Result<Self, InvalidInput> {
        let name = name.into();
        let fault = if name.is_empty() {
            "is empty".to_owned()
        } else if name.len() > Self::MAX_BYTES {
            format!("has {} bytes", name.len())
        } else if name.contains('\0') {
            "holds a NUL".to_owned()
        } else {
            return Ok(Self(name.into_boxed_str()));
        };
        Err(InvalidInput { parameter: Self::PARAMETER, fault, accepted: Self::ACCEPTED })
    }

    /// Whether it is what a program writes where it has no name.
    pub fn looks_unset(&self) -> bool {
        matches!(self.0.trim(), "" | "undefined" | "null" | "None" | "nil" | "NaN" | "[object Object]")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::UserName;

    #[test]
    fn a_name_that_a_program_writes_for_none_looks_unset() {
        for (name, looks_unset) in
            [(" ", true), ("undefined", true), ("null", true), ("anna", false), ("nullarbor", false)]
        {
            assert_eq!(UserName::new(name).unwrap().looks_unset(), looks_unset, "{name:?}");
        }
    }

    #[test]
    fn length_is_counted_in_bytes_and_nul_is_refused() {
        let fault = |name: &str| UserName::new(name).map_err(|e| e.fault);
        assert!(fault("a").is_ok());
        assert!(fault(&"ü".repeat(128)).is_ok());
        assert_eq!(fault(&"ü".repeat(129)), Err("has 258 bytes".to_owned()));
        assert_eq!(fault(""), Err("is empty".to_owned()));
        assert_eq!(fault("a\0b"), Err("holds a NUL".to_owned()));
    }
}
