//! The server itself: its version, the encoding of the database, and whether a commit survives.

use db::{Platform, Service};

use super::finding::Finding;

pub(super) const POSTGRESQL: &str = "postgresql";
pub(super) const ENCODING: &str = "encoding";
pub(super) const DURABILITY: &str = "durability";
/// The oldest version of PostgreSQL that is tested.
const OLDEST_TESTED_POSTGRESQL: u32 = 15;

pub(super) fn judge_version(Platform { version, major_version, service, .. }: &Platform) -> Finding {
    let seen = service.map_or_else(|| version.clone(), |service| format!("{version}, run by {service}"));
    if *major_version >= OLDEST_TESTED_POSTGRESQL {
        return Finding::ok(POSTGRESQL, seen);
    }
    let advice = format!("it is tested from version {OLDEST_TESTED_POSTGRESQL} on: upgrade it");
    Finding::warning(POSTGRESQL, seen, advice)
}

pub(super) fn judge_encoding(Platform { encoding, .. }: &Platform) -> Finding {
    if encoding == "UTF8" {
        return Finding::ok(ENCODING, encoding);
    }
    let seen = format!("{encoding}, in which not every user's name can be stored");
    Finding::problem(ENCODING, seen, "make the database anew with `create database … encoding 'UTF8'`")
}

pub(super) fn judge_durability(platform: &Platform) -> Finding {
    let word = |is_on| if is_on { "on" } else { "off" };
    let Platform { is_webassembly, fsync, full_page_writes, synchronous_commit, damaged_pages, service, .. } = platform;
    let (fsync_word, pages_word) = (word(*fsync), word(*full_page_writes));
    let seen = format!("fsync {fsync_word}, full_page_writes {pages_word}, synchronous_commit {synchronous_commit}");
    if *is_webassembly {
        let seen = "it runs in WebAssembly and never syncs: what is committed may be lost when the machine stops";
        return Finding::warning(
            DURABILITY,
            seen,
            "use it for trials only, and a PostgreSQL server where events matter",
        );
    }
    if *damaged_pages > 0 {
        let seen = format!(
            "{damaged_pages} reads met a page whose checksum is wrong, so its disk damaged what it held; the server's log names the pages"
        );
        let advice =
            "run `analytics-cli verify`, replace the disk and restore a backup; `select pg_stat_reset()` ends this";
        return Finding::problem(DURABILITY, seen, advice);
    }
    // Its storage keeps what is committed; the disk of the server holds no data (docs/operate/databases.md).
    let is_synced_elsewhere = *service == Some(Service::Neon);
    if !fsync && !is_synced_elsewhere {
        let seen = format!("{seen}: what is committed may be lost when the machine stops");
        let advice = "set fsync = on in postgresql.conf and reload it";
        return Finding::problem(DURABILITY, seen, advice);
    }
    if !full_page_writes && !is_synced_elsewhere {
        let seen = format!("{seen}: a page that was half written when the machine stopped cannot be mended");
        let advice = "set full_page_writes = on, unless the file system never writes half a page, as ZFS does not";
        return Finding::warning(DURABILITY, seen, advice);
    }
    if matches!(synchronous_commit.as_str(), "off" | "local") {
        let seen = format!("{seen}: analyticsd commits durably all the same, other programs do not");
        return Finding::warning(DURABILITY, seen, "set synchronous_commit = on in postgresql.conf and reload it");
    }
    Finding::ok(DURABILITY, seen)
}

#[cfg(test)]
mod tests {
    use db::{Platform, Service};

    use super::{judge_durability, judge_encoding, judge_version};
    use crate::doctor::finding::Health;

    fn platform() -> Platform {
        Platform {
            version: "17.2".to_owned(),
            major_version: 17,
            is_webassembly: false,
            encoding: "UTF8".to_owned(),
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".to_owned(),
            damaged_pages: 0,
            service: None,
        }
    }

    #[test]
    fn only_what_can_lose_a_commit_is_a_problem() {
        for (platform, health) in [
            (platform(), Health::Ok),
            (Platform { is_webassembly: true, ..platform() }, Health::Warning),
            (Platform { fsync: false, ..platform() }, Health::Problem),
            (Platform { fsync: false, service: Some(Service::Rds), ..platform() }, Health::Problem),
            (Platform { fsync: false, service: Some(Service::Neon), ..platform() }, Health::Ok),
            (Platform { full_page_writes: false, ..platform() }, Health::Warning),
            (Platform { damaged_pages: 1, ..platform() }, Health::Problem),
            (Platform { synchronous_commit: "off".to_owned(), ..platform() }, Health::Warning),
            (Platform { synchronous_commit: "local".to_owned(), ..platform() }, Health::Warning),
            (Platform { synchronous_commit: "remote_apply".to_owned(), ..platform() }, Health::Ok),
        ] {
            assert_eq!(judge_durability(&platform).health, health, "{platform:?}");
        }
    }

    #[test]
    fn old_versions_and_other_encodings_are_told() {
        assert_eq!(judge_version(&platform()).health, Health::Ok);
        assert_eq!(judge_version(&Platform { major_version: 14, ..platform() }).health, Health::Warning);
        let managed = judge_version(&Platform { service: Some(Service::Rds), ..platform() });
        assert_eq!((managed.health, managed.seen.as_str()), (Health::Ok, "17.2, run by Amazon RDS"));
        assert_eq!(judge_encoding(&platform()).health, Health::Ok);
        let ascii = judge_encoding(&Platform { encoding: "SQL_ASCII".to_owned(), ..platform() });
        assert_eq!(ascii.health, Health::Problem);
    }
}
