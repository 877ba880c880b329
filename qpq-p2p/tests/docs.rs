//! What the documents say is what the program does: their commands are run, their links and tables compared.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "docs/console.rs"]
mod console;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use console::{People, Step, blocks, steps};
use qpq_core::wire::{Kind, Role, rights};
use qpq_p2p::config::{SETTINGS, Setting};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// Every page that users or contributors read.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = [
        "README",
        "ARCHITECTURE",
        "CONTRIBUTING",
        "SECURITY",
        "CHANGELOG",
        "schemas/README",
    ]
    .map(|name| repository().join(name).with_extension("md"))
    .into();
    let mut folders = vec![repository().join("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

#[test]
fn the_readme_does_what_it_shows() {
    run_page("README.md");
}

#[test]
fn getting_started_does_what_it_shows() {
    run_page("docs/src/getting-started.md");
}

/// Runs the commands of people; those of the repository are looked at below.
fn run_page(path: &str) {
    let mut people = People::new();
    let steps = steps(&read(path));
    assert!(
        steps.iter().any(|step| step.command.starts_with("qpq join")),
        "{path} shows no session"
    );
    for step in steps.into_iter().filter(|step| !step.person.is_empty()) {
        people.type_in(step);
    }
    people.finish();
}

#[test]
fn every_command_is_where_a_test_finds_it() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (line, language, _) in blocks(&text) {
            let known = ["console", "text", "capnp", "json"].contains(&language);
            assert!(
                known,
                "{}:{line}: a block of {language:?}; commands are `console`",
                page.display()
            );
        }
        for step in steps(&text) {
            if step.person.is_empty() {
                look_at_script(&page, &step);
            } else {
                let run = page.ends_with("README.md") || page.ends_with("getting-started.md");
                assert!(run, "{}:{}: nobody runs this", page.display(), step.line);
            }
        }
    }
}

/// Scripts take minutes: that they exist and can be executed must do. Of cargo's arguments, names are compared.
fn look_at_script(page: &Path, step: &Step) {
    let at = format!("{}:{}: {}", page.display(), step.line, step.command);
    let command = step.command.split("  #").next().unwrap_or_default();
    let words: Vec<_> = command
        .split_whitespace()
        .filter(|word| !word.contains('='))
        .collect();
    for pair in words.windows(2) {
        match pair {
            ["-p" | "--package" | "--path", name] => {
                assert!(repository().join(name).join("Cargo.toml").exists(), "{at}")
            }
            ["--bin", name] => assert!(
                repository().join(format!("examples/src/bin/{name}.rs")).exists(),
                "{at}"
            ),
            _ => {}
        }
    }
    match words.first() {
        Some(&"cargo") => {}
        Some(script) => {
            let mode = fs::metadata(repository().join(script))
                .expect(&at)
                .permissions()
                .mode();
            assert!(script.starts_with("scripts/") && mode & 0o111 == 0o111, "{at}");
        }
        None => panic!("{at}: no command"),
    }
}

#[test]
fn the_demo_works_without_a_network_of_its_own() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for number in 0..1_000 {
        writeln!(file, "line {number}").unwrap();
    }
    let demo = Command::new(repository().join("scripts/demo-lan"))
        .arg("--loopback")
        .arg(file.path())
        .env("QPQ_BIN", env!("CARGO_BIN_EXE_qpq"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8(demo.stdout).unwrap();
    // How fast it is depends on what else the machine does; scripts/demo-lan itself judges that.
    for direction in ["anna -> ben", "ben -> anna"] {
        let line = format!("  {direction}   1,001 sent, 1,001 received, 0 missing, 0 doubled, in order");
        let errors = String::from_utf8_lossy(&demo.stderr);
        assert!(told.lines().any(|told| told == line), "{told}{errors}");
    }
}

#[test]
fn the_table_of_rights_is_the_one_of_the_code() {
    const KINDS: [Kind; 19] = [
        Kind::Hello,
        Kind::Bye,
        Kind::Ping,
        Kind::Pong,
        Kind::PairStart,
        Kind::PairReply,
        Kind::PairProof,
        Kind::ContactRequest,
        Kind::ContactAccept,
        Kind::PairRefused,
        Kind::App,
        Kind::AppAck,
        Kind::Head,
        Kind::ContactRefuse,
        Kind::ContactKept,
        Kind::Card,
        Kind::Want,
        Kind::NotMember,
        Kind::Welcome,
    ];
    let page = read("docs/src/protocol/frames.md");
    for kind in KINDS {
        let start = format!("| {kind:?} |");
        let rows: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix(&start))
            .collect();
        let told: Vec<_> = rows
            .iter()
            .flat_map(|row| row.trim_end_matches('|').split('|'))
            .map(str::trim)
            .collect();
        let true_row: Vec<_> = Role::ALL
            .iter()
            .map(|role| if rights(kind, *role) { "yes" } else { "–" })
            .collect();
        assert_eq!(told, true_row, "{kind:?}");
    }
}

#[test]
fn every_dependency_has_a_row_with_its_reason() {
    let page = read("docs/src/adr/0008-dependencies.md");
    let told: BTreeSet<_> = page
        .split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)))
        .collect();
    for manifest in [
        "Cargo.toml",
        "qpq-core/Cargo.toml",
        "qpq-p2p/Cargo.toml",
        "examples/Cargo.toml",
    ] {
        let manifest: toml::Table = read(manifest).parse().unwrap();
        let workspace = manifest.get("workspace").and_then(toml::Value::as_table);
        for table in [Some(&manifest), workspace].into_iter().flatten() {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let names = table
                    .get(kind)
                    .and_then(toml::Value::as_table)
                    .into_iter()
                    .flatten();
                for (name, _) in names.filter(|(name, _)| !name.starts_with("qpq-")) {
                    assert!(told.contains(name.as_str()), "{name} has no reason");
                }
            }
        }
    }
}

#[test]
fn every_setting_is_told() {
    let page = read("docs/src/getting-started.md");
    for setting in &SETTINGS {
        let [flag, key] = [setting.flag(), setting.in_file.then(|| setting.key.to_owned())]
            .map(|name| name.map_or_else(String::new, |name| format!("`{name}`")));
        let cells = |row: &str| {
            row.split('|')
                .map(|cell| cell.trim().to_owned())
                .collect::<Vec<_>>()
        };
        let row = page.lines().map(cells).find(|cells| {
            // Short flags, and those that are no settings, stand beside.
            let told = cells
                .get(1)
                .is_some_and(|cell| flag.is_empty() || cell.starts_with(&flag));
            told && cells.get(2) == Some(&format!("`{}`", setting.variable()))
        });
        let row = row.unwrap_or_else(|| panic!("{} has no row", setting.key));
        assert_eq!(row[3], key, "{}", setting.key);
    }
    let names = page
        .split('`')
        .filter(|word| word.starts_with("QPQ_") && !word.contains('…'));
    let told: BTreeSet<_> = names.map(str::to_owned).collect();
    let known: BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
    assert_eq!(told, known);
    let help = Command::new(env!("CARGO_BIN_EXE_qpq"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let in_help: BTreeSet<_> = help
        .split_whitespace()
        .filter(|word| word.starts_with("QPQ_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(in_help, known);
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_in_the_summary() {
    let mut linked = BTreeSet::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") {
                continue;
            }
            let path = page.parent().unwrap().join(target.split('#').next().unwrap());
            assert!(path.exists(), "{}: {target}", page.display());
            let book = repository().join("docs/src");
            // A book takes nothing along from outside of its folder.
            let leaves = page.starts_with(&book) && !path.canonicalize().unwrap().starts_with(&book);
            assert!(!leaves, "{}: {target} is not in the book", page.display());
            if page.ends_with("SUMMARY.md") {
                linked.insert(path.canonicalize().unwrap());
            }
        }
        for target in text
            .split("{{#include ")
            .skip(1)
            .filter_map(|rest| rest.split("}}").next())
        {
            assert!(
                page.parent().unwrap().join(target).exists(),
                "{}: {target}",
                page.display()
            );
        }
    }
    let book = pages()
        .into_iter()
        .filter(|page| page.starts_with(repository().join("docs")));
    for page in book.filter(|page| !page.ends_with("SUMMARY.md")) {
        assert!(
            linked.contains(&page.canonicalize().unwrap()),
            "{} is not in the summary",
            page.display()
        );
    }
}
