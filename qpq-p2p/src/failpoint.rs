//! Kills and a tap for tests: the points of files, and the environment that arms them. Nothing of it is in a build
//! without debug assertions; see [`qpq_core::failpoint`] for why it hangs on these.
//!
//! | variable | a debug build |
//! |---|---|
//! | `CRASH_AT=point:n` | kills itself with SIGKILL at the n-th hit of a point, counted from 1 |
//! | `CRASH_POINTS=file` | appends the name of each point to a file as it is hit |
//! | `CRASH_TAP=folder` | writes each frame that is handed to a link into a file there, named by its process id |

pub use qpq_core::failpoint::hit;

/// All points outside of the database, in alphabetical order. A test holds them against what is hit.
pub const POINTS: [&str; 15] = [
    "file.create",
    "file.fill",
    "file.folder_sync",
    "file.rename",
    "file.sync",
    "file.whole",
    "profile.draft",
    "profile.folders",
    "profile.lock",
    "profile.modes",
    "profile.named",
    "profile.rename",
    "profile.sync",
    "profile.whole",
    "socket.bind",
];

#[cfg(debug_assertions)]
mod armed {
    use std::{
        fs::{File, OpenOptions},
        io::Write,
        path::PathBuf,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use rustix::process::{Signal, getpid, kill_process};

    struct Plan {
        /// Where to die, and after how many hits.
        die: Option<(String, AtomicU64)>,
        log: Option<File>,
        tap: Option<File>,
    }

    static PLAN: OnceLock<Plan> = OnceLock::new();

    /// Does what the environment says.
    pub(crate) fn arm() {
        let die = std::env::var("CRASH_AT").ok().and_then(|at| {
            let (point, hit) = at.split_once(':')?;
            Some((point.to_owned(), AtomicU64::new(hit.parse().ok()?)))
        });
        let append = |path: PathBuf| OpenOptions::new().create(true).append(true).open(path).ok();
        let log = std::env::var_os("CRASH_POINTS").and_then(|path| append(path.into()));
        let tap = std::env::var_os("CRASH_TAP")
            .and_then(|folder| append(PathBuf::from(folder).join(std::process::id().to_string())));
        if die.is_none() && log.is_none() && tap.is_none() {
            return;
        }
        if PLAN.set(Plan { die, log, tap }).is_ok() {
            qpq_core::failpoint::arm(hit);
        }
    }

    fn hit(point: &'static str) {
        let Some(plan) = PLAN.get() else { return };
        if let Some(mut log) = plan.log.as_ref() {
            let _ = log.write_all(format!("{point}\n").as_bytes());
        }
        if let Some((wanted, left)) = &plan.die
            && wanted == point
            && left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            let _ = kill_process(getpid(), Signal::KILL);
            // It may take a moment; nothing may happen in it.
            loop {
                std::thread::park();
            }
        }
    }

    /// One write for each frame: a kill leaves it whole, or cuts the last one.
    pub(crate) fn tap(frame: &[u8]) {
        if let Some(mut tap) = PLAN.get().and_then(|plan| plan.tap.as_ref()) {
            let length = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes();
            let _ = tap.write_all(&[&length, frame].concat());
        }
    }
}

/// Arms what the environment asks for.
pub(crate) fn arm() {
    #[cfg(debug_assertions)]
    armed::arm();
}

/// A frame is about to leave.
#[inline]
pub(crate) fn tap(frame: &[u8]) {
    #[cfg(debug_assertions)]
    armed::tap(frame);
    #[cfg(not(debug_assertions))]
    let _ = frame;
}
