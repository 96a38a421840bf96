use std::path::PathBuf;

/// What is written besides the report on standard output.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Outputs {
    /// Write report.json, pictures of the run and goose's own report, goose.html, to this folder.
    ///
    /// It is made if it does not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) report_dir: Option<PathBuf>,
}
