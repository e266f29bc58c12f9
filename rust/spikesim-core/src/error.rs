//! One error type for the whole core: a variant per cause, the text made only when it is shown.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Everything that can go wrong in the core. Messages read
/// `<where>: <name> <what is>, expected <what should be>[; <what to do>]`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network that means nothing: a bad parameter, a missing node, a cycle without delay.
    #[error("{place}: {problem}")]
    Graph {
        /// The node (or "network") that is wrong.
        place: String,
        /// What is, what should be, what to do.
        problem: String,
    },
    /// Shapes that do not fit each other.
    #[error("{place}: {name} has shape {}, expected {expected}", tuple(found))]
    Shape {
        /// The node or argument.
        place: String,
        /// The array or edge.
        name: String,
        /// The shape it has.
        found: Vec<usize>,
        /// The shape it should have, in words.
        expected: String,
    },
    /// Meaningful, but not something this version can do.
    #[error("{place}: {what} is not supported{advice}")]
    Unsupported {
        /// The node or argument.
        place: String,
        /// What is asked for.
        what: String,
        /// What to do instead, beginning with "; ", or empty.
        advice: String,
    },
    /// Bytes that are not the file they claim to be.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is, what should be, what to do.
        problem: String,
    },
    /// A bad argument of a run: values, counts, names.
    #[error("{place}: {problem}")]
    Input {
        /// The argument.
        place: String,
        /// What is, what should be, what to do.
        problem: String,
    },
    /// Learning that left the finite numbers, or what its rules can hold together.
    #[error("{place}: {problem}")]
    Divergence {
        /// The model.
        place: String,
        /// What is, what should be, what to do.
        problem: String,
    },
    /// The operating system's own answer.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The caller asked the run to stop.
    #[error("run: interrupted")]
    Interrupted,
    /// A bug of ours, caught before it could reach the caller as a panic.
    #[error("internal error: {message}; please report this")]
    Internal {
        /// What the panic said.
        message: String,
    },
}

/// The core's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A [`Error::Graph`] at `place`.
    pub fn graph(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Graph { place: place.into(), problem: problem.into() }
    }

    /// A [`Error::Shape`] at `place`.
    pub fn shape(
        place: impl Into<String>,
        name: impl Into<String>,
        found: &[usize],
        expected: impl Into<String>,
    ) -> Self {
        Self::Shape {
            place: place.into(),
            name: name.into(),
            found: found.to_vec(),
            expected: expected.into(),
        }
    }

    /// A [`Error::Input`] at `place`.
    pub fn input(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Input { place: place.into(), problem: problem.into() }
    }

    /// A [`Error::Divergence`] at `place`.
    pub fn divergence(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Divergence { place: place.into(), problem: problem.into() }
    }

    /// A [`Error::Unsupported`] at `place`; `advice` says what to do instead and may be empty.
    pub fn unsupported(place: impl Into<String>, what: impl Into<String>, advice: &str) -> Self {
        let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
        Self::Unsupported { place: place.into(), what: what.into(), advice }
    }
}

/// A shape as Python writes it: `(3,)`, `(1, 8, 8)`.
pub fn tuple(shape: &[usize]) -> String {
    match shape {
        [n] => format!("({n},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Runs `f`; a panic in it is an error of ours, not the end of the caller's process.
pub fn caught<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety is the caller's: what a panic leaves behind must be a whole value.
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| Err(internal(panic.as_ref())))
}

fn internal(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::Internal { message: text.unwrap_or_else(|| "a panic without a message".into()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn messages_are_one_line_of_place_problem_and_advice() {
        for (error, text) in [
            (Error::graph("fc", "n is 1, expected 2"), "fc: n is 1, expected 2"),
            (Error::shape("fc", "bias", &[3], "(2,)"), "fc: bias has shape (3,), expected (2,)"),
            (
                Error::shape("fc", "weight", &[], "(2, 1)"),
                "fc: weight has shape (), expected (2, 1)",
            ),
            (Error::unsupported("fc", "x", "use y"), "fc: x is not supported; use y"),
            (Error::unsupported("fc", "x", ""), "fc: x is not supported"),
            (Error::input("run", "x is NaN"), "run: x is NaN"),
            (Error::Interrupted, "run: interrupted"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn a_panic_is_an_internal_error() {
        let text = |f: fn() -> Result<()>| caught(f).err().map(|e| e.to_string());
        let expected = "internal error: lost 3; please report this";
        assert_eq!(text(|| panic!("lost {}", 3)).as_deref(), Some(expected));
        let expected = "internal error: lost; please report this";
        assert_eq!(text(|| panic!("lost")).as_deref(), Some(expected));
        assert_eq!(text(|| Ok(())), None);
    }
}
