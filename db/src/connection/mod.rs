//! How connections to the database are made, kept and told apart.

mod connector;
mod database_url;
mod lineage;
mod parameters;
mod password;
mod pool;
mod server_certificate;
mod session;
mod tls;

pub use connector::Connected;
pub(crate) use connector::Connector;
pub use database_url::{DatabaseUrlError, check_database_url, unproven_hosts};
pub use password::{has_password, mask_password, mask_passwords_in};
pub(crate) use pool::{COUNT_SOUNDLY, Object, Pool, REFUSE_TO_MISS_CHUNKS, pool_of, prepare_session, take_from};
pub use pool::{PoolUse, StoreOptions};
pub(crate) use session::Session;
