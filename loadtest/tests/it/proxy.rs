//! The documented nginx in front of daemons, with its TLS or without.

use std::{
    collections::HashSet, fs, net::Ipv4Addr, os::unix::fs::MetadataExt, path::Path, process::Stdio, time::Duration,
};

use harness::{Authority, Validity};
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
    /// In front of the daemons of these URLs, without its TLS.
    pub(crate) async fn start(daemons: &[&str]) -> Self {
        Self::start_with(daemons, None).await
    }

    /// With a certificate of this authority.
    pub(crate) async fn start_tls(daemons: &[&str], authority: &Authority) -> Self {
        Self::start_with(daemons, Some(authority)).await
    }

    async fn start_with(daemons: &[&str], authority: Option<&Authority>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The port of a daemon is its own, so an address made of it is too.
        let port: u16 = daemons[0].rsplit(':').next().unwrap().parse().unwrap();
        let [high, low] = port.to_be_bytes();
        let ip = Ipv4Addr::new(127, 99, high, low);
        let address = format!("{ip}:8080");
        if let Some(authority) = authority {
            authority.server(&[&ip.to_string()], Validity::Now).write(dir.path(), "server");
        }
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
        let scheme = if authority.is_some() { "https" } else { "http" };
        let certificate = authority.is_some().then(|| dir.path());
        fs::write(path("site.conf"), site(&address, daemons, certificate)).unwrap();
        // Debian has it where a user's PATH does not look.
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let process = Command::new(program.unwrap_or("nginx"))
            .args(["-p", &path(""), "-c", &path("nginx.conf"), "-e", &path("error.log")])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx can be run: `scripts/prerequisites tests` installs it");
        let proxy = Self { url: format!("{scheme}://{address}"), process, dir, address };
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
        fs::write(self.dir.path().join("site.conf"), site(&self.address, daemons, None)).unwrap();
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

/// What the documentation says, for these daemons, with a certificate in a folder or without TLS.
fn site(address: &str, daemons: &[&str], certificate: Option<&Path>) -> String {
    let one = "server 127.0.0.1:8080;";
    let tls = "listen 443 ssl http2;";
    let folder = "/etc/ssl/counter.example/";
    assert!(CONFIGURATION.contains(one) && CONFIGURATION.contains(tls) && CONFIGURATION.contains(folder));
    let servers: Vec<String> =
        daemons.iter().map(|url| format!("server {};", url.strip_prefix("http://").unwrap())).collect();
    let listen = format!("listen {address}{};", if certificate.is_some() { " ssl http2" } else { "" });
    let mut text = CONFIGURATION.replace(one, &servers.concat()).replace(tls, &listen);
    if let Some(certificate) = certificate {
        let file = |name: &str| certificate.join(name).display().to_string();
        text = text.replace("/etc/ssl/counter.example/fullchain.pem", &file("server.pem"));
        text = text.replace("/etc/ssl/counter.example/key.pem", &file("server.key"));
    }
    let (upstream, servers) = text.split_once("server {\n").expect("the first server sends to the second");
    let (_, second) = servers.split_once("server {\n").expect("there are two");
    let is_left = |line: &&str| {
        let line = line.trim_start();
        (certificate.is_some() || !line.starts_with("ssl_")) && !line.starts_with("listen [::]")
    };
    let lines = upstream.lines().chain(["server {"]).chain(second.lines());
    lines.filter(is_left).collect::<Vec<_>>().join("\n")
}
