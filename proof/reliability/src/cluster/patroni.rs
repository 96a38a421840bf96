use std::{
    fmt::Write,
    fs,
    net::IpAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use db::embedded::PostgresBinaries;
use harness::processes::{self, signal};
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::{process::Child, time::sleep};

use super::{
    Network, Owner, Place,
    node::{DATABASE, USER},
};
use crate::options::Options;

const PROGRAMS: [&str; 2] = ["/usr/bin/patroni", "/usr/bin/etcd"];
const MACHINES: u8 = 3;
const POSTGRES_PORT: u16 = 5432;
const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;
const API_PORT: u16 = 8008;
/// To make the cluster anew, or for a member to come back with a new copy.
const PATIENCE: Duration = Duration::from_mins(2);

/// Three machines, each with PostgreSQL, Patroni and etcd as Debian ships them, in synchronous mode.
pub(crate) struct Patroni {
    machines: Vec<Machine>,
    http: Client,
    pub(crate) network: Network,
}

struct Machine {
    name: String,
    etcd: Child,
    /// With PostgreSQL, in a namespace of processes that ends with it.
    patroni: Option<Child>,
    dir: TempDir,
    _etcd_dir: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Leader,
    SyncStandby,
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Member {
    name: String,
    role: Role,
    #[serde(default)]
    state: String,
    #[serde(default)]
    timeline: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Members {
    members: Vec<Member>,
}

impl Patroni {
    pub(crate) fn is_installed() -> bool {
        PROGRAMS.iter().all(|program| Path::new(program).exists())
    }

    /// Returns once all three run, and one of the two others is the synchronous standby.
    pub(crate) async fn start(options: &Options, network: Network) -> anyhow::Result<Self> {
        let http = Client::builder().timeout(Duration::from_secs(5)).build()?;
        let mut cluster = Self { machines: Vec::new(), http, network };
        let owner = Owner::if_root()?.context("namespaces need root")?;
        for number in 0..MACHINES {
            let machine = cluster.machine(number, options, owner)?;
            cluster.machines.push(machine);
        }
        for number in 0..MACHINES {
            cluster.start_machine(number)?;
        }
        cluster.wait_until_whole().await?;
        Ok(cluster)
    }

    /// Its files, and etcd.
    fn machine(&self, number: u8, options: &Options, owner: Owner) -> anyhow::Result<Machine> {
        let programs = match &options.postgres_bin {
            Some(folder) => PostgresBinaries::within(folder),
            None => PostgresBinaries::find(),
        };
        let programs = programs.context("PostgreSQL's server is not installed")?;
        // Else the disk would decide who leads etcd.
        let memory = Path::new("/dev/shm");
        let etcd_dir = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let dir = harness::server_dir();
        let name = name_of(number);
        let config = dir.path().join("patroni.yml");
        fs::write(&config, self.config(number, &name, dir.path(), &programs))?;
        for path in [dir.path(), &config] {
            owner.owns(path)?;
        }
        let etcd = self.etcd(number, &name, etcd_dir.path())?;
        Ok(Machine { name, etcd, patroni: None, dir, _etcd_dir: etcd_dir })
    }

    fn etcd(&self, number: u8, name: &str, dir: &Path) -> anyhow::Result<Child> {
        let peers: Vec<_> = (0..MACHINES)
            .map(|number| format!("{}=http://{}", name_of(number), self.place(number, ETCD_PEER_PORT)))
            .collect();
        let clients = format!("http://{}", self.place(number, ETCD_PORT));
        let peer = format!("http://{}", self.place(number, ETCD_PEER_PORT));
        let mut command = self.place(number, ETCD_PORT).command("etcd", None);
        command.arg("--data-dir").arg(dir).args(["--name", name, "--log-level", "error", "--logger", "zap"]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &peers.join(","), "--initial-cluster-state", "new"]);
        command.args(["--heartbeat-interval", "250", "--election-timeout", "2500", "--enable-v2"]);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// The shortest times that Patroni takes. Over etcd's third interface, Debian's Patroni 3.0.2 goes on as the leader
    /// after a pause in which another one was elected.
    fn config(&self, number: u8, name: &str, dir: &Path, programs: &PostgresBinaries) -> String {
        let own = |port| self.place(number, port);
        let (folder, postgres, api) = (dir.display(), own(POSTGRES_PORT), own(API_PORT));
        let bin = programs.path("");
        let etcd: Vec<_> = (0..MACHINES).map(|number| self.place(number, ETCD_PORT).to_string()).collect();
        let timescale = if programs.has_timescale() {
            ", shared_preload_libraries: timescaledb, timescaledb.telemetry_level: 'off'"
        } else {
            ""
        };
        format!(
            "scope: analytics\nname: {name}\nlog: {{level: INFO}}\nrestapi: {{listen: '{api}', connect_address: '{api}'}}\n\
             etcd: {{hosts: [{}]}}\n\
             bootstrap:\n  dcs:\n    ttl: 20\n    loop_wait: 2\n    retry_timeout: 3\n    synchronous_mode: true\n    \
             postgresql:\n      use_pg_rewind: true\n      parameters: {{shared_buffers: 32MB, max_connections: 100, \
             max_wal_size: 256MB, wal_keep_size: 256MB, dynamic_shared_memory_type: mmap, timezone: UTC, log_timezone: UTC{timescale}}}\n  \
             initdb: [{{encoding: UTF8}}, {{locale: C}}, data-checksums]\n\
             postgresql:\n  listen: '{postgres}'\n  connect_address: '{postgres}'\n  data_dir: {folder}/data\n  \
             bin_dir: {}\n  pgpass: {folder}/pgpass\n  \
             pg_hba: [local all all trust, host all all all trust, host replication all all trust]\n  \
             parameters: {{unix_socket_directories: '{folder}'}}\n  \
             authentication:\n    superuser: {{username: {USER}}}\n    replication: {{username: replicator}}\n    \
             rewind: {{username: {USER}}}\nwatchdog: {{mode: 'off'}}\n",
            etcd.join(", "),
            bin.display(),
        )
    }

    /// Starts Patroni on a machine, which starts PostgreSQL.
    pub(crate) fn start_machine(&mut self, number: u8) -> anyhow::Result<()> {
        let owner = Owner::if_root()?.context("namespaces need root")?;
        let machine = &self.machines[usize::from(number)];
        let log = fs::File::options().create(true).append(true).open(machine.dir.path().join("log"))?;
        let mut command = self.place(number, POSTGRES_PORT).command("unshare", None);
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "setpriv", "--pdeathsig", "KILL"]);
        // Patroni is not the first process of its namespace, so that a signal can stop it alone.
        command.args(owner.arguments()).args(["sh", "-c", "\"$@\" & wait", "sh", PROGRAMS[0]]);
        command.arg(machine.dir.path().join("patroni.yml")).current_dir(machine.dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.machines[usize::from(number)].patroni = Some(command.spawn()?);
        Ok(())
    }

    fn place(&self, machine: u8, port: u16) -> Place {
        self.network.place(machine, port)
    }

    pub(crate) fn ip(&self, machine: u8) -> IpAddr {
        self.place(machine, 0).ip()
    }

    /// As a user would write it.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = (0..MACHINES).map(|number| self.place(number, POSTGRES_PORT).to_string()).collect();
        format!("postgres://{USER}@{}/{DATABASE}?target_session_attrs=read-write&connect_timeout=3", hosts.join(","))
    }

    /// Of the database that is there first.
    pub(crate) fn maintenance_url(&self) -> String {
        self.url().replacen(&format!("/{DATABASE}?"), "/postgres?", 1)
    }

    /// Waits until there are a leader, a synchronous standby and another one, all on one timeline, and returns the
    /// leader. All machines have to agree: one that was cut off may still see what was.
    pub(crate) async fn wait_until_whole(&self) -> anyhow::Result<u8> {
        let began = Instant::now();
        loop {
            let mut leaders = Vec::new();
            for number in 0..MACHINES {
                let members = self.members([number].into_iter()).await;
                leaders.push(members.ok().and_then(|members| leader_of_whole(&members)));
            }
            if let Some(leader) = leaders[0]
                && leaders.iter().all(|other| *other == Some(leader))
            {
                return Ok(leader);
            }
            if began.elapsed() > PATIENCE {
                bail!("the cluster is not whole after {PATIENCE:?}; leaders: {leaders:?}\n{}", self.logs());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the other machines have a leader of their own.
    pub(crate) async fn wait_for_other_leader(&self, than: u8) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let members = self.members(Self::others(than)).await;
            let is_other = |member: &Member| member.role == Role::Leader && member.name != name_of(than);
            if members.as_ref().is_ok_and(|members| members.iter().any(is_other)) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "there is no other leader: {members:?}\n{}", self.logs());
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// As the first of these machines that answers knows them.
    async fn members(&self, machines: impl Iterator<Item = u8>) -> anyhow::Result<Vec<Member>> {
        let mut last = None;
        for number in machines {
            match self.http.get(format!("http://{}/cluster", self.place(number, API_PORT))).send().await {
                Ok(answer) => return Ok(answer.json::<Members>().await?.members),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("there is no machine")?.into())
    }

    /// The leader gives its place to the synchronous standby.
    pub(crate) async fn switch_over(&self, leader: u8) -> anyhow::Result<()> {
        let asked = json!({"leader": name_of(leader)});
        let answer = self.http.post(format!("http://{}/switchover", self.place(leader, API_PORT))).json(&asked);
        let answer = answer.timeout(PATIENCE).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "the switchover got {status}: {}", answer.text().await?);
        Ok(())
    }

    /// `kill -9` of everything on a machine but etcd.
    pub(crate) async fn kill(&mut self, number: u8) -> anyhow::Result<()> {
        let patroni = self.machines[usize::from(number)].patroni.take();
        let mut patroni = patroni.context("Patroni does not run")?;
        let first = processes::children_of(patroni.id().context("Patroni has ended by itself")?);
        patroni.kill().await?;
        // The first process of the namespace ends after all the others.
        processes::ended(&first).await
    }

    /// Stops Patroni where it is, while its PostgreSQL goes on; `CONT` lets it go on.
    pub(crate) async fn signal_patroni(&self, number: u8, name: &str) -> anyhow::Result<()> {
        let patroni = self.machines[usize::from(number)].patroni.as_ref().and_then(Child::id);
        let first = processes::children_of(patroni.context("Patroni does not run")?);
        let patroni = first.iter().flat_map(|&pid| processes::children_of(pid)).find(|&pid| is_patroni(pid));
        signal(patroni.context("Patroni has ended by itself")?, name).await
    }

    pub(crate) async fn signal_etcd(&self, number: u8, name: &str) -> anyhow::Result<()> {
        signal(self.machines[usize::from(number)].etcd.id().context("etcd has ended by itself")?, name).await
    }

    /// The other machines.
    pub(crate) fn others(of: u8) -> impl Iterator<Item = u8> {
        (0..MACHINES).filter(move |&number| number != of)
    }

    /// Their last lines.
    fn logs(&self) -> String {
        let mut text = String::new();
        for machine in &self.machines {
            let log = fs::read_to_string(machine.dir.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}:\n{last}", machine.name);
        }
        text
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        for machine in &mut self.machines {
            for process in machine.patroni.iter_mut().chain([&mut machine.etcd]) {
                let _ = process.start_kill();
                for _ in 0..100 {
                    if !matches!(process.try_wait(), Ok(None)) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

fn name_of(number: u8) -> String {
    format!("machine{number}")
}

fn leader_of_whole(members: &[Member]) -> Option<u8> {
    let runs = |member: &Member| member.state == "running" || member.state == "streaming";
    let one_timeline = members.iter().all(|member| member.timeline.is_some() && member.timeline == members[0].timeline);
    let is_whole = members.len() == usize::from(MACHINES)
        && members.iter().all(runs)
        && one_timeline
        && members.iter().any(|member| member.role == Role::SyncStandby);
    let leader = members.iter().find(|member| member.role == Role::Leader).filter(|_| is_whole)?;
    (0..MACHINES).find(|&number| name_of(number) == leader.name)
}

fn is_patroni(pid: u32) -> bool {
    let command: Vec<u8> = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("patroni")
}
