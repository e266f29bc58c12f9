//! One error type for the whole core: a variant per cause, the text made only when it is shown.

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
