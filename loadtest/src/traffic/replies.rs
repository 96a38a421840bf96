//! Answers, read to their ends.

use model::Problem;
use reqwest::{Response, StatusCode};

/// The title of the 503 to a batch of which some databases have stored their parts.
const IN_PART: &str = "Stored in part";
/// Of a problem's story, which may quote what was sent.
const MOST_CHARS: usize = 200;

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) async fn read(response: Response) -> Result<Self, reqwest::Error> {
        Ok(Self { status: response.status(), body: response.text().await? })
    }

    /// The story of an error.
    pub(crate) fn problem(&self) -> Option<Problem> {
        serde_json::from_str(&self.body).ok()
    }

    /// Whether events may be stored though they were refused: some of a batch, or those that a proxy sent on and lost
    /// sight of.
    pub(crate) fn may_be_stored(&self) -> bool {
        let is_of_a_proxy = matches!(self.status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
        let is_in_part = self.status == StatusCode::SERVICE_UNAVAILABLE
            && self.problem().is_some_and(|problem| problem.title == IN_PART);
        is_of_a_proxy || is_in_part
    }

    pub(crate) fn is_worth_another_try(&self) -> bool {
        matches!(self.status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
    }

    /// The status and what the problem is. What differs from request to request is left out.
    pub(crate) fn told(&self) -> String {
        let Some(problem) = self.problem() else { return self.status.to_string() };
        let mut told = format!("{}: {}", self.status, problem.title);
        if problem.parameter.is_some() && problem.line.is_none() {
            told.push_str(": ");
            told.extend(problem.detail.chars().take(MOST_CHARS));
        }
        told
    }
}
