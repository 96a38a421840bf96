//! analytics-cli
fn main() {}
