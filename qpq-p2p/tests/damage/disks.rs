//! Disks that are full or can only be read, under a real `qpq` on a small tmpfs of its own.

use std::process::{Command, Output};

use crate::{
    owners::daemon,
    people::{Person, anna_and_ben, by, meet, object, text},
};

/// A shell in which `$0` is the program, where it may mount what it likes. `None`: the system does not let us, and the
/// test is skipped; it fails where QPQ_REQUIRE_NETLAB says that it must run.
fn with_mounts(person: &Person, script: &str) -> Option<Output> {
    let possible = Command::new("unshare").args(["-rm", "true"]).output();
    if !possible.is_ok_and(|ended| ended.status.success()) {
        let required = std::env::var_os("QPQ_REQUIRE_NETLAB").is_some();
        assert!(!required, "no user namespace with mounts is to be had here");
        println!("skipped: no user namespace with mounts is to be had here");
        return None;
    }
    let mut shell = by("unshare", &["-rm", "sh", "-c", script], &person.command(&[]));
    Some(shell.output().unwrap())
}

const SMALL: &str =
    "cp -a \"$QPQ_HOME\" /tmp/kept.$$ && mount -t tmpfs -o size=4M,mode=700 none \"$QPQ_HOME\" && \
    cp -a /tmp/kept.$$/. \"$QPQ_HOME\" && rm -r /tmp/kept.$$ || exit 99
";

/// A daemon whose disk runs full, message by message, and gets room again.
const RUN_FULL: &str = r#"
"$0" daemon --ready-fd 3 3>"$QPQ_HOME/ready" > /dev/null 2>&1 & daemon=$!
until [ -s "$QPQ_HOME/ready" ]; do kill -0 $daemon || exit 98; done
long=$(head -c 60000 /dev/zero | tr '\0' x)
n=0 exit=0
while [ $exit = 0 ] || [ $exit = 7 ]; do
  n=$((n + 1))
  [ $n -lt 200 ] || exit 97
  "$0" send ben "$n $long" --timeout 2s > /dev/null 2> "/tmp/told.$$"
  exit=$?
done
echo "failed $n exit $exit"
cat "/tmp/told.$$"; rm "/tmp/told.$$"
cat /dev/zero > "$QPQ_HOME/filler" 2> /dev/null
for verb in whoami status "log -n 1"; do "$0" $verb > /dev/null; echo "$verb: $?"; done
rm "$QPQ_HOME/filler" "$QPQ_HOME/room"
tries=0
until "$0" send ben "room again" --timeout 30s > /dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 2000 ] || exit 96
done
kill -0 $daemon && echo "the same daemon"
"$0" log -n 0 | grep -c xxx
kill $daemon
wait $daemon
exit 0
"#;

#[test]
fn a_disk_that_runs_full_loses_nothing_that_was_accepted_and_goes_on_by_itself() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let online = daemon(&ben);
    // Room that is given back later.
    std::fs::write(anna.home.path().join("room"), vec![1; 1_500_000]).unwrap();
    let Some(ended) = with_mounts(&anna, &format!("{SMALL}{RUN_FULL}")) else {
        return;
    };
    let told = text(ended, 0);
    let lines: Vec<_> = told.lines().collect();
    let words: Vec<_> = lines[0].split(' ').collect();
    let ["failed", failed, "exit", "1"] = words[..] else {
        panic!("{told}")
    };
    let accepted: usize = failed.parse::<usize>().unwrap() - 1;
    let count = accepted.to_string();
    assert!(accepted > 3, "{told}");
    assert_eq!(
        lines[1..4],
        [
            "nothing was stored",
            "the disk did not take it",
            "hint: make room on the disk, then try again"
        ],
        "{told}"
    );
    assert_eq!(
        lines[4..],
        [
            "whoami: 0",
            "status: 0",
            "log -n 1: 0",
            "the same daemon",
            count.as_str()
        ],
        "{told}"
    );
    let log = text(ben.run(&["log", "--json", "-n", "0"]), 0);
    let heard: Vec<_> = log.lines().map(object).collect();
    assert_eq!(heard.len(), accepted + 1, "each once, and what was refused never");
    for (n, message) in heard[..accepted].iter().enumerate() {
        assert!(
            message["text"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{} x", n + 1))
        );
    }
    assert_eq!(heard[accepted]["text"], "room again");
    online.kill();
}

/// What a script said, and what it complained about.
#[track_caller]
fn both(ended: Output) -> (String, String) {
    let stderr = String::from_utf8(ended.stderr.clone()).unwrap();
    (text(ended, 0), stderr)
}

/// Nobody runs; what can be told without writing is.
const FULL: &str = "cat /dev/zero > \"$QPQ_HOME/filler\" 2> /dev/null
    for verb in whoami status log 'contact list'; do \"$0\" $verb > /dev/null; echo \"$verb: $?\"; done
    \"$0\" send ben lost --timeout 1ms; echo \"send: $?\"
    rm \"$QPQ_HOME/filler\"; \"$0\" send ben kept --timeout 1ms > /dev/null; echo \"send: $?\"; \"$0\" log | grep -c kept";

#[test]
fn what_needs_no_room_works_on_a_full_disk() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let Some(ended) = with_mounts(&anna, &format!("{SMALL}{FULL}")) else {
        return;
    };
    let (told, stderr) = both(ended);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "whoami: 0",
            "status: 0",
            "log: 0",
            "contact list: 0",
            "send: 3",
            "send: 7",
            "1"
        ],
        "{stderr}"
    );
    assert!(stderr.contains("no space left on this disk"), "{stderr}");
}

const READ_ONLY: &str =
    "mount --bind \"$QPQ_HOME\" \"$QPQ_HOME\" && mount -o remount,ro,bind \"$QPQ_HOME\" || exit 99
    for verb in whoami status log 'contact list'; do \"$0\" $verb > /dev/null; echo \"$verb: $?\"; done
    \"$0\" send ben lost --timeout 1ms 2> /dev/null; echo \"send: $?\"";

#[test]
fn what_only_reads_works_where_nothing_can_be_written() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let Some(ended) = with_mounts(&anna, READ_ONLY) else {
        return;
    };
    let (told, stderr) = both(ended);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines,
        ["whoami: 0", "status: 0", "log: 0", "contact list: 0", "send: 3"],
        "{stderr}"
    );
}
