use std::{env, path::PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct PipelineArgs {
    /// Write the verdict as JUnit XML to this file: a case for each promise, each gate and each kind of request.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Write the verdict as Markdown to this file: gates, requests, and the first faults in words.
    ///
    /// Where `GITHUB_STEP_SUMMARY` is set, the same is appended to that file.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

/// What is written for a pipeline to read, beside the reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pipeline {
    pub(crate) junit: Option<PathBuf>,
    pub(crate) summary: Option<PathBuf>,
    /// GitHub shows what a step appends to this file.
    pub(crate) step_summary: Option<PathBuf>,
    /// Whether GitHub's runner reads annotations from the output.
    pub(crate) annotations: bool,
}

impl Pipeline {
    /// Of a command line that is wrong elsewhere: what a pipeline reads must say so.
    pub(crate) fn of_wrong(words: &[String]) -> Self {
        let file = |flag: &str| {
            let after = words.iter().skip_while(|word| *word != flag).nth(1);
            let joined = words.iter().find_map(|word| word.strip_prefix(flag)?.strip_prefix('='));
            let file = after.map(String::as_str).or(joined).filter(|file| !file.is_empty() && !file.starts_with('-'));
            // Of `merge --junit report.json` the file was forgotten.
            file.map(PathBuf::from).filter(|file| file.extension().is_none_or(|extension| extension != "json"))
        };
        let junit = file("--junit");
        let summary = file("--summary").filter(|summary| junit.as_ref() != Some(summary));
        PipelineArgs { junit, summary }.into()
    }
}

impl From<PipelineArgs> for Pipeline {
    fn from(PipelineArgs { junit, summary }: PipelineArgs) -> Self {
        let step_summary = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from);
        Self {
            junit,
            // It is not written twice if both are the same file.
            summary: summary.filter(|path| step_summary.as_ref() != Some(path)),
            step_summary,
            annotations: env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
        }
    }
}
