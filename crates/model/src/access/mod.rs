//! Access tokens, what they allow, and the origins of web pages.

mod origin;
mod scope;
mod token;

pub use origin::{InvalidOrigin, Origin};
pub use scope::{Scope, Scopes, UnknownScope};
pub use token::{Credential, Digest, InvalidTokenName, IssuedToken, TokenName};
