use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where distributions put the server's binaries: a folder for each version. Debian and Ubuntu keep them off the `PATH`.
const VERSIONED: [&str; 3] = ["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt"];
/// Where others put them: Red Hat's packages, Alpine, and those who build it themselves.
const PLAIN: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin", "/usr/libexec/postgresql"];

/// The folder that holds `postgres` and `initdb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresBinaries {
    folder: PathBuf,
}

impl PostgresBinaries {
    /// The binaries in a folder, if both are there. A folder of links stands for where they lead: the other programs of the server lie there.
    pub fn within(folder: &Path) -> Option<Self> {
        let folder = folder.join("postgres").canonicalize().ok()?.parent()?.to_owned();
        ["postgres", "initdb"].iter().all(|name| folder.join(name).is_file()).then_some(Self { folder })
    }

    /// Looks on the `PATH`, where `pg_config` points, and where distributions put them; of several versions the newest.
    pub fn find() -> Option<Self> {
        installed().next()
    }

    /// Looks in the same places for a major version, as a data folder has it in its `PG_VERSION`. A server refuses the data of any other.
    pub fn find_major(major: &str) -> Option<Self> {
        installed().find(|binaries| binaries.is_major(major))
    }

    fn is_major(&self, major: &str) -> bool {
        self.version().as_deref().and_then(major_of) == Some(major)
    }

    /// The path of one of the binaries.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The first line that `postgres --version` prints.
    pub fn version(&self) -> Option<String> {
        let output = Command::new(self.path("postgres")).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Whether the TimescaleDB extension is installed beside these binaries.
    pub fn has_timescale(&self) -> bool {
        let Ok(output) = Command::new(self.path("pg_config")).arg("--sharedir").output() else { return false };
        let share = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Path::new(&share).join("extension/timescaledb.control").is_file()
    }
}

/// The servers on this machine, the one to use for new data first.
fn installed() -> impl Iterator<Item = PostgresBinaries> {
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    on_path
        .into_iter()
        .chain(pg_config_bindir())
        .chain(VERSIONED.iter().flat_map(|folder| versions_in(Path::new(folder))))
        .chain(PLAIN.iter().map(PathBuf::from))
        .filter_map(|folder| PostgresBinaries::within(&folder))
}

/// The major version in what `postgres --version` prints, such as `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`; `18` in `18beta1`.
fn major_of(printed: &str) -> Option<&str> {
    let (_, version) = printed.split_once("(PostgreSQL) ")?;
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    Some(&version[..end])
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The `bin` folders below `/…/postgresql/15`, `/…/postgresql@17` and the like, the highest version first.
fn versions_in(folder: &Path) -> Vec<PathBuf> {
    let number = |path: &Path| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("postgresql@").unwrap_or(name).parse().ok()
    };
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((number(&entry.path())?, entry.path().join("bin"))))
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_prints() {
        for (printed, expected) in [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", Some("15")),
            ("postgres (PostgreSQL) 17.0", Some("17")),
            ("postgres (PostgreSQL) 18beta1", Some("18")),
            ("postgres (PostgreSQL) 16", Some("16")),
            ("postgres (EnterpriseDB) 16.1", None),
        ] {
            assert_eq!(major_of(printed), expected, "{printed}");
        }
    }

    #[test]
    fn the_server_that_is_found_has_the_version_that_was_asked_for() {
        let newest = PostgresBinaries::find().expect("PostgreSQL is installed");
        let version = newest.version().unwrap();
        assert_eq!(PostgresBinaries::find_major(major_of(&version).unwrap()), Some(newest));
        assert_eq!(PostgresBinaries::find_major("9"), None);
    }
}
