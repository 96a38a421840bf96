use std::{net::Ipv4Addr, path::Path};

use tempfile::TempDir;

use crate::{
    PrivateServer,
    certificates::{Authority, Issued, Validity, write},
    database::server_dir,
};

/// The name of the server in its certificates.
const HOST: &str = "db.test";

/// An address of this machine that no other test has. A port may be everybody's then.
pub fn loopback_address() -> Ipv4Addr {
    let [a, b, c]: [u8; 3] = rand::random();
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}

/// A private server that speaks TLS on an address of its own, and lets nobody in there without.
pub struct TlsServer {
    pub server: PrivateServer,
    pub authority: Authority,
    address: Ipv4Addr,
    /// Files of its clients.
    files: TempDir,
}

impl TlsServer {
    /// With a certificate for `db.test`.
    pub async fn start() -> Self {
        let (address, authority) = (loopback_address(), Authority::new("an authority"));
        let settings = vec![format!("listen_addresses={address}")];
        let server = PrivateServer::start_with(server_dir(), None, settings).await.expect("the server starts");
        let this = Self { server, authority, address, files: tempfile::tempdir().expect("a folder can be made") };
        write(&this.data(), "ca.pem", &this.authority.certificate());
        this.show(&this.authority.server(&[HOST], Validity::Now)).await;
        let client = this.server.client().await;
        for (name, value) in
            [("ssl", "on"), ("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key"), ("ssl_ca_file", "ca.pem")]
        {
            let set = format!("alter system set {name} = '{value}'");
            client.batch_execute(&set).await.expect("the setting is known");
        }
        // The server reads its settings again as well.
        this.server.let_in("local all all trust\nhostssl all all 127.0.0.0/8 trust\n").await;
        while !this.speaks_tls().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        this
    }

    async fn speaks_tls(&self) -> bool {
        let client = self.server.client().await;
        client.query_one("select current_setting('ssl') = 'on'", &[]).await.expect("the server answers").get(0)
    }

    fn data(&self) -> std::path::PathBuf {
        self.server.dir().join("native/data")
    }

    /// Lets the server show another certificate from now on.
    pub async fn show(&self, issued: &Issued) {
        issued.write(&self.data(), "server");
        self.server.client().await.batch_execute("select pg_reload_conf()").await.expect("it reads its files again");
    }

    /// A folder for the files of clients.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// A file with the certificate of an authority.
    pub fn root_file(&self, authority: &Authority) -> String {
        write(self.files(), "roots.pem", &authority.certificate()).display().to_string()
    }

    /// The URL of the server by its address, as the superuser, with parameters as in `sslmode=require`.
    pub fn url(&self, parameters: &str) -> String {
        format!("postgres://analytics@{HOST}/analytics?hostaddr={}&{parameters}", self.address)
    }

    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}
