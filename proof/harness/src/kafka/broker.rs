//! A broker of the test's own, as a process.

use std::{
    fs,
    fs::File,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use rdkafka::{admin::AdminClient, client::DefaultClientContext};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::{MOMENT, PATIENCE, blocking, config};
use crate::signal;

/// Somebody else may take a port between the look for a free one and the start of the broker.
const TRIES: usize = 10;

#[derive(Debug)]
pub(super) struct Broker {
    program: Program,
    port: u16,
    /// None while it is killed.
    process: Option<Child>,
}

#[derive(Debug)]
enum Program {
    /// tansu, which keeps all in memory.
    InMemory(PathBuf),
    Apache(Apache),
}

/// What an Apache Kafka is started with.
#[derive(Debug)]
struct Apache {
    /// The folder of the distribution.
    distribution: PathBuf,
    /// Of the controller, which is in the same process.
    controller: u16,
    cluster: String,
    /// Holds its topics.
    folder: TempDir,
}

impl Broker {
    /// As `scripts/prerequisites tests` installs it. None, after a line that says why, if it is not installed.
    pub(super) async fn in_memory() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the harness lies two folders deep");
        let program = root.join(".tools/kafka/bin/tansu");
        if !program.exists() {
            eprintln!("SKIPPED: {} is not installed: scripts/prerequisites tests", program.display());
            return None;
        }
        Some(Self::start(|| Program::InMemory(program.clone())).await)
    }

    /// From the folder of a distribution.
    pub(super) async fn apache(distribution: &Path) -> Self {
        Self::start(|| Program::Apache(Apache::new(distribution))).await
    }

    async fn start(program: impl Fn() -> Program) -> Self {
        for _ in 0..TRIES {
            let mut broker = Self { program: program(), port: free_port(), process: None };
            broker.make_ready().await;
            if broker.runs_again().await {
                return broker;
            }
        }
        panic!("the broker listens on none of {TRIES} ports");
    }

    /// HOST:PORT.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    pub(super) fn is_apache(&self) -> bool {
        matches!(self.program, Program::Apache(_))
    }

    pub(super) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("the broker can be killed");
        }
    }

    /// At the same address, on what it has kept.
    pub(super) async fn start_again(&mut self) {
        self.kill().await;
        let began = Instant::now();
        while !self.runs_again().await {
            assert!(began.elapsed() < PATIENCE, "the broker does not start again on its port");
        }
    }

    /// At the same address, as another cluster without topics.
    pub(super) async fn start_anew(&mut self) {
        self.kill().await;
        if let Program::Apache(apache) = &mut self.program {
            *apache = Apache::new(&apache.distribution);
            self.make_ready().await;
        }
        self.start_again().await;
    }

    pub(super) async fn signal(&mut self, name: &str) -> u32 {
        let pid = self.process.as_ref().and_then(Child::id).expect("the broker runs");
        signal(pid, name).await.expect("the broker gets the signal");
        pid
    }

    /// Before its first start.
    async fn make_ready(&self) {
        if let Program::Apache(apache) = &self.program {
            apache.format(self.port).await;
        }
    }

    /// Whether it serves. If not, something else listens on its port.
    async fn runs_again(&mut self) -> bool {
        let (cluster, mut command) = match &self.program {
            Program::InMemory(program) => in_memory(program, &self.address()),
            Program::Apache(apache) => (apache.cluster.clone(), apache.command()),
        };
        let mut process = command.stdin(Stdio::null()).kill_on_drop(true).spawn().expect("the broker can be run");
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if process.try_wait().expect("it is a child").is_some() {
                return false;
            }
            assert!(began.elapsed() < PATIENCE, "the broker does not listen");
            sleep(MOMENT).await;
        }
        // What listens may be somebody else's broker.
        let serves = cluster_at(self.address()).await.as_ref() == Some(&cluster);
        self.process = serves.then_some(process);
        serves
    }
}

/// A cluster of its own each time.
fn in_memory(program: &Path, address: &str) -> (String, Command) {
    let cluster = format!("test-{:016x}", rand::random::<u64>());
    let url = format!("tcp://{address}");
    let mut command = Command::new(program);
    command
        .args(["broker", "--silent", "--storage-engine", "memory://tansu/", "--cluster-id", &cluster])
        .args(["--listener-url", &url, "--advertised-listener-url", &url])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    (cluster, command)
}

impl Apache {
    fn new(distribution: &Path) -> Self {
        // 16 bytes in Base64, as Kafka wants it.
        let cluster = format!("{:016x}{:05x}A", rand::random::<u64>(), rand::random::<u32>() >> 12);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { distribution: distribution.to_owned(), controller: free_port(), cluster, folder }
    }

    /// Writes its settings, and what says that its data belongs to the cluster.
    async fn format(&self, port: u16) {
        let Self { controller, folder, cluster, .. } = self;
        let (host, data) = (Ipv4Addr::LOCALHOST, folder.path().join("data"));
        // The controller lets a broker that was killed come back once its session is over.
        let settings = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@{host}:{controller}\n\
             listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}\n\
             advertised.listeners=PLAINTEXT://{host}:{port}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             offsets.topic.num.partitions=1\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\n\
             broker.session.timeout.ms=1000\n\
             broker.heartbeat.interval.ms=300\n\
             log.flush.interval.messages=1\n",
            data.display()
        );
        fs::write(self.settings(), settings).expect("the folder is the test's own");
        let mut format = self.java("kafka.tools.StorageTool");
        let status = format.args(["format", "--cluster-id", cluster, "--config"]).arg(self.settings()).status().await;
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        assert!(status.expect("java can be run").success(), "the folder of the broker is not made: {}", log());
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("settings")
    }

    fn command(&self) -> Command {
        let mut command = self.java("kafka.Kafka");
        command.arg(self.settings());
        command
    }

    fn java(&self, class: &str) -> Command {
        let log = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(log).expect("the folder is the test's own");
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(self.distribution.join("libs/*"))
            .arg(class)
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log);
        java
    }
}

/// The broker has to know its port beforehand, because it tells clients where it is.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it listens").port()
}

/// Waits until it answers.
async fn cluster_at(brokers: String) -> Option<String> {
    blocking(move || {
        let client: AdminClient<DefaultClientContext> = config(&brokers).create().expect("the settings are valid");
        // The identifier comes with it. To ask for that alone only waits until somebody asks for the other.
        client.inner().fetch_metadata(None, PATIENCE).ok()?;
        client.inner().fetch_cluster_id(PATIENCE)
    })
    .await
}
