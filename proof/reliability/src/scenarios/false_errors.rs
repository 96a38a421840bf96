//! False errors from between daemon and database, like those of a pooler that lost its server.

use std::time::Duration;

use rand::{rngs::StdRng, seq::IndexedRandom};

use super::faulty_commits;
use crate::{
    options::Options,
    proxy::{ErrorPlace, FalseError, Fault},
    report::Report,
};

/// Codes of every class that a server or a pooler could send, see PostgreSQL's appendix A, and one of no class. Not
/// among them are the schema's own codes, and those that prove to `db` that nothing was committed.
const CODES: &[&str] = &[
    "03000", "08000", "08003", "08006", "08P01", "0A000", "21000", "22000", "22003", "22P05", "23505", "23514",
    "25000", "25001", "25P02", "25P03", "26000", "28000", "28P01", "34000", "3D000", "40001", "40002", "40003",
    "40P01", "42601", "42P01", "42P05", "53000", "53200", "53300", "53400", "54000", "55000", "55006", "55P03",
    "57000", "57014", "57P01", "57P02", "57P03", "57P05", "58000", "58030", "58P01", "F0000", "HV000", "P0001",
    "XX000", "XX001", "XX002", "ZZ999",
];
/// Every place and severity of an error, with the connection kept open or closed.
const SHAPES: [(ErrorPlace, &str, bool); 15] = {
    use ErrorPlace::{AfterAnswer, InsteadOfAnswer, InsteadOfStatement};
    [
        (InsteadOfStatement, "ERROR", true),
        (InsteadOfStatement, "ERROR", false),
        (InsteadOfStatement, "FATAL", false),
        (InsteadOfStatement, "FATAL", true),
        (InsteadOfStatement, "PANIC", false),
        (InsteadOfAnswer, "ERROR", true),
        (InsteadOfAnswer, "ERROR", false),
        (InsteadOfAnswer, "FATAL", false),
        (InsteadOfAnswer, "FATAL", true),
        (InsteadOfAnswer, "PANIC", false),
        (AfterAnswer, "ERROR", true),
        (AfterAnswer, "ERROR", false),
        (AfterAnswer, "FATAL", false),
        (AfterAnswer, "FATAL", true),
        (AfterAnswer, "PANIC", false),
    ]
};
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A proxy answers commits with false errors of any code and severity, under load.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let round = |rng: &mut StdRng| {
        let with_any_code = SHAPES.map(|(place, severity, goes_on)| {
            let code = CODES.choose(rng).expect("there are codes");
            Fault::Answer(FalseError { place, code, severity, goes_on })
        });
        with_any_code.to_vec()
    };
    faulty_commits::run(options, "errors that a proxy makes up", LONGEST_PAUSE, round).await
}
