use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::Place;

const PATIENCE: Duration = Duration::from_secs(10);
/// Of the rules that drop packets.
const PREFERENCE: &str = "10";

/// Machines in network namespaces of their own, and a router between them and this process, which can lose their
/// packets. Needs root. Everything is gone with this process.
pub(crate) struct Network {
    router: Namespace,
    machines: Vec<Namespace>,
    /// The interface that leads to the router from here.
    interface: String,
    base: u32,
}

/// Lives as long as its process.
struct Namespace(Child);

impl Network {
    /// An error says why this machine cannot have one.
    pub(crate) fn start(machines: u8) -> anyhow::Result<Self> {
        // A sixteenth of a small network, in the range that is for tests (RFC 2544).
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + rand::random_range(0..8_192) * 16;
        let interface = format!("an{:x}", base & 0x1_ffff);
        let network = Self {
            router: Namespace::start()?,
            machines: (0..machines).map(|_| Namespace::start()).collect::<anyhow::Result<_>>()?,
            interface,
            base,
        };
        network.connect()?;
        Ok(network)
    }

    fn connect(&self) -> anyhow::Result<()> {
        let (net, router, here) = (format!("{}/28", self.ip(0)), self.ip(1), self.ip(2));
        let Self { interface, .. } = self;
        let router_pid = self.router.0.id();
        run("ip", &format!("link add {interface} type veth peer name out netns {router_pid}"))?;
        run("ip", &format!("addr add {here}/32 dev {interface}"))?;
        run("ip", &format!("link set {interface} up"))?;
        self.router.leads("out", here, router)?;
        run("ip", &format!("route add {router}/32 dev {interface}"))?;
        run("ip", &format!("route add {net} via {router} src {here}"))?;
        self.router.run("sh", &["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])?;
        for (number, machine) in (0..).zip(&self.machines) {
            let (name, pid, at) = (format!("m{number}"), machine.0.id(), self.machine_ip(number));
            self.router.ip(&format!("link add {name} type veth peer name eth0 netns {pid}"))?;
            self.router.leads(&name, at, router)?;
            machine.ip("link set lo up")?;
            machine.leads("eth0", router, at)?;
            machine.ip(&format!("route add default via {router}"))?;
        }
        Ok(())
    }

    fn ip(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::from(self.base + u32::from(number))
    }

    fn machine_ip(&self, number: u8) -> Ipv4Addr {
        self.ip(3 + number)
    }

    /// Where this process is.
    pub(crate) fn here(&self) -> IpAddr {
        self.ip(2).into()
    }

    /// A port of one of the machines.
    pub(crate) fn place(&self, machine: u8, port: u16) -> Place {
        let inside = self.machines[usize::from(machine)].enter();
        Place::inside((self.machine_ip(machine), port).into(), inside)
    }

    /// From now on, packets from one address to another are lost.
    pub(crate) fn lose(&self, from: IpAddr, to: IpAddr) -> anyhow::Result<()> {
        self.router.ip(&format!("rule add pref {PREFERENCE} from {from} to {to} blackhole"))
    }

    /// From now on, of all packets this share is lost.
    pub(crate) fn lose_percent(&self, percent: u32) -> anyhow::Result<()> {
        let rule = format!("numgen random mod 100 < {percent} drop;");
        let rules = format!("table ip loss {{ chain forward {{ type filter hook forward priority 0; {rule} }}; }}");
        self.router.run("nft", &[&rules])
    }

    /// Ends all losses.
    pub(crate) fn heal(&self) {
        while self.router.ip(&format!("rule del pref {PREFERENCE}")).is_ok() {}
        // It is there only if single packets were lost.
        let _ = self.router.run("nft", &["delete table ip loss"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Else it would stay until the last connection in there has ended.
        let _ = run("ip", &format!("link del {}", self.interface));
    }
}

impl Namespace {
    fn start() -> anyhow::Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "setpriv", "--pdeathsig", "KILL", "sleep", "infinity"]);
        let mut namespace =
            Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot run unshare")?);
        let (pid, began) = (namespace.0.id(), Instant::now());
        while fs::read_to_string(format!("/proc/{pid}/comm")).ok().as_deref() != Some("sleep\n") {
            if namespace.0.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                bail!("this process may not make a network namespace");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(namespace)
    }

    fn enter(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.0.id())]
    }

    /// An interface has this address, and leads to the other one.
    fn leads(&self, interface: &str, to: Ipv4Addr, own: Ipv4Addr) -> anyhow::Result<()> {
        self.ip(&format!("addr add {own}/32 dev {interface}"))?;
        self.ip(&format!("link set {interface} up"))?;
        self.ip(&format!("route add {to}/32 dev {interface}"))
    }

    fn ip(&self, arguments: &str) -> anyhow::Result<()> {
        self.run("ip", &arguments.split(' ').collect::<Vec<_>>())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let enter = self.enter();
        let output = Command::new(&enter[0]).args(&enter[1..]).arg(program).args(arguments).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), error.trim());
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &str) -> anyhow::Result<()> {
    let output =
        Command::new(program).args(arguments.split(' ')).output().with_context(|| format!("cannot run {program}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments}: {}", error.trim());
    Ok(())
}
