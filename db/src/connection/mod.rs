//! How connections to the database are made, kept and told apart.

mod connector;
mod database_url;
mod hosts;
mod lineage;
mod options;
mod parameters;
mod password;
mod pool;
mod preparation;
mod server_certificate;
mod session;
mod tls;

pub use connector::Connected;
pub(crate) use connector::Connector;
pub(crate) use database_url::database_name;
pub use database_url::{DatabaseUrlError, check_database_url, unproven_hosts};
pub use options::StoreOptions;
pub use password::{has_password, mask_password, mask_passwords_in};
pub use pool::PoolUse;
pub(crate) use pool::{Object, Pool, pool_of, take_from};
pub(crate) use preparation::{
    COUNT_SOUNDLY, REFUSE_TO_MISS_CHUNKS, Scope, pin_settings, prepare_session, search_the_extension,
};
pub(crate) use session::Session;
