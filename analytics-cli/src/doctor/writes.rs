//! Whether a setting keeps daemons from storing anything.

use db::{Examination, ReadOnlyLogins, StoreError};

use super::finding::Finding;

pub(super) const WRITES: &str = "writes";
const SETTING: &str = "default_transaction_read_only is on";

/// `failed` judges a query that failed.
pub(super) async fn look(examination: &Examination, failed: impl Fn(&'static str, &StoreError) -> Finding) -> Finding {
    examination.read_only_logins().await.map_or_else(|error| failed(WRITES, &error), |logins| judge(&logins))
}

fn judge(ReadOnlyLogins { everybody, daemons }: &ReadOnlyLogins) -> Finding {
    if *everybody {
        let advice = "set default_transaction_read_only = off: in postgresql.conf, or with `alter database … set` and `alter role … set`";
        return Finding::problem(WRITES, format!("{SETTING} for every login, so that daemons store nothing"), advice);
    }
    if daemons.is_empty() {
        return Finding::ok(WRITES, "no setting makes transactions read-only");
    }
    let seen = format!("{SETTING} for {}, so that a daemon with this login stores nothing", daemons.join(", "));
    Finding::problem(WRITES, seen, "run `alter role … reset default_transaction_read_only` for it")
}

#[cfg(test)]
mod tests {
    use db::ReadOnlyLogins;

    use super::judge;
    use crate::doctor::finding::Health;

    #[test]
    fn what_keeps_a_daemon_from_storing_is_a_problem() {
        for (everybody, daemons, health, told) in [
            (false, vec![], Health::Ok, "no setting"),
            (true, vec![], Health::Problem, "every login"),
            (false, vec!["counter".to_owned()], Health::Problem, "on for counter,"),
        ] {
            let finding = judge(&ReadOnlyLogins { everybody, daemons });
            assert_eq!(finding.health, health);
            assert!(finding.seen.contains(told), "{}", finding.seen);
        }
    }
}
