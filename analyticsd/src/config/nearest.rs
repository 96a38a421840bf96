//! Finds the known name that an unknown one may have meant.

/// The least similarity of two names, from 0 to 1; clap uses the same for flags.
const ALIKE: f64 = 0.7;

/// The most similar known name, if any is similar enough.
pub(super) fn nearest<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    let likeness = known.into_iter().map(|known| (strsim::jaro(name, known.as_ref()), known));
    likeness.filter(|(alike, _)| *alike > ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}
