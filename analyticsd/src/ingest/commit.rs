//! What one commit stores.

use db::{Batch, Claim};
use model::{SiteEvent, SourceStep};

use crate::ingest::job::Job;

/// Jobs that are stored together.
pub(crate) struct Commit {
    pub(crate) jobs: Vec<Job>,
    claims: Vec<Claim>,
    pub(crate) steps: Vec<SourceStep>,
}

impl Commit {
    pub(crate) fn of(jobs: Vec<Job>) -> Self {
        let claims = jobs.iter().flat_map(|job| &job.claims).cloned().collect();
        let steps = SourceStep::joined(jobs.iter().filter_map(|job| job.submission.step.as_deref()));
        Self { jobs, claims, steps }
    }

    /// Whether it stores no event. Its place in the order of commits could not be told.
    pub(crate) fn only_moves_sources(&self) -> bool {
        self.events().next().is_none()
    }
}

impl Batch for Commit {
    fn events(&self) -> impl Iterator<Item = &SiteEvent> + Send {
        self.jobs.iter().flat_map(|job| &job.submission.events)
    }

    fn claims(&self) -> &[Claim] {
        &self.claims
    }

    fn steps(&self) -> &[SourceStep] {
        &self.steps
    }
}
