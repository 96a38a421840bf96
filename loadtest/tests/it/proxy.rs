//! The documented nginx in front of several daemons, without its TLS, whose certificate the harness does not know.

use std::{
    collections::HashSet, fs, net::Ipv4Addr, os::unix::fs::MetadataExt, path::Path, process::Stdio, time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

const CONFIGURATION: &str = include_str!("../../../packaging/nginx.conf");
const PATIENCE: Duration = Duration::from_mins(1);

/// An nginx that spreads requests over daemons. Ended with the test.
pub(crate) struct Proxy {
    url: String,
    process: Child,
    dir: TempDir,
    address: String,
}

impl Proxy {
    /// In front of the daemons of these URLs.
    pub(crate) async fn start(daemons: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The port of a daemon is its own, so an address made of it is too.
        let port: u16 = daemons[0].rsplit(':').next().unwrap().parse().unwrap();
        let [high, low] = port.to_be_bytes();
        let address = format!("{}:8080", Ipv4Addr::new(127, 99, high, low));
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let user = if fs::metadata("/proc/self").unwrap().uid() == 0 { "user root;" } else { "" };
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};", path(kind)))
            .concat();
        let main = format!(
            "{user} daemon off; worker_processes 1; pid {}; error_log {} error; events {{ worker_connections 1024; }} http {{ {folders} include {}; }}",
            path("pid"),
            path("error.log"),
            path("site.conf")
        );
        fs::write(path("nginx.conf"), main).unwrap();
        fs::write(path("site.conf"), site(&address, daemons)).unwrap();
        // Debian has it where a user's PATH does not look.
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let process = Command::new(program.unwrap_or("nginx"))
            .args(["-p", &path(""), "-c", &path("nginx.conf"), "-e", &path("error.log")])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx can be run: `scripts/prerequisites tests` installs it");
        let proxy = Self { url: format!("http://{address}"), process, dir, address };
        let serves = async {
            while TcpStream::connect(&proxy.address).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, serves).await.expect("nginx serves");
        proxy
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends what comes from now on to these daemons, and returns when everything that was sent to others before is
    /// answered.
    pub(crate) async fn point_at(&self, daemons: &[&str]) {
        fs::write(self.dir.path().join("site.conf"), site(&self.address, daemons)).unwrap();
        let before = self.workers();
        self.signal("HUP").await;
        let replaced = async {
            loop {
                let now = self.workers();
                if !now.is_empty() && now.is_disjoint(&before) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, replaced).await.expect("the workers of before end when they have answered");
    }

    async fn signal(&self, signal: &str) {
        harness::signal(self.process.id().expect("nginx runs"), signal).await.unwrap();
    }

    /// The processes that serve, by number.
    fn workers(&self) -> HashSet<String> {
        let master = self.process.id().expect("nginx runs").to_string();
        let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let is_ours = |number: &String| {
            // The number of the parent is the second field behind the name, which stands in parentheses.
            let status = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            let parent = status.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
            parent == Some(master.as_str())
        };
        numbers.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_ours).collect()
    }

    /// Ends the processes that serve as well, which a kill of the first one would leave behind.
    pub(crate) async fn stop(mut self) {
        self.signal("TERM").await;
        timeout(PATIENCE, self.process.wait()).await.expect("nginx ends").unwrap();
    }
}

/// What the documentation says, for these daemons and without TLS.
fn site(address: &str, daemons: &[&str]) -> String {
    let one = "server 127.0.0.1:8080;";
    let tls = "listen 443 ssl http2;";
    assert!(CONFIGURATION.contains(one) && CONFIGURATION.contains(tls));
    let servers: Vec<String> =
        daemons.iter().map(|url| format!("server {};", url.strip_prefix("http://").unwrap())).collect();
    let plain = CONFIGURATION.replace(one, &servers.concat()).replace(tls, &format!("listen {address};"));
    let is_left = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with("ssl_") && !line.starts_with("listen 80") && !line.starts_with("listen [::]")
    };
    let (upstream, servers) = plain.split_once("server {\n").expect("the first server sends to the second");
    let (_, second) = servers.split_once("server {\n").expect("there are two");
    let lines = upstream.lines().chain(["server {"]).chain(second.lines());
    lines.filter(is_left).collect::<Vec<_>>().join("\n")
}
