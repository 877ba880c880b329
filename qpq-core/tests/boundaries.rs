//! Keeps IO out of qpq-core: no crate that opens sockets among its dependencies, and no socket, clock,
//! thread, process or file in its source, the vault's and the database's own files aside.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Crates that reach the network or bring a runtime with them; `iroh` stands for `iroh-base` too.
const NETWORK_CRATES: [&str; 9] = [
    "tokio", "mio", "socket2", "iroh", "noq", "quinn", "mdns-sd", "async-io", "smol",
];

/// Paths of std that the engine must not name, and the modules that may all the same.
const STD_PATHS: [(&str, &[&str]); 8] = [
    ("std::net", &[]),
    ("std::thread", &[]),
    ("std::process", &[]),
    ("std::env", &[]),
    ("std::time::Instant", &[]),
    ("std::time::SystemTime", &[]),
    ("std::fs", &["vault", "store"]),
    ("std::os", &["vault", "store"]), // file modes
];

#[test]
fn no_network_crate_is_among_the_dependencies() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "--locked",
            "--all-features",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--package", "qpq-core"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let tree = String::from_utf8(out.stdout).unwrap();
    assert!(tree.contains("\nopenmls v"), "not the tree of qpq-core:\n{tree}");
    assert_eq!(network_crates(&tree), BTreeSet::new());
}

#[test]
fn no_source_file_names_a_socket_a_clock_or_a_thread() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&source);
    assert!(
        files.iter().any(|file| file.ends_with("engine.rs")),
        "not the source of qpq-core: {files:?}"
    );
    let breaches: Vec<_> = files
        .iter()
        .flat_map(|file| {
            let module = file.strip_prefix(&source).unwrap().display().to_string();
            breaches(&module, &fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(
        breaches.is_empty(),
        "IO belongs into qpq-p2p:\n{}",
        breaches.join("\n")
    );
}

#[test]
fn network_crates_are_recognised_by_whole_name_or_family() {
    let tree =
        "qpq-core v0.1.0 (/x)\ntokio v1.54.1\niroh-base v1.4.1\nmiow v0.6.0\nquinn-proto v0.11.15 (*)\n";
    assert_eq!(network_crates(tree), ["iroh-base", "quinn-proto", "tokio"].into());
}

#[test]
fn forbidden_paths_are_found_however_they_are_written() {
    for (module, source, count) in [
        ("engine.rs", "use std::net::UdpSocket;", 1),
        (
            "engine.rs",
            "use std::{fmt, net::{IpAddr, UdpSocket}, time::{Duration, Instant}};",
            2,
        ),
        (
            "engine.rs",
            "use std::{\n    time::{self, Duration},\n    thread,\n};",
            1,
        ),
        (
            "engine.rs",
            "fn f() { let _ = std::time::SystemTime::UNIX_EPOCH; }",
            1,
        ),
        (
            "engine.rs",
            "use std::{time, fs as files};\nfn f() { let _ = time::Instant::now(); }",
            2,
        ),
        (
            "engine.rs",
            "use std::time::Duration; // unlike std::time::Instant",
            0,
        ),
        (
            "engine.rs",
            "use std::time::Duration;\n#[cfg(test)]\nmod tests { use std::fs; }",
            0,
        ),
        (
            "vault.rs",
            "use std::{fs::File, os::unix::fs::OpenOptionsExt as _};",
            0,
        ),
        ("store/read.rs", "use std::fs::File;", 0),
        ("vaulted.rs", "use std::fs::File;", 1),
    ] {
        let found = breaches(module, source);
        assert_eq!(found.len(), count, "{source}: {found:?}");
    }
}

/// Names of network crates in the output of `cargo tree --prefix none`.
fn network_crates(tree: &str) -> BTreeSet<&str> {
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| {
            NETWORK_CRATES.iter().any(|banned| {
                name.strip_prefix(banned)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            })
        })
        .collect()
}

/// One line for each path of `STD_PATHS` which a module names outside its comments and unit tests.
fn breaches(module: &str, source: &str) -> Vec<String> {
    let stem = module.split(['/', '.']).next().unwrap_or_default();
    let code = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: String = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut paths = BTreeSet::new();
    for (at, found) in code.match_indices("std::") {
        expand("std::", &code[at + found.len()..], &mut paths);
    }
    // After `use std::time` the text says `time::Instant` alone.
    for relative in ["time::Instant", "time::SystemTime"]
        .into_iter()
        .filter(|path| code.contains(path))
    {
        paths.insert(format!("std::{relative}"));
    }
    STD_PATHS
        .iter()
        .filter(|(_, allowed)| !allowed.contains(&stem))
        .filter(|(banned, _)| paths.iter().any(|path| is_under(path, banned)))
        .map(|(banned, _)| format!("{module}: {banned}"))
        .collect()
}

/// `std::net` is under `std::net`, and so is `std::net::IpAddr`; `std::network` is not.
fn is_under(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Adds the paths that a path or a `use` tree stands for; returns what follows it.
fn expand<'a>(prefix: &str, text: &'a str, paths: &mut BTreeSet<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(prefix, rest, paths);
            // Between two items: perhaps `as name`, then a comma or the end of the group.
            let Some(end) = rest.find([',', '}']) else {
                return rest;
            };
            let closed = rest[end..].starts_with('}');
            rest = &rest[end + 1..];
            if closed {
                return rest;
            }
        }
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if let Some(rest) = rest.strip_prefix("::") {
        return expand(&format!("{prefix}{name}::"), rest, paths);
    }
    paths.insert(format!("{prefix}{name}"));
    rest
}

/// Every Rust file below a folder, files of unit tests aside.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|x| x == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}
