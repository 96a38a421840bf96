//! The documented nginx in front of the real daemon, over TLS.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Stdio,
    time::Duration,
};

use chrono::Utc;
use db::Flavour;
use harness::{Daemon, PrintedLog, TestDatabase};
use reqwest::{Certificate, Client, ClientBuilder, Method, StatusCode};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::{Child, Command},
    time::timeout,
};

use crate::support::{counts, stored_events};

const CONFIGURATION: &str = include_str!("../../../packaging/nginx.conf");

/// An nginx with the documented configuration, on an address that no other test uses. Killed with the test.
struct Proxy {
    address: Ipv4Addr,
    client: Client,
    _process: (Child, PrintedLog),
    dir: TempDir,
}

impl Proxy {
    async fn start(upstream: &str) -> Self {
        // The upstream's port is its own, so an address made of it is too.
        let port: u16 = upstream.rsplit(':').next().unwrap().parse().unwrap();
        let [high, low] = port.to_be_bytes();
        let address = Ipv4Addr::new(127, 98, high, low);
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        make_certificate(dir.path(), address).await;
        // Changes exactly the values that the file says to change.
        let mut configuration = CONFIGURATION.to_owned();
        for (stands_there, here) in [
            ("server 127.0.0.1:8080;", format!("server {upstream};")),
            ("listen 80;", format!("listen {address}:8080;")),
            ("listen 443 ssl http2;", format!("listen {address}:8443 ssl http2;")),
            // Its loopback has only one address, and parallel tests would use it too.
            ("listen [::]:80;", String::new()),
            ("listen [::]:443 ssl http2;", String::new()),
            ("server_name counter.example;", format!("server_name {address};")),
            ("/etc/ssl/counter.example/fullchain.pem", path("cert.pem")),
            ("/etc/ssl/counter.example/key.pem", path("key.pem")),
        ] {
            assert!(configuration.contains(stands_there), "{stands_there}");
            configuration = configuration.replace(stands_there, &here);
        }
        fs::write(path("site.conf"), configuration).unwrap();
        let user = if fs::metadata("/proc/self").unwrap().uid() == 0 { "user root;" } else { "" };
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};", path(kind)))
            .concat();
        let main = format!(
            "{user} daemon off; master_process off; pid {}; error_log stderr; events {{}} http {{ {folders} include \
             {}; }}",
            path("pid"),
            path("site.conf")
        );
        fs::write(path("nginx.conf"), main).unwrap();
        // Debian installs it outside of a user's PATH.
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let mut command = Command::new(program.unwrap_or("nginx"));
        command.args(["-p", &path(""), "-c", &path("nginx.conf")]).stdout(Stdio::null()).kill_on_drop(true);
        let process = PrintedLog::spawn(command).expect("nginx can be run: `scripts/prerequisites tests` installs it");
        let client = client(dir.path()).build().unwrap();
        let proxy = Self { address, client, _process: process, dir };
        let serves = async {
            while tokio::net::TcpStream::connect((address, 8443)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_mins(1), serves).await.expect("nginx serves");
        proxy
    }

    async fn in_front_of(daemon: &Daemon) -> Self {
        Self::start(daemon.url().strip_prefix("http://").unwrap()).await
    }

    /// A client at another address of this machine.
    fn client_from(&self, address: Ipv4Addr) -> Client {
        client(self.dir.path()).local_address(IpAddr::from(address)).build().unwrap()
    }

    fn request(&self, method: Method, path_and_query: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("https://{}:8443{path_and_query}", self.address))
    }
}

/// A client that trusts the certificate in a folder, and no other.
fn client(dir: &Path) -> ClientBuilder {
    let certificate = Certificate::from_pem(&fs::read(dir.join("cert.pem")).unwrap()).unwrap();
    Client::builder().tls_certs_only([certificate]).redirect(reqwest::redirect::Policy::none())
}

async fn make_certificate(dir: &Path, address: Ipv4Addr) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=a test", "-addext", &format!("subjectAltName=IP:{address}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .status();
    assert!(made.await.expect("openssl can be run").success());
}

fn event(path: &str, user: &str) -> String {
    format!("{path}?timestamp={}&user={user}&event=click", Utc::now().timestamp_millis())
}

#[tokio::test]
async fn over_tls_the_counts_are_the_same() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--allow-anonymous"]).await;
    let proxy = Proxy::in_front_of(&daemon).await;
    let now = Utc::now();

    let mut stream = proxy.request(Method::GET, "/analytics/stream").send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);

    let posted = proxy.request(Method::POST, &event("/analytics", "anna")).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::NO_CONTENT);
    // The largest batch: nginx accepts as much as the daemon.
    let line = format!("{{\"timestamp\":{},\"user\":\"ben\",\"event\":\"impression\"}}", now.timestamp_millis());
    let batch = format!("{}{line}\n", format!("{line}{}\n", " ".repeat(80_000)).repeat(100));
    let posted = proxy.request(Method::POST, "/analytics/batch").body(batch).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(now).await, counts(2, 1, 101));
    let asked = format!("/analytics?timestamp={}", now.timestamp_millis());
    let counted = proxy.request(Method::GET, &asked).send().await.unwrap().text().await.unwrap();
    assert_eq!(counted, "unique_users,2\nclicks,1\nimpressions,101\n");

    let mut received = String::new();
    while !received.contains("101") {
        let chunk = timeout(Duration::from_mins(1), stream.chunk()).await.expect("nginx does not buffer the stream");
        received.push_str(std::str::from_utf8(&chunk.unwrap().expect("the stream goes on")).unwrap());
    }

    let refused = proxy.request(Method::POST, "/analytics?timestamp=now").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(refused.headers()["content-type"], "application/problem+json", "the daemon's own words");
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_and_not_counted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let proxy = Proxy::in_front_of(&daemon).await;
    let long = "x".repeat(40_000);
    let by_header =
        proxy.request(Method::POST, &event("/analytics", "anna")).header("x-long", &long).send().await.unwrap();
    assert_eq!(by_header.status(), StatusCode::BAD_REQUEST);
    let by_query = proxy.request(Method::POST, &event("/analytics", &long)).send().await.unwrap();
    assert_eq!(by_query.status(), StatusCode::URI_TOO_LONG);
    // nginx may close the connection before all of it is sent.
    let by_body = proxy.request(Method::POST, "/analytics/batch").body("x".repeat(10 << 20)).send().await;
    assert!(by_body.is_err() || by_body.unwrap().status() == StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn plain_http_is_sent_to_https_without_being_counted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let proxy = Proxy::in_front_of(&daemon).await;
    let path = event("/analytics", "anna");
    let plain = proxy.client.post(format!("http://{}:8080{path}", proxy.address)).send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(plain.headers()["location"], format!("https://{}{path}", proxy.address));
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn the_daemon_knows_each_client_by_its_own_address_whatever_its_headers_claim() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let limits = ["--allow-anonymous", "--trusted-proxies", "127.0.0.1", "--rate-limit-per-address", "2/min:2"];
    let daemon = Daemon::start_with(["--database-url", database.url()].into_iter().chain(limits)).await;
    let proxy = Proxy::in_front_of(&daemon).await;
    let statuses_of = async |address: [u8; 4]| {
        let client = proxy.client_from(address.into());
        let mut statuses = Vec::new();
        for forged in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
            let url = format!("https://{}:8443{}", proxy.address, event("/analytics", "anna"));
            let answered = client.post(url).header("x-forwarded-for", forged).send().await.unwrap();
            statuses.push(answered.status().as_u16());
        }
        statuses
    };
    assert_eq!(statuses_of([127, 0, 0, 7]).await, [204, 204, 429], "another forged address is not another client");
    assert_eq!(statuses_of([127, 0, 0, 8]).await, [204, 204, 429], "another client has its own allowance");
}

/// Reads the head of one request.
async fn head(connection: &mut tokio::net::TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

#[tokio::test]
async fn nginx_overwrites_the_address_that_a_client_claims() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(&upstream.local_addr().unwrap().to_string()).await;
    let forged = proxy
        .request(Method::GET, "/healthz")
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-forwarded-for", "203.0.113.8")
        .header("forwarded", "for=203.0.113.9")
        .send();
    let answer = async {
        let (mut connection, _) = upstream.accept().await.unwrap();
        let head = head(&mut connection).await;
        connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        head
    };
    let (head, answered) = tokio::join!(answer, forged);
    assert_eq!(answered.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(!head.contains("203.0.113"), "{head}");
    let forwarded: Vec<&str> = head.lines().filter(|line| line.contains("forwarded")).collect();
    assert_eq!(forwarded, ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: https"], "{head}");
}

#[tokio::test]
async fn a_request_that_may_have_been_counted_is_never_sent_again() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(&upstream.local_addr().unwrap().to_string()).await;
    let received = tokio::spawn(async move {
        let mut received = Vec::new();
        loop {
            let (mut connection, _) = upstream.accept().await.unwrap();
            let line = head(&mut connection).await.lines().next().unwrap_or_default().to_owned();
            // The first connection stays open, so that nginx keeps one that breaks with the next request.
            if line.starts_with("get /healthz") {
                connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                let next = head(&mut connection).await.lines().next().unwrap_or_default().to_owned();
                received.push(next);
            } else if line.starts_with("get /end") {
                return received;
            } else {
                received.push(line);
            }
        }
    });
    for (method, path) in
        [(Method::POST, "/analytics"), (Method::POST, "/analytics/batch"), (Method::GET, "/analytics.gif")]
    {
        for kept in [false, true] {
            if kept {
                let first = proxy.request(Method::GET, "/healthz").send().await.unwrap();
                assert_eq!(first.status(), StatusCode::OK);
            }
            let answered = proxy.request(method.clone(), path).send().await.unwrap();
            assert_eq!(answered.status(), StatusCode::BAD_GATEWAY, "{method} {path}");
        }
    }
    let _ = proxy.request(Method::GET, "/end").send().await;
    let received = received.await.unwrap();
    assert_eq!(received.len(), 6, "one for each that was sent: {received:?}");
}
