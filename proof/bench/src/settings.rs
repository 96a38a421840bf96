//! The settings of PostgreSQL that the documentation recommends.

const RECOMMENDED: &str = include_str!("../../../packaging/postgresql.conf");

/// Each as `NAME=VALUE`.
pub(crate) fn recommended() -> Vec<String> {
    lines(RECOMMENDED).collect()
}

fn lines(file: &str) -> impl Iterator<Item = String> {
    file.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let (name, value) = line.split_once('=')?;
        Some(format!("{}={}", name.trim(), value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::{RECOMMENDED, lines, recommended};

    #[test]
    fn comments_are_no_settings() {
        let file = "# a = b\n\nmax_wal_size = 8GB # of disk\njit=off\n";
        assert_eq!(lines(file).collect::<Vec<_>>(), ["max_wal_size=8GB", "jit=off"]);
    }

    #[test]
    fn the_page_has_every_line_of_the_file() {
        let page = include_str!("../../../docs/operate/postgresql-conf.md");
        for line in RECOMMENDED.lines().filter(|line| !line.starts_with('#')) {
            assert!(page.contains(&format!("`{line}`")), "the page lacks {line}");
        }
        assert!(!recommended().is_empty());
    }
}
