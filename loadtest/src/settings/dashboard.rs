use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
pub(super) struct DashboardArgs {
    /// Show the run while it lasts on a web page of goose, and print its link: for this machine, on a free port, or
    /// where this says.
    ///
    /// A page that others can reach needs the token that its link has.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:0", value_parser = address)]
    pub(super) dashboard: Option<SocketAddr>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "accepted is IP-ADDRESS:PORT, such as 127.0.0.1:8090 or [::1]:8090, and 0 as the port for a free one".to_owned()
    })
}
