use std::path::PathBuf;

const HOST: &str = "{host}";

/// What is written besides the report on standard output.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Outputs {
    /// Write report.json, pictures of the run and goose's own report, goose.html, to this folder.
    ///
    /// It is made if it does not exist. `{host}` in it stands for the name of this machine, for parts that share a folder.
    #[arg(long, value_name = "DIR", value_parser = folder)]
    pub(crate) report_dir: Option<PathBuf>,
}

fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("accepted is a folder".to_owned());
    }
    if !text.contains(HOST) {
        return Ok(text.into());
    }
    let host = nix::unistd::gethostname().map_err(|error| format!("this machine does not tell its name: {error}"))?;
    Ok(text.replace(HOST, &host.to_string_lossy()).into())
}
