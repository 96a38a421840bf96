//! analyticsd
fn main() {}
