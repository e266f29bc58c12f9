//! The threads a simulator runs on.

use std::sync::Arc;

use crate::{Error, Result};

/// A pool of its own for each simulator: two simulators in two threads do not wait for each
/// other. Made at the first run; made anew in a forked child, where the threads are gone.
#[derive(Debug, Default)]
pub struct Workers {
    pool: Option<(u32, Arc<rayon::ThreadPool>)>,
}

impl Workers {
    /// The pool of `threads` threads.
    pub fn pool(&mut self, threads: usize) -> Result<Arc<rayon::ThreadPool>> {
        let pid = std::process::id();
        if let Some((owner, pool)) = &self.pool
            && *owner == pid
        {
            return Ok(pool.clone());
        }
        self.forget();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|k| format!("spikesim-{k}"))
            .build()
            .map_err(|e| Error::input("threads", format!("{threads} cannot be started: {e}")))?;
        let pool = Arc::new(pool);
        self.pool = Some((pid, pool.clone()));
        Ok(pool)
    }

    /// Let go of the pool; one that belongs to a parent process is left alone, since its threads
    /// do not exist here and cannot be told to end.
    fn forget(&mut self) {
        if let Some((owner, pool)) = self.pool.take()
            && owner != std::process::id()
        {
            std::mem::forget(pool);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Threads to use where the caller does not say: what the process may use.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
