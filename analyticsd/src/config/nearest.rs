//! What a name that is not known may have been meant to be.

/// How alike two names must be, from 0 to 1. It is what clap asks of flags.
const ALIKE: f64 = 0.7;

/// The known name that is most like this one, if any is.
pub(super) fn nearest<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    let likeness = known.into_iter().map(|known| (strsim::jaro(name, known.as_ref()), known));
    likeness.filter(|(alike, _)| *alike > ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}
