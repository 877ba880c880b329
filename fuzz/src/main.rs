//! libFuzzer in front of all targets: QPQ_FUZZ names one. Also counts what is allocated, which tests cannot do
//! without unsafe code.
#![no_main]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

#[path = "../../qpq-core/tests/support/bench.rs"]
mod bench;
#[path = "../../qpq-core/tests/support/net.rs"]
mod net;
#[path = "../../qpq-core/tests/support/scenes.rs"]
mod scenes;
#[path = "../targets.rs"]
mod targets;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The system's allocator, and what is taken from it now and was at most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all of it; beside it two numbers are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one input is given to, and how much it may make that allocate.
type Chosen = (fn(&[u8]), Option<fn(usize) -> usize>);

fn chosen() -> Chosen {
    let name = std::env::var("QPQ_FUZZ").unwrap_or_default();
    let core = targets::TARGETS
        .iter()
        .map(|target| (target.name, target.run, target.memory));
    let p2p = qpq_p2p::fuzz::TARGETS
        .iter()
        .map(|target| (target.name, target.run, None));
    let found = core.chain(p2p).find(|(known, _, _)| *known == name);
    let (_, run, memory) = found.expect("QPQ_FUZZ names a target");
    (run, memory)
}

static CHOSEN: OnceLock<Chosen> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    // The stage is set by the first input: that takes its time, and is none of the fuzzer's.
    init: CHOSEN.get_or_init(chosen).0(&[]),
    |input: &[u8]| {
        let (run, memory) = CHOSEN.get_or_init(chosen);
        let before = NOW.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        run(input);
        let took = MOST.load(Ordering::Relaxed).saturating_sub(before);
        if let Some(limit) = memory.map(|memory| memory(input.len())) {
            assert!(took <= limit, "{took} bytes were allocated for {}", input.len());
        }
    }
);
