//! analyticsd
